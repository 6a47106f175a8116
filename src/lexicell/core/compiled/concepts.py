"""Concept scores of cells: a row of z-scores at a time, in the order of its genes, so that blocks change no bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import compiled

__all__ = ["add_rows", "add_sparse_rows", "sum_bins", "sum_sets", "to_scale"]


@compiled
def sum_sets(data: Any, indices: Any, indptr: Any, first: Any, concept: Any, weight: Any, out: Any) -> None:
    """out[row, concept] += weight * value; the concepts of gene g are concept[first[g] : first[g + 1]]."""
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            gene, value = indices[i], np.float64(data[i])
            for k in range(first[gene], first[gene + 1]):
                out[row, concept[k]] += weight[k] * value


@compiled
def sum_bins(data: Any, indices: Any, indptr: Any, baseline: Any, bins: Any, sums: Any, squares: Any) -> None:
    """Add to each bin of genes z - baseline and z^2 - baseline^2 of the stored values."""
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            gene, value = indices[i], np.float64(data[i])
            sums[row, bins[gene]] += value
            squares[row, bins[gene]] += value * (value + 2.0 * baseline[gene])


@compiled
def to_scale(raw: Any, mean: Any, variance: Any, share: Any, squared: Any, out: Any) -> None:
    """Distance of each raw score from the mean of random sets, in their standard deviations."""
    n_bins = mean.shape[1]
    for row in range(raw.shape[0]):
        for q in range(raw.shape[1]):
            expected, spread = 0.0, 0.0
            for b in range(n_bins):
                expected += share[q, b] * mean[row, b]
                spread += squared[q, b] * variance[row, b]
            out[row, q] = np.float32((raw[row, q] - expected) / np.sqrt(spread)) if spread > 0 else np.float32(0)


@compiled
def add_sparse_rows(data: Any, indices: Any, indptr: Any, codes: Any, sums: Any) -> None:
    """sums[code of the row] += row; rows of a negative code are left out."""
    for row in range(len(indptr) - 1):
        if codes[row] >= 0:
            for i in range(indptr[row], indptr[row + 1]):
                sums[codes[row], indices[i]] += np.float64(data[i])


@compiled
def add_rows(values: Any, codes: Any, sums: Any) -> None:
    """The same for dense rows."""
    for row in range(values.shape[0]):
        if codes[row] >= 0:
            for k in range(values.shape[1]):
                sums[codes[row], k] += values[row, k]
