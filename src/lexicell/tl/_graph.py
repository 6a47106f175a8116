"""Neighbor graph, partitions and map of a matrix, by scanpy and scikit-learn, on an object of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.agreement import by_size

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["graph_of", "kmeans", "leiden", "resolution_for", "umap_of"]

_SCANPY_EXACT = 4000  # up to here scanpy searches exactly by itself
_EXACT = 20_000
_TRIES = 25  # Leiden runs in search of a number of clusters


def graph_of(matrix: NDArray[Any], n_neighbors: int, seed: int) -> AnnData:
    """Build scanpy's neighbor graph in an object of its own, so that no key of the user's is touched."""
    import anndata
    import scanpy as sc

    graph = anndata.AnnData(sp.csr_matrix((len(matrix), 1), dtype=np.float32), obsm={"rep": matrix})
    search = _search(len(matrix), n_neighbors, seed)
    sc.pp.neighbors(graph, n_neighbors=n_neighbors, use_rep="rep", random_state=seed, transformer=search)
    return graph


def _search(n_cells: int, n_neighbors: int, seed: int) -> Any:
    """How neighbors are found: exactly up to `_EXACT` cells, by nearest-neighbor descent above."""
    if n_cells <= _SCANPY_EXACT:
        return None
    if n_cells <= _EXACT:
        return "sklearn"
    from pynndescent import PyNNDescentTransformer

    # Numbers of trees and rounds as in umap-learn, which scanpy follows as well; one thread, for the same bits.
    return _Descent(
        PyNNDescentTransformer(
            n_neighbors=n_neighbors,
            random_state=seed,
            n_jobs=1,
            n_trees=min(64, 5 + round(n_cells**0.5 / 20.0)),
            n_iters=max(5, round(np.log2(n_cells))),
        )
    )


class _Descent:
    """Gives scanpy a sparse matrix: 1.11 and 1.12 ask for getnnz, which sparse arrays, as they come, do not have."""

    def __init__(self, search: Any) -> None:
        self._search = search

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return dict(self._search.get_params(deep))

    def fit_transform(self, X: Any) -> sp.csr_matrix:
        return sp.csr_matrix(self._search.fit_transform(X))


def leiden(graph: AnnData) -> Callable[[float, int], NDArray[np.int64]]:
    """Give the function (resolution, seed) -> clusters of a graph, the largest cluster 0."""
    import scanpy as sc

    def run(resolution: float, seed: int) -> NDArray[np.int64]:
        sc.tl.leiden(graph, resolution=resolution, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
        return by_size(graph.obs["leiden"].cat.codes.to_numpy())

    return run


def resolution_for(run: Callable[[float], NDArray[np.int64]], wanted: int) -> float:
    """Resolution that gives the wanted number of clusters, or comes nearest; bisection on a log scale."""
    low, high = 1e-3, 20.0
    best, best_off = 1.0, np.inf
    for attempt in range(_TRIES):
        # 1.0 gives the usual number of clusters on most data sets.
        resolution = 1.0 if attempt == 0 else float(np.sqrt(low * high))
        off = int(run(resolution).max()) + 1 - wanted
        if abs(off) < best_off:
            best, best_off = resolution, abs(off)
        if off == 0:
            break
        if off > 0:
            high = resolution
        else:
            low = resolution
    return best


def kmeans(matrix: NDArray[Any], n_clusters: int, seed: int) -> NDArray[np.int64]:
    """k-means of the best of ten starts, the largest cluster 0."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    # Sums over cells are split among threads otherwise, and differ in the last bit.
    with threadpool_limits(limits=1):
        model = KMeans(n_clusters, n_init=10, random_state=seed).fit(np.asarray(matrix, dtype=np.float64))
    return by_size(model.labels_)


def umap_of(graph: AnnData, seed: int) -> NDArray[np.float32]:
    """UMAP of a graph made by `graph_of`, ``(n_cells, 2)``."""
    import scanpy as sc

    # Spectral initialization needs more cells than this.
    sc.tl.umap(graph, random_state=seed, init_pos="spectral" if graph.n_obs > 15 else "random")
    return np.asarray(graph.obsm["X_umap"], dtype=np.float32)
