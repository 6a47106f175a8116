"""Predictions for unseen donors against loops, and at chance where there is nothing."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lexicell.core.donors.crossfit import cell_scores, draw_cells, pair_auc


def _cells(rng, shift, n=4, per=20, dim=6, donor_sd=1.0):
    donors = np.repeat(np.arange(2 * n), per)
    case = donors >= n
    C = donor_sd * rng.normal(size=(2 * n, dim))[donors] + rng.normal(size=(len(donors), dim))
    C[case, 0] += shift
    return C, donors, case


def _along(C):
    return lambda rows, direction: C[rows] @ direction


def test_cells_are_drawn_evenly_from_donors(rng):
    donors = np.repeat([3, 1, 7], [50, 4, 31])
    rows = np.flatnonzero(donors != 7)
    drawn = draw_cells(rows, donors, max_cells=10, rng=rng)
    assert np.unique(donors[drawn], return_counts=True)[1].tolist() == [4, 10]
    assert len(set(drawn)) == 14


def test_pair_auc_equals_a_loop_with_explicit_fits(rng):
    C, donors, case = _cells(rng, 1.0, n=3, per=12)
    found = pair_auc(C, donors, case)
    Z = C - C.mean(axis=0)
    values = []
    for a in range(3, 6):
        for b in range(3):
            train = ~np.isin(donors, [a, b])
            mean, sd = Z[train].mean(axis=0), Z[train].std(axis=0)
            T, y = (Z[train] - mean) / sd, case[train] - case[train].mean()
            w = np.linalg.solve(T.T @ T + train.sum() * np.eye(Z.shape[1]), T.T @ y)
            values.append(roc_auc_score(case[~train], (Z[~train] - mean) / sd @ w))
    assert found == pytest.approx(np.mean(values), abs=1e-9)


def test_auc_is_at_chance_under_donor_effects_where_cells_would_be_told_apart():
    rng = np.random.default_rng(50)
    found = [pair_auc(*_cells(rng, 0.0, donor_sd=2.0)) for _ in range(40)]
    # A cross-validation over cells sees every donor and tells the arms apart almost perfectly.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    C, _, case = _cells(rng, 0.0, donor_sd=2.0, n=3, dim=12)
    leaking = cross_val_score(LogisticRegression(), C, case, scoring="roc_auc", cv=5).mean()
    assert abs(np.mean(found) - 0.5) < 0.1
    assert leaking > 0.85


def test_auc_sees_a_shift_and_needs_two_donors_an_arm(rng):
    assert pair_auc(*_cells(rng, 4.0, donor_sd=0.5)) > 0.9
    C, donors, _ = _cells(rng, 1.0, n=3)
    one = donors >= 2
    assert np.isnan(pair_auc(C[one], donors[one], donors[one] == 2))


def test_fewer_cells_than_dimensions_give_the_same_components(rng):
    from lexicell.core.donors.crossfit import _components

    Z = rng.normal(size=(60, 90)) * np.geomspace(5, 0.1, 90)
    found = _components(Z)
    U, s, _ = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
    expected = (U * s)[:, : found.shape[1]]
    assert found @ found.T == pytest.approx(expected @ expected.T)


def test_more_dimensions_than_components_are_reduced(rng):
    C, donors, case = _cells(rng, 6.0, dim=80, donor_sd=0.3)
    assert pair_auc(C, donors, case) > 0.85


def test_cell_scores_never_use_the_cell_s_own_donor(rng):
    C, donors, _ = _cells(rng, 2.0)
    means = np.stack([C[donors == d].mean(axis=0) for d in range(8)])
    x = np.repeat([0.0, 1], 4)
    present = np.ones(8, dtype=bool)
    before = cell_scores(_along(C), donors, means, present, x)
    for d in (1, 6):
        rest = np.arange(8) != d
        start = means[rest & (x == 0)].mean(axis=0)
        delta = means[rest & (x == 1)].mean(axis=0) - start
        assert before[donors == d] == pytest.approx((C[donors == d] - start) @ delta / (delta @ delta))
    # Moving a donor far away changes the scores of other donors' cells only.
    moved = means.copy()
    moved[6] += 100
    after = cell_scores(_along(C), donors, moved, present, x)
    assert after[donors == 6] == pytest.approx(before[donors == 6])
    assert not np.allclose(after[donors == 5], before[donors == 5])


def test_both_samples_of_a_donor_are_left_out_together(rng):
    C, samples, _ = _cells(rng, 1.0, n=3)
    means = np.stack([C[samples == d].mean(axis=0) for d in range(6)])
    x, owner = np.repeat([0.0, 1], 3), np.tile(np.arange(3), 2)
    before = cell_scores(_along(C), samples, means, np.ones(6, dtype=bool), x, owner)
    moved = means.copy()
    moved[3] += 50
    after = cell_scores(_along(C), samples, moved, np.ones(6, dtype=bool), x, owner)
    assert after[samples == 0] == pytest.approx(before[samples == 0])
    assert np.isnan(cell_scores(_along(C), samples, means, np.arange(6) % 3 < 2, x, owner)[samples == 0]).all()
