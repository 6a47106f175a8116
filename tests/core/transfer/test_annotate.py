"""Which types are there, and which fits each cell: planted types, and slow sums."""

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell.core.transfer.annotate import probabilities, settle, type_scores, types_found


def _planted(rng):
    """Changes of 4 groups over 200 genes, and 6 types of 10 genes each; group k expresses the genes of type k."""
    changes = rng.normal(size=(4, 200)) * 0.1
    sets = np.zeros((6, 200))
    for k in range(6):
        sets[k, 10 * k : 10 * k + 10] = 0.1
        if k < 3:
            changes[k, 10 * k : 10 * k + 10] += 1
    return changes, sp.csr_matrix(sets)


def test_groups_stand_out_for_their_type_and_absent_types_for_none(rng):
    changes, sets = _planted(rng)
    assert types_found(changes, sets, rng.random(200)).tolist() == [0, 1, 2, -1]


def test_with_shuffled_genes_hardly_a_type_is_found(rng):
    changes, sets = _planted(rng)
    found = [types_found(changes[:, rng.permutation(200)], sets, rng.random(200)) for _ in range(20)]
    assert (np.stack(found) >= 0).mean() < 0.15


def test_scores_equal_a_loop(rng):
    z = rng.normal(size=(30, 40))
    sets = sp.random(3, 40, density=0.3, random_state=1, format="csr")
    total = np.asarray([[sum(sets[t, g] * z[c, g] for g in range(40)) for t in range(3)] for c in range(30)])
    expected = (total - total.mean(axis=0)) / total.std(axis=0)
    assert type_scores(sp.csr_matrix(z), np.zeros(40), sets) == pytest.approx(expected, abs=1e-9)


def test_probabilities_are_a_softmax_of_twice_the_scores():
    scores = np.array([[0.0, 1.0, -1.0], [2.0, 2.0, 2.0]])
    slow = [[np.exp(2 * x) / sum(np.exp(2 * y) for y in line) for x in line] for line in scores]
    np.testing.assert_allclose(probabilities(scores), slow)
    assert probabilities(np.zeros((3, 0))).shape == (3, 0)


def test_general_types_come_before_finer_ones():
    """Lymphocyte above T cell above naive T cell; monocyte beside them."""
    parents = np.array([-1, 0, 1, -1])
    shares = np.array(
        [
            [0.5, 0.2, 0.1, 0.2],  # finer types hold .3 of .8: not more than half
            [0.1, 0.4, 0.3, 0.2],  # T cell and below .7 of .8, naive .3 of .7
            [0.1, 0.1, 0.6, 0.2],  # naive .6 of .7
            [0.25, 0.2, 0.1, 0.45],  # each alone has less than the monocyte, together they have more
            [0.1, 0.2, 0.1, 0.6],
        ]
    )
    best, second, confidence = settle(shares, parents)
    assert best.tolist() == [0, 1, 2, 1, 3]
    np.testing.assert_allclose(confidence, [0.8, 0.7, 0.6, 0.3, 0.6])
    assert second.tolist() == [3, 3, 3, 3, 1]
    assert settle(np.ones((2, 1)), np.array([-1]))[1].tolist() == [-1, -1]
