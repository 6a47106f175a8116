"""Labels on which several alignments agree, and how far they do.

One alignment can be wrong as a whole: it may exchange related types and be sure of it. Alignments of resampled genes
exchange them in some draws and not in others, so that their votes say which labels hang on a few genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..donors.crossfit import draw_cells
from .align import Panel, Placement, align, centered
from .classify import vote

__all__ = ["Consensus", "agreement", "consensus", "told_apart"]

Floats = NDArray[np.float64]
SHARPNESS = 6
"""Power of an alignment's agreement with the others that weighs its votes, chosen as docs/transfer.md says."""
KEPT = 0.5
"""Share of labels that the refinement must keep, or it is not used."""
_MOST_LABELED, _MOST_COMPARED = 2000, 1000  # cells per draw: every cell is compared with every labeled one


@dataclass(frozen=True, eq=False)
class Consensus:
    """Labels of the target's cells by several alignments.

    Attributes
    ----------
    votes
        ``(n_cells, n_classes)``; rows sum to 1.
    source, target
        Cells on common axes by the alignment that agrees most with the others, ``(n, m)``.
    agreement
        Share of cells that two alignments label alike, mean over pairs.
    kept
        Share of cells whose label the refinement keeps; 1 without refinement.
    pairs
        Mutual neighbors used in each round of the alignment of `source` and `target`.
    """

    votes: Floats
    source: Floats
    target: Floats
    agreement: float
    kept: float
    pairs: tuple[int, ...]


def consensus(
    source: Panel, target: Panel, labels: NDArray[np.object_], *, turn: bool = True, rounds: int = 8
) -> Consensus:
    r"""Align by every draw of the genes, and average the votes, each alignment weighted by its agreement with all.

    The weight of alignment i is :math:`\bar a_i^6`, with :math:`\bar a_i` the mean share of cells that it labels like
    another. If the refinement changes more than half of the labels, the alignments by texts alone are used, since then
    geometry decides and not texts. Labels of the target are not needed.

    Parameters
    ----------
    source, target
        Data sets with gene vectors of one embedder and as many draws.
    labels
        Label of each cell of the source.
    turn, rounds
        As in :func:`lexicell.core.transfer.align.align`.
    """
    S, T = centered(source.scores), centered(target.scores)
    classes, codes = np.unique(labels.astype(str), return_inverse=True)
    labeled = np.arange(len(codes))
    rng = np.random.default_rng(0)
    if len(labeled) > _MOST_LABELED:
        labeled = draw_cells(labeled, codes, max_cells=max(15, _MOST_LABELED // len(classes)), rng=rng)
    compared = np.sort(rng.permutation(len(T))[:_MOST_COMPARED])

    def votes(place: Placement, cells: Floats) -> Floats:
        return vote(S[labeled] @ place.left, codes[labeled], np.arange(len(classes)), cells @ place.right)

    maps = [align(source, target, turn=turn, rounds=rounds, draw=draw) for draw in range(len(source.axes))]
    stages = []
    for stage in (0, 1):
        found = np.stack([votes(both[stage], T[compared]) for both in maps])
        alike = agreement(found.argmax(axis=2))
        weights = alike.mean(axis=1) ** SHARPNESS
        stages.append((alike, weights / weights.sum(), np.tensordot(weights, found, axes=1).argmax(axis=1)))
    kept = float(np.mean(stages[0][2] == stages[1][2]))
    stage = 1 if kept >= KEPT else 0
    alike, weights, _ = stages[stage]
    total = np.zeros((len(T), len(classes)))
    for weight, both in zip(weights, maps, strict=True):
        total += weight * votes(both[stage], T)
    best = maps[int(np.argmax(weights))][stage]
    others = alike[~np.eye(len(alike), dtype=bool)]
    mean = float(others.mean()) if len(others) else float("nan")
    return Consensus(total, S @ best.left, T @ best.right, mean, kept, best.pairs)


def agreement(labels: ArrayLike) -> Floats:
    """Share of cells that each two of several labelings ``(n, n_cells)`` label alike, ``(n, n)``."""
    given = np.asarray(labels)
    return np.asarray([(given == line).mean(axis=1) for line in given])


def told_apart(votes: Floats, classes: NDArray[np.object_]) -> pd.DataFrame:
    """How sure the cells of each class are of it, and which other class they might be of.

    Returns
    -------
    One row per class that is the best of some cell: ``class``, ``cells``, ``confidence`` (mean share of the votes),
    ``next`` (the class with the most other votes), ``next_share``, and ``told_apart``, whether that is less than half
    of the confidence.
    """
    best = votes.argmax(axis=1)
    rows = []
    for code in np.unique(best):
        mean = votes[best == code].mean(axis=0)
        other = mean.copy()
        other[code] = -1.0
        second = int(other.argmax())
        rows.append(
            {
                "class": classes[code],
                "cells": int((best == code).sum()),
                "confidence": mean[code],
                "next": classes[second],
                "next_share": mean[second],
                "told_apart": bool(mean[second] < mean[code] / 2),
            }
        )
    return pd.DataFrame(rows)
