"""From names to a GeneEmbedding: look-up, choice of column, other embedders, and finding it again by hash."""

from __future__ import annotations

from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd
import pytest

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.sources import get as get_source
from lexicell.sources._reopen import reopen
from lexicell.store import Store

HUMAN = ["SOD1", "TARDBP", "FUS", "NEFL", "CHAT", "CD3D", "MT-CO1", "MALAT1"]
ENSEMBL = {"SOD1": "ENSG00000142168", "TARDBP": "ENSG00000120948", "FUS": "ENSG00000089280", "NEFL": "ENSG00000277586"}


class Counting:
    """An embedder that notes what it was sent: the first letters of a text, as numbers."""

    name, revision, dim, leaves_machine = "counting", "1", 8, False

    def __init__(self) -> None:
        self.sent: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.sent.extend(texts)
        codes = [[ord(c) for c in t[: self.dim].ljust(self.dim)] for t in texts]
        return np.asarray(codes, dtype=np.float32)


def test_the_default_needs_names_only() -> None:
    genes = lx.emb.genes([*HUMAN, "not-a-gene"], organism="human")
    assert list(genes.ids) == HUMAN
    assert genes.vectors.shape == (8, 384)
    assert genes.texts[0].startswith("SOD1: superoxide dismutase 1")
    assert genes.coverage.index.tolist() == [*HUMAN, "not-a-gene"]
    assert genes.coverage.loc["not-a-gene", "text_source"] == ""
    assert genes.coverage.loc["SOD1", "words"] > 3
    assert genes.provenance["embedder"] == "local"


def test_vectors_are_those_of_the_text_and_not_of_another_gene() -> None:
    """Genes of one family are nearer to each other than to any other gene."""
    genes = lx.emb.genes(["CD3D", "CD3E", "CD3G", "RPL3", "RPL5", "RPL7", "NEFL", "NEFM", "NEFH"], organism="human")
    unit = genes.vectors / np.linalg.norm(genes.vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -1)
    assert (near.argmax(axis=1) // 3).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("source", ["bundled", "bundled-names"])
def test_names_only_texts_hold_no_terms(source: str) -> None:
    text = lx.emb.genes(["SOD1"], organism="human", source=source).texts[0]
    assert ("oxid" in text.removeprefix("SOD1: superoxide dismutase 1")) == (source == "bundled")


def test_the_organism_is_guessed_from_the_names() -> None:
    assert lx.emb.genes(["Sod1", "Tardbp", "Fus", "Nefl", "Chat", "mt-Co1"]).provenance["organism"] == "mouse"
    assert lx.emb.genes(HUMAN).provenance["organism"] == "human"
    assert lx.emb.genes(list(ENSEMBL.values())).provenance["organism"] == "human"


def frame(index: list[str], **columns: list[str]) -> anndata.AnnData:
    var = pd.DataFrame(columns, index=index)
    return anndata.AnnData(np.ones((3, len(var)), dtype=np.float32), var=var)


def test_a_column_of_var_is_found_where_var_names_are_no_genes() -> None:
    adata = frame(["a", "b", "c", "d"], symbols=list(ENSEMBL), length=["1", "2", "3", "4"])
    genes = lx.emb.genes(adata, organism="human")
    assert list(genes.ids) == ["a", "b", "c", "d"]
    assert genes.provenance["looked_up"] == "var['symbols']"
    assert genes.coverage.loc["b", "symbol"] == "TARDBP"


def test_a_named_column_is_used_even_where_var_names_match() -> None:
    adata = frame(HUMAN[:4], ids=list(ENSEMBL.values()))
    genes = lx.emb.genes(adata, organism="human", id_column="ids")
    assert genes.coverage["matched_by"].tolist() == ["ensembl"] * 4
    assert list(genes.ids) == HUMAN[:4]
    with pytest.raises(MissingKeyError, match="there is 'ids'"):
        lx.emb.genes(adata, id_column="symbols")


def test_another_embedder_gets_each_text_once_and_the_store_keeps_them() -> None:
    first, second = Counting(), Counting()
    names = [*HUMAN, "ENSG00000142168"]  # SOD1 again, by another name
    genes = lx.emb.genes(names, organism="human", embedder=first)
    assert len(first.sent) == len(set(first.sent)) == 8
    np.testing.assert_array_equal(genes.vectors[0], genes.vectors[-1])
    assert genes.provenance["embedder"] == "counting"
    again = lx.emb.genes(names, organism="human", embedder=second)
    assert second.sent == []
    assert again.hash == genes.hash


@pytest.mark.parametrize("embedder", [None, "counting"], ids=["bundled", "computed"])
def test_a_cell_embedding_finds_its_genes_again(embedder: str | None) -> None:
    genes = lx.emb.genes([*HUMAN, "nothing"], organism="human", embedder=Counting() if embedder else None)
    used = HUMAN[2:6]
    entry = {"genes": np.array(used, dtype=object), "gene_embedding": genes.hash, "provenance": genes.provenance}
    found = reopen(entry)
    assert list(found.ids) == used
    np.testing.assert_array_equal(found.vectors, genes.subset(used).vectors)


def test_vectors_that_are_nowhere_name_the_call_that_makes_them() -> None:
    genes = lx.emb.genes(HUMAN, organism="human", embedder=Counting())
    entry = {"genes": genes.ids, "gene_embedding": genes.hash, "provenance": genes.provenance}
    Store().clear()
    with pytest.raises(MissingKeyError, match=r"lexicell\.emb\.genes"):
        reopen(entry)
    other = {**entry, "gene_embedding": "0" * 32}
    with pytest.raises(MissingKeyError, match="pass genes="):
        reopen(other)


def test_a_bundle_of_another_version_is_not_taken_for_this_one() -> None:
    genes = lx.emb.genes(HUMAN, organism="human")
    provenance = {**genes.provenance, "vectors_sha256": "0" * 64}
    with pytest.raises(MissingKeyError, match="another version of the bundled gene vectors"):
        reopen({"genes": genes.ids, "gene_embedding": genes.hash, "provenance": provenance})


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        pytest.param(["SOD1", "SOD1"], {}, "var_names_make_unique", id="twice"),
        pytest.param([], {}, "no genes", id="empty"),
        pytest.param(
            ["zz1", "zz2"], {}, r"the data has 'zz1', 'zz2', the source has names such as 'TP53'", id="unknown"
        ),
        pytest.param(["Sod1", "Tardbp", "Nefl"], {"organism": "zebrafish"}, "'zebrafish'", id="organism"),
        pytest.param(["SOD1"], {"source": "bundle"}, "'bundled'", id="source"),
        pytest.param(["SOD1"], {"embedder": "locall"}, "'local'", id="embedder"),
    ],
)
def test_wrong_input_is_refused(names: list[str], options: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        lx.emb.genes(names, **{"organism": "human", **options})


def test_few_matches_warn() -> None:
    with pytest.warns(UserWarning, match="only 1 of 3 genes have a text"):
        lx.emb.genes(["SOD1", "zz1", "zz2"], organism="human")


def test_a_source_object_is_taken_as_it_is() -> None:
    genes = lx.emb.genes(HUMAN, organism="human", source=get_source("bundled-names"))
    assert genes.provenance["source"] == "bundled-names"


@pytest.mark.parametrize("start", [0, 1])
def test_numbers_of_rows_are_not_taken_for_geneids(start: int) -> None:
    adata = frame([str(i) for i in range(start, 60 + start)])
    with pytest.raises(InputError, match=r"look like row numbers.*set adata\.var_names.*id_column="):
        lx.emb.genes(adata)


def test_a_column_serves_where_var_names_are_numbers_of_rows() -> None:
    adata = frame(["0", "1", "2", "3"], symbols=list(ENSEMBL))
    genes = lx.emb.genes(adata)
    assert list(genes.ids) == ["0", "1", "2", "3"]
    assert genes.provenance["looked_up"] == "var['symbols']"


def test_next_to_no_match_names_the_species_that_fits() -> None:
    names = lx.datasets.pbmc68k_counts().var_names
    with pytest.raises(InputError, match=r"only \d+ of the 765 gene names are known .* for mouse.*organism='human'"):
        lx.emb.genes(names, organism="mouse")


def test_a_table_of_a_few_genes_serves_a_large_data_set(tmp_path) -> None:
    (tmp_path / "own.tsv").write_text("gene\ttext\nCD3D\tOurs.\n")
    names = lx.datasets.pbmc68k_counts().var_names
    with pytest.warns(UserWarning, match="only 1 of 765 genes"):
        genes = lx.emb.genes(names, organism="human", source=f"table:{tmp_path / 'own.tsv'}", embedder=Counting())
    assert list(genes.ids) == ["CD3D"]


def test_what_the_species_was_guessed_from_is_recorded() -> None:
    assert "in capitals" in lx.emb.genes(HUMAN).provenance["organism_guessed_from"]
    assert "organism_guessed_from" not in lx.emb.genes(HUMAN, organism="human").provenance


def test_genes_of_raw_are_looked_up_where_raw_is_read() -> None:
    whole = frame([*HUMAN, "nothing"])
    adata = whole[:, :2].copy()
    adata.raw = whole
    assert list(lx.emb.genes(adata, organism="human").ids) == HUMAN[:2]
    genes = lx.emb.genes(adata, organism="human", use_raw=True)
    assert list(genes.ids) == HUMAN
    with pytest.raises(InputError, match=r"adata\.raw is not set"):
        lx.emb.genes(whole, use_raw=True)
