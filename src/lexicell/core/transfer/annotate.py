"""Which cell type fits a cell best, among those that some cells stand out for."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..genes.concepts import cell_scores
from ..genes.word_selection import select_words

__all__ = ["probabilities", "settle", "standardized", "type_scores", "types_found"]

Floats = NDArray[np.float64]
SHARPNESS = 2.0
"""Of probabilities; chosen on half of the sets of evaluation/transfer/annotate.py, confirmed on the other half."""


def types_found(changes: ArrayLike, sets: sp.csr_matrix, expression: ArrayLike) -> NDArray[np.int64]:
    """The type that each group of cells stands out for, -1 for none; a type of no group is absent.

    A group stands out for the type whose genes go up most in it, if they go up further than the best of all types does
    in random orders of the genes (:func:`lexicell.core.genes.word_selection.select_words`).

    Parameters
    ----------
    changes
        Mean z of each gene in each group less that in all other cells, ``(n_groups, n_genes)``. Groups should be fine
        enough that each is of one type.
    sets
        Weights of the genes of each type, ``(n_types, n_genes)``.
    expression
        Mean expression of each gene.
    """
    shown = select_words(changes, sets, expression, n_words=1)
    return np.asarray([words[0].word if words else -1 for words in shown], dtype=np.int64)


def type_scores(deviations: sp.csr_matrix, baseline: Floats, sets: sp.csr_matrix) -> Floats:
    """Weighted mean z of the genes of each type, standardized over the cells.

    Parameters
    ----------
    deviations, baseline
        z-scores, as in :func:`lexicell.core.genes.concepts.cell_scores`.
    sets
        Weights of the genes of each type.

    Returns
    -------
    ``(n_cells, n_types)``; each column has mean 0 and standard deviation 1, or is 0 for a type without genes.
    """
    return standardized(cell_scores(deviations, baseline, sets))


def standardized(scores: ArrayLike) -> Floats:
    """Columns with mean 0 and standard deviation 1; constant ones are 0."""
    S = np.asarray(scores, dtype=np.float64)
    sd = S.std(axis=0)
    return np.asarray((S - S.mean(axis=0)) / np.where(sd > 1e-12, sd, np.inf))


def probabilities(scores: ArrayLike) -> Floats:
    r"""Share of each type: :math:`\propto e^{2 s}` of standardized scores s ``(n_cells, n_types)``; rows sum to 1."""
    S = SHARPNESS * np.asarray(scores, dtype=np.float64)
    shares = np.exp(S - S.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def settle(shares: Floats, parents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """How specific a type each cell's probabilities allow: a general one before any of the finer ones below it.

    A type has its own share and those of all types below it. From the most likely of the most general types, a cell
    moves on to a finer one as long as that holds more than half of what the more general one has.

    Parameters
    ----------
    shares
        Probability of each type itself, ``(n_cells, n_types)``.
    parents
        The next more general of these types, -1 for none, ``(n_types,)``; without cycles.

    Returns
    -------
    Type of each cell; the most likely type that is neither above nor below it (-1 for none); and the probability that
    the cell is of its type or a finer one.
    """
    n_types = len(parents)
    above = np.zeros((n_types, n_types), dtype=bool)  # above[i, j]: j is i or more general
    for i in range(n_types):
        j = i
        while j >= 0:
            above[i, j] = True
            j = int(parents[j])
    total = shares @ above
    most = np.where(parents < 0, total, -1.0).argmax(axis=1)
    rows = np.arange(len(shares))
    for _ in range(int(above.sum(axis=1).max())):
        below = np.where(parents == most[:, None], total, -1.0)
        finer = below.argmax(axis=1)
        moves = below[rows, finer] > total[rows, most] / 2
        most = np.where(moves, finer, most)
    kin = above | above.T
    others = np.where(kin[most], -1.0, shares)
    second = np.where(kin[most].all(axis=1), -1, others.argmax(axis=1))
    return most, second, np.asarray(total[rows, most])
