"""Fusion and the expression baseline against a dense formula, and what they may not touch."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

from lexicell._errors import InputError, MissingKeyError
from lexicell.emb._fuse import expression_pca, fuse


@pytest.fixture
def adata(rng):
    """120 cells of two kinds, 60 genes, counts in X, and a text embedding."""
    rate = rng.gamma(1.0, 1.5, size=(1, 60)) * rng.lognormal(0, 0.3, size=(120, 1))
    rate[:60, :8] *= 5
    data = anndata.AnnData(
        sp.csr_matrix(rng.poisson(rate).astype(np.float32)),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(120)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(60)]),
    )
    data.obsm["X_text"] = (rng.normal(size=(120, 12)) * 40 + 3).astype(np.float32)
    data.uns["lexicell"] = {"X_text": {"params": {"preset": "whitened"}}}
    return data


def _dense_z(counts):
    log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    sd = log.std(axis=0)
    return np.clip((log - log.mean(axis=0)) / np.where(sd > 0, sd, 1), -10, 10)


def _dense_fusion(Z, C, a, k):
    blocks = []
    for block, weight in ((Z, 1 - a), (C, a)):
        block = block - block.mean(axis=0)
        blocks.append(np.sqrt(weight * len(Z)) * block / np.linalg.norm(block))
    U, s, Vt = np.linalg.svd(np.hstack(blocks), full_matrices=False)
    peak = Vt[np.arange(k), np.abs(Vt[:k]).argmax(axis=1)]
    return (U[:, :k] * s[:k]) * np.sign(peak)


@pytest.mark.parametrize("a", [0.0, 0.25, 1.0])
def test_fusion_equals_a_dense_svd(adata, a):
    fuse(adata, a=a, n_components=6, n_top_genes=None)
    expected = _dense_fusion(_dense_z(adata.X.toarray().astype(float)), adata.obsm["X_text"].astype(float), a, 6)
    np.testing.assert_allclose(adata.obsm["X_text_fused"], expected, atol=2e-5)


def test_text_brings_the_share_a_of_the_variance(adata):
    fuse(adata, a=0.25, n_components=20)
    note = adata.uns["lexicell"]["X_text_fused"]
    Z = _dense_z(adata.X.toarray().astype(float)) * note["scale"][0]
    C = adata.obsm["X_text"].astype(float) * note["scale"][1]
    assert (Z.var(axis=0).sum(), C.var(axis=0).sum()) == pytest.approx((0.75, 0.25), rel=1e-6)


def test_the_result_is_linear_in_what_is_recorded(adata):
    fuse(adata, n_components=5, n_top_genes=30)
    note = adata.uns["lexicell"]["X_text_fused"]
    columns = adata.var_names.get_indexer(note["hvg"])
    counts = adata.X.toarray().astype(float)
    log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))[:, columns]
    z = np.clip((log - note["mean"]) / note["sd"], -10, 10)
    features = np.hstack([z * note["scale"][0], adata.obsm["X_text"] * note["scale"][1]])
    np.testing.assert_allclose((features - note["center"]) @ note["loadings"], adata.obsm["X_text_fused"], atol=1e-5)


def test_expression_baseline_equals_scanpy_on_the_same_genes(adata):
    expression_pca(adata, n_components=5, n_top_genes=None)
    scores = sc.pp.pca(_dense_z(adata.X.toarray().astype(float)), n_comps=5, svd_solver="full", dtype="float64")
    np.testing.assert_allclose(np.abs(adata.obsm["X_expression"]), np.abs(scores), atol=1e-4)


def test_variable_genes_are_those_of_pearson_residuals(adata):
    expression_pca(adata, n_components=3, n_top_genes=10)
    table = sc.experimental.pp.highly_variable_genes(adata, n_top_genes=10, flavor="pearson_residuals", inplace=False)
    chosen = adata.uns["lexicell"]["X_expression"]["hvg"]
    assert set(chosen) == set(adata.var_names[table["highly_variable"].to_numpy()])


def test_logged_data_gives_the_same_as_its_counts(adata):
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    for data in (adata, logged):
        expression_pca(data, n_components=4, n_top_genes=None)
    np.testing.assert_allclose(logged.obsm["X_expression"], adata.obsm["X_expression"], atol=1e-4)


def test_logged_data_without_counts_falls_back_to_dispersion(adata):
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    expression_pca(adata, n_components=4, n_top_genes=20)
    assert len(adata.uns["lexicell"]["X_expression"]["hvg"]) == 20
    assert adata.uns["lexicell"]["X_expression"]["params"]["normalization"] == "log1p"


def test_expression_is_read_where_the_text_embedding_was(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.obs["total"] = np.asarray(adata.X.sum(axis=1)).ravel() * 2.0
    reference = adata.copy()
    fuse(reference, layer="counts", library_size="total")
    adata.X = sp.csr_matrix(np.full(adata.shape, -1.0))
    adata.uns["lexicell"]["X_text"]["params"] |= {"slot": "counts", "library_size": "total"}
    fuse(adata)
    assert np.array_equal(adata.obsm["X_text_fused"], reference.obsm["X_text_fused"])


def test_nothing_else_changes(adata):
    before = adata.copy()
    fuse(adata)
    assert (adata.X != before.X).nnz == 0
    assert list(adata.obsm) == ["X_text", "X_text_fused"]
    assert set(adata.uns["lexicell"]) == {"X_text", "X_text_fused"}
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def test_copy_leaves_the_original_alone(adata):
    new = fuse(adata, copy=True, n_components=3)
    assert new.obsm["X_text_fused"].shape == (120, 3)
    assert "X_text_fused" not in adata.obsm
    assert "X_text_fused" not in adata.uns["lexicell"]


def test_result_survives_a_file(adata, tmp_path):
    fuse(adata)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert np.array_equal(again.obsm["X_text_fused"], adata.obsm["X_text_fused"])
    note = again.uns["lexicell"]["X_text_fused"]
    assert note["based_on"] == "X_text"
    assert list(note["hvg"]) == list(adata.uns["lexicell"]["X_text_fused"]["hvg"])


def test_few_cells_give_fewer_components_and_say_so(adata):
    few = adata[:10].copy()
    with pytest.warns(UserWarning, match="10 cells and .* give 9 components, not 20"):
        fuse(few)
    assert few.obsm["X_text_fused"].shape == (10, 9)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda d: d.uns["lexicell"]["X_text"]["params"].update(preset="paper"), {}, InputError, "preset='paper'"),
        (lambda d: d.obsm.pop("X_text"), {}, MissingKeyError, "no representation 'X_text'.*empty.*emb.cells"),
        (lambda d: d.obsm["X_text"].__setitem__((3, 0), np.nan), {}, InputError, "1 cells have NaN.*'c3'"),
        (lambda d: d.X.data.__imul__(-1), {}, InputError, "holds negative values"),
        (lambda d: None, {"a": 1.5}, InputError, "between 0 and 1; got 1.5"),
        (lambda d: None, {"n_top_genes": 0}, InputError, "at least 1"),
        (lambda d: None, {"layer": "count"}, MissingKeyError, "no layer 'count'"),
        (lambda d: None, {"use_raw": True}, MissingKeyError, "adata.raw is not set"),
        (lambda d: None, {"library_size": "total"}, MissingKeyError, "no column in obs 'total'"),
        (lambda d: d.obsm["X_text"].fill(1.0), {}, InputError, "all cells are equal in the text embedding"),
        (lambda d: d.X.data.fill(0.0), {}, InputError, "no gene varies"),
    ],
    ids=[
        "other-preset", "no-text", "nan-in-text", "negative", "weight", "no-genes", "no-layer", "no-raw", "no-column",
        "equal-text", "empty",
    ],
)  # fmt: skip
def test_bad_input_is_refused(adata, change, options, error, message):
    change(adata)
    before = sorted(adata.obsm)
    with pytest.raises(error, match=message):
        fuse(adata, **options)
    assert sorted(adata.obsm) == before
