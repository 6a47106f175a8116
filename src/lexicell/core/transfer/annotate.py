"""Which cell type fits a cell best, among those that some cells stand out for."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..genes.concepts import cell_scores
from ..genes.word_selection import select_words

__all__ = ["standardized", "type_scores", "types_found"]

Floats = NDArray[np.float64]


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
