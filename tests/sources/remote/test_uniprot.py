"""UniProt's exports, with entries written for these tests."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from lexicell._errors import InputError
from lexicell.sources import get
from lexicell.sources.ncbi import NcbiSource
from lexicell.sources.uniprot import UniprotSource, clean_function, read_export

HEADER = ["Entry", "Reviewed", "Protein names", "Gene Names", "Organism (ID)", "Function [CC]", "GeneID", "Ensembl"]
ROWS = [
    ["A0A001", "unreviewed", "Copy of SOD1", "SOD1", "9606", "FUNCTION: Not looked at.", "6647;", ""],
    ["P00441", "reviewed", "Superoxide dismutase [Cu-Zn] (EC 1.15.1.1) (hSod1)", "SOD1 ALS1", "9606",
     "FUNCTION: Destroys radicals within cells (PubMed:24140062). {ECO:0000269|PubMed:24140062}.", "6647;", ""],
    ["P00441-2", "reviewed", "Isoform", "SOD1", "9606", "FUNCTION: An isoform's own.", "6647;", ""],
    ["Q13148", "reviewed", "TAR DNA-binding protein 43", "TARDBP TDP43", "9606", "", "23435;", ""],
    ["P62805", "reviewed", "Histone H4", "H4C1 H4FA; H4C2 H4FI", "9606", "FUNCTION: Winds up DNA.", "8359;8366;", ""],
    ["X00001", "reviewed", "Mouse protein", "Mus1", "10090", "FUNCTION: Only in mice.", "80000001;", ""],
    ["X00002", "unreviewed", "Lonely", "LONE1", "9606", "FUNCTION: Guessed.", "", ""],
]  # fmt: skip


def tsv(rows: list[list[str]] = ROWS, header: list[str] = HEADER) -> str:
    return "\n".join("\t".join(row) for row in (header, *rows)) + "\n"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "uniprot.tsv"
    path.write_text(tsv())
    return path


def one(source: Any, name: str, organism: str = "human") -> dict[str, Any]:
    found = source.texts([name], organism=organism)
    return {**found.table.iloc[0].to_dict(), "text": found.texts[0]}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("FUNCTION: Binds DNA. {ECO:0000250}.", "Binds DNA."),
        ("FUNCTION: Binds DNA (PubMed:1, PubMed:23). {ECO:0000269|PubMed:1, ECO:0000269|PubMed:23}.", "Binds DNA."),
        ("FUNCTION: Binds (By similarity). Cuts (Probable). {ECO:0000305}.", "Binds. Cuts."),
        ("FUNCTION: [Isoform 2]: Own part. {ECO:1}.; FUNCTION: Main part.", "Main part. Isoform 2: Own part."),
        ("FUNCTION: (Microbial infection) Lets a virus in.", "(Microbial infection) Lets a virus in."),
        ("FUNCTION: Moves A (alpha) and B (Ref.2, PubMed:5).", "Moves A (alpha) and B."),
        ("FUNCTION: One; then two.", "One; then two."),
        ("", ""),
        ("No label at all.", "No label at all."),
    ],
)
def test_evidence_marks_and_papers_are_taken_out(raw, clean):
    assert clean_function(raw) == clean


class TestExport:
    def test_the_reviewed_canonical_entry_is_used(self, export):
        found = one(UniprotSource(export), "SOD1")
        assert found["text"] == "SOD1: superoxide dismutase 1. Destroys radicals within cells."
        assert found["accession"] == "P00441"
        assert found["text_source"] == "UniProt function"
        assert found["gene_id"] == "6647"

    def test_an_entry_without_function_has_the_name(self, export):
        found = one(UniprotSource(export), "TARDBP")
        assert (found["text"], found["text_source"]) == ("TARDBP: TAR DNA binding protein.", "UniProt name")

    @pytest.mark.parametrize("name", ["H4C1", "H4C2", "ENSG00000278637", "8366"])
    def test_several_genes_of_one_protein(self, export, name):
        assert one(UniprotSource(export, template="{function}"), name)["accession"] == "P62805"

    @pytest.mark.parametrize("name", ["6647", "ENSG00000142168", "ENSG00000142168.17", "ALS1"])
    def test_ids_and_other_names_lead_to_the_gene(self, export, name):
        assert one(UniprotSource(export), name)["accession"] == "P00441"

    def test_a_gene_only_an_unreviewed_entry_knows(self, export):
        found = one(UniprotSource(export), "LONE1")
        assert found["text_source"] == "UniProt function, unreviewed"
        assert one(UniprotSource(export, reviewed_only=True), "LONE1")["text"] == ""

    def test_genes_without_entry_and_unknown_names(self, export):
        table = UniprotSource(export).texts(["TP53", "NOT-A-GENE"], organism="human").table
        assert list(table["gene_id"]) == ["7157", ""]
        assert table["note"].iloc[0] == "UniProt has no entry for this gene"
        assert table["note"].iloc[1] != ""
        assert list(table["text_source"]) == ["", ""]

    def test_only_the_species_asked_for(self, export):
        assert one(UniprotSource(export), "Mus1", "mouse")["accession"] == "X00001"
        with pytest.raises(InputError, match=r"has no entry of pig \(taxon 9823\)"):
            UniprotSource(export).texts(["SOD1"], organism="pig")

    def test_gzip(self, export, tmp_path):
        path = tmp_path / "export.tsv.gz"
        path.write_bytes(gzip.compress(export.read_bytes()))
        found = {protein.accession: protein for protein in read_export(path)}
        assert found["P00441"].function == "Destroys radicals within cells."
        assert found["P00441"].gene_ids == ("6647",)
        assert found["P00441"].reviewed
        assert one(UniprotSource(path, template="{function}"), "SOD1")["text"] == found["P00441"].function

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("Entry\tFunction [CC]\nP1\tFUNCTION: x.\n", r"'Entry', 'Function \[CC\]'; needed are"),
            ("Entry\tGene Names\nP1\tSOD1\n", "needed are 'Function"),
            ("{", "needed are 'Function"),
            (tsv([]), "holds no UniProt entries"),
        ],
        ids=["no-gene", "no-function", "json", "empty"],
    )
    def test_a_file_that_is_no_export(self, tmp_path, content, message):
        path = tmp_path / "x.tsv"
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            UniprotSource(path).texts(["SOD1"], organism="human")

    def test_provenance(self, export):
        known = UniprotSource(export, max_words=4).texts(["SOD1"], organism="human").provenance
        assert known["file"] == "uniprot.tsv"
        assert len(known["sha256"]) == 64
        assert known["max_words"] == 4
        assert "CC BY 4.0" in known["licence"]

    def test_a_species_without_a_bundled_table_goes_by_uniprots_own_names(self, tmp_path):
        path = tmp_path / "pig.tsv"
        path.write_text(tsv([["X1", "reviewed", "Pig protein (PP)", "PIG1 PG", "9823", "FUNCTION: Grunts.", "5;", ""]]))
        found = one(UniprotSource(path), "PG", "pig")
        assert (found["symbol"], found["matched_by"], found["text"]) == (
            "PIG1",
            "synonym",
            "PIG1: Pig protein. Grunts.",
        )


class TestWithNcbi:
    def test_it_can_be_added_to_ncbis_texts(self, ncbi, export):
        source = NcbiSource(uniprot=export)
        found = source.texts(["SOD1", "TARDBP"], organism="human")
        assert found.texts[0].endswith("motor neuron disease. Destroys radicals within cells.")
        assert list(found.table["text_source"]) == ["RefSeq summary and UniProt function", "Alliance summary"]
        assert found.provenance["uniprot"]["file"] == "uniprot.tsv"

    def test_a_mouse_gene_told_by_its_human_orthologue_has_the_human_function(self, ncbi, export):
        source = NcbiSource(uniprot=export)
        assert one(source, "Sod1", "mouse")["text"].endswith("Destroys radicals within cells.")
        assert one(source, "Mus1", "mouse")["text"].endswith("Known in the mouse alone. Only in mice.")

    def test_the_registry_makes_it_from_a_path(self, export):
        assert one(get(f"uniprot:{export}"), "SOD1")["accession"] == "P00441"
        with pytest.raises(InputError, match="uniprot:PATH"):
            get("uniprot")
