"""Log values of counts, their z-scores, the genes that vary, and means of groups.

Text, fusion and the expression baseline all compute their log values and z-scores with these functions.
"""

from __future__ import annotations

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

CLIP = 10.0
"""z-scores are cut at this size, on both sides."""

# Rows and stored values that are worked on at once.
_ROWS, _VALUES = 4096, 4_000_000


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
    # In ranges, so that the float64 values on the way take little memory.
    for start in range(0, matrix.shape[0], _ROWS):
        ends = matrix.indptr[start : start + _ROWS + 1]
        factor = np.repeat(scale[start : start + _ROWS], np.diff(ends))
        log[ends[0] : ends[-1]] = np.log1p(matrix.data[ends[0] : ends[-1]].astype(np.float64) * factor)
    return sp.csr_matrix((log, matrix.indices.copy(), matrix.indptr.copy()), shape=matrix.shape)


def column_stats(matrix: sp.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and population standard deviation of each column over all rows, zeros included; float64."""
    n, p = matrix.shape
    total, square = np.zeros(p), np.zeros(p)
    ranges = [slice(start, start + _VALUES) for start in range(0, len(matrix.data), _VALUES)]
    # add.at adds one value after the other to what is there: ranges give the bits that the whole at once would.
    for part in ranges:
        np.add.at(total, matrix.indices[part], matrix.data[part].astype(np.float64))
    mean = total / n
    for part in ranges:
        np.add.at(square, matrix.indices[part], (matrix.data[part] - mean[matrix.indices[part]]) ** 2)
    stored = np.bincount(matrix.indices, minlength=p)
    return mean, np.sqrt((square + (n - stored) * mean**2) / n)


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
    z = np.clip((values.data - mean[values.indices]) / scale[values.indices], -CLIP, CLIP) - baseline[values.indices]
    z[sd[values.indices] <= 0] = 0.0
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
    # entry were zero, gene block by gene block, then put right the stored entries. Many genes have the same few counts,
    # and many
    # cells the same depth, so that each share is summed once over the different depths.
    shares, gene = np.unique(share, return_inverse=True)
    depths, cells = np.unique(depth, return_counts=True)
    first, second = np.zeros(len(shares)), np.zeros(len(shares))
    step = max(1, 4_000_000 // max(len(depths), 1))
    for start in range(0, len(shares), step):
        mu = np.outer(shares[start : start + step], depths)
        zero = np.minimum(np.sqrt(mu / (1 + mu / theta)), cut)
        first[start : start + step] = -(zero * cells).sum(axis=1)
        second[start : start + step] = (zero**2 * cells).sum(axis=1)
    first, second = first[gene], second[gene]
    mu = np.repeat(depth, np.diff(matrix.indptr)) * share[matrix.indices]
    # Explicit zeros fit the formula as they are.
    spread = np.sqrt(np.where(mu > 0, mu, 1.0) * (1 + mu / theta))
    real = np.clip((matrix.data - mu) / spread, -cut, cut)
    zero = np.minimum(mu / spread, cut)
    first += np.bincount(matrix.indices, weights=real + zero, minlength=p)
    second += np.bincount(matrix.indices, weights=real**2 - zero**2, minlength=p)
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
