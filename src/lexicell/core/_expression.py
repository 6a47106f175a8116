"""What a matrix of expression holds: counts, abundances, or logarithms of them.

Sums of rows do not tell: a matrix of a few hundred genes sums to anything. What tells is the structure of the values.
Counts are whole numbers. A row of log1p(c * s), with counts c and one scale s for the row, has exp(value) - 1 in whole
ratios; a row of c * s has the values themselves in whole ratios. Values above 20 are no logarithms of expression.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._matrix import Dense, Rows, Sparse

__all__ = ["NORMALIZATIONS", "Expression", "look"]

NORMALIZATIONS = ("auto", "counts", "abundance", "log1p")

_LOG_MAX = 20.0  # log1p of a billion is 20.7
_SAMPLE = (16, 16)  # so many runs of so many rows
_RATIO_MAX = 12.0  # whole ratios up to here are told from chance
_TOLERANCE = 0.03
_RATIOS_NEEDED = 30


@dataclass(frozen=True)
class Expression:
    """What a sample of rows says.

    Attributes
    ----------
    kind
        ``"counts"``, ``"abundance"``, ``"log1p"``, ``"negative"``, ``"not finite"`` or ``"ambiguous"``.
    evidence
        Why, in words for a message or for provenance.
    """

    kind: str
    evidence: str

    @property
    def usable(self) -> bool:
        """Whether these values can be embedded without another word from the user."""
        return self.kind in ("counts", "abundance", "log1p")


def look(rows: Rows) -> Expression:
    """Say what the matrix holds, from up to 256 rows spread over it."""
    sample = [values.astype(np.float64) for values in _sample(rows)]
    return _judge(sample)


def _sample(rows: Rows) -> Iterable[NDArray[np.generic]]:
    """The stored values, zeros left out, of rows in evenly spaced runs."""
    n = rows.shape[0]
    runs, length = _SAMPLE
    starts = [0] if n <= runs * length else np.linspace(0, n - length, runs).astype(int).tolist()
    stop = n if len(starts) == 1 else length
    for start in starts:
        block = rows.read(start, min(n, start + stop))
        if isinstance(block, Sparse):
            for a, b in zip(block.indptr[:-1], block.indptr[1:], strict=True):
                yield block.data[a:b][block.data[a:b] != 0]
        elif isinstance(block, Dense):
            for row in block.values:
                yield row[row != 0]


def _judge(sample: list[NDArray[np.float64]]) -> Expression:
    values = np.concatenate(sample) if sample else np.zeros(0)
    if not len(values):
        return Expression("counts", "no value above zero was seen")
    if not np.isfinite(values).all():
        return Expression("not finite", "there are values that are NaN or infinite")
    if (values < 0).any():
        return Expression("negative", f"such as {values[values < 0][0]:.4g}")
    if (values == np.rint(values)).all():
        return Expression("counts", "all values seen are whole numbers")
    top = float(values.max())
    if top > _LOG_MAX:
        return Expression("abundance", f"values are not whole and reach {top:.6g}, which no logarithm does")
    whole = {"log1p": _whole_ratios([np.expm1(r) for r in sample]), "abundance": _whole_ratios(sample)}
    best = max(whole, key=lambda kind: whole[kind])
    if whole[best] > 0.8 and min(whole.values()) < 0.5:
        shown = "exp(value) - 1 has" if best == "log1p" else "values have"
        return Expression(best, f"within a cell {shown} whole ratios ({whole[best]:.0%} of those looked at)")
    return _judge_sums(sample, top)


def _judge_sums(sample: list[NDArray[np.float64]], top: float) -> Expression:
    rows = [r for r in sample if len(r)]
    for kind, sums in (
        ("log1p", [float(np.expm1(r).sum()) for r in rows]),
        ("abundance", [float(r.sum()) for r in rows]),
    ):
        if len(sums) >= 5 and np.ptp(sums) < 1e-3 * np.mean(sums):
            what = "exp(value) - 1" if kind == "log1p" else "the values"
            return Expression(kind, f"{what} of every cell add up to {np.mean(sums):.6g}")
    return Expression("ambiguous", f"values are not whole, reach {top:.4g}, and show no trace of counts")


def _whole_ratios(rows: list[NDArray[np.float64]]) -> float:
    """Share of the ratios to a row's smallest value that are whole; or halves or thirds, should it be 2 or 3 counts."""
    good = n = 0
    for row in rows:
        if len(row) < 3:
            continue
        ratios = row / row.min()
        ratios = ratios[(ratios > 1.2) & (ratios < _RATIO_MAX)]
        if not len(ratios):
            continue
        # The smallest count of a row may be 2 or 3, above all where genes were left out.
        hits = [int((np.abs(ratios * c - np.rint(ratios * c)) < _TOLERANCE).sum()) for c in (1, 2, 3)]
        good += max(hits)
        n += len(ratios)
    return good / n if n >= _RATIOS_NEEDED else 0.0
