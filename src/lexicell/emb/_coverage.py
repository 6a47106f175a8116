"""Which gene had which text, and how much of each cell that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._expression import Expression, Rows, Sparse, block_rows, find_slot
from ..core.genes.embedding import GeneEmbedding
from ..core.pooling.pooler import BadValueError
from ..sources import is_mitochondrial, is_ribosomal
from .joining import named

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Coverage", "coverage"]


@dataclass(frozen=True, eq=False)
class Coverage:
    """How the genes of a data set are covered by texts.

    Attributes
    ----------
    genes
        One row per gene of the matrix: ``looked_up`` (the name looked up), ``gene_id``, ``symbol``, ``matched_by``,
        ``note``, ``text_source``, ``words``, ``text_hash`` and whatever else the source knows, then ``counts`` (sum
        over cells) and ``share`` (of all counts).
    cells
        One row per cell: ``covered`` (share of its counts whose gene has a text), ``mitochondrial`` and ``ribosomal``
        (shares of its counts).
    summary
        Numbers for the terminal and the report: ``genes``, ``genes_with_text``, ``share_of_counts``,
        ``median_share_per_cell``, ``matched_by``.
    """

    genes: pd.DataFrame
    cells: pd.DataFrame
    summary: dict[str, Any]

    def to_tsv(self, path: str | Path) -> None:
        """Write :attr:`genes` as TSV, aside and renamed."""
        from .._io import write_table

        write_table(self.genes, path, index=True, index_label="gene")


def coverage(
    adata: AnnData,
    genes: GeneEmbedding,
    *,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
) -> Coverage:
    """Account for every gene: what it matched, where its text came from, and what share of the counts it is.

    Parameters
    ----------
    adata
        Cells x genes: counts, abundances or log values (counted as ``expm1``).
    genes
        From :func:`lexicell.emb.genes`.
    layer, use_raw, normalization
        Which matrix is read and what its values are, as in :func:`lexicell.emb.cells`.

    Returns
    -------
    Coverage
        Tables of genes and of cells, and a summary. Nothing is written into `adata`.

    Raises
    ------
    InputError
        If a value is NaN or infinite; the message names the cell and the gene.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> found = lx.emb.coverage(adata, lx.emb.genes(adata, organism="human"))
    >>> found.summary["genes"], found.genes.loc["CD3D", "matched_by"]
    (765, 'symbol')
    """
    slot = find_slot(adata, Expression(layer, use_raw, normalization))
    names = [str(n) for n in slot.genes]
    table = genes.coverage.reindex(names)
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = table[column].fillna("")
    has_text = genes.rows(names) >= 0
    symbol = table["symbol"].to_numpy(object) if "symbol" in table else np.full(len(names), "", dtype=object)
    symbol = np.where(symbol == "", names, symbol)
    mitochondrial = [is_mitochondrial(str(s)) for s in symbol]
    ribosomal = [is_ribosomal(str(s)) for s in symbol]
    flags = np.column_stack([has_text, mitochondrial, ribosomal]).astype(np.float64)
    try:
        totals, shares = _sums(slot.rows, flags, logged=slot.logged)
    except BadValueError as error:
        raise named(error, adata, slot, None) from error
    whole = totals.sum()
    table["counts"] = totals
    table["share"] = totals / whole if whole > 0 else 0.0
    cells = pd.DataFrame(shares, index=adata.obs_names, columns=["covered", "mitochondrial", "ribosomal"])
    ways = table["matched_by"].value_counts() if "matched_by" in table else pd.Series(dtype=int)
    summary = {
        "genes": len(names),
        "genes_with_text": int(has_text.sum()),
        "share_of_counts": float(totals[has_text].sum() / whole) if whole > 0 else 0.0,
        "median_share_per_cell": float(cells["covered"].median()) if len(cells) else 0.0,
        "matched_by": {str(way) or "nothing": int(n) for way, n in ways.items()},
    }
    return Coverage(table, cells, summary)


def _sums(rows: Rows, flags: NDArray[np.float64], *, logged: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of each gene over cells, and for each cell the share of its sum that falls on each column of `flags`."""
    totals = np.zeros(rows.shape[1])
    shares = np.zeros((rows.shape[0], flags.shape[1]))
    for start, stop in block_rows(rows, None):
        block = rows.read(start, stop)
        if isinstance(block, Sparse):
            values, columns = np.asarray(block.data, dtype=np.float64), np.asarray(block.indices)
            owner = np.repeat(np.arange(stop - start), np.diff(block.indptr))
        else:
            owner, columns = np.nonzero(block.values)
            values = np.asarray(block.values[owner, columns], dtype=np.float64)
        if not np.isfinite(values).all():
            at = np.flatnonzero(~np.isfinite(values))[0]
            raise BadValueError(start + int(owner[at]), int(columns[at]), f"the value is {values[at]}")
        if logged:
            values = np.expm1(values)
        totals += np.bincount(columns, values, len(totals))
        size = np.bincount(owner, values, stop - start)
        for j, flag in enumerate(flags.T):
            part = np.bincount(owner, values * flag[columns], stop - start)
            shares[start:stop, j] = np.divide(part, size, out=np.zeros_like(part), where=size > 0)
    return totals, shares
