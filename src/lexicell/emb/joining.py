"""What embedding cells in memory and from disk have in common: joining genes, and what is written about a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import __version__
from .._errors import InputError, choices
from .._expression import Expression, Slot
from .._keys import column_name
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.gene_space import GeneSpace
from ..core.pooling.moments import Moments
from ..core.pooling.pooler import BadValueError
from ..core.pooling.presets import PRESETS

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "Joined",
    "describe",
    "join",
    "make_entry",
    "named",
    "text_sources",
    "warn_empty",
]


@dataclass(frozen=True)
class Joined:
    """Genes of the matrix that have text, in the order of the matrix."""

    rows: NDArray[np.int64]  # of the GeneEmbedding
    columns: NDArray[np.int64]  # of the matrix


def join(slot: Slot, genes: GeneEmbedding) -> Joined:
    """Find the genes of the matrix that have a vector, by exact name."""
    names = slot.genes
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        call = "adata.var_names_make_unique()" if slot.name != "raw" else "unique names before adata.raw is set"
        raise InputError(f"{len(twice)} gene names are not unique: {choices(twice, limit=5)}; use {call} first")
    rows = genes.rows(names)
    columns = np.flatnonzero(rows >= 0)
    if not len(columns):
        raise InputError(
            f"no gene of the data has a vector: the data has {choices(names[:5])}, the gene embedding has "
            f"{choices(genes.ids[:5])}; make it for this data with lexicell.emb.genes(adata)"
        )
    return Joined(rows[columns], columns)


def named(error: BadValueError, adata: AnnData, slot: Slot, library_size: str | None) -> InputError:
    """The same complaint with the names of the cell and the gene, and what to do about it."""
    cell = f"cell '{adata.obs_names[error.row]}'"
    if error.column < 0:
        return InputError(
            f"{cell}: {error.reason}; obs['{library_size}'] must hold each cell's total over all genes, those "
            "left out of the matrix included"
        )
    place = f"{slot.label}, {cell}, gene '{slot.genes[error.column]}'"
    return InputError(f"{place}: {error.reason}.{slot.advice(adata)}")


def warn_empty(n_empty: int, n_cells: int) -> None:
    """Tell of cells whose embedding is zero."""
    if n_empty:
        warnings.warn(
            f"{n_empty} of {n_cells} cells express no gene that has text; their embedding is a row of zeros",
            UserWarning,
            stacklevel=3,
        )


def describe(
    slot: Slot, joined: Joined, expression: Expression, preset: str, top_n: int | str | None
) -> dict[str, Any]:
    """Parameters of a run, for ``uns``."""
    chosen = PRESETS[preset]
    return {
        "preset": preset,
        "top_n": chosen.n_kept(top_n) or "all",
        "l2": chosen.l2,
        "slot": slot.name,
        "normalization": slot.kind,
        "normalization_evidence": slot.evidence,
        "library_size": expression.library_size or "",
        "n_genes": slot.rows.shape[1],
        "n_genes_with_text": len(joined.columns),
    }


def make_entry(
    genes: GeneEmbedding,
    joined: Joined,
    params: Mapping[str, Any],
    *,
    moments: Moments | None = None,
    space: GeneSpace | None = None,
    store_genes: bool = False,
) -> dict[str, Any]:
    """What is stored in ``uns["lexicell"]`` about one cell embedding."""
    entry: dict[str, Any] = {
        "genes": np.asarray(genes.ids[joined.rows], dtype=object),
        "gene_embedding": genes.hash,
        "params": dict(params),
        "provenance": {**_plain(genes.provenance), "lexicell": __version__},
    }
    if moments is not None and space is not None:
        entry["mean"], entry["sd"] = moments.mean, moments.sd
        entry["space"] = space.to_dict()
    if store_genes:
        entry["gene_vectors"] = {
            "ids": np.asarray(genes.ids, dtype=object),
            "vectors": np.array(genes.vectors),
            "texts": np.asarray(genes.texts, dtype=object),
        }
    return entry


def text_sources(names: pd.Index[Any], genes: GeneEmbedding, joined: Joined) -> NDArray[Any]:
    """Where the text of each gene used came from; empty for the others."""
    if "text_source" in genes.table:
        source = genes.table["text_source"].astype(str)
    else:
        source = pd.Series(str(genes.provenance.get("source", "given")), index=genes.table.index)
    return source[genes.ids[joined.rows]].reindex(names).fillna("").to_numpy(dtype=object)


def _plain(value: Any) -> Any:
    """What h5ad and zarr can hold: dicts with plain keys, lists as arrays, nothing for None."""
    if isinstance(value, Mapping):
        return {column_name(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        is_text = len(value) > 0 and isinstance(value[0], str)
        return np.asarray(value, dtype=object if is_text else None)
    if isinstance(value, (str, bool, int, float, np.generic, np.ndarray, pd.DataFrame)):
        return value
    return str(value)
