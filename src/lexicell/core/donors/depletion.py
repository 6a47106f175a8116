r"""Which cell types lose cells, told against the types that do not.

With :math:`y_{td} = \log(n_{td} + 1/2)` the test of type t is made on :math:`y_t - \mathrm{mean}_{r \in R} y_r`, where
the reference R is the half (rounded up) of the other types whose own shift is nearest to the median shift of all.
A log-ratio against the mean of all types would call the others grown when one is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .shift import Design, Floats, coefficients

__all__ = ["Depletion", "depletion_test", "donor_t"]


@dataclass(frozen=True)
class Depletion:
    """Results a cell type, arrays of length ``n_types``.

    Attributes
    ----------
    log_ratio
        Natural log of the fold change of abundance against the reference; negative where cells are lost.
    se, df, t, p, low, high
        Donor-level t test (Welch with two arms) and its interval.
    reference
        ``(n_types, n_types)`` bool: row t marks the types in R of type t.
    ratios
        ``(n_types, n_donors)``: the value of each donor, for plots.
    reason
        Why nothing was tested; empty otherwise.
    """

    log_ratio: Floats
    se: Floats
    df: Floats
    t: Floats
    p: Floats
    low: Floats
    high: Floats
    reference: NDArray[np.bool_]
    ratios: Floats
    reason: str


def donor_t(Y: Floats, design: Design) -> tuple[Floats, Floats, Floats]:
    """Effect, standard error and degrees of freedom of each column of `Y` (``(n_donors, m)``) under `design`.

    Two arms: Welch. Pairs: one sample of differences. Stages, batches, covariates: least squares.
    """
    effect = np.asarray(coefficients(design) @ Y)
    n = design.n_donors
    if design.kind == "two-group":
        case = design.x > 0
        n1, n0 = int(case.sum()), int((~case).sum())
        v1, v0 = Y[case].var(axis=0, ddof=1) / n1, Y[~case].var(axis=0, ddof=1) / n0
        se2 = v1 + v0
        with np.errstate(divide="ignore", invalid="ignore"):
            df = se2**2 / (v1**2 / (n1 - 1) + v0**2 / (n0 - 1))
        return effect, np.sqrt(se2), df
    if design.kind == "paired":
        return effect, np.sqrt(Y.var(axis=0, ddof=1) / n), np.full(Y.shape[1], n - 1.0)
    nuisance = np.ones((n, 1)) if design.nuisance is None else design.nuisance
    model = np.column_stack([nuisance, design.x])
    residual = Y - model @ np.linalg.lstsq(model, Y, rcond=None)[0]
    weights = coefficients(design)
    variance = (residual**2).sum(axis=0) / design.residual_df
    return effect, np.sqrt(variance * (weights @ weights)), np.full(Y.shape[1], float(design.residual_df))


def depletion_test(counts: Floats, design: Design, *, level: float = 0.95) -> Depletion:
    """Test every cell type for loss (or growth) relative to the stable ones.

    Parameters
    ----------
    counts
        ``(n_types, n_donors)`` cells, zeros included. In a paired design ``(n_types, n_pairs, 2)``: case, control.
    design
        What is compared.
    level
        Of the interval.

    Notes
    -----
    R is chosen with the condition known, so its null rate has to be shown by simulation, not argued.
    It is relative: one type lost cannot be told from all others grown.
    """
    from scipy import stats

    n_types = len(counts)
    logs = np.log(np.asarray(counts, dtype=np.float64) + 0.5)
    y = logs[..., 0] - logs[..., 1] if design.kind == "paired" else logs
    nan = np.full(n_types, np.nan)
    reference = np.zeros((n_types, n_types), dtype=bool)
    reason = ""
    if n_types < 4:
        reason = f"not tested: at least 4 cell types needed for a stable reference, here {n_types}"
    elif min(design.arms) < 2 or design.residual_df < 1:
        reason = "not tested: at least 2 donors an arm needed"
    if reason:
        return Depletion(nan, nan, nan, nan, nan, nan, nan, reference, np.full(y.shape, np.nan), reason)
    shift = y @ coefficients(design)
    distance = np.abs(shift - np.median(shift))
    for t in range(n_types):
        others = np.array([o for o in np.argsort(distance, kind="stable") if o != t])
        reference[t, others[: (n_types - 1 + 1) // 2]] = True
    ratios = y - np.stack([y[row].mean(axis=0) for row in reference])
    effect, se, df = donor_t(ratios.T, design)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_value = effect / se
    p = 2 * stats.t.sf(np.abs(t_value), df)
    reach = stats.t.ppf(0.5 + level / 2, df) * se
    return Depletion(effect, se, df, t_value, p, effect - reach, effect + reach, reference, ratios, reason)
