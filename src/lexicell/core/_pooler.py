"""`Pooler`: what is fixed for a data set, applied to one block of rows at a time, from any number of threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._matrix import Dense, Sparse
from ._blocks import Canonical, canonical
from ._zscores import Moments

__all__ = ["BadValueError", "Pooler", "hottest_first"]


class BadValueError(InputError):
    """A value of the matrix cannot be used; knows where it stands, so that a caller can add names.

    Attributes
    ----------
    row, column
        Where; `column` is -1 where the whole row is meant.
    reason
        What is wrong, without the place.
    """

    def __init__(self, row: int, column: int, reason: str) -> None:
        place = f"row {row}" if column < 0 else f"row {row}, column {column}"
        super().__init__(f"{place}: {reason}")
        self.row, self.column, self.reason = row, column, reason


def hottest_first(block: Sparse | Dense, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order of the vectors by how often their gene is expressed in a block: the most read lie side by side.

    Any block will do: the order changes where vectors lie in memory, and no result.
    """
    n_columns = int(columns.max()) + 1
    if isinstance(block, Dense):
        seen = (block.values[:, :n_columns] != 0).sum(axis=0)
    else:
        seen = np.bincount(block.indices, minlength=n_columns)
    return np.argsort(-seen[columns], kind="stable")


@dataclass(frozen=True)
class _Selected:
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    offsets: NDArray[np.int64]
    kept: NDArray[np.float64]
    everything: NDArray[np.float64]
    covered: NDArray[np.float64]
    totals: NDArray[np.float64]


class Pooler:
    """Select, weigh and sum, for blocks of rows of one data set.

    Parameters
    ----------
    n_columns
        Number of genes of the matrix.
    columns
        ``(n_vectors,)``: column of each gene that has a vector; no column twice.
    ranks
        ``(n_vectors,)``: rank of each gene among genes with the same value; unique.
    order
        Order in which vectors are packed.
    top_n
        Genes kept a cell; 0 for all.
    logged
        Whether the values are l already.
    divide_by
        As in `Preset`.
    l2
        Whether cells are scaled to unit length.
    """

    def __init__(
        self,
        n_columns: int,
        columns: NDArray[np.int64],
        *,
        ranks: NDArray[np.int32],
        order: NDArray[np.int64],
        top_n: int = 0,
        logged: bool = False,
        divide_by: str = "kept",
        l2: bool = False,
    ) -> None:
        self.n_columns, self.top_n, self.logged, self.divide_by, self.l2 = n_columns, top_n, logged, divide_by, l2
        self.order = order
        self._table = np.full((n_columns, 2), -1, dtype=np.int32)
        self._table[columns[order], 0] = np.arange(len(order), dtype=np.int32)
        self._table[columns[order], 1] = ranks[order]
        self._panels: NDArray[np.float32] = np.empty((0, 0, 0), dtype=np.float32)
        self._shift: NDArray[np.float64] = np.empty(0)
        self._scores: NDArray[np.float64] | None = None
        self._dim, self._segment = 0, 0
        self._scratch = threading.local()

    def set_vectors(self, vectors: NDArray[np.float32], moments: Moments | None = None) -> None:
        """Pack the gene vectors; with `moments`, weights become z-scores, and what zeros give is added to each cell."""
        from ._kernels._gather import SEGMENT, WIDTH

        n, self._dim = vectors.shape
        n_panels = max(1, -(-self._dim // WIDTH))
        panels = np.zeros((n_panels, n, WIDTH), dtype=np.float32)
        for p in range(n_panels):
            part = vectors[:, p * WIDTH : (p + 1) * WIDTH]
            panels[p, :, : part.shape[1]] = part[self.order]
        self._panels = panels
        self._shift, self._segment = np.zeros(self._dim), SEGMENT
        if moments is not None:
            at_zero, scores = moments.scores()
            self._scores = np.ascontiguousarray(scores[self.order])
            # The sum over nonzeros and what zeros give cancel in part: round less on the way.
            self._segment = SEGMENT // 8
            # einsum adds gene by gene, whatever the number of BLAS threads.
            self._shift = np.einsum("g,gd->d", at_zero, vectors.astype(np.float64))

    def run(
        self, block: Sparse | Dense, library: NDArray[np.float64], out: NDArray[np.float32], *, first_row: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Embed a block into `out`; returns coverage and the number of genes summed, a cell each.

        Raises
        ------
        BadValueError
            At the first cell with a value that cannot be used; `first_row` is the number of the block's first row.
        """
        from ._kernels._moments import score

        selected = self._select(block, library, first_row)
        k = int(selected.offsets[-1])
        if self._scores is not None:
            score(selected.rows[:k], selected.weights[:k], self._scores)
        gather = _gather()
        gather(self._panels, selected.rows, selected.weights, selected.offsets, self._scale(selected), self._shift,
               self.l2, self._segment, out)  # fmt: skip
        coverage = _ratio(selected.covered, selected.totals)
        return coverage, np.diff(selected.offsets)

    def add_moments(
        self, block: Sparse | Dense, library: NDArray[np.float64], *, first_row: int = 0
    ) -> NDArray[np.int64]:
        """Fixed-point sums of l and its square over a block, ``(n_vectors, 3)``; see `MomentSums`."""
        from ._kernels._moments import add_moments

        selected = self._select(block, library, first_row)
        k = int(selected.offsets[-1])
        packed = np.zeros((len(self.order), 3), dtype=np.int64)
        add_moments(selected.rows[:k], selected.weights[:k], packed)
        sums = np.empty_like(packed)
        sums[self.order] = packed
        return sums

    def _scale(self, selected: _Selected) -> NDArray[np.float64]:
        n = len(selected.kept)
        if self.divide_by == "kept":
            return _ratio(np.ones(n), selected.kept)
        if self.divide_by == "all":
            return _ratio(np.ones(n), selected.everything)
        return np.full(n, 1.0 / self.n_columns if self.divide_by == "genes" else 1.0)

    def _select(self, block: Sparse | Dense, library: NDArray[np.float64], first_row: int) -> _Selected:
        from ._kernels import _select as kernel
        from ._kernels._gather import SPARE

        rows = canonical(block, self.n_columns)
        n = len(rows.indptr) - 1
        genes, weights = self._room(len(rows.data) + SPARE)
        offsets = np.empty(n + 1, dtype=np.int64)
        kept, everything, covered, totals = np.empty((4, n), dtype=np.float64)
        status, bad = kernel.select_block(
            rows.data, rows.bits, rows.indices, rows.indptr, library, self._table, self.top_n, self.logged,
            self.divide_by == "all", genes, weights, offsets, kept, everything, covered, totals,
        )  # fmt: skip
        if status != kernel.FINE:
            raise _complaint(status, rows, int(bad), first_row, library)
        return _Selected(genes, weights, offsets, kept, everything, covered, totals)

    def _room(self, size: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        # Kept from block to block: fresh memory would cost a page fault every 4 kB.
        room: Any = getattr(self._scratch, "room", None)
        if room is None or len(room[0]) < size:
            room = np.zeros(size * 5 // 4, dtype=np.int32), np.empty(size * 5 // 4, dtype=np.float32)
            self._scratch.room = room
        return room  # type: ignore[no-any-return]


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)


_chosen: Any = None


def _gather() -> Any:
    """The fast loop, or the plain one on a machine on which its code does not compile."""
    global _chosen
    if _chosen is None:
        from numba.core.errors import NumbaError

        from ._kernels import _gather as kernels

        try:
            one, none = np.ones((1, 1, kernels.WIDTH), dtype=np.float32), np.zeros(1)
            out = np.empty((1, 1), dtype=np.float32)
            kernels.gather_block(one, np.zeros(kernels.SPARE, np.int32), np.ones(kernels.SPARE, np.float32),
                                 np.array([0, 1]), none + 1, none, False, 8, out)  # fmt: skip
            _chosen = kernels.gather_block if out[0, 0] == 1 else kernels.gather_block_plain
        except (NumbaError, RuntimeError, NotImplementedError):
            _chosen = kernels.gather_block_plain
    return _chosen


def _complaint(status: int, rows: Canonical, row: int, first_row: int, library: NDArray[np.float64]) -> BadValueError:
    from ._kernels import _select as kernel

    values = rows.data[rows.indptr[row] : rows.indptr[row + 1]].astype(np.float64)
    columns = rows.indices[rows.indptr[row] : rows.indptr[row + 1]]
    if status == kernel.BAD_LIBRARY:
        reason = f"its library size is {library[row]:.6g}, but its counts here add up to {values.sum():.6g}"
        return BadValueError(first_row + row, -1, reason)
    if status == kernel.BAD_LOG:
        at = int(values.argmax())
        return BadValueError(first_row + row, int(columns[at]), f"the value {values[at]:.6g} is no log1p of expression")
    at = int(np.flatnonzero(~((values >= 0) & (values < np.inf)))[0])
    what = "NaN" if np.isnan(values[at]) else f"{values[at]:.6g}"
    return BadValueError(
        first_row + row, int(columns[at]), f"the value is {what}; expression is finite and not negative"
    )
