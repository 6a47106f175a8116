"""`Pooler`: what is fixed for a data set, applied to one block of rows at a time, from any number of threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError
from ..expression.rows import Dense, Sparse
from .canonical import Canonical, canonical, frozen
from .moments import Moments, empty_sums
from .presets import OWN, Preset

if TYPE_CHECKING:
    from ..compiled.select import Selected

__all__ = ["BadValueError", "Pooler", "expressed"]


class BadValueError(InputError):
    """A value of the matrix cannot be used; knows its row and column, so that a caller can add names.

    Attributes
    ----------
    row, column
        Position; `column` is -1 where the whole row is meant.
    reason
        What is wrong, without the position.
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


class Pooler:
    """Select, weight and sum, for blocks of rows of one data set.

    Parameters
    ----------
    n_columns
        Number of genes of the matrix.
    columns
        ``(n_vectors,)``: column of each gene that has a vector; no column twice.
    preset
        The formula.
    top_n
        Genes kept per cell; None: all; ``"preset"``: the preset's own.
    logged
        Whether the values are l already.
    ranks
        ``(n_vectors,)``: rank of each gene among genes with the same value, 0 to n_vectors - 1; default: their order.
    seen
        ``(n_vectors,)``: how often each gene is expressed, roughly; decides where vectors lie in memory.

    Raises
    ------
    InputError
        If `top_n` or `ranks` cannot be used.
    """

    def __init__(
        self,
        n_columns: int,
        columns: NDArray[np.int64],
        preset: Preset,
        *,
        top_n: int | str | None = OWN,
        logged: bool = False,
        ranks: ArrayLike | None = None,
        seen: NDArray[np.int64],
    ) -> None:
        from ..compiled.gather import segment_length
        from ..compiled.moments import BOOST
        from ..compiled.select import Genes, Question

        n = len(columns)
        self.n_columns, self.preset = n_columns, preset
        # Vectors are numbered in the order of the columns; sums run in that order.
        self._order = np.argsort(columns)
        table = np.full(n_columns, n, dtype=np.int32)
        table[columns[self._order]] = np.arange(n, dtype=np.int32)
        self._genes = Genes(table, np.append(_checked_ranks(ranks, n)[self._order], n).astype(np.int32))
        n_kept = preset.n_kept(top_n)
        boost = BOOST if preset.z_scored else 1.0
        self._question = Question(n_kept, bool(logged), preset.divide_by == "all", boost)
        self._segment = segment_length(n_kept, n, z_scored=preset.z_scored)
        self._packed = np.lexsort((-seen[self._order], np.arange(n) // self._segment))
        self._place = np.empty(n, dtype=np.int32)
        self._place[self._packed] = np.arange(n, dtype=np.int32)
        self._panels: NDArray[np.float32] = np.empty((0, 0, 0), dtype=np.float32)
        self._shift: NDArray[np.float64] = np.empty(0)
        self.dim = self._width = 0
        self._scores: NDArray[np.float64] | None = None
        self._local = threading.local()

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
        from ..compiled.gather import pack, panel_width

        n, dim = len(self._order), vectors.shape[1]
        source = self._order[self._packed]
        if rows is not None:
            source = rows[source]
        width = panel_width(dim)
        panels = _aligned(max(1, -(-dim // width)), n, width)
        if not pack(frozen(vectors), source, panels):
            raise InputError("gene vectors hold NaN or infinity; leave these genes out")
        self._panels, self.dim, self._width = panels, dim, len(panels) * width
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
        """Embed a block into `out`; returns the coverage of each cell and the number of genes summed.

        Raises
        ------
        BadValueError
            At the first cell with a value that cannot be used; `first_row` is the number of the block's first row.
        """
        selected = self._select(block, library, first_row)
        self._sum(selected, out)
        covered, totals = selected.covered, selected.totals
        coverage = np.divide(covered, totals, out=np.zeros(len(totals)), where=totals > 0)
        return coverage, np.diff(selected.offsets)

    def add_moments(
        self, block: Sparse | Dense, library: NDArray[np.float64], *, first_row: int = 0
    ) -> NDArray[np.int64]:
        """Fixed-point sums of l and its square over a block; see `MomentSums`."""
        from ..compiled.moments import add_moments

        selected = self._select(block, library, first_row)
        k = int(selected.offsets[-1])
        in_order = empty_sums(len(self._order))
        add_moments(selected.rows[:k], selected.weights[:k], in_order)
        sums = np.empty_like(in_order)
        sums[:, self._order] = in_order
        return sums

    def _select(self, block: Sparse | Dense, library: NDArray[np.float64], first_row: int) -> Selected:
        """The genes of each cell and their l, in buffers that the next block uses again."""
        from ..compiled.select import FINE, SPARE, Block, Selected, select_block

        rows = canonical(block, self.n_columns)
        n = len(rows.indptr) - 1
        buffers = self._buffers(len(rows.data) + SPARE, n + 1)
        kept, everything, covered, totals = np.empty((4, n), dtype=np.float64)
        out = Selected(
            buffers.rows, buffers.weights, np.empty(n + 1, dtype=np.int64), kept, everything, covered, totals
        )
        matrix = Block(rows.data, rows.bits, rows.indices, rows.indptr)
        status, bad = select_block(matrix, library, self._genes, self._question, out)
        if status != FINE:
            raise _bad_value(status, rows, int(bad), first_row, library)
        return out

    def _sum(self, selected: Selected, out: NDArray[np.float32]) -> None:
        """Write the embedding of the cells selected."""
        from ..compiled.gather import add_block, finish
        from ..compiled.moments import score

        rows, weights, offsets = selected.rows, selected.weights, selected.offsets
        k = int(offsets[-1])
        if self._scores is not None:
            score(rows[:k], weights[:k], self._scores)
        buffers = self._buffers(len(rows), len(offsets))
        sums = buffers.sums
        sums[: len(offsets)] = 0
        add_block(self._panels, self._place, rows, weights, offsets, self._segment, buffers.genes, buffers.both, sums)
        scale = self.preset.scale(selected.kept, selected.everything, self.n_columns)
        finish(sums, offsets, scale, self._shift, self.preset.l2, out)

    def _buffers(self, n_entries: int, n_rows: int) -> _Buffers:
        """Memory of this thread, kept from block to block: fresh memory would cost a page fault every 4 kB."""
        from ..compiled.gather import GROUP

        known: _Buffers | None = getattr(self._local, "buffers", None)
        if known is not None:
            fits = len(known.rows) >= n_entries and len(known.sums) >= n_rows
            if fits and known.sums.shape[1] == self._width:
                return known
        n_entries = n_entries * 5 // 4
        n_merged = n_entries + GROUP * n_rows
        self._local.buffers = _Buffers(
            np.empty(n_entries, dtype=np.int32),
            np.empty(n_entries, dtype=np.float32),
            np.empty(n_merged, dtype=np.int32),
            np.empty((n_merged, 2), dtype=np.float32),
            np.empty((n_rows, self._width), dtype=np.float32),
        )
        return self._local.buffers  # type: ignore[no-any-return]


class _Buffers(NamedTuple):
    """What one thread writes to: genes and weights selected; both of pairs of cells; sums."""

    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    genes: NDArray[np.int32]
    both: NDArray[np.float32]
    sums: NDArray[np.float32]


def _checked_ranks(ranks: ArrayLike | None, n: int) -> NDArray[np.int32]:
    if ranks is None:
        return np.arange(n, dtype=np.int32)
    order = np.asarray(ranks, dtype=np.int32)
    if order.shape != (n,) or (np.sort(order) != np.arange(n)).any():
        raise InputError(f"ranks must be the numbers from 0 to {n - 1}, one per gene vector")
    return order


def _aligned(*shape: int) -> NDArray[np.float32]:
    """An uninitialized float32 array that begins where a cache line does: vectors of sixteen then never lie on two."""
    n = int(np.prod(shape))
    memory = np.empty(n + 16, dtype=np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + n].reshape(shape)


def _bad_value(status: int, rows: Canonical, row: int, first_row: int, library: NDArray[np.float64]) -> BadValueError:
    """What to tell of a row that `select_block` stopped at."""
    from ..compiled.select import BAD_LIBRARY, BAD_LOG

    start, stop = rows.indptr[row : row + 2]
    values, columns = rows.data[start:stop].astype(np.float64), rows.indices[start:stop]
    if status == BAD_LIBRARY:
        reason = f"its library size is {library[row]:.6g}, but its counts here add up to {values.sum():.6g}"
        return BadValueError(first_row + row, -1, reason)
    if status == BAD_LOG:
        at = int(values.argmax())
        reason = f"the value {values[at]:.6g} is no log1p of expression"
    else:
        at = int(np.flatnonzero(~((values >= 0) & (values < np.inf)))[0])
        value = "NaN" if np.isnan(values[at]) else f"{values[at]:.6g}"
        reason = f"the value is {value}; expression is finite and not negative"
    return BadValueError(first_row + row, int(columns[at]), reason)
