"""The splits behind `tl.explain`: an embedding, a direction, a classifier's decision or a concept's score, by genes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError, choices
from ..core.genes.attribution import Attribution, attribute, attribute_along
from ..core.genes.concepts import concept_parts
from ..core.transfer.classify import LinearClassifier
from ._linear import LinearForm
from .words import ZScores

__all__ = ["Rows", "Split", "Splitter", "along", "concept", "decision", "embedding"]

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


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
    parts: Floats
    change: Floats
    constant: float
    whole: float
    length: float
    scaled: Floats | None = None


Splitter = Callable[[Rows, Rows | None], Split]
"""From the cells that are explained, and those they are compared with (None: with nothing), to their split."""


def embedding(form: LinearForm) -> Splitter:
    """Parts of the embedding, or of a difference of two, which sum to 1."""
    return _of_form(form, lambda change, offset: attribute(change, form.vectors, offset=offset))


def along(form: LinearForm, direction: ArrayLike) -> Splitter:
    """Parts of the distance along a direction."""
    return _of_form(form, lambda change, offset: attribute_along(change, form.vectors, direction, offset=offset))


def decision(form: LinearForm, classifier: LinearClassifier) -> Splitter:
    """Parts of a linear classifier's log odds ``(c - m) / s @ w + b``.

    Raises
    ------
    InputError
        If cells were scaled to unit length before the classifier saw them, dimensions do not fit, or the classifier
        has more than two classes.
    """
    if form.is_scaled:
        raise InputError(
            "cells of this embedding were scaled to unit length, so a classifier's decision on them is not a sum "
            "over genes; embed with another preset, such as scelmo-aa, and train on that"
        )
    if len(classifier.classes) > 2:
        raise InputError(
            f"name the class whose decision is explained, direction=classifier.one_class(...); its classes are "
            f"{choices(classifier.classes)}"
        )
    if classifier.weights.shape[1] != form.vectors.shape[1]:
        raise InputError(
            f"the classifier reads {classifier.weights.shape[1]} dimensions, the representation has "
            f"{form.vectors.shape[1]}"
        )
    axis = classifier.weights[0] / classifier.sd
    intercept = float(classifier.intercept[0] - classifier.mean @ axis)

    def split(change: Floats, offset: Floats | None) -> Attribution:
        found = attribute_along(change, form.vectors, axis, offset=offset, unit=False)
        # In the difference of two decisions the intercept cancels.
        constant = 0.0 if offset is None else intercept
        return Attribution(found.parts, found.total + constant, found.difference, found.constant + constant)

    return _of_form(form, split)


def _of_form(form: LinearForm, split: Callable[[Floats, Floats | None], Attribution]) -> Splitter:
    """The splitter that hands the mean weights of the cells to `split`."""

    def of(inside: Rows, outside: Rows | None) -> Split:
        change = form.mean_weights(inside)
        if outside is not None:
            change = change - form.mean_weights(outside)
        # The offset cancels in a difference.
        found = split(change, form.offset if outside is None else None)
        length = float(np.linalg.norm(found.difference))
        return Split(form.ids, form.by_text, found.parts, change, found.constant, found.total, length)

    return of


def concept(z: ZScores, weights: Floats) -> Splitter:
    """Parts of a concept's score, raw and on the scale of random gene sets."""

    def of(inside: Rows, outside: Rows | None) -> Split:
        change = _mean(z, inside)
        if outside is not None:
            change = change - _mean(z, outside)
        parts, scaled = concept_parts(change, weights, z.mean)
        by_text = np.ones(len(parts), dtype=bool)
        return Split(z.ids, by_text, parts, change, 0.0, float(weights @ change), float("nan"), scaled)

    return of


def _mean(z: ZScores, rows: Rows) -> Floats:
    """Mean z of every gene over some cells."""
    return np.asarray(z.deviations[rows].mean(axis=0), dtype=np.float64).ravel() + z.baseline
