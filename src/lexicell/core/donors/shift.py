r"""How far a condition moves a cell type: squared distance between donor means, its noise, and their ratio.

Every statistic is a function of the Gram matrix of the donors (:func:`lexicell.core.donors.means.gram`), evaluated for
many arrangements of the donors at once. With :math:`\delta` the difference (or slope) and :math:`v` the expected
squared length that donor noise alone gives it:

.. math:: d^2 = |\delta|^2 - v, \qquad F = |\delta|^2 / v

:math:`d^2` is unbiased for the squared shift: zero on average where there is none, and negative half of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError
from .permutation import Permutations, arrangements, orders, sign_flips

__all__ = ["Design", "Shift", "coefficients", "freedman_lane", "linear", "paired", "two_group"]

Floats = NDArray[np.float64]
_TINY = 1e-12


@dataclass(frozen=True)
class Shift:
    """Statistics of one cell type, one entry an arrangement; NaN where an arrangement leaves nothing to compare.

    Attributes
    ----------
    delta2
        Squared length of the shift.
    noise
        What donor noise adds to it on average.
    """

    delta2: Floats
    noise: Floats

    @property
    def d2(self) -> Floats:
        """Unbiased squared shift."""
        return self.delta2 - self.noise

    @property
    def f(self) -> Floats:
        """Shift relative to donor noise."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.noise > 0, self.delta2 / self.noise, np.nan)


def _quadratic(A: Floats, G: Floats) -> Floats:
    """Evaluate a' G a for each row a."""
    return np.asarray(np.einsum("bi,bi->b", A @ G, A))


def two_group(G: Floats, case: Floats) -> Shift:
    r"""Cases against controls, each arm with its own variance.

    .. math:: v = \mathrm{tr}\,S_1 / n_1 + \mathrm{tr}\,S_0 / n_0

    Parameters
    ----------
    G
        ``(n_donors, n_donors)`` Gram matrix.
    case
        ``(n_arrangements, n_donors)``: 1 for cases, 0 for controls. An arm of fewer than two donors gives NaN.
    """
    control = 1.0 - case
    n1, n0 = case.sum(axis=1), control.sum(axis=1)
    usable = (n1 >= 2) & (n0 >= 2)
    n1, n0 = np.where(usable, n1, np.nan), np.where(usable, n0, np.nan)
    own = np.diagonal(G)
    within1, within0 = _quadratic(case, G), _quadratic(control, G)
    across = np.einsum("bi,bi->b", case @ G, control)
    delta2 = within1 / n1**2 + within0 / n0**2 - 2 * across / (n1 * n0)
    trace1 = (case @ own - within1 / n1) / (n1 - 1)
    trace0 = (control @ own - within0 / n0) / (n0 - 1)
    return Shift(delta2, trace1 / n1 + trace0 / n0)


def paired(G: Floats, signs: Floats) -> Shift:
    r"""Mean of paired differences: :math:`v = \mathrm{tr}\,S / n`.

    Parameters
    ----------
    G
        ``(n_pairs, n_pairs)`` inner products of the differences (case minus control), *not* centered.
    signs
        ``(n_arrangements, n_pairs)`` of +1 and -1; 0 leaves a pair out.
    """
    n = np.abs(signs).sum(axis=1)
    n = np.where(n >= 2, n, np.nan)
    total = _quadratic(signs, G)
    trace = (np.abs(signs) @ np.diagonal(G) - total / n) / (n - 1)
    return Shift(total / n**2, trace / n)


def _residual_maker(Z: Floats) -> tuple[Floats, int]:
    """The projection that takes the columns of Z out, and their rank."""
    left, singular, _ = np.linalg.svd(Z, full_matrices=False)
    basis = left[:, singular > 1e-10 * max(singular.max(initial=0.0), 1.0)]
    return np.eye(len(Z)) - basis @ basis.T, basis.shape[1]


def linear(G: Floats, X: Floats, Z: Floats) -> Shift:
    r"""Slope of the donors' means on `x`, given the columns of `Z` (least squares, one variance).

    .. math::
        \delta = M' x_\perp / x_\perp' x_\perp, \qquad
        v = \frac{\mathrm{RSS}}{(n - \mathrm{rank} - 1)\,x_\perp' x_\perp}

    Parameters
    ----------
    G
        ``(n_donors, n_donors)`` Gram matrix.
    X
        ``(n_arrangements, n_donors)`` values of x: stage, or 1 and 0.
    Z
        ``(n_donors, q)`` nuisance columns, the intercept included. An arrangement that `Z` explains wholly gives NaN.
    """
    R, rank = _residual_maker(Z)
    return _slope(R @ G @ R, X @ R, len(Z) - rank - 1)


def _slope(residual_gram: Floats, x: Floats, df: int) -> Shift:
    squares = np.einsum("bi,bi->b", x, x)
    squares = np.where((squares > _TINY) & (df >= 1), squares, np.nan)
    delta2 = _quadratic(x, residual_gram) / squares**2
    rss = np.maximum(np.trace(residual_gram) - delta2 * squares, 0.0)
    return Shift(delta2, rss / max(df, 1) / squares)


def freedman_lane(G: Floats, x: Floats, Z: Floats, order: NDArray[np.int64]) -> Shift:
    """The same slope with the residuals of the reduced model permuted (Freedman and Lane 1983), at donor level.

    The donors' means are freed of `Z`, their residuals change places as `order` says, the fitted part is added back,
    and the whole model is fitted again.

    Parameters
    ----------
    G
        ``(n_donors, n_donors)`` Gram matrix.
    x
        ``(n_donors,)`` the variable under test.
    Z
        ``(n_donors, q)`` nuisance columns, the intercept included.
    order
        ``(n_arrangements, n_donors)``: which donor's residual comes to each place.
    """
    R, rank = _residual_maker(Z)
    basis = np.linalg.svd(np.eye(len(Z)) - R)[0][:, :rank]
    residual_gram = R @ G @ R
    x_free = R @ x
    df, squares = len(Z) - rank - 1, float(x_free @ x_free)
    if squares <= _TINY or df < 1:
        empty = np.full(len(order), np.nan)
        return Shift(empty, empty)
    # Instead of moving the residuals we move the vectors they are multiplied with: place i holds residual order[i].
    inverse = np.argsort(order, axis=1)
    delta2 = _quadratic(x_free[inverse], residual_gram) / squares**2
    explained = sum((_quadratic(column[inverse], residual_gram) for column in basis.T), np.zeros(len(order)))
    rss = np.maximum(np.trace(residual_gram) - explained - delta2 * squares, 0.0)
    return Shift(delta2, rss / df / squares)


@dataclass(frozen=True)
class Design:
    """What is compared, donor by donor.

    Attributes
    ----------
    kind
        ``"two-group"``, ``"paired"`` (one entry a pair), ``"linear"`` (stages, or two groups within batches) or
        ``"freedman-lane"`` (covariates).
    x
        ``(n_donors,)``: 1 for cases and 0 for controls, or the stage counted from the lowest; ones where paired.
    nuisance
        ``(n_donors, q)`` columns of the linear kinds, the intercept included.
    blocks
        ``(n_donors,)`` batch codes: labels change places within a batch only. None: one batch.
    """

    kind: Literal["two-group", "paired", "linear", "freedman-lane"]
    x: Floats
    nuisance: Floats | None = None
    blocks: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        *,
        blocks: ArrayLike | None = None,
        covariates: ArrayLike | None = None,
        is_paired: bool = False,
    ) -> Design:
        """The simplest kind that fits.

        Raises
        ------
        InputError
            If a paired design comes with covariates or batches, which cancel in the differences of a pair.
        """
        values = np.asarray(x, dtype=np.float64)
        values = values - values.min(initial=np.inf) if len(values) else values
        codes = None if blocks is None else np.unique(np.asarray(blocks), return_inverse=True)[1].astype(np.int64)
        if is_paired:
            if covariates is not None or blocks is not None:
                raise InputError(
                    "a paired design takes no covariates and no batch: what is the same in both samples of a donor "
                    "cancels in their difference; leave them out, or set paired=False"
                )
            return cls("paired", np.ones(len(values)))
        columns = np.ones((len(values), 1)) if codes is None else np.eye(codes.max() + 1)[codes]
        if covariates is not None:
            extra = np.asarray(covariates, dtype=np.float64).reshape(len(values), -1)
            return cls("freedman-lane", values, np.column_stack([columns, extra]), codes)
        if codes is not None or len(np.unique(values)) > 2:
            return cls("linear", values, columns, codes)
        return cls("two-group", (values > 0).astype(np.float64))

    @property
    def n_donors(self) -> int:
        """Donors, or pairs."""
        return len(self.x)

    @property
    def symmetric(self) -> bool:
        """Whether swapping the arms gives the same distance, so that the smallest p is two arrangements."""
        if self.kind == "paired":
            return True
        if self.kind == "freedman-lane":
            return False
        mirrored = self.x.max() + self.x.min() - self.x
        if self.blocks is None:
            return bool(np.array_equal(np.sort(mirrored), np.sort(self.x)))
        return all(
            np.array_equal(np.sort(mirrored[self.blocks == b]), np.sort(self.x[self.blocks == b]))
            for b in np.unique(self.blocks)
        )

    def subset(self, donors: NDArray[np.bool_]) -> Design:
        """The same comparison among some of the donors."""
        return Design(
            self.kind,
            self.x[donors],
            None if self.nuisance is None else self.nuisance[donors],
            None if self.blocks is None else self.blocks[donors],
        )

    def permutations(self, *, n_draws: int, rng: int | np.random.Generator) -> Permutations:
        """The arrangements this comparison allows under the null."""
        if self.kind == "paired":
            return sign_flips(self.n_donors, n_draws=n_draws, rng=rng)
        if self.kind == "freedman-lane":
            return orders(self.n_donors, self.blocks, n_draws=n_draws, rng=rng)
        return arrangements(self.x, self.blocks, n_draws=n_draws, rng=rng)

    def evaluate(self, G: Floats, rows: NDArray[np.generic]) -> Shift:
        """The statistics under each row of :meth:`permutations`; `G` and `rows` belong to the same donors."""
        if self.kind == "paired":
            return paired(G, np.asarray(rows, dtype=np.float64))
        if self.kind == "two-group":
            return two_group(G, np.asarray(rows, dtype=np.float64))
        if self.nuisance is None:
            raise InputError("a linear design needs its nuisance columns; build it with Design.of")
        if self.kind == "linear":
            return linear(G, np.asarray(rows, dtype=np.float64), self.nuisance)
        return freedman_lane(G, self.x, self.nuisance, np.asarray(rows, dtype=np.int64))

    def observed(self, G: Floats) -> Shift:
        """The statistics of the data as they are: one entry."""
        row = np.arange(self.n_donors) if self.kind == "freedman-lane" else self.x
        return self.evaluate(G, row[None, :])

    @property
    def arms(self) -> tuple[int, int]:
        """Donors beyond the lowest value of x (the reference) and at it; both are the number of pairs where paired."""
        if self.kind == "paired":
            return self.n_donors, self.n_donors
        return int((self.x > 0).sum()), int((self.x == 0).sum())

    @property
    def residual_df(self) -> int:
        """Degrees of freedom left for the noise."""
        if self.kind == "paired":
            return self.n_donors - 1
        if self.kind == "two-group" or self.nuisance is None:
            return self.n_donors - 2
        return self.n_donors - _residual_maker(self.nuisance)[1] - 1


def coefficients(design: Design) -> Floats:
    r"""Weights `w` over donors with :math:`\delta = M' w`: delta itself, not only its length; ``(n_donors,)``."""
    if design.kind == "paired":
        return np.full(design.n_donors, 1 / design.n_donors)
    if design.kind == "two-group" or design.nuisance is None:
        case = design.x.astype(bool)
        return np.asarray(np.where(case, 1 / case.sum(), -1 / (~case).sum()))
    free = _residual_maker(design.nuisance)[0] @ design.x
    return np.asarray(free / (free @ free))
