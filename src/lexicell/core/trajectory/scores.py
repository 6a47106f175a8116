"""How well an ordering of cells agrees with the truth: with measured time, and with known branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError

__all__ = ["branch_f1", "pseudotime_score", "time_values"]


def time_values(
    column: pd.Series[Any], *, order: ArrayLike | None = None, argument: str = "order"
) -> NDArray[np.float64]:
    """Numbers of a time column: its own, or the ranks of ordered stages.

    Parameters
    ----------
    column
        Numbers, an ordered categorical, or, with `order`, anything.
    order
        All stages from first to last. Not needed for numbers.
    argument
        What the caller calls `order`, for errors.

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
        text = column[column.notna()].astype(str)
        unknown = sorted(set(text) - set(stages))
        if unknown:
            raise InputError(f"'{column.name}' holds {unknown[:5]}, not in {argument}={stages}")
        return text.map(stages.index).reindex(column.index).to_numpy(dtype=np.float64)
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    if is_categorical and column.cat.ordered:
        codes = column.cat.codes.to_numpy()
        return np.where(codes < 0, np.nan, codes.astype(np.float64))
    plain = column.astype(object) if is_categorical else column
    numbers = pd.to_numeric(plain, errors="coerce")
    if (numbers.isna() & ~column.isna()).any():
        values = sorted({str(v) for v in column.dropna()})[:6]
        raise InputError(
            f"'{column.name}' is neither numbers nor an ordered categorical (it holds {values}); "
            f"give the stages from first to last with {argument}= or make it pandas.Categorical(..., ordered=True)"
        )
    return np.asarray(numbers, dtype=np.float64)


def pseudotime_score(pseudotime: ArrayLike, time: ArrayLike) -> tuple[float, float]:
    """Rank correlations of a pseudotime with measured time, over all cells that have both.

    A pseudotime that leaves out the difficult cells scores high, so count the cells without one, too.

    Parameters
    ----------
    pseudotime, time
        One value per cell; NaN or infinity where missing.

    Returns
    -------
    Spearman's rho, and Kendall's tau-b, which allows for ties in time.

    Raises
    ------
    InputError
        If fewer than three cells have both, or all have the same.

    Examples
    --------
    >>> from lexicell.core.trajectory.scores import pseudotime_score
    >>> rho, tau = pseudotime_score([0.0, 0.2, 0.3, 0.9], [0, 24, 24, 48])
    >>> rho > 0.9
    True
    """
    from scipy.stats import kendalltau, spearmanr

    x = np.asarray(pseudotime, dtype=np.float64)
    y = np.asarray(time, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"pseudotime of shape {x.shape} does not fit time of shape {y.shape}")
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise InputError(
            f"{len(x)} cells have a pseudotime and a time; at least three that differ in both are needed for a score"
        )
    return float(spearmanr(x, y)[0]), float(kendalltau(x, y)[0])


def branch_f1(truth: ArrayLike, found: ArrayLike, *, trunk: str = "trunk") -> tuple[float, dict[str, str]]:
    """F1 of branch assignment under the best one-to-one matching of true and found branches.

    A true branch without a match counts 0, and so does a found branch that matches no true one: the mean is taken over
    the larger number of branches, so that too many branches cost as much as too few.

    Parameters
    ----------
    truth, found
        Branch name of each cell; `trunk` in both for cells before the branches separate.
    trunk
        Name of the trunk, which is scored as one more branch and always matched to itself.

    Returns
    -------
    Mean F1, and the found branch matched to each true one.
    """
    from scipy.optimize import linear_sum_assignment

    a = np.asarray(truth, dtype=object).astype(str)
    b = np.asarray(found, dtype=object).astype(str)
    if a.shape != b.shape:
        raise InputError(f"{len(a)} true labels do not fit {len(b)} found ones")
    true_names = sorted(set(a.tolist()) - {trunk})
    found_names = sorted(set(b.tolist()) - {trunk})
    scores = np.zeros((len(true_names), len(found_names)))
    for i, one in enumerate(true_names):
        for j, other in enumerate(found_names):
            scores[i, j] = _f1(a == one, b == other)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    total = float(scores[rows, columns].sum())
    n = max(scores.shape)
    if trunk in a or trunk in b:
        total += _f1(a == trunk, b == trunk)
        n += 1
    matched = {true_names[i]: found_names[j] for i, j in zip(rows, columns, strict=True)}
    return total / max(n, 1), matched


def _f1(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    either = truth.sum() + found.sum()
    return float(2 * (truth & found).sum() / either) if either else 0.0
