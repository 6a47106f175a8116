"""Two data sets on common axes although they may share no gene: their principal components, turned by gene texts.

Each data set is reduced to the principal components of its own genes. A component is a weighted list of genes, so it
has a place in text space: the weighted sum of their text vectors. Where components of two data sets are about the same
things, these places are alike, and that says how the axes of one turn into those of the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError
from .classify import _unit

__all__ = [
    "Alignment",
    "GeneMoments",
    "Panel",
    "TransferModel",
    "align",
    "mutual_pairs",
    "refine",
    "smooth",
    "text_frame",
]

Floats = NDArray[np.float64]
_FORMAT = "lexicell transfer model 1"
_MOST_CELLS = 3000  # mutual neighbours compare all pairs of cells; above this a sample of each side stands for it


@dataclass(frozen=True, eq=False)
class GeneMoments:
    """Number, sum and cross products of gene vectors: enough to centre and whiten, alone or with other genes.

    Attributes
    ----------
    n
        Number of genes.
    total
        Sum of the vectors, ``(d,)``.
    cross
        Sum of their outer products, ``(d, d)``.
    """

    n: int
    total: Floats
    cross: Floats

    @classmethod
    def of(cls, vectors: ArrayLike) -> GeneMoments:
        """Moments of gene vectors, ``(n_genes, d)``."""
        E = np.asarray(vectors, dtype=np.float64)
        return cls(len(E), E.sum(axis=0), E.T @ E)

    def __add__(self, other: GeneMoments) -> GeneMoments:
        return GeneMoments(self.n + other.n, self.total + other.total, self.cross + other.cross)


@dataclass(frozen=True, eq=False)
class Panel:
    """One data set in its own principal components, and where these stand in text space.

    Attributes
    ----------
    scores
        Cells in components, ``(n_cells, k)``.
    axes
        Text vector of each component before centring: loadings times gene vectors, ``(k, d)``.
    loads
        Sum of the loadings of each component, ``(k,)``: what centring of the gene vectors takes away.
    moments
        Of the gene vectors.
    """

    scores: Floats
    axes: Floats
    loads: Floats
    moments: GeneMoments

    @classmethod
    def of(cls, scores: ArrayLike, loadings: ArrayLike, vectors: ArrayLike) -> Panel:
        """Join components ``(n_cells, k)``, ``(n_genes, k)`` with gene vectors ``(n_genes, d)``."""
        L, E = np.asarray(loadings, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
        return cls(np.asarray(scores, dtype=np.float64), L.T @ E, L.sum(axis=0), GeneMoments.of(E))

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.scores.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Arrays and numbers."""
        return {
            "scores": self.scores, "axes": self.axes, "loads": self.loads,
            "n": self.moments.n, "total": self.moments.total, "cross": self.moments.cross,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Panel:
        """Read what :meth:`to_dict` gave."""
        arrays = {name: np.asarray(stored[name], dtype=np.float64) for name in ("scores", "axes", "loads")}
        moments = GeneMoments(int(stored["n"]), np.asarray(stored["total"]), np.asarray(stored["cross"]))
        return cls(arrays["scores"], arrays["axes"], arrays["loads"], moments)


@dataclass(frozen=True, eq=False)
class TransferModel:
    """A labelled data set, ready to label others: no expression of single genes, only components.

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
        target = Path(path)
        aside = target.with_name(f".{target.name}.part")
        notes = json.dumps({"format": _FORMAT, "space": self.space, "about": self.about})
        try:
            with aside.open("wb") as file:
                np.savez_compressed(
                    file, notes=np.array(notes), labels=self.labels.astype(str), genes=self.genes.astype(str),
                    **self.panel.to_dict(),
                )  # fmt: skip
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> TransferModel:
        """Read a file written by :meth:`save`.

        Raises
        ------
        InputError
            If the file is missing or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                stored = {name: file[name] for name in file.files}
            notes = json.loads(str(stored["notes"]))
            panel = Panel.from_dict(stored)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} cannot be read as a transfer model: {error}") from error
        if notes.get("format") != _FORMAT:
            raise InputError(f"{path} is not a transfer model written by lexicell")
        labels, genes = (stored[name].astype(object) for name in ("labels", "genes"))
        return cls(panel, labels, genes, str(notes["space"]), dict(notes["about"]))


def text_frame(moments: GeneMoments, *, whiten: float = 0.0) -> tuple[Floats, Floats]:
    r"""Give the point to subtract from gene vectors and the map to apply to them.

    With the centred gene matrix :math:`U S V^\top`, the map is :math:`V (S / s_1)^{-a}`, a = `whiten`: 0 leaves the
    geometry as it is, 1 gives all directions the same spread. Directions below 1e-3 of the largest are dropped, and, as
    soon as anything is whitened, all but the first ``n_genes // 4``.

    Returns
    -------
    mean
        ``(d,)``.
    map
        ``(d, r)``.
    """
    if not 0 <= whiten <= 1:
        raise InputError(f"whiten must lie between 0 (only centred) and 1 (fully whitened); got {whiten}")
    mean = moments.total / moments.n
    values, vectors = np.linalg.eigh(moments.cross - moments.n * np.outer(mean, mean))
    s, V = np.sqrt(np.clip(values[::-1], 0, None)), vectors[:, ::-1]
    if s[0] == 0:
        raise InputError("all gene vectors are equal: text says nothing about these genes")
    keep = s >= 1e-3 * s[0]
    if whiten:
        keep &= np.arange(len(s)) < max(moments.n // 4, 1)
    return mean, V[:, keep] * (s[keep] / s[0]) ** -whiten


@dataclass(frozen=True, eq=False)
class Alignment:
    """Cells of two data sets on common axes.

    Attributes
    ----------
    source, target
        ``(n_cells, k)``; on the axes of the source, in its units.
    strength
        How much of the variation of both sides text can match: the sum of singular values of the matched components,
        as a share of what the same components with shuffled texts reach on average; NaN without controls.
    p
        Share of shuffles of the target's texts that reach as much, the real one among them; NaN without controls.
    pairs
        Mutual neighbours used in each round of the refinement.
    """

    source: Floats
    target: Floats
    strength: float
    p: float
    pairs: tuple[int, ...]


def align(
    source: Panel,
    target: Panel,
    *,
    frame: tuple[Floats, Floats],
    turn: bool = True,
    rounds: int = 8,
    shuffles: tuple[Floats, Floats] | None = None,
) -> Alignment:
    r"""Put the cells of `target` on the axes of `source`.

    With :math:`A_s, A_t` the text vectors of the components, each component weighed by its standard deviation, the
    turn is the orthogonal matrix nearest :math:`A_s A_t^\top`. It is then refined on cells: pairs that are each other's
    neighbours give a better turn (Procrustes), which gives better pairs, as dictionaries between languages are refined.
    Both sides are centred; nothing is known of labels.

    Parameters
    ----------
    source, target
        Data sets with gene vectors of one embedder.
    frame
        Centre and map of text space, from :func:`text_frame`.
    turn
        False leaves cells in text space itself (components that agree in text only as far as their vectors do): the
        plain method, with no refinement.
    rounds
        Rounds of refinement; 0 uses the texts alone. It stops when nothing changes.
    shuffles
        Axes and loads of the target with shuffled texts, ``(n, k, d)`` and ``(n, k)``, for `strength` and `p`.
    """
    S, T = _centred(source.scores), _centred(target.scores)
    mean, onto = frame
    a, b = ((p.axes - np.outer(p.loads, mean)) @ onto for p in (source, target))
    sd_s, sd_t = S.std(axis=0), T.std(axis=0)
    agreement = sd_s[:, None] * (a @ b.T) * sd_t
    strength, p = _against_shuffles(agreement, a, sd_s, sd_t, frame, shuffles)
    if not turn:
        return Alignment(S @ a, T @ b, strength, p, ())
    U, _, Vt = np.linalg.svd(agreement, full_matrices=False)
    first = T @ (U @ Vt).T
    refined, pairs = refine(S, T, first, rounds=rounds)
    return Alignment(S, refined, strength, p, pairs)


def _against_shuffles(
    agreement: Floats,
    a: Floats,
    sd_s: Floats,
    sd_t: Floats,
    frame: tuple[Floats, Floats],
    shuffles: tuple[Floats, Floats] | None,
) -> tuple[float, float]:
    if shuffles is None or not len(shuffles[0]):
        return float("nan"), float("nan")
    mean, onto = frame
    reached = np.linalg.svd(agreement, compute_uv=False).sum()
    null = [
        np.linalg.svd(
            sd_s[:, None] * (a @ ((axes - np.outer(loads, mean)) @ onto).T) * sd_t, compute_uv=False
        ).sum()
        for axes, loads in zip(*shuffles, strict=True)
    ]  # fmt: skip
    return float(reached / np.mean(null)), float((1 + np.sum(null >= reached)) / (1 + len(null)))


def refine(S: Floats, T: Floats, first: Floats, *, rounds: int = 8, n_pairs: int = 5) -> tuple[Floats, tuple[int, ...]]:
    """Turn `T` onto `S` by pairs of mutual neighbours, again and again.

    Parameters
    ----------
    S, T
        Centred cells, ``(n, k)`` and ``(m, k')``.
    first
        `T` on the axes of `S` after a first turn, ``(m, k)``.
    rounds
        At most so many.
    n_pairs
        Neighbours a cell among which a mutual one is sought.

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
        U, _, Vt = np.linalg.svd(S[rows][i].T @ T[columns][j], full_matrices=False)
        turned, before = T @ (U @ Vt).T, pairs
        counts.append(len(pairs))
    return turned, tuple(counts)


def mutual_pairs(A: ArrayLike, B: ArrayLike, n: int = 5, *, hub: int = 10) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    r"""Pairs of rows that are among each other's `n` nearest.

    Nearness is cosine, less what makes a row near to everything:
    :math:`2 \\cos(a, b) - r_B(a) - r_A(b)`, with r the mean cosine to the `hub` nearest rows of the other side
    (Conneau et al. 2018, doi:10.48550/arXiv.1710.04087).
    """
    forth = _unit(np.asarray(A, dtype=np.float64)) @ _unit(np.asarray(B, dtype=np.float64)).T
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
    r"""Spread values over the neighbour graph of the cells: :math:`v \leftarrow (1 - keep) P v + keep\, v_0`.

    P steps to a random one of the `k` nearest cells (Euclidean), or of those that have the cell among theirs. It sees
    expression only, no label.

    Parameters
    ----------
    values
        ``(n_cells, n)``.
    cells
        ``(n_cells, dim)``, for example principal components of expression.
    k, rounds, keep
        Neighbours, steps, and the share of each cell's own value.
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


def _centred(X: Floats) -> Floats:
    return np.asarray(X - X.mean(axis=0))
