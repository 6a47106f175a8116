"""Chunks of zarr arrays as files: whether they exist, and that they have reached the disk.

zarr reads a chunk whose file is missing as zeros, without a word. Writers may leave out chunks of zeros on purpose, so
that of other people's files only what cannot be right is refused.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError

__all__ = ["check_dense", "check_filled", "check_sparse", "chunk_path", "missing_chunks", "sync"]

Chunk = tuple[int, ...]

_MANY = 16


def chunk_path(store: Path, array: Any, chunk: Chunk) -> Path:
    """File of a chunk of an array in the zarr folder `store`."""
    if hasattr(array, "metadata"):
        return store / str(array.path) / str(array.metadata.encode_chunk_key(chunk))
    return store / str(array._chunk_key(chunk))  # zarr-python 2


def missing_chunks(store: Path, array: Any) -> list[Chunk]:
    """Chunks without a file; of an array with shards, shards."""
    if not store.is_dir():
        return []
    shape = _file_shape(array)
    grid = [-(-size // part) for size, part in zip(array.shape, shape, strict=True)]
    return [chunk for chunk in np.ndindex(*grid) if not chunk_path(store, array, chunk).exists()]


def sync(paths: Iterable[Path]) -> None:
    """Wait until files, and the entries of the folders they are in, have reached the disk."""
    files = list(paths)
    # Hundreds of columns of scores, one after the other, would take seconds for each shard.
    if len(files) > _MANY and _sync_file_system(files[0]):
        return
    for path in files:
        _sync(path)
    if os.name == "posix":  # elsewhere folders cannot be opened
        for folder in {folder for path in files for folder in (path.parent, path.parent.parent)}:
            _sync(folder)


def _sync_file_system(path: Path) -> bool:
    """Have everything on the file system of `path` written, where the system offers that (Linux)."""
    if sys.platform != "linux":
        return False
    function = getattr(ctypes.CDLL(None), "syncfs", None)
    if function is None:
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return bool(function(descriptor) == 0)
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_filled(array: Any, store: Path) -> None:
    """Refuse an array that cannot hold a chunk of zeros, such as names of cells, if a chunk is missing."""
    missing = missing_chunks(store, array)
    if missing:
        raise _lost(store, array, missing[0])


def check_dense(array: Any, store: Path) -> None:
    """Refuse a dense matrix if some cells have no chunk at all; warn if other chunks are missing.

    Raises
    ------
    InputError
        Names the first chunk.
    """
    missing = missing_chunks(store, array)
    if not missing:
        return
    across = -(-array.shape[1] // _file_shape(array)[1])
    rows, counts = np.unique([chunk[0] for chunk in missing], return_counts=True)
    if (counts == across).any():
        raise _lost(store, array, (int(rows[counts == across][0]), 0))
    warnings.warn(
        f"{len(missing)} chunks of {_name(store, array)} are not stored and are read as zeros: right if the writer "
        "leaves out chunks of zeros, as zarr does by default; wrong if files were lost",
        UserWarning,
        stacklevel=4,
    )


def check_sparse(group: Any, store: Path) -> None:
    """Refuse a sparse matrix with a missing chunk, unless zeros make sense there.

    A chunk of `data` without any number is never right, since zeros are not stored. A chunk of `indices` may be zeros
    where no row stores two values in it. A chunk of `indptr` may be zeros where the first rows are empty.

    Raises
    ------
    InputError
        Names the first chunk.
    """
    for chunk in missing_chunks(store, group["data"]):
        raise _lost(store, group["data"], chunk)
    no_indices, no_indptr = (missing_chunks(store, group[name]) for name in ("indices", "indptr"))
    if not no_indices and not no_indptr:
        return
    indptr = np.asarray(group["indptr"][:], dtype=np.int64)
    if no_indptr and not _plausible(indptr, group):
        raise _lost(store, group["indptr"], no_indptr[0])
    size = _file_shape(group["indices"])[0]
    for chunk in no_indices:
        first, last = chunk[0] * size, (chunk[0] + 1) * size
        if np.diff(np.clip(indptr, first, last)).max() > 1:
            raise _lost(store, group["indices"], chunk)


def _plausible(indptr: NDArray[np.int64], group: Any) -> bool:
    """Whether pointers with zeros in place of missing chunks can be those of the matrix."""
    if (np.diff(indptr) < 0).any() or indptr[-1] != group["data"].shape[0]:
        return False
    # Where the first rows have lost their pointers, the row behind them has all their values: a gene comes twice.
    row = int(np.flatnonzero(indptr)[0]) if indptr.any() else 0
    columns = np.asarray(group["indices"][: int(indptr[row])])
    return len(np.unique(columns)) == len(columns)


def _file_shape(array: Any) -> tuple[int, ...]:
    shards: tuple[int, ...] | None = getattr(array, "shards", None)
    return tuple(array.chunks) if shards is None else shards


def _name(store: Path, array: Any) -> str:
    return f"'{store / array.path}'"


def _lost(store: Path, array: Any, chunk: Chunk) -> InputError:
    path = chunk_path(store, array, chunk)
    return InputError(
        f"{_name(store, array)} has lost a chunk, which would be read as zeros: there is no file '{path}'. Restore it "
        "from a copy, or write the data again; if those values are zeros, call X.eliminate_zeros() first"
    )
