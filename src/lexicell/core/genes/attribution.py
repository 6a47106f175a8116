"""Which genes make a difference: exact, because cell embeddings are linear in the gene vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError

__all__ = ["Attribution", "attribute", "attribute_along"]


@dataclass(frozen=True, eq=False)
class Attribution:
    """A difference of cell embeddings, taken apart into genes.

    Attributes
    ----------
    parts
        Part of each gene, shape ``(n_genes,)``, float64. With `constant` they sum to `total`.
    total
        The whole that is taken apart: 1 for :func:`attribute`, the length along the direction for
        :func:`attribute_along`.
    difference
        The difference of the embeddings itself, shape ``(d,)``.
    constant
        Part of what belongs to no gene: the offset of the representation; 0 in a contrast, where it cancels.
    """

    parts: NDArray[np.float64]
    total: float
    difference: NDArray[np.float64]
    constant: float = 0.0


def attribute(weight_change: ArrayLike, vectors: ArrayLike, *, offset: ArrayLike | None = None) -> Attribution:
    r"""Split a contrast between two groups of cells into genes.

    The embedding of a group is :math:`c = \sum_g w_g e_g`, with w the mean weights of its cells. For the contrast
    :math:`\delta = \sum_g \Delta w_g\, e_g` the part of a gene is

    .. math:: a_g = \frac{\Delta w_g\; e_g \cdot \delta}{|\delta|^2}, \qquad \sum_g a_g = 1.

    A gene with a negative part works against the contrast.

    Parameters
    ----------
    weight_change
        Mean weight of each gene in one group minus that in the other, shape ``(n_genes,)``.
    vectors
        The gene vectors that the cells were embedded with (whitened ones for ``preset="whitened"``), ``(n_genes, d)``.
    offset
        What every cell has in addition, shape ``(d,)``, if `weight_change` is no change but the weights of one group.

    Raises
    ------
    InputError
        If shapes disagree, or the groups do not differ, so that there is nothing to split.
    """
    change, matrix = _checked(weight_change, vectors)
    constant = np.zeros(matrix.shape[1]) if offset is None else np.asarray(offset, dtype=np.float64)
    difference = change @ matrix + constant
    square = float(difference @ difference)
    # What cancels out must not be split: its direction is rounding noise.
    if square <= (1e-10 * float(np.abs(change) @ np.linalg.norm(matrix, axis=1))) ** 2:
        raise InputError(
            "the two groups of cells do not differ in this embedding, so there is nothing to split into genes"
        )
    parts = change * (matrix @ difference) / square
    return Attribution(parts, 1.0, difference, float(constant @ difference) / square)


def attribute_along(
    weight_change: ArrayLike,
    vectors: ArrayLike,
    direction: ArrayLike,
    *,
    offset: ArrayLike | None = None,
    unit: bool = True,
) -> Attribution:
    r"""Split the length of a contrast along a given direction: :math:`\Delta w_g\; e_g \cdot u / |u|`.

    For the contrast itself use :func:`attribute`.

    Parameters
    ----------
    weight_change, vectors, offset
        As in :func:`attribute`.
    direction
        Shape ``(d,)``, of any length but zero.
    unit
        Whether the direction is scaled to unit length. For a classifier's decision, `direction` is its coefficient
        vector and stays as it is.

    Raises
    ------
    InputError
        If shapes disagree or the direction is zero.
    """
    change, matrix = _checked(weight_change, vectors)
    axis = np.asarray(direction, dtype=np.float64)
    if axis.shape != (matrix.shape[1],) or not axis.any():
        raise InputError(f"a direction of {matrix.shape[1]} numbers, not all zero, is needed; got shape {axis.shape}")
    axis = axis / np.linalg.norm(axis) if unit else axis
    constant = np.zeros(matrix.shape[1]) if offset is None else np.asarray(offset, dtype=np.float64)
    difference = change @ matrix + constant
    return Attribution(change * (matrix @ axis), float(difference @ axis), difference, float(constant @ axis))


def _checked(weight_change: ArrayLike, vectors: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    change, matrix = np.asarray(weight_change, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    if matrix.ndim != 2 or change.shape != (len(matrix),):
        raise InputError(f"weights of shape {change.shape} do not fit gene vectors of shape {matrix.shape}")
    return change, matrix
