"""docs/clustering.md and docs/search_for_gain.md say what the committed tables of evaluation/ say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "evaluation").exists(), reason="needs the repository")


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    sys.path.insert(0, str(ROOT / "evaluation"))
    try:
        import pages
    finally:
        sys.path.pop(0)
    return pages


def pattern(template: str, values: dict[str, str], open_names: set[str]) -> str:
    """What the page must look like: every number as computed, those of other topics' tables left open."""
    parts = re.split(r"<<(\w+)>>", template)
    return "".join(
        re.escape(part) if i % 2 == 0 else "[^\n]+?" if part in open_names else re.escape(values[part])
        for i, part in enumerate(parts)
    )


@pytest.mark.parametrize("name", ["clustering", "search"])
def test_every_number_of_the_page_is_in_the_tables(pages: ModuleType, name: str) -> None:
    values, template = pages.PAGES[name](), (ROOT / "evaluation" / name / "page.md").read_text(encoding="utf-8")
    pages.render(template, values)  # no name unknown, none unused
    written = (ROOT / "docs" / pages.NAMES_IN_DOCS[name]).read_text(encoding="utf-8")
    assert re.fullmatch(pattern(template, values, set(pages.transfer_values())), written), (
        "run: python evaluation/pages.py"
    )


def test_a_number_that_nothing_computes_is_refused(pages: ModuleType) -> None:
    assert pages.render("ARI <<a>>", {"a": ".72"}) == "ARI .72"
    with pytest.raises(KeyError, match=r"not computed: ..b"):
        pages.render("<<a>> <<b>>", {"a": "1"})
    with pytest.raises(KeyError, match=r"not used: ..b"):
        pages.render("<<a>>", {"a": "1", "b": "2"})


@pytest.mark.parametrize(("x", "text"), [(0.716, ".72"), (-0.05, "-.05"), (1.0, "1.00"), (0.0, ".00"), (-0.001, ".00")])
def test_numbers_are_written_as_the_docs_write_them(pages: ModuleType, x: float, text: str) -> None:
    assert pages.short(x) == text
