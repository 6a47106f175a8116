"""Arrangements of donors against brute force."""

from itertools import permutations, product
from math import comb

import numpy as np
import pytest

from lexicell.core.donors.permutation import EXACT_LIMIT, arrangements, orders, sign_flips


def _as_set(rows):
    return {tuple(row) for row in rows.tolist()}


@pytest.mark.parametrize(
    "labels",
    [[0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 1, 2, 0, 1, 2], [3.0, 3.0], [0, 1]],
    ids=["2v2", "3v2", "three-stages", "one-value", "1v1"],
)
def test_every_distinct_arrangement_once(labels):
    found = arrangements(labels)
    assert found.exact
    assert _as_set(found.rows) == set(permutations([float(v) for v in labels]))
    assert len(found) == len(_as_set(found.rows))
    assert found.rows[0].tolist() == labels


def test_labels_stay_in_their_batch():
    labels, batch = np.array([0, 1, 0, 1, 1]), np.array(["a", "a", "b", "b", "b"])
    found = arrangements(labels, batch)
    brute = {p for p in permutations(labels.tolist()) if sum(p[:2]) == 1 and sum(p[2:]) == 2}
    assert _as_set(found.rows) == brute
    assert len(found) == 2 * 3


def test_seven_against_seven_is_exact_and_eight_is_sampled():
    seven = arrangements([0] * 7 + [1] * 7)
    assert seven.exact
    assert len(seven) == comb(14, 7) <= EXACT_LIMIT
    eight = arrangements([0] * 8 + [1] * 8, n_draws=300, rng=1)
    assert not eight.exact
    assert len(eight) == 301
    assert (eight.rows.sum(axis=1) == 8).all()
    assert eight.rows[0].tolist() == [0] * 8 + [1] * 8


def test_sampled_arrangements_are_uniform_over_donors():
    rows = arrangements([0] * 10 + [1] * 10, n_draws=4000, rng=2).rows[1:]
    share = rows.mean(axis=0)
    # Standard error .0079 a donor.
    assert np.abs(share - 0.5).max() < 0.035


def test_orders_list_all_permutations_within_batches():
    batch = [0, 1, 0, 1, 1]
    found = orders(5, batch)
    brute = {p for p in permutations(range(5)) if all(batch[i] == batch[j] for i, j in enumerate(p))}
    assert found.exact
    assert _as_set(found.rows) == brute
    assert found.rows[0].tolist() == [0, 1, 2, 3, 4]


def test_sampled_orders_keep_batches_and_seed():
    batch = np.arange(12) % 2
    one, two = (orders(12, batch, n_draws=50, rng=3) for _ in range(2))
    assert not one.exact
    assert np.array_equal(one.rows, two.rows)
    assert (batch[one.rows] == batch).all()
    assert (np.sort(one.rows, axis=1) == np.arange(12)).all()


def test_sign_flips_are_all_signs():
    found = sign_flips(5)
    assert _as_set(found.rows) == set(product([1.0, -1.0], repeat=5))
    assert found.rows[0].tolist() == [1.0] * 5
    sampled = sign_flips(13, n_draws=10)
    assert not sampled.exact
    assert len(sampled) == 11
    assert set(np.unique(sampled.rows)) == {-1.0, 1.0}
    assert found.smallest_p == 1 / 32
