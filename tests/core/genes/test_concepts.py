"""Concept sets and their scores against loops and drawn random sets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell.core.expression.log_values import column_stats, zscore_block, zscore_sparse
from lexicell.core.genes.concepts import (
    CellScorer,
    GroupSums,
    cell_scores,
    cell_zscores,
    concept_parts,
    contrast_scores,
    expression_bins,
)


def _sets(rng, n_concepts, n_genes, size):
    """Random sets of `size` genes whose weights sum to 1."""
    weights = np.zeros((n_concepts, n_genes))
    for row in weights:
        row[rng.choice(n_genes, size, replace=False)] = rng.dirichlet(np.ones(size))
    return sp.csr_matrix(weights)


def test_cell_scores_equal_a_double_loop(rng):
    values = sp.random(40, 60, density=0.3, random_state=1, format="csr")
    sets = _sets(rng, 4, 60, 10)
    stats = column_stats(values)
    z = zscore_block(values, *stats)
    expected = [[sum(sets[q, g] * z[c, g] for g in range(60)) for q in range(4)] for c in range(40)]
    np.testing.assert_allclose(cell_scores(*zscore_sparse(values, *stats), sets), expected, atol=1e-9)


def test_expression_bins_are_of_about_equal_size_and_ordered(rng):
    expression = rng.lognormal(size=1000)
    bins = expression_bins(expression)
    assert np.bincount(bins).tolist() == [100] * 10
    assert all(expression[bins == b].max() <= expression[bins == b + 1].min() for b in range(9))


def test_equal_expression_shares_a_bin():
    assert set(expression_bins(np.r_[np.zeros(500), np.arange(1, 501)])[:500].tolist()) == {
        expression_bins(np.r_[np.zeros(500), np.arange(1, 501)])[0]
    }


def test_z_equals_that_of_drawn_random_sets(rng):
    n = 2000
    expression = rng.lognormal(size=n)
    bins = expression_bins(expression)
    x = rng.normal(size=n) * (1 + bins) + 0.3 * bins  # mean and spread follow expression
    weights = np.zeros(n)
    members = rng.choice(np.flatnonzero(bins >= 6), 40, replace=False)
    weights[members] = rng.uniform(0.5, 1, 40)
    weights /= weights.sum()
    drawn = [sum(weights[g] * x[rng.choice(np.flatnonzero(bins == bins[g]))] for g in members) for _ in range(4000)]
    got = contrast_scores(x, sp.csr_matrix(weights), expression)
    score = weights @ x
    assert got.score[0, 0] == pytest.approx(score)
    assert got.z[0, 0] == pytest.approx((score - np.mean(drawn)) / np.std(drawn), abs=0.1)


def test_random_sets_have_z_around_zero_with_unit_spread(rng):
    n = 3000
    expression = rng.lognormal(size=n)
    x = rng.normal(size=n) + 2 * np.log(expression)  # a contrast that follows expression
    sets = sp.csr_matrix((np.full(25_000, 1 / 50), (np.repeat(np.arange(500), 50),
                          np.concatenate([rng.choice(n, 50, replace=False) for _ in range(500)]))))  # fmt: skip
    z = contrast_scores(x, sets, expression).z[0]
    assert abs(z.mean()) < 0.15
    assert 0.85 < z.std() < 1.15


def test_the_concept_whose_genes_change_comes_first(rng):
    sets = _sets(rng, 20, 1000, 50)
    x = rng.normal(size=1000)
    x[sets[7].indices] += 1.5
    got = contrast_scores(x, sets, rng.lognormal(size=1000))
    assert got.z[0].argmax() == 7


def test_a_flat_contrast_scores_zero(rng):
    sets = _sets(rng, 2, 100, 50)
    assert (contrast_scores(np.zeros(100), sets, np.ones(100)).z == 0).all()


def test_cell_z_equals_the_contrast_z_of_that_cell(rng):
    values = sp.random(30, 400, density=0.3, random_state=2, format="csr")
    sets = _sets(rng, 5, 400, 20)
    stats = column_stats(values)
    z = zscore_block(values, *stats)
    got = cell_zscores(*zscore_sparse(values, *stats), sets, stats[0])
    np.testing.assert_allclose(got, [contrast_scores(row, sets, stats[0]).z[0] for row in z], atol=1e-4)


def test_no_bit_of_a_cell_depends_on_the_cells_beside_it(rng):
    values = sp.random(50, 100, density=0.4, random_state=3, format="csr")
    sets = _sets(rng, 4, 100, 10)
    stats = column_stats(values)
    deviations, baseline = zscore_sparse(values, *stats)
    scorer = CellScorer(baseline, sets, stats[0])
    whole = scorer.score(deviations)
    for start in range(0, 50, 7):
        part = scorer.score(sp.csr_matrix(deviations[start : start + 7]))
        for got, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(got, expected[start : start + 7])


def test_raw_scores_are_those_of_cells_less_those_of_an_empty_one(rng):
    values = sp.random(30, 100, density=0.4, random_state=3, format="csr")
    sets = _sets(rng, 4, 100, 10)
    stats = column_stats(values)
    deviations, baseline = zscore_sparse(values, *stats)
    expected = cell_scores(deviations, baseline, sets) - baseline @ sets.toarray().T
    np.testing.assert_allclose(CellScorer(baseline, sets, stats[0]).raw(deviations), expected, atol=1e-12)


@pytest.mark.parametrize("is_sparse", [True, False])
def test_group_sums_leave_out_cells_of_no_group(rng, is_sparse):
    values, codes = rng.normal(size=(20, 5)), rng.integers(-1, 3, 20)
    sums = GroupSums(3, 5)
    for start in range(0, 20, 6):
        block = values[start : start + 6]
        sums.add(sp.csr_matrix(block) if is_sparse else block, codes[start : start + 6])
    np.testing.assert_allclose(sums.sums, [values[codes == k].sum(axis=0) for k in range(3)], atol=1e-12)


def test_parts_of_a_concept_sum_to_its_score_and_to_its_z(rng):
    change, expression = rng.normal(size=300), rng.gamma(1.0, size=300)
    sets = _sets(rng, 4, 300, 20)
    whole = contrast_scores(change, sets, expression)
    for q in range(4):
        weights = sets[q].toarray()[0]
        parts, scaled = concept_parts(change, weights, expression)
        assert parts.sum() == pytest.approx(whole.score[0, q], abs=1e-12)
        assert scaled.sum() == pytest.approx(whole.z[0, q], abs=1e-10)
        assert set(np.flatnonzero(scaled)) == set(np.flatnonzero(weights))
