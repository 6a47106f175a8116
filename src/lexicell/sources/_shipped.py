"""Lists of texts that ship with their vectors: ``data/NAME.tsv``, ``NAME_vectors.npy`` and ``NAME_vectors.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import check_choice

__all__ = ["read_list", "read_manifest", "select"]


@cache
def read_list(name: str) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """The table, all columns strings, and one vector a row. Both are kept: copy before changing them."""
    folder = files("lexicell.data")
    with (folder / f"{name}.tsv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    with (folder / f"{name}_vectors.npy").open("rb") as binary:
        vectors = np.load(binary, allow_pickle=False).astype(np.float32)
    return table, vectors


@cache
def read_manifest(name: str) -> dict[str, Any]:
    """How the vectors were made."""
    return dict(json.loads((files("lexicell.data") / f"{name}_vectors.json").read_text(encoding="utf-8")))


def select(
    name: str, column: str, wanted: str | Sequence[str] | None, what: str
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Rows of a list whose `column` holds one of `wanted`, None for all; copies. `what` is the column in an error."""
    table, vectors = read_list(name)
    if wanted is None:
        return table.copy(), vectors.copy()
    kinds = [wanted] if isinstance(wanted, str) else list(wanted)
    for kind in kinds:
        check_choice(kind, list(dict.fromkeys(table[column])), what)
    keep = table[column].isin(kinds).to_numpy()
    return table[keep].reset_index(drop=True), vectors[keep]
