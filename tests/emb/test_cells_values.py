"""What emb.cells makes of real matrices: counts, reads, FPKM, logarithms, of all genes or of few."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError
from lexicell._expression import look
from lexicell.core.expression.rows import open_rows
from lexicell.emb import cells

COUNTS = ["kang_pbmc", "kang_donors", "m1_patchseq", "mixology_celseq2_3cl", "mixology_dropseq_3cl"]


def kind(X):
    return look(open_rows(X)).kind


def logged(X, total, target=1e4):
    return sp.csr_matrix(X.multiply(target / total[:, None])).log1p()


@pytest.mark.parametrize("n_genes", [None, 300, 60], ids=["all genes", "300 genes", "60 genes"])
@pytest.mark.parametrize("name", COUNTS)
def test_forms_of_counts(shared_data, rng, name, n_genes):
    X = anndata.read_h5ad(shared_data / f"{name}.h5ad").layers["counts"].tocsr()[:500].astype(np.float64)
    total = np.asarray(X.sum(axis=1)).ravel()
    part = X if n_genes is None else X[:, rng.choice(X.shape[1], n_genes, replace=False)]
    assert kind(part) == "counts"
    assert kind(part.multiply(1e4 / total[:, None])) == "abundance"
    assert kind(logged(part, total)) == "log1p"
    assert kind(logged(part, total, 1e6)) == "log1p"
    assert kind(logged(part, total).astype(np.float32)) == "log1p"
    if name != "m1_patchseq":  # a single one of a million reads is lost in the third decimal
        assert kind(logged(part, total).toarray().round(3)) == "log1p"


def test_fpkm(shared_data):
    X = anndata.read_h5ad(shared_data / "hsmm.h5ad").X
    assert kind(X) == "abundance"
    total = np.asarray(X.sum(axis=1)).ravel()
    assert kind(logged(X, total, 1e6)) == "log1p"


def test_logarithms_of_fpkm_of_some_genes_must_be_stated(shared_data, rng):
    adata = anndata.read_h5ad(shared_data / "hsmm.h5ad")
    total = np.asarray(adata.X.sum(axis=1)).ravel()
    part = adata[:, rng.choice(adata.n_vars, 300, replace=False)].copy()
    part.X = logged(part.X, total)
    genes = lx.GeneEmbedding.from_vectors(part.var_names, rng.normal(size=(300, 5)))
    with pytest.raises(InputError, match=r"cannot tell what adata.X holds.*Pass normalization='log1p'"):
        cells(part, genes)
    empty = int((part.X.getnnz(axis=1) == 0).sum())
    assert empty == 0
    cells(part, genes, normalization="log1p")
    del part.uns["lexicell"]
    part.uns["log1p"] = {"base": None}
    cells(part, genes)
    assert part.uns["lexicell"]["X_text"]["params"]["normalization"] == "log1p"


def test_logarithms_passed_as_counts_are_refused(shared_data, rng):
    adata = anndata.read_h5ad(shared_data / "kang_donors.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    genes = lx.GeneEmbedding.from_vectors(adata.var_names, rng.normal(size=(adata.n_vars, 5)))
    with pytest.raises(InputError, match=r"adata.X does not hold counts.*Instead, pass layer='counts'"):
        cells(adata, genes, normalization="counts")


def test_counts_passed_as_logarithms_are_refused(shared_data, rng):
    adata = anndata.read_h5ad(shared_data / "kang_donors.h5ad")
    genes = lx.GeneEmbedding.from_vectors(adata.var_names, rng.normal(size=(adata.n_vars, 5)))
    with pytest.raises(InputError, match="is no log1p of expression"):
        cells(adata, genes, normalization="log1p")


def test_pbmc68k_reduced(rng):
    adata = sc.datasets.pbmc68k_reduced()
    genes = lx.GeneEmbedding.from_vectors(adata.raw.var_names[:500], rng.normal(size=(500, 5)))
    sums = np.expm1(adata.raw.X.toarray()).sum(axis=1)
    assert sums.min() < 1500 < 2500 < sums.max()
    with pytest.raises(InputError, match=r"negative values.*Instead, pass use_raw=True \(log1p\)"):
        cells(adata, genes)
    cells(adata, genes, use_raw=True, preset="scelmo-aa")
    assert adata.uns["lexicell"]["X_text"]["params"]["normalization"] == "log1p"
    expected = adata.raw.X[:, :500].toarray().astype(float) @ genes.vectors.astype(float) / adata.raw.n_vars
    np.testing.assert_allclose(adata.obsm["X_text"], expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_logs_to_another_base_are_not_taken_for_log1p(shared_data):
    X = anndata.read_h5ad(shared_data / "kang_donors.h5ad").X.astype(np.float64)
    total = np.asarray(X.sum(axis=1)).ravel()
    base2 = logged(X, total)
    base2.data /= np.log(2)
    assert kind(base2[:, :400]) == "log2"


@pytest.mark.parametrize(
    ("again", "name", "undo"),
    [
        (lambda adata: sc.pp.log1p(adata, base=2), "log2", lambda X: X * np.log(2)),
        (lambda adata: sc.pp.log1p(adata, base=10), "log10", lambda X: X * np.log(10)),
        (lambda adata: (sc.pp.log1p(adata), adata.uns.pop("log1p"), sc.pp.log1p(adata)), "log1p twice", np.expm1),
    ],
    ids=["base 2", "base 10", "twice"],
)
def test_what_scanpy_says_of_a_logarithm_is_not_believed_over_the_values(rng, again, name, undo):
    counts = rng.poisson(np.exp(rng.normal(-1, 1.5, 300)), size=(60, 300)).astype(np.float32)
    adata = anndata.AnnData(sp.csr_matrix(counts))
    genes = lx.GeneEmbedding.from_vectors(adata.var_names, rng.normal(size=(300, 5)))
    sc.pp.normalize_total(adata, target_sum=1e4)
    plain = adata.copy()
    sc.pp.log1p(plain)
    again(adata)
    with pytest.raises(InputError, match=f"holds {name}, not log1p"):
        cells(adata, genes)
    with pytest.raises(InputError, match=f"holds {name}, not log1p"):
        cells(adata, genes, normalization="log1p")
    adata.X.data = undo(adata.X.data)
    cells(adata, genes)
    cells(plain, genes)
    np.testing.assert_allclose(adata.obsm["X_text"], plain.obsm["X_text"], rtol=1e-4)


def test_noise_below_twenty_is_ambiguous(rng):
    assert kind(rng.random((200, 50)) * 9) == "ambiguous"


def test_nothing_but_zeros_and_ones_are_counts():
    assert kind(np.eye(50)) == "counts"
    assert kind(np.zeros((5, 5))) == "counts"


@pytest.mark.parametrize("name", ["kang_pbmc", "m1_patchseq", "hsmm"])
@pytest.mark.parametrize("preset", ["paper", "genept-w", "scelmo-wa", "scelmo-aa"])
def test_real_data_against_dense_algebra(shared_data, rng, name, preset):
    adata = anndata.read_h5ad(shared_data / f"{name}.h5ad")[:50].copy()
    genes = lx.GeneEmbedding.from_vectors(adata.var_names[::2], rng.normal(size=((adata.n_vars + 1) // 2, 200)) + 0.2)
    cells(adata, genes, preset=preset, top_n=None)
    X = adata.X.toarray().astype(float)
    log = np.log1p(1e4 * X / X.sum(axis=1, keepdims=True))
    expected = log[:, ::2] @ genes.vectors.astype(float)
    if preset == "paper":
        expected /= log[:, ::2].sum(axis=1, keepdims=True)
    elif preset == "scelmo-wa":
        expected /= log.sum(axis=1, keepdims=True)
    else:
        expected /= adata.n_vars
    if preset == "genept-w":
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    wrong = np.abs(adata.obsm["X_text"] - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert wrong.max() <= 2e-6
