"""The graph behind a trajectory: exact neighbours, scanpy's weights, and the ordering of one connected part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from .._progress import progress
from ..core import trajectory as core
from ._roots import Root

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Lists", "Part", "bootstrap", "first", "graph_of", "neighbour_lists", "order_part", "split"]

SMALLEST = 10
"""Connected parts with fewer cells get no pseudotime: they have no diffusion map to speak of."""
SMALLEST_DRAWN = 30
"""Connected parts with fewer cells get no interval."""


@dataclass(frozen=True, eq=False)
class Lists:
    """Nearest neighbours of each cell, itself left out, nearest first: rows and distances, ``(n_cells, length)``."""

    rows: NDArray[np.int64]
    distances: NDArray[np.floating]


@dataclass(eq=False)
class Part:
    """One connected part of the graph, ordered from its root.

    Attributes
    ----------
    rows
        Its cells, rising.
    candidates
        For each root with candidates here, their rows (of the whole data); else one entry, the cell nearest to them.
    nearest
        Whether the root is such a nearest cell.
    """

    rows: NDArray[np.int64]
    candidates: list[NDArray[np.int64]]
    nearest: bool = False
    roots: list[int] = field(default_factory=list)
    values: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    pseudotime: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    branches: core.Branches | None = None


class _Given:
    """Hands neighbours already found to scanpy, in the form of a scikit-learn transformer."""

    def __init__(self, distances: sp.csr_matrix, n_neighbors: int):
        self.distances, self.n_neighbors = distances, n_neighbors

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"n_neighbors": self.n_neighbors}

    def fit_transform(self, X: Any) -> sp.csr_matrix:
        return self.distances


def neighbour_lists(points: NDArray[Any], length: int) -> Lists:
    """Exact Euclidean neighbours. Exact, because approximate ones differ between runs and need the same time here."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=min(length, len(points) - 1), algorithm="brute").fit(points)
    distances, rows = model.kneighbors()  # without an argument each cell is left out of its own list
    return Lists(rows.astype(np.int64), distances)


def graph_of(points: NDArray[Any], distances: sp.csr_matrix, n_neighbors: int) -> AnnData:
    """Build scanpy's neighbour graph (UMAP weights) from given neighbours, in an object that holds nothing else.

    `n_neighbors` counts the cell itself, as in scanpy; `distances` has one fewer a row.
    """
    import anndata
    import scanpy as sc

    graph = anndata.AnnData(points)
    sc.pp.neighbors(graph, n_neighbors=n_neighbors, use_rep="X", transformer=_Given(distances, n_neighbors))
    return graph


def first(lists: Lists, n: int) -> sp.csr_matrix:
    """Distances to the first `n` neighbours as a sparse matrix."""
    m = len(lists.rows)
    rows, lengths = lists.rows[:, :n], lists.distances[:, :n]
    return sp.csr_matrix((lengths.ravel(), rows.ravel(), np.arange(0, rows.size + 1, n)), shape=(m, m))


def order_part(part: Part, graph: AnnData, points: NDArray[Any], n_dcs: int) -> None:
    """Diffusion map, pseudotime (largest value 1) and branches of one part, through scanpy."""
    import scanpy as sc

    sub = graph[part.rows].copy()
    sc.tl.diffmap(sub, n_comps=min(n_dcs, len(part.rows) - 2))
    part.roots = [core.medoid(points, c) for c in part.candidates]
    part.values, part.vectors = np.asarray(sub.uns["diffmap_evals"]), np.asarray(sub.obsm["X_diffmap"])
    local = np.searchsorted(part.rows, part.roots)
    if len(local) == 1:
        sub.uns["iroot"] = int(local[0])
        sc.tl.dpt(sub, n_dcs=n_dcs)
        part.pseudotime = sub.obs["dpt_pseudotime"].to_numpy(dtype=np.float64)
    else:
        part.pseudotime = _from_roots(part.values, part.vectors, local)
    part.branches = core.find_branches(part.values, part.vectors, int(local[0]))


def _from_roots(values: Any, vectors: Any, roots: Any) -> NDArray[np.float64]:
    """Distance to the nearest root, as a share of the largest."""
    distance = core.dpt_distances(values, vectors, roots).min(axis=0)
    return np.asarray(distance / max(float(distance.max()), np.finfo(float).tiny))


def bootstrap_part(
    part: Part,
    points: NDArray[Any],
    lists: Lists,
    *,
    n_neighbors: int,
    n_dcs: int,
    share: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """One draw: a share of the cells, their own graph, a root drawn again, pseudotime in the unit of the full one.

    Returns
    -------
    Pseudotime of the part's cells, NaN where a cell was not drawn or not reached, and for each branch whether a
    terminal state lies on it again.
    """
    from scipy.sparse.csgraph import connected_components

    n = len(part.rows)
    local = np.sort(rng.choice(n, size=max(SMALLEST, round(share * n)), replace=False))
    drawn = part.rows[local]
    wanted = n_neighbors - 1
    graph = graph_of(
        points[drawn],
        core.nearest_within(lists.rows, lists.distances, drawn, wanted, lambda r: _far(points, drawn, r, wanted)),
        n_neighbors,
    )
    weights = graph.obsp["connectivities"]
    roots = [_draw_root(points, c, drawn, rng) for c in part.candidates]
    labels = connected_components(weights, directed=False)[1]
    reached = np.flatnonzero(labels == labels[roots[0]])
    result = np.full(n, np.nan)
    again = np.zeros(0 if part.branches is None else len(part.branches.tips), dtype=bool)
    if len(reached) < SMALLEST:
        return result, again
    inside = np.searchsorted(reached, [r for r in roots if labels[r] == labels[roots[0]]])
    values, vectors = core.diffusion(weights[reached][:, reached], min(n_dcs, len(reached) - 2))
    result[local[reached]] = _from_roots(values, vectors, inside)
    if part.branches is not None and len(again) > 1:
        tips = core.find_branches(values, vectors, int(inside[0])).tips
        on = part.branches.codes[local[reached[tips]]]
        again[on[on >= 0]] = True
    return core.match_scale(result, part.pseudotime), again


def _draw_root(points: NDArray[Any], candidates: NDArray[np.int64], drawn: NDArray[np.int64], rng: Any) -> int:
    """Medoid of candidates drawn again, or the cell nearest to them where none is here; its position in `drawn`."""
    here = np.intersect1d(candidates, drawn)
    if len(here):
        root = core.medoid(points, rng.choice(here, size=len(here)))
        return int(np.searchsorted(drawn, root))
    return int(((points[drawn] - points[candidates].mean(axis=0)) ** 2).sum(axis=1).argmin())


def _far(
    points: NDArray[Any], drawn: NDArray[np.int64], rows: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    from sklearn.neighbors import NearestNeighbors

    distances, found = (
        NearestNeighbors(n_neighbors=n + 1, algorithm="brute").fit(points[drawn]).kneighbors(points[rows])
    )
    # The cell itself goes, wherever it stands among its duplicates.
    own = found == np.searchsorted(drawn, rows)[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(rows), n)
    return found[~own].reshape(shape), distances[~own].reshape(shape)


def split(
    graph: AnnData, roots: list[Root], points: NDArray[Any], others: str, notes: list[str]
) -> tuple[list[Part], NDArray[np.int64]]:
    """Connected parts, the largest first, each with its root candidates."""
    from scipy.sparse.csgraph import connected_components

    weights = sp.csr_matrix(graph.obsp["connectivities"])
    raw = connected_components(weights, directed=False)[1]
    size = np.bincount(raw)
    place = np.empty(len(size), dtype=np.int64)
    place[np.argsort(-size, kind="stable")] = np.arange(len(size))
    labels = place[raw]
    wanted = [r.candidates(weights) for r in roots]
    for found, source in zip(wanted, roots, strict=True):
        _check_root(labels, found, points, source.name)

    everyone = np.unique(np.concatenate(wanted))
    start = points[everyone].mean(axis=0)
    parts, ordered = [], []
    for c in range(len(size)):
        rows = np.flatnonzero(labels == c).astype(np.int64)
        here = [v for v in (np.intersect1d(w, rows) for w in wanted) if len(v)]
        part = Part(rows, here if len(rows) >= SMALLEST else [])
        if not here and others == "nearest" and len(rows) >= SMALLEST:
            nearest = int(rows[((points[rows] - start) ** 2).sum(axis=1).argmin()])
            part.candidates, part.nearest = [np.array([nearest])], True
        parts.append(part)
        ordered.append(bool(part.candidates))
    if len(parts) > 1:
        notes.append(_say_parts(parts, ordered))
    return parts, labels


def _check_root(labels: NDArray[np.int64], rows: NDArray[np.int64], points: NDArray[Any], name: str) -> None:
    main = labels[core.medoid(points, rows)]
    size = int((labels == main).sum())
    if size < SMALLEST:
        raise InputError(
            f"the root '{name}' lies in a connected part of {size} of {len(labels)} cells, which has no pseudotime; "
            f"choose a root in the largest part ({int((labels == 0).sum())} cells) or raise n_neighbors"
        )


def _say_parts(parts: list[Part], ordered: list[bool]) -> str:
    sizes = ", ".join(f"{len(p.rows)}" for p in parts[:6]) + (", ..." if len(parts) > 6 else "")
    text = (
        f"the graph falls into {len(parts)} unconnected parts of {sizes} cells; do not compare pseudotime between them"
    )
    near = sum(p.nearest for p in parts)
    left = sum(len(p.rows) for p, done in zip(parts, ordered, strict=True) if not done)
    text += f"; {near} without a root start at their cell nearest to it" if near else ""
    return text + (f"; {left} cells get NaN" if left else "")


def bootstrap(
    parts: list[Part],
    points: NDArray[Any],
    lists: Lists,
    n_neighbors: int,
    n_dcs: int,
    n_draws: int,
    share: float,
    rng: np.random.Generator,
    show_progress: bool | None,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    able = [p.branches is not None and len(p.rows) >= max(SMALLEST_DRAWN, 2 * n_neighbors) for p in parts]
    found = []
    with progress("bootstrap", n_draws * sum(able), show=show_progress) as advance:
        for part, draw in zip(parts, able, strict=True):
            n_tips = 0 if part.branches is None else len(part.branches.tips)
            times = np.full((n_draws if draw else 0, len(part.rows)), np.nan)
            again = np.zeros((len(times), n_tips))
            # Each draw has a generator of its own, so that draw i is the same however many there are.
            for i, own in enumerate(rng.spawn(len(times))):
                times[i], again[i] = bootstrap_part(
                    part, points, lists, n_neighbors=n_neighbors, n_dcs=n_dcs, share=share, rng=own
                )
                advance()
            found.append((times, again))
    return found
