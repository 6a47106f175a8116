"""The splits behind `tl.explain`: an embedding, a direction, a classifier's decision or a concept's score, by genes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError, check_choice, choices
from ..core.attribution import Attribution, attribute, attribute_along
from ..core.classify import LinearClassifier
from ..core.concepts import concept_parts
from ._linear import LinearForm
from ._words import ZScores

__all__ = ["Rows", "Split", "Splitter", "along", "concept", "decision", "embedding"]

Rows = NDArray[np.int64]


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


def decision(form: LinearForm, classifier: LinearClassifier, label: str | None) -> Splitter:
    """Parts of a linear classifier's log odds ``(c - m) / s @ w + b``.

    With more than two classes, of one class against the mean of all, because scores have a free shift a cell.

    Raises
    ------
    InputError
        If cells were scaled to unit length before the classifier saw them, dimensions do not fit, or the class is
        unknown or not named.
    """
    if form.is_scaled:
        raise InputError(
            "cells of this embedding were scaled to unit length, so a classifier's decision on them is no sum over "
            "genes; embed with l2=False and train on that"
        )
    weights = np.atleast_2d(np.asarray(classifier.weights, dtype=np.float64))
    intercept = np.atleast_1d(np.asarray(classifier.intercept, dtype=np.float64))
    if weights.shape[1] != form.vectors.shape[1]:
        raise InputError(
            f"the classifier reads {weights.shape[1]} dimensions, the representation has {form.vectors.shape[1]}"
        )
    classes = [str(c) for c in classifier.classes]
    if label is None and len(classes) > 2:
        raise InputError(f"name the class whose decision is explained with label=; there is {choices(classes)}")
    place = classes.index(check_choice(label or classes[-1], classes, "class"))
    if len(classes) == 2:
        sign = 1.0 if place == 1 else -1.0
        own, start = sign * weights[0], sign * float(intercept[0])
    else:
        own, start = weights[place] - weights.mean(axis=0), float(intercept[place] - intercept.mean())
    axis = own / np.asarray(classifier.sd, dtype=np.float64)
    start -= float(np.asarray(classifier.mean, dtype=np.float64) @ axis)

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
