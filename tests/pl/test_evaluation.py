"""The figure shows every row of the table, the best baseline as a line, and intervals where there are some."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from lexicell import pl
from lexicell._errors import InputError, MissingKeyError


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


@pytest.fixture
def table() -> pd.DataFrame:
    rows = {
        "fused": ("text", 0.62, 0.60, 0.64, 0.0, 0.9),
        "expression PCA, 300 genes": ("expression", 0.70, 0.68, 0.72, 0.0, 0.8),
        "scanpy default": ("expression", 0.50, 0.48, 0.52, 0.0, 0.85),
        "fused, shuffled texts": ("control", 0.60, 0.58, 0.62, 0.03, 0.7),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["kind", "ari", "ari_low", "ari_high", "ari_sd", "knn"])


def test_each_row_is_drawn_at_its_score(table: pd.DataFrame) -> None:
    figure = pl.evaluation(table, metrics=["ari", "knn"])
    for ax, metric in zip(figure.axes, ["ari", "knn"], strict=True):
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [float(line.get_xdata()[0]) for line in dots] == table[metric].tolist()
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == list(table.index)


def test_the_line_is_the_best_baseline(table: pd.DataFrame) -> None:
    lines = [sorted(map(float, line.get_xdata())) for line in pl.evaluation(table, metrics=["ari"]).axes[0].lines]
    assert lines[-1] == [0.70, 0.70]
    assert [0.60, 0.64] in lines  # bootstrap interval of text
    assert any(line == pytest.approx([0.57, 0.63]) for line in lines if len(line) == 2)  # sd of a control


def test_wrong_scores_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(MissingKeyError, match="'ari', 'ari_low'"):
        pl.evaluation(table, metrics=["ary"])
    with pytest.raises(InputError, match="at least one column"):
        pl.evaluation(table, metrics=[])
