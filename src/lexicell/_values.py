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

from ._errors import InputError, MissingKeyError, check_choice, check_key, choices
from ._keys import UNS, X_TEXT
from ._matrix import Dense, Rows, open_rows
from .core._expression import NORMALIZATIONS, look
from .core.expression import log_cp10k, residual_variance, top_columns

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Values", "check_rep", "pick_slot", "read_values", "recorded", "variable_genes"]


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


def recorded(adata: AnnData, key: str) -> dict[str, Any]:
    """Read what lexicell noted about ``obsm[key]`` in ``uns["lexicell"]``; empty where it noted nothing."""
    found = adata.uns.get(UNS, {}).get(key, {})
    return dict(found) if isinstance(found, Mapping) else {}


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
    check_choice(normalization, NORMALIZATIONS, "normalization")
    stored, names = pick_slot(adata, layer=layer, use_raw=bool(use_raw))
    rows = open_rows(stored)
    seen = look(rows)
    slot = "raw" if use_raw else layer or "X"
    if seen.kind in ("negative", "not finite") or (normalization == "auto" and not seen.usable):
        stated = "" if seen.kind in ("negative", "not finite") else ", or say what they are with normalization="
        raise InputError(
            f"the values in '{slot}' are neither counts nor log values as far as one can see: {seen.evidence}; "
            f'name the slot that holds them, e.g. layer="counts" or use_raw=True{stated}'
        )
    if normalization == "auto":
        normalization = seen.kind
    matrix = _csr(rows)
    if normalization == "log1p":
        log = sp.csr_matrix(matrix, dtype=np.float32)
    else:
        log = log_cp10k(matrix, _totals(adata, matrix, library_size))
    params = {
        "slot": slot,
        "normalization": normalization,
        "library_size": library_size or "",
    }
    return Values(names, log, matrix if seen.kind == "counts" and normalization == "counts" else None, params)


def pick_slot(adata: AnnData, *, layer: str | None = None, use_raw: bool = False) -> tuple[Any, NDArray[Any]]:
    """Return the matrix of the slot named, as it is stored, and the names of its genes.

    Parameters
    ----------
    layer, use_raw
        This layer, or ``raw``; neither: ``X``. Never silently another slot.

    Raises
    ------
    MissingKeyError
        If the layer does not exist.
    InputError
        If both are named, or the slot is empty.
    """
    if use_raw and layer is not None:
        raise InputError(f"name either use_raw=True or layer='{layer}', not both")
    if use_raw:
        if adata.raw is None:
            raise InputError("use_raw=True, but adata.raw is empty; name a layer=, or leave both out to read X")
        return adata.raw.X, _names(adata.raw)
    if layer is not None:
        # Since anndata 0.13 X itself stands among the layers, under None.
        check_key(layer, [str(k) for k in adata.layers if k is not None], "layer")
        return adata.layers[layer], _names(adata)
    if adata.X is None:
        raise InputError("X is empty; name a layer=, or use_raw=True")
    return adata.X, _names(adata)


def _names(source: Any) -> NDArray[Any]:
    return np.asarray([str(n) for n in source.var_names], dtype=object)


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
