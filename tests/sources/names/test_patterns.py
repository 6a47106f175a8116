from __future__ import annotations

import pytest

from lexicell.sources.names.patterns import (
    guess_organism,
    is_clone_like,
    is_mitochondrial,
    is_ribosomal,
    row_numbers,
    split_genome,
    spreadsheet_names,
)


def words(text: str) -> list[str]:
    return text.split()


CLONES = words(
    "RP11-34P13.7 CTD-2132N18.3 CTB-89H12.4 XXbac-BPG300A18.13 LA16c-306E5.2 KB-226F1.1 AC073569.2 AL590822.1 "
    "AP000889.3 XXyac-YM21GA2.3 CITF22-92A6.1 GHc-1077H7.2 BX284668.5 Z98884.1 U47924.31 LOC105378914 Gm12345 "
    "2310009E13Rik A330070K13Rik AI506816 BC055324 MGC4859 FLJ20712 DKFZp434A062 RGD1306063 AABR07000001.1 "
    "Y_RNA Metazoa_SRP hsa-mir-1253 CT010467.1"
)
GENES = words(
    "SOD1 TARDBP C9orf72 MT-ND1 HLA-A NKX2-1 H2-K1 LINC00115 MIR124-1 KIAA0391 FAM19A5 Trp53 mt-Nd1 Hbb-bs "
    "IGHV3-23 ABC-1 RP2-1 AC1 ABCA1 ACADL CHD8 CTCF CTNNB1 RPL11 RP1 RP2 RP9 U2AF1 CT45A1 AP2A1 AP1S2 LL22NC03 "
    "Gmnn Gmeb1 Lockd Rika ENSA"
)


@pytest.mark.parametrize("name", CLONES)
def test_clone_like(name: str) -> None:
    assert is_clone_like(name)


@pytest.mark.parametrize("name", GENES)
def test_named_gene_is_not_clone_like(name: str) -> None:
    assert not is_clone_like(name)


@pytest.mark.parametrize("name", ["MT-ND1", "mt-Nd1", "Mt-nd1", "MT.ND1"])
def test_mitochondrial(name: str) -> None:
    assert is_mitochondrial(name)


@pytest.mark.parametrize("name", ["MTOR", "Mtor", "MTCO1P12", "NDUFA4"])
def test_not_mitochondrial(name: str) -> None:
    assert not is_mitochondrial(name)


@pytest.mark.parametrize("name", ["RPL13A", "RPS4X", "RPLP0", "RPSA", "Rpl7a", "Rps27l", "RPS4Y1", "RPL36AL", "RPL3"])
def test_ribosomal(name: str) -> None:
    assert is_ribosomal(name)


@pytest.mark.parametrize("name", ["RPS6KA1", "MRPL12", "RPN1", "RPL23AP7", "RPLP0P2", "RPSAP58", "RP1"])
def test_not_ribosomal(name: str) -> None:
    assert not is_ribosomal(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GRCh38_SOD1", ("human", "GRCh38", "SOD1")),
        ("hg19_MT-ND1", ("human", "hg19", "MT-ND1")),
        ("mm10___Actb", ("mouse", "mm10", "Actb")),
        ("mm10---Actb", ("mouse", "mm10", "Actb")),
        ("GRCh38_ENSG00000142168", ("human", "GRCh38", "ENSG00000142168")),
        ("mRatBN7_2_Actb", ("rat", "mRatBN7_2", "Actb")),
        ("SOD1", ("", "", "SOD1")),
        ("hg19", ("", "", "hg19")),
    ],
)
def test_split_genome(name: str, expected: tuple[str, str, str]) -> None:
    assert split_genome(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2-Sep", ["SEPT2", "SEP2"]),
        ("02-Sep", ["SEPT2", "SEP2"]),
        ("Sep-02", ["SEPT2", "SEP2"]),
        ("2/sep", ["SEPT2", "SEP2"]),
        ("1-Mar-01", ["MARCH1", "MARC1"]),
        ("2001-03-01 00:00:00", ["MARCH1", "MARC1"]),
        ("1-Dec", ["DEC1"]),
        ("4-Oct", ["OCT4"]),
        ("SEPT2", []),
        ("HLA-A", []),
        ("NKX2-1", []),
        ("1-Foo", []),
        ("2001-13-01", []),
    ],
)
def test_spreadsheet_names(name: str, expected: list[str]) -> None:
    assert spreadsheet_names(name) == expected


class TestGuessOrganism:
    @pytest.mark.parametrize(
        ("names", "organism", "evidence"),
        [
            (["SOD1", "C9orf72", "MT-ND1", "TARDBP"], "human", "in capitals"),
            (["Sod1", "Tardbp", "Gm1992", "mt-Nd1"], "mouse", "mouse loci"),
            (["Sod1", "Tardbp", "LOC100911", "Mt-nd1", "RGD1306063"], "rat", "rat loci"),
            (["ENSG00000142168.3", "ENSG00000120948"], "human", "human Ensembl ids"),
            (["ENSMUSG00000022982", "Gm3"], "mouse", "mouse Ensembl ids"),
            (["ENSRNOG00000002115"], "rat", "rat Ensembl ids"),
            (["ENSDARG00000043848"], "", "another species (ENSDARG...)"),
            (["GRCh38_SOD1", "GRCh38_TARDBP"], "human", "human genomes"),
            (["GRCh38_SOD1", "mm10___Sod1"], "", "several species: 1 human, 1 mouse"),
            (["6647", "23435"], "", "neither"),
            (["gene1", "gene2"], "", "neither"),
            ([], "", "no gene names"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) and value else None,
    )
    def test_guess(self, names: list[str], organism: str, evidence: str) -> None:
        guess = guess_organism(names)
        assert guess.organism == organism
        assert evidence in guess.evidence


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([str(i) for i in range(30)], True, id="from 0"),
        pytest.param([str(i) for i in range(1, 31)], True, id="from 1"),
        pytest.param([str(i) for i in range(0, 150, 2)], True, id="half of the rows"),
        pytest.param(["6647", "23435", "2521"], False, id="GeneIDs"),
        pytest.param(["2", "9", "10"], False, id="small GeneIDs"),
        pytest.param(["0", "1", "SOD1"], False, id="a symbol among them"),
        pytest.param([], False, id="none"),
    ],
)
def test_numbers_of_rows_are_told_from_geneids(names: list[str], expected: bool) -> None:
    assert row_numbers(names) is expected
