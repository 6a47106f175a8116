"""The rules by which the bundled table is made, on small made-up facts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from build_gene_table import number_texts, speaks_for, text_hash, write_tsv
from gene_go import fit, in_turn
from gene_human import Gene, clean, settle_previous, split_commas, withdrawn_symbols, worth_it
from gene_inputs import PACKAGES, Inputs, check_hash
from gene_rodents import best, finish, kin_name, root_name, set_orthologue, unambiguous


class TestTermOrder:
    counts = Counter({"GO:1": 5, "GO:2": 50, "GO:3": 7, "GO:4": 7, "GO:5": 1})

    def test_experiments_before_statements_before_similarity_before_machines(self) -> None:
        terms = {
            (0, "GO:1"): {"IEA"},
            (0, "GO:2"): {"TAS"},
            (0, "GO:3"): {"IDA"},
            (0, "GO:4"): {"ISS"},
            (0, "GO:5"): {"HDA"},
        }
        assert in_turn(terms, self.counts) == ["GO:3", "GO:5", "GO:2", "GO:4", "GO:1"]

    def test_a_term_counts_by_its_best_evidence(self) -> None:
        assert in_turn({(0, "GO:2"): {"IEA", "IMP"}, (0, "GO:1"): {"TAS"}}, self.counts) == ["GO:2", "GO:1"]

    def test_more_evidence_then_fewer_genes_then_smaller_id(self) -> None:
        terms = {(0, "GO:4"): {"IDA"}, (0, "GO:3"): {"IDA"}, (0, "GO:5"): {"IDA"}, (0, "GO:2"): {"IDA", "IMP"}}
        assert in_turn(terms, self.counts) == ["GO:2", "GO:5", "GO:3", "GO:4"]

    def test_two_processes_a_function_a_place_in_turn(self) -> None:
        terms = {(aspect, f"GO:{aspect}{i}"): {"IDA"} for aspect in range(3) for i in range(3)}
        order = ["GO:00", "GO:01", "GO:10", "GO:20", "GO:02", "GO:11", "GO:21", "GO:12", "GO:22"]
        assert in_turn(terms, Counter()) == order

    def test_the_order_of_the_input_does_not_matter(self) -> None:
        terms = {(i % 3, f"GO:{i}"): {"IDA"} if i % 2 else {"IEA"} for i in range(12)}
        assert in_turn(dict(reversed(terms.items())), Counter()) == in_turn(terms, Counter())


@pytest.mark.parametrize(
    ("limit", "kept"),
    [(9, []), (13, ["a"]), (14, ["a"]), (15, ["a", "b"]), (100, ["a", "b", "c"])],
)
def test_fit_stops_at_the_first_term_that_is_too_long(limit: int, kept: list[str]) -> None:
    # 10 tokens before the list; each term costs its tokens and a mark of punctuation.
    assert fit(10, ["a", "b", "c"], {"a": 2, "b": 1, "c": 9}, limit) == kept


class TestHuman:
    def test_a_symbol_stays_with_its_last_bearer(self) -> None:
        early, late = Gene("1", "EPRS1", previous=["QARS"]), Gene("2", "QARS1", previous=["QARS"])
        settle_previous([early, late], {}, {"2": "QARS"})
        assert (early.previous, early.synonyms, late.previous) == ([], ["QARS"], ["QARS"])

    def test_undecided_symbols_stay_with_all(self) -> None:
        one, two = Gene("1", "A", previous=["X"]), Gene("2", "B", previous=["X"])
        settle_previous([one, two], {}, {})
        assert one.previous == two.previous == ["X"]

    def test_a_pseudogene_takes_no_symbol_from_a_gene(self) -> None:
        gene, pseudo = Gene("1", "A", previous=["X"]), Gene("2", "AP1", gene_type="pseudo", previous=["X"])
        settle_previous([gene, pseudo], {}, {"2": "X"})
        assert gene.previous == ["X"]

    def test_withdrawn_symbols_of_one_successor(self) -> None:
        entries = [
            {"Status": "Symbol Withdrawn", "Approved symbol": "OLD", "Approved name": "symbol withdrawn, see HGNC:1"},
            {"Status": "Symbol Withdrawn", "Approved symbol": "SPLIT", "Approved name": "see HGNC:1 and HGNC:2"},
            {"Status": "Entry Withdrawn", "Approved symbol": "GONE", "Approved name": "see HGNC:1"},
        ]
        assert dict(withdrawn_symbols(entries)) == {"HGNC:1": ["OLD"]}

    @pytest.mark.parametrize(
        ("gene", "kept"),
        [
            (Gene("1", "LOC1", "elongin-A3 member B", "protein-coding"), True),
            (Gene("1", "LOC1", "uncharacterized LOC1", "protein-coding"), False),
            (Gene("1", "LOC1", "some RNA", "ncRNA"), False),
            (Gene("1", "NTT", "noncoding transcript in T cells", "ncRNA"), True),
            (Gene("1", "LOC1", "matrin 3 pseudogene", "pseudo", ensembl=["ENSG1"]), True),
            (Gene("1", "LOC1", "matrin 3 pseudogene", "pseudo"), False),
            (Gene("1", "AIC", "Aicardi syndrome", "unknown"), False),
        ],
        ids=["coding", "unnamed", "LOC RNA", "named RNA", "pseudogene with id", "pseudogene without", "phenotype"],
    )
    def test_worth_it(self, gene: Gene, kept: bool) -> None:
        assert worth_it(gene) is kept

    def test_row_says_nothing_twice(self) -> None:
        row = Gene(
            "1", "A", "alpha", synonyms=["B", "A", "C", "B"], previous=["C", "A", "C"], ensembl=["E1", "E1"]
        ).row()
        assert (row["synonyms"], row["previous"], row["ensembl"]) == ("B", "C", "E1")

    def test_clean(self) -> None:
        assert clean("  a\tname  of \n two. ") == "a name of two"
        assert split_commas("A, B,,C ") == ["A", "B", "C"]


class TestRodents:
    def test_the_namesake_wins(self) -> None:
        xiap, birc8 = Gene("331", "XIAP"), Gene("112401", "BIRC8")
        hits = [((9,), birc8, "HGNC"), ((1,), xiap, "HGNC")]
        assert best(Gene(symbol="Xiap"), hits)[1] is xiap

    def test_a_gene_before_a_pseudogene_then_support_then_the_older_id(self) -> None:
        pseudo, weak = Gene("1", "P", gene_type="pseudo"), Gene("5", "W")
        strong, younger = Gene("3", "S"), Gene("4", "Y")
        mouse = Gene(symbol="M")
        assert best(mouse, [((9,), pseudo, ""), ((1,), weak, "")])[1] is weak
        assert best(mouse, [((1,), weak, ""), ((2,), strong, ""), ((2,), younger, "")])[1] is strong

    def test_an_orthologue_lends_its_type_unless_it_is_a_pseudogene(self) -> None:
        gene, other = Gene(symbol="A"), Gene(symbol="Uox")
        set_orthologue(gene, ((), Gene("1", "A", gene_type="protein-coding"), "HGNC"))
        set_orthologue(other, ((), Gene("2", "UOX", gene_type="pseudo"), "HGNC"))
        assert (gene.human_gene_id, gene.orthologue_by, gene.gene_type) == ("1", "HGNC", "protein-coding")
        assert (other.human_gene_id, other.gene_type) == ("2", "")

    @pytest.mark.parametrize(
        ("symbol", "name"),
        [
            ("Ighv10-2", "immunoglobulin heavy variable 10-2"),
            ("Trbj1-7", "T cell receptor beta joining 1-7"),
            ("Mir7036", "microRNA 7036"),
            ("Mirlet7f-2", "microRNA let7f-2"),
            ("Vmn1r-ps3", ""),
            ("Mirt2", ""),
            ("Sod1", ""),
        ],
    )
    def test_root_name(self, symbol: str, name: str) -> None:
        assert root_name(symbol) == name

    @pytest.mark.parametrize(
        ("symbol", "name"),
        [
            ("Rpl21-ps8", "ribosomal protein L21, pseudogene 8"),
            ("Pgk1-rs7", "phosphoglycerate kinase 1, related sequence 7"),
            ("Wt1os", "Wilms tumor 1, opposite strand"),
            ("Unknown-ps1", ""),
        ],
    )
    def test_kin_name(self, symbol: str, name: str) -> None:
        names = {"Rpl21": "ribosomal protein L21", "Pgk1": "phosphoglycerate kinase 1", "Wt1": "Wilms tumor 1"}
        assert kin_name(symbol, names) == name

    def test_finish_drops_what_says_nothing(self) -> None:
        genes = [
            Gene(symbol="Gm1", accession="MGI:9", ensembl=["E1"]),
            Gene(symbol="Gm2", accession="MGI:8", ensembl=["E2"], human_gene_id="1"),
            Gene(symbol="Named", accession="MGI:7", name="a name"),
            Gene(symbol="Bare", accession="MGI:6", ensembl=["E3"]),
            Gene(symbol="U6", accession="MGI:5", ensembl=["E4"]),
            Gene(symbol="U6", accession="MGI:4", ensembl=["E5"]),
        ]
        assert [gene.symbol for gene in finish(genes)] == ["Bare", "Gm2"]

    def test_unambiguous(self) -> None:
        one, two = Gene(symbol="A"), Gene(symbol="B")
        assert unambiguous([("x", one), ("y", two), ("x", two), ("y", two)]) == {"y": two}


class TestTexts:
    names = {"GO:1": "one", "GO:2": "two"}

    def test_one_row_for_each_distinct_text(self) -> None:
        human = [Gene("1", "A", "alpha", go=["GO:1"]), Gene("2", "B", "beta")]
        mouse = [Gene("7", "a", "alpha of mouse", human_gene_id="1"), Gene("8", "M", "mouse only"), Gene("9", "Gm1")]
        texts, rows = number_texts({"human": human, "mouse": mouse, "rat": []}, self.names)
        assert texts == ["A: alpha. one.", "B: beta.", "A: alpha.", "M: mouse only."]
        pairs = [tuple(rows[id(gene)].values()) for gene in human + mouse]
        assert pairs == [("0", "2"), ("1", "1"), ("0", "2"), ("3", "3"), ("-1", "-1")]

    def test_a_human_pseudogene_speaks_only_for_the_nameless(self) -> None:
        pseudo = Gene("1", "UOX", "urate oxidase (pseudogene)", "pseudo")
        named, nameless = Gene("7", "Uox", "urate oxidase", human_gene_id="1"), Gene("8", "Uox2", human_gene_id="1")
        assert speaks_for(named, {"1": pseudo}) is named
        assert speaks_for(nameless, {"1": pseudo}) is pseudo

    def test_hash_depends_on_order(self) -> None:
        assert text_hash(["a", "b"]) != text_hash(["b", "a"])


class TestFiles:
    def test_same_rows_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a.gz", "b.gz"):
            write_tsv(tmp_path / name, [{"x": "1", "y": "µ"}])
        assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()

    def test_a_tab_in_a_fact_is_caught(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="within a fact"):
            write_tsv(tmp_path / "a.gz", [{"x": "1\t2"}])

    def test_a_wrong_archive_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.whl").write_bytes(b"something else")
        with pytest.raises(SystemExit, match="not the pinned"):
            check_hash(tmp_path / "x.whl", "0" * 64)

    def test_inputs_check_what_lies_in_the_folder(self, tmp_path: Path) -> None:
        for package in PACKAGES.values():
            (tmp_path / package.archive).write_bytes(b"")
        with pytest.raises(SystemExit, match="not the pinned"):
            Inputs(tmp_path)

    def test_goatools_tables_are_parsed_not_run(self, tmp_path: Path) -> None:
        target = tmp_path / "goatools" / "goatools" / "test_data"
        target.mkdir(parents=True)
        (target / "genes_NCBI_10090_All.py").write_text(
            "raise SystemExit('imported')\nGENEID2NT = {\n"
            "  12647 : NtData(tax_id=10090, GeneID=12647, Symbol='Chat', description='it\\'s a name'),\n}\n"
        )
        inputs = Inputs.__new__(Inputs)
        inputs.unpacked = tmp_path
        (row,) = inputs.goatools("10090_All.py")
        assert row == {"tax_id": "10090", "GeneID": "12647", "Symbol": "Chat", "description": "it's a name"}
