"""Attributions sum to the whole, gene by gene as a loop computes them."""

from __future__ import annotations

import numpy as np
import pytest

from lexicell._errors import InputError
from lexicell.core.genes.attribution import attribute, attribute_along


def test_parts_sum_to_one_and_equal_a_loop(rng):
    E, change = rng.normal(size=(300, 20)) + 3, rng.normal(size=300)
    got = attribute(change, E)
    delta = sum(change[g] * E[g] for g in range(300))
    np.testing.assert_allclose(got.parts, [change[g] * (E[g] @ delta) / (delta @ delta) for g in range(300)], rtol=1e-9)
    np.testing.assert_allclose(got.difference, delta, rtol=1e-9)
    assert abs(got.parts.sum() - 1) < 1e-9
    assert got.total == 1.0


def test_parts_of_real_cells_sum_to_the_difference_of_their_embeddings(rng):
    """float32 vectors and weights, cells embedded one by one: the promise of 1e-6 holds there."""
    E = rng.normal(size=(5000, 64)).astype(np.float32)
    W = rng.gamma(0.3, 1.0, size=(60, 5000)).astype(np.float32)
    W /= W.sum(axis=1, keepdims=True)
    cells = np.array([w.astype(float) @ E.astype(float) for w in W])
    delta = cells[:25].mean(axis=0) - cells[25:].mean(axis=0)
    got = attribute(W[:25].mean(axis=0, dtype=float) - W[25:].mean(axis=0, dtype=float), E)
    assert abs(got.parts.sum() - 1) < 1e-6
    assert abs((got.parts * (delta @ delta)).sum() / (delta @ delta) - 1) < 1e-6
    np.testing.assert_allclose(got.difference, delta, rtol=1e-6, atol=1e-9)


def test_the_gene_that_changes_gets_the_whole(rng):
    change = np.zeros(50)
    change[8] = 0.4
    np.testing.assert_allclose(attribute(change, rng.normal(size=(50, 6))).parts, np.eye(50)[8], rtol=1e-12)


def test_genes_that_work_against_the_contrast_have_negative_parts():
    got = attribute([1.0, 1.0], [[2.0, 0.0], [-0.5, 0.0]])
    np.testing.assert_allclose(got.parts, [4 / 3, -1 / 3])


def test_along_a_direction_parts_sum_to_the_projection(rng):
    E, change, axis = rng.normal(size=(80, 7)), rng.normal(size=80), rng.normal(size=7)
    got = attribute_along(change, E, axis)
    assert got.parts.sum() == pytest.approx(got.total)
    assert got.total == pytest.approx(change @ E @ axis / np.linalg.norm(axis))


def test_along_the_difference_itself_parts_are_the_same(rng):
    E, change = rng.normal(size=(80, 7)), rng.normal(size=80)
    whole = attribute(change, E)
    np.testing.assert_allclose(attribute_along(change, E, whole.difference).parts,
                               whole.parts * np.linalg.norm(whole.difference))  # fmt: skip


def test_what_belongs_to_no_gene_has_a_part_of_its_own(rng):
    E, weights, offset, axis = rng.normal(size=(80, 7)), rng.gamma(1.0, size=80), rng.normal(size=7), rng.normal(size=7)
    whole = attribute(weights, E, offset=offset)
    assert whole.parts.sum() + whole.constant == pytest.approx(1)
    np.testing.assert_allclose(whole.difference, weights @ E + offset)
    got = attribute_along(weights, E, axis, offset=offset, unit=False)
    assert got.total == pytest.approx((weights @ E + offset) @ axis)
    assert got.parts.sum() + got.constant == pytest.approx(got.total)
    assert got.constant == pytest.approx(offset @ axis)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attribute([0.0, 0.0], np.eye(2)), "do not differ"),
        (lambda: attribute([0.1, -0.1], np.ones((2, 3)) / 3), "do not differ"),
        (lambda: attribute([1.0], np.eye(2)), "do not fit"),
        (lambda: attribute_along([1.0, 2.0], np.eye(2), [0.0, 0.0]), "not all zero"),
        (lambda: attribute_along([1.0, 2.0], np.eye(2), [1.0]), "2 numbers"),
    ],
    ids=["equal", "cancels", "shape", "zero-direction", "short-direction"],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
