"""Cells of a TileDB-SOMA experiment, such as the CELLxGENE Census: rows of the sparse array, tables by columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._errors import InputError, MissingDependencyError, check_key
from .._expression import Sparse
from ._cell_file import CellFile, FileRows

__all__ = ["SomaFile"]

_COUNTS = ("raw", "data")  # names of X: the Census's counts, and what tiledbsoma.io.from_anndata writes
_NAMES = ("obs_id", "var_id", "feature_id", "_index")


class SomaFile(CellFile):
    """A measurement of an experiment: ``RNA``, or the only one."""

    def _open(self, path: Any) -> Any:
        try:
            import tiledbsoma
        except ImportError:
            raise MissingDependencyError("SOMA needs TileDB-SOMA: pip install 'lexicell[soma]'") from None
        return tiledbsoma.Experiment.open(str(path))

    def _load(self) -> None:
        measurements = list(self._root.ms)
        name = measurements[0] if len(measurements) == 1 else check_key("RNA", measurements, "measurement")
        measurement = self._root.ms[name]
        self._n = int(self._root.obs.count)
        self.var = _named(measurement.var.read().concat().to_pandas().drop(columns="soma_joinid"))
        self.layers = {
            key: FileRows(_Rows(measurement.X[key], (self._n, len(self.var))), self.path, np.float32)
            for key in measurement.X
        }
        self.uns, self.raw = {}, None

    @property
    def X(self) -> Any:  # noqa: N802
        """Counts: the layer ``raw``, else ``data``, else the only one; None if that does not tell."""
        found = [key for key in _COUNTS if key in self.layers] or [str(key) for key in self.layers]
        return self.layers[found[0]] if found[0] in _COUNTS or len(found) == 1 else None

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return self._n

    def column(self, name: str) -> Any:
        """A column of numbers of ``obs``."""
        check_key(name, self._columns(), "column in obs")
        values = self._read(name)
        if not pd.api.types.is_numeric_dtype(values.dtype):
            raise InputError(f"obs['{name}'] holds no numbers; library_size= needs totals over all genes")
        return values.to_numpy(dtype=np.float64)

    def labels(self, name: str) -> pd.Series[Any]:
        """A column of ``obs``, in memory."""
        check_key(name, self._columns(), "column in obs")
        return self._read(name).rename(name)

    def copy_obs(self, target: Any) -> None:
        """Write ``obs`` into the zarr or h5py group `target`, a column at a time."""
        from anndata.io import write_elem

        columns = self._columns()
        index = next((name for name in _NAMES if name in columns), None)
        names = self._read(index or "soma_joinid").astype(str)
        write_elem(target, "obs", pd.DataFrame(index=pd.Index(names.to_numpy(dtype=object))))
        kept = [name for name in columns if name != index]
        for name in kept:
            values = self._read(name)
            plain = isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf"
            if not plain and not isinstance(values.dtype, pd.CategoricalDtype):
                values = values.astype(str).astype(object)
            write_elem(target["obs"], name, values.to_numpy() if not hasattr(values, "cat") else values.array)
        target["obs"].attrs["column-order"] = kept

    def _columns(self) -> list[str]:
        return [name for name in self._root.obs.schema.names if name != "soma_joinid"]

    def _read(self, name: str) -> pd.Series[Any]:
        wanted = sorted({name, "soma_joinid"})
        table = self._root.obs.read(column_names=wanted).concat().to_pandas().sort_values("soma_joinid")
        column: pd.Series[Any] = table[name]
        return column

    def _index(self) -> Any:
        columns = self._columns()
        index = next((name for name in _NAMES if name in columns), "soma_joinid")
        return self._read(index).astype(str).to_numpy(dtype=object)


class _Rows:
    """Rows of a sparse array; the cells must be numbered from 0 without gaps."""

    in_memory = False

    def __init__(self, array: Any, shape: tuple[int, int]) -> None:
        self._array, self.shape, self.n_stored = array, shape, int(array.nnz)
        if array.shape[0] < shape[0] or array.shape[1] < shape[1]:
            raise InputError(f"a matrix of shape {array.shape} does not fit {shape[0]} cells x {shape[1]} genes")

    def read(self, start: int, stop: int) -> Sparse:
        coords = (slice(start, stop - 1), slice(0, self.shape[1] - 1))
        table = self._array.read(coords, result_order="row-major").tables().concat()
        rows, columns, data = (table[name].to_numpy() for name in ("soma_dim_0", "soma_dim_1", "soma_data"))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows - start, minlength=stop - start))])
        return Sparse(data, columns, indptr.astype(np.int64))


def _named(var: pd.DataFrame) -> pd.DataFrame:
    name = next((name for name in _NAMES if name in var), None)
    if name is None:
        raise InputError("the genes of the SOMA have no column 'var_id' or 'feature_id' to name them by")
    var = var.set_index(name)
    return var.set_axis(pd.Index(var.index.astype(str), name=None))
