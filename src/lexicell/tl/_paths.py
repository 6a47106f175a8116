"""The graph behind a trajectory: exact neighbors, scanpy's weights, and the ordering of each connected part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from .._progress import progress
from ..core.trajectory import order as core
from ._roots import Root

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["N_DCS", "SMALLEST", "Part", "Space", "bootstrap", "order_part", "split"]

SMALLEST = 10
"""Connected parts with fewer cells get no pseudotime: they have no diffusion map to speak of."""
SMALLEST_DRAWN = 30
"""Connected parts with fewer cells get no interval."""
N_DCS = 10
"""Diffusion components, as many as scanpy takes."""
SHARE = 0.8
"""Fraction of the cells in each draw of the bootstrap."""


@dataclass(frozen=True, eq=False)
class Space:
    """Cells as points, with their nearest neighbors.

    Attributes
    ----------
    points
        Representation, shape ``(n_cells, d)``.
    neighbors, distances
        Nearest neighbors of each cell without itself, nearest first, shape ``(n_cells, length)``. Twice as many as the
        graph needs, so that most of a draw's neighbors can be taken from here.
    n_neighbors
        Neighbors per cell in the graph; counts the cell itself, as in scanpy.
    """

    points: NDArray[Any]
    neighbors: NDArray[np.int64]
    distances: NDArray[np.floating]
    n_neighbors: int

    @classmethod
    def of(cls, points: NDArray[Any], n_neighbors: int) -> Space:
        """Find exact Euclidean neighbors: approximate ones differ between runs and are no faster at this size."""
        from sklearn.neighbors import NearestNeighbors

        length = min(2 * n_neighbors, len(points) - 1)
        model = NearestNeighbors(n_neighbors=length, algorithm="brute").fit(points)
        distances, neighbors = model.kneighbors()  # without an argument, no cell is its own neighbor
        return cls(points, neighbors.astype(np.int64), distances, n_neighbors)

    def graph(self) -> AnnData:
        """Scanpy's neighbor graph of all cells."""
        everyone = np.arange(len(self.points))
        return self.graph_of(everyone)

    def graph_of(self, drawn: NDArray[np.int64]) -> AnnData:
        """Scanpy's neighbor graph (UMAP weights) of some of the cells, in an object that holds nothing else."""
        import anndata
        import scanpy as sc

        # Scanpy counts the cell itself among its neighbors.
        wanted = self.n_neighbors - 1
        found = core.nearest_within(
            self.neighbors, self.distances, drawn, wanted, lambda rows: self._search(drawn, rows, wanted)
        )
        graph = anndata.AnnData(self.points[drawn])
        sc.pp.neighbors(
            graph, n_neighbors=self.n_neighbors, use_rep="X", transformer=_Precomputed(found, self.n_neighbors)
        )
        return graph

    def _search(
        self, drawn: NDArray[np.int64], rows: NDArray[np.int64], n: int
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Neighbors (positions in `drawn`) and distances of the cells whose lists hold too few drawn cells."""
        from sklearn.neighbors import NearestNeighbors

        model = NearestNeighbors(n_neighbors=n + 1, algorithm="brute").fit(self.points[drawn])
        distances, found = model.kneighbors(self.points[rows])
        # Among duplicates a cell need not be its own first neighbor, and may even be missing from its list.
        own = found == np.searchsorted(drawn, rows)[:, None]
        own[~own.any(axis=1), -1] = True
        shape = (len(rows), n)
        return found[~own].reshape(shape), distances[~own].reshape(shape)


class _Precomputed:
    """Gives scanpy neighbors that were already found, in the form of a scikit-learn transformer."""

    def __init__(self, distances: sp.csr_matrix, n_neighbors: int):
        self.distances = distances
        self.n_neighbors = n_neighbors

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"n_neighbors": self.n_neighbors}

    def fit_transform(self, X: Any) -> sp.csr_matrix:
        return self.distances


@dataclass(eq=False)
class Part:
    """One connected part of the graph, ordered from its root.

    Attributes
    ----------
    rows
        Its cells, ascending.
    candidates
        For each root with candidates in this part, their rows (of the whole data). Without any, the cell nearest to
        the root; empty where the part is too small.
    root_from
        ``"given"``, ``"nearest"`` or ``"none"``.
    roots, values, vectors, pseudotime, branches
        Set by :func:`order_part`.
    times, found_again
        Set by :func:`bootstrap`: draws x cells, and draws x branches.
    """

    rows: NDArray[np.int64]
    candidates: list[NDArray[np.int64]]
    root_from: str
    roots: list[int] = field(default_factory=list)
    values: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    pseudotime: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    branches: core.Branches | None = None
    times: NDArray[np.float64] = field(init=False)
    found_again: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        self.times = np.zeros((0, len(self.rows)))


def split(graph: AnnData, roots: list[Root], points: NDArray[Any]) -> tuple[list[Part], NDArray[np.int64]]:
    """Connected parts, the largest first, each with its root candidates; and the part of each cell."""
    from scipy.sparse.csgraph import connected_components

    weights = sp.csr_matrix(graph.obsp["connectivities"])
    n_parts, found = connected_components(weights, directed=False)
    # scipy numbers parts by their first cell; numbering by size makes "0" the main one.
    by_size = np.argsort(-np.bincount(found), kind="stable")
    rank = np.empty(n_parts, dtype=np.int64)
    rank[by_size] = np.arange(n_parts)
    labels = rank[found]

    candidates = [root.candidates(weights) for root in roots]
    for rows, root in zip(candidates, roots, strict=True):
        _check_root(labels, rows, points, root.name)
    # Other parts begin at their cell nearest to the root: the best guess that needs no label.
    start = points[np.unique(np.concatenate(candidates))].mean(axis=0)
    parts = []
    for number in range(n_parts):
        rows = np.flatnonzero(labels == number).astype(np.int64)
        inside = [np.intersect1d(c, rows) for c in candidates]
        inside = [c for c in inside if len(c)]
        if len(rows) < SMALLEST:
            part = Part(rows, [], "none")
        elif inside:
            part = Part(rows, inside, "given")
        else:
            nearest = rows[((points[rows] - start) ** 2).sum(axis=1).argmin()]
            part = Part(rows, [np.array([nearest])], "nearest")
        parts.append(part)
    return parts, labels


def _check_root(labels: NDArray[np.int64], rows: NDArray[np.int64], points: NDArray[Any], name: str) -> None:
    """Refuse a root in a part that is too small to be ordered."""
    size = int((labels == labels[core.medoid(points, rows)]).sum())
    if size < SMALLEST:
        raise InputError(
            f"the root '{name}' lies in a connected part of {size} of {len(labels)} cells, too few for a pseudotime; "
            f"choose a root in the largest part ({int((labels == 0).sum())} cells) or raise n_neighbors"
        )


def order_part(part: Part, graph: AnnData, space: Space) -> None:
    """Compute scanpy's diffusion map and pseudotime (largest value 1) of one part, and its branches."""
    import scanpy as sc

    sub = graph[part.rows].copy()
    sc.tl.diffmap(sub, n_comps=min(N_DCS, len(part.rows) - 2))
    part.roots = [core.medoid(space.points, c) for c in part.candidates]
    part.values = np.asarray(sub.uns["diffmap_evals"])
    part.vectors = np.asarray(sub.obsm["X_diffmap"])
    local = np.searchsorted(part.rows, part.roots)
    if len(local) == 1:
        sub.uns["iroot"] = int(local[0])
        sc.tl.dpt(sub, n_dcs=min(N_DCS, len(part.values)))
        part.pseudotime = sub.obs["dpt_pseudotime"].to_numpy(dtype=np.float64)
    else:
        part.pseudotime = _from_roots(part.values, part.vectors, local)
    part.branches = core.find_branches(part.values, part.vectors, int(local[0]))


def _from_roots(values: Any, vectors: Any, roots: Any) -> NDArray[np.float64]:
    """Distance to the nearest root, as a fraction of the largest."""
    distance = core.dpt_distances(values, vectors, roots).min(axis=0)
    return np.asarray(distance / max(float(distance.max()), np.finfo(float).tiny))


def bootstrap(
    parts: list[Part], space: Space, n_draws: int, rng: np.random.Generator, *, show_progress: bool | None
) -> None:
    """Order each part again on draws of its cells; sets `times` and `found_again`."""
    smallest = max(SMALLEST_DRAWN, 2 * space.n_neighbors)
    drawn = [p for p in parts if p.branches is not None and len(p.rows) >= smallest]
    with progress("bootstrap", n_draws * len(drawn), show=show_progress) as advance:
        for part in drawn:
            assert part.branches is not None
            part.times = np.full((n_draws, len(part.rows)), np.nan)
            part.found_again = np.zeros((n_draws, len(part.branches.tips)))
            # Each draw has its own generator, so that draw i is the same whatever n_draws is.
            for i, own in enumerate(rng.spawn(n_draws)):
                part.times[i], part.found_again[i] = _draw(part, space, own)
                advance()


def _draw(part: Part, space: Space, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """One draw: a graph of 80 % of the cells, a root drawn again, and pseudotime on the scale of the full one.

    Returns
    -------
    Pseudotime of the part's cells, NaN where a cell was not drawn or not reached, and for each branch whether a
    terminal state lies on it again.
    """
    from scipy.sparse.csgraph import connected_components

    n = len(part.rows)
    # Without replacement: duplicates would be each other's nearest neighbors and break the graph.
    local = np.sort(rng.choice(n, size=max(SMALLEST, round(SHARE * n)), replace=False))
    drawn = part.rows[local]
    weights = space.graph_of(drawn).obsp["connectivities"]
    roots = [_draw_root(space.points, c, drawn, rng) for c in part.candidates]
    # A graph of fewer cells may fall apart: only what is connected to the first root is ordered.
    labels = connected_components(weights, directed=False)[1]
    reached = np.flatnonzero(labels == labels[roots[0]])
    branches = part.branches
    assert branches is not None  # only ordered parts are drawn from
    times = np.full(n, np.nan)
    found_again = np.zeros(len(branches.tips), dtype=bool)
    if len(reached) < SMALLEST:
        return times, found_again
    inside = np.searchsorted(reached, [r for r in roots if labels[r] == labels[roots[0]]])
    values, vectors = core.diffusion(weights[reached][:, reached], min(N_DCS, len(reached) - 2))
    times[local[reached]] = _from_roots(values, vectors, inside)
    if len(branches.tips) > 1:
        tips = core.find_branches(values, vectors, int(inside[0])).tips
        on = branches.codes[local[reached[tips]]]
        found_again[on[on >= 0]] = True
    return core.match_scale(times, part.pseudotime), found_again


def _draw_root(points: NDArray[Any], candidates: NDArray[np.int64], drawn: NDArray[np.int64], rng: Any) -> int:
    """Position in `drawn` of the medoid of resampled candidates, or of the nearest cell if no candidate was drawn."""
    available = np.intersect1d(candidates, drawn)
    if len(available):
        # Candidates are resampled too, so that the interval includes which cell of the root's cells is taken.
        root = core.medoid(points, rng.choice(available, size=len(available)))
        return int(np.searchsorted(drawn, root))
    return int(((points[drawn] - points[candidates].mean(axis=0)) ** 2).sum(axis=1).argmin())
