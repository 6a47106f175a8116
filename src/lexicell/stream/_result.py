"""The result of a run from file to file: made, filled shard by shard, checked, and moved to the output's path."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError
from .._files import discard, write_file
from ._cell_file import CellFile
from ._chunks import chunk_path, missing_chunks, sync
from ._copy import copy_element
from ._job import Folder, Job, checksum

__all__ = [
    "ShardArrays",
    "begin_store",
    "create_store",
    "embedding_arrays",
    "end_store",
    "finish",
    "new_array",
    "partial_path",
]


def partial_path(output: Path) -> Path:
    """Folder of a run that is not finished."""
    return output.with_name(output.name + ".partial")


def create_store(
    folder: Folder, job: Job, dim: int, source: CellFile, var: pd.DataFrame, entry: Mapping[str, Any]
) -> None:
    """Make the result with everything but the embedding; `source` gives ``obs``."""
    if (folder.path / "store.json").exists():
        return
    root = begin_store(folder, var, {_keys.UNS: {job.key: dict(entry)}}, source)
    new_array(root["obsm"], job.key, (job.n_cells, dim), (job.shard_rows, dim), job.dtype)
    column = _keys.coverage(_keys.prefix(job.key))
    if column in root["obs"]:
        del root["obs"][column]
    new_array(root["obs"], column, (job.n_cells,), (job.shard_rows,), "float64")
    order = [c for c in root["obs"].attrs["column-order"] if c != column]
    root["obs"].attrs["column-order"] = [*order, column]
    end_store(folder)


def end_store(folder: Folder) -> None:
    """Record that the result has all its tables."""
    sync(path for path in folder.store.rglob("*") if path.is_file())
    folder.save("store.json", lambda f: f.write(b"{}"))


def begin_store(folder: Folder, var: pd.DataFrame, uns: Mapping[str, Any], source: CellFile) -> Any:
    """Begin an AnnData without cells' data in the folder; `source` gives ``obs``. Gives its root."""
    from anndata.io import write_elem

    discard(folder.store)
    root = _new_group(folder.store)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    for part in ("layers", "obsp", "varm", "varp", "obsm"):
        write_elem(root, part, {})
    write_elem(root, "var", var)
    write_elem(root, "uns", dict(uns))
    source.copy_obs(root)
    return root


def _new_group(path: Path) -> Any:
    """A zarr group of the format that anndata writes."""
    import anndata
    import zarr

    if not hasattr(zarr.Group, "create_array"):  # zarr-python 2
        return zarr.open_group(str(path), mode="w")
    with warnings.catch_warnings():
        # anndata 0.13 deprecates its setting, and goes by it all the same.
        warnings.simplefilter("ignore")
        version = getattr(anndata.settings, "zarr_write_format", 3)
    return zarr.open_group(str(path), mode="w", zarr_format=version)


def new_array(group: Any, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> None:
    """An array in a zarr group, as anndata marks it, to be filled chunk by chunk."""
    chunks = tuple(min(c, max(s, 1)) for c, s in zip(chunks, shape, strict=True))
    # Filled with NaN, so that chunks of zeros are written too, and a chunk that is lost one day is not read as zeros.
    options = {"shape": shape, "chunks": chunks, "dtype": dtype, "fill_value": np.nan}
    # Not compressed: the digits of an embedding are noise, which compresses by a tenth at a great cost.
    if hasattr(group, "create_array"):
        array = group.create_array(name, compressors=None, **options)
    else:
        array = group.create_dataset(name, compressor=None, **options)
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


class ShardArrays:
    """Arrays of the result with one row per cell, written shard by shard; a shard is a chunk of each.

    Parameters
    ----------
    folder, job
        The run.
    arrays
        Arrays of zarr.
    """

    def __init__(self, folder: Folder, job: Job, arrays: Sequence[Any]) -> None:
        self._folder, self._job, self._arrays = folder, job, arrays

    def write(self, shard: int, parts: Sequence[NDArray[Any]], n_empty: int) -> None:
        """Write the rows of a shard into each array, then, once they are on the disk, the mark that they are there."""
        first, last = self._job.rows(shard)
        for array, part in zip(self._arrays, parts, strict=True):
            array[first:last] = part
        sync(chunk_path(self._folder.store, array, self._first_chunk(array, shard)) for array in self._arrays)
        self._folder.mark(shard, n_empty, checksum(parts))

    def recheck(self) -> None:
        """Compare what earlier processes wrote with their marks; what differs is computed again."""
        changed = []
        for shard in sorted(self._folder.done()):
            first, last = self._job.rows(shard)
            found = checksum(array[first:last] for array in self._arrays)
            if found != self._folder.marked(shard):
                self._folder.unmark(shard)
                changed.append(shard)
        if changed:
            warnings.warn(
                f"{len(changed)} of {self._job.n_shards} shards in '{self._folder.path}' are damaged or lost; they are "
                "computed again",
                UserWarning,
                stacklevel=4,
            )

    def check_whole(self) -> None:
        """Refuse to deliver a result that has lost chunks.

        Raises
        ------
        InputError
            Names the first chunk.
        """
        for array in self._arrays:
            missing = missing_chunks(self._folder.store, array)
            if missing:
                raise InputError(
                    f"'{chunk_path(self._folder.store, array, missing[0])}' was written and is gone ({len(missing)} "
                    "chunks are missing): check the disk, then give the same command again; it computes them again"
                )

    def _first_chunk(self, array: Any, shard: int) -> tuple[int, ...]:
        return (shard, *[0] * (array.ndim - 1))


def embedding_arrays(folder: Folder, job: Job) -> ShardArrays:
    """Give the arrays of an embedding: the cells' vectors and their coverage."""
    root = folder.open_store()
    column = root["obs"][_keys.coverage(_keys.prefix(job.key))]
    return ShardArrays(folder, job, [root["obsm"][job.key], column])


def finish(folder: Folder, output: Path) -> None:
    """Move the result to the output's path and delete the folder of the run."""
    # Killed writers leave what they had begun to write aside.
    for begun in folder.store.rglob("*.partial"):
        if begun.is_file():
            begun.unlink()
    if output.suffix == ".h5ad":
        write_file(output, lambda aside: _to_h5ad(folder, aside))
    else:
        folder.replace(output)
    sync([output])
    folder.remove()


def _to_h5ad(folder: Folder, path: Path) -> None:
    """Copy the zarr store of the folder into an h5ad file."""
    import h5py

    root = folder.open_store("r")
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for part in ("obs", "var", "obsm", "uns", "layers", "obsp", "varm", "varp"):
            copy_element(root[part], file, part)
