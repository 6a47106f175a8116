"""The result of a run from file to file: made, filled shard by shard, joined from parts, put in its place."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError
from .._io import check_writable, write_aside
from .._progress import progress
from ._cell_file import CellFile
from ._copy import copy_element
from ._job import Folder, Job
from ._shared import warn_empty

__all__ = [
    "begin_store",
    "check_output",
    "create_store",
    "finish",
    "merge_shards",
    "new_array",
    "partial_path",
    "shard_path",
    "shard_writer",
]

Write = Callable[[int, NDArray[Any], NDArray[np.float64], int], None]


def partial_path(output: Path, shard: tuple[int, int] | None) -> Path:
    """Folder of a run that is not finished."""
    base = output if shard is None else shard_path(output, shard)
    return base.with_name(base.name + ".partial")


def shard_path(output: Path, shard: tuple[int, int]) -> Path:
    """Folder of a finished part."""
    return output.with_name(f"{output.name}.shard-{shard[0]}-of-{shard[1]}")


def create_store(
    folder: Folder, job: Job, dim: int, source: CellFile | None, var: pd.DataFrame, entry: Mapping[str, Any]
) -> None:
    """Make the result with everything but the embedding; `source` gives ``obs``, None leaves it out."""
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
    folder.save("store.json", lambda f: f.write(b"{}"))


def begin_store(folder: Folder, var: pd.DataFrame, uns: Mapping[str, Any], source: CellFile | None) -> Any:
    """An AnnData without cells' data in the folder; `source` gives ``obs``, None leaves it out. Gives its root."""
    from anndata.io import write_elem

    if folder.store.exists():
        shutil.rmtree(folder.store)
    root = _new_group(folder.store)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    for part in ("layers", "obsp", "varm", "varp", "obsm"):
        write_elem(root, part, {})
    write_elem(root, "var", var)
    write_elem(root, "uns", dict(uns))
    if source is not None:
        source.copy_obs(root)
    else:
        write_elem(root, "obs", pd.DataFrame(index=pd.Index([], dtype=str)))
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
    # Not compressed: the digits of an embedding are noise, which compresses by a tenth at a great cost.
    chunks = tuple(min(c, max(s, 1)) for c, s in zip(chunks, shape, strict=True))
    if hasattr(group, "create_array"):
        array = group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, compressors=None, fill_value=0)
    else:
        array = group.create_dataset(name, shape=shape, chunks=chunks, dtype=dtype, compressor=None, fill_value=0)
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def shard_writer(folder: Folder, job: Job) -> Write:
    """What writes one shard: the data first, then the mark that it is there."""
    root = folder.open_store()
    array = root["obsm"][job.key]
    column = root["obs"][_keys.coverage(_keys.prefix(job.key))]

    def write(shard: int, out: NDArray[Any], coverage: NDArray[np.float64], n_empty: int) -> None:
        first, last = job.rows(shard)
        array[first:last] = out
        column[first:last] = coverage
        folder.mark(shard, n_empty)

    return write


def merge_shards(
    output: str | Path, shards: Sequence[str | Path] | None = None, *, show_progress: bool | None = None
) -> None:
    """Join the parts that :func:`embed_file` wrote with ``shard=(i, n)`` into one file.

    Parameters
    ----------
    output
        The file they were written for, ``.zarr`` or ``.h5ad``.
    shards
        Folders of the parts, in any order; they are kept. Default: all ``<output>.shard-*`` beside `output`, which are
        deleted once the result is whole.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.

    Returns
    -------
    None. Written to `output`: what :func:`embed_file` without ``shard`` writes, bit by bit.

    Raises
    ------
    InputError
        If a part is missing, or the parts do not belong together.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, tempfile, pathlib
    >>> import lexicell as lx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> counts = np.random.default_rng(0).poisson(1.0, (300, 2)).astype("float32") + 1
    >>> anndata.AnnData(counts, var=pd.DataFrame(index=["SOD1", "TARDBP"])).write_h5ad(folder / "cells.h5ad")
    >>> genes = lx.GeneEmbedding.from_vectors(["SOD1", "TARDBP"], np.eye(2))
    >>> for i in range(2):  # on two machines
    ...     lx.emb.embed_file(folder / "cells.h5ad", folder / "text.zarr", genes, shard=(i, 2))
    >>> lx.emb.merge_shards(folder / "text.zarr")
    >>> anndata.read_zarr(folder / "text.zarr").obsm["X_text"].shape
    (300, 2)
    """
    output = check_output(output)
    if shards is None:
        beside = sorted(output.parent.glob(f"{output.name}.shard-*"))
        folders = [Folder(p) for p in beside if p.suffix not in (".partial", ".deleted")]
    else:
        folders = [Folder(Path(s)) for s in shards]
    if not folders:
        raise InputError(f"there are no parts '{output.name}.shard-i-of-n' beside '{output}'; name their folders")
    job, base = _belong_together(folders)
    target = Folder(partial_path(output, None))
    target.remove()
    shutil.copytree(base.path, target.path)
    write, column = shard_writer(target, job), _keys.coverage(_keys.prefix(job.key))
    with progress("Joining shards", job.n_shards, show=show_progress) as advance:
        done = base.done()
        advance(len(done))
        for folder in folders:
            part = folder.open_store("r")
            for shard in sorted(folder.done() - done):
                a, b = job.rows(shard)
                write(shard, part["obsm"][job.key][a:b], part["obs"][column][a:b], folder.n_empty(shard))
                done.add(shard)
                advance()
    warn_empty(target.n_empty(), job.n_cells)
    finish(target, output)
    if shards is None:
        for folder in folders:
            folder.remove()


def check_output(output: str | Path) -> Path:
    """The path, if a result can be written there."""
    output = Path(output)
    if output.suffix not in (".zarr", ".h5ad"):
        raise InputError(f"'{output}' cannot be written; name a file that ends in .h5ad or .zarr")
    check_writable(output)
    return output


def _belong_together(folders: list[Folder]) -> tuple[Job, Folder]:
    """The question that the parts answer, and the part with the tables."""
    for folder in folders:
        if not folder.exists():
            raise InputError(f"'{folder.path}' is not a part written by embed_file(shard=(i, n))")
        if folder.path.suffix == ".partial":
            raise InputError(f"'{folder.path}' is not finished: run the command that began it again")
    jobs = [folder.job() for folder in folders]
    job = jobs[0]
    for folder, other in zip(folders, jobs, strict=True):
        if other.fingerprint != job.fingerprint:
            raise InputError(f"'{folder.path}' and '{folders[0].path}' are parts of different runs")
    there = {shard: folder for folder in folders for shard in folder.done()}
    missing = sorted(set(range(job.n_shards)) - set(there))
    if missing:
        first, last = job.rows(missing[0])[0], job.rows(missing[-1])[1]
        raise InputError(
            f"parts are missing: {len(missing)} of {job.n_shards} shards, between cells {first} and {last}, are in none"
        )
    return job, there[0]


def finish(folder: Folder, output: Path) -> None:
    """Put the result in its place; what was there before gives way at the last moment."""
    if folder.delivered():
        folder.remove()
        return
    # Killed writers leave what they had begun to write aside.
    for begun in folder.store.rglob("*.partial"):
        if begun.is_file():
            begun.unlink()
    if output.suffix == ".h5ad":
        write_aside(output, lambda path: _to_h5ad(folder, path))
    else:
        if output.is_dir():
            shutil.rmtree(output)
        folder.store.replace(output)
    folder.remove()


def _to_h5ad(folder: Folder, path: Path) -> None:
    import h5py

    root = folder.open_store("r")
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for part in ("obs", "var", "obsm", "uns", "layers", "obsp", "varm", "varp"):
            copy_element(root[part], file, part)
