"""The table of the docs is the one the tool wrote, and says what the package does now."""

from __future__ import annotations

import pytest

import coverage_table as tool


def test_the_page_shows_the_committed_numbers():
    assert tool.as_markdown(tool.read_csv()) in tool.PAGE.read_text()


def test_the_committed_numbers_are_what_was_asked_for():
    rows = {row["data set"]: row for row in tool.read_csv()}
    assert len(rows) == 7
    assert min(float(row["found of the rest (%)"]) for row in rows.values()) >= 95
    assert float(rows["m1_patchseq"]["bundled: counts (%)"]) >= 85


@pytest.mark.parametrize("name", ["kang_donors", "m1_patchseq"])
def test_the_committed_numbers_hold_today(shared_data, name):
    import anndata

    committed = next(row for row in tool.read_csv() if row["data set"] == name)
    adata = anndata.read_h5ad(shared_data / f"{name}.h5ad")
    now = tool.describe(name, tool.SETS[name], adata, shared_data)
    assert {column: str(value) for column, value in now.items()} == committed


def test_another_table_takes_the_place_of_the_old_one(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n")
    tool.write_page(tool.read_csv(), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    tool.write_page(tool.read_csv(), page)
    assert page.read_text() == text
