"""A file of cells opened for reading by rows: .h5ad, .zarr or 10x .h5, with nothing in memory that grows with cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, LexicellError, check_key
from .._io import check_readable, unreadable
from .._keys import UNS
from .._matrix import CsrRows, Dense, Rows, Sparse, open_rows
from ._copy import copy_element, copy_rows, words

__all__ = ["CellFile", "FileRows", "is_soma", "open_cells"]

_CHUNK_CACHE = 64 << 20  # a row block rarely ends where a chunk of the file does: keep the last one decompressed


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
    if is_soma(path):
        from ._soma import SomaFile

        kind: type[CellFile] = SomaFile
    else:
        path = check_readable(path)
        kind = _TenX if path.suffix == ".h5" else CellFile
    try:
        return kind(path)
    except LexicellError:
        raise
    except Exception as error:
        raise unreadable(Path(path), error) from error


def is_soma(place: str | Path) -> bool:
    """Whether `place` is an address (``s3://...``) or the folder of a TileDB group."""
    return "://" in str(place) or (Path(place) / "__group").is_dir()


class CellFile:
    """What `find_slot` asks of an AnnData, and tables that are copied row by row.

    Attributes
    ----------
    var
        Table of genes, in memory.
    layers, X, raw, uns
        As in an AnnData; matrices stay on disk.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._root = self._open(path)
        self._load()

    def _open(self, path: str | Path) -> Any:
        if Path(path).suffix == ".zarr":
            import zarr

            return zarr.open_group(str(path), mode="r")
        import h5py

        return h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE)

    def _load(self) -> None:
        from anndata.io import read_elem

        for part in ("obs", "var"):
            if part not in self._root:
                raise InputError(f"'{self.path}' holds no cells: there is no table '{part}'")
        self.var: pd.DataFrame = read_elem(self._root["var"])
        self.layers: Mapping[str | None, Any] = _Matrices(self._root.get("layers", {}), self.path)
        self.uns = dict.fromkeys(self._root["uns"]) if "uns" in self._root else {}
        self.raw = None
        if "raw" in self._root and "X" in self._root["raw"]:
            names = read_elem(self._root["raw"]["var"]).index
            self.raw = SimpleNamespace(X=_matrix(self._root["raw"]["X"], self.path), var_names=names)

    @property
    def X(self) -> Any:  # noqa: N802
        """Main matrix, on disk; None if there is none."""
        return _matrix(self._root["X"], self.path) if "X" in self._root else None

    def matrix(self, slot: str) -> Any:
        """Matrix of a slot: ``"X"``, ``"raw"`` or a layer."""
        if slot == "raw":
            return None if self.raw is None else self.raw.X
        return self.X if slot == "X" else self.layers[slot]

    @property
    def var_names(self) -> pd.Index[Any]:
        """Names of the genes."""
        return self.var.index

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return int(self._index().shape[0])

    @property
    def obs_names(self) -> Any:
        """Names of the cells: ``obs_names[i]`` reads one."""
        return _Names(self._index())

    def column(self, name: str) -> Any:
        """A column of numbers of ``obs``, on disk where it is stored as a plain array.

        Raises
        ------
        MissingKeyError
            If there is no such column.
        InputError
            If it holds no numbers.
        """
        from anndata.io import read_elem

        obs = self._root["obs"]
        check_key(name, [str(c) for c in obs.attrs.get("column-order", [])], "column in obs")
        if getattr(obs[name], "dtype", np.dtype(object)).kind in "iuf":
            return obs[name]
        try:
            return np.asarray(read_elem(obs[name]), dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"obs['{name}'] holds no numbers; library_size= needs totals over all genes") from None

    def labels(self, name: str) -> pd.Series[Any]:
        """A column of ``obs``, in memory.

        Raises
        ------
        MissingKeyError
            If there is no such column.
        """
        from anndata.io import read_elem

        obs = self._root["obs"]
        check_key(name, [str(c) for c in obs.attrs.get("column-order", [])], "column in obs")
        return pd.Series(read_elem(obs[name]), name=name)

    def recorded(self, key: str) -> dict[str, Any]:
        """What lexicell noted about ``obsm[key]``; empty where it noted nothing."""
        from anndata.io import read_elem

        place = f"uns/{UNS}/{key}/params"
        return {"params": read_elem(self._root[place])} if self.uns and place in self._root else {}

    def copy_obs(self, target: Any) -> None:
        """Write ``obs`` into the zarr or h5py group `target`, some rows at a time."""
        if not hasattr(self._root["obs"], "keys"):
            raise InputError(f"'{self.path}' was written by an old version of anndata; read and write it once")
        copy_element(self._root["obs"], target, "obs")

    def close(self) -> None:
        """Close the file."""
        if hasattr(self._root, "close"):
            self._root.close()

    def __enter__(self) -> CellFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _index(self) -> Any:
        obs = self._root["obs"]
        index = obs[obs.attrs.get("_index", "_index")]
        # Since pandas 3 the index may be an array that knows missing values: a group of values and a mask.
        return index["values"] if hasattr(index, "keys") else index


class _TenX(CellFile):
    """Counts as Cell Ranger writes them: one column a cell, so that its arrays are those of CSR by cell."""

    def _load(self) -> None:
        if "matrix" not in self._root or "features" not in self._root["matrix"]:
            raise InputError(
                f"'{self.path}' is not a 10x file of Cell Ranger 3 or later: it has no group 'matrix/features'"
            )
        group = self._root["matrix"]
        features = group["features"]
        symbols = pd.Index(features["name"].asstr()[:])
        from anndata.utils import make_index_unique

        columns = {"gene_ids": "id", "feature_types": "feature_type", "genome": "genome"}  # as scanpy names them
        table = {name: features[key].asstr()[:] for name, key in columns.items() if key in features}
        # Ten or twenty symbols stand for two genes in every genome of 10x.
        var = pd.DataFrame(table, index=make_index_unique(symbols))
        n_genes, n_cells = (int(n) for n in group["shape"][:])
        rows: Any = CsrRows(group["data"], group["indices"], group["indptr"], (n_cells, n_genes), in_memory=False)
        if "feature_type" in features:
            kinds = features["feature_type"].asstr()[:]
            genes = kinds == "Gene Expression"
            if not genes.all():
                rows, var = _SomeColumns(rows, genes), var[genes]
        self.var, self._rows = var, FileRows(rows, self.path, group["data"].dtype)
        self.layers, self.uns, self.raw = {}, {}, None

    @property
    def X(self) -> Any:  # noqa: N802
        """Counts of genes; antibodies and guides are left out."""
        return self._rows

    def copy_obs(self, target: Any) -> None:
        """Write the barcodes as an ``obs`` without columns."""
        from anndata.io import write_elem

        write_elem(target, "obs", pd.DataFrame(index=pd.Index(["cell"])))
        key = target["obs"].attrs["_index"]
        del target["obs"][key]
        copy_rows(self._index(), target["obs"], key)

    def column(self, name: str) -> Any:
        """There are no columns."""
        return check_key(name, [], "column in obs")

    labels = column

    def _index(self) -> Any:
        return self._root["matrix"]["barcodes"]


class _SomeColumns:
    """Rows without some of their columns."""

    in_memory = False

    def __init__(self, rows: CsrRows, keep: NDArray[np.bool_]) -> None:
        self._rows, self._keep = rows, keep
        self._new = np.cumsum(keep) - 1
        self.shape = (rows.shape[0], int(keep.sum()))
        self.n_stored = rows.n_stored

    def read(self, start: int, stop: int) -> Sparse:
        block = self._rows.read(start, stop)
        kept = self._keep[block.indices]
        indptr = np.concatenate([[0], np.cumsum(kept)])[block.indptr]
        return Sparse(block.data[kept], self._new[block.indices[kept]], indptr.astype(np.int64))


class _Matrices(Mapping[str | None, Any]):
    """Layers, opened when asked for."""

    def __init__(self, group: Any, path: str | Path) -> None:
        self._group, self._path = group, path

    def __getitem__(self, key: str | None) -> Any:
        return _matrix(self._group[key], self._path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(list(self._group))


class _Names:
    def __init__(self, index: Any) -> None:
        self._index = index

    def __getitem__(self, row: int) -> str:
        return str(words(self._index)[row : row + 1][0])


class FileRows:
    """Rows of a file: whatever a broken chunk makes its reader raise, the user needs to hear which file it was."""

    in_memory = False

    def __init__(self, rows: Rows, path: str | Path, dtype: Any) -> None:
        self._rows, self._path = rows, path
        self.shape, self.dtype = rows.shape, np.dtype(dtype)
        self.n_stored: int | None = getattr(rows, "n_stored", None)

    def read(self, start: int, stop: int) -> Sparse | Dense:
        """Rows `start` to `stop`."""
        try:
            return self._rows.read(start, stop)
        except Exception as error:
            raise InputError(f"'{self._path}' cannot be read at cells {start} to {stop}: {error}") from error


def _matrix(element: Any, path: str | Path) -> Any:
    if hasattr(element, "keys"):
        from anndata.io import sparse_dataset

        element = sparse_dataset(element)
        if element.format == "csc":
            return element
    return FileRows(open_rows(element), path, element.dtype)
