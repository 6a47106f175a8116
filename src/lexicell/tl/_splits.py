"""The splits behind `tl.explain`: an embedding, a direction, a classifier's decision or a concept's score, by genes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError
from ..core.attribution import Attribution, attribute, attribute_along
from ..core.concepts import concept_parts
from ._linear import LinearForm
from ._words import ZScores

__all__ = ["Linear", "Rows", "Split", "Splitter", "along", "concept", "decision", "embedding"]

Rows = NDArray[np.int64]


class Linear(Protocol):
    """A linear classifier, such as :class:`lexicell.core.classify.LinearClassifier`."""

    @property
    def weights(self) -> NDArray[np.float64]: ...

    @property
    def intercept(self) -> float: ...

    @property
    def mean(self) -> NDArray[np.float64]: ...

    @property
    def sd(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True, eq=False)
class Split:
    """A whole taken apart: ``parts.sum() + constant == whole``.

    Attributes
    ----------
    ids, by_text, parts, change
        Of each row: gene, whether it acts through its text, its part, and the change of its weight.
    constant
        What belongs to no gene.
    whole
        What is taken apart.
    length
        Length of the difference of the embeddings; NaN for scores.
    scaled
        Parts of a concept's score on the scale of random gene sets; None for all else.
    """

    ids: NDArray[Any]
    by_text: NDArray[np.bool_]
    parts: NDArray[np.float64]
    change: NDArray[np.float64]
    constant: float
    whole: float
    length: float
    scaled: NDArray[np.float64] | None = None


Splitter = Callable[[Rows, Rows | None], Split]
"""From the cells that are explained, and those they are compared with (None: with nothing), to their split."""


def embedding(form: LinearForm) -> Splitter:
    """Parts of the embedding, or of a difference of two, which sum to 1."""
    return _of_form(form, lambda change, offset: attribute(change, form.vectors, offset=offset))


def along(form: LinearForm, direction: ArrayLike) -> Splitter:
    """Parts of the distance along a direction."""
    return _of_form(form, lambda change, offset: attribute_along(change, form.vectors, direction, offset=offset))


def decision(form: LinearForm, classifier: Linear) -> Splitter:
    """Parts of a linear classifier's log odds ``(c - m) / s @ w + b``.

    Raises
    ------
    InputError
        If cells were scaled to unit length before the classifier saw them, or dimensions do not fit.
    """
    if form.is_scaled:
        raise InputError(
            "cells of this embedding were scaled to unit length, so a classifier's decision on them is no sum over "
            "genes; embed with l2=False and train on that"
        )
    axis = np.asarray(classifier.weights, dtype=np.float64) / np.asarray(classifier.sd, dtype=np.float64)
    if axis.ndim != 1 or len(axis) != form.vectors.shape[1]:
        raise InputError(
            f"a classifier of two classes that reads {form.vectors.shape[1]} dimensions is needed; "
            f"its weights have shape {axis.shape}"
        )
    start = float(classifier.intercept) - float(np.asarray(classifier.mean, dtype=np.float64) @ axis)

    def split(change: NDArray[np.float64], offset: NDArray[np.float64] | None) -> Attribution:
        got = attribute_along(change, form.vectors, axis, offset=offset, unit=False)
        shift = 0.0 if offset is None else start
        return Attribution(got.parts, got.total + shift, got.difference, got.constant + shift)

    return _of_form(form, split)


def _of_form(
    form: LinearForm, split: Callable[[NDArray[np.float64], NDArray[np.float64] | None], Attribution]
) -> Splitter:
    def of(inside: Rows, outside: Rows | None) -> Split:
        change = form.mean_weights(inside)
        if outside is not None:
            change = change - form.mean_weights(outside)
        # The offset cancels in a difference.
        found = split(change, form.offset if outside is None else None)
        length = float(np.linalg.norm(found.difference))
        return Split(form.ids, form.by_text, found.parts, change, found.constant, found.total, length)

    return of


def concept(z: ZScores, weights: NDArray[np.float64]) -> Splitter:
    """Parts of a concept's score, raw and on the scale of random gene sets."""

    def of(inside: Rows, outside: Rows | None) -> Split:
        change = _mean(z, inside) - (_mean(z, outside) if outside is not None else 0.0)
        parts, scaled = concept_parts(change, weights, z.mean)
        by_text = np.ones(len(parts), dtype=bool)
        return Split(z.ids, by_text, parts, change, 0.0, float(weights @ change), float("nan"), scaled)

    return of


def _mean(z: ZScores, rows: Rows) -> NDArray[np.float64]:
    return np.asarray(z.deviations[rows].mean(axis=0), dtype=np.float64).ravel() + z.baseline
