"""Elements of AnnData files copied from file to file, long arrays some rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["copy_element", "copy_rows", "words"]

_PIECE = 16 << 20  # bytes copied at a time


def copy_element(source: Any, target: Any, key: str) -> None:
    """Copy an element of an h5ad file or a zarr store (a table, a column) into the group `target` of another."""
    if not hasattr(source, "keys"):
        copy_rows(source, target, key)
        return
    group = target.create_group(key)
    for name in source:
        copy_element(source[name], group, name)
    for name, value in dict(source.attrs).items():
        # zarr keeps attributes as JSON, h5py as numpy.
        group.attrs[name] = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def copy_rows(source: Any, target: Any, key: str) -> None:
    """Copy an array."""
    from anndata.io import read_elem, write_elem

    if source.shape == ():
        write_elem(target, key, read_elem(source))
        return
    reader, n = words(source), int(source.shape[0])
    # Strings are counted as 64 bytes, whatever they are.
    width = int(np.prod(source.shape[1:])) * (64 if source.dtype.kind in "OSUT" else source.dtype.itemsize)
    size = max(1, _PIECE // max(width, 1))
    # anndata writes the beginning, so that the encoding is its own; the rest follows.
    options = {"maxshape": (None, *source.shape[1:])} if hasattr(target, "file") and n > size else {}
    write_elem(target, key, np.asarray(reader[: min(n, size)]), dataset_kwargs=options)
    if n > size:
        target[key].resize((n, *source.shape[1:]))
        for start in range(size, n, size):
            target[key][start : start + size] = reader[start : start + size]


def words(array: Any) -> Any:
    """An array of strings as such: h5py gives bytes unless asked."""
    return array.asstr() if array.dtype.kind in "OS" and hasattr(array, "asstr") else array
