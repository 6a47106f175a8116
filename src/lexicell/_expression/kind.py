"""What a matrix of expression holds: counts, abundances, or logarithms of them.

Sums of rows do not tell: a matrix of a few hundred genes sums to anything. What tells is the structure of the values.
Counts are whole numbers. A row of log1p(c * s), with counts c and one scale s for the row, has exp(value) - 1 in whole
ratios; a row of c * s has the values themselves in whole ratios. Values above 20 are no logarithms of expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.expression.rows import Dense, Rows, Sparse

__all__ = ["NORMALIZATIONS", "OTHER_LOGARITHMS", "Kind", "look"]

NORMALIZATIONS = ("auto", "counts", "abundance", "log1p")

_LOG_MAX = 20.0  # log1p of a billion is 20.7
_SAMPLE = (16, 16)  # so many runs of so many rows
_RATIO_MAX = 12.0  # whole ratios up to here are told from chance
_TOLERANCE = 0.03
_RATIOS_NEEDED = 30


@dataclass(frozen=True)
class Kind:
    """What a sample of rows says.

    Attributes
    ----------
    kind
        ``"counts"``, ``"abundance"``, ``"log1p"``, ``"negative"``, ``"not finite"``, ``"ambiguous"``, or another
        logarithm, which no tool reads: ``"log2"``, ``"log10"``, ``"log1p twice"``.
    evidence
        Why, in words for a message or for provenance.
    """

    kind: str
    evidence: str

    @property
    def usable(self) -> bool:
        """Whether these values can be embedded without another word from the user."""
        return self.kind in ("counts", "abundance", "log1p")


OTHER_LOGARITHMS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "log2": lambda values: np.expm1(values * np.log(2)),
    "log10": lambda values: np.expm1(values * np.log(10)),
    "log1p twice": lambda values: np.expm1(np.expm1(values)),
}
"""What values are the logarithm of, should they not be log1p: looked at, so that nobody has to say so."""


def look(rows: Rows) -> Kind:
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


def _judge(sample: list[NDArray[np.float64]]) -> Kind:
    values = np.concatenate(sample) if sample else np.zeros(0)
    if not len(values):
        return Kind("counts", "no value above zero was seen")
    if not np.isfinite(values).all():
        return Kind("not finite", "there are values that are NaN or infinite")
    if (values < 0).any():
        return Kind("negative", f"such as {values[values < 0][0]:.4g}")
    if (values == np.rint(values)).all():
        return Kind("counts", "all values seen are whole numbers")
    top = float(values.max())
    if top > _LOG_MAX:
        return Kind("abundance", f"values are not whole and reach {top:.6g}, which no logarithm does")
    whole = {"log1p": _whole_ratios([np.expm1(r) for r in sample]), "abundance": _whole_ratios(sample)}
    best = max(whole, key=lambda kind: whole[kind])
    if whole[best] > 0.8 and min(whole.values()) < 0.5:
        shown = "exp(value) - 1 has" if best == "log1p" else "values have"
        return Kind(best, f"within a cell {shown} whole ratios ({whole[best]:.0%} of those looked at)")
    return _other_logarithm(sample, whole["log1p"]) or _judge_sums(sample, top)


def _other_logarithm(sample: list[NDArray[np.float64]], as_log1p: float) -> Kind | None:
    """Values that are whole ratios or equal sums only if taken for another logarithm than log1p."""
    if _equal_sums([np.expm1(row) for row in sample]) is not None:
        return None
    for kind, undo in OTHER_LOGARITHMS.items():
        with np.errstate(over="ignore"):
            rows = [undo(row) for row in sample]
        if not all(np.isfinite(row).all() for row in rows):
            continue
        share, total = _whole_ratios(rows), _equal_sums(rows)
        if share > 0.8 and share > as_log1p + 0.1:
            return Kind(kind, f"taken for {kind} they have whole ratios within a cell ({share:.0%})")
        if total is not None:
            return Kind(kind, f"taken for {kind} every cell adds up to {total:.6g}")
    return None


def _equal_sums(rows: list[NDArray[np.float64]]) -> float | None:
    """What all cells add up to; None if they do not."""
    sums = [float(row.sum()) for row in rows if len(row)]
    if len(sums) < 5 or np.ptp(sums) >= 1e-3 * np.mean(sums):
        return None
    return float(np.mean(sums))


def _judge_sums(sample: list[NDArray[np.float64]], top: float) -> Kind:
    for kind, rows in (("log1p", [np.expm1(row) for row in sample]), ("abundance", sample)):
        total = _equal_sums(rows)
        if total is not None:
            what = "exp(value) - 1" if kind == "log1p" else "the values"
            return Kind(kind, f"{what} of every cell add up to {total:.6g}")
    return Kind("ambiguous", f"values are not whole, reach {top:.4g}, and show no trace of counts")


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
