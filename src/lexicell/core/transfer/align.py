"""Two data sets on common axes although they may share no gene: their principal components, rotated by gene texts.

Each data set is reduced to the principal components of its own genes. A component is a weighted list of genes, so it
has a text vector: the weighted sum of the vectors of its genes. Components of two data sets that are about the same
things have similar text vectors, and that says how the axes of one turn into those of the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError
from ..._saved import read_npz, write_npz
from .classify import largest, unit_rows

__all__ = [
    "N_DRAWS",
    "Panel",
    "Placement",
    "TransferModel",
    "align",
    "centered",
    "mutual_pairs",
    "refine",
    "smooth",
    "text_match",
]

Floats = NDArray[np.float64]
N_DRAWS = 15
"""Draws of the genes besides the genes as they are."""
_FORMAT = "lexicell transfer model 2"
_ARRAYS = ("scores", "axes", "loads", "total")
_MOST_CELLS = 800  # mutual neighbors compare all pairs of cells; above this, a sample of each side is compared


@dataclass(frozen=True, eq=False)
class Panel:
    """One data set in its own principal components, with the text vector of each component.

    Attributes
    ----------
    scores
        Cells in components, ``(n_cells, k)``.
    axes
        Text vector of each component before centering: loadings times gene vectors, ``(1 + n_draws, k, d)``. The first
        is of the genes as they are; in the others each gene counts by a random weight (Bayesian bootstrap), which shows
        how much hangs on single genes.
    loads
        Sum of the loadings of each component, ``(1 + n_draws, k)``: what centering the gene vectors subtracts.
    n
        Number of genes.
    total
        Sum of their vectors, ``(d,)``.
    """

    scores: Floats
    axes: Floats
    loads: Floats
    n: int
    total: Floats

    @classmethod
    def of(cls, scores: ArrayLike, loadings: ArrayLike, vectors: ArrayLike, *, n_draws: int = N_DRAWS) -> Panel:
        """Join components ``(n_cells, k)``, ``(n_genes, k)`` with gene vectors ``(n_genes, d)``.

        Raises
        ------
        InputError
            If all gene vectors are equal.
        """
        L = np.asarray(loadings, dtype=np.float64)
        E = np.asarray(vectors, dtype=np.float64)
        if (E[0] == E).all():
            raise InputError("all gene vectors are equal: text says nothing about these genes")
        weights = np.random.default_rng(0).exponential(size=(n_draws + 1, len(E)))
        weights[0] = 1.0
        axes = np.stack([(L * w[:, None]).T @ E for w in weights])
        return cls(np.asarray(scores, dtype=np.float64), axes, weights @ L, len(E), E.sum(axis=0))

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.scores.shape[1])

    def centered_axes(self, mean: Floats, draw: int = 0) -> Floats:
        """Text vectors of the components when `mean` is subtracted from every gene vector, ``(k, d)``."""
        return np.asarray(self.axes[draw] - np.outer(self.loads[draw], mean))


@dataclass(frozen=True, eq=False)
class TransferModel:
    """A labeled data set, ready to label others: components of cells, no expression of single genes.

    Attributes
    ----------
    panel
        Its cells in components, and the components' text vectors.
    labels
        Label of each cell, ``(n_cells,)``.
    genes
        Names of the genes in the components.
    space
        Embedder, revision and dimensions of the gene vectors.
    about
        Strings and numbers.
    """

    panel: Panel
    labels: NDArray[Any]
    genes: NDArray[Any]
    space: str
    about: dict[str, Any]

    @property
    def classes(self) -> NDArray[Any]:
        """Distinct labels, sorted."""
        return np.asarray(sorted(set(self.labels)), dtype=object)

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file without pickles; whole or absent."""
        notes = json.dumps({"format": _FORMAT, "space": self.space, "about": self.about})
        words = {"notes": np.array(notes), "labels": self.labels.astype(str), "genes": self.genes.astype(str)}
        panel = self.panel
        arrays = {name: getattr(panel, name) for name in _ARRAYS}
        write_npz(path, {**words, **arrays, "n": np.array(panel.n)})

    @classmethod
    def load(cls, path: str | Path) -> TransferModel:
        """Read a file written by :meth:`save`.

        Raises
        ------
        InputError
            If the file is missing or holds something else.
        """
        try:
            stored = read_npz(path)
            notes = json.loads(str(stored["notes"]))
            scores, axes, loads, total = (np.asarray(stored[name], dtype=np.float64) for name in _ARRAYS)
            panel = Panel(scores, axes, loads, int(stored["n"]), total)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} cannot be read as a transfer model: {error}") from error
        if notes.get("format") != _FORMAT:
            raise InputError(f"{path} is not a transfer model written by lexicell")
        labels, genes = (stored[name].astype(object) for name in ("labels", "genes"))
        return cls(panel, labels, genes, str(notes["space"]), dict(notes["about"]))


@dataclass(frozen=True, eq=False)
class Placement:
    """What puts the cells of two data sets on common axes: the centered source times `left`, the target times `right`.

    Attributes
    ----------
    left, right
        ``(k, m)`` and ``(k', m)``.
    pairs
        Mutual neighbors used in each round of the refinement.
    """

    left: Floats
    right: Floats
    pairs: tuple[int, ...] = ()


def align(
    source: Panel, target: Panel, *, turn: bool = True, rounds: int = 8, draw: int = 0
) -> tuple[Placement, Placement]:
    r"""Put the cells of `target` on the axes of `source`: by the texts alone, and refined on cells.

    With :math:`A_s, A_t` the text vectors of the components (gene vectors centered on the genes of both sides), each
    weighted by the standard deviation of its component, the rotation is the orthogonal matrix nearest
    :math:`A_s A_t^\top`. It is then refined on cells: pairs that are each other's neighbors give a better rotation
    (Procrustes), which gives better pairs. No label is used.

    Parameters
    ----------
    source, target
        Data sets with gene vectors of one embedder.
    turn
        False: compare cells in text space itself, without rotation or refinement.
    rounds
        Rounds of refinement at most; 0 uses the texts alone. It stops when nothing changes.
    draw
        Which of the panels' draws of genes; 0 for all genes as they are.
    """
    S, T = centered(source.scores), centered(target.scores)
    mean = _mean_vector(source, target)
    a, b = source.centered_axes(mean, draw), target.centered_axes(mean, draw)
    if not turn:
        only = Placement(a, b)
        return only, only
    own = np.eye(source.k)
    turned = _rotation(np.outer(S.std(axis=0), T.std(axis=0)) * (a @ b.T))
    refined, pairs = refine(S, T, turned, rounds=rounds)
    return Placement(own, turned), Placement(own, refined, pairs)


def text_match(
    source: Panel, target: Panel, loadings: Floats, vectors: Floats, *, n_shuffles: int = 999, seed: int = 0
) -> tuple[float, float]:
    """How well texts match the components of two sides, compared with texts shuffled among the genes of the target.

    Parameters
    ----------
    source, target
        Data sets with gene vectors of one embedder.
    loadings, vectors
        Of the genes of the target, ``(n_genes, k)`` and ``(n_genes, d)``.
    n_shuffles, seed
        Number of shuffles, and where their random numbers start.

    Returns
    -------
    strength
        Sum of the singular values of the agreement, which is what the best rotation reaches, divided by its mean over
        shuffles.
    p
        Share of shuffles that agree at least as well, the real texts included.
    """
    mean = _mean_vector(source, target)
    # What a gene of the target adds to each component of the source does not depend on which gene has which text.
    parts = source.centered_axes(mean) @ (vectors - mean).T
    weights = np.outer(centered(source.scores).std(axis=0), centered(target.scores).std(axis=0))
    rng = np.random.default_rng(seed)
    orders = [np.arange(len(vectors)), *(rng.permutation(len(vectors)) for _ in range(n_shuffles))]
    sizes = np.asarray([_size(weights * (parts[:, order] @ loadings)) for order in orders])
    reached, null = sizes[0], sizes[1:]
    return float(reached / null.mean()), float((1 + np.sum(null >= reached)) / (1 + len(null)))


def _mean_vector(source: Panel, target: Panel) -> Floats:
    return np.asarray((source.total + target.total) / (source.n + target.n))


def _size(agreement: Floats) -> float:
    """Sum of singular values: the agreement that the best rotation reaches."""
    return float(np.linalg.svd(agreement, compute_uv=False).sum())


def _rotation(cross: Floats) -> Floats:
    """The matrix with orthonormal columns that turns the target onto the source, from source' x target."""
    U, _, Vt = np.linalg.svd(cross, full_matrices=False)
    return np.asarray((U @ Vt).T)


def refine(S: Floats, T: Floats, first: Floats, *, rounds: int = 8, n_pairs: int = 5) -> tuple[Floats, tuple[int, ...]]:
    """Improve the rotation `first` of `T` onto `S` by pairs of mutual neighbors, repeatedly.

    Parameters
    ----------
    S, T
        Centered cells, ``(n, k)`` and ``(m, k')``.
    first
        A first rotation, ``(k', k)``.
    rounds
        At most so many.
    n_pairs
        Neighbors per cell among which a mutual one is sought.

    Returns
    -------
    The rotation of T onto S, ``(k', k)``, and the number of pairs of each round.
    """
    S, T = S[_sample(len(S))], T[_sample(len(T))]
    rotation, counts = first, []
    before = np.zeros((0, 2), dtype=np.intp)
    for _ in range(rounds):
        i, j = mutual_pairs(S, T @ rotation, n_pairs)
        pairs = np.column_stack([i, j])
        if len(pairs) < S.shape[1] or np.array_equal(pairs, before):
            break
        rotation = _rotation(S[i].T @ T[j])
        before = pairs
        counts.append(len(pairs))
    return rotation, tuple(counts)


def mutual_pairs(A: ArrayLike, B: ArrayLike, n: int = 5, *, hub: int = 10) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    r"""Pairs of rows that are among each other's `n` nearest.

    Nearness is cosine, less what makes a row near to everything:
    :math:`2 \cos(a, b) - r_B(a) - r_A(b)`, with r the mean cosine to the `hub` nearest rows of the other side
    (Conneau et al. 2018, doi:10.48550/arXiv.1710.04087).
    """
    # Half the width costs half the time; partitions along the last axis of a copy cost half of those along the first.
    one, other = (unit_rows(np.asarray(M, dtype=np.float64)).astype(np.float32) for M in (A, B))
    forth = one @ other.T
    back = np.ascontiguousarray(forth.T)
    r_a, r_b = _mean_of_largest(forth, hub), _mean_of_largest(back, hub)
    # What is the same for all candidates of a row does not change their order.
    forth, back = 2 * forth - r_b, 2 * back - r_a
    i, j = np.nonzero(largest(forth, n) & largest(back, n).T)
    return i, j


def _mean_of_largest(M: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    at = max(M.shape[1] - n, 0)
    return np.asarray(np.partition(M, at, axis=1)[:, at:].mean(axis=1))


def smooth(values: ArrayLike, cells: ArrayLike, *, k: int = 15, rounds: int = 10, keep: float = 0.1) -> Floats:
    r"""Spread values over the neighbor graph of the cells: :math:`v \leftarrow (1 - keep) P v + keep\, v_0`.

    P steps to a random one of the `k` nearest cells (Euclidean), or of those that have the cell among theirs. It sees
    expression only, no label.

    Parameters
    ----------
    values
        ``(n_cells, n)``.
    cells
        ``(n_cells, dim)``, for example principal components of expression.
    k, rounds, keep
        Neighbors, steps, and the share of each cell's own value.
    """
    import scipy.sparse as sp
    from sklearn.neighbors import NearestNeighbors

    first, X = np.asarray(values, dtype=np.float64), np.asarray(cells, dtype=np.float64)
    k = min(k, len(X) - 1)
    if k < 1:
        return first
    near = NearestNeighbors(n_neighbors=k).fit(X).kneighbors(return_distance=False)
    graph = sp.csr_matrix((np.ones(near.size), (np.repeat(np.arange(len(X)), k), near.ravel())), shape=(len(X),) * 2)
    graph = ((graph + graph.T) > 0).astype(np.float64)
    step = sp.diags(1 / np.asarray(graph.sum(axis=1)).ravel()) @ graph
    out = first
    for _ in range(rounds):
        out = (1 - keep) * (step @ out) + keep * first
    return np.asarray(out)


def _sample(n: int) -> NDArray[np.intp]:
    if n <= _MOST_CELLS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, _MOST_CELLS, replace=False))


def centered(X: Floats) -> Floats:
    """Columns less their means."""
    return np.asarray(X - X.mean(axis=0))
