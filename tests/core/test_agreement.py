"""Agreement of clusterings against scikit-learn and sets."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from lexicell.core.agreement import adjusted_rand, by_size, stability


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_rand_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 4, 60)
    b = np.where(rng.random(60) < 0.6, a, rng.integers(0, 6, 60))
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b))


def test_same_partition_under_other_names_is_one():
    assert adjusted_rand(np.array([0, 0, 1, 2]), np.array([2, 2, 0, 1])) == 1.0
    assert adjusted_rand(np.zeros(5, int), np.zeros(5, int)) == 1.0


def test_clusters_are_numbered_by_size_then_first_cell():
    assert by_size(np.array([7, 3, 3, 5, 5, 9])).tolist() == [2, 0, 0, 1, 1, 3]


def test_stability_equals_sets(rng):
    codes, others = rng.integers(0, 3, 40), [rng.integers(0, 4, 40) for _ in range(3)]

    def best(k, other):
        mine = set(np.flatnonzero(codes == k))
        theirs = [set(np.flatnonzero(other == j)) for j in range(4)]
        return max(len(mine & t) / len(mine | t) for t in theirs)

    expected = [np.mean([best(k, o) for o in others]) for k in range(3)]
    np.testing.assert_allclose(stability(codes, others), expected)


def test_stability_without_other_clusterings_is_unknown():
    assert np.isnan(stability(np.array([0, 1]), [])).all()
