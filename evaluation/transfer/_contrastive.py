"""A supervised contrastive head, which ranked cells no better than nearest neighbors do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lexicell.core.transfer.classify import _check_classes, _standards, unit_rows, vote

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ContrastiveHead:
    """A linear projection in which cells of a class lie together, with the training cells for nearest neighbors.

    Attributes
    ----------
    projection
        ``(dim, n_components)``.
    mean, sd
        ``(dim,)`` standardization.
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
        return unit_rows(((np.asarray(C, dtype=np.float64) - self.mean) / self.sd) @ self.projection)

    def probabilities(self, C: ArrayLike, k: int = 15) -> Floats:
        """Share of each class among the `k` nearest training cells, ``(n_cells, n_classes)``; see :func:`vote`."""
        return vote(self.points, self.y, self.classes, self.project(C), k=k)

    def probability(self, C: ArrayLike, k: int = 15) -> Floats:
        """Share of the positive of two classes, ``(n_cells,)``."""
        return np.asarray(self.probabilities(C, k)[:, 1])


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
    """Fit the head by L-BFGS on up to `max_cells` cells, drawn evenly over donors; neighbors come from the same cells.

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
