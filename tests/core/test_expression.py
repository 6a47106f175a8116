"""Expression arrays against dense numpy, scikit-learn and scanpy."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from lexicell._errors import InputError
from lexicell.core import expression as ex


@pytest.fixture
def counts(rng):
    rate = rng.gamma(0.4, 1.0, size=(1, 80)) * rng.lognormal(0, 0.5, size=(150, 1))
    rate[:70, :10] *= 6
    return sp.csr_matrix(rng.poisson(rate).astype(np.float32))


def test_log_values_equal_a_double_loop(counts):
    totals = np.asarray(counts.sum(axis=1)).ravel() + 3.0
    got = ex.log_cp10k(counts, totals)
    dense = counts.toarray()
    expected = [[np.log1p(1e4 * dense[c, g] / totals[c]) for g in range(80)] for c in range(150)]
    np.testing.assert_allclose(got.toarray(), expected, rtol=1e-6)
    assert got.dtype == np.float32
    assert got is not counts


def test_log_values_leave_the_counts_alone(counts):
    before = counts.copy()
    ex.log_cp10k(counts, np.ones(150))
    assert (before != counts).nnz == 0


def test_a_cell_without_counts_stays_zero():
    got = ex.log_cp10k(sp.csr_matrix([[0.0, 0.0], [1.0, 1.0]]), np.array([0.0, 2.0]))
    np.testing.assert_allclose(got.toarray(), [[0, 0], [np.log(5001)] * 2], rtol=1e-6)


def test_column_stats_equal_dense(counts):
    mean, sd = ex.column_stats(counts)
    np.testing.assert_allclose(mean, counts.toarray().mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(sd, counts.toarray().std(axis=0, dtype=float), rtol=1e-12)


def test_zscores_are_clipped_and_constant_columns_are_zero():
    dense = np.zeros((300, 3))
    dense[0, 0], dense[:, 1] = 50.0, 4.0
    dense[:150, 2] = 1.0
    values = sp.csr_matrix(dense)
    z = ex.zscore_block(values, *ex.column_stats(values))
    assert z[0, 0] == 10.0
    assert (z[:, 1] == 0).all()
    np.testing.assert_allclose(z[:, 2], np.where(np.arange(300) < 150, 1, -1), rtol=1e-12)


def test_sparse_zscores_equal_dense_ones(counts):
    values = counts.toarray()
    values[:, 5] = 4.0  # no spread
    values[:, 6] = 0.0
    values[3, 6] = 200.0  # cut at 10
    values = sp.csr_matrix(values)
    stats = ex.column_stats(values)
    deviations, baseline = ex.zscore_sparse(values, *stats)
    expected = ex.zscore_block(values, *stats)
    assert expected[3, 6] == 10
    np.testing.assert_allclose(deviations.toarray() + baseline, expected, atol=1e-9)


@pytest.mark.parametrize("n_cells", [150, 40], ids=["cells", "few-cells-so-that-the-cut-binds"])
def test_residual_variance_equals_a_dense_formula(counts, n_cells):
    x = counts[:n_cells].toarray().astype(float)
    mu = np.outer(x.sum(axis=1), x.sum(axis=0)) / x.sum()
    r = (x - mu) / np.sqrt(np.where(mu > 0, mu + mu**2 / 100, 1))
    np.testing.assert_allclose(
        ex.residual_variance(counts[:n_cells]), np.clip(r, -(n_cells**0.5), n_cells**0.5).var(axis=0), rtol=1e-9
    )


def test_residual_variance_equals_scanpy(counts):
    adata = anndata.AnnData(counts)
    kept = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() > 0)
    table = sc.experimental.pp.highly_variable_genes(
        adata[:, kept].copy(), n_top_genes=10, flavor="pearson_residuals", inplace=False
    )
    np.testing.assert_allclose(ex.residual_variance(counts)[kept], table["residual_variances"].to_numpy(), rtol=1e-4)


def test_genes_that_differ_between_groups_have_the_largest_residual_variance(rng):
    rate = np.tile(rng.uniform(1.5, 3.0, size=80), (600, 1))
    rate[:280, :10] *= 4
    chosen = ex.top_columns(ex.residual_variance(sp.csr_matrix(rng.poisson(rate))), 10)
    assert chosen.tolist() == list(range(10))


def test_top_columns_drop_zeros_and_break_ties_by_order():
    assert ex.top_columns(np.array([0.0, 2.0, 1.0, 1.0, 0.0]), 2).tolist() == [1, 2]
    assert ex.top_columns(np.array([0.0, 2.0, 0.0]), 3).tolist() == [1]


def test_group_profiles_equal_loops(counts, rng):
    codes = rng.integers(-1, 3, size=150)
    got = ex.group_profiles(counts, codes, 4)
    dense = counts.toarray()
    for k in range(3):
        np.testing.assert_allclose(got.mean[k], dense[codes == k].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(got.share[k], (dense[codes == k] > 0).mean(axis=0), rtol=1e-6)
    assert got.size.tolist() == [(codes == k).sum() for k in range(4)]
    assert (got.mean[3] == 0).all()
    mean, share = got.against_rest()
    others = (codes >= 0) & (codes != 1)
    np.testing.assert_allclose(mean[1], dense[others].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(share[1], (dense[others] > 0).mean(axis=0), rtol=1e-6)


def test_components_equal_scikit_learn(rng):
    X = rng.normal(size=(9000, 30)) * 0.8 ** np.arange(30) + 5
    got = ex.principal_components(lambda a, b: X[a:b], len(X), 6)
    reference = PCA(6, svd_solver="full").fit(X)
    sign = np.sign((got.loadings * reference.components_.T).sum(axis=0))
    np.testing.assert_allclose(got.scores * sign, reference.transform(X), atol=1e-5)
    np.testing.assert_allclose(got.variance_ratio, reference.explained_variance_ratio_, rtol=1e-9)
    assert (got.loadings[np.abs(got.loadings).argmax(axis=0), np.arange(6)] > 0).all()


def test_components_have_the_same_bits_for_any_number_of_threads(rng):
    X = rng.normal(size=(5000, 200))
    scores = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            scores.append(ex.principal_components(lambda a, b: X[a:b], len(X), 10).scores)
    assert np.array_equal(*scores)


def test_zscore_pca_equals_dense_reference(counts):
    values = ex.log_cp10k(counts, np.asarray(counts.sum(axis=1), dtype=float).ravel())
    dense = values.toarray().astype(float)
    sd = dense.std(axis=0)
    z = np.clip((dense - dense.mean(axis=0)) / np.where(sd > 0, sd, 1), -10, 10)
    reference = PCA(5, svd_solver="full").fit_transform(z)
    got = ex.zscore_pca(values, 5).scores
    np.testing.assert_allclose(np.abs(got), np.abs(reference), atol=1e-4)


def test_too_many_components_are_refused(rng):
    X = rng.normal(size=(6, 30))
    with pytest.raises(InputError, match="6 components cannot be taken from 6 cells and 30 features; at most 5"):
        ex.principal_components(lambda a, b: X[a:b], 6, 6)
