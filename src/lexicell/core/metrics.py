"""How well a representation and its clusters agree with known labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError
from .agreement import adjusted_rand_of_table

__all__ = [
    "agreement",
    "balanced_accuracy",
    "batch_mixing",
    "bootstrap_ari",
    "silhouette",
]

_MOST_CELLS = 5000  # a silhouette needs all pairs of cells; above this a sample of cells stands for all


def agreement(labels: ArrayLike, clusters: ArrayLike) -> dict[str, float]:
    """Agreement of two partitions, corrected for chance (ARI, AMI) and not (NMI); 1 is equal.

    References
    ----------
    Hubert and Arabie 1985 (ARI); Vinh, Epps and Bailey 2010 (AMI, arithmetic mean). Both as in scikit-learn.

    Examples
    --------
    >>> from lexicell.core.metrics import agreement
    >>> agreement(["a", "a", "b", "b"], [1, 1, 0, 0])["ari"]
    1.0
    """
    from sklearn import metrics

    truth, found = np.asarray(labels).astype(str), np.asarray(clusters).astype(str)
    return {
        "ari": float(metrics.adjusted_rand_score(truth, found)),
        "ami": float(metrics.adjusted_mutual_info_score(truth, found)),
        "nmi": float(metrics.normalized_mutual_info_score(truth, found)),
    }


def bootstrap_ari(
    labels: ArrayLike, clusters: ArrayLike, *, n: int = 200, level: float = 0.95, rng: int | np.random.Generator = 0
) -> tuple[float, float]:
    """Interval of the adjusted Rand index when cells are drawn again with replacement.

    The partition is kept as it is, so the interval speaks of the cells that were sampled, not of the clustering.
    The index is computed from the table of labels x clusters, which a resample of cells changes by a multinomial draw.
    """
    truth = np.unique(np.asarray(labels).astype(str), return_inverse=True)[1].ravel()
    found = np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1].ravel()
    table = np.bincount(truth * (found.max() + 1) + found, minlength=(truth.max() + 1) * (found.max() + 1))
    draws = np.random.default_rng(rng).multinomial(len(truth), table / len(truth), size=n)
    tables = draws.reshape(n, truth.max() + 1, found.max() + 1).astype(np.float64)
    values = [adjusted_rand_of_table(t) for t in tables]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def silhouette(rep: ArrayLike, labels: ArrayLike, *, rng: int | np.random.Generator = 0) -> float:
    """Mean silhouette width of the labels in Euclidean distance, -1 to 1; over at most 5,000 cells.

    References
    ----------
    Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7.
    """
    from sklearn.metrics import silhouette_score

    matrix, names = np.asarray(rep, dtype=np.float64), np.asarray(labels).astype(str)
    if len(matrix) > _MOST_CELLS:
        rows = np.sort(np.random.default_rng(rng).choice(len(matrix), _MOST_CELLS, replace=False))
        matrix, names = matrix[rows], names[rows]
    return float(silhouette_score(matrix, names)) if 1 < len(set(names)) < len(names) else float("nan")


Fold = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[ArrayLike, ArrayLike]]


def balanced_accuracy(
    rep: ArrayLike | Fold,
    labels: ArrayLike,
    *,
    classifiers: Sequence[str] = ("knn", "lr"),
    donors: ArrayLike | None = None,
    folds: int = 5,
    rng: int | np.random.Generator = 0,
) -> dict[str, float]:
    """Mean recall over classes, predicted for cells of folds that nothing was fitted on.

    Parameters
    ----------
    rep
        ``(n_cells, d)``, or a function that is given the rows to fit on and the rows to predict and returns the
        representation of both, so that the representation too is fitted inside the folds.
    labels
        One label a cell; each class needs at least `folds` cells.
    classifiers
        ``"knn"`` (15 neighbors, Euclidean) or ``"lr"`` (logistic regression on standardized columns, C = 1). The
        standardization is fitted inside the folds.
    donors
        ``(n_cells,)`` donor or batch of each cell: all of a donor's cells are in one fold, so that no classifier knows
        a cell by its donor. None: cells are drawn into folds one by one.
    folds
        Number of stratified folds; no more than there are donors.
    rng
        Seed of the folds.

    Returns
    -------
    Balanced accuracy of each classifier.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.asarray(labels).astype(str)
    smallest = int(np.unique(names, return_counts=True)[1].min())
    if smallest < folds:
        raise InputError(f"the smallest class has {smallest} cells; {folds} folds need as many in each")
    models = {
        "knn": lambda: KNeighborsClassifier(min(15, len(names) // 2)),
        "lr": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, tol=1e-3)),
    }
    seed = int(np.random.default_rng(rng).integers(2**31))
    if donors is None:
        splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(names, names)
    else:
        folds = min(folds, len(np.unique(np.asarray(donors))))
        if folds < 2:
            raise InputError("all cells are of one donor, which cannot be left out; give no donors")
        splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(names, names, np.asarray(donors))
    guesses = {name: names.copy() for name in classifiers}
    for fit, rest in splits:
        if len(set(names[fit])) == 1:
            # One class is all that these donors have.
            for guess in guesses.values():
                guess[rest] = names[fit][0]
            continue
        known, new = rep(fit, rest) if callable(rep) else (np.asarray(rep)[fit], np.asarray(rep)[rest])
        for name, guess in guesses.items():
            model = models[name]().fit(np.asarray(known, dtype=np.float64), names[fit])
            guess[rest] = model.predict(np.asarray(new, dtype=np.float64))
    return {name: float(balanced_accuracy_score(names, guess)) for name, guess in guesses.items()}


def batch_mixing(rep: ArrayLike, batch: ArrayLike, labels: ArrayLike, *, n_neighbors: int = 15) -> float:
    """How evenly batches mix among the nearest neighbors within a label: 1 as by chance, 0 not at all.

    For each cell the share of its nearest neighbors of the same label that come from another batch, divided by the
    share of the other cells of that label that do; averaged over cells whose label occurs in more than one batch.
    NaN where no label does.
    """
    from sklearn.neighbors import NearestNeighbors

    matrix, names = np.asarray(rep, dtype=np.float64), np.asarray(labels).astype(str)
    source = np.asarray(batch).astype(str)
    found: list[NDArray[np.float64]] = []
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        k = min(n_neighbors, len(rows) - 1)
        if k < 1 or len(np.unique(source[rows])) < 2:
            continue
        near = NearestNeighbors(n_neighbors=k).fit(matrix[rows]).kneighbors(return_distance=False)
        own = source[rows]
        other = (own[near] != own[:, None]).mean(axis=1)
        chance = np.array([(own != o).sum() / (len(own) - 1) for o in own])
        found.append(other / chance)
    return float(np.concatenate(found).mean()) if found else float("nan")
