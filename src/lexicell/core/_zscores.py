"""Mean and spread of l over cells, and z-scores that leave sparse rows sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLIP", "MomentSums", "Moments"]

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
        ``(n_vectors, 3)`` int64: sum of l, and the high and low parts of the sum of its square, in fixed point.
    """

    def __init__(self, n_vectors: int) -> None:
        self.n_cells = 0
        self.sums = np.zeros((n_vectors, 3), dtype=np.int64)

    def add(self, sums: NDArray[np.int64], n_cells: int) -> None:
        """Add the sums of some cells."""
        self.sums += sums
        self.n_cells += n_cells

    def moments(self) -> Moments:
        """Mean and standard deviation; in whole numbers up to the last division, so that nothing cancels."""
        from ._kernels._moments import FRACTION_BITS

        total, high, low = self.sums.astype(object).T
        n = self.n_cells
        # n^2 var = n sum q^2 - (sum q)^2, in integers of any length.
        spread = n * (high * (1 << 32) + low) - total * total
        unit = float(1 << FRACTION_BITS)
        mean = np.array([int(t) / n / unit for t in total], dtype=np.float64)
        sd = np.array([np.sqrt(int(s) / (n * n)) / unit for s in spread], dtype=np.float64)
        return Moments(mean, sd)
