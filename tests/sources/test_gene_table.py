from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lexicell._errors import InputError
from lexicell.sources._gene_table import COLUMNS, GeneTable

ROWS = [
    {
        "gene_id": "6647",
        "symbol": "SOD1",
        "name": "superoxide dismutase 1",
        "synonyms": "ALS1|SOD",
        "accession": "HGNC:11179",
    },
    {"gene_id": "", "symbol": "µ-gene", "name": "", "human_gene_id": "6647"},
]


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    table = GeneTable.from_rows("mouse", ROWS)
    table.write(tmp_path / name)
    again = GeneTable.read(tmp_path / name, "mouse")
    assert list(again) == list(table)
    assert again.extra == {"accession": ["HGNC:11179", ""]}
    assert again.organism == "mouse"


def test_same_table_same_bytes(tmp_path: Path) -> None:
    for name in ("a.tsv.gz", "b.tsv.gz"):
        GeneTable.from_rows("human", ROWS).write(tmp_path / name)
    assert (tmp_path / "a.tsv.gz").read_bytes() == (tmp_path / "b.tsv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.tsv.gz").read_bytes()).startswith(b"gene_id\tsymbol\t")


@pytest.mark.parametrize("text", ["symbol\tname\nA\n", "symbol\tname\nA\tB\tC\tD\tE\n"], ids=["short", "long"])
def test_ragged_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError, match="every line must have the 2 columns"):
        GeneTable.read(tmp_path / "t.tsv", "human")


def test_header_alone(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("#symbol\tname\n")
    assert len(GeneTable.read(tmp_path / "t.tsv", "human")) == 0


def test_columns_of_unequal_length() -> None:
    with pytest.raises(InputError, match="must have one length"):
        GeneTable.from_columns("human", {"symbol": ["A", "B"], "name": ["a"]})


def test_missing_columns_are_empty() -> None:
    table = GeneTable.from_columns("human", {"symbol": ["A", "B"]})
    assert all(table.column(name) == ["", ""] for name in COLUMNS if name != "symbol")


def test_row_of_gene_id_takes_the_first_and_skips_empty() -> None:
    table = GeneTable.from_columns("human", {"symbol": ["A", "B", "C"], "gene_id": ["7", "", "7"]})
    assert table.row_of_gene_id == {"7": 0}
