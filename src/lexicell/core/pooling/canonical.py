"""Blocks of rows in the one form the compiled loops read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError
from ..expression.rows import Dense, Sparse

__all__ = ["Canonical", "canonical", "frozen"]

_WHOLE_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True)
class Canonical:
    """CSR with rising columns and no duplicates: float32 or float64, int32, int64; read-only views where possible."""

    data: NDArray[Any]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]

    @property
    def bits(self) -> NDArray[Any]:
        """The memory of `data` as signed integers, which rise with it from zero upwards."""
        return self.data.view(np.int32 if self.data.dtype == np.float32 else np.int64)


def _floats(values: NDArray[Any]) -> NDArray[Any]:
    """Values as float32 where that loses nothing, else as float64; no copy where they are that already."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "f":
        target = np.float32 if size <= 4 else np.float64
    elif kind == "b" or size <= 2:
        target = np.float32
    else:
        top = max(int(values.max(initial=0)), -int(values.min(initial=0)))
        target = np.float32 if top <= _WHOLE_IN_FLOAT32 else np.float64
    return values.astype(target, copy=False)


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """A read-only, contiguous view, or a copy where there is no such view."""
    # Memory maps and frozen arrays are another type to numba: with every input read-only, one compilation serves all.
    view = np.require(np.asarray(values), requirements=["C", "A"]).view()
    view.flags.writeable = False
    return view


def canonical(block: Sparse | Dense, n_columns: int) -> Canonical:
    """Bring a block to canonical form without touching what it was made from.

    Duplicate entries of a cell and gene are added up, in float64.

    Raises
    ------
    InputError
        If a column index lies outside the matrix.
    """
    from ..compiled import rows as _rows

    if n_columns >= 1 << 31:
        raise InputError(f"{n_columns:,} columns are more than can be indexed")
    if isinstance(block, Dense):
        return _from_dense(frozen(_floats(block.values)))
    indices, indptr = block.indices, np.asarray(block.indptr, dtype=np.int64)
    if indices.dtype != np.int32:
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < n_columns:
            raise InputError("the sparse matrix is broken: it has entries in columns that do not exist")
        indices = indices.astype(np.int32)
    indices, indptr = frozen(indices), frozen(indptr)
    state = _rows.is_canonical(indices, indptr, n_columns)
    if state < 0:
        raise InputError("the sparse matrix is broken: it has entries in columns that do not exist")
    if state:
        return Canonical(frozen(_floats(block.data)), indices, indptr)
    rows = sp.csr_matrix(
        (block.data.astype(np.float64), indices.copy(), indptr.copy()), shape=(len(indptr) - 1, n_columns)
    )
    rows.sum_duplicates()
    return Canonical(frozen(rows.data), frozen(rows.indices.astype(np.int32)), frozen(rows.indptr.astype(np.int64)))


def _from_dense(values: NDArray[Any]) -> Canonical:
    """The nonzeros of a dense block."""
    from ..compiled import rows as _rows

    indptr = np.empty(len(values) + 1, dtype=np.int64)
    n = _rows.count_nonzero(values, indptr)
    data, indices = np.empty(n + 1, dtype=values.dtype), np.empty(n + 1, dtype=np.int32)
    _rows.fill_nonzero(values, indptr, data, indices)
    return Canonical(frozen(data[:n]), frozen(indices[:n]), frozen(indptr))
