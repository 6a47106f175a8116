"""Linear classifiers of cells in two or more classes, scored on donors they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError, check_choice
from ..._saved import read_json, write_json
from ..donors.crossfit import draw_cells
from ..donors.permutation import arrangements

__all__ = [
    "LinearClassifier",
    "auroc_interval",
    "donor_p",
    "fit_logistic",
    "largest",
    "leave_one_donor_out",
    "score_predictions",
    "unit_rows",
    "vote",
]

Floats = NDArray[np.float64]
_FORMAT = "lexicell linear classifier 1"
_ROWS = 4096  # cells at a time


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    r"""Logistic regression: :math:`P(k) \propto e^{w_k \cdot (c - m) / s + b_k}`.

    With two classes only the second has weights, and :math:`P = 1 / (1 + e^{-(w \cdot (c - m) / s + b)})`.

    Attributes
    ----------
    classes
        Names; with two of them (negative, positive).
    weights
        ``(n_classes, dim)``, or ``(1, dim)`` with two classes.
    intercept
        b, one entry a row of `weights`.
    mean, sd
        ``(dim,)``; they standardize the representation.
    about
        Strings and numbers: the representation, its gene space, the label, versions.
    """

    classes: tuple[str, ...]
    weights: Floats
    intercept: Floats
    mean: Floats
    sd: Floats
    about: dict[str, Any] = field(default_factory=dict)

    def decision(self, C: ArrayLike) -> Floats:
        """Log odds of the positive class, ``(n_cells,)``; with more classes one column each, up to a shift a cell.

        Raises
        ------
        InputError
            If the representation has another number of dimensions.
        """
        matrix = np.asarray(C, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != self.weights.shape[1]:
            raise InputError(
                f"the classifier reads {self.weights.shape[1]} dimensions, the representation has shape "
                f"{matrix.shape}; embed both data sets with the same gene embedding and the same gene space"
            )
        scores = (matrix - self.mean) / self.sd @ self.weights.T + self.intercept
        return np.asarray(scores[:, 0] if len(self.classes) == 2 else scores)

    def one_class(self, label: str) -> LinearClassifier:
        """The decision for one class against the others, as a classifier of two classes.

        Scores of several classes have a free shift per cell, so the mean score of all classes is subtracted.

        Raises
        ------
        InputError
            If there is no such class.
        """
        place = self.classes.index(check_choice(label, self.classes, "class"))
        if len(self.classes) == 2:
            sign = 1.0 if place == 1 else -1.0
            own, intercept = sign * self.weights[0], sign * float(self.intercept[0])
        else:
            own = self.weights[place] - self.weights.mean(axis=0)
            intercept = float(self.intercept[place] - self.intercept.mean())
        return replace(self, classes=("others", label), weights=own[None], intercept=np.asarray([intercept]))

    def probabilities(self, C: ArrayLike) -> Floats:
        """Probability of each class, ``(n_cells, n_classes)``; rows sum to 1."""
        from scipy.special import expit, softmax

        scores = self.decision(C)
        if scores.ndim == 2:
            return np.asarray(softmax(scores, axis=1))
        return np.column_stack([expit(-scores), expit(scores)])

    def probability(self, C: ArrayLike) -> Floats:
        """Probability of the positive of two classes, ``(n_cells,)``."""
        if len(self.classes) != 2:
            raise InputError(f"the classifier tells {len(self.classes)} classes apart; ask for probabilities()")
        return np.asarray(self.probabilities(C)[:, 1])

    def to_dict(self) -> dict[str, Any]:
        """Arrays, numbers and strings, as ``uns`` takes them."""
        return {
            "classes": np.asarray(self.classes, dtype=object),
            "weights": self.weights,
            "mean": self.mean,
            "sd": self.sd,
            "intercept": self.intercept,
            "about": dict(self.about),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> LinearClassifier:
        """Read what :meth:`to_dict` gave."""
        mean, sd = (np.asarray(stored[name], dtype=np.float64) for name in ("mean", "sd"))
        # Files of classifiers of two classes once held a plain vector and a number.
        weights = np.atleast_2d(np.asarray(stored["weights"], dtype=np.float64))
        intercept = np.atleast_1d(np.asarray(stored["intercept"], dtype=np.float64))
        classes = tuple(str(c) for c in stored["classes"])
        return cls(classes, weights, intercept, mean, sd, dict(stored.get("about", {})))

    def save(self, path: str | Path) -> None:
        """Write a JSON file: readable anywhere, no pickle."""
        write_json(path, {"format": _FORMAT, **self.to_dict()})

    @classmethod
    def load(cls, path: str | Path) -> LinearClassifier:
        """Read a file written by :meth:`save`.

        Raises
        ------
        InputError
            If the file is missing or holds something else.
        """
        stored = read_json(path, "a classifier")
        if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
            raise InputError(
                f"{path} is not a classifier written by lexicell; give a file of "
                "'lexicell classify-vulnerability' or of LinearClassifier.save"
            )
        return cls.from_dict(stored)


def _standards(C: Floats, standardize: bool = True) -> tuple[Floats, Floats]:
    sd = C.std(axis=0)
    if not standardize:
        sd = np.full(len(sd), np.sqrt((sd**2).mean()))
    return C.mean(axis=0), np.where(sd > 0, sd, 1.0)


def _balance(y: NDArray[Any], donors: NDArray[Any]) -> Floats:
    """Weights that give all classes the same sum, and within a class every donor the same."""
    frame = pd.DataFrame({"y": y, "donor": donors})
    size = frame.groupby(["y", "donor"])["y"].transform("size").to_numpy(dtype=np.float64)
    owners = frame.groupby("y")["donor"].transform("nunique").to_numpy(dtype=np.float64)
    weights = 1 / (size * owners)
    return np.asarray(weights * len(y) / weights.sum())


def fit_logistic(
    C: ArrayLike,
    y: NDArray[Any],
    donors: NDArray[Any] | None = None,
    *,
    penalty: float = 1.0,
    standardize: bool = True,
    about: Mapping[str, Any] | None = None,
) -> LinearClassifier:
    """Logistic regression with an L2 penalty; classes, and donors within them, weigh the same.

    Parameters
    ----------
    C
        ``(n_cells, dim)``.
    y
        ``(n_cells,)``: whether the cell is of the positive class (bool), or the name of its class.
    donors
        ``(n_cells,)``; None: all cells of a class weigh the same.
    penalty
        Weight of the squared length of the coefficients, in scikit-learn's terms ``1 / C`` per standardized dimension
        and 100 cells.
    standardize
        Give every dimension the same spread. False: one scale for all, for axes whose spread means something.
    about
        Kept with the classifier.

    Raises
    ------
    InputError
        If there is one class only.
    """
    from sklearn.linear_model import LogisticRegression

    matrix, labels = np.asarray(C, dtype=np.float64), np.asarray(y)
    _check_classes(labels)
    mean, sd = _standards(matrix, standardize)
    if not 0 < penalty < np.inf:
        raise InputError(f"penalty must be a number above 0, not {penalty}")
    model = LogisticRegression(C=100 / (penalty * len(matrix)), max_iter=5000)
    weight = _balance(labels, np.zeros(len(labels)) if donors is None else donors)
    model.fit((matrix - mean) / sd, labels, sample_weight=weight)
    notes = dict(about or {})
    classes = tuple(str(c) for c in model.classes_)
    if labels.dtype == bool:
        classes = (str(notes.get("negative", "False")), str(notes.get("positive", "True")))
    weights, intercept = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    return LinearClassifier(classes, weights, intercept, mean, sd, notes)


def _check_classes(labels: NDArray[Any]) -> None:
    found = pd.unique(labels)
    if len(found) < 2:
        raise InputError(f"there is one class only ('{found[0]}'); a classifier needs two or more")


def vote(points: ArrayLike, y: NDArray[Any], classes: NDArray[Any], C: ArrayLike, *, k: int = 15) -> Floats:
    """Share of each class among the `k` nearest labeled cells by cosine, each class weighing the same.

    Parameters
    ----------
    points, y
        Labeled cells ``(n_train, dim)`` and their classes ``(n_train,)``.
    classes
        ``(n_classes,)``, the columns of the result.
    C
        Cells to label, ``(n_cells, dim)``.
    k
        Neighbors.

    Returns
    -------
    ``(n_cells, n_classes)``; rows sum to 1.
    """
    codes = pd.Index(classes).get_indexer(pd.Index(np.asarray(y)))
    weight = 1 / np.maximum(np.bincount(codes, minlength=len(classes)), 1)
    member = weight * (codes[:, None] == np.arange(len(classes)))
    labeled, asked = (unit_rows(np.asarray(M, dtype=np.float64)).astype(np.float32) for M in (points, C))
    k = min(k, len(labeled))
    out = np.zeros((len(asked), len(classes)))
    for start in range(0, len(asked), _ROWS):
        near = largest(asked[start : start + _ROWS] @ labeled.T, k)
        out[start : start + _ROWS] = near.astype(np.float32) @ member
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def largest(M: NDArray[np.float32], n: int) -> NDArray[np.bool_]:
    """The `n` largest numbers of each row; more where several equal the last of them."""
    at = max(M.shape[1] - n, 0)
    last = np.partition(M, at, axis=1)[:, [at]]
    return np.asarray(last <= M)


def unit_rows(M: Floats) -> Floats:
    """Rows of unit length; rows of zeros stay."""
    length = np.linalg.norm(M, axis=1, keepdims=True)
    return np.asarray(M / np.where(length > 0, length, 1.0))


def leave_one_donor_out(
    C: ArrayLike,
    y: NDArray[np.bool_],
    donors: NDArray[Any],
    fit: Callable[[Floats, NDArray[np.bool_], NDArray[Any]], Any],
) -> Floats:
    """Probability of every cell from a model that saw nothing of its donor, ``(n_cells,)``.

    NaN where the other donors lack a class.
    """
    matrix, out = np.asarray(C, dtype=np.float64), np.full(len(y), np.nan)
    for donor in pd.unique(donors):
        test = donors == donor
        train = ~test
        if y[train].all() or not y[train].any():
            continue
        out[test] = fit(matrix[train], y[train], donors[train]).probability(matrix[test])
    return out


def donor_p(
    C: ArrayLike,
    y: NDArray[np.bool_],
    donors: NDArray[Any],
    fit: Callable[[Floats, NDArray[np.bool_], NDArray[Any]], Any],
    *,
    n_permutations: int = 99,
    max_cells: int = 20,
    rng: int | np.random.Generator = 0,
) -> float:
    """Share of arrangements of the donors' labels with an AUROC at least as large as the observed one.

    Left-out donors are predicted anew under every arrangement, so that what leaving out does to the AUROC (below one
    half where nothing is to be learned) is in all of them.

    Parameters
    ----------
    C, y, donors, fit
        As in :func:`leave_one_donor_out`.
    n_permutations
        Arrangements besides the observed one, where there are more.
    max_cells
        Cells of a donor, drawn at random.
    rng
        Seed or generator.

    Returns
    -------
    NaN where a donor has cells of both labels, or one label has fewer than two donors.
    """
    from sklearn.metrics import roc_auc_score

    matrix, generator = np.asarray(C, dtype=np.float64), np.random.default_rng(rng)
    names, codes = np.unique(donors.astype(str), return_inverse=True)
    share = np.bincount(codes, y) / np.bincount(codes)
    if np.any((share > 0) & (share < 1)) or not 2 <= share.sum() <= len(names) - 2:
        return float("nan")
    rows = draw_cells(np.arange(len(codes)), codes, max_cells=max_cells, rng=generator)
    drawn = arrangements(share, n_draws=n_permutations, rng=generator).rows
    if len(drawn) > n_permutations + 1:
        others = 1 + generator.permutation(len(drawn) - 1)[:n_permutations]
        drawn = drawn[np.r_[0, others]]
    found = []
    for labels in drawn:
        truth = labels[codes[rows]] > 0
        probability = leave_one_donor_out(matrix[rows], truth, codes[rows], fit)
        known = np.isfinite(probability)
        weights = _balance(truth[known], codes[rows][known])
        found.append(roc_auc_score(truth[known], probability[known], sample_weight=weights))
    return float(np.mean(np.asarray(found) >= found[0] - 1e-12))


def auroc_interval(
    probability: Floats, y: NDArray[np.bool_], donors: NDArray[Any], *, n_draws: int = 200, level: float = 0.95
) -> tuple[float, float]:
    """Quantiles of the AUROC over draws of whole donors, those with positive and those without apart."""
    from sklearn.metrics import roc_auc_score

    known = np.isfinite(probability)
    p, truth = probability[known], y[known]
    names, codes = np.unique(donors[known].astype(str), return_inverse=True)
    weights = _balance(truth, codes)
    positive = np.bincount(codes, truth, minlength=len(names)) > 0
    generator, found = np.random.default_rng(0), []
    for _ in range(n_draws):
        times = np.zeros(len(names))
        for arm in (np.flatnonzero(positive), np.flatnonzero(~positive)):
            if len(arm):
                np.add.at(times, generator.choice(arm, len(arm)), 1.0)
        drawn = weights * times[codes]
        if drawn[truth].sum() > 0 and drawn[~truth].sum() > 0:
            found.append(roc_auc_score(truth, p, sample_weight=drawn))
    low, high = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def score_predictions(
    probability: Floats, y: NDArray[np.bool_], donors: NDArray[Any], *, n_bins: int = 10
) -> tuple[dict[str, float], pd.DataFrame]:
    """AUROC, average precision, Brier score and a calibration table; classes and donors weigh the same.

    Returns
    -------
    scores
        ``auroc``, ``average_precision`` (0.5 at chance, since both classes weigh the same), ``brier`` (0.25 at
        chance), ``calibration_error`` (mean distance of the bins from the diagonal, weighted), ``auroc_donor_mean``
        (over donors with both classes; NaN where there is none), ``n_cells``, ``n_donors``.
    calibration
        One row a bin: ``predicted``, ``observed``, ``weight``, ``n_cells``.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    known = np.isfinite(probability)
    p, truth, who = probability[known], y[known], np.asarray(donors)[known]
    if truth.all() or not truth.any():
        raise InputError("predictions cover one class only; more donors with both labels are needed")
    w = _balance(truth, who)
    bins = np.minimum((p * n_bins).astype(int), n_bins - 1)
    rows = []
    for b in np.unique(bins):
        inside = bins == b
        weight = w[inside]
        observed = np.average(truth[inside], weights=weight)
        rows.append((np.average(p[inside], weights=weight), observed, weight.sum() / w.sum(), int(inside.sum())))
    table = pd.DataFrame(rows, columns=["predicted", "observed", "weight", "n_cells"])
    table.index = table.index.astype(str)
    both = [d for d in pd.unique(who) if 0 < truth[who == d].sum() < (who == d).sum()]
    own = [roc_auc_score(truth[who == d], p[who == d]) for d in both]
    scores = {
        "auroc": float(roc_auc_score(truth, p, sample_weight=w)),
        "average_precision": float(average_precision_score(truth, p, sample_weight=w)),
        "brier": float(brier_score_loss(truth, p, sample_weight=w)),
        "calibration_error": float((np.abs(table["predicted"] - table["observed"]) * table["weight"]).sum()),
        "auroc_donor_mean": float(np.mean(own)) if own else float("nan"),
        "n_cells": float(len(p)),
        "n_donors": float(len(pd.unique(who))),
    }
    return scores, table
