"""New cells in the space of others: the same values as when they were part of the fit, from the stored record alone."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError

KEYS = ["X_text", "X_text_fused", "X_expression"]


@pytest.fixture(scope="module")
def genes() -> lx.GeneEmbedding:
    rng = np.random.default_rng(4)
    return lx.GeneEmbedding.from_vectors([f"g{i}" for i in range(90)], rng.normal(size=(90, 8)))


@pytest.fixture(scope="module")
def known(genes: lx.GeneEmbedding) -> anndata.AnnData:
    rng = np.random.default_rng(5)
    counts = rng.poisson(rng.gamma(1.0, 1.0, 100) * np.exp(rng.normal(0, 0.7, (60, 100))))
    adata = anndata.AnnData(
        sp.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(60)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(100)]),
    )
    lx.emb.cells(adata, genes, preset="whitened")
    lx.emb.fuse(adata, n_components=5, n_top_genes=40)
    lx.emb.expression_pca(adata, n_components=5, n_top_genes=40)
    return adata


def bare(adata: anndata.AnnData) -> anndata.AnnData:
    return anndata.AnnData(adata.X.copy(), obs=adata.obs[[]].copy(), var=adata.var[[]].copy())


@pytest.mark.parametrize("key", KEYS)
def test_the_cells_of_the_fit_come_back(known: anndata.AnnData, genes: lx.GeneEmbedding, key: str) -> None:
    new = bare(known[10:30])
    lx.emb.project(new, known, genes, use_rep=key)
    scale = np.abs(known.obsm[key]).max()
    np.testing.assert_allclose(new.obsm[key], known.obsm[key][10:30], atol=2e-6 * scale)
    assert new.obsm[key].dtype == np.float32


def test_a_cell_is_placed_by_the_moments_of_the_reference(known: anndata.AnnData, genes: lx.GeneEmbedding) -> None:
    """One cell, by the formula: z-scores with the stored mean and sd, times the whitened vectors."""
    new = bare(known[:1])
    new.X = sp.csr_matrix(np.arange(100, dtype=np.float32)[None] % 7)
    lx.emb.project(new, known, genes)
    entry = known.uns["lexicell"]["X_text"]
    x = new.X.toarray()[0].astype(float)
    log = np.log1p(1e4 * x / x.sum())[:90]
    z = np.clip((log - entry["mean"]) / np.where(entry["sd"] > 0, entry["sd"], 1), -10, 10) * (entry["sd"] > 0)
    space = entry["space"]
    white = (genes.vectors - space["mean"]) @ (space["V"] / space["s"]) * np.sqrt(space["n_genes"])
    np.testing.assert_allclose(new.obsm["X_text"][0], z @ white, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("key", KEYS)
def test_order_and_foreign_genes_do_not_matter(known: anndata.AnnData, genes: lx.GeneEmbedding, key: str) -> None:
    plain = bare(known)
    turned = plain[:, ::-1].copy()
    lx.emb.project(plain, known, genes, use_rep=key)
    lx.emb.project(turned, known, genes, use_rep=key)
    np.testing.assert_allclose(plain.obsm[key], turned.obsm[key], atol=1e-4)


def test_a_gene_that_is_missing_counts_as_average(known: anndata.AnnData, genes: lx.GeneEmbedding) -> None:
    entry = known.uns["lexicell"]["X_expression"]
    gone = entry["hvg"][:3]
    part = known[:, ~known.var_names.isin(gone)]
    new = bare(part)
    new.obs["total"] = np.asarray(known.X.sum(axis=1)).ravel()
    lx.emb.project(new, known, use_rep="X_expression", library_size="total")
    log = np.log1p(1e4 * known.X.toarray() / known.X.toarray().sum(axis=1, keepdims=True))
    columns = known.var_names.get_indexer(entry["hvg"])
    z = np.clip((log[:, columns] - entry["mean"]) / entry["sd"], -10, 10)
    z[:, :3] = 0
    np.testing.assert_allclose(new.obsm["X_expression"], (z - entry["center"]) @ entry["loadings"], atol=1e-3)


def test_it_is_said_when_most_genes_are_missing(known: anndata.AnnData) -> None:
    few = bare(known[:, known.uns["lexicell"]["X_expression"]["hvg"][:10]])
    with pytest.warns(UserWarning, match="10 of the 40 genes"):
        lx.emb.project(few, known, use_rep="X_expression")


def test_nothing_is_changed_but_its_own_keys(known: anndata.AnnData, genes: lx.GeneEmbedding) -> None:
    new = bare(known)
    made = lx.emb.project(new, known, genes, key_added="X_theirs", copy=True)
    assert made is not None
    assert not new.obsm
    assert made.uns["lexicell"]["X_theirs"]["params"]["projected"]
    assert "projected" not in known.uns["lexicell"]["X_text"]["params"]


def test_wrong_input_is_refused(known: anndata.AnnData, genes: lx.GeneEmbedding) -> None:
    new = bare(known)
    with pytest.raises(MissingKeyError, match="'X_expression', 'X_text', 'X_text_fused'"):
        lx.emb.project(new, known, use_rep="X_pca")
    with pytest.raises(InputError, match="pass genes="):
        lx.emb.project(new, known)
    with pytest.raises(InputError, match="hash differs"):
        lx.emb.project(new, known, lx.GeneEmbedding.from_vectors(genes.ids, genes.vectors + 1))
    other = anndata.AnnData(new.X.copy(), obs=new.obs.copy(), var=pd.DataFrame(index=[f"x{i}" for i in range(100)]))
    with pytest.raises(InputError, match="none of the 90 genes"):
        lx.emb.project(other, known, genes)
    paper = lx.emb.cells(known, genes, key_added="X_paper", copy=True)
    with pytest.raises(InputError, match="preset='paper'"):
        lx.emb.project(new, paper, genes, use_rep="X_paper")
