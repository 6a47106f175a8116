from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lexicell import sources
from lexicell._errors import InputError
from lexicell.sources import bundled
from lexicell.sources._base import GeneSource
from lexicell.sources.bundled import BundledSource, load_manifest, load_table, load_vectors


@pytest.fixture(scope="module")
def full() -> BundledSource:
    return BundledSource("bundled")


@pytest.fixture(scope="module")
def plain() -> BundledSource:
    return BundledSource("bundled-names")


def test_every_name_has_a_row(full: BundledSource) -> None:
    names = ["SOD1", "NOTAGENE", "ENSG00000120948.17", "SOD1.1"]
    found = full.texts(names, organism="human")
    assert found.table.index.tolist() == names
    assert found.texts.shape == (4,)
    assert found.vectors is not None
    assert found.vectors.shape == (4, 384)
    assert found.vectors.dtype == np.float32
    assert found.table["gene_id"].tolist() == ["6647", "", "23435", "6647"]
    assert found.table["text_source"].tolist() == ["name and GO terms", "", "name and GO terms", "name and GO terms"]
    assert found.texts[1] == ""
    assert not found.vectors[1].any()
    np.testing.assert_array_equal(found.vectors[0], found.vectors[3])


def test_columns_are_strings(full: BundledSource) -> None:
    table = full.texts(["SOD1", "NOTAGENE"], organism="human").table
    assert {
        "gene_id", "symbol", "name", "gene_type", "matched_by", "note", "text_source", "text_gene_id"
    } <= set(table.columns)  # fmt: skip
    assert all(isinstance(value, str) for column in table.columns for value in table[column])


def test_the_two_variants(full: BundledSource, plain: BundledSource) -> None:
    with_terms = full.texts(["CHAT"], organism="human")
    without = plain.texts(["CHAT"], organism="human")
    assert without.texts[0] == "CHAT: choline O-acetyltransferase."
    assert with_terms.texts[0].startswith("CHAT: choline O-acetyltransferase. ")
    assert "acetylcholine biosynthetic process" in with_terms.texts[0]
    assert without.table["text_source"].tolist() == ["name"]
    assert with_terms.vectors is not None
    assert without.vectors is not None
    assert np.abs(with_terms.vectors - without.vectors).max() > 0.01


def test_mouse_gene_has_the_text_of_its_orthologue(full: BundledSource) -> None:
    human = full.texts(["CHAT"], organism="human")
    mouse = full.texts(["Chat"], organism="mouse")
    assert mouse.texts[0] == human.texts[0]
    assert mouse.vectors is not None
    np.testing.assert_array_equal(mouse.vectors, human.vectors)
    row = mouse.table.iloc[0]
    assert (row["gene_id"], row["text_gene_id"], row["text_source"]) == ("12647", "1103", "human orthologue")
    assert row["name"] == "choline acetyltransferase"


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        ("Ly6a", "Ly6a: lymphocyte antigen 6 complex, locus A."),
        ("Uox", "Uox: urate oxidase."),
        ("Vmn1r53", "Vmn1r53: vomeronasal 1 receptor 53."),
        ("Rpl21-ps8", "Rpl21-ps8: ribosomal protein L21, pseudogene 8."),
    ],
    ids=["paralogue only", "orthologue is a pseudogene", "no orthologue", "pseudogene"],
)
def test_mouse_gene_with_a_text_of_its_own(full: BundledSource, symbol: str, text: str) -> None:
    found = full.texts([symbol], organism="mouse")
    assert found.texts.tolist() == [text]
    assert found.table["text_source"].tolist() == ["name"]
    assert found.table["text_gene_id"].tolist() == found.table["gene_id"].tolist()


def test_known_gene_without_a_name_has_no_text(full: BundledSource) -> None:
    table = load_table("mouse")
    nameless = table.symbol[table.extra["text_row"].index("-1")]
    found = full.texts([nameless], organism="mouse")
    assert found.texts.tolist() == [""]
    row = found.table.iloc[0]
    assert row["symbol"] == nameless
    assert row["text_source"] == row["text_gene_id"] == ""
    assert "no name is known for this gene" in row["note"]


def test_rat_through_the_orthologue(full: BundledSource) -> None:
    found = full.texts(["Chat", "ENSRNOG00000025012"], organism="rat")
    assert found.texts[0].startswith("CHAT: ")
    assert found.texts[1] == found.texts[0]


def test_xiap_is_not_its_copy(full: BundledSource) -> None:
    """HGNC links mouse Xiap to XIAP and to its retrogene BIRC8: the namesake it is."""
    assert full.texts(["Xiap"], organism="mouse").texts[0].startswith("XIAP: ")


def test_another_species_is_refused(full: BundledSource) -> None:
    with pytest.raises(InputError, match="cover human, mouse, rat, not 'zebrafish'"):
        full.texts(["sod1"], organism="zebrafish")


def test_vectors_are_named_as_the_local_embedder_names_itself(full: BundledSource) -> None:
    from lexicell.embedders.local import Local

    assert full.texts(["SOD1"], organism="human").vectors_from == f"{Local.name}@{Local.revision}"


def test_provenance(full: BundledSource) -> None:
    found = full.texts(["SOD1"], organism="human").provenance
    assert found["source"] == "bundled"
    assert found["vectors_sha256"] == load_manifest()["vectors"]["sha256"]
    assert all(isinstance(key, str) and "/" not in key for key in found)


def test_no_names(full: BundledSource) -> None:
    found = full.texts([], organism="human")
    assert len(found.table) == 0
    assert found.vectors is not None
    assert found.vectors.shape == (0, 384)


def test_missing_files_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(bundled, "DATA", tmp_path)
    with pytest.raises(InputError, match=r"vectors.npy is missing .* reinstall lexicell"):
        load_vectors.__wrapped__()


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lexicell import sources; "
        "sources.get('bundled').texts(['SOD1'], organism='human'); "
        "heavy = {'anndata', 'scanpy', 'numba', 'sklearn', 'tokenizers', 'httpx', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestRegistry:
    def test_names(self) -> None:
        assert {"bundled", "bundled-names", "ncbi", "uniprot:PATH", "table:PATH"} <= set(sources.list()["name"])

    @pytest.mark.parametrize("name", ["bundled", "bundled-names"])
    def test_get(self, name: str) -> None:
        source: GeneSource = sources.get(name)
        assert source.name == name

    def test_unknown(self) -> None:
        with pytest.raises(InputError, match=r"unknown source 'bundeld'.*Did you mean 'bundled'"):
            sources.get("bundeld")

    def test_colon_where_none_belongs(self) -> None:
        with pytest.raises(InputError, match="nothing after a colon"):
            sources.get("bundled:x")

    def test_table_without_a_path(self) -> None:
        with pytest.raises(InputError, match="'table:PATH'"):
            sources.get("table:")

    def test_unknown_option(self) -> None:
        with pytest.raises(InputError, match=r"does not take these options.*color"):
            sources.get("bundled", color="red")


class TestRealData:
    """Share of names and of counts that the bundle covers in real data sets."""

    @pytest.mark.parametrize(
        ("file", "organism", "counts"),
        [
            ("kang_pbmc.h5ad", "human", 0.99),
            ("kang_donors.h5ad", "human", 0.99),
            ("hsmm.h5ad", "human", 0.96),
            ("m1_patchseq.h5ad", "mouse", 0.93),
            ("mixology_celseq2_3cl.h5ad", "human", 0.97),
            ("mixology_dropseq_3cl.h5ad", "human", 0.98),
        ],
        ids=lambda value: str(value),
    )
    def test_coverage(self, shared_data, full: BundledSource, file: str, organism: str, counts: float) -> None:
        anndata = pytest.importorskip("anndata")
        from lexicell.sources.names.mapping import guess_organism, is_clone_like

        adata = anndata.read_h5ad(shared_data / file)
        names = list(adata.var_names)
        assert guess_organism(names).organism == organism
        found = full.texts(names, organism=organism)
        mapped = (found.table["matched_by"] != "").to_numpy()
        # An Ensembl id among symbols stands where the annotation itself knew no name.
        named = np.array([not is_clone_like(name) and not name.startswith("ENS") for name in names])
        assert mapped[named].mean() > 0.98
        total = np.asarray(adata.X.sum(axis=0)).ravel()
        has_text = found.texts != ""
        assert total[has_text].sum() / total.sum() > counts
