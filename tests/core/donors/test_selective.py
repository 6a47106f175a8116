"""The metric of the other types' donor noise against a dense inverse, and what it is for."""

import numpy as np
import pytest

from lexicell.core.donors.selective import selective_grams
from lexicell.core.donors.shift import Design
from lexicell.core.donors.vulnerability import shift_test


def test_gram_equals_the_dense_formula(rng):
    values = rng.normal(size=(3, 6, 5))
    present = np.ones((3, 6), dtype=bool)
    present[2, 4] = False
    values[2, 4] = np.nan
    design = Design.of(np.repeat([0.0, 1], 3))
    found = selective_grams(values, present, design, alpha=0.3)
    for t in range(3):
        others = [values[o, present[o]] - values[o, present[o]].mean(axis=0) for o in range(3) if o != t]
        N = np.concatenate(others)
        ridge = 0.3 * np.trace(N.T @ N) / (len(N) - 2)
        W = np.linalg.inv(np.eye(5) + N.T @ N / ridge)
        own = values[t, present[t]] - values[t, present[t]].mean(axis=0)
        assert found[t] == pytest.approx(own @ W @ own.T)


def test_paired_differences_keep_their_origin(rng):
    values = rng.normal(size=(2, 5, 4)) + 1
    design = Design.of(np.ones(5), is_paired=True)
    found = selective_grams(values, np.ones((2, 5), dtype=bool), design, alpha=0.2)
    N = values[1] - values[1].mean(axis=0)
    W = np.linalg.inv(np.eye(4) + N.T @ N / (0.2 * np.trace(N.T @ N) / 4))
    assert found[0] == pytest.approx(values[0] @ W @ values[0].T)


def test_a_single_type_has_nothing_to_be_compared_with(rng):
    values = rng.normal(size=(1, 6, 4))
    design = Design.of(np.repeat([0.0, 1], 3))
    assert selective_grams(values, np.ones((1, 6), dtype=bool), design) == [None]
    found = shift_test(values, np.ones((1, 6), dtype=bool), design)
    assert np.isnan(found.p_selective[0])
    assert np.isnan(found.p_selective_max_t[0])
    assert np.isfinite(found.p[0])


def test_power_under_shared_donor_noise_and_null_rate():
    """Donor effects shared by all types hide a shift from the plain test and not from the selective one."""
    rng = np.random.default_rng(40)
    x, dim, runs = np.repeat([0.0, 1], 4), 60, 120
    here, design = np.ones((5, 8), dtype=bool), Design.of(x)
    target, plain, others = [], [], []
    for _ in range(runs):
        donor = 2 * rng.normal(size=(8, dim))
        values = donor + 0.5 * rng.normal(size=(5, 8, dim))
        turn = rng.normal(size=dim)
        values[0] += 4 * turn / np.linalg.norm(turn) * x[:, None]
        found = shift_test(values, here, design)
        target.append(found.p_selective[0] <= 0.05)
        plain.append(found.p[0] <= 0.05)
        others += list(found.p_selective[1:] <= 0.05)
    assert np.mean(target) > np.mean(plain) + 0.3
    assert np.mean(others) < 0.09
