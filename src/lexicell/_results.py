"""What lexicell wrote into an AnnData: representations in ``obsm``, results in ``uns["lexicell"][key][name]``.

Results are read and written by these functions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._errors import InputError, MissingKeyError, choices
from ._keys import UNS, X_TEXT

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = [
    "check_rep",
    "find_results",
    "get",
    "keep_results",
    "recorded",
    "recorded_params",
    "stack_tables",
    "text_entry",
]


def check_rep(adata: AnnData, key: str) -> NDArray[np.floating]:
    """Return ``obsm[key]`` as a matrix, or say which representations there are, or what is wrong with it."""
    if key not in adata.obsm:
        there = f"obsm holds {choices(sorted(adata.obsm))}" if len(adata.obsm) else "obsm is empty"
        hint = " Run lexicell.emb.cells first" if key == X_TEXT else ""
        raise MissingKeyError(f"no representation '{key}': {there}.{hint}")
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


def get(adata: AnnData, result: str | None = None, *, table: str = "table", use_rep: str | None = None) -> pd.DataFrame:
    """Return a table of results as a DataFrame, or list all tables there are.

    Parameters
    ----------
    adata
        After any tool of ``lexicell.tl``.
    result
        The tool, such as ``"vulnerability"`` or ``"cluster"``, or the `key_added` it was given. None: list all tables.
    table
        Which of its tables, such as ``"genes"``.
    use_rep
        The representation that the tool was run on; needed only where it was run on several.

    Returns
    -------
    pandas.DataFrame
        A copy. For `result` None, one row per table: ``result``, ``table``, ``use_rep`` (empty for tools that need
        none), ``rows``.

    Raises
    ------
    MissingKeyError
        If there is no such table; the message lists those there are.
    InputError
        If the tool was run on several representations and `use_rep` does not choose one.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", library_size="n_counts")
    >>> lx.tl.concepts(adata, groupby="cell_type")
    >>> lx.get(adata)["result"].unique().tolist()
    ['concepts']
    >>> lx.get(adata, "concepts")["group"].nunique()
    10
    """
    import pandas as pd

    found = list(_tables(adata))
    if result is None:
        rows = [(name, kind, rep, len(kept)) for name, kind, rep, kept in found]
        return pd.DataFrame(rows, columns=["result", "table", "use_rep", "rows"])
    if not any(name == result for name, *_ in found):
        names = sorted({name for name, *_ in found})
        raise MissingKeyError(f"no result '{result}'; there is {choices(names)}: run the tool first")
    kinds = [kind for name, kind, *_ in found if name == result]
    if table not in kinds:
        raise MissingKeyError(f"the result '{result}' has no table '{table}'; it has {choices(sorted(set(kinds)))}")
    fitting = {rep: kept for name, kind, rep, kept in found if (name, kind) == (result, table)}
    if use_rep is not None and use_rep not in fitting:
        raise MissingKeyError(f"no result '{result}' for '{use_rep}'; there is one for {choices(fitting)}")
    if use_rep is None and len(fitting) > 1:
        raise InputError(f"'{result}' was run on {choices(fitting)}; name one with use_rep=")
    return fitting[use_rep or next(iter(fitting))].copy()


def _tables(adata: AnnData) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Every table of results: the tool, the table, the representation, the table itself."""
    for key in adata.uns.get(UNS, {}):
        for name, value in recorded(adata, key).items():
            if hasattr(value, "columns"):
                yield str(key), str(name), "", value
            elif isinstance(value, Mapping):
                for kind, inner in value.items():
                    if hasattr(inner, "columns"):
                        yield str(name), str(kind), str(key), inner
