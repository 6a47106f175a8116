"""Which description fits a cell best: scores from the genes whose texts are nearest each description."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .concepts import cell_scores, concept_sets

__all__ = ["SIZES", "few_shot", "gene_symbols", "mask", "refined", "suggestion_weights", "type_scores"]

SIZES = (10, 25, 50, 100)
"""Genes a description, in turn; how many are best differs between types, so all take part."""

Floats = NDArray[np.float64]


def suggestion_weights(vectors: ArrayLike, descriptions: ArrayLike) -> list[sp.csr_matrix]:
    """Sets of genes nearest each description, by size.

    What all candidates have in common is taken away first: their mean vector is put where the mean gene is.

    Parameters
    ----------
    vectors
        Gene vectors, ``(n_genes, d)``.
    descriptions
        Vectors of the candidates' descriptions, ``(n_types, d)``, two or more.

    Returns
    -------
    Matrices of types x genes, one for each of `SIZES`.
    """
    E, asked = np.asarray(vectors, dtype=np.float64), np.asarray(descriptions, dtype=np.float64)
    apart = asked - asked.mean(axis=0) + E.mean(axis=0)
    return [concept_sets(E, apart, n_genes=size) for size in SIZES]


def type_scores(deviations: sp.csr_matrix, baseline: Floats, sets: Sequence[sp.csr_matrix]) -> Floats:
    """Mean over sets of the weighted mean z of their genes, each type standardised over the cells.

    Parameters
    ----------
    deviations, baseline
        z-scores, as in :func:`lexicell.core.concepts.cell_scores`.
    sets
        From :func:`suggestion_weights`.

    Returns
    -------
    ``(n_cells, n_types)``; each column has mean 0 and standard deviation 1, or is 0 where no gene speaks.
    """
    return standardised(sum(standardised(cell_scores(deviations, baseline, s)) for s in sets))


def standardised(scores: ArrayLike) -> Floats:
    """Columns with mean 0 and standard deviation 1; constant ones are 0."""
    S = np.asarray(scores, dtype=np.float64)
    sd = S.std(axis=0)
    return np.asarray((S - S.mean(axis=0)) / np.where(sd > 1e-12, sd, np.inf))


def few_shot(cells: Floats, codes: NDArray[np.int64], n_classes: int) -> Floats:
    """Scores of all cells from a handful of labelled ones: nearness to the mean of each class.

    Parameters
    ----------
    cells
        ``(n_cells, dim)``.
    codes
        Class of each cell, -1 where it is not labelled.
    n_classes
        Number of classes, each with a labelled cell.

    Returns
    -------
    Cosine to the centre of each class (all centred on the mean of these centres), ``(n_cells, n_classes)``.
    """
    centres = np.stack([cells[codes == k].mean(axis=0) for k in range(n_classes)])
    middle = centres.mean(axis=0)

    def unit(X: Floats) -> Floats:
        length = np.linalg.norm(X, axis=1, keepdims=True)
        return np.asarray(X / np.where(length > 0, length, 1.0))

    return np.asarray(unit(cells - middle) @ unit(centres - middle).T)


def refined(scores: Floats, cells: Floats, *, share: float = 0.02, rounds: int = 3) -> Floats:
    """Scores with what the clearest cells of each type look like added.

    The cells that lead most clearly for a type stand as its examples, and each cell's nearness to the examples' mean
    (:func:`few_shot`, standardised) is added to its score; then again, with the examples of the new scores. So what the
    genes of a description say of a few cells decides for cells that express others of the type's genes. Chosen, with
    these settings, on two data sets of ``evaluation/transfer/annotate.py`` and confirmed on two more.

    Parameters
    ----------
    scores
        ``(n_cells, n_types)``, standardised by type.
    cells
        ``(n_cells, dim)``, for example principal components of expression.
    share
        Share of the cells that stand as examples of each type; ten cells at least.
    rounds
        How often.

    Returns
    -------
    ``(n_cells, n_types)``.
    """
    n_cells, n_types = scores.shape
    take = min(max(10, int(share * n_cells)), n_cells // n_types)
    if take < 1 or n_types < 2:
        return scores
    now = scores
    for _ in range(rounds):
        best, second = np.sort(now, axis=1)[:, :-3:-1].T
        lead = now - np.where(now == best[:, None], second[:, None], best[:, None])
        order = np.argsort(-lead, axis=0, kind="stable")
        codes = np.full(n_cells, -1, dtype=np.int64)
        for k in range(n_types):
            codes[order[:take, k]] = k
        # Few cells of a small data set may all have gone to types named later.
        there = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=n_types))
        place = np.full(n_types, -1)
        place[there] = np.arange(len(there))
        near = few_shot(cells, np.where(codes >= 0, place[codes], -1), len(there))
        now = scores.copy()
        now[:, there] = (scores[:, there] + standardised(near)) / 2
    return now


_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]")
_PLAIN = re.compile(r"[A-Z]?[a-z-]+")  # a word of prose, even where some gene is called so


def gene_symbols(text: str, symbols: AbstractSet[str]) -> list[str]:
    """Gene symbols that a description names, in order: tokens equal to a symbol that are not plain lower-case words.

    Mouse symbols such as ``Gad1`` are found because of their digit; a word like ``Sst`` without one is taken for a
    symbol where it does not start a sentence.
    """
    found = []
    for token in _TOKEN.finditer(text):
        word = token.group()
        starts = not text[: token.start()].rstrip() or text[: token.start()].rstrip()[-1] in ".:;"
        if word in symbols and not (_PLAIN.fullmatch(word) and (word.islower() or starts)) and word not in found:
            found.append(word)
    return found


def mask(text: str, symbols: Sequence[str]) -> str:
    """The description without these words, and without what is left empty."""
    for symbol in symbols:
        text = re.sub(rf"(?<![\w-]){re.escape(symbol)}(?![\w-])\+?", "", text)
    return re.sub(r"[\s,;:]+(?=[.,;]|$)", "", re.sub(r"\s+", " ", text)).strip(" ,;:")
