"""What changes along an ordering: smooth curves, their size, and where they turn.

All of this describes: a pseudotime is computed from the same values whose change along it is measured, so a p value of
that change means nothing. :mod:`lexicell.core.trajectory.donor_trends` tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError

__all__ = ["Trends", "separation", "spline_basis", "trends", "turning_points"]

_COLUMNS = 512  # features at a time, so that cells x features is never dense in memory as a whole


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
        Fraction of the feature's variance that the curve predicts for cells left out one at a time, shape
        ``(n_features,)``; below 0 if the curve predicts worse than the mean; 0 for features without variance.
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
        Positions of the cells, shape ``(n_cells,)``; knots are dense where cells are.
    at
        Positions to evaluate at, within the range of `time`.
    n_splines
        Number of splines, the degrees of freedom of the curve, at least 4. Fewer are returned if quantiles are equal.

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
    leverages :math:`h_i`, so predicting each cell from all others needs no refitting:
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
        If there are fewer than ``4 * n_splines`` cells, or all have one position.
    """
    from scipy.stats import rankdata

    t = np.asarray(time, dtype=np.float64)
    if n_splines < 4:
        raise InputError(f"n_splines must be at least 4 for cubic splines, got {n_splines}")
    if len(t) < 4 * n_splines or np.ptp(t) == 0:
        raise InputError(
            f"{len(t)} cells at {len(np.unique(t))} positions are too few for curves with {n_splines} splines; "
            "use more cells or fewer n_splines"
        )
    basis = spline_basis(t, t, n_splines)
    grid = np.linspace(t.min(), t.max(), n_grid)
    onto = np.linalg.pinv(basis.T @ basis)
    leverage = np.minimum(np.einsum("ij,jk,ik->i", basis, onto, basis), 1 - 1e-9)
    at_grid = spline_basis(t, grid, n_splines)
    matrix: Any = sp.csc_matrix(values) if sp.issparse(values) else np.asarray(values)
    ranks = rankdata(t)
    n_features = matrix.shape[1]
    curves = np.empty((n_grid, n_features))
    explained = np.zeros(n_features)
    spearman = np.zeros(n_features)
    for start in range(0, n_features, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        block = matrix[:, part]
        if sp.issparse(block):
            block = block.toarray()
        Y = np.asarray(block, dtype=np.float64)
        weights = onto @ (basis.T @ Y)
        curves[:, part] = at_grid @ weights
        left_out = (Y - basis @ weights) / (1 - leverage)[:, None]
        # The mean is left out in the same way, or it would know the cell it predicts.
        centered = Y - Y.mean(axis=0)
        around = ((centered * len(t) / (len(t) - 1)) ** 2).sum(axis=0)
        varies = around > 1e-12 * np.maximum((Y**2).sum(axis=0), 1e-300)
        share = 1 - (left_out**2).sum(axis=0) / np.where(varies, around, 1.0)
        explained[part] = np.where(varies, share, 0.0)
        spearman[part] = np.where(varies, _correlate(ranks, rankdata(Y, axis=0)), 0.0)
    return Trends(grid, curves, np.ptp(curves, axis=0), explained, spearman)


def _correlate(x: NDArray[np.float64], Y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson correlation of x with each column of Y."""
    a = x - x.mean()
    B = Y - Y.mean(axis=0)
    scale = np.sqrt((a**2).sum() * (B**2).sum(axis=0))
    return np.asarray((a @ B) / np.where(scale > 0, scale, 1.0))


def turning_points(grid: ArrayLike, curve: ArrayLike, *, prominence: float = 0.1) -> NDArray[np.float64]:
    """Positions where a curve turns from rising to falling or back.

    Parameters
    ----------
    grid, curve
        Positions and values, shape ``(n_grid,)``.
    prominence
        Smallest depth of a turn, as a fraction of the curve's amplitude; smaller ones are ripples of the fit.

    Returns
    -------
    Positions, ascending; empty for a curve that only rises or only falls.
    """
    from scipy.signal import find_peaks

    x, y = np.asarray(grid, dtype=np.float64), np.asarray(curve, dtype=np.float64)
    size = float(np.ptp(y))
    if size == 0:
        return np.zeros(0)
    peaks = find_peaks(y, prominence=prominence * size)[0]
    valleys = find_peaks(-y, prominence=prominence * size)[0]
    return np.asarray(x[np.sort(np.concatenate([peaks, valleys]))])


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
    rows = [np.asarray(one), np.asarray(other)]
    means = []
    squares = []
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
    # Below this the standard deviation is rounding noise, and d could be anything.
    noise = sd <= 1e-6 * np.maximum(np.abs(means[0]) + np.abs(means[1]), 1e-300)
    return np.where(noise, 0.0, (means[0] - means[1]) / np.where(noise, 1.0, sd))
