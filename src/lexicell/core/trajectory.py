"""Orderings of cells from arrays alone: diffusion, distances from any root, branches, intervals, scores.

Notation: `values` are the leading eigenvalues of the diffusion operator of a connected graph, falling, the first 1;
`vectors` are its eigenvectors, shape ``(n_cells, n_dcs)``, one column an eigenvalue, as in scanpy's ``diffmap``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Branches",
    "diffusion",
    "dpt_distances",
    "find_branches",
    "interval",
    "match_scale",
    "medoid",
    "nearest_within",
    "resistances",
]

# scanpy counts eigenvalues from here on as 1: its eigenvectors are float32.
_STATIONARY = 0.9994

STEPS = 5
"""Steps of the random walk that smooth the distances in which branches are looked for."""


def diffusion(
    connectivities: Any, n_dcs: int = 10, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    r"""Leading eigenvalues and eigenvectors of the diffusion operator, as ``scanpy.tl.diffmap`` computes them.

    With connectivities W and degrees q, :math:`K_{ij} = W_{ij} / (q_i q_j)` takes out the sampling density, and
    :math:`T = Z^{-1/2} K Z^{-1/2}`, with Z the row sums of K, is decomposed.

    Parameters
    ----------
    connectivities
        Symmetric weights of one connected graph, shape ``(n_cells, n_cells)``, sparse.
    n_dcs
        Number of components.
    seed
        Seed of the start vector, as scanpy's ``random_state``.

    Returns
    -------
    Eigenvalues, shape ``(n_dcs,)``, falling, and eigenvectors, shape ``(n_cells, n_dcs)``; float32.
    """
    from scipy.sparse.linalg import eigsh

    W = sp.csr_matrix(connectivities, dtype=np.float64)
    inverse = sp.diags(1.0 / np.asarray(W.sum(axis=0)).ravel())
    K = inverse @ W @ inverse
    root = sp.diags(1.0 / np.sqrt(np.asarray(K.sum(axis=0)).ravel()))
    start = np.random.RandomState(seed).standard_normal(W.shape[0])
    values, vectors = eigsh(sp.csr_matrix(root @ K @ root), k=min(n_dcs, W.shape[0] - 1), which="LM", v0=start)
    order = np.argsort(values)[::-1]
    return values[order].astype(np.float32), vectors[:, order].astype(np.float32)


def dpt_distances(values: ArrayLike, vectors: ArrayLike, roots: ArrayLike) -> NDArray[np.float64]:
    r"""Diffusion pseudotime distance of every cell from each of some roots.

    .. math:: d(r, x)^2 = \sum_{\lambda_j < 1} \left(\frac{\lambda_j}{1 - \lambda_j}\right)^2 (\psi_{rj} - \psi_{xj})^2
              + \sum_{\lambda_j = 1} (\psi_{rj} - \psi_{xj})^2

    One decomposition serves all roots: a row costs ``n_cells * n_dcs`` operations.

    Parameters
    ----------
    values, vectors
        Eigenvalues and eigenvectors of one connected graph.
    roots
        Rows of the roots, shape ``(n_roots,)``.

    Returns
    -------
    Shape ``(n_roots, n_cells)``, float64, finite, not scaled.

    References
    ----------
    Haghverdi et al., Nature Methods 2016, doi:10.1038/nmeth.3971; the form is scanpy's, which keeps the stationary
    component with weight 1.
    """
    lam = np.asarray(values, dtype=np.float64)
    weight = np.ones(len(lam))
    moving = lam < _STATIONARY
    weight[moving] = lam[moving] / (1.0 - lam[moving])
    return _row_distances(np.asarray(vectors, dtype=np.float64) * weight, roots)


def resistances(values: ArrayLike, vectors: ArrayLike, roots: ArrayLike, *, steps: int = STEPS) -> NDArray[np.float64]:
    r"""Smoothed commute distance of every cell from each of some roots: close to additive along a tree.

    .. math:: \omega(r, x) = \sum_{j \ge 2} \frac{\lambda_j^{2s}}{1 - \lambda_j} (\psi_{rj} - \psi_{xj})^2

    With s = 0 and all components this is the effective resistance of the graph up to degrees. On a tree the resistance
    between two nodes is the sum over the edges between them, so three distances tell where two paths part. In diffusion
    pseudotime two branches leave at a right angle instead, and distances do not add up. The s steps of the random walk
    keep single outlying cells from standing out as branches of their own.

    Parameters
    ----------
    values, vectors
        Eigenvalues and eigenvectors of one connected graph. The first component is the stationary one and left out.
    roots
        Rows of the roots, shape ``(n_roots,)``.
    steps
        s. Five was chosen among 0, 2, 5, 10 and 20 on simulated branchings.

    Returns
    -------
    Shape ``(n_roots, n_cells)``, float64.
    """
    lam = np.asarray(values, dtype=np.float64)[1:]
    psi = np.asarray(vectors, dtype=np.float64)[:, 1:]
    scale = np.maximum(lam, 0.0) ** steps / np.sqrt(np.maximum(1.0 - lam, 1e-6))
    return _row_distances(psi * scale, roots) ** 2


def _row_distances(coordinates: NDArray[np.float64], roots: ArrayLike) -> NDArray[np.float64]:
    rows = np.atleast_1d(np.asarray(roots, dtype=np.int64))
    return np.stack([np.sqrt(((coordinates - coordinates[r]) ** 2).sum(axis=1)) for r in rows])


def medoid(points: ArrayLike, rows: ArrayLike) -> int:
    """The one of `rows` with the smallest sum of squared distances to all of them: the nearest to their mean.

    Parameters
    ----------
    points
        Representation, shape ``(n_cells, d)``.
    rows
        Rows to choose from; a row that stands twice counts twice. The earlier row wins a tie.
    """
    chosen = np.asarray(rows, dtype=np.int64)
    members = np.asarray(points)[chosen].astype(np.float64)
    return int(chosen[((members - members.mean(axis=0)) ** 2).sum(axis=1).argmin()])


@dataclass(frozen=True, eq=False)
class Branches:
    """Where a trajectory ends, and which cells lead there.

    Attributes
    ----------
    tips
        Row of the terminal cell of each branch, shape ``(n_branches,)``, the farthest from the root first.
    leads_to
        Whether the path from the root through a cell may end in a branch, shape ``(n_cells, n_branches)``, bool. All
        true: the cell stands before the first parting (the trunk); one true: it stands on that branch.
    depth
        Distance from the root along the path to the cell's best branch, shape ``(n_cells,)``.
    """

    tips: NDArray[np.int64]
    leads_to: NDArray[np.bool_]
    depth: NDArray[np.float64]

    @property
    def codes(self) -> NDArray[np.int64]:
        """The branch of each cell; -1 where it may still end in more than one, or where there is only one end."""
        one = (self.leads_to.sum(axis=1) == 1) & (len(self.tips) > 1)
        return np.where(one, self.leads_to.argmax(axis=1), -1)


def find_branches(
    values: ArrayLike,
    vectors: ArrayLike,
    root: int,
    *,
    min_length: float = 0.25,
    min_share: float = 0.05,
    max_branches: int = 8,
) -> Branches:
    r"""Terminal states and branches from distances along the graph.

    In a tree, with root r and :func:`resistances` :math:`\omega`, the path to x leaves the path to t at depth
    :math:`(x|t) = (\omega_{rx} + \omega_{rt} - \omega_{xt}) / 2` (the Gromov product). The first terminal state is
    the cell farthest from the root. The next is the cell whose own stretch, beyond where it leaves the paths to all
    earlier terminal states, is the longest; it counts if that stretch is long enough. A cell belongs to the terminal
    state whose path it shares longest; it stands on that branch alone if it lies deeper than the last parting.
    Branches with too few cells are then taken away, the smallest first.

    Parameters
    ----------
    values, vectors
        Eigenvalues and eigenvectors of one connected graph.
    root
        Row of the root.
    min_length
        Shortest stretch of its own that makes a terminal state, as a share of the 99 % quantile of the distance from
        the root. Chosen, like the other defaults, on simulated branchings.
    min_share
        Smallest share of the cells that makes a branch.
    max_branches
        At most so many terminal states are looked for.

    Returns
    -------
    Branches
        With one tip and no branch where nothing parts.
    """

    def row(cell: int) -> NDArray[np.float64]:
        return np.asarray(resistances(values, vectors, [cell])[0])

    from_root = row(root)
    tips = [int(from_root.argmax())]
    from_tips = [row(tips[0])]
    while len(tips) < max_branches:
        own = np.min([(from_root + d - from_root[t]) / 2 for t, d in zip(tips, from_tips, strict=True)], axis=0)
        furthest = int(own.argmax())
        if own[furthest] < min_length * np.quantile(from_root, 0.99):
            break
        tips.append(furthest)
        from_tips.append(row(furthest))
    while True:
        found = _lead(from_root, np.array(tips), np.array(from_tips))
        sizes = np.bincount(found.codes[found.codes >= 0], minlength=len(tips))
        if len(tips) == 1 or sizes.min() >= max(min_share * len(from_root), 1):
            return found
        smallest = int(sizes.argmin())
        del tips[smallest], from_tips[smallest]


def _lead(from_root: NDArray[np.float64], tips: NDArray[np.int64], from_tips: NDArray[np.float64]) -> Branches:
    shared = (from_root + from_root[tips][:, None] - from_tips) / 2  # (x|t), tips x cells
    best, depth = shared.argmax(axis=0), shared.max(axis=0)
    parting = shared[:, tips]
    parting = np.maximum(parting, parting.T)
    leads_to = parting[best] >= depth[:, None]
    leads_to[np.arange(len(best)), best] = True
    return Branches(tips, leads_to, depth)


def nearest_within(
    neighbours: NDArray[np.int64],
    distances: NDArray[np.floating],
    drawn: NDArray[np.int64],
    n_neighbors: int,
    far: Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.floating]]],
) -> sp.csr_matrix:
    """The exact nearest neighbours among some of the cells, read off longer lists of all cells.

    Parameters
    ----------
    neighbours, distances
        Neighbours of each cell among all cells, nearest first, itself left out, shape ``(n_cells, length)``.
    drawn
        Rows of the cells that take part, rising.
    n_neighbors
        Neighbours a cell, itself left out.
    far
        Called with the rows whose list holds too few drawn cells; returns neighbours (positions in `drawn`) and
        distances, each ``(len(rows), n_neighbors)``.

    Returns
    -------
    Distances, CSR, ``(len(drawn), len(drawn))``, `n_neighbors` stored entries a row, nearest first.
    """
    place = np.full(len(neighbours), -1)
    place[drawn] = np.arange(len(drawn))
    local = place[neighbours[drawn]]
    # A stable sort of "is not drawn" brings the drawn ones to the front in order of distance.
    front = np.argsort(local < 0, axis=1, kind="stable")[:, :n_neighbors]
    chosen = np.take_along_axis(local, front, axis=1)
    lengths = np.take_along_axis(distances[drawn], front, axis=1)
    short = (chosen < 0).any(axis=1) | (chosen.shape[1] < n_neighbors)
    if chosen.shape[1] < n_neighbors:
        chosen, lengths = (np.zeros((len(drawn), n_neighbors), dtype=a.dtype) for a in (chosen, lengths))
    if short.any():
        chosen[short], lengths[short] = far(drawn[short])
    start = np.arange(0, chosen.size + 1, n_neighbors)
    return sp.csr_matrix((lengths.ravel(), chosen.ravel(), start), shape=(len(drawn), len(drawn)))


def match_scale(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply `values` by the one factor that brings them nearest to `reference` (least squares; NaN left out).

    The unit of a pseudotime is arbitrary: the farthest cell has 1. Without this, one outlying cell that is drawn or
    not would move all the others.
    """
    both = np.isfinite(values) & np.isfinite(reference)
    square = float((values[both] ** 2).sum())
    return values * (float((values[both] * reference[both]).sum()) / square if square > 0 else 1.0)


def interval(
    draws: NDArray[np.float64], *, level: float = 0.95, min_draws: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantile interval of each column over the draws in which it is finite.

    Parameters
    ----------
    draws
        Shape ``(n_draws, n_cells)``; NaN where a cell was not drawn or not reached.
    level
        Share of the draws inside.
    min_draws
        Columns with fewer finite draws give NaN.

    Returns
    -------
    Lower and upper ends, each ``(n_cells,)``.
    """
    if len(draws) == 0:
        return np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    # NaN sorts last, so the finite draws of a column stand first: plain indexing instead of nanquantile's loop.
    ordered = np.sort(draws, axis=0)
    count = np.isfinite(draws).sum(axis=0)
    ends = []
    for q in ((1 - level) / 2, (1 + level) / 2):
        at = q * np.maximum(count - 1, 0)
        below, above = np.floor(at).astype(int), np.ceil(at).astype(int)
        low, high = (np.take_along_axis(ordered, i[None], axis=0)[0] for i in (below, above))
        ends.append(np.where(count >= min_draws, low + (at - below) * (high - low), np.nan))
    return ends[0], ends[1]
