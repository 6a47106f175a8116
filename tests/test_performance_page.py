"""docs/performance.md says what the committed measurements say."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="needs the repository")


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    for name in [n for n in sys.modules if n.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    from benchmarks import _table

    return _table


def test_page_agrees_with_the_csv(table):
    # Figures from disk are measured by a command of their own; the section is filled when the page is next written.
    written, made = (text.partition("## From disk")[0] for text in (table.PAGE.read_text("utf-8"), table.page()))
    assert written == made, "run: python -m benchmarks --page"


def test_every_bar_is_measured(table):
    seen = table.ratios(table.load())
    assert (seen.reached != "not measured").all(), seen


def test_a_bar_is_judged_by_its_direction(table):
    rows = table.load()
    better = rows.copy()
    better.loc[better.what == "scanpy + scipy", "value"] = 1e6
    better.loc[better.what == "import lexicell", "value"] = 0.4
    verdicts = table.ratios(better).set_index("against").reached
    assert verdicts["scanpy + scipy, N = 1000"] == "goal"
    assert verdicts["import lexicell"] == "floor"
    better.loc[better.what == "scanpy + scipy", "value"] = 1e-3
    better.loc[better.what == "import lexicell", "value"] = 0.6
    verdicts = table.ratios(better).set_index("against").reached
    assert verdicts["scanpy + scipy, N = 1000"] == verdicts["import lexicell"] == "no"


def test_new_measurements_replace_old_ones(table, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    row = {"part": "cold", "dim": 0, "top_n": "", "what": "import lexicell", "value": 1.5, "unit": "CPU s"}
    old = table.save(pd.DataFrame([row, row | {"what": "python"}]), None)
    new = table.save(pd.DataFrame([row | {"value": 2.5}]), old)
    pd.testing.assert_frame_equal(table.load(), new.reset_index(drop=True))
    assert dict(zip(new.what, new.value, strict=True)) == {"import lexicell": 2.5, "python": 1.5}
