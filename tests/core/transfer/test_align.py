"""Axes of two panels turned onto each other: against exact answers on planted data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from lexicell._errors import InputError
from lexicell.core.transfer.align import (
    Panel,
    TransferModel,
    align,
    centered,
    mutual_pairs,
    refine,
    smooth,
    text_match,
)


def _panels(rng, *, n=150, genes=60, d=12, k=4, noise=0.0):
    """Two data sets of the same four factors; genes load on factors by their text vectors."""
    sides, factors = [], []
    for _ in range(2):
        E = rng.normal(size=(genes, d)) + 3.0
        L = (E - E.mean(axis=0))[:, :k]
        F = rng.normal(size=(n, k)) * [4, 3, 2, 1]
        U, s, Vt = np.linalg.svd(F @ L.T + noise * rng.normal(size=(n, genes)), full_matrices=False)
        sides.append((U[:, :k] * s[:k], Vt[:k].T, E))
        factors.append(F)
    return sides, factors


def _panel(side):
    return Panel.of(*side)


def _cells(source, target, place):
    return centered(source.scores) @ place.left, centered(target.scores) @ place.right


def test_cells_of_both_sides_lie_on_the_axes_of_the_source(rng):
    sides, factors = _panels(rng)
    source, target = (_panel(s) for s in sides)
    placed, other = _cells(source, target, align(source, target, rounds=0)[1])
    # The best linear map from factors to axes, learned on the source, must hold for the target.
    B = np.linalg.lstsq(factors[0] - factors[0].mean(axis=0), placed, rcond=None)[0]
    expected = (factors[1] - factors[1].mean(axis=0)) @ B
    for axis in range(3):
        assert np.corrcoef(other[:, axis], expected[:, axis])[0, 1] > 0.9


def test_shuffled_texts_do_not_agree_and_the_check_says_so(rng):
    sides, _ = _panels(rng, noise=1.0)
    source = _panel(sides[0])
    scores, loadings, E = sides[1]

    def match(E, **options):
        return text_match(source, Panel.of(scores, loadings, E), loadings, E, **options)

    strength, p = match(E)
    assert p == pytest.approx(1 / 1000)
    assert strength > 2
    null = [match(E[rng.permutation(len(E))], n_shuffles=19)[1] for _ in range(40)]
    assert 0.3 < np.mean(null) < 0.7


def test_the_agreement_of_shuffled_texts_is_that_of_aligned_panels(rng):
    """Against components made anew from shuffled vectors and a sum of singular values by numpy's nuclear norm."""
    sides, _ = _panels(rng)
    _, loadings, E = sides[1]
    source, target = (_panel(s) for s in sides)
    S, T = (side[0] - side[0].mean(axis=0) for side in sides)
    mean = np.concatenate([sides[0][2], E]).mean(axis=0)
    a = sides[0][1].T @ (sides[0][2] - mean)

    def size(vectors):
        return np.linalg.norm(np.outer(S.std(axis=0), T.std(axis=0)) * (a @ (vectors - mean).T @ loadings), "nuc")

    order = np.random.default_rng(5).permutation(len(E))
    strength, p = text_match(source, target, loadings, E, n_shuffles=1, seed=5)
    assert strength == pytest.approx(size(E) / size(E[order]))
    assert p in (0.5, 1.0)


def test_text_space_itself_is_loadings_times_vectors(rng):
    sides, _ = _panels(rng)
    source, target = (_panel(s) for s in sides)
    mean = np.concatenate([sides[0][2], sides[1][2]]).mean(axis=0)
    _, found = _cells(source, target, align(source, target, turn=False)[0])
    scores, loadings, E = sides[1]
    slow = np.zeros((len(scores), E.shape[1]))
    for c in range(len(scores)):
        for g in range(len(E)):
            slow[c] += (scores[c] - scores.mean(axis=0)) @ loadings[g] * (E[g] - mean)
    # The map turns text space; inner products stay.
    np.testing.assert_allclose(found @ found.T, slow @ slow.T, rtol=1e-6, atol=1e-6)


def test_equal_gene_vectors_are_refused(rng):
    with pytest.raises(InputError, match="all gene vectors are equal"):
        Panel.of(rng.normal(size=(9, 2)), rng.normal(size=(5, 2)), np.ones((5, 3)))


def test_refinement_finds_the_rotation_of_the_same_cells(rng):
    S = rng.normal(size=(300, 3)) * [5, 3, 1] + rng.normal(size=(3, 3))[rng.integers(0, 3, 300)] * 6
    S -= S.mean(axis=0)
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    T = S @ Q
    tilt, _ = np.linalg.qr(np.eye(3) + 0.15 * rng.normal(size=(3, 3)))
    first = Q.T @ (tilt * np.sign(np.diag(tilt)))
    start = T @ first
    rotation, pairs = refine(S, T, first, rounds=20)
    found = T @ rotation
    assert len(pairs) > 0
    assert np.abs(found - S).mean() < 0.3 * np.abs(start - S).mean()


def test_one_round_is_procrustes_on_the_mutual_pairs(rng):
    S, T = rng.normal(size=(80, 4)), rng.normal(size=(90, 4))
    i, j = mutual_pairs(S, T, 5)
    R, _ = orthogonal_procrustes(T[j], S[i])
    np.testing.assert_allclose(refine(S, T, np.eye(4), rounds=1)[0], R, atol=1e-10)


def test_mutual_pairs_equal_a_double_loop(rng):
    A, B = rng.normal(size=(20, 3)), rng.normal(size=(15, 3))
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in B] for a in A])
    near = np.array(
        [
            [2 * cosine[i, j] - np.sort(cosine[i])[-6:].mean() - np.sort(cosine[:, j])[-6:].mean() for j in range(15)]
            for i in range(20)
        ]
    )
    expected = {
        (i, j)
        for i in range(20)
        for j in range(15)
        if (near[i] > near[i, j]).sum() < 3 and (near[:, j] > near[i, j]).sum() < 3
    }
    assert set(zip(*(x.tolist() for x in mutual_pairs(A, B, 3, hub=6)), strict=True)) == expected


def test_smoothing_averages_over_neighbors_and_keeps_constants(rng):
    X = np.concatenate([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 40])
    noisy = np.concatenate([np.ones(50), -np.ones(50)])[:, None] + rng.normal(size=(100, 1))
    out = smooth(noisy, X)
    assert (out[:50] > 0).all()
    assert (out[50:] < 0).all()
    np.testing.assert_allclose(smooth(np.full((100, 2), 3.0), X), 3.0)


def test_a_model_reads_back_equal(rng, tmp_path):
    sides, _ = _panels(rng)
    labels = np.array(["a", "b/c", "ü"], dtype=object)[rng.integers(0, 3, 150)]
    model = TransferModel(_panel(sides[0]), labels, np.array([f"g{i}" for i in range(60)], dtype=object), "e@1/12", {})
    model.save(tmp_path / "m.npz")
    again = TransferModel.load(tmp_path / "m.npz")
    assert list(again.classes) == list(model.classes)
    assert again.space == model.space
    np.testing.assert_array_equal(again.panel.scores, model.panel.scores)
    np.testing.assert_array_equal(again.panel.total, model.panel.total)
    assert again.panel.n == 60
    for broken in ("missing.npz", "text.npz"):
        (tmp_path / "text.npz").write_text("no")
        with pytest.raises(InputError, match="cannot be read as a transfer model"):
            TransferModel.load(tmp_path / broken)
