"""Moderated t: variances of many genes or concepts borrow strength from each other.

The empirical Bayes of Smyth (2004), written from the paper's formulas: sample variances follow a scaled F whose prior
degrees of freedom and scale come from the mean and variance of their logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .depletion import donor_t
from .shift import Design, Floats

__all__ = ["FEWEST", "ModeratedT", "moderated_t", "variance_prior"]

FEWEST = 10
"""Features whose variances make a prior; those of two or three would be a guess."""


@dataclass(frozen=True)
class ModeratedT:
    """Arrays of length ``n_features``.

    Attributes
    ----------
    effect
        Case minus control (or slope), in the units given.
    t, p, df
        Moderated t, two-sided p, and degrees of freedom (residual plus prior).
    se
        Moderated standard error.
    prior_df, prior_variance
        What was borrowed; `prior_df` may be infinite.
    """

    effect: Floats
    se: Floats
    t: Floats
    p: Floats
    df: float
    prior_df: float
    prior_variance: float


def _inverse_trigamma(y: float) -> float:
    """Solve trigamma(x) = y for x: Newton's method on 1 / trigamma, which is nearly straight (Smyth 2004)."""
    from scipy.special import polygamma

    if y > 1e7:
        return float(1 / np.sqrt(y))
    if y < 1e-6:
        return float(1 / y)
    x = 0.5 + 1 / y
    for _ in range(50):
        value = float(polygamma(1, x))
        step = value * (1 - value / y) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-9:
            break
    return x


def variance_prior(variances: Floats, df: float) -> tuple[float, float]:
    r"""Prior degrees of freedom :math:`d_0` and variance :math:`s_0^2` of sample `variances` with `df` each.

    .. math::
        e_g = \log s_g^2 - \psi(d/2) + \log(d/2), \quad
        \psi'(d_0/2) = \mathrm{var}(e) - \psi'(d/2), \quad
        s_0^2 = \exp\{\bar e + \psi(d_0/2) - \log(d_0/2)\}

    Infinite :math:`d_0` where the variances differ no more than sampling makes them; 0 where there are fewer than
    two to learn from.
    """
    from scipy.special import digamma, polygamma

    positive = variances[np.isfinite(variances) & (variances > 0)]
    if len(positive) < 2:
        return 0.0, float(positive[0]) if len(positive) else np.nan
    e = np.log(positive) - digamma(df / 2) + np.log(df / 2)
    excess = float(e.var(ddof=1) - polygamma(1, df / 2))
    if excess <= 0:
        return np.inf, float(np.exp(e.mean()))
    d0 = 2 * _inverse_trigamma(excess)
    return d0, float(np.exp(e.mean() + digamma(d0 / 2) - np.log(d0 / 2)))


def moderated_t(Y: Floats, design: Design, *, shared_noise: bool = False, like: Floats | None = None) -> ModeratedT:
    r"""Moderated t of every column of `Y` at donor level.

    .. math::
        \tilde s_g^2 = \frac{d_0 s_0^2 + d s_g^2}{d_0 + d}, \qquad
        \tilde t_g = \frac{\hat\beta_g}{\tilde s_g \sqrt v}

    Parameters
    ----------
    Y
        ``(n_donors, n_features)`` donor means; in a paired design the differences.
    design
        What is compared. Two arms share one variance here: with few donors the prior needs equal degrees of freedom.
    shared_noise
        Whether the features move together from donor to donor, as concepts do. Their variances then look more alike
        than they are, and the prior would be trusted too much: its degrees of freedom are held at the residual ones.
    like
        ``(n_donors, m)`` values of other features of the same kind, to learn the prior from where `Y` has few. None:
        learned from `Y` itself if it has at least 10 features; fewer borrow nothing and get an ordinary t.

    References
    ----------
    Smyth GK (2004), Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments, Statistical Applications in Genetics and Molecular Biology 3(1):3.
    """
    from scipy import stats

    if design.kind == "two-group":
        design = Design("linear", design.x, np.ones((design.n_donors, 1)))
    effect, se, dfs = donor_t(Y, design)
    df = float(dfs[0]) if len(dfs) else 0.0
    scale = _unscaled(design)
    variance = (se / scale) ** 2
    known = variance if like is None else (donor_t(like, design)[1] / scale) ** 2
    prior_df, prior_variance = variance_prior(known, df) if len(known) >= FEWEST else (0.0, np.nan)
    prior_df = min(prior_df, df) if shared_noise else prior_df
    if np.isinf(prior_df):
        pooled = np.full_like(variance, prior_variance)
    elif prior_df > 0:
        pooled = (prior_df * prior_variance + df * variance) / (prior_df + df)
    else:
        pooled = variance
    moderated_se = np.sqrt(pooled) * scale
    # With an infinite prior, limma's convention: no more degrees of freedom than all features together have.
    total = float(min(df + prior_df, df * max(len(variance), 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = effect / moderated_se
    return ModeratedT(effect, moderated_se, t, 2 * stats.t.sf(np.abs(t), total), total, prior_df, prior_variance)


def _unscaled(design: Design) -> float:
    """Standard error of the effect where the residual variance is one."""
    from .shift import coefficients

    weights = coefficients(design)
    return float(np.sqrt(weights @ weights))
