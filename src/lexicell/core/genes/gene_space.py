"""The gene space: centering, whitening, and the same projection for other genes and for queries.

Gene vectors of one language model lie in a narrow cone, and a few directions carry most of their spread. Sums over
genes then differ along those directions only. Whitening gives every kept direction of the gene matrix the same
spread, so that all of what the texts say takes part.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError

__all__ = ["CUT", "GENES_PER_DIRECTION", "GeneSpace"]

CUT = 1e-3
"""Directions whose singular value is below this share of the largest are dropped."""

GENES_PER_DIRECTION = 4
"""Genes needed per whitened direction."""


@dataclass(frozen=True, eq=False)
class GeneSpace:
    r"""Mean, directions and singular values of a gene matrix, fitted once and applied to anything in the same model.

    With the gene vectors E (n_genes x d) centered, :math:`E - \mu = U S V^\top`, the whitened gene vectors are
    :math:`E_w = (E - \mu) V S^{-1} \sqrt{n} = U \sqrt{n}`: every column has mean 0 and mean square 1.

    Attributes
    ----------
    mean
        Mean gene vector, shape ``(d,)``, float64.
    V
        Directions, shape ``(d, k)``, float64, orthonormal columns in order of falling singular value. The entry of
        largest size of each column is positive, which fixes the sign.
    s
        Singular values, shape ``(k,)``, float64.
    n_genes
        Number of genes the space was fitted on.
    rank
        Number of directions above the cut; `k` may be smaller.

    Examples
    --------
    >>> import numpy as np
    >>> from lexicell.core.genes.gene_space import GeneSpace
    >>> vectors = np.random.default_rng(0).normal(size=(400, 16)).astype("float32")
    >>> space = GeneSpace.fit(vectors)
    >>> space.k, space.transform(vectors).shape
    (16, (400, 16))
    """

    mean: NDArray[np.float64]
    V: NDArray[np.float64]
    s: NDArray[np.float64]
    n_genes: int
    rank: int

    @property
    def k(self) -> int:
        """Number of directions kept."""
        return int(self.V.shape[1])

    @property
    def dim(self) -> int:
        """Length of the vectors that enter the space."""
        return int(self.V.shape[0])

    @classmethod
    def fit(cls, vectors: ArrayLike, n_components: int | None = None) -> GeneSpace:
        """Fit the space on the genes that are analysed.

        Computed from the eigenvectors of the smaller of the two Gram matrices in float64 on one thread, so that the
        same input gives the same bits whatever the number of threads.

        Parameters
        ----------
        vectors
            Gene vectors, shape ``(n_genes, d)``, finite.
        n_components
            Number of directions k. Default: the smaller of the rank (singular values of at least 1e-3 of the largest)
            and ``n_genes // 4``. Whitening needs far more genes than directions: with as many directions as genes the
            whitened vectors are all equally far from each other, whatever the texts say.

        Raises
        ------
        InputError
            If there are fewer than 4 genes, the vectors do not differ, one is not finite, or `n_components` is below 1
            or above the rank.

        Warns
        -----
        UserWarning
            If there are fewer than 4 genes per direction: when ``n_genes // 4`` is below the rank, and when
            `n_components` is above it.
        """
        matrix = np.asarray(vectors)
        if matrix.ndim != 2 or len(matrix) < GENES_PER_DIRECTION:
            raise InputError(
                f"a gene space needs a matrix of at least {GENES_PER_DIRECTION} gene vectors, got shape {matrix.shape}"
            )
        matrix = matrix.astype(np.float64)
        if not np.isfinite(matrix).all():
            raise InputError("gene vectors hold NaN or infinity; drop those genes first")
        mean = matrix.mean(axis=0)
        s, V = _directions(matrix - mean, scale=float(np.abs(matrix).max()))
        k = _choose_k(n_components, rank=len(s), n_genes=len(matrix))
        return cls(mean, np.ascontiguousarray(V[:, :k]), s[:k], len(matrix), len(s))

    def center(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Subtract the mean of the genes and leave the geometry as it is: for words and for small gene panels.

        Parameters
        ----------
        vectors
            Gene or query vectors, shape ``(n, d)``.

        Returns
        -------
        Shape ``(n, d)``, float32.
        """
        return np.asarray(self._checked(vectors) - self.mean, dtype=np.float32)

    def transform(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Whitened vectors ``(E - mean) V / s * sqrt(n_genes)`` of these or other genes, or of queries.

        Parameters
        ----------
        vectors
            Gene or query vectors from the same embedder, shape ``(n, d)``.

        Returns
        -------
        Shape ``(n, k)``, float32. Over the genes of the fit each column has mean 0 and mean square 1.

        Raises
        ------
        InputError
            If the vectors have another length than those of the fit.
        """
        scale = np.sqrt(self.n_genes) / self.s
        return np.asarray((self._checked(vectors) - self.mean) @ (self.V * scale), dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Arrays and numbers for ``uns``: ``mean``, ``V`` (float32), ``s``, ``k``, ``n_genes``, ``rank``."""
        return {
            "mean": self.mean,
            "V": self.V.astype(np.float32),
            "s": self.s,
            "k": self.k,
            "n_genes": self.n_genes,
            "rank": self.rank,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> GeneSpace:
        """Read what :meth:`to_dict` gave; V was kept in float32, so values agree to about 1e-6."""
        mean, V, s = (np.asarray(stored[name], dtype=np.float64) for name in ("mean", "V", "s"))
        return cls(mean, V, s, int(stored["n_genes"]), int(stored["rank"]))

    def _checked(self, vectors: ArrayLike) -> NDArray[np.float64]:
        matrix = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
        if matrix.shape[1] != self.dim:
            raise InputError(
                f"vectors of length {matrix.shape[1]} do not fit a gene space of {self.dim} dimensions; "
                "use the embedder that made the gene vectors"
            )
        return matrix


def _directions(centered: NDArray[np.float64], *, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Singular values above the cut, falling, and their right singular vectors with fixed signs."""
    from threadpoolctl import threadpool_limits

    n, d = centered.shape
    wide = n < d
    # BLAS may add in another order for another number of threads; one thread gives the same bits everywhere.
    with threadpool_limits(limits=1):
        values, vectors = np.linalg.eigh(centered @ centered.T if wide else centered.T @ centered)
        s = np.sqrt(np.clip(values[::-1], 0.0, None))
        # Centering leaves rounding noise where all vectors are equal.
        if s[0] <= 1e-10 * scale * np.sqrt(n):
            raise InputError("all gene vectors are equal: there is no direction to keep")
        keep = s >= CUT * s[0]
        s, V = s[keep], vectors[:, ::-1][:, keep]
        if wide:
            V = centered.T @ V / s
    peak = V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])]
    return s, V * np.sign(peak)


def _choose_k(n_components: int | None, *, rank: int, n_genes: int) -> int:
    most = n_genes // GENES_PER_DIRECTION
    if n_components is None:
        if most < rank:
            warnings.warn(
                f"only {n_genes} genes have a text, so {most} of {rank} text dimensions are used (at least "
                f"{GENES_PER_DIRECTION} genes per dimension); expected for small panels, nothing to fix",
                UserWarning,
                stacklevel=3,
            )
        return min(rank, most)
    if not 1 <= n_components <= rank:
        raise InputError(
            f"n_components must be between 1 and {rank}, the rank of these gene vectors; got {n_components}"
        )
    if n_components > most:
        warnings.warn(
            f"n_components={n_components} leaves fewer than {GENES_PER_DIRECTION} of {n_genes} genes per direction: "
            f"whitening then ignores the texts; at most {most} is advised",
            UserWarning,
            stacklevel=3,
        )
    return n_components
