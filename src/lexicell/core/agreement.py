"""How well clusterings agree with each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["adjusted_rand", "adjusted_rand_of_table", "by_size", "stability"]

Codes = NDArray[np.integer]


def _table(one: Codes, other: Codes) -> NDArray[np.float64]:
    table = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(table, (one, other), 1)
    return table


def adjusted_rand(one: Codes, other: Codes) -> float:
    """Adjusted Rand index: 1 for the same partition, 0 on average for unrelated ones (Hubert and Arabie 1985)."""
    return adjusted_rand_of_table(_table(one, other))


def adjusted_rand_of_table(table: NDArray[np.float64]) -> float:
    """Adjusted Rand index of two partitions, from the number of items in each pair of their parts."""

    def pairs(n: NDArray[np.float64]) -> float:
        return float((n * (n - 1) / 2).sum())

    together, a, b, every = (pairs(n) for n in (table, table.sum(axis=1), table.sum(axis=0), table.sum()))
    expected = a * b / every if every else 0.0
    most = (a + b) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def by_size(codes: Codes) -> NDArray[np.int64]:
    """Number the clusters anew, the largest 0; among equals the one whose first cell comes first."""
    _, first, inverse, size = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -size))
    return np.argsort(order, kind="stable")[inverse].astype(np.int64)


def stability(codes: Codes, others: Sequence[Codes]) -> NDArray[np.float64]:
    """How well each cluster is found again: its best Jaccard overlap in each other clustering, averaged.

    Returns
    -------
    Shape ``(n_clusters,)``, 0 to 1; NaN without other clusterings.
    """
    n = int(codes.max()) + 1
    if not others:
        return np.full(n, np.nan)
    best = []
    for other in others:
        table = _table(codes, other)
        union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
        best.append((table / np.maximum(union, 1)).max(axis=1))
    return np.asarray(np.mean(best, axis=0), dtype=np.float64)
