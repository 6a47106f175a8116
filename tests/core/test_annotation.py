"""Symbols in descriptions are found and masked; scores equal slow sums."""

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell.core.annotation import SIZES, few_shot, gene_symbols, mask, suggestion_weights, type_scores

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
