r"""Gene programs: sparse factors of expression whose genes are tied to each other by what is written about them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError
from ..expression.log_values import CLIP, column_stats

__all__ = ["Programs", "gene_programs", "nearest_genes", "text_smoothing"]

Floats = NDArray[np.float64]
_BLOCK = 1024  # genes compared with all others at a time


def nearest_genes(vectors: ArrayLike, rows: ArrayLike, n: int) -> tuple[NDArray[np.int64], Floats]:
    """The `n` other genes with the largest centered cosine to each of some genes.

    Parameters
    ----------
    vectors
        ``(n_genes, d)``; they are centered first, because all gene vectors of one model point in similar directions.
    rows
        Genes asked for.
    n
        Neighbors per gene, at most ``n_genes - 1``.

    Returns
    -------
    neighbors, cosines
        ``(len(rows), n)`` each, nearest first; among equals the earlier gene.
    """
    matrix, asked = np.asarray(vectors, dtype=np.float64), np.asarray(rows, dtype=np.int64)
    if not 1 <= n < len(matrix):
        raise InputError(f"n_neighbors must be between 1 and {len(matrix) - 1}, the other genes; got {n}")
    centered = matrix - matrix.mean(axis=0)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    unit = centered / np.where(length > 0, length, 1.0)
    near, cosine = np.empty((len(asked), n), dtype=np.int64), np.empty((len(asked), n))
    for start in range(0, len(asked), _BLOCK):
        part = asked[start : start + _BLOCK]
        product = unit[part] @ unit.T
        product[np.arange(len(part)), part] = -np.inf
        best = np.argsort(-product, axis=1, kind="stable")[:, :n]
        near[start : start + _BLOCK] = best
        cosine[start : start + _BLOCK] = np.take_along_axis(product, best, axis=1)
    return near, cosine


def text_smoothing(vectors: ArrayLike, *, n_neighbors: int = 10, share: float = 0.5) -> sp.csr_matrix:
    r"""Matrix that lets each gene keep ``1 - share`` of its expression and take the rest from its text neighbors.

    .. math:: S = (1 - a) I + a D^{-1} A, \qquad A_{gh} = \max(\cos(e_g - \mu, e_h - \mu), 0)

    for the `n_neighbors` nearest genes h, D the row sums. Rows sum to 1; a gene without near ones keeps all.

    Returns
    -------
    CSR, ``(n_genes, n_genes)``.
    """
    matrix = np.asarray(vectors)
    n = len(matrix)
    near, cosine = nearest_genes(matrix, np.arange(n), min(n_neighbors, n - 1))
    weight = np.maximum(cosine, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    given = np.where(total[:, 0] > 0, share, 0.0)
    rows = np.repeat(np.arange(n), near.shape[1])
    spread = sp.csr_matrix(((weight * given[:, None]).ravel(), (rows, near.ravel())), shape=(n, n))
    return sp.csr_matrix(spread + sp.diags_array(1 - given))


@dataclass(frozen=True, eq=False)
class Programs:
    """Non-negative factors, in order of falling share of the expression.

    Attributes
    ----------
    usage
        ``(n_cells, k)``: how far each cell runs each program: summed z-scores of its genes.
    loadings
        ``(k, n_genes)``, rows sum to 1, most entries 0.
    share
        ``(k,)``: share of the reconstructed expression.
    error
        Relative error of the reconstruction (Frobenius).
    """

    usage: Floats
    loadings: Floats
    share: Floats
    error: float


def gene_programs(
    values: sp.csr_matrix, smoothing: sp.csr_matrix, n_programs: int, *, sparsity: float = 0.002, max_iter: int = 200
) -> Programs:
    r"""Non-negative matrix factors of text-smoothed expression, with sparse genes.

    .. math:: \min_{W, H \ge 0} \tfrac12 \lVert X S^\top - W H \rVert^2
              + \lambda p \lVert W \rVert_1 + \lambda n \lVert H \rVert_1

    X is the positive part of the z-scores of l (n cells, p genes): how far a gene is *up*, so that what all cells
    express makes no program. scikit-learn's coordinate descent from a deterministic start (singular vectors).
    Programs that the penalty empties are left out, so that fewer than k may come back.

    Parameters
    ----------
    values
        l, cells x genes.
    smoothing
        S of :func:`text_smoothing`.
    n_programs
        k.
    sparsity
        :math:`\lambda`, scikit-learn's ``alpha_W`` and ``alpha_H``.
    max_iter
        Of the descent.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if not 1 <= n_programs <= min(values.shape):
        raise InputError(
            f"n_programs must be between 1 and {min(values.shape)} for {values.shape[0]} cells and "
            f"{values.shape[1]} genes; got {n_programs}"
        )
    mean, sd = column_stats(values)
    above = sp.csr_matrix(values, dtype=np.float64, copy=True)
    scale = np.where(sd > 0, sd, 1.0)
    above.data = np.clip((above.data - mean[above.indices]) / scale[above.indices], 0.0, CLIP)
    X = sp.csr_matrix(above @ smoothing.T)
    X.eliminate_zeros()
    model = NMF(
        n_programs,
        init="nndsvda",
        random_state=0,
        alpha_W=sparsity,
        alpha_H=sparsity,
        l1_ratio=1.0,
        max_iter=max_iter,
        tol=1e-3,
    )
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # More steps would change weights in the third decimal; the error is reported.
        warnings.simplefilter("ignore", ConvergenceWarning)
        W = model.fit_transform(X)
    H = np.asarray(model.components_, dtype=np.float64)
    total = H.sum(axis=1)
    W, H = W * total, H / np.where(total > 0, total, 1.0)[:, None]
    share = W.sum(axis=0) * H.sum(axis=1)
    order = [k for k in np.argsort(-share, kind="stable") if share[k] > 0]
    norm = float(sp.linalg.norm(X))
    return Programs(
        W[:, order],
        H[order],
        share[order] / max(share.sum(), 1e-300),
        float(model.reconstruction_err_) / max(norm, 1e-300),
    )
