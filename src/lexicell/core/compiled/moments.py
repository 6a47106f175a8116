"""Means and spreads of l over cells, exact whatever the order of the cells; and the z-scores made from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import compiled

__all__ = ["BOOST", "FIRST", "LIMB", "MEAN_LIMBS", "SQUARE_LIMBS", "add_moments", "score"]

# A value is cut into whole numbers of 32 bits: the first holds multiples of 2^-27 (of 2^-22 for squares: l < 32), each
# further one what the last left, 2^32 times finer. Every l and its square fit exactly; nearly all need one and two.
LIMB = 32
MEAN_LIMBS, SQUARE_LIMBS = 7, 14
FIRST = (27, 22)

# Some tables hold abundances near the smallest float32. A z-score cares for how they differ, so that l is carried
# times this power of two.
BOOST = 2.0**96


@compiled
def _add(sums: Any, gene: Any, value: Any, first: Any, limb: Any) -> None:
    """Add a value in whole numbers, from the limb `limb` on, whose unit is 2^-first."""
    rest = value * (2.0**first)
    while limb < sums.shape[0]:
        whole = np.floor(rest)
        sums[limb, gene] += np.int64(whole)
        limb += 1
        rest -= whole
        if rest == 0.0:
            return
        rest *= 2.0**LIMB


@compiled
def add_moments(rows: Any, weights: Any, sums: Any) -> None:
    """Add l (`weights` over `BOOST`) and its square to sums[:, gene]: the limbs of one, then those of the other."""
    for i in range(rows.shape[0]):
        value = np.float64(weights[i]) * (1.0 / BOOST)
        gene = np.uintp(rows[i])
        _add(sums, gene, value, FIRST[0], 0)
        _add(sums, gene, value * value, FIRST[1], MEAN_LIMBS)


@compiled
def score(rows: Any, weights: Any, scores: Any) -> None:
    """Turn l (`weights` over `BOOST`) into z minus the z of a zero, in place; `scores` as from `Moments.scores`."""
    for i in range(rows.shape[0]):
        gene = np.uintp(rows[i])
        raised = np.float64(weights[i]) * (1.0 / BOOST) * scores[gene, 0] - scores[gene, 1]
        weights[i] = np.float32(min(max(raised, 0.0), scores[gene, 2]))
