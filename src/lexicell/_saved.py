"""Formats in which objects of `core` are kept: h5ad of plain arrays and tables, JSON and npz.

`core` says what is in a file, this module how it is written and read. h5ad is written straight with h5py, since
anndata costs most of a second to import and its format is specified:
https://anndata.readthedocs.io/en/stable/fileformat-prose.html
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._errors import InputError
from ._files import write_file

if TYPE_CHECKING:
    import pandas as pd

_HARMLESS = 1 << 30  # bytes that may come out of a file of any size

__all__ = ["read_h5ad", "read_json", "read_npz", "unpack_gzip", "write_h5ad", "write_json", "write_npz"]


def write_json(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write numbers, strings, lists and dicts as JSON, arrays as lists."""
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in values.items()}
    write_file(path, lambda aside: aside.write_text(json.dumps(plain, indent=1), encoding="utf-8"))


def read_json(path: str | Path, what: str) -> Any:
    """Read JSON; an `InputError` says that `path` cannot be read as `what`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as {what}: {error}") from error


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as compressed npz, without pickles."""

    def write(aside: Path) -> None:
        # A file that is open, since numpy would add .npz to a name that ends otherwise.
        with aside.open("wb") as file:
            np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]

    write_file(path, write)


def read_npz(path: str | Path | io.BytesIO) -> dict[str, NDArray[Any]]:
    """Read the arrays of an npz file, without pickles; errors are numpy's."""
    with np.load(path, allow_pickle=False) as file:
        if hasattr(file, "zip"):
            size = len(path.getbuffer()) if isinstance(path, io.BytesIO) else Path(path).stat().st_size
            check_unpacked(sum(entry.file_size for entry in file.zip.infolist()), size)
        return {name: file[name] for name in file.files}


def unpack_gzip(raw: bytes) -> bytes:
    """Unpack gzip, of which a small file may hold any amount of zeros; see `check_unpacked`."""
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        content = file.read(_allowed(len(raw)) + 1)
    check_unpacked(len(content), len(raw))
    return content


def check_unpacked(unpacked: int, packed: int) -> None:
    """Refuse what unpacks to more than 1 GB and more than a hundred times its size: no table or matrix does.

    Raises
    ------
    InputError
        Says so.
    """
    if unpacked > _allowed(packed):
        raise InputError(
            f"{packed:,} bytes unpack to more than {_allowed(packed):,}, which no real file does; it is refused"
        )


def _allowed(packed: int) -> int:
    return max(_HARMLESS, 100 * packed)


def write_h5ad(path: str | Path, X: NDArray[Any], obs: pd.DataFrame, var: pd.DataFrame, uns: Mapping[str, Any]) -> None:
    """Write an AnnData of a dense matrix, two tables and a nested dict of strings, numbers, arrays and tables."""
    import h5py

    def write(aside: Path) -> None:
        with h5py.File(aside, "w") as file:
            _tag(file, "anndata", "0.1.0")
            matrix = file.create_dataset("X", data=X, compression="gzip", compression_opts=1, shuffle=True)
            _tag(matrix, "array", "0.2.0")
            _write_frame(file, "obs", obs)
            _write_frame(file, "var", var)
            _write_value(file, "uns", uns)
            for empty in ("layers", "obsm", "obsp", "varm", "varp"):
                _write_value(file, empty, {})

    write_file(path, write)


def read_h5ad(path: str | Path) -> tuple[NDArray[Any], pd.DataFrame, dict[str, Any]]:
    """Read ``X``, ``obs`` and ``uns`` of what `write_h5ad` wrote, also after anndata has rewritten it.

    Errors of h5py, and KeyError, AttributeError and TypeError where the file holds something else, are passed on.
    """
    import h5py

    with h5py.File(path, "r") as file:
        uns = _read_value(file["uns"]) if "uns" in file else {}
        return file["X"][()], _read_frame(file["obs"]), uns


def _tag(node: Any, kind: str, version: str) -> None:
    node.attrs["encoding-type"] = kind
    node.attrs["encoding-version"] = version


def _write_array(group: Any, name: str, values: Any) -> None:
    import h5py

    values = np.asarray(values)
    if values.dtype.kind in "OUS":
        node = group.create_dataset(name, data=[str(v) for v in values], dtype=h5py.string_dtype())
        _tag(node, "string-array", "0.2.0")
    else:
        _tag(group.create_dataset(name, data=values), "array", "0.2.0")


def _write_frame(group: Any, name: str, frame: pd.DataFrame) -> None:
    import h5py

    node = group.create_group(name)
    _tag(node, "dataframe", "0.2.0")
    node.attrs["_index"] = "_index"
    node.attrs.create("column-order", [str(c) for c in frame.columns], dtype=h5py.string_dtype())
    _write_array(node, "_index", np.asarray(frame.index, dtype=object))
    for column in frame.columns:
        values = frame[column]
        plain = values.dtype.kind in "iufb" if isinstance(values.dtype, np.dtype) else False
        _write_array(node, str(column), values.to_numpy() if plain else values.fillna("").astype(str).to_numpy(object))


def _write_value(group: Any, name: str, value: Any) -> None:
    import h5py
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        _write_frame(group, name, value)
    elif isinstance(value, Mapping):
        node = group.create_group(name)
        _tag(node, "dict", "0.1.0")
        for key, item in value.items():
            _write_value(node, str(key), item)
    elif isinstance(value, str):
        _tag(group.create_dataset(name, data=value, dtype=h5py.string_dtype()), "string", "0.2.0")
    elif isinstance(value, (bool, int, float, np.generic)):
        _tag(group.create_dataset(name, data=value), "numeric-scalar", "0.2.0")
    else:
        _write_array(group, name, value)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read_value(node: Any) -> Any:
    import h5py

    kind = _text(node.attrs.get("encoding-type", ""))
    if kind == "categorical":
        codes, names = node["codes"][()], _read_value(node["categories"])
        return np.asarray([names[c] if c >= 0 else "" for c in codes])
    if kind.startswith("nullable-"):
        values, mask = _read_value(node["values"]), node["mask"][()]
        return np.asarray(["" if m else v for v, m in zip(values, mask, strict=True)], dtype=values.dtype)
    if kind == "dataframe":
        return _read_frame(node)
    if isinstance(node, h5py.Group):
        return {key: _read_value(node[key]) for key in node}
    if h5py.check_string_dtype(node.dtype) is not None:
        raw = node[()]
        return _text(raw) if node.shape == () else np.asarray([_text(v) for v in raw], dtype=object)
    raw = node[()]
    return raw.item() if node.shape == () else raw


def _read_frame(node: Any) -> pd.DataFrame:
    import pandas as pd

    names = _read_value(node[_text(node.attrs["_index"])])
    columns = [_text(c) for c in node.attrs["column-order"]]
    return pd.DataFrame({c: _read_value(node[c]) for c in columns}, index=pd.Index(names, dtype=object))
