"""Texts from files of many makes; GenePT's published form among them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from lexicell._errors import InputError, MissingDependencyError, MissingKeyError
from lexicell.sources import get
from lexicell.sources.table import TableSource, read_frame

ROWS = [("SOD1", "Removes superoxide."), ("TARDBP", "Binds RNA."), ("NAN", "There is a gene of this name.")]
WANTED = [text for _, text in ROWS]


def as_csv(separator: str = ",", header: tuple[str, ...] = ("symbol", "summary")) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([header, *ROWS])
    return out.getvalue()


FILES: dict[str, bytes] = {
    "texts.tsv": "\n".join("\t".join(row) for row in (("symbol", "summary"), *ROWS)).encode(),
    "texts.csv": as_csv().encode(),
    "commas.txt": as_csv().encode(),
    "bom.csv": as_csv().encode("utf-8-sig"),
    "windows.tsv": as_csv("\t").encode(),
    "unnamed.csv": as_csv(header=("", "what it does")).encode(),
    "genept.json": json.dumps(dict(ROWS)).encode(),
    "records.json": json.dumps([{"gene": g, "text": t, "n": 1} for g, t in ROWS]).encode(),
    "nested.json": json.dumps({g: {"text": t, "date": "x"} for g, t in ROWS}).encode(),
    "lines.jsonl": "\n".join(json.dumps({"gene": g, "text": t}) for g, t in ROWS).encode(),
    "wide.tsv": "\n".join(
        "\t".join(row)
        for row in (("n", "Gene Symbol", "note", "Description"), *(("1", g, "x", t) for g, t in ROWS))
    ).encode(),
    "from_r.tsv": "\n".join("\t".join(row) for row in (("summary",), *ROWS)).encode(),
}  # fmt: skip


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_texts(tmp_path, name, packed):
    path = write(tmp_path, name + ".gz" * packed, gzip.compress(FILES[name]) if packed else FILES[name])
    found = get(f"table:{path}").texts([g for g, _ in ROWS], organism="human")
    assert list(found.texts) == WANTED
    assert list(found.table["text_source"]) == ["table"] * 3
    assert found.provenance["file"] == path.name


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pandas as pd

    frame = pd.DataFrame({"symbol": [g for g, _ in ROWS], "summary": WANTED})
    frame.to_parquet(tmp_path / "column.parquet")
    frame.set_index("symbol").to_parquet(tmp_path / "index.parquet")
    for name in ("column.parquet", "index.parquet"):
        found = TableSource(tmp_path / name).texts([g for g, _ in ROWS], organism="human")
        assert list(found.texts) == WANTED


def test_parquet_without_pyarrow_names_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lexicell\[parquet\]'"):
        TableSource(write(tmp_path, "x.parquet", b"PAR1"))


class TestMapping:
    @pytest.fixture
    def source(self, tmp_path: Path) -> TableSource:
        return TableSource(write(tmp_path, "genept.json", FILES["genept.json"]))

    @pytest.mark.parametrize(
        ("name", "matched_by"),
        [("SOD1", "symbol"), ("ENSG00000142168.17", "ensembl"), ("sod1", "case")],
    )
    def test_the_gene_is_found_by_whatever_name(self, source, name, matched_by):
        found = source.texts([name], organism="human")
        assert found.texts[0] == "Removes superoxide."
        row = found.table.iloc[0]
        assert (row["gene_id"], row["symbol"], row["key"]) == ("6647", "SOD1", "SOD1")
        assert row["matched_by"] == matched_by

    def test_gene_ids(self, source):
        assert list(source.texts(["6647", "23435"], organism="human").texts) == WANTED[:2]

    def test_mouse_genes_find_a_human_table_through_their_orthologues(self, source):
        found = source.texts(["Sod1", "Tardbp", "Mus-only"], organism="mouse")
        assert list(found.texts) == [*WANTED[:2], ""]
        assert list(found.table["text_source"]) == ["human orthologue: table"] * 2 + [""]
        assert list(found.table["text_gene_id"]) == ["6647", "23435", ""]
        assert found.table["gene_id"].iloc[0] == "20655"

    def test_a_table_keyed_by_ensembl_ids(self, tmp_path):
        content = {"ENSG00000142168.3": "Removes superoxide.", "ENSG00000120948": "Binds RNA."}
        source = TableSource(write(tmp_path, "x.json", json.dumps(content).encode()))
        found = source.texts(["SOD1", "ENSG00000120948.9", "ENSG00000142168"], organism="human")
        assert list(found.texts) == ["Removes superoxide.", "Binds RNA.", "Removes superoxide."]

    def test_a_table_keyed_by_gene_ids(self, tmp_path):
        source = TableSource(write(tmp_path, "x.json", json.dumps([{"gene": 6647, "text": "T."}]).encode()))
        assert list(source.texts(["SOD1", "ENSG00000142168"], organism="human").texts) == ["T.", "T."]

    def test_an_old_symbol_in_the_table_is_found_by_the_new_one(self, tmp_path):
        source = TableSource(write(tmp_path, "x.json", json.dumps({"SEPT2": "T."}).encode()))
        assert list(source.texts(["SEPTIN2", "SEPT2", "2-Sep"], organism="human").texts) == ["T.", "T.", "T."]

    def test_the_tables_own_names_come_first(self, tmp_path):
        content = json.dumps({"SEPTIN2": "new.", "SEPT2": "old."}).encode()
        found = TableSource(write(tmp_path, "x.json", content)).texts(["SEPT2", "SEPTIN2"], organism="human")
        assert list(found.texts) == ["old.", "new."]

    def test_genes_that_only_the_table_knows(self, tmp_path):
        source = TableSource(write(tmp_path, "x.json", json.dumps({"OUR-TRANSGENE": "Glows."}).encode()))
        found = source.texts(["OUR-TRANSGENE", "SOD1", "ANOTHER"], organism="human")
        assert list(found.texts) == ["Glows.", "", ""]
        assert list(found.table["matched_by"]) == ["table", "symbol", ""]
        assert found.table["note"].iloc[1] == "the table has no text for this gene"
        assert found.table["note"].iloc[2] != ""

    def test_a_species_the_package_knows_nothing_of(self, tmp_path):
        source = TableSource(write(tmp_path, "x.json", json.dumps({"AT1G01010": "A plant gene."}).encode()))
        found = source.texts(["AT1G01010", "AT1G01020"], organism="arabidopsis")
        assert list(found.texts) == ["A plant gene.", ""]
        assert found.table["symbol"].iloc[0] == "AT1G01010"

    def test_no_name_is_lost(self, source):
        names = ["SOD1", "x", "SOD1", ""]
        assert list(source.texts(names, organism="human").table.index) == names


class TestTexts:
    def test_limits_and_masks(self, tmp_path):
        path = write(tmp_path, "x.json", json.dumps({"SOD1": "Removes superoxide from the cell."}).encode())
        found = TableSource(path, max_words=3, mask_terms=["superoxide"]).texts(["SOD1"], organism="human")
        assert found.texts[0] == "Removes from the"
        assert found.provenance["mask_terms"] == "superoxide"

    def test_genes_with_several_texts_are_reported(self, tmp_path):
        path = write(tmp_path, "x.tsv", b"gene\ttext\nA1\tone\nA1\tone\nB1\tone\nB1\ttwo\nC1\t\n\tx\n")
        with pytest.warns(UserWarning, match=r"1 genes have several texts in .*'B1'"):
            source = TableSource(path)
        assert source.table == {"A1": "one", "B1": "one"}
        assert source.texts(["A1"], organism="9823").provenance["duplicates"] == 1

    def test_quotation_marks_within_tab_separated_texts_stay(self, tmp_path):
        path = write(tmp_path, "x.tsv", b'gene\ttext\nA1\t"alpha" and "beta\nB1\t"a ""quoted"" one"\n')
        assert TableSource(path).table == {"A1": '"alpha" and "beta', "B1": 'a "quoted" one'}

    def test_a_line_break_within_a_quoted_csv_cell(self, tmp_path):
        path = write(tmp_path, "x.csv", b'gene,text\nA1,"one\ntwo, three"\n')
        assert TableSource(path).table == {"A1": "one two, three"}


class TestErrors:
    def test_columns_that_are_not_recognized_are_listed(self, tmp_path):
        path = write(tmp_path, "x.csv", b"locus,a,b\nA1,x,y\n")
        with pytest.raises(InputError, match=r"'locus', 'a', 'b': which holds the genes.*gene_column="):
            TableSource(path)
        with pytest.raises(InputError, match="which holds the texts"):
            TableSource(path, gene_column="locus")
        assert TableSource(path, gene_column="locus", text_column="b").table == {"A1": "y"}

    def test_a_column_that_is_not_there(self, tmp_path):
        path = write(tmp_path, "x.csv", b"locus,a,b\nA1,x,y\n")
        with pytest.raises((InputError, MissingKeyError), match=r"gene_column.*'locus', 'a', 'b'"):
            TableSource(path, gene_column="gene")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.tsv", b"gene\ttext\nA1\tx\ty\tz\n", "line 2 has 4 cells, the first has 2"),
            ("x.csv", b"", "cannot be read as .csv"),
            ("x.json", b"{", "cannot be read as .json"),
            ("x.json", b"[1, 2]", "an object of gene -> text"),
            ("x.json", b'{"A": ["x"]}', "an object of gene -> text"),
            ("x.tsv.gz", b"not gzip", "cannot be read as .tsv"),
            ("x.tsv", b"\xff\xfe\x00", "cannot be read as .tsv"),
            ("x.docx", b"", "not a table that can be read; give one of .tsv"),
            ("x.tsv", b"gene\ttext\nA1\t\n", "has no text in column 'text'"),
        ],
        ids=["ragged", "empty", "broken-json", "numbers", "lists", "not-gzip", "not-utf8", "other", "no-texts"],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path, name, content, message):
        with pytest.raises(InputError, match=message):
            TableSource(write(tmp_path, name, content))

    def test_no_file(self):
        with pytest.raises(InputError, match=r"no file 'nowhere.tsv'"):
            TableSource("nowhere.tsv")

    def test_broken_parquet(self, tmp_path):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        with pytest.raises(InputError, match=r"cannot be read as .parquet"):
            TableSource(write(tmp_path, "x.parquet", b"PAR1 no"))


@pytest.mark.parametrize(
    ("name", "organism", "genes", "n"),
    [
        ("gene_summaries_human.tsv.gz", "human", ["A1BG", "ENSG00000175899"], 15_136),
        ("gene_summaries_mouse.tsv.gz", "mouse", ["387201"], 3_835),
        ("gene_summaries_rat.tsv.gz", "rat", ["404951"], 1_900),
    ],
)
def test_real_summaries(shared_data, name, organism, genes, n):
    source = TableSource(shared_data / name)
    assert len(source.table) == n  # 13 of the 15,149 human summaries have no symbol
    assert all(source.texts(genes, organism=organism).texts)


def test_a_frame_keeps_what_stands_in_the_file(tmp_path):
    frame: Any = read_frame(write(tmp_path, "x.tsv", b"gene\ttext\nNA\tnan\n"))[0]
    assert frame.to_dict("list") == {"gene": ["NA"], "text": ["nan"]}
