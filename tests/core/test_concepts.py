"""Concept sets and their scores against loops and drawn random sets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell._errors import InputError
from lexicell.core.concepts import (
    CellScorer,
    GroupSums,
    cell_scores,
    cell_zscores,
    concept_parts,
    concept_sets,
    contrast_scores,
    expression_bins,
)
from lexicell.core.expression import column_stats, zscore_block, zscore_sparse


def _cos(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_sets_hold_the_nearest_genes_by_centred_cosine(rng):
    E, Q = rng.normal(size=(200, 10)) + 4, rng.normal(size=(3, 10)) + 4
    sets = concept_sets(E, Q, n_genes=15).toarray()
    mu = E.mean(axis=0)
    for q in range(3):
        cosines = np.array([_cos(e - mu, Q[q] - mu) for e in E])
        best = sorted(np.argsort(-cosines)[:15])
        assert np.flatnonzero(sets[q]).tolist() == best
        np.testing.assert_allclose(sets[q, best], cosines[best] ** 2 / (cosines[best] ** 2).sum(), rtol=1e-9)


def test_genes_near_every_phrase_are_discounted(rng):
    E, Q, B = (rng.normal(size=(n, 10)) + 4 for n in (200, 3, 50))
    E[:5] += 3 * (Q[0] - E.mean(axis=0)) + 3 * (B.mean(axis=0) - E.mean(axis=0)) * 10
    mu = E.mean(axis=0)
    near = np.array([[_cos(e - mu, q - mu) for e in E] for q in Q])
    usual = np.array([np.mean([_cos(e - mu, b - mu) for b in B]) for e in E])
    sets = concept_sets(E, Q, n_genes=15, background=B).toarray()
    for q in range(3):
        own = np.where(near[q] > 0, near[q] - usual, 0)
        best = np.sort(np.argsort(-own)[:15])
        assert np.flatnonzero(sets[q]).tolist() == best.tolist()
        np.testing.assert_allclose(sets[q, best], own[best] ** 2 / (own[best] ** 2).sum(), rtol=1e-9)
    plain = concept_sets(E, Q, n_genes=15).toarray()
    assert sets[0, :5].sum() < plain[0, :5].sum()


def test_centring_matters_for_vectors_in_a_narrow_cone(rng):
    E = rng.normal(size=(200, 10)) + 50
    query = E[3] + 0.01
    sets = concept_sets(E, query, n_genes=1).toarray()
    assert sets[0].argmax() == 3
    plain = [_cos(e, query) for e in E]
    assert min(plain) > 0.99  # without centring every gene is next to every query


def test_genes_that_point_away_are_left_out():
    E = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [-1, 0.1], [1, -0.1]])
    sets = concept_sets(E, [[1.0, 0.0]], n_genes=5, mean=[0, 0]).toarray()
    assert np.flatnonzero(sets[0]).tolist() == [0, 5]


def test_a_query_at_the_mean_has_no_genes(rng):
    E = rng.normal(size=(30, 4))
    assert concept_sets(E, E.mean(axis=0)).nnz == 0
    assert concept_sets(E, E.mean(axis=0), background=rng.normal(size=(9, 4))).nnz == 0


def test_small_panels_keep_half_their_genes_at_most(rng):
    E = np.abs(rng.normal(size=(20, 3)))
    assert concept_sets(E, E[:1], mean=np.zeros(3)).nnz == 10


def test_cell_scores_equal_a_double_loop(rng):
    values = sp.random(40, 60, density=0.3, random_state=1, format="csr")
    sets = concept_sets(rng.normal(size=(60, 5)), rng.normal(size=(4, 5)), n_genes=10)
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
    E = rng.normal(size=(1000, 30))
    Q = rng.normal(size=(20, 30))
    sets = concept_sets(E, Q)
    x = rng.normal(size=1000)
    x[sets[7].indices] += 1.5
    got = contrast_scores(x, sets, rng.lognormal(size=1000))
    assert got.z[0].argmax() == 7


def test_a_flat_contrast_scores_zero(rng):
    sets = concept_sets(rng.normal(size=(100, 5)), rng.normal(size=(2, 5)))
    assert (contrast_scores(np.zeros(100), sets, np.ones(100)).z == 0).all()


@pytest.mark.parametrize(
    ("queries", "n_genes", "message"),
    [(np.ones((2, 4)), 50, "queries of 4 dimensions"), (np.ones((2, 5)), 0, "at least 1")],
    ids=["other-embedder", "no-genes"],
)
def test_bad_input_is_refused(queries, n_genes, message, rng):
    with pytest.raises(InputError, match=message):
        concept_sets(rng.normal(size=(30, 5)), queries, n_genes=n_genes)


def test_dense_sets_hold_every_gene_with_its_sign(rng):
    E = rng.normal(size=(40, 6))
    sets = concept_sets(E, E[:2], n_genes=None).toarray()
    mu = E.mean(axis=0)
    cosines = np.array([[_cos(e - mu, E[q] - mu) for e in E] for q in range(2)])
    np.testing.assert_allclose(sets, cosines / np.abs(cosines).sum(axis=1, keepdims=True), rtol=1e-9)
    assert (sets < 0).any()


def test_cell_z_equals_the_contrast_z_of_that_cell(rng):
    values = sp.random(30, 400, density=0.3, random_state=2, format="csr")
    sets = concept_sets(rng.normal(size=(400, 6)), rng.normal(size=(5, 6)), n_genes=20)
    stats = column_stats(values)
    z = zscore_block(values, *stats)
    got = cell_zscores(*zscore_sparse(values, *stats), sets, stats[0])
    np.testing.assert_allclose(got, [contrast_scores(row, sets, stats[0]).z[0] for row in z], atol=1e-4)


def test_no_bit_of_a_cell_depends_on_the_cells_beside_it(rng):
    values = sp.random(50, 100, density=0.4, random_state=3, format="csr")
    sets = concept_sets(rng.normal(size=(100, 6)), rng.normal(size=(4, 6)), n_genes=10)
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
    sets = concept_sets(rng.normal(size=(100, 6)), rng.normal(size=(4, 6)), n_genes=10)
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
    sets = concept_sets(rng.normal(size=(300, 12)), rng.normal(size=(4, 12)), n_genes=20)
    whole = contrast_scores(change, sets, expression)
    for q in range(4):
        weights = sets[q].toarray()[0]
        parts, scaled = concept_parts(change, weights, expression)
        assert parts.sum() == pytest.approx(whole.score[0, q], abs=1e-12)
        assert scaled.sum() == pytest.approx(whole.z[0, q], abs=1e-10)
        assert set(np.flatnonzero(scaled)) == set(np.flatnonzero(weights))
