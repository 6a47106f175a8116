r"""What a cell type expresses in a donor: the log of its summed counts, and how well each gene is known.

The mean of log values over cells depends on depth: a molecule more or less changes the log of a shallow cell and of a
deep one differently, so donors sequenced less deeply shift together. The log of a sum follows depth far less, and what
is left goes when every donor's sum is thinned to that of the shallowest. Thinning at random would throw counts away;
its expectation keeps them. With :math:`S_{sdg}` the counts of gene g in all cells of type s and donor d,
:math:`N_{sd}` their total over all genes, and :math:`q_{sd} = \min(1, N^*_s / N_{sd})`,

.. math::
    y_{sdg} = \mathrm{E}\bigl[\log(B + \tfrac12)\bigr] - \log\frac{q_{sd} N_{sd}}{10^4},
    \qquad B \sim \mathrm{Binomial}(S_{sdg}, q_{sd}).

A thinned Poisson count is a Poisson count of the smaller mean, so the expectation of y is the same at every depth.
:math:`N^*_s` is the smallest total among the donors. Thinning less would leave a difference between the arms of a type
that is nearly lost in one of them. The price is that a single donor with very few cells costs precision in all others;
it is paid for by leaving that donor out, which only `min_cells` does.

Counting gives :math:`y` the variance :math:`1 / S` beside what donors differ by, so a gene is weighted by its precision

.. math::
    w_g \propto \Bigl(\sigma_0^2 + \mathrm{mean}_s \frac{1}{\bar S_{sg} + \tfrac12}\Bigr)^{-1},

the same in every type, so that shifts of types can be compared. No label of a donor enters y or w: donors stay
exchangeable.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError

__all__ = [
    "Pseudobulk",
    "as_counts",
    "donor_variance",
    "expected_log",
    "holds_counts",
    "logs_of_sums",
    "pseudobulk",
    "without_shared",
]

Floats = NDArray[np.float64]
PRIOR_COUNT = 0.5
_TABLE = 200
_FEW_RATIOS = 30
_FLOOR = 0.01  # of the donors' variance: a tenth in log values, less than any two people differ by


@dataclass(frozen=True)
class Pseudobulk:
    r"""Log expression of each type in each donor.

    Attributes
    ----------
    log
        ``(n_types, n_donors, n_genes)``: y; NaN where there are too few cells.
    counting
        ``(n_types, n_genes)``: variance that counting alone gives y, :math:`1 / (\bar S + \tfrac12)`.
    weights
        ``(n_genes,)``: w, scaled to a mean square of one.
    donor_variance
        :math:`\sigma_0^2`, from the well-counted genes.
    sums, depth
        What it was made of: counts, and totals over all genes.
    """

    log: Floats
    counting: Floats
    weights: Floats
    donor_variance: float
    sums: Floats
    depth: Floats

    @property
    def weighted(self) -> Floats:
        """Logs times weights: what is projected and tested."""
        return self.log * self.weights

    def at_common_depth(self, types: NDArray[np.bool_]) -> Floats:
        """Log expression of some of the types at one total for all of them, the smallest in any; NaN in all others.

        The log of a count plus 1/2 bends where few molecules are counted, so the same change is smaller in a type of
        few cells. A test compares the donors of one type, which have one total anyway; sizes of shifts are compared
        between types.
        """
        depth = np.where(types[:, None], self.depth, np.nan)
        smallest = depth[np.isfinite(depth)].min(initial=np.inf)
        return _thinned(self.sums, depth, np.full(len(depth), smallest))


def holds_counts(log: sp.csr_matrix) -> bool:
    """Whether whole counts stand behind ``log1p`` of counts on any scale: ratios within a cell are whole then.

    True where too few ratios between 1.2 and 12 tell, as in cells of single molecules.
    """
    ratios, rows = _ratios(log)
    tell = (ratios > 1.2) & (ratios < 12)
    if tell.sum() < _FEW_RATIOS:
        return True
    ratios, rows = ratios[tell], rows[tell]
    # The smallest count of a cell may be 2 or 3.
    hits = [np.bincount(rows, np.abs(c * ratios - np.rint(c * ratios)) < 0.03) for c in (1, 2, 3)]
    return bool(np.max(hits, axis=0).sum() > 0.8 * len(ratios))


def as_counts(log: sp.csr_matrix) -> sp.csr_matrix:
    """Counts behind ``log1p`` of counts on one scale per cell.

    Where whole counts stand behind them (:func:`holds_counts`), a cell's smallest positive value is one molecule.
    Values that never were counts (TPM, FPKM), or are none any more (corrected for ambient RNA), have no such unit: a
    cell's proportions then add up to the number of genes it expresses, the fewest molecules it can hold.

    Raises
    ------
    InputError
        If values are too large to be logarithms.
    """
    ratios, rows = _ratios(log)
    out = sp.csr_matrix(log, dtype=np.float64, copy=True)
    out.data = ratios
    if not holds_counts(log):
        genes = np.bincount(rows, ratios > 0, minlength=out.shape[0])
        total = np.bincount(rows, ratios, minlength=out.shape[0])
        out.data *= (genes / np.where(total > 0, total, 1.0))[rows]
    return out


def _ratios(log: sp.csr_matrix) -> tuple[Floats, NDArray[np.int64]]:
    """Values without their logarithm, over the smallest positive one of the cell; and the cell of each."""
    with np.errstate(over="ignore"):
        values = np.expm1(np.asarray(log.data, dtype=np.float64))
    if not np.isfinite(values).all():
        raise InputError(
            f"values reach {log.data.max():.4g} and are taken for logarithms, which they cannot be; state what they "
            "are with normalization=, or name the layer that holds counts"
        )
    rows = np.repeat(np.arange(log.shape[0]), np.diff(log.indptr))
    smallest = np.full(log.shape[0], np.inf)
    np.minimum.at(smallest, rows[values > 0], values[values > 0])
    return values / smallest[rows], rows


def pseudobulk(
    counts: sp.csr_matrix,
    totals: ArrayLike,
    types: NDArray[np.int64],
    donors: NDArray[np.int64],
    present: NDArray[np.bool_],
) -> Pseudobulk:
    """Sum the counts of each type and donor and take logs.

    Parameters
    ----------
    counts
        Cells x genes.
    totals
        ``(n_cells,)`` counts of each cell over all genes, those not in `counts` included.
    types, donors
        ``(n_cells,)`` codes from 0; a cell with a negative code is left out.
    present
        ``(n_types, n_donors)``: which groups have cells enough.

    Raises
    ------
    InputError
        If the shapes disagree, a value is negative, or a group that is present has no counts at all.
    """
    matrix, per_cell = sp.csr_matrix(counts), np.asarray(totals, dtype=np.float64)
    if not matrix.shape[0] == len(per_cell) == len(types) == len(donors):
        raise InputError(
            f"{matrix.shape[0]} cells, {len(per_cell)} totals, {len(types)} types and {len(donors)} donors; "
            "one of each a cell is needed"
        )
    if matrix.nnz and matrix.data.min() < 0:
        raise InputError("counts must not be negative; name the layer that holds them with layer=")
    n_types, n_donors = present.shape
    known = np.flatnonzero((types >= 0) & (donors >= 0))
    group = types[known] * n_donors + donors[known]
    pick = sp.csr_matrix((np.ones(len(known)), (group, known)), shape=(n_types * n_donors, matrix.shape[0]))
    sums = np.asarray((pick @ matrix).todense(), dtype=np.float64).reshape(n_types, n_donors, -1)
    depth = np.asarray(pick @ per_cell).reshape(n_types, n_donors)
    if (depth[present] <= 0).any():
        raise InputError("a cell type has no counts in one of the donors; remove cells without counts first")
    return logs_of_sums(sums, np.where(present, depth, np.nan))


def logs_of_sums(sums: Floats, depth: Floats) -> Pseudobulk:
    """From sums to logs and weights.

    Parameters
    ----------
    sums
        ``(n_types, n_donors, n_genes)`` counts.
    depth
        ``(n_types, n_donors)`` totals over all genes; NaN where there are too few cells.
    """
    here = np.isfinite(depth)
    n_donors = np.maximum(here.sum(axis=1), 1)
    log = _thinned(sums, depth, np.where(here, depth, np.inf).min(axis=1, initial=np.inf))
    counting = 1 / (np.where(here[..., None], sums, 0.0).sum(axis=1) / n_donors[:, None] + PRIOR_COUNT)
    some = here.any(axis=1)
    spread = max(donor_variance(log[some], counting[some])[0], _FLOOR) if some.any() else _FLOOR
    weights = 1 / (spread + counting[some].mean(axis=0)) if some.any() else np.ones(sums.shape[-1])
    return Pseudobulk(log, counting, weights / np.sqrt((weights**2).mean()), spread, sums, depth)


def _thinned(sums: Floats, depth: Floats, aim: Floats) -> Floats:
    """y, the sums of each type thinned to the total `aim`; NaN where `depth` is."""
    log = np.full(sums.shape, np.nan)
    for t, d in zip(*np.nonzero(np.isfinite(depth)), strict=True):
        keep = min(1.0, aim[t] / depth[t, d])
        log[t, d] = expected_log(sums[t, d], keep) - np.log(keep * depth[t, d] / 1e4)
    return log


def expected_log(counts: Floats, keep: float) -> Floats:
    r"""Evaluate :math:`\mathrm{E}\log(B + 1/2)` with B binomial: a share `keep` of the counts kept at random.

    Summed exactly up to 200 counts (those between whole numbers by interpolation), by a second-order expansion above.
    """
    kept = keep * counts
    out = np.log(kept + 0.5)
    if keep >= 1:
        return np.asarray(out)
    out -= 0.5 * kept * (1 - keep) / (kept + 0.5) ** 2
    few = counts <= _TABLE
    out[few] = np.interp(counts[few], np.arange(_TABLE + 1), _expected_logs(keep))
    return np.asarray(out)


def _expected_logs(keep: float) -> Floats:
    """The expectation for 0, 1, ... counts."""
    values = np.log(np.arange(_TABLE + 1) + 0.5)
    chance, out = np.zeros(_TABLE + 1), np.empty(_TABLE + 1)
    chance[0] = 1.0
    for n in range(_TABLE + 1):
        out[n] = chance @ values
        # One more molecule is kept or not.
        chance[1:] = (1 - keep) * chance[1:] + keep * chance[:-1]
        chance[0] *= 1 - keep
    return out


def donor_variance(log: Floats, counting: Floats) -> tuple[float, float]:
    """What donors vary by beyond counting, and the part of it that the types of a donor share.

    Both are means over the fifth of the genes that are counted best in their worst type.

    Parameters
    ----------
    log, counting
        As in :class:`Pseudobulk`, types without donors left out.

    Returns
    -------
    The whole variance and the covariance between types; not below zero, and 0 where there is nothing to learn from.
    """
    worst = counting.max(axis=0)
    best = worst <= np.quantile(worst, 0.2)
    y, here = _centered(log[..., best])
    df = here.sum(axis=1) - 1
    use = df >= 1
    if not use.any():
        return 0.0, 0.0
    excess = (y[use] ** 2).sum(axis=1) / df[use, None] - counting[use][:, best]
    pairs = combinations(np.flatnonzero(use), 2)
    overlap = [(s, t, int((here[s] & here[t]).sum())) for s, t in pairs]
    shared = [float((y[s] * y[t]).sum(axis=0).mean() / (n - 1)) for s, t, n in overlap if n >= 2]
    return max(float(excess.mean()), 0.0), max(float(np.mean(shared)), 0.0) if shared else 0.0


def _centered(log: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Logs about their mean over the donors of a type, 0 where absent; and where they are not."""
    here = np.isfinite(log[..., 0])
    y = np.where(here[..., None], log, 0.0)
    mean = y.sum(axis=1) / np.maximum(here.sum(axis=1), 1)[:, None]
    return np.where(here[..., None], y - mean[:, None], 0.0), here


def without_shared(log: Floats, counting: Floats) -> tuple[Floats, Floats]:
    r"""Take out of each type what its donors show in all their other types.

    Donors differ from each other in all their cells at once: genotype, agonal state, ambient RNA. With y centered over
    the donors of a type, :math:`\tau^2` the variance that types share, :math:`\omega^2` the rest of the donors'
    variance and :math:`v_{sg} = \omega^2 + 1/(\bar S_{sg} + \tfrac12)`, the best linear prediction of what donor d
    shares is

    .. math:: \hat a_{sdg} = \frac{\sum_{t \ne s} y_{tdg} / v_{tg}}{\tau^{-2} + \sum_{t \ne s} 1 / v_{tg}},

    with error variance one over that denominator. No label enters, so donors stay exchangeable. A response that all
    types share goes as well: what is left is selective.

    Parameters
    ----------
    log
        ``(n_types, n_donors, n_genes)``; NaN where absent.
    counting
        ``(n_types, n_genes)``.

    Returns
    -------
    :math:`y - \hat a`, of the shape of `log`, and its precision for a donor who has all types,
    ``(n_types, n_genes)``, scaled to a mean square of one in each type: the weights at which noise weighs least.
    """
    y, here = _centered(log)
    out = np.where(here[..., None], y, np.nan)
    some: NDArray[np.bool_] = np.asarray(here.any(axis=1))
    whole, shared = donor_variance(log[some], counting[some]) if some.any() else (0.0, 0.0)
    own = max(whole - shared, _FLOOR) + counting
    if shared > 0:
        trust = 1 / own
        told = (y * trust[:, None]).sum(axis=0)
        known = (here[..., None] * trust[:, None]).sum(axis=0)
        for t in np.flatnonzero(some):
            mine = here[t][:, None] * trust[t]
            out[t] -= (told - y[t] * mine) / (1 / shared + known - mine)
        own = own + 1 / (1 / shared + trust[some].sum(axis=0) - np.where(some[:, None], trust, 0.0))
    precision = 1 / own
    return out, precision / np.sqrt((precision**2).mean(axis=1, keepdims=True))
