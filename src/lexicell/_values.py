"""From an AnnData to log values: which slot is read, what its values are, and which genes vary.

The tools that look at expression (fusion, the expression baseline, marker genes) all read it here, and read what
`emb.cells` read unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._errors import InputError, MissingKeyError, check_key, choices
from ._keys import X_TEXT
from ._matrix import Dense, Rows
from ._slots import find_slot
from .core.expression import log_cp10k, residual_variance, top_columns

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Values", "check_rep", "read_values", "variable_genes"]


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


def read_values(
    adata: AnnData,
    *,
    layer: str | None = None,
    use_raw: bool | None = None,
    normalization: str = "auto",
    library_size: str | None = None,
    like: Mapping[str, Any] | None = None,
) -> Values:
    """Read log values from the slot named, or, if none is named, from the slot that `like` names.

    Parameters
    ----------
    adata
        Cells x genes.
    layer, use_raw, normalization, library_size
        As in :func:`lexicell.emb.cells`.
    like
        Parameters of an earlier call (``uns["lexicell"][key]["params"]``) that count where nothing is named here.

    Raises
    ------
    InputError
        If the slot holds negative values, NaN, or values of another kind than stated.
    MissingKeyError
        If the layer, raw or the column is not there.
    """
    if layer is None and use_raw is None and library_size is None and normalization == "auto" and like:
        slot = str(like.get("slot") or "X")
        layer, use_raw = None if slot in ("X", "raw") else slot, slot == "raw"
        library_size = str(like.get("library_size") or "") or None
        normalization = str(like.get("normalization") or "auto")
    found = find_slot(adata, layer=layer, use_raw=bool(use_raw), normalization=normalization)
    matrix = _csr(found.rows)
    # The slot was judged by a sample of its rows.
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        raise InputError(f"{found.label} holds NaN, infinite or negative values.{found.advice(adata)}")
    if found.logged:
        log = sp.csr_matrix(matrix, dtype=np.float32)
    else:
        log = log_cp10k(matrix, _totals(adata, matrix, library_size))
    params = {
        "slot": found.name,
        "normalization": found.kind,
        "library_size": library_size or "",
    }
    names = np.asarray([str(n) for n in found.genes], dtype=object)
    return Values(names, log, matrix if found.kind == "counts" else None, params)


def _csr(rows: Rows) -> sp.csr_matrix:
    """The whole matrix as a canonical CSR; what is in memory already is not changed."""
    block = rows.read(0, rows.shape[0])
    if isinstance(block, Dense):
        return sp.csr_matrix(block.values)
    matrix = sp.csr_matrix((block.data, block.indices, block.indptr), shape=rows.shape)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _totals(adata: AnnData, matrix: sp.csr_matrix, library_size: str | None) -> NDArray[np.float64]:
    if library_size is None:
        return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
    check_key(library_size, [str(c) for c in adata.obs.columns], "column in obs")
    totals: NDArray[np.float64] = adata.obs[library_size].to_numpy(dtype=np.float64)
    if not np.isfinite(totals).all() or (totals < 0).any():
        raise InputError(f"obs['{library_size}'] holds negative or missing library sizes")
    return totals


def variable_genes(values: Values, n: int) -> NDArray[np.int64]:
    """Columns of the `n` most variable genes, in rising order.

    With counts: the largest variance of analytic Pearson residuals. Without: scanpy's dispersion by mean
    (flavour "seurat").
    """
    if values.counts is not None:
        return top_columns(residual_variance(values.counts), n)
    import anndata
    import pandas as pd
    import scanpy as sc

    expressed = np.flatnonzero(np.asarray((values.log > 0).sum(axis=0)).ravel() > 0)
    if len(expressed) <= n:
        return expressed.astype(np.int64)
    part = anndata.AnnData(values.log[:, expressed].copy(), var=pd.DataFrame(index=values.genes[expressed].astype(str)))
    table = sc.pp.highly_variable_genes(part, n_top_genes=n, flavor="seurat", inplace=False)
    return np.asarray(expressed[table["highly_variable"].to_numpy()], dtype=np.int64)
