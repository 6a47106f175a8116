"""Genes that many cells have: which they are, their vectors, and their part of each cell's sum."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["SAMPLE", "Hot", "aligned", "whole_batches"]

SAMPLE = 512
"""Cells, the first of a matrix, that tell which genes are hot."""

_DENSE = {3: 0.15, 2: 0.1}
"""Share of cells from which on a gene is hot, by the bytes of a number: about where both ways cost the same."""

_WORTH = 64.0  # hot genes a cell below which the tiles' own cost is not earned back
_KINDS = (2048, 2048)  # genes read next most often: the vectors of each kind fit the second-level cache
_ROWS = 64  # a batch of `_kernels._tiles`, which is not imported for a constant


class Hot:
    """Genes with text by how many cells keep them: hot ones, and three kinds whose vectors lie apart.

    Parameters
    ----------
    shares
        Share of the cells that keep each gene, in the order of the matrix.
    n_hot
        Number of hot genes.
    n_digits
        Bytes of each weight and entry of a vector: 3 as exact as float32, 2 for vectors of sixteen bits.
    """

    def __init__(self, shares: NDArray[np.float64], n_hot: int, n_digits: int) -> None:
        self._n_digits, n = n_digits, len(shares)
        order = np.lexsort((np.arange(n), -shares))
        ends = np.minimum(n, n_hot + np.cumsum((0, *_KINDS)))
        self.genes = np.sort(order[:n_hot])
        self.kinds = np.full(n, len(ends), dtype=np.uint8)
        for kind in range(len(ends) - 1, -1, -1):
            self.kinds[order[: ends[kind]]] = kind
        self.packed = np.lexsort((-shares, self.kinds))
        """Genes in the order in which vectors should lie in memory: those of one kind side by side."""
        self._slots = np.full(n, -1, dtype=np.int32)
        self._slots[self.genes] = np.arange(n_hot, dtype=np.int32)
        self._panels = np.empty((0, 0, 0, 0, 0), dtype=np.int8)
        self._worth = np.empty(0)
        self._scratch = threading.local()

    @classmethod
    def choose(cls, shares: NDArray[np.float64], n_digits: int) -> Hot | None:
        """The genes that many cells keep are hot; None where they are too few to be worth it."""
        hot = shares >= _DENSE[n_digits]
        return cls(shares, int(hot.sum()), n_digits) if shares[hot].sum() >= _WORTH else None

    def set_vectors(self, vectors: NDArray[np.float32], source: NDArray[np.int64], width: int) -> None:
        """Pack the hot ones of vectors[source]; `width` is that of sums, a multiple of 32."""
        from ._kernels._tiles import DEEP, pack_digits

        n_steps = -(-len(self.genes) // DEEP)
        self._panels = aligned((self._n_digits, width // 16, n_steps, 16, DEEP), np.int8)
        self._worth = np.empty(width)
        pack_digits(vectors, source[self.genes], self._panels, self._worth)

    def add(
        self,
        rows: NDArray[np.int32],
        weights: NDArray[np.float32],
        offsets: NDArray[np.int64],
        sums: NDArray[np.float32],
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]]:
        """Write the hot part of every sum, whole batches of rows; gives genes and weights of each other kind."""
        from ._kernels import _tiles

        add = _tiles.add_hot_wide if _tiles.has_tiles() else _tiles.add_hot_plain
        n_cells = len(offsets) - 1
        room = self._room(int(offsets[-1]), n_cells)
        for first in range(0, n_cells, _tiles.BATCH):
            last = min(n_cells, first + _tiles.BATCH)
            _tiles.distribute(rows, weights, offsets, first, last, self.kinds, self._slots, room.tiles, room.unit,
                              room.rows, room.weights, room.ends)  # fmt: skip
            add(room.tiles, room.unit, self._panels, self._worth, room.layout, room.parts,
                sums[first : first + _tiles.BATCH])  # fmt: skip
        for kind in range(1, len(room.ends)):
            yield room.rows[kind], room.weights[kind], room.ends[kind, : n_cells + 1]

    def _room(self, n_entries: int, n_cells: int) -> _Room:
        from ._kernels._tiles import BATCH, DEEP, shapes

        room: _Room | None = getattr(self._scratch, "room", None)
        n_steps = self._panels.shape[2]
        if room is None or room.rows.shape[1] < n_entries or room.ends.shape[1] <= n_cells:
            n_kinds, n = 2 + len(_KINDS), n_entries * 5 // 4 + 16
            room = self._scratch.room = _Room(
                np.empty((n_kinds, n), dtype=np.int32),
                np.empty((n_kinds, n), dtype=np.float32),
                np.zeros((n_kinds, n_cells + 1), dtype=np.int64),
                aligned((self._n_digits, BATCH // 16, n_steps, 16, DEEP), np.int8),
                np.empty(BATCH),
                aligned((self._n_digits, 4, 16, 16), np.int32),
                shapes(),
            )
        return room


@dataclass(frozen=True)
class _Room:
    """What one thread writes to on the way."""

    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    ends: NDArray[np.int64]
    tiles: NDArray[np.int8]
    unit: NDArray[np.float64]
    parts: NDArray[np.int32]
    layout: NDArray[np.uint8]


def whole_batches(n_rows: int) -> int:
    """Rows of sums with room for the last batch to be a whole one."""
    return -(-n_rows // _ROWS) * _ROWS


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised array at an address divisible by 64, where a cache line begins."""
    kind = np.dtype(dtype)
    n = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(n + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n].view(kind).reshape(shape)
