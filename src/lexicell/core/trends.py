"""What changes along an ordering: smooth curves, their size, and where they turn.

All but one of these functions describe: a pseudotime is computed from the very values whose change along it is looked
at, so a p value of that change means nothing. :func:`trend_test` is for counts that the ordering has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError

__all__ = ["Trends", "separation", "spline_basis", "trend_test", "trends", "turning_points"]

_COLUMNS = 512  # features at a time, so that cells x features never stands in memory as a whole


@dataclass(frozen=True, eq=False)
class Trends:
    """Smooth curves of features along an ordering.

    Attributes
    ----------
    grid
        Positions, shape ``(n_grid,)``.
    curves
        Smoothed value of each feature, shape ``(n_grid, n_features)``, float64, in units of the feature.
    amplitude
        Largest minus smallest value of the curve, shape ``(n_features,)``.
    explained
        Share of the feature's variance that the curve predicts for cells left out one at a time, shape
        ``(n_features,)``; below 0 where the curve predicts worse than the mean; 0 for features without variance.
    spearman
        Rank correlation with the ordering, shape ``(n_features,)``; 0 for features without variance.
    """

    grid: NDArray[np.float64]
    curves: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    explained: NDArray[np.float64]
    spearman: NDArray[np.float64]


def spline_basis(time: ArrayLike, at: ArrayLike, n_splines: int = 6) -> NDArray[np.float64]:
    """Cubic B-splines with knots at quantiles of `time`, at some positions.

    Parameters
    ----------
    time
        Positions of the cells, shape ``(n_cells,)``: where there are many cells, knots are dense.
    at
        Positions to evaluate at, within the range of `time`.
    n_splines
        Number of splines, the degrees of freedom of the curve, at least 4. Fewer where quantiles fall together.

    Returns
    -------
    Shape ``(len(at), n_splines)``; rows sum to 1.
    """
    from scipy.interpolate import BSpline

    t = np.asarray(time, dtype=np.float64)
    low, high = float(t.min()), float(t.max())
    inner = np.quantile(t, np.linspace(0, 1, n_splines - 2)[1:-1])
    inner = np.unique(inner[(inner > low) & (inner < high)])
    knots = np.concatenate([[low] * 4, inner, [high] * 4])
    return np.asarray(BSpline.design_matrix(np.clip(np.asarray(at, float), low, high), knots, 3).toarray())


def trends(time: ArrayLike, values: Any, *, n_splines: int = 6, n_grid: int = 100) -> Trends:
    r"""Fit a cubic regression spline to each feature.

    With B the spline basis at the cells, curves are :math:`B(t)\,(B^\top B)^{+} B^\top Y`. The smoother is linear with
    leverages :math:`h_i`, so the prediction of each cell from all others comes without refitting:
    :math:`r_i = (y_i - \hat y_i) / (1 - h_i)`, and `explained` is :math:`1 - \sum r_i^2 / \sum (y_i - \bar y_{-i})^2`.

    Parameters
    ----------
    time
        Position of each cell, shape ``(n_cells,)``, finite.
    values
        Cells x features, dense or sparse.
    n_splines
        Degrees of freedom of a curve, at least 4.
    n_grid
        Positions of the curves, evenly spaced over the range of `time`.

    Raises
    ------
    InputError
        If there are fewer than ``4 * n_splines`` cells, or all stand at one position.
    """
    t = np.asarray(time, dtype=np.float64)
    if n_splines < 4:
        raise InputError(f"n_splines must be at least 4 for cubic splines, got {n_splines}")
    if len(t) < 4 * n_splines or np.ptp(t) == 0:
        raise InputError(
            f"{len(t)} cells at {len(np.unique(t))} positions are too few for curves of {n_splines} degrees of freedom"
        )
    basis = spline_basis(t, t, n_splines)
    grid = np.linspace(t.min(), t.max(), n_grid)
    onto = np.linalg.pinv(basis.T @ basis)
    leverage = np.minimum(np.einsum("ij,jk,ik->i", basis, onto, basis), 1 - 1e-9)
    at_grid = spline_basis(t, grid, n_splines)
    matrix: Any = sp.csc_matrix(values) if sp.issparse(values) else np.asarray(values)
    ranks = _ranks(t[:, None])[:, 0]
    curves = np.empty((n_grid, matrix.shape[1]))
    explained, spearman = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
    for start in range(0, matrix.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        block = matrix[:, part]
        Y = np.asarray(block.toarray() if sp.issparse(block) else block, dtype=np.float64)
        weights = onto @ (basis.T @ Y)
        curves[:, part] = at_grid @ weights
        left_out = (Y - basis @ weights) / (1 - leverage)[:, None]
        centred = Y - Y.mean(axis=0)
        around = ((centred * len(t) / (len(t) - 1)) ** 2).sum(axis=0)
        varies = around > 1e-12 * np.maximum((Y**2).sum(axis=0), 1e-300)
        share = 1 - (left_out**2).sum(axis=0) / np.where(varies, around, 1.0)
        explained[part] = np.where(varies, share, 0.0)
        spearman[part] = np.where(varies, _correlate(ranks, _ranks(Y)), 0.0)
    return Trends(grid, curves, np.ptp(curves, axis=0), explained, spearman)


def _ranks(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return np.asarray(rankdata(columns, axis=0))


def _correlate(x: NDArray[np.float64], Y: NDArray[np.float64]) -> NDArray[np.float64]:
    a, B = x - x.mean(), Y - Y.mean(axis=0)
    scale = np.sqrt((a**2).sum() * (B**2).sum(axis=0))
    return np.asarray((a @ B) / np.where(scale > 0, scale, 1.0))


def trend_test(
    time: ArrayLike, counts: Any, totals: ArrayLike, *, n_splines: int = 6
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""F test that a gene's share of a cell's counts changes along an ordering which those counts have not shaped.

    With counts x, library sizes n and spline basis B, the model of no change is :math:`E x_i = n_i s`. Quasi-Poisson
    noise, :math:`\mathrm{var}\,x_i = \phi\, n_i s`, makes this weighted least squares of x / n with weights n. With C
    the basis centred under these weights, :math:`u = C^\top x`, :math:`A = C^\top \mathrm{diag}(n)\, C` and k the rank
    of A,

    .. math:: S = \frac{u^\top A^{+} u}{s}, \quad X^2 = \sum_i \frac{(x_i - n_i s)^2}{n_i s}, \quad
              F = \frac{S / k}{(X^2 - S) / (N - k - 1)} \sim F_{k, N - k - 1}.

    A and the degrees of freedom are those of all genes, so that a test costs one product with the counts.

    Parameters
    ----------
    time
        Position of each cell, shape ``(n_cells,)``, finite, computed from other counts.
    counts
        Cells x genes, whole numbers, dense or sparse.
    totals
        Library size of each cell over all genes of the same counts, shape ``(n_cells,)``, positive.
    n_splines
        Splines, at least 4: the test has one degree of freedom fewer.

    Returns
    -------
    F and p, each ``(n_genes,)``, float64; NaN for genes without counts.

    Raises
    ------
    InputError
        If a cell has no counts, or there are too few cells for the splines.

    References
    ----------
    The quasi-likelihood F test of generalized linear models: McCullagh and Nelder, Generalized Linear Models, 1989.
    """
    from scipy.stats import f as f_distribution

    t, n = np.asarray(time, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if len(t) < 4 * n_splines or np.ptp(t) == 0:
        raise InputError(f"{len(t)} cells at {len(np.unique(t))} positions are too few for {n_splines} splines")
    if not (n > 0).all():
        raise InputError(f"{int((n <= 0).sum())} cells have no counts to test; remove them first")
    X = sp.csr_matrix(counts, dtype=np.float64)
    basis = spline_basis(t, t, n_splines)
    centred = basis - (n @ basis) / n.sum()
    A = centred.T @ (centred * n[:, None])
    # Rows of the basis sum to 1, so that one direction is always lost in centring.
    rank = int(np.linalg.matrix_rank(A, tol=1e-10 * float(np.trace(A)), hermitian=True))
    inverse = np.linalg.pinv(A, hermitian=True, rcond=1e-10)
    share = np.asarray(X.sum(axis=0)).ravel() / n.sum()
    u = np.asarray(X.T @ centred)
    # sum (x - ns)^2 / (ns) = sum x^2 / (ns) - 2 sum x + s sum n, and the last two are equal up to the factor.
    squares = np.bincount(X.indices, weights=X.data**2 / np.repeat(n, np.diff(X.indptr)), minlength=X.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        S = np.einsum("gi,ij,gj->g", u, inverse, u) / share
        pearson = squares / share - share * n.sum()
        rest = len(t) - rank - 1
        F = (S / rank) / (np.maximum(pearson - S, 1e-12 * pearson) / rest)
    F = np.where(share > 0, F, np.nan)
    return F, np.asarray(f_distribution.sf(F, rank, rest))


def turning_points(grid: ArrayLike, curve: ArrayLike, *, prominence: float = 0.1) -> NDArray[np.float64]:
    """Positions where a curve turns from rising to falling or back.

    Parameters
    ----------
    grid, curve
        Positions and values, shape ``(n_grid,)``.
    prominence
        Least depth of a turn, as a share of the curve's amplitude; smaller ones are ripples of the fit.

    Returns
    -------
    Positions, rising; empty for a curve that only rises or only falls.
    """
    from scipy.signal import find_peaks

    x, y = np.asarray(grid, dtype=np.float64), np.asarray(curve, dtype=np.float64)
    size = float(np.ptp(y))
    if size == 0:
        return np.zeros(0)
    turns = [find_peaks(sign * y, prominence=prominence * size)[0] for sign in (1, -1)]
    return np.asarray(x[np.sort(np.concatenate(turns))])


def separation(values: Any, one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    r"""Difference of the means of two groups of cells over their pooled standard deviation (Cohen's d).

    Parameters
    ----------
    values
        Cells x features, dense or sparse.
    one, other
        Rows of the two groups, at least two each.

    Returns
    -------
    Shape ``(n_features,)``, float64; 0 where nothing varies within the groups.
    """
    rows = [np.asarray(r) for r in (one, other)]
    means, squares = [], []
    for r in rows:
        block = values[r]
        if sp.issparse(block):
            mean = np.asarray(block.mean(axis=0), dtype=np.float64).ravel()
            second = np.asarray(block.multiply(block).mean(axis=0), dtype=np.float64).ravel()
            squares.append(len(r) * np.maximum(second - mean**2, 0.0))
        else:
            mean = np.asarray(block, dtype=np.float64).mean(axis=0)
            squares.append(((block - mean) ** 2).sum(axis=0))
        means.append(mean)
    sd = np.sqrt((squares[0] + squares[1]) / max(len(rows[0]) + len(rows[1]) - 2, 1))
    # Below this the spread is rounding noise, and d would be anything.
    noise = sd <= 1e-6 * np.maximum(np.abs(means[0]) + np.abs(means[1]), 1e-300)
    return np.where(noise, 0.0, (means[0] - means[1]) / np.where(noise, 1.0, sd))
