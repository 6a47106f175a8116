"""Means and spreads of l over cells, exact whatever the order of the cells; and the z-scores made from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._jit import compiled

__all__ = ["FRACTION_BITS", "add_moments", "score"]

FRACTION_BITS = 26  # l < 32 = 2^5, so that l^2 fits 62 bits
_LOW = (1 << 32) - 1


@compiled
def add_moments(rows: Any, weights: Any, sums: Any) -> None:
    """Add l and its square as whole numbers: sums[gene] = (sum l, high part, low 32 bits of sum l^2)."""
    for i in range(rows.shape[0]):
        gene = np.uintp(rows[i])
        whole = np.int64(np.rint(np.float64(weights[i]) * (1 << FRACTION_BITS)))
        square = whole * whole
        sums[gene, 0] += whole
        sums[gene, 1] += square >> 32
        sums[gene, 2] += square & _LOW


@compiled
def score(rows: Any, weights: Any, scores: Any) -> None:
    """Turn l into z minus the z of a zero, in place; scores[gene] = (1 / sd, low, cap), see `pooling.ZScores`."""
    for i in range(rows.shape[0]):
        gene = np.uintp(rows[i])
        raised = np.float64(weights[i]) * scores[gene, 0] - scores[gene, 1]
        weights[i] = np.float32(min(max(raised, 0.0), scores[gene, 2]))
