"""Log values, z-scores and variable genes against dense numpy and scanpy."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp

from lexicell.core.expression import log_values


@pytest.fixture
def counts(rng):
    rate = rng.gamma(0.4, 1.0, size=(1, 80)) * rng.lognormal(0, 0.5, size=(150, 1))
    rate[:70, :10] *= 6
    return sp.csr_matrix(rng.poisson(rate).astype(np.float32))


def test_log_values_equal_a_double_loop(counts):
    totals = np.asarray(counts.sum(axis=1)).ravel() + 3.0
    got = log_values.log_cp10k(counts, totals)
    dense = counts.toarray()
    expected = [[np.log1p(1e4 * dense[c, g] / totals[c]) for g in range(80)] for c in range(150)]
    np.testing.assert_allclose(got.toarray(), expected, rtol=1e-6)
    assert got.dtype == np.float32
    assert got is not counts


def test_log_values_leave_the_counts_alone(counts):
    before = counts.copy()
    log_values.log_cp10k(counts, np.ones(150))
    assert (before != counts).nnz == 0


def test_a_cell_without_counts_stays_zero():
    got = log_values.log_cp10k(sp.csr_matrix([[0.0, 0.0], [1.0, 1.0]]), np.array([0.0, 2.0]))
    np.testing.assert_allclose(got.toarray(), [[0, 0], [np.log(5001)] * 2], rtol=1e-6)


def test_column_stats_equal_dense(counts):
    mean, sd = log_values.column_stats(counts)
    np.testing.assert_allclose(mean, counts.toarray().mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(sd, counts.toarray().std(axis=0, dtype=float), rtol=1e-12)


def test_zscores_are_clipped_and_constant_columns_are_zero():
    dense = np.zeros((300, 3))
    dense[0, 0], dense[:, 1] = 50.0, 4.0
    dense[:150, 2] = 1.0
    values = sp.csr_matrix(dense)
    z = log_values.zscore_block(values, *log_values.column_stats(values))
    assert z[0, 0] == 10.0
    assert (z[:, 1] == 0).all()
    np.testing.assert_allclose(z[:, 2], np.where(np.arange(300) < 150, 1, -1), rtol=1e-12)


def test_sparse_zscores_equal_dense_ones(counts):
    values = counts.toarray()
    values[:, 5] = 4.0  # no spread
    values[:, 6] = 0.0
    values[3, 6] = 200.0  # cut at 10
    values = sp.csr_matrix(values)
    stats = log_values.column_stats(values)
    deviations, baseline = log_values.zscore_sparse(values, *stats)
    expected = log_values.zscore_block(values, *stats)
    assert expected[3, 6] == 10
    np.testing.assert_allclose(deviations.toarray() + baseline, expected, atol=1e-9)


@pytest.mark.parametrize("n_cells", [150, 40], ids=["cells", "few-cells-so-that-the-cut-binds"])
def test_residual_variance_equals_a_dense_formula(counts, n_cells):
    x = counts[:n_cells].toarray().astype(float)
    mu = np.outer(x.sum(axis=1), x.sum(axis=0)) / x.sum()
    r = (x - mu) / np.sqrt(np.where(mu > 0, mu + mu**2 / 100, 1))
    np.testing.assert_allclose(
        log_values.residual_variance(counts[:n_cells]), np.clip(r, -(n_cells**0.5), n_cells**0.5).var(axis=0), rtol=1e-9
    )


def test_residual_variance_equals_scanpy(counts):
    adata = anndata.AnnData(counts)
    kept = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() > 0)
    table = sc.experimental.pp.highly_variable_genes(
        adata[:, kept].copy(), n_top_genes=10, flavor="pearson_residuals", inplace=False
    )
    np.testing.assert_allclose(
        log_values.residual_variance(counts)[kept], table["residual_variances"].to_numpy(), rtol=1e-4
    )


def test_genes_that_differ_between_groups_have_the_largest_residual_variance(rng):
    rate = np.tile(rng.uniform(1.5, 3.0, size=80), (600, 1))
    rate[:280, :10] *= 4
    chosen = log_values.top_columns(log_values.residual_variance(sp.csr_matrix(rng.poisson(rate))), 10)
    assert chosen.tolist() == list(range(10))


def test_top_columns_drop_zeros_and_break_ties_by_order():
    assert log_values.top_columns(np.array([0.0, 2.0, 1.0, 1.0, 0.0]), 2).tolist() == [1, 2]
    assert log_values.top_columns(np.array([0.0, 2.0, 0.0]), 3).tolist() == [1]


def test_group_profiles_equal_loops(counts, rng):
    codes = rng.integers(-1, 3, size=150)
    got = log_values.group_profiles(counts, codes, 4)
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
