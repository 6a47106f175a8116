"""What lexicell wrote into an AnnData: representations in ``obsm``, results in ``uns["lexicell"][key][name]``.

Results are read and written by these functions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._errors import InputError, MissingKeyError, choices
from ._keys import UNS, X_TEXT

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["check_rep", "find_results", "keep_results", "recorded", "recorded_params", "stack_tables", "text_entry"]


def check_rep(adata: AnnData, key: str) -> NDArray[np.floating]:
    """Return ``obsm[key]`` as a matrix, or say which representations there are, or what is wrong with it."""
    if key not in adata.obsm:
        hint = " Make it with lexicell.emb.cells" if key == X_TEXT else ""
        raise MissingKeyError(f"no representation '{key}' in obsm; there is {choices(sorted(adata.obsm))}.{hint}")
    matrix = np.asarray(adata.obsm[key])
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InputError(f"obsm['{key}'] of shape {matrix.shape} is not a matrix of cells x dimensions")
    broken = ~np.isfinite(matrix).all(axis=1)
    if broken.any():
        names = adata.obs_names[broken]
        raise InputError(
            f"{int(broken.sum())} cells have NaN or infinity in obsm['{key}']: {choices(names, limit=3)}; "
            "remove those cells first"
        )
    return matrix


def recorded(adata: AnnData, key: str) -> dict[str, Any]:
    """Read what lexicell noted under `key`; empty where it noted nothing."""
    found = adata.uns.get(UNS, {}).get(key, {})
    return dict(found) if isinstance(found, Mapping) else {}


def text_entry(adata: AnnData, use_rep: str) -> dict[str, Any]:
    """Find the record of the text embedding behind `use_rep`: its own, its basis', else that of ``X_text``."""
    entry = recorded(adata, use_rep)
    for candidate in (entry, recorded(adata, str(entry.get("based_on", ""))), recorded(adata, X_TEXT)):
        if "gene_embedding" in candidate:
            return candidate
    return {}


def recorded_params(adata: AnnData, use_rep: str) -> dict[str, Any] | None:
    """Parameters that say which expression `use_rep` was made of: its own, or of the text embedding behind it."""
    return recorded(adata, use_rep).get("params") or text_entry(adata, use_rep).get("params")


def find_results(adata: AnnData, key: str, name: str, call: str) -> dict[str, Any]:
    """Everything recorded under `key`, of which `name` must be there.

    Parameters
    ----------
    adata
        Annotated data.
    key
        A representation, or the `key_added` of a tool.
    name
        The result that is asked for.
    call
        What to run where it is missing.

    Raises
    ------
    MissingKeyError
        If it is not there; the message names the keys that have such a result and the call that makes one.
    """
    found = recorded(adata, key)
    if name not in found:
        there = [str(k) for k in adata.uns.get(UNS, {}) if name in recorded(adata, k)]
        elsewhere = f"; there is one under {choices(sorted(there))}" if there else ""
        raise MissingKeyError(f"no result '{name}' in uns['{UNS}']['{key}']{elsewhere}: run {call} first")
    return found


def keep_results(adata: AnnData, key: str, results: Mapping[str, Any], *, replace: bool = False) -> None:
    """Write `results` under `key`, beside what is there or (`replace`) instead of it.

    Copies of an AnnData made by slicing share the dicts in `uns`: these are made anew, never changed.
    """
    before = {} if replace else recorded(adata, key)
    adata.uns[UNS] = {**adata.uns.get(UNS, {}), key: {**before, **results}}


def stack_tables(blocks: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put tables one under the other, with strings for row names and in columns of objects, as an h5ad takes them."""
    import pandas as pd

    table = pd.concat(list(blocks), ignore_index=True)
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = table[column].astype(str).astype(object)
    table.index = table.index.astype(str)
    return table
