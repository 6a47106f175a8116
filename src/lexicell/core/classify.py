"""Linear classifiers of cells in two or more classes, scored on donors they have not seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError

__all__ = [
    "ContrastiveHead",
    "LinearClassifier",
    "fit_contrastive",
    "fit_logistic",
    "leave_one_donor_out",
    "score_predictions",
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
        ``(dim,)``; they standardise the representation.
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
            "classes": np.asarray(self.classes, dtype=object), "weights": self.weights, "mean": self.mean,
            "sd": self.sd, "intercept": self.intercept, "about": dict(self.about),
        }  # fmt: skip

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
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.to_dict().items()}
        target = Path(path)
        aside = target.with_name(target.name + ".part")
        aside.write_text(json.dumps({"format": _FORMAT, **plain}, indent=1), encoding="utf-8")
        aside.replace(target)

    @classmethod
    def load(cls, path: str | Path) -> LinearClassifier:
        """Read a file written by :meth:`save`.

        Raises
        ------
        InputError
            If the file is missing or holds something else.
        """
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as a classifier: {error}") from error
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
        Weight of the squared length of the coefficients, in scikit-learn's terms ``1 / C`` per standardised dimension
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


@dataclass(frozen=True, eq=False)
class ContrastiveHead:
    """A linear projection in which cells of a class lie together, with the training cells for nearest neighbours.

    Attributes
    ----------
    projection
        ``(dim, n_components)``.
    mean, sd
        ``(dim,)`` standardisation.
    points
        ``(n_train, n_components)`` projected training cells, of unit length.
    y
        ``(n_train,)``: class of each, as in `classes`.
    classes
        ``(n_classes,)``.
    """

    projection: Floats
    mean: Floats
    sd: Floats
    points: Floats
    y: NDArray[Any]
    classes: NDArray[Any]

    def project(self, C: ArrayLike) -> Floats:
        """Cells in the head's space, rows of unit length."""
        return _unit(((np.asarray(C, dtype=np.float64) - self.mean) / self.sd) @ self.projection)

    def probabilities(self, C: ArrayLike, k: int = 15) -> Floats:
        """Share of each class among the `k` nearest training cells, ``(n_cells, n_classes)``; see :func:`vote`."""
        return vote(self.points, self.y, self.classes, self.project(C), k=k)

    def probability(self, C: ArrayLike, k: int = 15) -> Floats:
        """Share of the positive of two classes, ``(n_cells,)``."""
        return np.asarray(self.probabilities(C, k)[:, 1])


def vote(points: ArrayLike, y: NDArray[Any], classes: NDArray[Any], C: ArrayLike, *, k: int = 15) -> Floats:
    """Share of each class among the `k` nearest labelled cells by cosine, each class weighing the same.

    Parameters
    ----------
    points, y
        Labelled cells ``(n_train, dim)`` and their classes ``(n_train,)``.
    classes
        ``(n_classes,)``, the columns of the result.
    C
        Cells to label, ``(n_cells, dim)``.
    k
        Neighbours.

    Returns
    -------
    ``(n_cells, n_classes)``; rows sum to 1.
    """
    codes = pd.Index(classes).get_indexer(pd.Index(np.asarray(y)))
    weight = 1 / np.maximum(np.bincount(codes, minlength=len(classes)), 1)
    labelled, asked = _unit(np.asarray(points, dtype=np.float64)), _unit(np.asarray(C, dtype=np.float64))
    k = min(k, len(labelled))
    out = np.zeros((len(asked), len(classes)))
    for start in range(0, len(asked), _ROWS):
        cosine = asked[start : start + _ROWS] @ labelled.T
        near = codes[np.argpartition(-cosine, k - 1, axis=1)[:, :k]]
        for c in range(len(classes)):
            out[start : start + _ROWS, c] = weight[c] * (near == c).sum(axis=1)
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def _unit(M: Floats) -> Floats:
    length = np.linalg.norm(M, axis=1, keepdims=True)
    return np.asarray(M / np.where(length > 0, length, 1.0))


def contrastive_loss(
    W: Floats, X: Floats, same: NDArray[np.bool_], *, temperature: float, penalty: float
) -> tuple[float, Floats]:
    r"""Supervised contrastive loss (Khosla et al. 2020) of a linear projection, and its gradient.

    .. math::
        L = \frac1n \sum_i \frac{-1}{|P_i|} \sum_{p \in P_i}
        \log \frac{e^{z_i z_p / \tau}}{\sum_{a \ne i} e^{z_i z_a / \tau}}

    with z the rows of X W at unit length and P_i the other cells of the class of i.
    """
    n = len(X)
    U = X @ W
    length = np.maximum(np.linalg.norm(U, axis=1, keepdims=True), 1e-12)
    z = U / length
    S = z @ z.T / temperature
    np.fill_diagonal(S, -np.inf)
    top = S.max(axis=1, keepdims=True)
    e = np.exp(S - top)
    total = e.sum(axis=1, keepdims=True)
    softmax = e / total
    partners = same & ~np.eye(n, dtype=bool)
    count = np.maximum(partners.sum(axis=1, keepdims=True), 1)
    log_p = np.where(partners, S - top - np.log(total), 0.0)
    loss = -(log_p.sum(axis=1) / count[:, 0]).mean() + penalty * float((W**2).sum()) / 2
    dS = (softmax - partners / count) / n / temperature
    dz = (dS + dS.T) @ z
    dU = (dz - (dz * z).sum(axis=1, keepdims=True) * z) / length
    return float(loss), np.asarray(X.T @ dU + penalty * W)


def fit_contrastive(
    C: ArrayLike,
    y: NDArray[Any],
    donors: NDArray[Any] | None = None,
    *,
    n_components: int = 8,
    temperature: float = 0.2,
    penalty: float = 1e-2,
    max_cells: int = 600,
    standardize: bool = True,
    rng: int | np.random.Generator = 0,
) -> ContrastiveHead:
    """Fit the head by L-BFGS on up to `max_cells` cells, drawn evenly over donors; neighbours come from the same cells.

    Parameters
    ----------
    C, y, donors
        As in :func:`fit_logistic`.
    n_components, temperature, penalty
        Width, sharpness and shrinkage of the projection.
    max_cells
        The loss compares all pairs, so its cost is quadratic in the cells.
    standardize
        As in :func:`fit_logistic`.
    rng
        Seed or generator of the draw and of the start.
    """
    from scipy.optimize import minimize

    generator = np.random.default_rng(rng)
    matrix, y = np.asarray(C, dtype=np.float64), np.asarray(y)
    _check_classes(y)
    groups = np.zeros(len(y)) if donors is None else np.asarray(donors)
    keys = pd.factorize(pd.MultiIndex.from_arrays([groups, y]))[0]
    quota = max(2, max_cells // (keys.max() + 1))
    rows = np.concatenate([generator.permutation(np.flatnonzero(keys == g))[:quota] for g in range(keys.max() + 1)])
    mean, sd = _standards(matrix, standardize)
    X, labels = (matrix[rows] - mean) / sd / np.sqrt(matrix.shape[1]), y[rows]
    same = labels[:, None] == labels[None, :]
    shape = (X.shape[1], min(n_components, X.shape[1]))

    def objective(flat: Floats) -> tuple[float, Floats]:
        loss, gradient = contrastive_loss(
            flat.reshape(shape), X, same, temperature=temperature, penalty=penalty / X.shape[1]
        )
        return loss, gradient.ravel()

    found = minimize(
        objective, generator.normal(size=shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 100}
    )
    projection = found.x.reshape(shape) / np.sqrt(matrix.shape[1])
    classes = np.asarray(sorted(pd.unique(labels)))
    head = ContrastiveHead(projection, mean, sd, np.zeros((0, shape[1])), labels, classes)
    return replace(head, points=head.project(matrix[rows]))


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
