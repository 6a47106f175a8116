"""Summed counts against loops, the prediction from other types against its dense formula, and what depth does."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from lexicell.core.donors.permutation import arrangements
from lexicell.core.donors.pseudobulk import (
    as_counts,
    donor_variance,
    expected_log,
    holds_counts,
    logs_of_sums,
    pseudobulk,
    without_shared,
)
from lexicell.core.donors.shift import two_group
from lexicell.core.donors.vulnerability import exceed
from lexicell.core.expression.log_values import log_cp10k


@pytest.fixture
def cells(rng):
    counts = rng.poisson(0.8, size=(120, 9))
    counts[:, 8] = 0
    types, donors = rng.integers(0, 3, 120), rng.integers(0, 4, 120)
    types[:3] = -1
    return sp.csr_matrix(counts), counts.sum(axis=1) + 5.0, types, donors


def test_logs_counting_and_weights_against_loops(cells):
    counts, totals, types, donors = cells
    present = np.ones((3, 4), dtype=bool)
    present[1, 2] = False
    found = pseudobulk(counts, totals, types, donors, present)
    dense, counting = counts.toarray(), np.zeros((3, 9))
    for t in range(3):
        groups = {d: (types == t) & (donors == d) for d in range(4) if present[t, d]}
        depth = {d: totals[rows].sum() for d, rows in groups.items()}
        aim = min(depth.values())
        for g in range(9):
            for d, rows in groups.items():
                summed = dense[rows, g].sum()
                keep = min(1, aim / depth[d])
                kept = np.arange(summed + 1)
                wanted = (stats.binom.pmf(kept, summed, keep) * np.log(kept + 0.5)).sum()
                wanted -= np.log(keep * depth[d] / 1e4)
                assert found.log[t, d, g] == pytest.approx(wanted)
            counting[t, g] = 1 / (np.mean([dense[rows, g].sum() for rows in groups.values()]) + 0.5)
    assert np.isnan(found.log[1, 2]).all()
    assert found.counting == pytest.approx(counting)
    raw = 1 / (found.donor_variance + counting.mean(axis=0))
    assert found.weights == pytest.approx(raw / np.sqrt((raw**2).mean()))


@pytest.mark.parametrize("keep", [0.03, 0.4, 1.0])
def test_expected_log_is_the_mean_over_thinnings(keep):
    counts = np.array([0.0, 1, 7, 200, 201, 5000])
    found = expected_log(counts, keep)
    for n, value in zip(counts.astype(int), found, strict=True):
        kept = np.arange(n + 1)
        exact = (stats.binom.pmf(kept, n, keep) * np.log(kept + 0.5)).sum()
        assert value == pytest.approx(exact, abs=1e-9 if n <= 200 else 0.02)


@pytest.mark.parametrize("depth", [0.2, 0.5])
def test_the_expectation_does_not_follow_depth(depth):
    """Over Poisson counts of means of 0.3 to 30, deep donors thinned to the shallow one."""
    for mean in (0.3, 2.0, 30.0):
        many = np.arange(200)
        deep = stats.poisson.pmf(many, mean) @ expected_log(many.astype(float), depth)
        shallow = stats.poisson.pmf(many, mean * depth) @ np.log(many + 0.5)
        assert deep == pytest.approx(shallow, abs=1e-9)


def test_a_gene_that_is_nowhere_is_the_same_in_every_donor(cells):
    found = pseudobulk(*cells, np.ones((3, 4), dtype=bool))
    assert found.log[:, :, 8] == pytest.approx(np.repeat(found.log[:, :1, 8], 4, axis=1))
    assert found.weights[8] < found.weights[0]


def test_counts_come_back_from_log_values(rng):
    counts = rng.poisson(0.7, size=(40, 30))
    counts[:, 0] = 1
    totals = counts.sum(axis=1) + 3.0
    back = as_counts(log_cp10k(sp.csr_matrix(counts), totals))
    assert back.toarray() == pytest.approx(counts, abs=1e-3)


def _amplified(rng, counts):
    """Genes of different lengths, as in TPM."""
    shares = counts / rng.lognormal(0, 0.7, counts.shape[1])
    return 1e6 * shares / shares.sum(axis=1, keepdims=True)


def _without_ambient(rng, counts):
    """Counts minus a tenth of what the mean cell holds, as SoupX gives."""
    ambient = 0.1 * counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return np.maximum(counts - ambient, 0)


@pytest.mark.parametrize("changed", [_amplified, _without_ambient])
def test_values_that_are_no_counts_weigh_cells_by_their_genes(changed, rng):
    counts = rng.poisson(np.exp(rng.normal(-1, 1.5, 400)), size=(60, 400)).astype(float)
    values = changed(rng, counts)
    log = log_cp10k(sp.csr_matrix(values), values.sum(axis=1))
    assert not holds_counts(log)
    found = as_counts(log)
    per_cell = np.asarray(found.sum(axis=1)).ravel()
    assert per_cell == pytest.approx((values > 0).sum(axis=1))
    assert per_cell.max() / per_cell.sum() < 2 / 60
    shares = values / values.sum(axis=1, keepdims=True)
    assert found.toarray() / per_cell[:, None] == pytest.approx(shares, abs=1e-5)


def test_counts_are_known_behind_logs_of_any_base_total(rng):
    counts = sp.csr_matrix(rng.poisson(1.5, size=(50, 80)))
    assert holds_counts(log_cp10k(counts, np.asarray(counts.sum(axis=1)).ravel()))
    assert holds_counts(log_cp10k(counts, 7.0 * np.asarray(counts.sum(axis=1)).ravel()))


def test_values_that_cannot_be_logarithms_are_not_summed():
    with pytest.raises(ValueError, match="taken for logarithms"):
        as_counts(sp.csr_matrix(np.array([[3.0, 900.0]])))


def test_a_cell_type_without_counts_is_refused(cells):
    counts, totals, types, donors = cells
    with pytest.raises(ValueError, match="no counts in one of the donors"):
        pseudobulk(counts, np.zeros_like(totals), types, donors, np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match="one of each a cell"):
        pseudobulk(counts, totals[1:], types, donors, np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match="negative"):
        pseudobulk(-counts, totals, types, donors, np.ones((3, 4), dtype=bool))


def test_variance_of_donors_and_its_shared_part_are_found_beside_counting_noise(rng):
    counting = rng.uniform(0.01, 0.05, (4, 4000))
    shared = rng.normal(0, 0.4, (1, 10, 4000))
    log = shared + rng.normal(0, 0.2, (4, 10, 4000)) + rng.normal(size=(4, 10, 4000)) * np.sqrt(counting)[:, None]
    log[2, 7] = np.nan
    whole, common = donor_variance(log, counting)
    assert whole == pytest.approx(0.2, rel=0.1)
    assert common == pytest.approx(0.16, rel=0.1)


def test_without_shared_is_the_best_linear_prediction(rng):
    log = rng.normal(0, 0.5, (1, 6, 500)) + rng.normal(0, 0.3, (3, 6, 500)) + 2
    counting = rng.uniform(0.02, 0.2, (3, 500))
    log[1, 4] = np.nan
    found, precision = without_shared(log, counting)
    whole, shared = donor_variance(log, counting)
    left = np.empty(500)
    y = log - np.nanmean(log, axis=1, keepdims=True)
    for t, d, g in [(0, 0, 0), (1, 2, 7), (2, 4, 40), (0, 4, 499)]:
        others = [o for o in range(3) if o != t and np.isfinite(log[o, d, g])]
        covariance = np.full((len(others),) * 2, shared) + np.diag(whole - shared + counting[others, g])
        told = shared * np.linalg.solve(covariance, y[others, d, g]).sum()
        assert found[t, d, g] == pytest.approx(y[t, d, g] - told)
    assert np.isnan(found[1, 4]).all()
    for g in range(500):  # Variance of the prediction error, for a donor with all types.
        covariance = np.full((2, 2), shared) + np.diag(whole - shared + counting[[1, 2], g])
        gain = shared**2 * np.linalg.inv(covariance).sum()
        left[g] = 1 / (whole - shared + counting[0, g] + shared - gain)
    assert precision[0] == pytest.approx(left / np.sqrt((left**2).mean()))


def test_one_type_alone_is_only_centered(rng):
    log = rng.normal(size=(1, 6, 50))
    assert without_shared(log, np.full((1, 50), 0.1))[0] == pytest.approx(log - log.mean(axis=1, keepdims=True))


@pytest.mark.parametrize("depth", [1.0, 0.5])
def test_unequal_depth_passes_for_a_shift_in_means_of_logs_and_not_in_logs_of_sums(depth):
    """6 against 6 donors, nothing planted: the rate of p <= .05, cases at full and at half depth."""
    rng = np.random.default_rng(11)
    n, n_cells, n_genes, runs = 6, 25, 150, 110
    rows = arrangements(np.repeat([0.0, 1.0], n)).rows
    donors, types = np.repeat(np.arange(2 * n), n_cells), np.zeros(2 * n * n_cells, dtype=int)
    rates = np.exp(rng.normal(-0.5, 1, n_genes))
    hits = {"means of logs": 0, "logs of sums": 0}
    for _ in range(runs):
        own = rates * np.exp(rng.normal(0, 0.3, (2 * n, n_genes)))
        own *= (np.exp(rng.normal(0, 0.1, 2 * n)) * np.where(np.arange(2 * n) >= n, depth, 1.0))[:, None]
        counts = sp.csr_matrix(rng.poisson(own[donors]))
        totals = np.asarray(counts.sum(axis=1)).ravel()
        logs = log_cp10k(counts, totals).toarray()
        means = ((logs - logs.mean(axis=0)) / logs.std(axis=0)).reshape(2 * n, n_cells, n_genes).mean(axis=1)
        summed = pseudobulk(counts, totals, types, donors, np.ones((1, 2 * n), dtype=bool))
        for name, M in (("means of logs", means), ("logs of sums", summed.weighted[0])):
            centered = M - M.mean(axis=0)
            hits[name] += exceed(two_group(centered @ centered.T, rows).f[:, None])[0] <= 0.05
    assert hits["logs of sums"] / runs <= 0.11
    if depth < 1:
        assert hits["means of logs"] / runs >= 0.25


def _lost_type(rng, n, keep, n_genes=800):
    """Sums and totals of 3 types in n + n donors; cases keep a share of the cells of the first type, nothing else."""
    profile = np.exp(rng.normal(0, 1.8, n_genes) + rng.normal(0, 0.5, (3, n_genes)))
    profile /= profile.sum(axis=1, keepdims=True)
    mean_cells = np.array([400.0, 150, 150])[:, None] * np.ones((3, 2 * n))
    mean_cells[0, n:] *= keep
    cells = np.maximum(rng.poisson(mean_cells), 8)
    donors = rng.normal(0, 0.1, (2 * n, n_genes)) + rng.normal(0, 0.1, (3, 2 * n, n_genes))
    own = profile[:, None] * np.exp(donors)
    own /= own.sum(axis=2, keepdims=True)
    sums = rng.poisson(own * (cells * 2500.0)[..., None]).astype(float)
    return sums, sums.sum(axis=2)


@pytest.mark.parametrize("keep", [0.05, 0.03])
def test_a_type_that_is_nearly_lost_does_not_shift_by_itself(keep):
    """6 against 6 donors, expression unchanged: the rate of p <= .05 in single genes, plain and selective."""
    rng = np.random.default_rng(5)
    rows, runs, hits = arrangements(np.repeat([0.0, 1.0], 6)).rows, 80, np.zeros(2)
    for _ in range(runs):
        found = logs_of_sums(*_lost_type(rng, 6, keep))
        freed, precision = without_shared(found.log, found.counting)
        for k, M in enumerate((found.weighted[0], freed[0] * precision[0])):
            centered = M - M.mean(axis=0)
            hits[k] += exceed(two_group(centered @ centered.T, rows).f[:, None])[0] <= 0.05
    assert (hits / runs <= 0.1125).all()
