"""A file of cells opened for reading by rows: .h5ad, .zarr or 10x .h5, with nothing in memory that grows with cells."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import pandas as pd

from .._errors import InputError, check_key
from .._expression import CsrRows, Dense, Rows, SomeColumns, Sparse, open_rows
from .._io import check_links
from .._keys import UNS
from ._chunks import check_dense, check_filled, check_sparse
from ._copy import copy_element, copy_rows, words

__all__ = ["CellFile", "FileRows", "TenXFile"]

_CHUNK_CACHE = 64 << 20  # a row block rarely ends where a chunk of the file does: keep the last one decompressed


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

        check_links(Path(path))
        return h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE)

    def _load(self) -> None:
        from anndata.io import read_elem

        for part in ("obs", "var"):
            if part not in self._root:
                raise InputError(f"'{self.path}' holds no cells: there is no table '{part}'")
        self.var: pd.DataFrame = read_elem(self._root["var"])
        layers = self._root.get("layers", {})
        self.layers: dict[str | None, Any] = {name: _matrix(layers[name], self.path) for name in layers}
        self.uns = dict.fromkeys(self._root["uns"]) if "uns" in self._root else {}
        self.raw = None
        if "raw" in self._root and "X" in self._root["raw"]:
            var = read_elem(self._root["raw"]["var"])
            self.raw = SimpleNamespace(X=_matrix(self._root["raw"]["X"], self.path), var=var, var_names=var.index)
        self._check_lengths()

    @property
    def address(self) -> str:
        """Where it is, for other processes: its full path, or the address of a SOMA."""
        return str(self.path) if "://" in str(self.path) else str(Path(self.path).resolve())

    def _check_lengths(self) -> None:
        """Refuse a file whose parts disagree in length, which would be copied into an output that cannot be read."""
        n_genes = len(self.var)
        matrices = {f"layers/{name}": n_genes for name in self.layers}
        if "X" in self._root:
            matrices["X"] = n_genes
        if self.raw is not None:
            matrices["raw/X"] = len(self.raw.var_names)
        for name, width in matrices.items():
            element = self._root[name]
            shape = element.attrs.get("shape", ()) if hasattr(element, "keys") else element.shape
            if len(shape) == 2 and tuple(shape) != (self.n_obs, width):
                raise self._damaged(f"{name} is {shape[0]} x {shape[1]}, for {self.n_obs} cells and {width} genes")
        obs = self._root["obs"]
        for name in obs if hasattr(obs, "keys") else ():
            arrays = [obs[name]]
            if hasattr(obs[name], "keys"):
                arrays = [obs[name][part] for part in ("codes", "values", "mask") if part in obs[name]]
            if any(array.shape[:1] != (self.n_obs,) for array in arrays):
                raise self._damaged(f"obs/{name} does not have a value for each of {self.n_obs} cells")

    def _check_codes(self) -> None:
        """Refuse categorical columns of obs whose codes are none of their categories."""
        obs = self._root["obs"]
        for name in obs if hasattr(obs, "keys") else ():
            if hasattr(obs[name], "keys") and "codes" in obs[name]:
                codes = np.asarray(obs[name]["codes"][:])
                if len(codes) and (codes.min() < -1 or codes.max() >= obs[name]["categories"].shape[0]):
                    raise self._damaged(f"obs/{name} has codes that are none of its categories")

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"'{self.path}' is damaged: {reason}; make the file again from its source")

    @property
    def X(self) -> Any:  # noqa: N802
        """Main matrix, on disk; None if there is none."""
        return _matrix(self._root["X"], self.path) if "X" in self._root else None

    def matrix(self, slot: str) -> Any:
        """Matrix of a slot: ``"X"``, ``"raw"`` or a layer."""
        if slot == "raw":
            return None if self.raw is None else self.raw.X
        return self.X if slot == "X" else self.layers[slot]

    def check_chunks(self, slot: str) -> None:
        """Raise an error if a zarr store has lost chunks of a matrix, which read as zeros, or has damaged labels.

        Raises
        ------
        InputError
            Names the array and the chunk.
        """
        if Path(self.path).suffix in (".h5ad", ".zarr"):
            self._check_codes()
        if Path(self.path).suffix != ".zarr":
            return
        matrix = self._root[{"X": "X", "raw": "raw/X"}.get(slot, f"layers/{slot}")]
        check_filled(self._index(), Path(self.path))
        if hasattr(matrix, "keys"):
            check_sparse(matrix, Path(self.path))
        else:
            check_dense(matrix, Path(self.path))

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


class TenXFile(CellFile):
    """Counts as Cell Ranger writes them: one column per cell, so that its arrays are those of CSR by cell."""

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
        # Ten or twenty symbols name two genes in every genome of 10x.
        var = pd.DataFrame(table, index=make_index_unique(symbols))
        n_genes, n_cells = (int(n) for n in group["shape"][:])
        n_named = int(group["barcodes"].shape[0])
        if n_genes != len(symbols) or n_cells != n_named:
            raise self._damaged(f"its matrix is {n_genes} x {n_cells}, for {len(symbols)} genes and {n_named} cells")
        rows: Any = CsrRows(group["data"], group["indices"], group["indptr"], (n_cells, n_genes), in_memory=False)
        if "feature_type" in features:
            kinds = features["feature_type"].asstr()[:]
            genes = kinds == "Gene Expression"
            if not genes.all():
                rows, var = SomeColumns(rows, genes), var[genes]
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


class _Names:
    """Names of the cells, read one at a time."""

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
    """A matrix on disk: rows, or the backed matrix of anndata where it is stored by genes."""
    if hasattr(element, "keys"):
        from anndata.io import sparse_dataset

        element = sparse_dataset(element)
        if element.format == "csc":
            return element
    return FileRows(open_rows(element), path, element.dtype)
