"""Log values of counts, their z-scores, the genes that vary, and means of groups.

Text, fusion and the expression baseline all compute their log values and z-scores with these functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = [
    "CLIP",
    "Profiles",
    "column_stats",
    "group_profiles",
    "log_cp10k",
    "residual_variance",
    "top_columns",
    "zscore_block",
    "zscore_sparse",
]

_ROWS = 4096

CLIP = 10.0
"""z-scores are cut at this size, on both sides."""


def log_cp10k(counts: sp.csr_matrix, totals: NDArray[np.float64]) -> sp.csr_matrix:
    """``log1p(1e4 * x / n)`` of counts `x` and library sizes `n`; the zeros stay zeros.

    Parameters
    ----------
    counts
        Cells x genes, non-negative.
    totals
        Library size of each cell over all genes, shape ``(n_cells,)``, positive where the cell has counts.

    Returns
    -------
    CSR, float32, same shape.
    """
    matrix = sp.csr_matrix(counts)
    # A cell without counts has no stored values to divide, so its zero total does no harm.
    scale = 1e4 / np.where(totals > 0, totals, 1.0)
    log = np.empty(len(matrix.data), dtype=np.float32)
    for rows, stored in _stretches(matrix):
        values = matrix.data[stored].astype(np.float64)
        log[stored] = np.log1p(values * np.repeat(scale[rows], np.diff(matrix.indptr[rows.start : rows.stop + 1])))
    # Indices are shared with the counts: nothing here sorts or drops entries in place.
    return sp.csr_matrix((log, matrix.indices, matrix.indptr), shape=matrix.shape)


def _stretches(matrix: sp.csr_matrix) -> Iterator[tuple[slice, slice]]:
    """Rows and their stored entries, some thousand rows at a time: whole temporary arrays would exceed the matrix."""
    n = matrix.shape[0]
    for start in range(0, n, _ROWS):
        stop = min(start + _ROWS, n)
        yield slice(start, stop), slice(int(matrix.indptr[start]), int(matrix.indptr[stop]))


def column_stats(matrix: sp.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and population standard deviation of each column over all rows, zeros included; float64."""
    n, p = matrix.shape
    total, away, stored = np.zeros(p), np.zeros(p), np.zeros(p, dtype=np.int64)
    # add.at adds one value after the other, so the sums do not depend on the stretches.
    for _, part in _stretches(matrix):
        np.add.at(total, matrix.indices[part], matrix.data[part].astype(np.float64))
        stored += np.bincount(matrix.indices[part], minlength=p)
    mean = total / n
    for _, part in _stretches(matrix):
        gene = matrix.indices[part]
        np.add.at(away, gene, (matrix.data[part] - mean[gene]) ** 2)
    return mean, np.sqrt((away + (n - stored) * mean**2) / n)


def zscore_block(rows: sp.csr_matrix, mean: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dense ``clip((l - mean) / sd, -10, 10)`` of some rows; columns without spread give zeros."""
    block: NDArray[np.float64] = np.asarray(rows.toarray(), dtype=np.float64)
    block -= mean
    block /= np.where(sd > 0, sd, 1.0)
    np.clip(block, -CLIP, CLIP, out=block)
    return block


def zscore_sparse(
    values: sp.csr_matrix, mean: NDArray[np.float64], sd: NDArray[np.float64]
) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    """Clipped z-scores as a sparse matrix plus one row: ``z = deviations + baseline``.

    The baseline is the z-score of a zero; the deviations are stored where values are. Exact, clip included.
    """
    scale = np.where(sd > 0, sd, 1.0)
    baseline = np.clip(-mean / scale, -CLIP, CLIP)
    baseline[sd <= 0] = 0.0
    z = np.empty(len(values.data))
    for _, part in _stretches(values):
        gene = values.indices[part]
        z[part] = np.clip((values.data[part] - mean[gene]) / scale[gene], -CLIP, CLIP) - baseline[gene]
        z[part][sd[gene] <= 0] = 0.0
    return sp.csr_matrix((z, values.indices, values.indptr), shape=values.shape), baseline


def residual_variance(
    counts: sp.csr_matrix, totals: NDArray[np.float64] | None = None, *, theta: float = 100.0
) -> NDArray[np.float64]:
    r"""Variance of analytic Pearson residuals of each gene: large where a gene varies beyond depth and noise.

    With :math:`\mu_{cg} = n_c s_g / N` (cell totals, gene sums, grand total),
    :math:`r = (x - \mu) / \sqrt{\mu + \mu^2 / \theta}`, cut at :math:`\pm\sqrt{n_\text{cells}}`.

    Parameters
    ----------
    counts
        Cells x genes, counts.
    totals
        Depth of each cell; default: row sums of `counts`.
    theta
        Inverse overdispersion of the negative binomial noise.

    Returns
    -------
    Shape ``(n_genes,)``, float64.

    References
    ----------
    Lause, Berens and Kobak, Genome Biology 2021, doi:10.1186/s13059-021-02451-7.
    """
    matrix = sp.csr_matrix(counts)
    n, p = matrix.shape
    depth = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel() if totals is None else np.asarray(totals, float)
    share = np.bincount(matrix.indices, weights=matrix.data, minlength=p) / max(depth.sum(), 1.0)
    cut = np.sqrt(n)

    # Most entries are zeros, whose residual depends on depth and gene share alone: sum it over all cells as if every
    # entry were zero, then put right the stored entries. Many genes have the same few counts and many cells the same
    # depth, so each pair of a share and a depth is computed once.
    shares, gene_share = np.unique(share, return_inverse=True)
    depths, cells = np.unique(depth, return_counts=True)
    first, second = np.zeros(len(shares)), np.zeros(len(shares))
    step = max(1, 4_000_000 // max(len(depths), 1))
    for start in range(0, len(shares), step):
        mu = np.outer(shares[start : start + step], depths)
        zero = np.minimum(np.sqrt(mu / (1 + mu / theta)), cut)
        first[start : start + step] = -(zero * cells).sum(axis=1)
        second[start : start + step] = (zero**2 * cells).sum(axis=1)
    first, second = first[gene_share], second[gene_share]
    for rows, part in _stretches(matrix):
        gene = matrix.indices[part]
        mu = np.repeat(depth[rows], np.diff(matrix.indptr[rows.start : rows.stop + 1])) * share[gene]
        # Explicit zeros fit the formula as they are.
        spread = np.sqrt(np.where(mu > 0, mu, 1.0) * (1 + mu / theta))
        real = np.clip((matrix.data[part] - mu) / spread, -cut, cut)
        zero = np.minimum(mu / spread, cut)
        np.add.at(first, gene, real + zero)
        np.add.at(second, gene, real**2 - zero**2)
    variance: NDArray[np.float64] = second / n - (first / n) ** 2
    return np.maximum(variance, 0.0)


def top_columns(score: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Columns of the `n` largest positive scores, in rising order of column; the earlier column wins a tie."""
    order = np.argsort(-score, kind="stable")[:n]
    return np.sort(order[score[order] > 0]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Profiles:
    """What each group of cells expresses.

    Attributes
    ----------
    mean
        Mean of l in each group, shape ``(n_groups, n_genes)``, float64.
    share
        Share of the group's cells with a value above zero, same shape.
    size
        Cells in each group, shape ``(n_groups,)``.
    """

    mean: NDArray[np.float64]
    share: NDArray[np.float64]
    size: NDArray[np.int64]

    def against_rest(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean of l and share of expressing cells over all cells outside each group; zeros where there is none."""
        n = self.size[:, None].astype(float)
        rest = np.maximum(n.sum() - n, 1.0)
        outside = [((v * n).sum(axis=0) - v * n) / rest for v in (self.mean, self.share)]
        return outside[0], outside[1]


def group_profiles(values: sp.csr_matrix, codes: NDArray[np.integer], n_groups: int) -> Profiles:
    """Mean and share of expressing cells of each group.

    Parameters
    ----------
    values
        Log values l, cells x genes.
    codes
        Group of each cell, 0 to ``n_groups - 1``; -1 for cells that belong to none.
    n_groups
        Number of groups.
    """
    rows = np.flatnonzero(codes >= 0)
    size = np.bincount(codes[rows], minlength=n_groups).astype(np.int64)
    pick = sp.csr_matrix((np.ones(len(rows)), (codes[rows], rows)), shape=(n_groups, values.shape[0]))
    expressed = sp.csr_matrix(((values.data > 0).astype(np.float64), values.indices, values.indptr), shape=values.shape)
    n = np.maximum(size, 1)[:, None]
    mean = np.asarray((pick @ values.astype(np.float64)).todense()) / n
    return Profiles(mean, np.asarray((pick @ expressed).todense()) / n, size)
