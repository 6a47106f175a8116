"""Predictions for cells of donors that took no part in the fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .shift import Floats

__all__ = ["cell_scores", "draw_cells", "pair_auc"]

_COMPONENTS = 50  # of each cell type's own cells, found without labels


def _auc(case: Floats, control: Floats) -> float:
    """Probability that a case scores above a control, ties counting half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([case, control]))[: len(case)]
    return float((ranks.sum() - len(case) * (len(case) + 1) / 2) / (len(case) * len(control)))


def draw_cells(
    rows: NDArray[np.int64], donors: NDArray[np.int64], *, max_cells: int = 30, rng: int | np.random.Generator = 0
) -> NDArray[np.int64]:
    """Up to `max_cells` of the cells `rows` from each donor, so that no donor dominates; donor by donor."""
    generator = np.random.default_rng(rng)
    own = donors[rows]
    return np.concatenate([generator.permutation(rows[own == d])[:max_cells] for d in np.unique(own)])


def pair_auc(C: ArrayLike, donors: ArrayLike, case: ArrayLike, *, ridge: float = 1.0) -> float:
    r"""Tell cells of an unseen case donor from cells of an unseen control donor.

    Every pair of one case and one control donor is left out in turn, a ridge discriminant is fitted on all others,
    and the AUC of the pair's cells is taken; the mean over pairs is returned. 0.5 where nothing can be told.

    Parameters
    ----------
    C
        ``(n_cells, dim)`` embedding of the cells of one type; see :func:`draw_cells`.
    donors
        ``(n_cells,)`` codes.
    case
        ``(n_cells,)`` bool.
    ridge
        Penalty, in units of the mean of 1 per standardized dimension and cell.

    Returns
    -------
    NaN with fewer than two donors in an arm.
    """
    Z, who = np.asarray(C, dtype=np.float64), np.asarray(donors)
    y = np.asarray(case, dtype=bool).astype(np.float64)
    cases, controls = np.unique(who[y == 1]), np.unique(who[y == 0])
    if min(len(cases), len(controls)) < 2:
        return float("nan")
    Z = _components(Z)
    keys = np.concatenate([cases, controls])
    member = [who == d for d in keys]
    # Left out pairs are subtracted from sums over donors, so nothing is summed twice.
    moments = np.stack([Z[m].T @ Z[m] for m in member])
    sums = np.stack([Z[m].sum(axis=0) for m in member])
    sizes = np.array([m.sum() for m in member], dtype=np.float64)
    case_sum, case_size = sums[: len(cases)].sum(axis=0), sizes[: len(cases)].sum()
    values = []
    for a in range(len(cases)):
        for b in range(len(cases), len(keys)):
            n = sizes.sum() - sizes[a] - sizes[b]
            mean = (sums.sum(axis=0) - sums[a] - sums[b]) / n
            spread = (moments.sum(axis=0) - moments[a] - moments[b]) / n - np.outer(mean, mean)
            share = (case_size - sizes[a]) / n
            slope = (case_sum - sums[a]) / n - mean * share
            sd2 = np.maximum(np.diagonal(spread), 1e-12)
            weights = np.linalg.solve(spread + ridge * np.diag(sd2), slope)
            values.append(_auc(Z[member[a]] @ weights, Z[member[b]] @ weights))
    return float(np.mean(values))


def _components(Z: Floats) -> Floats:
    centered = Z - Z.mean(axis=0)
    if Z.shape[1] <= _COMPONENTS:
        return np.asarray(centered)
    if len(Z) < Z.shape[1]:
        # Fewer cells than dimensions: their Gram matrix gives the same components.
        values, vectors = np.linalg.eigh(centered @ centered.T)
        order = np.argsort(values)[::-1][: min(_COMPONENTS, len(Z) - 1)]
        return np.asarray(vectors[:, order] * np.sqrt(np.maximum(values[order], 0.0)))
    values, vectors = np.linalg.eigh(centered.T @ centered)
    order = np.argsort(values)[::-1][: min(_COMPONENTS, len(Z) - 1)]
    return np.asarray(centered @ vectors[:, order])


def cell_scores(
    along: Callable[[NDArray[np.int64], Floats], Floats],
    samples: NDArray[np.int64],
    means: Floats,
    present: NDArray[np.bool_],
    x: Floats,
    donors: NDArray[np.int64] | None = None,
) -> Floats:
    r"""Place of every cell between the controls (0) and the cases (1) of its type, its own donor left out.

    .. math:: s_c = \frac{(c - m_0^{(-d)}) \cdot \delta^{(-d)}}{|\delta^{(-d)}|^2}

    Parameters
    ----------
    along
        Gives ``c . u`` of some of the cells: called with their rows and with u.
    samples
        ``(n_cells,)`` sample of each cell of one type, a row of `means`.
    means, present
        ``(n_samples, dim)`` means of this type and which exist.
    x
        ``(n_samples,)``: 1 for cases, 0 for controls; NaN for samples that take no part in the fit.
    donors
        ``(n_samples,)`` donor of each sample; all samples of a donor are left out together. Default: one each.

    Returns
    -------
    ``(n_cells,)`` float64; NaN where fewer than two donors are left in an arm.
    """
    out = np.full(len(samples), np.nan)
    owner = np.arange(len(x)) if donors is None else donors
    for d in np.unique(samples):
        others = present & (owner != owner[d])
        case, control = others & (x == 1), others & (x == 0)
        if min(case.sum(), control.sum()) < 2:
            continue
        start = means[control].mean(axis=0)
        direction = means[case].mean(axis=0) - start
        rows = np.flatnonzero(samples == d)
        length = float(direction @ direction)
        if length > 0:
            out[rows] = (along(rows, direction) - start @ direction) / length
    return out
