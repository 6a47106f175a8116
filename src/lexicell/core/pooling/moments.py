"""Mean and spread of l over cells, and z-scores that leave sparse rows sparse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLIP", "MomentSums", "Moments", "add_log_values", "empty_sums"]

CLIP = 10.0


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation (divisor: the number of cells) of l, shape ``(n_vectors,)`` each."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        r"""The z of a zero, and what turns a nonzero l into its difference from that.

        With :math:`z = \mathrm{clip}((l - m) / s, -10, 10)` the z of a zero is :math:`-\min(m / s, 10)`, and
        :math:`z - z(0) = \min(\max(l / s - \mathrm{low}, 0), \mathrm{cap})` with low = max(m / s - 10, 0) and
        cap = 10 - z(0). A gene that does not vary has z = 0.

        Returns
        -------
        at_zero
            ``(n_vectors,)``.
        scores
            ``(n_vectors, 3)``: 1 / s, low, cap.
        """
        varies = self.sd > 0
        inverse = np.divide(1.0, self.sd, out=np.zeros_like(self.sd), where=varies)
        at_zero = -np.minimum(self.mean * inverse, CLIP)
        low = np.maximum(self.mean * inverse - CLIP, 0.0)
        cap = np.where(varies, CLIP - at_zero, 0.0)
        return at_zero, np.ascontiguousarray(np.column_stack([inverse, low, cap]))


class MomentSums:
    """Sums of l and of its square as whole numbers: exact, so that the order of cells, blocks and shards is nothing.

    Attributes
    ----------
    n_cells
        Cells added.
    sums
        ``(n_limbs, n_vectors)`` int64, as `core._kernels._moments.add_moments` fills them.
    """

    def __init__(self, n_vectors: int) -> None:
        self.n_cells = 0
        self.sums = empty_sums(n_vectors)

    def add(self, sums: NDArray[np.int64], n_cells: int) -> None:
        """Add the sums of some cells."""
        self.sums += sums
        self.n_cells += n_cells

    def moments(self) -> Moments:
        """Mean and standard deviation; in whole numbers up to the last division, so that nothing cancels."""
        from ..compiled.moments import FIRST, LIMB, MEAN_LIMBS

        n = self.n_cells
        total, total_unit = _join(self.sums[:MEAN_LIMBS], FIRST[0], LIMB)
        square, square_unit = _join(self.sums[MEAN_LIMBS:], FIRST[1], LIMB)
        # n^2 var = n sum l^2 - (sum l)^2, in integers of any length and one unit.
        finer = 2 * total_unit - square_unit
        spread = (n * square << finer) - total * total
        mean = np.array([t / (n << total_unit) for t in total], dtype=np.float64)
        sd = np.array([math.sqrt(s / (n * n << 2 * total_unit)) for s in spread], dtype=np.float64)
        return Moments(mean, sd)


def empty_sums(n_vectors: int) -> NDArray[np.int64]:
    """Zeros to add moments to."""
    from ..compiled.moments import MEAN_LIMBS, SQUARE_LIMBS

    return np.zeros((MEAN_LIMBS + SQUARE_LIMBS, n_vectors), dtype=np.int64)


def add_log_values(sums: NDArray[np.int64], columns: NDArray[np.integer], values: NDArray[np.float32]) -> None:
    """Add l (`values`, of the vectors `columns`) and its square to `sums`, in place."""
    from ..compiled.moments import BOOST, add_moments

    add_moments(columns.astype(np.int32), values * np.float32(BOOST), sums)


def _join(limbs: NDArray[np.int64], first: int, bits: int) -> tuple[NDArray[np.object_], int]:
    """Limbs as one integer each, and the power of two that is its unit."""
    whole = limbs[0].astype(object)
    for limb in limbs[1:]:
        whole = (whole << bits) + limb.astype(object)
    return whole, first + bits * (len(limbs) - 1)
