"""The gene space against a plain SVD, and the traps that whitening has."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lexicell._errors import InputError
from lexicell.core.genes.gene_space import GeneSpace


def _vectors(n, d, rng, *, decay=0.9):
    """Gene vectors like those of a language model: a large common part, spread falling by direction."""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (3.0 + rng.normal(size=(n, d)) * decay ** np.arange(d)) @ basis


@pytest.mark.parametrize(("n", "d"), [(400, 24), (60, 90)], ids=["tall", "wide"])
def test_whitened_vectors_equal_svd(n, d, rng):
    E = _vectors(n, d, rng)
    k = 12
    U, s, Vt = np.linalg.svd(E - E.mean(axis=0), full_matrices=False)
    space = GeneSpace.fit(E, n_components=k)
    sign = np.sign((space.V * Vt[:k].T).sum(axis=0))
    np.testing.assert_allclose(space.s, s[:k], rtol=1e-9)
    np.testing.assert_allclose(space.V, Vt[:k].T * sign, atol=1e-9)
    np.testing.assert_allclose(space.transform(E), U[:, :k] * np.sqrt(n) * sign, atol=2e-6)


def test_whitened_columns_have_mean_zero_and_unit_second_moment(rng):
    E = _vectors(500, 20, rng)
    W = GeneSpace.fit(E).transform(E).astype(float)
    np.testing.assert_allclose(W.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(W.T @ W / len(W), np.eye(W.shape[1]), atol=1e-5)


def test_largest_entry_of_each_direction_is_positive(rng):
    V = GeneSpace.fit(_vectors(300, 15, rng)).V
    assert (V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])] > 0).all()


def test_directions_below_a_thousandth_are_dropped(rng):
    E = rng.normal(size=(400, 6)) * np.array([1, 0.5, 0.1, 0.01, 0.0005, 0.0001])
    s = np.linalg.svd(E - E.mean(axis=0), compute_uv=False)
    space = GeneSpace.fit(E)
    assert space.rank == space.k == (s >= 1e-3 * s[0]).sum() == 4


def test_gene_order_changes_nothing_beyond_rounding(rng):
    E = _vectors(400, 24, rng)
    order = rng.permutation(len(E))
    np.testing.assert_allclose(GeneSpace.fit(E[order]).transform(E), GeneSpace.fit(E).transform(E), atol=2e-6)


def test_same_bits_for_any_number_of_threads(rng):
    E = _vectors(3000, 64, rng).astype(np.float32)
    with threadpool_limits(1):
        one = GeneSpace.fit(E)
    with threadpool_limits(2):
        two = GeneSpace.fit(E)
    assert np.array_equal(one.V, two.V)
    assert np.array_equal(one.s, two.s)


def test_k_is_held_at_a_quarter_of_the_genes_and_says_so(rng):
    E = _vectors(40, 30, rng, decay=1.0)
    with pytest.warns(UserWarning, match="only 40 genes have a text, so 10 of 30 text dimensions are used"):
        space = GeneSpace.fit(E)
    assert (space.k, space.rank, space.n_genes) == (10, 30, 40)


def test_no_warning_when_genes_suffice(rng):
    assert GeneSpace.fit(_vectors(200, 30, rng)).k == 30  # warnings are errors


def test_asking_for_too_many_directions_warns(rng):
    with pytest.warns(UserWarning, match="at most 10 is advised"):
        assert GeneSpace.fit(_vectors(40, 30, rng), n_components=20).k == 20


def test_as_many_directions_as_genes_ignores_the_texts_which_is_why_k_is_held(rng):
    n = 40
    E = _vectors(n, 60, rng, decay=1.0)
    with pytest.warns(UserWarning, match="whitening then ignores"):
        W = GeneSpace.fit(E, n_components=n - 1).transform(E).astype(float)
    np.testing.assert_allclose(W @ W.T / n, np.eye(n) - 1 / n, atol=1e-5)
    with pytest.warns(UserWarning, match="text dimensions are used"):
        held = GeneSpace.fit(E).transform(E).astype(float)
    assert np.abs(held @ held.T / n - (np.eye(n) - 1 / n)).max() > 0.3


def test_shuffled_texts_change_distances_at_the_k_used(rng):
    E = _vectors(200, 40, rng)
    Z = rng.normal(size=(30, 200))
    cells = Z @ GeneSpace.fit(E).transform(E)
    E2 = E[rng.permutation(len(E))]
    shuffled = Z @ GeneSpace.fit(E2).transform(E2)
    upper = np.triu_indices(30, 1)
    distances = [np.linalg.norm(c[:, None] - c[None], axis=-1)[upper] for c in (cells, shuffled)]
    assert np.corrcoef(*distances)[0, 1] < 0.9


def test_other_genes_and_queries_enter_the_same_space(rng):
    E = _vectors(300, 12, rng)
    query = E[7] + 0.1 * rng.normal(size=12)
    space = GeneSpace.fit(E)
    expected = [
        sum((query - E.mean(axis=0))[i] * space.V[i, j] for i in range(12)) / space.s[j] * 300**0.5 for j in range(12)
    ]
    np.testing.assert_allclose(space.transform(query)[0], expected, rtol=1e-5, atol=1e-6)
    assert space.transform(query).shape == (1, 12)


def test_center_subtracts_the_mean_of_the_fit(rng):
    E, other = _vectors(100, 8, rng), _vectors(5, 8, rng)
    np.testing.assert_allclose(GeneSpace.fit(E).center(other), other - E.mean(axis=0), atol=1e-5)


def test_dictionary_round_trip(rng):
    E = _vectors(300, 12, rng)
    space = GeneSpace.fit(E, n_components=7)
    stored = space.to_dict()
    assert {type(v) for v in stored.values()} <= {np.ndarray, int}
    again = GeneSpace.from_dict(stored)
    assert (again.k, again.n_genes, again.rank) == (7, 300, 12)
    np.testing.assert_allclose(again.transform(E), space.transform(E), atol=2e-6)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((3, 5)), "at least 4 gene vectors"),
        (np.ones(5), "at least 4 gene vectors"),
        (np.full((20, 5), 0.3), "all gene vectors are equal"),
        (np.where(np.eye(20, 5) > 0, np.nan, 1.0), "NaN or infinity"),
    ],
    ids=["few-genes", "one-axis", "all-equal", "nan"],
)
def test_useless_vectors_are_refused(vectors, message):
    with pytest.raises(InputError, match=message):
        GeneSpace.fit(vectors)


@pytest.mark.parametrize("n_components", [0, 9], ids=["none", "above-rank"])
def test_n_components_outside_the_rank_is_refused(n_components, rng):
    with pytest.raises(InputError, match="between 1 and 8"):
        GeneSpace.fit(_vectors(100, 8, rng), n_components=n_components)


def test_vectors_of_another_embedder_are_refused(rng):
    with pytest.raises(InputError, match="length 7 do not fit a gene space of 8"):
        GeneSpace.fit(_vectors(100, 8, rng)).transform(np.ones((2, 7)))
