"""Votes of several alignments: where they agree they are kept, where they do not confidence falls."""

from __future__ import annotations

import numpy as np
import pytest

from lexicell.core.transfer.align import Panel, align, centered
from lexicell.core.transfer.classify import vote
from lexicell.core.transfer.consensus import SHARPNESS, agreement, consensus, told_apart


def _sides(rng, *, noise=0.0, n=60, genes=80, d=10, signal=4):
    """Two data sets of the same three kinds of cells; genes load on the kinds by their text vectors plus noise."""
    centers = rng.normal(size=(3, signal)) * 4
    sides = []
    for _ in range(2):
        E = rng.normal(size=(genes, d)) + 2.0
        L = (E - E.mean(axis=0))[:, :signal] + noise * rng.normal(size=(genes, signal))
        kinds = np.repeat(np.arange(3), n)
        F = centers[kinds] + rng.normal(size=(3 * n, signal))
        U, s, Vt = np.linalg.svd((F - F.mean(axis=0)) @ L.T, full_matrices=False)
        sides.append((U[:, :signal] * s[:signal], Vt[:signal].T, E, np.array(["a", "b", "c"])[kinds]))
    return sides


def test_the_draws_of_a_panel_are_sums_over_weighted_genes(rng):
    scores, loadings, E, _ = _sides(rng)[0]
    panel = Panel.of(scores, loadings, E, n_draws=2)
    weights = np.random.default_rng(0).exponential(size=(3, len(E)))
    mean = rng.normal(size=E.shape[1])
    for draw in (0, 1, 2):
        slow = np.zeros((loadings.shape[1], E.shape[1]))
        for g in range(len(E)):
            weight = 1.0 if draw == 0 else weights[draw, g]
            slow += weight * np.outer(loadings[g], E[g] - mean)
        np.testing.assert_allclose(panel.centered_axes(mean, draw), slow, atol=1e-9)


def test_votes_are_those_of_the_draws_weighted_by_their_agreement(rng):
    (s, Ls, Es, ys), (t, Lt, Et, _) = _sides(rng, noise=2.0)
    source, target = Panel.of(s, Ls, Es, n_draws=3), Panel.of(t, Lt, Et, n_draws=3)
    found = consensus(source, target, ys.astype(object), rounds=0)
    each = []
    for draw in range(4):
        place = align(source, target, rounds=0, draw=draw)[0]
        each.append(vote(centered(s) @ place.left, ys, np.array(["a", "b", "c"]), centered(t) @ place.right))
    best = [v.argmax(axis=1) for v in each]
    alike = [np.mean([np.mean(one == other) for other in best]) for one in best]
    expected = np.average(each, axis=0, weights=np.asarray(alike) ** SHARPNESS)
    np.testing.assert_allclose(found.votes, expected, atol=1e-12)
    np.testing.assert_allclose(found.votes.sum(axis=1), 1)
    others = [np.mean(best[i] == best[j]) for i in range(4) for j in range(4) if i != j]
    assert found.agreement == pytest.approx(np.mean(others))


def test_confidence_falls_where_alignments_disagree(rng):
    """Texts that say little: one alignment is sure of its votes, several together are as sure as they are right."""
    sure, alone, right = [], [], []
    for _ in range(12):
        (s, Ls, Es, ys), (t, Lt, Et, yt) = _sides(rng, noise=4.0)
        several = consensus(Panel.of(s, Ls, Es), Panel.of(t, Lt, Et), ys.astype(object)).votes
        one = consensus(Panel.of(s, Ls, Es, n_draws=0), Panel.of(t, Lt, Et, n_draws=0), ys.astype(object)).votes
        sure.append(several.max(axis=1).mean())
        alone.append(one.max(axis=1).mean())
        right.append(np.mean(np.array(["a", "b", "c"])[several.argmax(axis=1)] == yt))
    assert np.mean(alone) > np.mean(right) + 0.15
    assert abs(np.mean(sure) - np.mean(right)) < np.mean(alone) - np.mean(right)


def test_a_refinement_that_changes_most_labels_is_not_used(rng, monkeypatch):
    (s, Ls, Es, ys), (t, Lt, Et, _) = _sides(rng)
    source, target = Panel.of(s, Ls, Es), Panel.of(t, Lt, Et)
    before = consensus(source, target, ys.astype(object), rounds=0)
    assert before.kept == 1
    monkeypatch.setattr("lexicell.core.transfer.align.refine", lambda S, T, first, rounds: (-first, (9,)))
    after = consensus(source, target, ys.astype(object))
    assert after.kept < 0.5
    np.testing.assert_array_equal(after.votes, before.votes)


def test_agreement_is_the_share_of_equal_labels():
    np.testing.assert_allclose(agreement([[0, 1, 2, 2], [0, 1, 1, 1]]), [[1, 0.5], [0.5, 1]])


def test_classes_whose_cells_vote_for_another_are_not_told_apart():
    votes = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.4, 0.6, 0.0]])
    table = told_apart(votes, np.array(["a", "b", "c"], dtype=object))
    assert table["class"].tolist() == ["a", "b"]
    assert table["next"].tolist() == ["b", "a"]
    assert table["confidence"].to_numpy() == pytest.approx([0.85, 0.55])
    assert table["next_share"].to_numpy() == pytest.approx([0.1, 0.35])
    assert table["told_apart"].tolist() == [True, False]
