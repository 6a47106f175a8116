"""How well an ordering of cells agrees with the truth: with measured time, and with known branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError

__all__ = ["PseudotimeScore", "branch_f1", "pseudotime_score", "time_values"]


@dataclass(frozen=True)
class PseudotimeScore:
    """Agreement of a pseudotime with time, each with its bootstrap interval.

    Attributes
    ----------
    spearman, kendall
        Rank correlations over all cells that have both; Kendall's is tau-b, which allows for ties in time.
    spearman_interval, kendall_interval
        Quantile intervals over resampled cells.
    n_cells
        Cells with a pseudotime and a time.
    n_missing
        Cells without one of the two. A pseudotime that leaves out the hard cells scores high: read both.
    """

    spearman: float
    kendall: float
    spearman_interval: tuple[float, float]
    kendall_interval: tuple[float, float]
    n_cells: int
    n_missing: int


def time_values(column: pd.Series[Any], *, order: ArrayLike | None = None) -> NDArray[np.float64]:
    """Numbers of a time column: its own, or the ranks of ordered stages.

    Parameters
    ----------
    column
        Numbers, an ordered categorical, or, with `order`, anything.
    order
        All stages from first to last. Not needed for numbers.

    Returns
    -------
    Shape ``(n,)``, float64, NaN where the time is missing.

    Raises
    ------
    InputError
        If the column is neither numeric nor ordered and no `order` is given, or a stage is not in `order`.
    """
    if order is not None:
        stages = [str(s) for s in np.asarray(order, dtype=object)]
        text = column.astype(object)
        known = text.isna() | text.astype(str).isin(stages)
        if not known.all():
            raise InputError(
                f"'{column.name}' holds {sorted(set(text[~known].astype(str)))[:5]}, not in order={stages}"
            )
        codes = np.asarray(pd.Categorical(text.where(text.isna(), text.astype(str)), categories=stages).codes)
    elif isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered:
        codes = np.asarray(column.cat.codes)
    else:
        plain = column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column
        numbers = pd.to_numeric(plain, errors="coerce")
        if (numbers.isna() & ~column.isna()).any():
            values = sorted({str(v) for v in column.dropna()})[:6]
            raise InputError(
                f"'{column.name}' is neither numbers nor an ordered categorical (it holds {values}); "
                "say order=[first, ..., last] or make it pandas.Categorical(..., ordered=True)"
            )
        return np.asarray(numbers, dtype=np.float64)
    return np.where(codes < 0, np.nan, codes.astype(np.float64))


def pseudotime_score(
    pseudotime: ArrayLike,
    time: ArrayLike,
    *,
    n_bootstraps: int = 200,
    level: float = 0.95,
    rng: int | np.random.Generator = 0,
) -> PseudotimeScore:
    """Rank correlation of a pseudotime with measured time.

    The bootstrap resamples cells and keeps the pseudotime: it holds the chance of having these cells, not that of the
    root or of the graph, for which :func:`lexicell.tl.trajectory` gives intervals.

    Parameters
    ----------
    pseudotime, time
        One value a cell; NaN where missing (infinity counts as missing).
    n_bootstraps
        Resamples of the cells.
    level
        Level of the intervals.
    rng
        Seed or generator.

    Raises
    ------
    InputError
        If fewer than three cells have both, or all have the same.

    Examples
    --------
    >>> from lexicell.core.ordering import pseudotime_score
    >>> pseudotime_score([0.0, 0.2, 0.3, 0.9], [0, 24, 24, 48]).spearman > 0.9
    True
    """
    from scipy.stats import kendalltau, spearmanr

    x, y = np.asarray(pseudotime, dtype=np.float64), np.asarray(time, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"pseudotime of shape {x.shape} does not fit time of shape {y.shape}")
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise InputError(
            f"{len(x)} cells have a pseudotime and a time; at least three that differ in both are needed for a score"
        )
    generator = np.random.default_rng(rng)
    draws: list[tuple[float, float]] = []
    while len(draws) < n_bootstraps:
        rows = generator.integers(len(x), size=len(x))
        if np.ptp(x[rows]) > 0 and np.ptp(y[rows]) > 0:
            draws.append((spearmanr(x[rows], y[rows])[0], kendalltau(x[rows], y[rows])[0]))
    tails = [(1 - level) / 2, (1 + level) / 2]
    ends = np.quantile(draws, tails, axis=0) if draws else np.full((2, 2), np.nan)
    return PseudotimeScore(
        float(spearmanr(x, y)[0]),
        float(kendalltau(x, y)[0]),
        (float(ends[0, 0]), float(ends[1, 0])),
        (float(ends[0, 1]), float(ends[1, 1])),
        len(x),
        int((~both).sum()),
    )


def branch_f1(truth: ArrayLike, found: ArrayLike, *, trunk: str = "trunk") -> tuple[float, dict[str, str]]:
    """F1 of branch assignment under the best one-to-one matching of true and found branches.

    A true branch that nothing is matched to counts 0, and so does a found branch that matches no true one: the mean is
    taken over the larger number of branches, so that splitting too often costs as much as splitting too rarely.

    Parameters
    ----------
    truth, found
        Branch name of each cell; `trunk` in both for cells before the parting.
    trunk
        Name of the trunk, which is scored as one branch more and always matched to itself.

    Returns
    -------
    Mean F1, and the found branch matched to each true one.
    """
    from scipy.optimize import linear_sum_assignment

    a, b = (np.asarray(v, dtype=object).astype(str) for v in (truth, found))
    if a.shape != b.shape:
        raise InputError(f"{len(a)} true labels do not fit {len(b)} found ones")
    true_names, found_names = (sorted(set(v.tolist()) - {trunk}) for v in (a, b))
    table = np.array([[_f1(a == s, b == t) for t in found_names] for s in true_names]).reshape(
        len(true_names), len(found_names)
    )
    rows, columns = linear_sum_assignment(-table) if table.size else (np.array([], int), np.array([], int))
    total, n = float(table[rows, columns].sum()), max(table.shape)
    if trunk in a or trunk in b:
        total, n = total + _f1(a == trunk, b == trunk), n + 1
    matched = {true_names[i]: found_names[j] for i, j in zip(rows, columns, strict=True)}
    return total / max(n, 1), matched


def _f1(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    either = truth.sum() + found.sum()
    return float(2 * (truth & found).sum() / either) if either else 0.0
