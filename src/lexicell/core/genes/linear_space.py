r"""Gene spaces: what the expression of a cell is projected on before its shift is tested.

Every space here is linear. With z the z-scored expression of a group of cells and E the loadings of the genes,
:math:`c = z E`. So a shift in any of them splits exactly into genes, and several can be stacked into one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError
from .attribution import Attribution
from .gene_space import GeneSpace

__all__ = ["LinearSpace", "centered", "gene_set_matrix", "genes", "stacked", "weighted", "whitened"]

Floats = NDArray[np.float64]
SET_SIZES = (10, 200)
"""Gene sets with fewer or more genes present are left out: noise, and whole compartments."""


@dataclass(frozen=True, eq=False)
class LinearSpace:
    """Loadings of the genes, in blocks side by side.

    Attributes
    ----------
    n_genes
        Genes that are projected.
    blocks
        Each ``(n_genes, k)``, or None for a block in which every gene is a dimension of its own.
    scales
        What each block is divided by.
    weights
        ``(n_genes,)`` factor on the expression of each gene; None: one.
    """

    n_genes: int
    blocks: tuple[Floats | None, ...]
    scales: tuple[float, ...] = (1.0,)
    weights: Floats | None = None

    def __post_init__(self) -> None:
        if len(self.scales) != len(self.blocks):
            object.__setattr__(self, "scales", (1.0,) * len(self.blocks))

    @property
    def widths(self) -> tuple[int, ...]:
        """Dimensions of each block."""
        return tuple(self.n_genes if block is None else block.shape[1] for block in self.blocks)

    @property
    def dim(self) -> int:
        """Dimensions in all."""
        return sum(self.widths)

    def project(self, z: Floats | sp.csr_matrix) -> Floats:
        """Take ``(..., n_genes)`` expression to ``(..., dim)``; a sparse matrix comes out dense."""
        if self.weights is not None and isinstance(z, sp.csr_matrix):
            z = sp.csr_matrix(z @ sp.diags_array(self.weights))
        elif self.weights is not None:
            z = z * self.weights
        parts = []
        for block, scale in zip(self.blocks, self.scales, strict=True):
            if block is not None:
                part = z @ block
            elif isinstance(z, sp.csr_matrix):
                part = z.toarray()
            else:
                part = z
            parts.append(np.asarray(part) / scale)
        return np.asarray(np.concatenate(parts, axis=-1), dtype=np.float64)

    def pull(self, direction: Floats) -> Floats:
        """Weights over genes that read a direction off expression: ``(c . u) = z . pull(u)``; ``(n_genes,)``."""
        out, start = np.zeros(self.n_genes), 0
        for block, scale, width in zip(self.blocks, self.scales, self.widths, strict=True):
            part = direction[start : start + width] / scale
            out += part if block is None else block @ part
            start += width
        return out if self.weights is None else out * self.weights

    def attribute(self, change: Floats) -> Attribution:
        """Parts of the genes in the squared length of a shift, as :func:`lexicell.core.genes.attribution.attribute`.

        Parameters
        ----------
        change
            ``(n_genes,)`` change of z.

        Raises
        ------
        InputError
            If nothing changes.
        """
        difference = self.project(change)
        square = float(difference @ difference)
        if not square > 0:
            raise InputError("the two groups of cells do not differ in this space, so there is nothing to split")
        return Attribution(change * self.pull(difference) / square, 1.0, difference)


def genes(n_genes: int) -> LinearSpace:
    """Every gene is a dimension: expression itself."""
    return LinearSpace(n_genes, (None,))


def whitened(vectors: ArrayLike, k: int | None = None) -> LinearSpace:
    """Whitened gene vectors (:class:`lexicell.core.genes.gene_space.GeneSpace`).

    Parameters
    ----------
    vectors
        ``(n_genes, d)``.
    k
        Directions; None, or more than the vectors have: the smaller of their rank and a quarter of the genes.
    """
    with warnings.catch_warnings():
        # The user was warned of too few genes when the cells were embedded.
        warnings.simplefilter("ignore", UserWarning)
        fitted = GeneSpace.fit(vectors)
        if k is not None and k < fitted.k:
            fitted = GeneSpace.fit(vectors, k)
    return LinearSpace(len(np.asarray(vectors)), (np.asarray(fitted.transform(vectors), dtype=np.float64),))


def centered(vectors: ArrayLike) -> LinearSpace:
    """Gene vectors centered on their mean, otherwise unchanged."""
    matrix = np.asarray(vectors, dtype=np.float64)
    return LinearSpace(len(matrix), (matrix - matrix.mean(axis=0),))


def weighted(space: LinearSpace, weights: Floats | None) -> LinearSpace:
    """The same space with a weight on the expression of each gene; None: all the same."""
    return LinearSpace(space.n_genes, space.blocks, space.scales, weights)


def gene_set_matrix(sets: Sequence[ArrayLike], n_genes: int, *, sizes: tuple[int, int] = SET_SIZES) -> Floats:
    r"""Genes x sets, :math:`1/\sqrt{\text{size}}` for members, so that every set weighs the same; to be whitened.

    Parameters
    ----------
    sets
        Positions of each set's genes.
    n_genes
        Genes in all.
    sizes
        Fewest and most genes of a set that is kept.
    """
    kept = [np.unique(np.asarray(s, dtype=np.int64)) for s in sets]
    kept = [s for s in kept if sizes[0] <= len(s) <= sizes[1]]
    out = np.zeros((n_genes, len(kept)))
    for j, members in enumerate(kept):
        out[members, j] = 1 / np.sqrt(len(members))
    return out


def stacked(spaces: Sequence[LinearSpace], scales: Sequence[float] | None = None) -> LinearSpace:
    """Several spaces side by side, each divided by its scale; all with the weights of the first."""
    if not spaces or len({s.n_genes for s in spaces}) != 1:
        raise InputError("spaces can only be stacked if they are of the same genes")
    factors = [1.0] * len(spaces) if scales is None else list(scales)
    blocks: list[Floats | None] = []
    divisors: list[float] = []
    for space, factor in zip(spaces, factors, strict=True):
        blocks += space.blocks
        divisors += [own * factor for own in space.scales]
    return LinearSpace(spaces[0].n_genes, tuple(blocks), tuple(divisors), spaces[0].weights)
