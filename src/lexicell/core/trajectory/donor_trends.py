"""Whether a gene changes along an ordering in every donor, tested on an order that knows nothing of the gene.

A pseudotime is computed from the same values whose change along it is asked for, so that a gene follows it by its own
noise, in every donor alike. Two things are therefore left out: the order of a donor's cells is predicted from the
pseudotimes of all other donors, and the gene that is tested has no part in that prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError
from ..donors.moderated import moderated_t
from ..donors.shift import Design
from ..expression.log_values import column_stats

__all__ = ["PredictedOrder", "donor_trend_test", "predict_order"]

Floats = NDArray[np.float64]

MIN_DONORS = 3
MIN_CELLS = 20
"""Cells a donor needs: two curvatures are estimated in each."""


@dataclass(frozen=True, eq=False)
class PredictedOrder:
    """Pseudotime of each cell as the other donors predict it: linear in log values.

    Attributes
    ----------
    order
        ``(n_cells,)``, up to a constant per donor.
    weights
        ``(n_donors, n_genes)``: the predictor of each donor, fitted without it.
    """

    order: Floats
    weights: Floats


def predict_order(log: sp.csr_matrix, time: Floats, donors: NDArray[np.int64]) -> PredictedOrder:
    r"""Predict each donor's pseudotime by a ridge regression fitted on all other donors.

    With Z the standardized log values, centered within donors as is the pseudotime t, the weights of donor d are
    :math:`(Z_{-d}^\top Z_{-d} + n_{-d} I)^{-1} Z_{-d}^\top t_{-d}`.

    Parameters
    ----------
    log
        Log values, ``(n_cells, n_genes)``.
    time
        Pseudotime, ``(n_cells,)``, finite.
    donors
        Donor of each cell, ``0`` to ``n_donors - 1``.

    Raises
    ------
    InputError
        If there are fewer than three donors, or a donor has fewer than 20 cells.
    """
    sizes = np.bincount(donors)
    if len(sizes) < MIN_DONORS or sizes.min() < MIN_CELLS:
        raise InputError(
            f"the test over donors needs at least {MIN_DONORS} donors of {MIN_CELLS} cells each on this way; there are "
            f"{len(sizes)}, the smallest with {sizes.min() if len(sizes) else 0} cells"
        )
    sd = column_stats(log)[1]
    scale = np.where(sd > 0, sd, 1.0)

    def centered(d: int) -> tuple[Floats, Floats]:
        # One donor at a time: all cells at once would not be sparse any more.
        Z = log[donors == d].toarray() / scale
        t = time[donors == d]
        return Z - Z.mean(axis=0), t - t.mean()

    gram, product = np.zeros((log.shape[1], log.shape[1])), np.zeros(log.shape[1])
    for d in range(len(sizes)):
        Z, t = centered(d)
        gram += Z.T @ Z
        product += Z.T @ t
    order = np.empty(len(time))
    weights = np.empty((len(sizes), log.shape[1]))
    for d in range(len(sizes)):
        Z, t = centered(d)
        ridge = (len(time) - sizes[d]) * np.eye(log.shape[1])
        beta = np.linalg.solve(gram - Z.T @ Z + ridge, product - Z.T @ t)
        order[donors == d] = Z @ beta
        weights[d] = beta / scale
    return PredictedOrder(order, weights)


def donor_trend_test(
    found: PredictedOrder,
    log: sp.csr_matrix,
    counts: sp.csr_matrix,
    totals: Floats,
    donors: NDArray[np.int64],
    place: NDArray[np.int64],
) -> Floats:
    r"""P values, over donors, of a change of each gene's share of the counts along the predicted order.

    For gene g the order is :math:`t = \hat t - \hat\beta_g l_g`, without the gene's own part. In each donor,
    :math:`c_1` and :math:`c_2` are t and its square made orthogonal, under weights n (the totals), to a constant and to
    each other, with :math:`\sum n c^2 = 1`. So :math:`u_{dk} = \sum_i c_{ki} x_{ig} / \sqrt{s_g}` is zero on average if
    the gene's share :math:`s_g` does not change along t in donor d, whatever its level there. A moderated t over donors
    tests each k; p is twice the smaller one, at most 1.

    Parameters
    ----------
    found
        The order, and the predictor that made it.
    log
        Log values of the genes of the predictor, ``(n_cells, n_predictors)``.
    counts
        Counts of the genes to test, ``(n_cells, n_genes)``.
    totals
        Library size of each cell, positive.
    donors
        Donor of each cell, from 0.
    place
        Column of each tested gene in `log`, -1 for genes that have no part in the order.

    Returns
    -------
    ``(n_genes,)``; NaN for genes without counts.

    References
    ----------
    Smyth 2004, doi:10.2202/1544-6115.1027 (moderated t).
    """
    n_donors = int(donors.max()) + 1
    X = sp.csc_matrix(counts, dtype=np.float64)
    values = sp.csc_matrix(log)
    share = np.asarray(X.sum(axis=0)).ravel() / totals.sum()
    member = sp.csr_matrix((np.ones(len(donors)), (donors, np.arange(len(donors)))), shape=(n_donors, len(donors)))
    contrasts = np.full((2, n_donors, X.shape[1]), np.nan)
    apart = np.flatnonzero((place < 0) & (share > 0))
    for k, c in enumerate(_contrasts(found.order, totals, donors)):
        contrasts[k][:, apart] = (member.multiply(c) @ X[:, apart]).toarray()
    for g in np.flatnonzero((place >= 0) & (share > 0)):
        own = values[:, [place[g]]].toarray().ravel() * found.weights[donors, place[g]]
        x = X[:, [g]].toarray().ravel()
        for k, c in enumerate(_contrasts(found.order - own, totals, donors)):
            contrasts[k][:, g] = np.bincount(donors, weights=c * x, minlength=n_donors)
    p = np.full(X.shape[1], np.nan)
    some = np.flatnonzero(share > 0)
    scaled = contrasts[:, :, some] / np.sqrt(share[some])
    both = [moderated_t(u, Design.of(np.ones(n_donors), is_paired=True)).p for u in scaled]
    p[some] = np.minimum(1.0, 2 * np.minimum(*both))
    return p


def _contrasts(t: Floats, totals: Floats, donors: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Slope and curvature within each donor, orthonormal under the totals."""
    linear = _unit(_centered(t, totals, donors), totals, donors)
    bent = _centered(linear**2, totals, donors)
    bent -= linear * np.bincount(donors, weights=totals * linear * bent)[donors]
    return linear, _unit(bent, totals, donors)


def _centered(values: Floats, totals: Floats, donors: NDArray[np.int64]) -> Floats:
    mean = np.bincount(donors, weights=totals * values) / np.bincount(donors, weights=totals)
    return np.asarray(values - mean[donors])


def _unit(values: Floats, totals: Floats, donors: NDArray[np.int64]) -> Floats:
    length = np.sqrt(np.bincount(donors, weights=totals * values**2))
    return np.asarray(values / np.where(length > 0, length, 1.0)[donors])
