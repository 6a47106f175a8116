"""How far cells or contrasts express weighted gene sets, such as those of phrases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CellScorer",
    "ConceptScores",
    "GroupSums",
    "cell_scores",
    "cell_zscores",
    "concept_parts",
    "contrast_scores",
    "expression_bins",
]


def cell_scores(deviations: sp.csr_matrix, baseline: NDArray[np.float64], sets: sp.csr_matrix) -> NDArray[np.float64]:
    """Weighted mean z of each concept's genes in each cell.

    Parameters
    ----------
    deviations, baseline
        z-scores as given by :func:`lexicell.core.expression.log_values.zscore_sparse`: ``z = deviations + baseline``.
    sets
        Concepts x genes, as given by :func:`lexicell.core.genes.retrieval.gene_sets`.

    Returns
    -------
    Shape ``(n_cells, n_concepts)``, float64.
    """
    # Most genes belong to no set; leaving them out first makes the product small.
    used = np.unique(sets.indices)
    weights = sp.csr_matrix(sets[:, used]).T.toarray()
    return np.asarray(sp.csr_matrix(deviations[:, used]) @ weights + np.asarray(sets @ baseline)[None, :])


def cell_zscores(
    deviations: sp.csr_matrix,
    baseline: NDArray[np.float64],
    sets: sp.csr_matrix,
    expression: ArrayLike,
    *,
    random_sets: sp.csr_matrix | None = None,
) -> NDArray[np.float32]:
    """Each cell's score of each concept against random gene sets with the same weights and expression.

    Mean and variance of the random sets are those of the cell's own z-scores over the genes of each expression bin, as
    in :func:`contrast_scores`. So a deep cell, whose z-scores are high throughout, does not score high on everything. A
    scale, not a test: random sets lack the correlation that real sets have.

    Parameters
    ----------
    deviations, baseline, sets
        As in :func:`cell_scores`.
    expression
        Mean expression of each gene, shape ``(n_genes,)``.
    random_sets
        Deviations of the same cells whose random sets make the scale, such as those before a change; default:
        `deviations`.

    Returns
    -------
    Shape ``(n_cells, n_concepts)``, float32.
    """
    return CellScorer(baseline, sets, expression).score(deviations, random_sets=random_sets)[1]


class CellScorer:
    """Concept scores of any rows of one data set; the bits of a row do not depend on the rows beside it.

    Parameters
    ----------
    baseline, sets
        As in :func:`cell_scores`.
    expression
        Mean expression of each gene, shape ``(n_genes,)``.
    """

    def __init__(self, baseline: NDArray[np.float64], sets: sp.csr_matrix, expression: ArrayLike) -> None:
        self._baseline, self._bins = np.asarray(baseline, dtype=np.float64), expression_bins(expression)
        self._n_concepts = sets.shape[0]
        by_gene = sp.csc_matrix(sets)
        self._sets = (by_gene.indptr.astype(np.int64), by_gene.indices.astype(np.int64), by_gene.data.astype(float))
        member = np.eye(self._bins.max() + 1)[self._bins]
        self._size = member.sum(axis=0)
        self._share, self._squared = np.asarray(sets @ member), np.asarray(sets.power(2) @ member)
        self._at_zero = np.asarray(sets @ self._baseline)
        self._mean, self._square = self._baseline @ member, self._baseline**2 @ member

    def raw(self, deviations: sp.csr_matrix) -> NDArray[np.float64]:
        """Weighted sum of the deviations of each concept's genes: the score less that of an empty cell."""
        from ..compiled.concepts import sum_sets

        out = np.zeros((deviations.shape[0], self._n_concepts))
        sum_sets(*_csr_arrays(deviations), *self._sets, out)
        return out

    def moments(self, others: sp.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance of each cell's z-scores over the genes of each expression bin, ``(n_cells, n_bins)``."""
        from ..compiled.concepts import sum_bins

        sums, squares = (np.zeros((others.shape[0], len(self._size))) for _ in range(2))
        # (x + b)^2 = x (x + 2 b) + b^2 with x stored: only what is stored is looked at.
        sum_bins(*_csr_arrays(others), self._baseline, self._bins, sums, squares)
        mean = (sums + self._mean) / self._size
        return mean, np.maximum((squares + self._square) / self._size - mean**2, 0.0)

    def scale(
        self, raw: NDArray[np.float64], mean: NDArray[np.float64], variance: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Raw scores as distances from random sets, given the `moments` of the same cells."""
        from ..compiled.concepts import to_scale

        out = np.empty(raw.shape, dtype=np.float32)
        to_scale(raw + self._at_zero, mean, variance, self._share, self._squared, out)
        return out

    def score(
        self, deviations: sp.csr_matrix, *, random_sets: sp.csr_matrix | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """What `raw` gives, and the scores of :func:`cell_zscores`; both ``(n_cells, n_concepts)``."""
        moments = self.moments(deviations if random_sets is None else random_sets)
        raw = self.raw(deviations)
        return raw, self.scale(raw, *moments)


class GroupSums:
    """Sums of rows by group, added one after the other, so that blocks change no bit.

    Attributes
    ----------
    sums
        ``(n_groups, n_columns)`` float64.
    """

    def __init__(self, n_groups: int, n_columns: int) -> None:
        self.sums = np.zeros((n_groups, n_columns))

    def add(self, rows: Any, codes: NDArray[np.int64]) -> None:
        """Add rows, dense or sparse, to the groups that `codes` name; a negative code leaves a row out."""
        from ..compiled.concepts import add_rows, add_sparse_rows

        codes = np.ascontiguousarray(codes, dtype=np.int64)
        if sp.issparse(rows):
            add_sparse_rows(*_csr_arrays(rows), codes, self.sums)
        else:
            add_rows(np.ascontiguousarray(rows, dtype=np.float64), codes, self.sums)


def _csr_arrays(matrix: sp.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The three arrays in one form, so that loops are compiled once."""
    return matrix.data.astype(float, copy=False), matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)


def expression_bins(expression: ArrayLike, n_bins: int = 10) -> NDArray[np.int64]:
    """Quantile bin of each gene's mean expression, of about equal size; equal values share a bin."""
    values = np.asarray(expression, dtype=np.float64)
    n_bins = max(1, min(n_bins, len(values) // 20))
    edges = np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1]) if n_bins > 1 else np.zeros(0)
    return np.searchsorted(edges, values, side="right").astype(np.int64)


@dataclass(frozen=True, eq=False)
class ConceptScores:
    """How far each contrast goes along each concept.

    Attributes
    ----------
    score
        Weighted mean change of the concept's genes, shape ``(n_contrasts, n_concepts)``.
    z
        The score against random gene sets with the same weights and expression: how many of their standard deviations
        it lies from their mean. A scale, not a test: random sets lack the correlation that real sets have.
    """

    score: NDArray[np.float64]
    z: NDArray[np.float64]


def contrast_scores(changes: ArrayLike, sets: sp.csr_matrix, expression: ArrayLike) -> ConceptScores:
    r"""Score contrasts by concepts, and put the scores on one scale.

    With x the change of each gene, and mean :math:`m_b` and standard deviation :math:`s_b` of x over the genes of
    expression bin b, a random set whose genes come from the same bins has mean :math:`\sum_g w_g m_{b(g)}` and variance
    :math:`\sum_g w_g^2 s_{b(g)}^2`. No set needs to be drawn.

    Parameters
    ----------
    changes
        Change of each gene in each contrast, e.g. mean z in a cluster minus mean z elsewhere, shape
        ``(n_contrasts, n_genes)``.
    sets
        Concepts x genes, as given by :func:`lexicell.core.genes.retrieval.gene_sets`.
    expression
        Mean expression of each gene, shape ``(n_genes,)``: matched between the set and its random counterparts.
    """
    x = np.atleast_2d(np.asarray(changes, dtype=np.float64))
    bins = expression_bins(expression)
    size = np.maximum(np.bincount(bins), 1)
    member = sp.csr_matrix((np.ones(len(bins)), (bins, np.arange(len(bins)))))
    mean = np.asarray(member @ x.T).T / size
    spread = np.asarray(member @ (x**2).T).T / size - mean**2
    score = np.asarray(sets @ x.T).T
    expected = np.asarray(sets @ mean[:, bins].T).T
    variance = np.asarray(sets.power(2) @ np.maximum(spread, 0.0)[:, bins].T).T
    z = np.divide(score - expected, np.sqrt(variance), out=np.zeros_like(score), where=variance > 0)
    return ConceptScores(score, z)


def concept_parts(
    change: ArrayLike, weights: ArrayLike, expression: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Split the score of one concept into its genes, before and after it is set beside random gene sets.

    .. math:: a_g = w_g x_g, \qquad a'_g = w_g \frac{x_g - m_{b(g)}}{\sqrt{\sum_h w_h^2 s_{b(h)}^2}}

    with x, m, s and b as in :func:`contrast_scores`: the first sum to its score, the second to its z. Mean and spread
    of the random sets are those of this contrast (or of this cell) and count as given.

    Parameters
    ----------
    change
        Change of each gene, or its z-score in one cell, shape ``(n_genes,)``.
    weights
        Weight of each gene in the concept, shape ``(n_genes,)``.
    expression
        Mean expression of each gene, shape ``(n_genes,)``.
    """
    x, w = np.asarray(change, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    bins = expression_bins(expression)
    size = np.maximum(np.bincount(bins), 1)
    mean = np.bincount(bins, weights=x) / size
    spread = np.maximum(np.bincount(bins, weights=x**2) / size - mean**2, 0.0)
    variance = float(w**2 @ spread[bins])
    return w * x, w * (x - mean[bins]) / np.sqrt(variance) if variance > 0 else np.zeros_like(x)
