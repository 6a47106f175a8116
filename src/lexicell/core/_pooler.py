"""`Pooler`: what is fixed for a data set, applied to one block of rows at a time, from any number of threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._matrix import Dense, Sparse
from ._blocks import Canonical, canonical, frozen
from ._hot import Hot, aligned, whole_batches
from ._zscores import Moments, empty_sums

__all__ = ["BadValueError", "Pooler", "expressed"]


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

    def __reduce__(self) -> tuple[type[BadValueError], tuple[int, int, str]]:
        return BadValueError, (self.row, self.column, self.reason)


def expressed(block: Sparse | Dense, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """In how many cells of a block each gene is expressed: the most read vectors are laid side by side.

    Any block will do: this changes where vectors lie in memory, and no result.
    """
    n_columns = int(columns.max()) + 1
    if isinstance(block, Dense):
        seen = (block.values[:, :n_columns] != 0).sum(axis=0)
    else:
        seen = np.bincount(block.indices, minlength=n_columns)
    return np.asarray(seen[columns], dtype=np.int64)


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
    seen
        ``(n_vectors,)``: how often each gene is expressed, roughly; decides where vectors lie in memory.
    top_n
        Genes kept a cell; 0 for all.
    logged
        Whether the values are l already.
    divide_by
        As in `Preset`.
    z_scored
        Whether weights will become z-scores.
    l2
        Whether cells are scaled to unit length.
    half
        Whether vectors are kept in sixteen bits.
    """

    def __init__(
        self,
        n_columns: int,
        columns: NDArray[np.int64],
        *,
        ranks: NDArray[np.int32],
        seen: NDArray[np.int64],
        top_n: int = 0,
        logged: bool = False,
        divide_by: str = "kept",
        z_scored: bool = False,
        l2: bool = False,
        half: bool = False,
    ) -> None:
        from ._kernels._gather import segment_length

        n = len(columns)
        self.n_columns, self.top_n, self.logged, self.divide_by, self.l2 = n_columns, top_n, logged, divide_by, l2
        self._z_scored, self._half = z_scored, half
        # Vectors are numbered in the order of the columns; sums run in that order.
        self._order = np.argsort(columns)
        self._table = np.full(n_columns, n, dtype=np.int32)
        self._table[columns[self._order]] = np.arange(n, dtype=np.int32)
        self._ranks = np.append(ranks[self._order], n).astype(np.int32)
        self._segment = segment_length(top_n, n, z_scored=z_scored)
        self._lay_out(np.lexsort((-seen[self._order], np.arange(n) // self._segment)))
        self._panels: NDArray[np.float32] = np.empty((0, 0, 0), dtype=np.float32)
        self._shift: NDArray[np.float64] = np.empty(0)
        self.dim = self._width = 0
        self._scores: NDArray[np.float64] | None = None
        self._hot: Hot | None = None
        self._scratch = threading.local()

    def _lay_out(self, packed: NDArray[np.int64]) -> None:
        """Vectors will lie in this order in memory."""
        self._packed, self._place = packed, np.empty(len(packed), dtype=np.int32)
        self._place[packed] = np.arange(len(packed), dtype=np.int32)

    def choose_hot(self, block: Sparse | Dense, library: NDArray[np.float64]) -> None:
        """Sum genes that many cells of `block` keep densely from now on; to be called before `set_vectors`.

        Which they are belongs to the arithmetic: the same block gives the same bits.
        """
        selected = self._select(block, library, 0)
        kept = selected.rows[: int(selected.offsets[-1])]
        shares = np.bincount(kept, minlength=len(self._order)) / max(1, len(selected.kept))
        self._hot = Hot.choose(shares, 2 if self._half else 3)
        if self._hot is not None:
            # Each kind is a segment of its own.
            self._segment = len(self._order)
            self._lay_out(self._hot.packed)

    def set_vectors(
        self, vectors: NDArray[np.float32], rows: NDArray[np.int64] | None = None, moments: Moments | None = None
    ) -> None:
        """Pack the gene vectors, or those in `rows` of a larger matrix, in the order of `columns`.

        With `moments`, weights become z-scores, and what zeros give is added to each cell.

        Raises
        ------
        InputError
            If a vector is not finite.
        """
        from ._kernels._gather import WIDTH, pack, pack_half

        n, dim = len(self._order), vectors.shape[1]
        source = self._order[self._packed]
        source = source if rows is None else rows[source]
        # Sums are as wide as whole panels, or half a panel less where vectors of sixteen bits stand in half of it.
        self._width = max(1, -(-dim // WIDTH)) * WIDTH
        panels = aligned((-(-self._width // (2 * WIDTH if self._half else WIDTH)), n, WIDTH), np.float32)
        values = frozen(vectors)
        if self._half:
            finite = bool(np.isfinite(vectors if rows is None else vectors[rows]).all())
            pack_half(values.view(np.uint32), source, panels.view(np.uint32))
        else:
            finite = pack(values, source, panels)
        if not finite:
            raise InputError("gene vectors hold NaN or infinity; leave these genes out")
        self._panels, self.dim = panels, dim
        if self._hot is not None:
            self._hot.set_vectors(values, self._order if rows is None else rows[self._order], self._width)
        self._shift = np.zeros(dim)
        if moments is not None:
            at_zero, scores = moments.scores()
            self._scores = np.ascontiguousarray(scores[self._order])
            # einsum adds gene by gene, whatever the number of BLAS threads.
            used = vectors if rows is None else vectors[rows]
            self._shift = np.einsum("g,gd->d", at_zero, used.astype(np.float64))

    def run(
        self, block: Sparse | Dense, library: NDArray[np.float64], out: NDArray[np.float32], *, first_row: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Embed a block into `out`; returns coverage and the number of genes summed, a cell each.

        Raises
        ------
        BadValueError
            At the first cell with a value that cannot be used; `first_row` is the number of the block's first row.
        """
        selected = self._select(block, library, first_row)
        self._sum(selected, out)
        return _ratio(selected.covered, selected.totals), np.diff(selected.offsets)

    def _sum(self, selected: _Selected, out: NDArray[np.float32]) -> None:
        from ._kernels._gather import finish
        from ._kernels._moments import score

        k = int(selected.offsets[-1])
        if self._scores is not None:
            score(selected.rows[:k], selected.weights[:k], self._scores)
        room = self._room(len(selected.rows), len(selected.offsets))
        rows, weights, offsets = selected.rows, selected.weights, selected.offsets
        if self._hot is None:
            room.sums[: len(offsets)] = 0
            parts = iter([(rows, weights, offsets)])
        else:
            parts = self._hot.add(rows, weights, offsets, room.sums)
        add = _adder(alone=self._half or self._hot is not None)
        for rows, weights, offsets in parts:
            add(self._panels, self._place, rows, weights, offsets, self._segment, room.genes, room.both, room.sums,
                self._half)  # fmt: skip
        finish(room.sums, selected.offsets, self._scale(selected), self._shift, self.l2, out)

    def add_moments(
        self, block: Sparse | Dense, library: NDArray[np.float64], *, first_row: int = 0
    ) -> NDArray[np.int64]:
        """Fixed-point sums of l and its square over a block; see `MomentSums`."""
        from ._kernels._moments import add_moments

        selected = self._select(block, library, first_row)
        k = int(selected.offsets[-1])
        rising = empty_sums(len(self._order))
        add_moments(selected.rows[:k], selected.weights[:k], rising)
        sums = np.empty_like(rising)
        sums[:, self._order] = rising
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
        from ._kernels._moments import BOOST

        rows = canonical(block, self.n_columns)
        n = len(rows.indptr) - 1
        room = self._room(len(rows.data) + SPARE, n + 1)
        offsets = np.empty(n + 1, dtype=np.int64)
        kept, everything, covered, totals = np.empty((4, n), dtype=np.float64)
        boost = BOOST if self._z_scored else 1.0
        status, bad = kernel.select_block(
            rows.data, rows.bits, rows.indices, rows.indptr, library, self._table, self._ranks, self.top_n,
            self.logged, self.divide_by == "all", boost, room.rows, room.weights, offsets, kept, everything, covered,
            totals,
        )  # fmt: skip
        if status != kernel.FINE:
            raise _complaint(status, rows, int(bad), first_row, library)
        return _Selected(room.rows, room.weights, offsets, kept, everything, covered, totals)

    def _room(self, n_entries: int, n_rows: int) -> _Room:
        # Kept from block to block: fresh memory would cost a page fault every 4 kB.
        room: _Room | None = getattr(self._scratch, "room", None)
        width = self._width
        if room is None or len(room.rows) < n_entries or room.sums.shape[0] < n_rows or room.sums.shape[1] != width:
            n_entries, n_rows = n_entries * 5 // 4, whole_batches(n_rows + 1)
            room = _Room(
                np.empty(n_entries, dtype=np.int32),
                np.empty(n_entries, dtype=np.float32),
                np.empty(n_entries, dtype=np.int32),
                np.empty((n_entries, 2), dtype=np.float32),
                np.empty((n_rows, width), dtype=np.float32),
            )
            self._scratch.room = room
        return room


@dataclass(frozen=True)
class _Room:
    """What one thread writes to on the way."""

    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    genes: NDArray[np.int32]
    both: NDArray[np.float32]
    sums: NDArray[np.float32]


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)


_plain: bool | None = None


def _adder(*, alone: bool = False) -> Any:
    """The fast loop, two cells at a time or `alone`, or the plain one where its machine code does not compile."""
    global _plain
    from ._kernels import _gather as kernels

    if _plain is None:
        from numba.core.errors import NumbaError

        try:
            panel = aligned((1, 1, kernels.WIDTH), np.float32)
            panel[:] = 1
            ints, floats = np.zeros(kernels.SPARE, np.int32), np.ones(kernels.SPARE, np.float32)
            sums = np.zeros((2, kernels.WIDTH), np.float32)
            kernels.add_block(panel, ints[:1], ints, floats, np.array([0, 1]), 8, ints.copy(),
                              floats.reshape(-1, 2).copy(), sums, False)  # fmt: skip
            _plain = not (sums[0] == 1).all()
        except (NumbaError, RuntimeError, NotImplementedError):
            _plain = True
    if _plain:
        return kernels.add_plain
    return kernels.add_alone if alone else kernels.add_block


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
