"""Expression and text in one representation, and the expression baseline that text is compared with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from .._expression import Expression, Values, read_values, variable_genes
from .._keys import X_EXPRESSION, X_FUSED, X_TEXT
from .._results import check_rep, keep_results, recorded
from ..core.expression.components import Components, principal_components
from ..core.expression.log_values import column_stats, zscore_block

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["expression_pca", "fuse"]


def fuse(
    adata: AnnData,
    *,
    use_rep: str = X_TEXT,
    a: float = 0.25,
    n_components: int = 20,
    n_top_genes: int | None = 1000,
    layer: str | None = None,
    use_raw: bool | None = None,
    normalization: str = "auto",
    library_size: str | None = None,
    key_added: str = X_FUSED,
    copy: bool = False,
) -> AnnData | None:
    r"""Join expression and text: principal components of both, side by side.

    .. math:: \text{PCs of } [\sqrt{1-a}\; Z \mid \sqrt{a}\; C], \quad \|Z\|_F = \|C\|_F = \sqrt{n_\text{cells}},

    where Z is the z-scored log expression (cut at :math:`\pm 10`) of the most variable genes and C the ``whitened``
    cell embedding of all genes with a text; both centered. `a` is the share of the total variance that text brings.

    The matrix of all genes is never made dense: Z is made in blocks of rows, and C has few columns. The same input
    gives the same bits for any number of threads.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``.
    use_rep
        A text embedding made with ``preset="whitened"``.
    a
        Weight of text, 0 to 1: 0 is expression alone, 1 is text alone. With .25 fusion is as good as PCA of expression
        on eight labeled data sets; other shares, and shares chosen by count thinning, were not better by the rule
        set beforehand (``docs/search_for_gain.md``).
    n_components
        Number of components kept. Fewer where cells or features are too few, with a warning.
    n_top_genes
        Genes in Z: the most variable by Pearson residuals where there are counts, by scanpy's dispersion elsewhere.
        None: all expressed genes.
    layer, use_raw, normalization, library_size
        Which matrix is read and what its values are, as in :func:`lexicell.emb.cells`. Default: what `use_rep` was
        computed from.
    key_added
        Key of the result in ``obsm``.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obsm[key_added]``
        ``(n_cells, n_components)`` float32, in units of the blocks above.
    ``uns["lexicell"][key_added]``
        ``based_on`` (`use_rep`); ``hvg`` (genes of Z), their ``mean`` and ``sd`` of l; ``scale`` (the factors on Z and
        on C), ``center`` and ``loadings`` (features x components), which make the result exactly linear in z and C;
        ``variance_ratio``; ``params``.

    Raises
    ------
    MissingKeyError
        If `use_rep`, the layer or the column does not exist.
    InputError
        If `a` is outside 0 to 1, `use_rep` was made with another preset, or values cannot be used.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> genes = lx.emb.genes(adata, organism="human")
    >>> lx.emb.cells(adata, genes, preset="whitened", library_size="n_counts")
    >>> lx.emb.fuse(adata)
    >>> adata.obsm["X_text_fused"].shape
    (700, 20)
    """
    adata = adata.copy() if copy else adata
    if not 0 <= a <= 1:
        raise InputError(f"a is the weight of text between 0 and 1; got {a}")
    text = check_rep(adata, use_rep).astype(np.float64)
    entry = recorded(adata, use_rep)
    preset = str(entry.get("params", {}).get("preset", "whitened"))
    if preset != "whitened":
        raise InputError(
            f"obsm['{use_rep}'] was made with preset='{preset}'; fusion needs "
            f"lexicell.emb.cells(adata, genes, preset=\"whitened\", key_added='{use_rep}')"
        )
    expression = Expression(layer, use_raw, normalization, library_size)
    base = _Baseline.of(read_values(adata, expression, like=entry.get("params")), n_top_genes)
    p, n = len(base.chosen), adata.n_obs

    def features(start: int, stop: int) -> NDArray[np.float64]:
        return np.hstack([base.block(start, stop), text[start:stop]])

    scale = _block_scales(features, n, p, np.sqrt([1 - a, a]))
    factor = np.repeat(scale, [p, text.shape[1]])
    k = _capped(n_components, n, p + text.shape[1])
    parts = principal_components(lambda start, stop: features(start, stop) * factor, n, k)
    params = {"a": float(a), "n_components": n_components, "n_top_genes": n_top_genes or 0}
    _write(adata, key_added, parts, base, params, {"based_on": use_rep, "scale": scale})
    return adata if copy else None


def expression_pca(
    adata: AnnData,
    *,
    n_components: int = 20,
    n_top_genes: int | None = 1000,
    layer: str | None = None,
    use_raw: bool | None = None,
    normalization: str = "auto",
    library_size: str | None = None,
    key_added: str = X_EXPRESSION,
    copy: bool = False,
) -> AnnData | None:
    """Principal components of expression alone: the baseline beside which every text result should be read.

    Log values of the most variable genes, z-scored, cut at 10 standard deviations; 20 components. This is stronger than
    the usual 2,000 genes and 50 components on every data set it was compared on.

    Parameters
    ----------
    adata
        Cells with counts, abundances or log values.
    n_components, n_top_genes, layer, use_raw, normalization, library_size, key_added, copy
        As in :func:`fuse`; the default matrix is ``X``.

    Returns
    -------
    None, or the new object. Writes ``obsm[key_added]``, ``(n_cells, n_components)`` float32, and
    ``uns["lexicell"][key_added]`` with ``hvg``, ``mean``, ``sd``, ``center``, ``loadings``, ``variance_ratio`` and
    ``params``.

    Raises
    ------
    MissingKeyError, InputError
        If the matrix does not exist or its values cannot be used.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> adata.obsm["X_expression"].shape
    (700, 20)
    """
    adata = adata.copy() if copy else adata
    base = _Baseline.of(read_values(adata, Expression(layer, use_raw, normalization, library_size)), n_top_genes)
    k = _capped(n_components, adata.n_obs, len(base.chosen))
    parts = principal_components(base.block, adata.n_obs, k)
    _write(adata, key_added, parts, base, {"n_components": n_components, "n_top_genes": n_top_genes or 0}, {})
    return adata if copy else None


@dataclass(frozen=True, eq=False)
class _Baseline:
    """z-scored log values of the variable genes: columns `chosen` of `values`."""

    values: Values
    chosen: NDArray[np.int64]
    log: sp.csr_matrix
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def of(cls, values: Values, n_top_genes: int | None) -> _Baseline:
        if n_top_genes is not None and n_top_genes < 1:
            raise InputError(f"n_top_genes must be at least 1, or None for all genes; got {n_top_genes}")
        chosen = variable_genes(values, len(values.genes) if n_top_genes is None else n_top_genes)
        if len(chosen) == 0:
            raise InputError("no gene varies between the cells, so there is no expression to compare")
        log = sp.csr_matrix(values.log[:, chosen])
        return cls(values, chosen, log, *column_stats(log))

    def block(self, start: int, stop: int) -> NDArray[np.float64]:
        return zscore_block(self.log[start:stop], self.mean, self.sd)


def _block_scales(features: Any, n: int, p: int, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors that give the first p columns and the rest, each centered, Frobenius norm ``weight * sqrt(n)``."""
    starts = range(0, n, 4096)
    mean = sum(features(i, min(i + 4096, n)).sum(axis=0) for i in starts) / n
    square = sum(((features(i, min(i + 4096, n)) - mean) ** 2).sum(axis=0) for i in starts)
    norm = np.sqrt([square[:p].sum(), square[p:].sum()])
    if (norm == 0).any():
        where = "expression" if norm[0] == 0 else "the text embedding"
        raise InputError(f"all cells are equal in {where}, so there is nothing to join")
    return np.asarray(weight * np.sqrt(n) / norm, dtype=np.float64)


def _capped(n_components: int, n_cells: int, n_features: int) -> int:
    """`n_components`, or as many as there can be, with a warning."""
    most = min(n_cells - 1, n_features)
    if n_components > most >= 1:
        warnings.warn(
            f"{n_cells} cells and {n_features} features give {most} components, not {n_components}",
            UserWarning,
            stacklevel=3,
        )
        return most
    return n_components


def _write(
    adata: AnnData, key: str, parts: Components, base: _Baseline, params: dict[str, Any], more: dict[str, Any]
) -> None:
    """Write components, and what makes them again."""
    adata.obsm[key] = parts.scores
    entry = {
        "hvg": base.values.genes[base.chosen],
        "mean": base.mean,
        "sd": base.sd,
        "center": parts.mean,
        "loadings": parts.loadings.astype(np.float32),
        "variance_ratio": parts.variance_ratio,
        **more,
        "params": {**base.values.params, **params},
    }
    keep_results(adata, key, entry, replace=True)
