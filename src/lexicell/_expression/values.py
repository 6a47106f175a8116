"""From an AnnData to log values, and the genes that vary.

Every tool that looks at expression reads it with `open_values` or `read_values`. Unless the user names a
slot, they read the one that `emb.cells` read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, check_column
from ..core.expression.log_values import log_cp10k, residual_variance, top_columns
from ..core.expression.rows import Dense, Rows
from .slot import DEFAULT_SLOT, Expression, Slot, find_slot

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["LogRows", "Values", "library_sizes", "open_values", "read_values", "values_kept", "variable_genes"]


@dataclass(frozen=True, eq=False)
class Values:
    """Log values of cells x genes.

    Attributes
    ----------
    genes
        Gene names, shape ``(n_genes,)``, object.
    log
        ``log1p`` of counts per 10,000, CSR float32.
    counts
        The counts themselves, CSR; None where the data holds none.
    params
        Which slot was read, and as what: strings and bools.
    """

    genes: NDArray[Any]
    log: sp.csr_matrix
    counts: sp.csr_matrix | None
    params: dict[str, Any]

    def rows(self, genes: NDArray[Any]) -> NDArray[np.int64]:
        """Column of each of `genes`, -1 where it is not here."""
        import pandas as pd

        return np.asarray(pd.Index(self.genes).get_indexer(pd.Index(genes)), dtype=np.int64)

    @cached_property
    def residual_variance(self) -> NDArray[np.float64]:
        """Variance of the Pearson residuals of each gene's counts, shape ``(n_genes,)``."""
        if self.counts is None:
            raise InputError("residuals are of counts, and these values hold none")
        return residual_variance(self.counts)

    def subset(self, columns: NDArray[np.int64]) -> Values:
        """The same cells with the genes of these columns only."""
        counts = None if self.counts is None else sp.csr_matrix(self.counts[:, columns])
        return Values(self.genes[columns], sp.csr_matrix(self.log[:, columns]), counts, self.params)


class LogRows:
    """Log values of a matrix that are made a range of rows at a time, from memory or disk.

    Attributes
    ----------
    genes
        Gene names, shape ``(n_genes,)``, object.
    params
        Which slot is read, and as what: strings and bools.
    slot
        The slot.
    """

    def __init__(self, source: Any, slot: Slot, library_size: str | None, totals: Any) -> None:
        self.slot, self.n_cells = slot, slot.rows.shape[0]
        self.genes = np.asarray([str(n) for n in slot.genes], dtype=object)
        self.params = {"slot": slot.name, "normalization": slot.kind, "library_size": library_size or ""}
        self._source, self._library_size, self._totals = source, library_size, totals

    def read(self, start: int, stop: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Log values, CSR float32, and the matrix they are made of, of rows `start` to `stop`.

        Raises
        ------
        InputError
            If a value or a library size cannot be used.
        """
        matrix = _csr(self.slot.rows, start, stop)
        # The slot was judged by a sample of its rows.
        if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
            raise InputError(
                f"{self.slot.label} holds NaN, infinite or negative values.{self.slot.advice(self._source)}"
            )
        if self.slot.logged:
            return sp.csr_matrix(matrix, dtype=np.float32), matrix
        return log_cp10k(matrix, self._sizes(matrix, start, stop)), matrix

    def _sizes(self, matrix: sp.csr_matrix, start: int, stop: int) -> NDArray[np.float64]:
        if self._totals is None:
            return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
        totals = np.asarray(self._totals[start:stop], dtype=np.float64)
        if not np.isfinite(totals).all() or (totals < 0).any():
            raise InputError(f"obs['{self._library_size}'] holds negative or missing library sizes")
        return totals


def open_values(adata: AnnData, choice: Expression = DEFAULT_SLOT, *, like: Mapping[str, Any] | None = None) -> LogRows:
    """Open a slot for reading its log values by rows.

    Parameters
    ----------
    adata
        Cells x genes, in memory or backed; or a file of cells that stays on disk (`emb._cell_file.CellFile`).
    choice
        The slot, and what its values are.
    like
        Parameters of an earlier call (``uns["lexicell"][key]["params"]``), used where `choice` names nothing.

    Raises
    ------
    InputError
        If the slot holds negative values, NaN, or values of another kind than stated.
    MissingKeyError
        If the layer, raw or the column does not exist.
    """
    choice = choice.or_recorded(like)
    found = find_slot(adata, choice)
    return LogRows(adata, found, choice.library_size, library_sizes(adata, choice.library_size))


def library_sizes(adata: Any, column: str | None) -> Any:
    """Totals over all genes, ``(n_cells,)``, from a column of ``obs``: an array, or on disk; None where none is named.

    Raises
    ------
    MissingKeyError
        If there is no such column.
    InputError
        If it holds no numbers.
    """
    if column is None:
        return None
    if hasattr(adata, "column"):
        return adata.column(column)
    check_column(adata.obs, column)
    try:
        return adata.obs[column].to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"obs['{column}'] holds no numbers; library_size= needs totals over all genes") from None


def read_values(adata: AnnData, choice: Expression = DEFAULT_SLOT, *, like: Mapping[str, Any] | None = None) -> Values:
    """Read the log values of all cells; arguments and errors as in :func:`open_values`."""
    kept, key = _KEPT.get(), choice.or_recorded(like)
    if kept is not None:
        for owner, of, values in kept:
            if owner is adata and of == key:
                return values
    found = open_values(adata, key)
    log, matrix = found.read(0, found.n_cells)
    values = Values(found.genes, log, matrix if found.slot.kind == "counts" else None, found.params)
    if kept is not None:
        # As it was asked for, and as later tools name it, from what is recorded.
        kept += [(adata, of, values) for of in (key, Expression.recorded(values.params))]
    return values


_KEPT: ContextVar[list[tuple[Any, Expression, Values]] | None] = ContextVar("kept", default=None)


@contextmanager
def values_kept() -> Iterator[None]:
    """Read the log values of an object once, for all tools that are called within; expression must not change there."""
    token = _KEPT.set([])
    try:
        yield
    finally:
        _KEPT.reset(token)


def _csr(rows: Rows, start: int, stop: int) -> sp.csr_matrix:
    """A range of rows as a canonical CSR; what is in memory already is not changed."""
    block = rows.read(start, stop)
    if isinstance(block, Dense):
        return sp.csr_matrix(block.values)
    matrix = sp.csr_matrix((block.data, block.indices, block.indptr), shape=(stop - start, rows.shape[1]))
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def variable_genes(values: Values, n: int) -> NDArray[np.int64]:
    """Columns of the `n` most variable genes, in rising order.

    With counts: the largest variance of analytic Pearson residuals. Without: scanpy's dispersion by mean
    (flavour "seurat").
    """
    if values.counts is not None:
        return top_columns(values.residual_variance, n)
    import anndata
    import pandas as pd
    import scanpy as sc

    expressed = np.flatnonzero(np.asarray((values.log > 0).sum(axis=0)).ravel() > 0)
    if len(expressed) <= n:
        return expressed.astype(np.int64)
    part = anndata.AnnData(values.log[:, expressed].copy(), var=pd.DataFrame(index=values.genes[expressed].astype(str)))
    table = sc.pp.highly_variable_genes(part, n_top_genes=n, flavor="seurat", inplace=False)
    return np.asarray(expressed[table["highly_variable"].to_numpy()], dtype=np.int64)
