"""Open a file of cells of any format that is read."""

from __future__ import annotations

from pathlib import Path

from .._errors import LexicellError
from .._io import check_readable, unreadable
from ._cell_file import CellFile, TenXFile
from ._soma import SomaFile

__all__ = ["is_soma", "open_cells"]


def open_cells(path: str | Path) -> CellFile:
    """Open a file of cells for reading.

    Parameters
    ----------
    path
        ``.h5ad``, ``.zarr``, 10x ``.h5`` (Cell Ranger 3 or later), or a TileDB-SOMA experiment: its folder or address.

    Raises
    ------
    InputError
        If it does not exist or cannot be read.
    """
    kind: type[CellFile] = CellFile
    if is_soma(path):
        kind = SomaFile
    else:
        path = check_readable(path)
        if path.suffix == ".h5":
            kind = TenXFile
    try:
        return kind(path)
    except LexicellError:
        raise
    # Whatever a broken file makes its reader raise, the user needs to hear which file it was.
    except Exception as error:
        raise unreadable(Path(path), error) from error


def is_soma(path: str | Path) -> bool:
    """Whether `path` is an address (``s3://...``) or the folder of a TileDB group."""
    return "://" in str(path) or (Path(path) / "__group").is_dir()
