"""Every trap of gene names, by name, against the bundled tables and against small made-up ones."""

from __future__ import annotations

import pytest

from lexicell._errors import InputError
from lexicell.sources._gene_table import GeneTable
from lexicell.sources.bundled import load_table
from lexicell.sources.names.mapping import match


def one(name: str, organism: str = "human", **options: object) -> tuple[str, str, str]:
    """Symbol, matched_by and note of a single name."""
    row = match([name], load_table(organism), **options).iloc[0]  # type: ignore[arg-type]
    return row["symbol"], row["matched_by"], row["note"]


def small(*rows: dict[str, str]) -> GeneTable:
    return GeneTable.from_rows("human", rows)


TRAPS = {
    # name: (organism, symbol, matched_by, a word of the note)
    "ENSA is a symbol, not an Ensembl id": ("ENSA", "human", "ENSA", "symbol", ""),
    "SEPT2 was renamed": ("SEPT2", "human", "SEPTIN2", "previous", "now SEPTIN2"),
    "SEPTIN2 is official": ("SEPTIN2", "human", "SEPTIN2", "symbol", ""),
    "MARCH1 was renamed": ("MARCH1", "human", "MARCHF1", "previous", "now MARCHF1"),
    "MARC1 was renamed": ("MARC1", "human", "MTARC1", "previous", "now MTARC1"),
    "SEP15 was renamed": ("SEP15", "human", "SELENOF", "previous", "now SELENOF"),
    "DEC1 has another bearer": ("DEC1", "human", "DELEC1", "previous", "BHLHE40"),
    "2-Sep is SEPT2": ("2-Sep", "human", "SEPTIN2", "previous", "spreadsheet's date for SEPT2"),
    "Sep-02 is SEPT2": ("Sep-02", "human", "SEPTIN2", "previous", "spreadsheet's date"),
    "2022-09-02 is SEPT2": ("2022-09-02", "human", "SEPTIN2", "previous", "spreadsheet's date"),
    "15-Sep is SEP15": ("15-Sep", "human", "SELENOF", "previous", "SEP15"),
    "3-Mar is MARCH3": ("3-Mar", "human", "MARCHF3", "previous", "MARCH3"),
    "1-Mar is MARCH1 or MARC1": ("1-Mar", "human", "", "", "MARCH1 (MARCHF1) or MARC1 (MTARC1)"),
    "1-Dec is DEC1": ("1-Dec", "human", "DELEC1", "previous", "DEC1"),
    "2-Sep in mouse": ("2-Sep", "mouse", "Septin2", "previous", "spreadsheet's date for Sept2"),
    "2.31E+13 cannot be told": ("2.31E+13", "mouse", "", "", "spreadsheet"),
    "30-Jun cannot be told": ("30-Jun", "human", "", "", "spreadsheet"),
    "TYMP is no name of SCO2": ("TYMP", "human", "TYMP", "symbol", ""),
    "ECGF1 is TYMP": ("ECGF1", "human", "TYMP", "previous", "now TYMP"),
    "CYP2D6 is not CYP2D7": ("CYP2D6", "human", "CYP2D6", "symbol", ""),
    "CYP2D7 is not CYP2D6": ("CYP2D7", "human", "CYP2D7", "symbol", ""),
    "QARS had two bearers": ("QARS", "human", "QARS1", "previous", "also another name of EPRS1"),
    "C11orf48 stands for two genes": ("C11orf48", "human", "", "", "ambiguous: a former symbol of C11orf98, LBHD1"),
    "OCT4 has pseudogenes": ("OCT4", "human", "POU5F1", "synonym", "pseudogenes have this name too"),
    "IL8 was renamed": ("IL8", "human", "CXCL8", "previous", "now CXCL8"),
    "an Ensembl id": ("ENSG00000142168", "human", "SOD1", "ensembl", ""),
    "an Ensembl id with version": ("ENSG00000142168.15", "human", "SOD1", "ensembl", ""),
    "a PAR_Y id": ("ENSG00000182378_PAR_Y", "human", "PLCXD1", "ensembl", "chromosome Y"),
    "a PAR_Y id with version": ("ENSG00000182378.14_PAR_Y", "human", "PLCXD1", "ensembl", "chromosome Y"),
    "an old PAR_Y id": ("ENSGR0000182378.14", "human", "PLCXD1", "ensembl", "chromosome Y"),
    "a mouse Ensembl id in human": ("ENSMUSG00000022982", "human", "", "", "an Ensembl id of mouse"),
    "a zebrafish Ensembl id": ("ENSDARG00000043848", "human", "", "", "another species"),
    "a transcript id": ("ENST00000270142", "human", "", "", "transcript"),
    "an unknown Ensembl id": ("ENSG00000999999", "human", "", "", "no named human gene"),
    "two ids in one": ("ENSG00000142168_SOD1", "human", "SOD1", "ensembl", "read from"),
    "HLA.A has lost its dash": ("HLA.A", "human", "HLA-A", "symbol", "dots for dashes"),
    "MT.ND1 has lost its dash": ("MT.ND1", "human", "MT-ND1", "symbol", "dots for dashes"),
    "TBCE.1 was made unique": ("TBCE.1", "human", "TBCE", "symbol", "dropped"),
    "TMBIM4-1 was made unique": ("TMBIM4-1", "human", "TMBIM4", "symbol", "dropped"),
    "NKX2-1 is a symbol": ("NKX2-1", "human", "NKX2-1", "symbol", ""),
    "SNORA40.5 is another gene": ("SNORA40.5", "human", "", "", "no human gene"),
    "an X before a digit": ("X2310009E13Rik", "mouse", "Snrpd3", "synonym", "an X put before"),
    "a genome before the name": ("GRCh38_SOD1", "human", "SOD1", "symbol", "genome GRCh38"),
    "three underscores": ("mm10___Actb", "mouse", "Actb", "symbol", "genome mm10"),
    "dashes from Seurat": ("mm10---Actb", "mouse", "Actb", "symbol", "genome mm10"),
    "a gene of the other genome": ("mm10___Actb", "human", "", "", "a mouse gene"),
    "small letters": ("sod1", "human", "SOD1", "case", "written SOD1"),
    "orf in capitals": ("C9ORF72", "human", "C9orf72", "case", "written C9orf72"),
    "a LOC number is a GeneID": ("LOC6647", "human", "SOD1", "entrez", "GeneID"),
    "an old mouse symbol": ("Tmem189", "mouse", "Peds1", "previous", "now Peds1"),
    "a mitochondrial mouse gene": ("mt-Nd1", "mouse", "mt-Nd1", "symbol", ""),
    "a rat gene": ("Chat", "rat", "Chat", "symbol", ""),
    "a clone": ("RP11-34P13.7", "human", "", "", "clone"),
    "a predicted mouse gene": ("Gm99999", "mouse", "", "", "clone"),
    "a spike-in": ("ERCC-00002", "human", "", "", "spike-in"),
    "genes counted as one": ("RBM14-RBM4,RBM4", "human", "", "", "ambiguous: several genes, RBM14-RBM4, RBM4"),
    "a gene and a clone": ("AF011889.5,IDS", "human", "IDS", "symbol", "the one named gene"),
    "spaces around": (" SOD1 ", "human", "SOD1", "symbol", "spaces"),
    "an empty name": ("", "human", "", "", "no human gene"),
    "nan is no name of SCN11A": ("nan", "human", "", "", "a name is missing"),
    "NaN is no name of SCN11A": ("NaN", "human", "", "", "a name is missing"),
    "NA is no name of XK": ("NA", "human", "", "", "a name is missing"),
    "None is no gene": ("None", "human", "", "", "a name is missing"),
    "spaces are no gene": ("  ", "mouse", "", "", "a name is missing"),
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
def test_trap(trap: tuple[str, str, str, str, str]) -> None:
    name, organism, symbol, by, word = trap
    found = one(name, organism)
    assert found[:2] == (symbol, by)
    assert word in found[2]
    assert word or not found[2], "a plain match needs no note"


def test_every_unmatched_name_says_why() -> None:
    frame = match(["NOTAGENE", "RP11-1.2", "ENSG00000999999", "1-Mar", ""], load_table("human"))
    assert (frame["row"] == -1).all()
    assert (frame["note"] != "").all()
    assert (frame["gene_id"] == "").all()


def test_official_beats_previous_beats_synonym() -> None:
    table = small(
        {"gene_id": "1", "symbol": "A", "synonyms": "B|C"},
        {"gene_id": "2", "symbol": "B", "previous": "C"},
        {"gene_id": "3", "symbol": "C"},
    )
    frame = match(["A", "B", "C"], table)
    assert frame["gene_id"].tolist() == ["1", "2", "3"]
    assert frame["note"].tolist() == ["", "", "also a former symbol of B"]


def test_ambiguous_synonym_lists_candidates() -> None:
    table = small({"symbol": "A", "synonyms": "X"}, {"symbol": "B", "synonyms": "X"})
    frame = match(["X"], table)
    assert frame["row"].tolist() == [-1]
    assert frame["note"].tolist() == ["ambiguous: another name of A, B"]


def test_a_name_listed_twice_for_one_gene_is_not_ambiguous() -> None:
    table = small({"gene_id": "1", "symbol": "A", "synonyms": "x|y|x"})
    assert match(["x"], table)["gene_id"].tolist() == ["1"]


def test_case_is_used_only_where_unambiguous() -> None:
    table = small({"symbol": "AB"}, {"symbol": "aB"})
    assert match(["ab"], table)["note"].tolist() == ["ambiguous: in another case, a name of AB, aB"]


def test_capitals_are_no_orthologue_map() -> None:
    """A mouse data set read as human must not match by upper case."""
    mouse = [name for name in load_table("mouse").symbol if name[0].isupper() and not name.isupper()][:500]
    frame = match(mouse, load_table("human"))
    assert (frame["matched_by"] == "case").sum() == 0
    assert frame["note"].str.contains("only in another case: .*spelled like Sod1").sum() > 100


def test_a_data_set_all_in_capitals_still_matches() -> None:
    names = [name.upper() for name in load_table("mouse").symbol[:300]]
    assert (match(names, load_table("mouse"))["matched_by"] != "").mean() > 0.95


def test_dash_number_of_a_former_symbol_or_repeated_name() -> None:
    table = small({"gene_id": "1", "symbol": "ABC", "synonyms": "XYZ"})
    assert match(["XYZ-1"], table)["row"].tolist() == [-1]
    assert match(["XYZ", "XYZ-1"], table)["row"].tolist() == [0, 0]
    assert "same gene as" not in match(["ABC-1"], table)["note"].iloc[0]
    assert match(["ABC", "ABC-1"], table)["note"].iloc[1].endswith("same gene as ABC")


class TestIdType:
    def test_numbers_are_gene_ids_where_most_names_are(self) -> None:
        frame = match(["6647", "23435", "SOD1"], load_table("human"))
        assert frame["matched_by"].tolist() == ["entrez", "entrez", "symbol"]
        assert frame.attrs["id_type"].startswith("0 of 3 names look like Ensembl ids, 2 are numbers")

    def test_a_number_among_symbols_is_not_guessed(self) -> None:
        frame = match(["6647", "SOD1", "TARDBP"], load_table("human"))
        assert frame["row"].iloc[0] == -1
        assert "id_type='entrez'" in frame["note"].iloc[0]

    def test_entrez_on_request(self) -> None:
        assert one("6647", id_type="entrez")[:2] == ("SOD1", "entrez")

    def test_ensembl_only(self) -> None:
        assert one("SOD1", id_type="ensembl") == ("", "", "not an Ensembl id")

    def test_symbol_only(self) -> None:
        assert one("ENSG00000142168", id_type="symbol")[:2] == ("", "")

    def test_mixed_names_each_by_its_form(self) -> None:
        frame = match(["ENSG00000142168.3", "ENSA", "SEPT2"], load_table("human"))
        assert frame["matched_by"].tolist() == ["ensembl", "symbol", "previous"]

    def test_unknown_choice(self) -> None:
        with pytest.raises(InputError, match="choose one of 'auto', 'symbol', 'ensembl', 'entrez'"):
            one("SOD1", id_type="refseq")


class TestHistory:
    table = small({"gene_id": "10", "symbol": "A"})

    @pytest.mark.parametrize(
        ("history", "row", "note"),
        [
            ({"7": "10"}, 0, "GeneID 7 was replaced by 10"),
            ({"7": "8", "8": "10"}, 0, "GeneID 7 was replaced by 10"),
            ({"7": "-"}, -1, "no successor"),
            ({"7": ""}, -1, "no successor"),
            ({"7": "7"}, -1, "no successor"),
        ],
        ids=["direct", "two steps", "dash", "empty", "circle"],
    )
    def test_discontinued(self, history: dict[str, str], row: int, note: str) -> None:
        frame = match(["7"], self.table, id_type="entrez", history=history)
        assert frame["row"].tolist() == [row]
        assert note in frame["note"].iloc[0]

    def test_loc_symbol_follows_history(self) -> None:
        assert match(["LOC7"], self.table, history={"7": "10"})["matched_by"].tolist() == ["entrez"]


def test_no_names() -> None:
    frame = match([], load_table("human"))
    assert len(frame) == 0
    assert list(frame.columns) == ["row", "gene_id", "symbol", "matched_by", "note"]


def test_order_and_repeats_are_kept() -> None:
    names = ["SOD1", "NOTAGENE", "SOD1", "TARDBP"]
    frame = match(names, load_table("human"))
    assert frame.index.tolist() == names
    assert frame["symbol"].tolist() == ["SOD1", "", "SOD1", "TARDBP"]


def test_every_bundled_symbol_matches_itself() -> None:
    for organism in ("human", "mouse", "rat"):
        table = load_table(organism)
        frame = match(table.symbol, table)
        wrong = frame[(frame["matched_by"] != "symbol") & ~frame["note"].str.startswith("ambiguous: the symbol of")]
        assert wrong.empty, organism
        assert (frame["matched_by"] == "symbol").mean() > 0.999, organism
