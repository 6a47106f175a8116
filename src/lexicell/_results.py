"""Where results stand in an AnnData, ``uns["lexicell"][key][name]``: read and written here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._errors import MissingKeyError, choices
from ._keys import UNS

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["find_results", "keep_results", "recorded"]


def recorded(adata: AnnData, key: str) -> dict[str, Any]:
    """Read what lexicell noted under `key`; empty where it noted nothing."""
    found = adata.uns.get(UNS, {}).get(key, {})
    return dict(found) if isinstance(found, Mapping) else {}


def find_results(adata: AnnData, key: str, name: str, call: str) -> dict[str, Any]:
    """All that stands under `key`, of which `name` must be there.

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
    """Write `results` under `key`, beside what stands there or in its place; other objects' dicts stay as they are.

    Copies of an AnnData made by slicing share the dicts in `uns`: these are made anew, never changed.
    """
    before = {} if replace else recorded(adata, key)
    adata.uns[UNS] = {**adata.uns.get(UNS, {}), key: {**before, **results}}
