"""Two data sets on common axes although they may share no gene: their principal components, rotated by gene texts.

Each data set is reduced to the principal components of its own genes. A component is a weighted list of genes, so it
has a text vector: the weighted sum of the vectors of its genes. Components of two data sets that are about the same
things have similar text vectors, and that says how the axes of one turn into those of the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError
from ..._saved import read_npz, write_npz
from .classify import unit_rows

__all__ = [
    "Alignment",
    "Panel",
    "TransferModel",
    "align",
    "mutual_pairs",
    "refine",
    "smooth",
]

Floats = NDArray[np.float64]
_FORMAT = "lexicell transfer model 1"
_ARRAYS = ("scores", "axes", "loads", "total")
_MOST_CELLS = 3000  # mutual neighbors compare all pairs of cells; above this, a sample of each side is compared


@dataclass(frozen=True, eq=False)
class Panel:
    """One data set in its own principal components, with the text vector of each component.

    Attributes
    ----------
    scores
        Cells in components, ``(n_cells, k)``.
    axes
        Text vector of each component before centering: loadings times gene vectors, ``(k, d)``.
    loads
        Sum of the loadings of each component, ``(k,)``: what centering the gene vectors subtracts.
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
    def of(cls, scores: ArrayLike, loadings: ArrayLike, vectors: ArrayLike) -> Panel:
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
        return cls(np.asarray(scores, dtype=np.float64), L.T @ E, L.sum(axis=0), len(E), E.sum(axis=0))

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.scores.shape[1])

    def centered_axes(self, mean: Floats) -> Floats:
        """Text vectors of the components when `mean` is subtracted from every gene vector, ``(k, d)``."""
        return self.axes - np.outer(self.loads, mean)


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
class Alignment:
    """Cells of two data sets on common axes.

    Attributes
    ----------
    source, target
        ``(n_cells, k)``; on the axes of the source, in its units.
    strength
        How well text matches the components of the two sides: the sum of singular values of their agreement, divided
        by its mean over shuffled texts; NaN without controls.
    p
        Share of shuffles of the target's texts that agree at least as well, the real texts included; NaN without
        controls.
    pairs
        Mutual neighbors used in each round of the refinement.
    """

    source: Floats
    target: Floats
    strength: float
    p: float
    pairs: tuple[int, ...]


def align(
    source: Panel, target: Panel, *, turn: bool = True, rounds: int = 8, shuffles: Floats | None = None
) -> Alignment:
    r"""Put the cells of `target` on the axes of `source`.

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
    shuffles
        `axes` of the target with shuffled texts, ``(n, k, d)``, for `strength` and `p`.
    """
    S, T = _centered(source.scores), _centered(target.scores)
    mean = (source.total + target.total) / (source.n + target.n)
    a, b = source.centered_axes(mean), target.centered_axes(mean)
    weights = np.outer(S.std(axis=0), T.std(axis=0))
    agreement = weights * (a @ b.T)
    strength, p = float("nan"), float("nan")
    if shuffles is not None:
        reached = _size(agreement)
        null = np.asarray(
            [_size(weights * (a @ replace(target, axes=axes).centered_axes(mean).T)) for axes in shuffles]
        )
        strength = float(reached / null.mean())
        p = float((1 + np.sum(null >= reached)) / (1 + len(null)))
    if not turn:
        return Alignment(S @ a, T @ b, strength, p, ())
    refined, pairs = refine(S, T, T @ _rotation(agreement), rounds=rounds)
    return Alignment(S, refined, strength, p, pairs)


def _size(agreement: Floats) -> float:
    """Sum of singular values: the agreement that the best rotation reaches."""
    return float(np.linalg.svd(agreement, compute_uv=False).sum())


def _rotation(cross: Floats) -> Floats:
    """The matrix with orthonormal columns that turns the target onto the source, from source' x target."""
    U, _, Vt = np.linalg.svd(cross, full_matrices=False)
    return np.asarray((U @ Vt).T)


def refine(S: Floats, T: Floats, first: Floats, *, rounds: int = 8, n_pairs: int = 5) -> tuple[Floats, tuple[int, ...]]:
    """Rotate `T` onto `S` by pairs of mutual neighbors, repeatedly.

    Parameters
    ----------
    S, T
        Centered cells, ``(n, k)`` and ``(m, k')``.
    first
        `T` on the axes of `S` after a first rotation, ``(m, k)``.
    rounds
        At most so many.
    n_pairs
        Neighbors per cell among which a mutual one is sought.

    Returns
    -------
    T on the axes of S, ``(m, k)``, and the number of pairs of each round.
    """
    rows, columns = _sample(len(S)), _sample(len(T))
    turned, counts = first, []
    before = np.zeros((0, 2), dtype=np.intp)
    for _ in range(rounds):
        i, j = mutual_pairs(S[rows], turned[columns], n_pairs)
        pairs = np.column_stack([i, j])
        if len(pairs) < S.shape[1] or np.array_equal(pairs, before):
            break
        turned = T @ _rotation(S[rows][i].T @ T[columns][j])
        before = pairs
        counts.append(len(pairs))
    return turned, tuple(counts)


def mutual_pairs(A: ArrayLike, B: ArrayLike, n: int = 5, *, hub: int = 10) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    r"""Pairs of rows that are among each other's `n` nearest.

    Nearness is cosine, less what makes a row near to everything:
    :math:`2 \cos(a, b) - r_B(a) - r_A(b)`, with r the mean cosine to the `hub` nearest rows of the other side
    (Conneau et al. 2018, doi:10.48550/arXiv.1710.04087).
    """
    forth = unit_rows(np.asarray(A, dtype=np.float64)) @ unit_rows(np.asarray(B, dtype=np.float64)).T
    back = np.ascontiguousarray(forth.T)  # partitions along the last axis of a copy cost half of those along the first
    r_a, r_b = _mean_of_largest(forth, hub), _mean_of_largest(back, hub)
    # What is the same for all candidates of a row does not change their order.
    forth, back = 2 * forth - r_b, 2 * back - r_a
    i, j = np.nonzero(_largest(forth, n) & _largest(back, n).T)
    return i, j


def _mean_of_largest(M: Floats, n: int) -> Floats:
    at = max(M.shape[1] - n, 0)
    return np.asarray(np.partition(M, at, axis=1)[:, at:].mean(axis=1))


def _largest(M: Floats, n: int) -> NDArray[np.bool_]:
    at = max(M.shape[1] - n, 0)
    out = np.zeros(M.shape, dtype=bool)
    np.put_along_axis(out, np.argpartition(M, at, axis=1)[:, at:], True, axis=1)
    return out


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


def _centered(X: Floats) -> Floats:
    return np.asarray(X - X.mean(axis=0))
