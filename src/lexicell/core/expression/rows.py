"""Row blocks of any matrix of cells x genes: dense, sparse, on disk (h5ad, zarr) or dask.

`open_rows` looks at what it was given once; the object it returns reads ranges of rows, either dense or as the three
arrays of a CSR matrix, just as they are stored. Nothing here changes or copies what is in memory already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError

__all__ = [
    "CsrRows",
    "Dense",
    "Rows",
    "SomeColumns",
    "Sparse",
    "block_rows",
    "check_matrix",
    "check_sparse",
    "open_rows",
]


@dataclass(frozen=True)
class Sparse:
    """Some rows in CSR: any dtypes, in any order within a row, duplicates allowed (they add up)."""

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[np.int64]


@dataclass(frozen=True)
class Dense:
    """Some rows as a plain array."""

    values: NDArray[Any]


def check_sparse(indptr: NDArray[Any], indices: Any, data: Any, shape: tuple[int, int]) -> None:
    """Check the three arrays of a CSR matrix, or of some of its rows; of a CSC matrix, with `shape` turned round.

    Compiled code, scipy's and ours, reads wherever these arrays point to: what is wrong in them would give values of
    other memory, or end the process.

    Parameters
    ----------
    indptr, indices, data
        As in `scipy.sparse.csr_matrix`; `indptr` begins at 0.
    shape
        Rows x columns.

    Raises
    ------
    InputError
        If an array is too short, `indptr` falls or leads past the data, or an index is not a column.
    """
    n_rows, n_columns = shape
    stored = len(data)
    if len(indptr) != n_rows + 1:
        raise _damaged(f"indptr has {len(indptr)} numbers for {n_rows} rows")
    if len(indices) != stored:
        raise _damaged(f"there are {len(indices)} indices for {stored} values")
    if int(indptr[0]) != 0 or int(indptr[-1]) > stored or (indptr[1:] < indptr[:-1]).any():
        raise _damaged(f"indptr does not lead through the {stored} values in order")
    if stored and (int(indices.min()) < 0 or int(indices.max()) >= n_columns):
        raise _damaged(
            f"its indices run from {int(indices.min())} to {int(indices.max())}, and it has {n_columns} columns"
        )


def _damaged(reason: str) -> InputError:
    return InputError(f"a sparse matrix is damaged: {reason}; make the file again from its source")


class Rows(Protocol):
    """A matrix that gives ranges of rows."""

    shape: tuple[int, int]
    in_memory: bool

    def read(self, start: int, stop: int) -> Sparse | Dense:
        """Rows `start` to `stop`, `stop` excluded."""
        ...


class CsrRows:
    """CSR whose three arrays are numpy arrays or on disk; from there only the rows asked for are read.

    Parameters
    ----------
    data, indices, indptr
        The three arrays, or datasets of h5py or zarr.
    shape
        Cells x genes.
    in_memory
        Whether reading costs nothing.
    """

    def __init__(self, data: Any, indices: Any, indptr: Any, shape: tuple[int, int], *, in_memory: bool) -> None:
        self._data, self._indices, self._indptr = data, indices, indptr
        self.shape = (int(shape[0]), int(shape[1]))
        self.in_memory = in_memory

    @property
    def n_stored(self) -> int:
        """Number of stored values."""
        return int(self._indptr[-1:][0]) if self.shape[0] else 0

    def read(self, start: int, stop: int) -> Sparse:
        """Rows `start` to `stop`."""
        # int64 whatever it is stored as: a matrix may hold more than 2^31 values.
        indptr = np.asarray(self._indptr[start : stop + 1], dtype=np.int64)
        if len(indptr) != stop - start + 1:
            raise _damaged(f"indptr ends before row {stop}")
        first, last = int(indptr[0]), int(indptr[-1])
        # A negative number would count from the end.
        if not 0 <= first <= last <= self._data.shape[0]:
            raise _damaged(f"indptr leads from {first} to {last}, and there are {self._data.shape[0]} values")
        data, indices, indptr = (
            np.asarray(self._data[first:last]),
            np.asarray(self._indices[first:last]),
            indptr - first,
        )
        check_sparse(indptr, indices, data, (stop - start, self.shape[1]))
        return Sparse(data, indices, indptr)


class SomeColumns:
    """Rows without some of their columns.

    Parameters
    ----------
    rows
        All columns.
    keep
        Whether each column is kept.
    """

    in_memory = False

    def __init__(self, rows: Rows, keep: NDArray[np.bool_]) -> None:
        self._rows, self._keep = rows, keep
        self._new = np.cumsum(keep) - 1
        self.shape = (rows.shape[0], int(keep.sum()))
        self.n_stored: int | None = getattr(rows, "n_stored", None)

    def read(self, start: int, stop: int) -> Sparse | Dense:
        """Rows `start` to `stop`."""
        block = self._rows.read(start, stop)
        if isinstance(block, Dense):
            return Dense(block.values[:, self._keep])
        kept = self._keep[block.indices]
        indptr = np.concatenate([[0], np.cumsum(kept)])[block.indptr]
        return Sparse(block.data[kept], self._new[block.indices[kept]], indptr.astype(np.int64))


class _Sliced:
    """Anything whose slices of rows are arrays or scipy matrices: arrays, h5py and zarr datasets, backed CSC."""

    def __init__(self, source: Any, *, in_memory: bool) -> None:
        self._source, self.in_memory = source, in_memory
        self.shape = (int(source.shape[0]), int(source.shape[1]))

    def read(self, start: int, stop: int) -> Sparse | Dense:
        return _block(self._source[start:stop])


class _Dask:
    """A dask array, computed one of its own blocks at a time; the last is kept, since many reads fall into one."""

    in_memory = False

    def __init__(self, source: Any) -> None:
        self._source = source
        if any(size != size for size in source.chunks[0]):  # NaN: dask does not know
            raise InputError("the dask array does not know how many rows its blocks have: call compute_chunk_sizes()")
        self._bounds = np.concatenate([[0], np.cumsum(source.chunks[0])]).astype(np.int64)
        self._kept: tuple[int, Any] = (-1, None)
        self.shape = (int(source.shape[0]), int(source.shape[1]))

    def read(self, start: int, stop: int) -> Sparse | Dense:
        first = int(np.searchsorted(self._bounds, start, side="right")) - 1
        last = max(first + 1, int(np.searchsorted(self._bounds, stop, side="left")))
        parts = []
        for i in range(first, last):
            begin, end = int(self._bounds[i]), int(self._bounds[i + 1])
            parts.append(self._computed(i, begin, end)[max(start - begin, 0) : min(stop, end) - begin])
        if len(parts) == 1:
            return _block(parts[0])
        return _block(sp.vstack(parts, format="csr") if sp.issparse(parts[0]) else np.concatenate(parts))

    def _computed(self, i: int, begin: int, end: int) -> Any:
        number, value = self._kept
        if number != i:
            value = self._source[begin:end].compute()
            value = value.tocsr() if sp.issparse(value) else np.asarray(value)
            self._kept = (i, value)
        return value


def _block(part: Any) -> Sparse | Dense:
    if sp.issparse(part):
        check_matrix(part)
        rows = part.tocsr()
        return Sparse(rows.data, rows.indices, np.asarray(rows.indptr, dtype=np.int64))
    return Dense(np.asarray(part))


def check_matrix(matrix: Any) -> None:
    """Check a scipy matrix, whose arrays compiled code of scipy follows without looking; see `check_sparse`."""
    if matrix.format in ("csr", "csc"):
        n_rows, n_columns = matrix.shape
        shape = (n_rows, n_columns) if matrix.format == "csr" else (n_columns, n_rows)
        check_sparse(matrix.indptr, matrix.indices, matrix.data, shape)


def _from_scipy(matrix: Any) -> Rows:
    check_matrix(matrix)
    # For CSC and the rest this makes one copy, in CSR; CSR is used as it is.
    rows = matrix.tocsr()
    return CsrRows(rows.data, rows.indices, rows.indptr, rows.shape, in_memory=True)


def open_rows(X: Any) -> Rows:
    """Give access by rows to `X`.

    Parameters
    ----------
    X
        Array, numpy matrix, any scipy sparse matrix or array, a backed sparse matrix of anndata (h5ad or zarr), an
        h5py or zarr dataset, a dask array of dense or sparse blocks, or `Rows`, which are given back. CSC in memory is
        converted once; CSC on disk is read whole and converted, since its rows cannot be read alone.

    Raises
    ------
    InputError
        If it is none of these, not two-dimensional, or holds no numbers.
    """
    shape = getattr(X, "shape", None)
    if shape is None or len(shape) != 2:
        raise InputError(f"a matrix of cells x genes is needed, got {type(X).__name__} of shape {shape}")
    kind = np.dtype(getattr(X, "dtype", np.float32)).kind
    if kind not in "biuf":
        raise InputError(f"the matrix holds values of type {X.dtype}; real numbers are needed")
    if hasattr(X, "read") and hasattr(X, "in_memory"):
        return X  # type: ignore[no-any-return]
    if isinstance(X, np.ma.MaskedArray):
        raise InputError("the matrix is a masked array; fill it first, for example with X.filled(0)")
    if isinstance(X, np.ndarray):
        return _Sliced(np.asarray(X), in_memory=True)
    if sp.issparse(X):
        return _from_scipy(X)
    if hasattr(X, "dask") and hasattr(X, "compute"):
        return _Dask(X)
    if hasattr(X, "group") and hasattr(X, "to_memory"):
        if getattr(X, "format", "") == "csr":
            group = X.group
            return CsrRows(group["data"], group["indices"], group["indptr"], X.shape, in_memory=False)
        return _from_scipy(X.to_memory())
    if hasattr(X, "__getitem__"):
        return _Sliced(X, in_memory=False)
    raise InputError(f"a matrix of type {type(X).__name__} cannot be read; convert it to a numpy array or scipy CSR")


_VALUES_PER_BLOCK = 4_000_000


def block_rows(rows: Rows, chunk_size: int | None, *, default: int = 1024) -> Iterator[tuple[int, int]]:
    """Ranges of rows that cover the matrix: `chunk_size` rows each, or as many as fit a few megabytes."""
    n = rows.shape[0]
    if chunk_size is None:
        stored = getattr(rows, "n_stored", None)
        width = rows.shape[1] if stored is None else stored // max(n, 1)
        chunk_size = max(1, min(default, _VALUES_PER_BLOCK // max(width, 1)))
    for start in range(0, n, chunk_size):
        yield start, min(n, start + chunk_size)
