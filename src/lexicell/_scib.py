"""Scores of scib-metrics, for those who have it installed; ours need nothing more than scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import MissingDependencyError

__all__ = ["check_scib", "scib_scores"]

_NEIGHBORS = 90  # scib-metrics' own number for LISI


def check_scib() -> None:
    """Say what to install where scib-metrics is missing."""
    try:
        import scib_metrics  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "scib=True needs scib-metrics: pip install 'lexicell[eval]'; the scores without it need nothing"
        ) from error


def scib_scores(matrix: NDArray[Any], labels: NDArray[Any], batch: NDArray[Any] | None) -> dict[str, float]:
    """Scores of a representation by scib-metrics, each scaled to 0 to 1, larger is better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of jax, about the processor it found
        import scib_metrics as scib
        from scib_metrics.nearest_neighbors import NeighborsResults
        from sklearn.neighbors import NearestNeighbors

        rep = np.ascontiguousarray(matrix, dtype=np.float32)
        names = np.asarray(labels).astype(str)
        # Every cell is its own first neighbour, as scib-metrics expects.
        search = NearestNeighbors(n_neighbors=min(_NEIGHBORS, len(rep))).fit(rep)
        distances, indices = search.kneighbors(rep)
        near = NeighborsResults(indices=indices, distances=distances)
        found = {
            "silhouette_label": scib.silhouette_label(rep, names),
            "clisi": scib.clisi_knn(near, names),
        }
        if batch is not None and len(set(batch)) > 1:
            found["isolated_labels"] = scib.isolated_labels(rep, names, batch)
            found["ilisi"] = scib.ilisi_knn(near, batch)
            found["silhouette_batch"] = scib.silhouette_batch(rep, names, batch)
    return {f"scib_{name}": float(value) for name, value in found.items()}
