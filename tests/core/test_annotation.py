"""Symbols in descriptions are found and masked; scores equal slow sums."""

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell.core.annotation import (
    SIZES,
    few_shot,
    gene_symbols,
    mask,
    refined,
    standardised,
    suggestion_weights,
    type_scores,
)

KNOWN = {"CD3D", "CD8A", "SOD1", "Gad1", "Sst", "REST", "IMPACT", "Rest", "MS4A1"}


@pytest.mark.parametrize(
    ("text", "found", "left"),
    [
        ("T cell with CD3D, and CD8A.", ["CD3D", "CD8A"], "T cell with, and."),
        ("Inhibitory neuron; Gad1 positive", ["Gad1"], "Inhibitory neuron; positive"),
        ("B cell (MS4A1+) that rests", ["MS4A1"], "B cell () that rests"),
        ("Sst neurons of the cortex", [], "Sst neurons of the cortex"),
        ("Cortical Sst neurons", ["Sst"], "Cortical neurons"),
        ("Cells at rest, with impact", [], "Cells at rest, with impact"),
        ("Kills infected cells", [], "Kills infected cells"),
    ],
    ids=["two", "mouse", "plus", "first-word", "mouse-word", "prose", "none"],
)
def test_symbols_are_told_from_words(text, found, left):
    assert gene_symbols(text, KNOWN) == found
    assert mask(text, found) == left


def test_scores_equal_a_loop(rng):
    E, Q = rng.normal(size=(220, 6)) + 2, rng.normal(size=(3, 6)) + 2
    z = rng.normal(size=(30, 220))
    got = type_scores(sp.csr_matrix(z), np.zeros(220), suggestion_weights(E, Q))
    total = np.zeros((30, 3))
    for size in SIZES:
        for t in range(3):
            q = Q[t] - Q.mean(axis=0)
            cosine = np.array([(e - E.mean(axis=0)) @ q / np.linalg.norm(e - E.mean(axis=0)) for e in E])
            best = np.argsort(-cosine)[:size]
            w = np.maximum(cosine[best], 0) ** 2
            score = z[:, best] @ w / w.sum()
            total[:, t] += (score - score.mean()) / score.std()
    assert got == pytest.approx((total - total.mean(axis=0)) / total.std(axis=0), abs=1e-6)


def test_few_examples_find_their_like(rng):
    kind = np.repeat(np.arange(3), 30)
    cells = 5 * np.eye(8)[kind] + rng.normal(size=(90, 8))
    codes = np.full(90, -1)
    codes[[0, 1, 30, 31, 60, 61]] = kind[[0, 1, 30, 31, 60, 61]]
    assert (few_shot(cells, codes, 3).argmax(axis=1) == kind).mean() > 0.9


def test_clear_cells_decide_for_the_others_of_their_kind(rng):
    """Half of a kind express genes of the description, the others look the same in all else."""
    kinds = np.repeat([0, 1, 2], 100)
    cells = np.eye(3)[kinds] * 4 + rng.normal(size=(300, 3))
    speaks = rng.random(300) < 0.3
    scores = standardised(np.eye(3)[kinds] * speaks[:, None] * 3 + rng.normal(size=(300, 3)))
    before, after = ((s.argmax(axis=1) == kinds).mean() for s in (scores, refined(scores, cells)))
    assert before < 0.65
    assert after > 0.9
    apart = refined(scores, cells[rng.permutation(300)])
    assert (apart.argmax(axis=1) == kinds).mean() < before


def test_refining_is_mean_of_score_and_nearness_to_clear_cells(rng):
    """Against a slow loop, one round."""
    scores, cells = standardised(rng.normal(size=(40, 3))), rng.normal(size=(40, 4))
    lead = [[scores[i, k] - max(np.delete(scores[i], k)) for k in range(3)] for i in range(40)]
    clear = [sorted(range(40), key=lambda i, k=k: -lead[i][k])[:10] for k in range(3)]
    examples = {i: k for k in range(3) for i in clear[k]}
    centres = np.array([np.mean([cells[i] for i, of in examples.items() if of == k], axis=0) for k in range(3)])
    middle = centres.mean(axis=0)
    near = np.array([
        [np.dot(c - middle, m - middle) / np.linalg.norm(c - middle) / np.linalg.norm(m - middle) for m in centres]
        for c in cells
    ])  # fmt: skip
    expected = (scores + (near - near.mean(axis=0)) / near.std(axis=0)) / 2
    np.testing.assert_allclose(refined(scores, cells, share=0.25, rounds=1), expected, atol=1e-12)


@pytest.mark.parametrize("n_cells", [1, 2, 4, 30])
def test_refining_few_cells_keeps_their_shape(rng, n_cells):
    scores = rng.normal(size=(n_cells, 3))
    out = refined(scores, rng.normal(size=(n_cells, 2)))
    assert out.shape == scores.shape
    assert np.isfinite(out).all()
