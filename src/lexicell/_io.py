"""Reading and writing files of cells: one clear line where a file cannot be used, never half a file left behind."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["check_readable", "check_writable", "read_cells", "unreadable", "write_aside", "write_cells"]

_READS = ".h5ad, .zarr and 10x .h5"


def read_cells(path: str | Path) -> AnnData:
    """Read an .h5ad file, a .zarr folder or a 10x .h5 file into memory.

    Raises
    ------
    InputError
        If the path does not exist or is none of these.
    """
    path = check_readable(path)
    import anndata

    try:
        if path.suffix == ".zarr":
            return anndata.read_zarr(path)
        if path.suffix == ".h5ad":
            return anndata.read_h5ad(path)
        import scanpy

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Variable names are not unique", UserWarning)
            adata = scanpy.read_10x_h5(path)
        # Ten or twenty symbols stand for two genes in every genome of 10x.
        adata.var_names_make_unique()
        return adata
    # Whatever a broken file makes the readers raise, the user needs to hear which file it was.
    except Exception as error:
        raise unreadable(path, error) from error


def check_readable(path: str | Path) -> Path:
    """Raise an `InputError` if there is no file, or its name is of another kind."""
    path = Path(path)
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*.h5ad"))[:5] if path.parent.is_dir() else []
        hint = f"; the folder has {', '.join(near)}" if near else ""
        raise InputError(f"no file '{path}'{hint}")
    if path.suffix not in (".h5ad", ".zarr", ".h5"):
        raise InputError(f"'{path}' is not a file that can be read; give one of {_READS}")
    return path


def unreadable(path: Path, error: Exception) -> InputError:
    """What to tell of a file that broke its reader."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"'{path}' cannot be read as {path.suffix}: {reason}")


def check_writable(path: str | Path) -> None:
    """Raise an `InputError` if `path` could not be written, before any costly work."""
    path = Path(path)
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"'{path}' cannot be written: '{folder}' is a file")
    if not os.access(folder, os.W_OK):
        raise InputError(f"'{path}' cannot be written: no permission in '{folder}'")


def write_aside(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path` and rename the result, so that `path` is whole or absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(aside)
        if path.is_dir():
            # A folder (zarr) cannot be renamed onto a folder that holds something.
            shutil.rmtree(path)
        aside.replace(path)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)


def write_cells(adata: AnnData, path: str | Path) -> None:
    """Write `adata` to .h5ad or .zarr, as the name says."""
    path = Path(path)
    if path.suffix == ".h5ad":
        write_aside(path, lambda p: adata.write_h5ad(p, compression="gzip"))
    elif path.suffix == ".zarr":
        write_aside(path, lambda p: adata.write_zarr(p))
    else:
        raise InputError(f"'{path}' cannot be written; name a file that ends in .h5ad or .zarr")
