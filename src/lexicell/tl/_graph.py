"""Neighbor graph, partitions and map of a matrix, by scanpy and scikit-learn, on an object of their own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.agreement import by_size

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "graph_of",
    "kmeans",
    "leiden",
    "place_others",
    "resolution_for",
    "sample_of",
    "umap_of",
]

_SCANPY_EXACT = 4000  # up to here scanpy searches exactly by itself
_EXACT = 20_000
_PROBES = 16  # of the inverted lists: recall .999 at 100,000 cells and 20 components
_TRIES = 25  # Leiden runs in search of a number of clusters
_NEAREST = 5  # cells of the map between which any other cell is placed


def graph_of(matrix: NDArray[Any], n_neighbors: int, seed: int) -> AnnData:
    """Build scanpy's neighbor graph in an object of its own, so that no key of the user's is touched."""
    import anndata
    import scanpy as sc

    graph = anndata.AnnData(sp.csr_matrix((len(matrix), 1), dtype=np.float32), obsm={"rep": matrix})
    search: Any = None
    if len(matrix) > _EXACT:
        search = _Search(n_neighbors, seed)
    elif len(matrix) > _SCANPY_EXACT:
        search = "sklearn"
    sc.pp.neighbors(graph, n_neighbors=n_neighbors, use_rep="rep", random_state=seed, transformer=search)
    return graph


class _Search:
    """Neighbors by faiss's inverted lists, in the form that scanpy asks a search for.

    Lists are made by k-means on a sample, with the given seed. A cell's neighbors are exact among the cells of the
    16 lists next to it.
    """

    def __init__(self, n_neighbors: int, seed: int) -> None:
        self._n_neighbors, self._seed = n_neighbors, seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"n_neighbors": self._n_neighbors, "random_state": self._seed}

    def fit_transform(self, X: Any) -> sp.csr_matrix:
        points = np.ascontiguousarray(X, dtype=np.float32)
        n, k = len(points), self._n_neighbors
        near, square = _nearest(points, points, k, self._seed)
        # A cell is its own first neighbor, which equal cells may have displaced.
        own = np.arange(n)
        at = np.where((near == own[:, None]).any(axis=1), (near == own[:, None]).argmax(axis=1), k - 1)
        near[own, at], square[own, at] = near[:, 0], square[:, 0]
        near[:, 0], square[:, 0] = own, 0.0
        distances = np.sqrt(np.maximum(square, 0.0))
        return sp.csr_matrix((distances.ravel(), near.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def _nearest(points: NDArray[np.float32], queries: NDArray[np.float32], k: int, seed: int) -> tuple[Any, Any]:
    """The `k` nearest of `points` to each query, and the squared distances, ``(n_queries, k)``."""
    import faiss
    from threadpoolctl import threadpool_limits

    n_lists = int(np.sqrt(len(points)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(points.shape[1]), points.shape[1], n_lists)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed % (2**31 - 1), 10, 64
    index.nprobe = min(_PROBES, n_lists)
    # Products split among threads differ in the last bit, and the lists with them.
    with threadpool_limits(limits=1):
        index.train(points)
        index.add(points)
        square, near = index.search(queries, k)
    lost = np.flatnonzero((near < 0).any(axis=1))
    if len(lost):
        # The lists next to these cells hold fewer than k cells.
        index.nprobe = n_lists
        square[lost], near[lost] = index.search(queries[lost], k)
    return near, square


def leiden(graph: AnnData) -> Callable[[float, int], NDArray[np.int64]]:
    """Give the function (resolution, seed) -> clusters of a graph, the largest cluster 0.

    These are the clusters of ``scanpy.tl.leiden(flavor="igraph", n_iterations=2, directed=False)``, which would make
    igraph's graph anew for each seed.
    """
    import igraph

    adjacency = sp.coo_matrix(sp.csr_matrix(graph.obsp["connectivities"]))
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
    """UMAP of a graph made by `graph_of`, ``(n_cells, 2)``."""
    import scanpy as sc

    # Spectral initialization needs more cells than this.
    sc.tl.umap(graph, random_state=seed, init_pos="spectral" if graph.n_obs > 15 else "random")
    return np.asarray(graph.obsm["X_umap"], dtype=np.float32)


def sample_of(n_cells: int, seed: int) -> NDArray[np.int64] | None:
    """Cells that stand for all where these are many, in order; None where all are used."""
    if n_cells <= _EXACT:
        return None
    return np.sort(np.random.default_rng(seed).choice(n_cells, _EXACT, replace=False))


def place_others(
    matrix: NDArray[Any], sample: NDArray[np.int64], placed: NDArray[np.float32], seed: int
) -> NDArray[np.float32]:
    """Map of all cells from that of some: the others lie between the five nearest of these, the nearer the closer."""
    points = np.ascontiguousarray(matrix, dtype=np.float32)
    near, square = _nearest(points[sample], points, _NEAREST, seed)
    weight = 1.0 / np.maximum(square, 1e-12)
    weight /= weight.sum(axis=1, keepdims=True)
    everywhere: NDArray[np.float32] = np.einsum("nk,nkd->nd", weight, placed[near]).astype(np.float32)
    everywhere[sample] = placed
    return everywhere
