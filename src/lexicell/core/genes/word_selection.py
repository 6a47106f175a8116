r"""Choose the words that a group of cells deserves, or none.

A word is shown where its genes go up further than matched random genes do, where enough of its own genes go up, and
where they still do once the genes of the words shown before are left aside: what a look-alike shares with the right
word does not speak twice, and near-duplicates merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .concepts import contrast_scores, expression_bins

__all__ = ["Shown", "allowed_words", "guess_tissues", "select_words", "word_scores"]

LARGEST = 2.0
"""A change of one gene counts up to this z, so that no single gene names a type."""
LEAST = 2.5
"""Least score of a shown word, where chance does not ask for more."""
CHANCE = 0.9
"""A shown word scores more than the best of all words does in this share of random orders of the genes."""
KEEP = 0.8
"""Least score of a further word, as a share of the first one's."""
UP = 0.2
"""A gene goes up whose mean z in the group is so much above that elsewhere."""
ORGANS = {
    "nervous system": (
        "brain",
        "cortex",
        "motor cortex",
        "midbrain",
        "brainstem",
        "hippocampus",
        "striatum",
        "cerebellum",
        "hypothalamus",
        "spinal cord",
        "meninges",
        "olfactory",
    ),
    "blood": ("blood", "bone marrow", "thymus", "immune"),
}
"""Tissues that are judged together."""
EVERYWHERE = frozenset({"vessel"})


@dataclass(frozen=True)
class Shown:
    """One word of a group.

    Attributes
    ----------
    word
        Its number.
    score
        Against random gene sets.
    support
        Share of the word's weight on genes that go up in the group.
    """

    word: int
    score: float
    support: float


def word_scores(changes: ArrayLike, sets: sp.csr_matrix, expression: ArrayLike) -> NDArray[np.float64]:
    """Score every word in every group: z against random gene sets, of changes cut at `LARGEST`.

    Parameters
    ----------
    changes
        Mean z of each gene in each group less that elsewhere, shape ``(n_groups, n_genes)``.
    sets
        Words x genes, as :func:`lexicell.core.genes.retrieval.gene_sets` gives them.
    expression
        Mean expression of each gene.

    Returns
    -------
    Shape ``(n_groups, n_words)``.
    """
    cut = np.clip(np.atleast_2d(np.asarray(changes, dtype=np.float64)), -LARGEST, LARGEST)
    return contrast_scores(cut, sets, expression).z


def organ_of(tissue: str) -> str:
    """The organ system that a tissue is judged with, or the tissue itself."""
    return next((organ for organ, tissues in ORGANS.items() if tissue in tissues), tissue)


def guess_tissues(scores: NDArray[np.float64], tissues: Sequence[Sequence[str]], *, least: float = 3.0) -> list[str]:
    """Guess where cells come from: organs of the leading words, those with a quarter of the votes.

    Parameters
    ----------
    scores
        Shape ``(n_groups, n_words)``, as :func:`word_scores` gives them.
    tissues
        Of each word; words without any do not vote.
    least
        Only groups whose best word reaches this score vote, each with the score.
    """
    votes: dict[str, float] = {}
    for line in np.atleast_2d(scores):
        best = int(line.argmax())
        organs = {organ_of(t) for t in tissues[best]} - EVERYWHERE
        if line[best] >= least:
            for organ in organs:
                votes[organ] = votes.get(organ, 0.0) + float(line[best]) / len(organs)
    total = sum(votes.values())
    return sorted(organ for organ, vote in votes.items() if vote >= 0.25 * total)


def allowed_words(tissues: Sequence[Sequence[str]], found_in: Sequence[str]) -> NDArray[np.bool_]:
    """Words that may be shown in these tissues: those found in one of them, in vessels, or everywhere; all if none."""
    organs = {organ_of(t) for t in found_in}
    if not organs:
        return np.ones(len(tissues), dtype=bool)
    own = [{organ_of(t) for t in listed} for listed in tissues]
    return np.asarray([not listed or bool(listed & (organs | EVERYWHERE)) for listed in own])


def select_words(
    changes: ArrayLike,
    sets: sp.csr_matrix,
    expression: ArrayLike,
    *,
    allowed: NDArray[np.bool_] | None = None,
    n_words: int = 5,
    least: float = LEAST,
    keep: float = KEEP,
    support: float = 0.5,
    n_random: int = 40,
    seed: int = 0,
) -> list[list[Shown]]:
    """Words of each group, best first; an empty list says that no word is clear.

    Parameters
    ----------
    changes, sets, expression
        As :func:`word_scores` takes them.
    allowed
        Words that may be shown; default: all.
    n_words
        At most so many a group.
    least, keep
        Least score of a word, and of a further word as a share of the first one's.
    support
        Least share of a word's weight on genes that go up; and at least two of its genes do, if the data holds two.
    n_random, seed
        Random orders of the genes, each within genes of like expression, that tell what the best of so many words
        reaches by chance.
    """
    x = np.clip(np.atleast_2d(np.asarray(changes, dtype=np.float64)), -LARGEST, LARGEST)
    scores = word_scores(x, sets, expression)
    may = np.ones(sets.shape[0], dtype=bool) if allowed is None else allowed
    weights, size = sets.toarray(), np.diff(sets.indptr)
    out = []
    chance = best_by_chance(x, sets, expression, may, n_random=n_random, seed=seed)
    for group, line in enumerate(scores):
        asked = max(least, float(chance[group]))
        up = x[group] > UP
        share, number = weights @ up, (weights > 0).astype(float) @ up
        fits = may & (line >= asked) & (share >= support) & (number >= np.minimum(2, size)) & (size > 0)
        out.append(_in_turn(x[group], line, fits, share, sets, expression, n_words, least, keep))
    return out


def best_by_chance(
    changes: NDArray[np.float64],
    sets: sp.csr_matrix,
    expression: ArrayLike,
    allowed: NDArray[np.bool_],
    *,
    n_random: int,
    seed: int,
) -> NDArray[np.float64]:
    """What the best allowed word reaches in each group when genes of like expression trade places; ``(n_groups,)``.

    The quantile `CHANCE` over `n_random` orders; 0 without any.
    """
    if not n_random or not allowed.any():
        return np.zeros(len(changes))
    rng, bins = np.random.default_rng(seed), expression_bins(expression)
    among = sets[np.flatnonzero(allowed)]
    best = np.empty((n_random, len(changes)))
    for copy in range(n_random):
        order = np.empty(len(bins), dtype=np.int64)
        for number in range(bins.max() + 1):
            members = np.flatnonzero(bins == number)
            order[members] = rng.permutation(members)
        best[copy] = word_scores(changes[:, order], among, expression).max(axis=1)
    return np.quantile(best, CHANCE, axis=0)


def _in_turn(
    change: NDArray[np.float64],
    own: NDArray[np.float64],
    fits: NDArray[np.bool_],
    share: NDArray[np.float64],
    sets: sp.csr_matrix,
    expression: ArrayLike,
    n_words: int,
    least: float,
    keep: float,
) -> list[Shown]:
    """Take the best word, set its genes aside, and look again."""
    shown: list[Shown] = []
    left, line = change.copy(), np.where(fits, own, -np.inf)
    while len(shown) < n_words:
        best = int(np.argmax(line))
        if not line[best] >= least or (shown and own[best] < keep * shown[0].score):
            break
        shown.append(Shown(best, float(own[best]), float(share[best])))
        left[sets[best].indices] = 0.0
        again = word_scores(left, sets, expression)[0]
        line = np.where(fits, np.minimum(again, line), -np.inf)
        line[best] = -np.inf
    return shown
