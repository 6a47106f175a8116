"""The h5ad file of a `GeneEmbedding`, written straight with h5py.

core may not import anndata (it costs most of a second), and the on-disk format is specified:
https://anndata.readthedocs.io/en/stable/fileformat-prose.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from .._errors import InputError
from .embedding import GeneEmbedding

_TEXT = "text"


def _tag(node: Any, kind: str, version: str) -> None:
    node.attrs["encoding-type"] = kind
    node.attrs["encoding-version"] = version


def _write_array(group: Any, name: str, values: Any) -> None:
    values = np.asarray(values)
    if values.dtype.kind in "OUS":
        node = group.create_dataset(name, data=[str(v) for v in values], dtype=h5py.string_dtype())
        _tag(node, "string-array", "0.2.0")
    else:
        _tag(group.create_dataset(name, data=values), "array", "0.2.0")


def _write_frame(group: Any, name: str, frame: pd.DataFrame) -> None:
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


def write_embedding(genes: GeneEmbedding, path: Path) -> None:
    """Write `genes` to `path` as h5ad, aside and renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    table = genes.table.copy()
    table[_TEXT] = genes.texts
    try:
        with h5py.File(aside, "w") as file:
            _tag(file, "anndata", "0.1.0")
            matrix = file.create_dataset("X", data=genes.vectors, compression="gzip", compression_opts=1, shuffle=True)
            _tag(matrix, "array", "0.2.0")
            _write_frame(file, "obs", table)
            _write_frame(file, "var", pd.DataFrame(index=[f"dim_{i}" for i in range(genes.dim)]))
            _write_value(file, "uns", {"provenance": genes.provenance, "coverage": genes.coverage})
            for empty in ("layers", "obsm", "obsp", "varm", "varp"):
                _write_value(file, empty, {})
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read_value(node: Any) -> Any:
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
    names = _read_value(node[_text(node.attrs["_index"])])
    columns = [_text(c) for c in node.attrs["column-order"]]
    return pd.DataFrame({c: _read_value(node[c]) for c in columns}, index=pd.Index(names, dtype=object))


def read_embedding(path: Path) -> GeneEmbedding:
    """Read a `GeneEmbedding` from an h5ad file of genes x dims."""
    if not path.is_file():
        raise InputError(f"no file '{path}'")
    try:
        with h5py.File(path, "r") as file:
            vectors = file["X"][()]
            frame = _read_frame(file["obs"])
            uns = _read_value(file["uns"]) if "uns" in file else {}
    except (OSError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"'{path}' is not a gene embedding written by GeneEmbedding.save ({error})") from error
    texts = [str(t) for t in frame.pop(_TEXT)] if _TEXT in frame else None
    return GeneEmbedding.from_vectors(
        frame.index,
        vectors,
        texts=texts,
        table=frame,
        provenance=uns.get("provenance", {}),
        coverage=uns.get("coverage"),
    )
