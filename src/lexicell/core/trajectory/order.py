"""Orderings of cells from arrays alone: diffusion, distances from any root, branches, intervals, scores.

Notation: `values` are the leading eigenvalues of the diffusion operator of a connected graph, descending, the first 1;
`vectors` are its eigenvectors, shape ``(n_cells, n_dcs)``, one column per eigenvalue, as in scanpy's ``diffmap``.
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

# scanpy treats eigenvalues above this as 1: its eigenvectors are float32.
_STATIONARY = 0.9994

STEPS = 5
"""Steps of the random walk that smooth the distances by which branches are found."""


def diffusion(
    connectivities: Any, n_dcs: int = 10, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    r"""Leading eigenvalues and eigenvectors of the diffusion operator, as ``scanpy.tl.diffmap`` computes them.

    With connectivities W and degrees q, :math:`K_{ij} = W_{ij} / (q_i q_j)` removes the sampling density, and
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
    Eigenvalues, shape ``(n_dcs,)``, descending, and eigenvectors, shape ``(n_cells, n_dcs)``; float32.
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

    One decomposition serves all roots: each costs ``n_cells * n_dcs`` operations.

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
    between two nodes is the sum over the edges between them, so three distances tell where two paths separate. In
    diffusion pseudotime two branches leave at a right angle instead, and distances do not add up. The s steps of the
    random walk keep single outlying cells from looking like branches.

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
    """Euclidean distance of every cell from each root."""
    rows = np.atleast_1d(np.asarray(roots, dtype=np.int64))
    return np.stack([np.sqrt(((coordinates - coordinates[r]) ** 2).sum(axis=1)) for r in rows])


def medoid(points: ArrayLike, rows: ArrayLike) -> int:
    """The one of `rows` with the smallest sum of squared distances to all of them: the nearest to their mean.

    Parameters
    ----------
    points
        Representation, shape ``(n_cells, d)``.
    rows
        Rows to choose from; a row given twice counts twice. The earlier row wins a tie.
    """
    chosen = np.asarray(rows, dtype=np.int64)
    members = np.asarray(points)[chosen].astype(np.float64)
    distance = ((members - members.mean(axis=0)) ** 2).sum(axis=1)
    return int(chosen[distance.argmin()])


@dataclass(frozen=True, eq=False)
class Branches:
    """Where a trajectory ends, and which cells lead there.

    Attributes
    ----------
    tips
        Row of the terminal cell of each branch, shape ``(n_branches,)``, the farthest from the root first.
    leads_to
        Whether the path from the root through a cell may end in a branch, shape ``(n_cells, n_branches)``, bool. All
        true: the cell lies before all branch points (the trunk); one true: it lies on that branch.
    depth
        Distance from the root along the path to the cell's best branch, shape ``(n_cells,)``.
    """

    tips: NDArray[np.int64]
    leads_to: NDArray[np.bool_]
    depth: NDArray[np.float64]

    @property
    def codes(self) -> NDArray[np.int64]:
        """The branch of each cell; -1 if it may still end in more than one, or there is only one end."""
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
    the cell farthest from the root. The next is the cell with the longest path of its own, after it leaves the paths to
    all earlier terminal states; it counts if that path is long enough. A cell belongs to the terminal state whose path
    it shares longest; it lies on that branch alone if it is deeper than the last branch point. Branches with too few
    cells are then removed, the smallest first.

    Parameters
    ----------
    values, vectors
        Eigenvalues and eigenvectors of one connected graph.
    root
        Row of the root.
    min_length
        Shortest path of its own that makes a terminal state, as a fraction of the 99 % quantile of the distance from
        the root. Chosen, like the other defaults, on simulated branchings.
    min_share
        Smallest fraction of the cells that makes a branch.
    max_branches
        Maximal number of terminal states.

    Returns
    -------
    Branches
        With one tip and no branch if the graph does not branch.
    """
    from_root = resistances(values, vectors, [root])[0]
    long_enough = min_length * np.quantile(from_root, 0.99)
    tips = [int(from_root.argmax())]
    from_tips = [resistances(values, vectors, tips)[0]]
    while len(tips) < max_branches:
        # What a cell's path has left after it leaves the path to each tip: omega(r, x) - (x|t).
        rest = [(from_root + d - from_root[t]) / 2 for t, d in zip(tips, from_tips, strict=True)]
        own = np.min(rest, axis=0)
        farthest = int(own.argmax())
        if own[farthest] < long_enough:
            break
        tips.append(farthest)
        from_tips.append(resistances(values, vectors, [farthest])[0])
    while True:
        found = _assign(from_root, np.array(tips), np.array(from_tips))
        sizes = np.bincount(found.codes[found.codes >= 0], minlength=len(tips))
        if len(tips) == 1 or sizes.min() >= max(min_share * len(from_root), 1):
            return found
        smallest = int(sizes.argmin())
        del tips[smallest], from_tips[smallest]


def _assign(from_root: NDArray[np.float64], tips: NDArray[np.int64], from_tips: NDArray[np.float64]) -> Branches:
    """Which terminal states each cell may lead to."""
    shared = (from_root + from_root[tips][:, None] - from_tips) / 2  # (x|t), tips x cells
    best = shared.argmax(axis=0)
    depth = shared.max(axis=0)
    # (t|u), how deep the paths to two tips separate; smoothing makes it differ a little by direction.
    separation = shared[:, tips]
    separation = np.maximum(separation, separation.T)
    leads_to = separation[best] >= depth[:, None]
    leads_to[np.arange(len(best)), best] = True
    return Branches(tips, leads_to, depth)


def nearest_within(
    neighbors: NDArray[np.int64],
    distances: NDArray[np.floating],
    drawn: NDArray[np.int64],
    n_neighbors: int,
    far: Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.floating]]],
) -> sp.csr_matrix:
    """Exact nearest neighbors among some of the cells, taken from longer lists of all cells.

    Parameters
    ----------
    neighbors, distances
        Neighbors of each cell among all cells without itself, nearest first, shape ``(n_cells, length)``.
    drawn
        Rows of the cells that are used, ascending.
    n_neighbors
        Neighbors per cell, without itself.
    far
        Called with the rows whose list holds too few drawn cells; returns neighbors (positions in `drawn`) and
        distances, each ``(len(rows), n_neighbors)``.

    Returns
    -------
    Distances, CSR, ``(len(drawn), len(drawn))``, `n_neighbors` stored entries per row, nearest first.
    """
    position = np.full(len(neighbors), -1)
    position[drawn] = np.arange(len(drawn))
    local = position[neighbors[drawn]]
    # A stable sort by "was not drawn" moves the drawn ones to the front and keeps them in order of distance.
    front = np.argsort(local < 0, axis=1, kind="stable")[:, :n_neighbors]
    chosen = np.take_along_axis(local, front, axis=1)
    lengths = np.take_along_axis(distances[drawn], front, axis=1)
    short = (chosen < 0).any(axis=1)
    if chosen.shape[1] < n_neighbors:  # all lists are too short
        short = np.ones(len(drawn), dtype=bool)
        chosen = np.zeros((len(drawn), n_neighbors), dtype=chosen.dtype)
        lengths = np.zeros(chosen.shape, dtype=lengths.dtype)
    if short.any():
        chosen[short], lengths[short] = far(drawn[short])
    start = np.arange(0, chosen.size + 1, n_neighbors)
    return sp.csr_matrix((lengths.ravel(), chosen.ravel(), start), shape=(len(drawn), len(drawn)))


def match_scale(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply `values` by the factor that brings them nearest to `reference` (least squares; NaN left out).

    The unit of a pseudotime is arbitrary: the farthest cell has 1. Without this, all values of a draw would depend on
    whether one outlying cell was drawn.
    """
    both = np.isfinite(values) & np.isfinite(reference)
    square = float((values[both] ** 2).sum())
    if square == 0:
        return values
    return values * (float((values[both] * reference[both]).sum()) / square)


def interval(
    draws: NDArray[np.float64], *, level: float = 0.95, min_draws: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantile interval of each column over the draws in which it is finite.

    Parameters
    ----------
    draws
        Shape ``(n_draws, n_cells)``; NaN if a cell was not drawn or not reached.
    level
        Fraction of the draws inside.
    min_draws
        Columns with fewer finite draws give NaN.

    Returns
    -------
    Lower and upper ends, each ``(n_cells,)``.
    """
    if len(draws) == 0:
        return np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    # np.nanquantile loops over columns. NaN sorts last, so the finite draws of a column come first.
    ordered = np.sort(draws, axis=0)
    count = np.isfinite(draws).sum(axis=0)
    columns = np.arange(draws.shape[1])
    ends = []
    for q in ((1 - level) / 2, (1 + level) / 2):
        at = q * np.maximum(count - 1, 0)
        below = np.floor(at).astype(int)
        low = ordered[below, columns]
        high = ordered[np.ceil(at).astype(int), columns]
        ends.append(np.where(count >= min_draws, low + (at - below) * (high - low), np.nan))
    return ends[0], ends[1]
