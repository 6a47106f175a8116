"""Neighbor graph, partitions and map of a matrix, by scanpy and scikit-learn, on an object of their own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.agreement import by_size
from ..core.expression.components import principal_components

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cells_on_map", "graph_of", "kmeans", "leiden", "resolution_for", "sample_of", "umap_of"]

_SCANPY_EXACT = 4000  # up to here scanpy searches exactly by itself
_EXACT = 20_000
_PROBES = 32  # lists searched per cell, of 4 sqrt(n): finds .9995 of the neighbors of 100,000 cells in 20 components
_SPECTRAL = 10_000  # above, the eigenvectors that UMAP begins with take four times as long as UMAP itself
_MAP = 50_000  # cells that UMAP lays out; further cells are placed beside those nearest to them
_TRIES = 25  # Leiden runs in search of a number of clusters


def graph_of(matrix: NDArray[Any], n_neighbors: int, seed: int) -> AnnData:
    """Build scanpy's neighbor graph in an object of its own, so that no key of the user's is touched.

    Neighbors are found exactly up to 20,000 cells, and by faiss's inverted lists above.
    """
    import anndata
    import scanpy as sc

    graph = anndata.AnnData(sp.csr_matrix((len(matrix), 1), dtype=np.float32), obsm={"rep": matrix})
    search: Any = None
    if len(matrix) > _EXACT:
        search = _Lists(n_neighbors, seed)
    elif len(matrix) > _SCANPY_EXACT:
        search = "sklearn"
    sc.pp.neighbors(graph, n_neighbors=n_neighbors, use_rep="rep", random_state=seed, transformer=search)
    return graph


class _Lists:
    """Approximate neighbors in the form scanpy asks of a transformer.

    A search reads the lists whose centers are nearest to the cell. Centers are found on one thread; the search itself
    treats every cell alike, so the same seed gives the same bits for any number of threads.
    """

    def __init__(self, n_neighbors: int, seed: int) -> None:
        self._n_neighbors, self._seed = n_neighbors, seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"n_neighbors": self._n_neighbors, "random_state": self._seed}

    def fit_transform(self, X: Any) -> sp.csr_matrix:
        cells = np.ascontiguousarray(X, dtype=np.float32)
        n, k = len(cells), self._n_neighbors
        distance, found = _nearest(cells, cells, k + 1, self._seed)
        # Of equal cells another may come first: a cell leads its own row, at distance zero, and is not its neighbor.
        own = found == np.arange(n)[:, None]
        own[~own.any(axis=1), -1] = True
        near = np.hstack([np.arange(n)[:, None], found[~own].reshape(n, k)[:, : k - 1]])
        far = np.hstack([np.zeros((n, 1)), distance[~own].reshape(n, k)[:, : k - 1]])
        return sp.csr_matrix((far.ravel(), near.ravel(), np.arange(n + 1) * k), shape=(n, n))


def _nearest(
    cells: NDArray[np.float32], asked: NDArray[np.float32], k: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distances and numbers of the k cells nearest to each row of `asked`, nearest first, by faiss's inverted lists."""
    import faiss

    n, dim = cells.shape
    center = faiss.IndexFlatL2(dim)
    lists = faiss.IndexIVFFlat(center, dim, max(1, round(4 * n**0.5)))
    lists.cp.seed, lists.cp.niter, lists.cp.max_points_per_centroid = seed % 2**31, 10, 64
    lists.nprobe = _PROBES
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        lists.train(cells)
        lists.add(cells)
    finally:
        faiss.omp_set_num_threads(threads)
    squared, found = lists.search(asked, k)
    short = (found < 0).any(axis=1)
    if short.any():  # many equal cells share one list and leave others empty
        every = faiss.IndexFlatL2(dim)
        every.add(cells)
        squared[short], found[short] = every.search(asked[short], k)
    return np.sqrt(np.maximum(squared, 0)), found


def leiden(graph: AnnData) -> Callable[[float, int], NDArray[np.int64]]:
    """Give the function (resolution, seed) -> clusters of a graph, the largest cluster 0.

    These are the clusters of ``scanpy.tl.leiden(flavor="igraph", n_iterations=2, directed=False)``, which makes
    igraph's graph anew for each seed.
    """
    import igraph

    adjacency = sp.csr_matrix(graph.obsp["connectivities"]).tocoo()
    edges = np.column_stack([adjacency.row, adjacency.col])
    network = igraph.Graph(n=graph.n_obs, edges=edges, directed=False)
    weights = adjacency.data.tolist()

    def run(resolution: float, seed: int) -> NDArray[np.int64]:
        igraph.set_random_number_generator(_Random(seed))
        try:
            found = network.community_leiden("modularity", weights=weights, resolution=resolution, n_iterations=2)
        finally:
            igraph.set_random_number_generator(random)
        return by_size(np.asarray(found.membership, dtype=np.int64))

    return run


class _Random:
    """Numbers for igraph from numpy's older generator, as scanpy draws them."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.RandomState(seed)
        self.random, self.gauss = self._rng.random_sample, self._rng.normal

    def getrandbits(self, bits: int) -> int:
        return int(self._rng.tomaxint()) & ((1 << bits) - 1)

    def randint(self, low: int, high: int) -> int:
        return int(self._rng.randint(low, high + 1))


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
    """UMAP of a graph made by `graph_of`, ``(n_cells, 2)``.

    Up to 10,000 cells as scanpy does it; with more, UMAP begins with the first two principal components. With more
    than 50,000, it lays out a random 50,000, and every other cell is placed at the mean of the five nearest of these,
    weighted by inverse distance.
    """
    import scanpy as sc

    n = graph.n_obs
    if n > _MAP:
        return _map_of_sample(graph, seed)
    start: Any = "spectral"
    if n <= 15:  # too few for eigenvectors
        start = "random"
    elif n > _SPECTRAL:
        start = _first_components(graph.obsm["rep"])
    sc.tl.umap(graph, random_state=seed, init_pos=start)
    return np.asarray(graph.obsm["X_umap"], dtype=np.float32)


def _first_components(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Two principal components, as wide as umap-learn makes its own start."""
    whole = np.asarray(matrix, dtype=np.float64)
    scores = principal_components(lambda start, stop: whole[start:stop], len(whole), 2).scores
    return np.asarray(10 * scores / np.abs(scores).max(), dtype=np.float32)


def _map_of_sample(graph: AnnData, seed: int) -> NDArray[np.float32]:
    n = graph.n_obs
    cells = np.ascontiguousarray(graph.obsm["rep"], dtype=np.float32)
    sample = np.sort(np.random.default_rng(seed).choice(n, _MAP, replace=False))
    n_neighbors = int(graph.uns["neighbors"]["params"]["n_neighbors"])
    drawn = umap_of(graph_of(cells[sample], n_neighbors, seed), seed)
    placed = np.empty((n, 2), dtype=np.float32)
    placed[sample] = drawn
    rest = np.setdiff1d(np.arange(n), sample)
    distance, near = _nearest(cells[sample], cells[rest], 5, seed)
    weight = 1 / (distance + 1e-6)
    placed[rest] = (drawn[near] * (weight / weight.sum(axis=1, keepdims=True))[:, :, None]).sum(axis=1)
    return placed


def cells_on_map(n_cells: int) -> int:
    """Cells that UMAP lays out itself; the others are placed beside them."""
    return min(n_cells, _MAP)


def sample_of(n_cells: int, seed: int) -> NDArray[np.int64] | None:
    """Cells that stand for all where these are more than the exact search takes, rising; None where all are used."""
    if n_cells <= _EXACT:
        return None
    return np.sort(np.random.default_rng(seed).choice(n_cells, _EXACT, replace=False))
