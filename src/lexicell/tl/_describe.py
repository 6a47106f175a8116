"""Describe groups of cells by genes and by words.

A cluster found in the same counts cannot be tested on them, so these are rankings without p values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._expression import Values
from .._results import stack_tables
from ..core.expression.log_values import group_profiles
from ..core.genes.concepts import contrast_scores
from ..core.genes.word_selection import allowed_words, guess_tissues, select_words, word_scores
from .words import Phrases, ZGenes, ZScores

__all__ = [
    "MIN_SHARE",
    "against_rest",
    "clear_words",
    "first_of_each",
    "leading",
    "markers",
    "ranking",
    "rest_differences",
    "tissues_of",
    "words",
]

Floats = NDArray[np.float64]

MIN_SHARE = 0.1
"""Genes expressed in a smaller share of a group's cells are not ranked for it."""


def ranking(
    names: list[str], scores: Floats, n: int, entries: Callable[[int, NDArray[np.intp]], dict[str, Any]]
) -> pd.DataFrame:
    """The `n` highest positive scores of each group, one row each.

    Parameters
    ----------
    names
        Names of the groups.
    scores
        ``(n_groups, n_columns)``.
    n
        Rows per group at most.
    entries
        Further columns, from the number of a group and the columns of `scores` that were chosen.

    Returns
    -------
    ``group``, ``rank`` and the columns of `entries`.
    """
    blocks = []
    for k, name in enumerate(names):
        best = np.argsort(-scores[k], kind="stable")[:n]
        # Padding with genes or words that go down would describe another group.
        best = best[scores[k, best] > 0]
        blocks.append(pd.DataFrame({"group": name, "rank": np.arange(1, len(best) + 1), **entries(k, best)}))
    return stack_tables(blocks)


def first_of_each(table: pd.DataFrame, column: str, names: list[str], separator: str, n: int = 5) -> list[str]:
    """The first `n` entries of each group of a ranking, joined; empty for groups without any."""
    groups = {str(name): list(entries) for name, entries in table.groupby("group", sort=False)[column]}
    return [separator.join(groups.get(name, [])[:n]) for name in names]


def markers(values: Values, codes: NDArray[np.int64], names: list[str], *, n_genes: int = 25) -> pd.DataFrame:
    """Rank the genes of each group by how much higher their mean log value is than in all other cells.

    Returns
    -------
    One row per group and gene: ``group``, ``rank``, ``gene``, ``difference``, ``mean``, ``mean_rest``, ``share``,
    ``share_rest``. Only genes with a positive difference that at least a tenth of the group's cells express.
    """
    inside = group_profiles(values.log, codes, len(names))
    mean_rest, share_rest = inside.against_rest()
    difference = inside.mean - mean_rest

    def entries(k: int, best: NDArray[np.intp]) -> dict[str, Any]:
        return {
            "gene": values.genes[best],
            "difference": difference[k, best],
            "mean": inside.mean[k, best],
            "mean_rest": mean_rest[k, best],
            "share": inside.share[k, best],
            "share_rest": share_rest[k, best],
        }

    return ranking(names, np.where(inside.share >= MIN_SHARE, difference, -np.inf), n_genes, entries)


def against_rest(z: ZScores, codes: NDArray[np.int64], n_groups: int) -> Floats:
    """Mean z of each group minus that of all other cells, shape ``(n_groups, n_genes)``."""
    size = np.bincount(codes, minlength=n_groups).astype(float)
    # One product with an indicator matrix costs one pass over the sparse values, for all groups.
    member = sp.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_groups, len(codes)))
    return rest_differences(np.asarray((member @ z.deviations).todense()), size)


def rest_differences(total: Floats, size: Floats) -> Floats:
    """Mean of each group less that of all other cells, from sums over groups of deviations and sizes of groups."""
    inside = total / np.maximum(size, 1)[:, None]
    outside = (total.sum(axis=0) - total) / np.maximum(size.sum() - size, 1)[:, None]
    # The baseline row is the same on both sides and cancels.
    return np.asarray(inside - outside)


def words(
    z: ZGenes,
    changes: Floats,
    names: list[str],
    phrases: Phrases,
    *,
    n_words: int = 10,
    n_genes: int = 5,
    among: NDArray[np.int64] | slice = slice(None),
) -> pd.DataFrame:
    """Rank phrases for each contrast by how far their genes go up in it.

    Parameters
    ----------
    z, changes
        Genes, and the change of each in each contrast, shape ``(n_contrasts, n_genes)``.
    names
        One name per contrast.
    phrases
        What to choose from.
    n_words, n_genes
        Phrases per contrast, and genes named beside each.
    among
        Columns of the genes that take part; default: all.

    Returns
    -------
    One row per contrast and phrase: ``group``, ``rank``, ``concept``, ``z`` (against random gene sets of matched
    expression: a scale, not a test), ``score`` (weighted mean change of the phrase's genes), ``genes`` (those that
    contribute most).
    """
    ids, changes = z.ids[among], changes[:, among]
    sets = phrases.sets(ids)
    found = contrast_scores(changes, sets, z.mean[among])

    def entries(k: int, best: NDArray[np.intp]) -> dict[str, Any]:
        return {
            "concept": phrases.names[best],
            "z": found.z[k, best],
            "score": found.score[k, best],
            "genes": [leading(sets[q], changes[k], ids, n_genes) for q in best],
        }

    return ranking(names, found.z, n_words, entries)


def clear_words(
    z: ZGenes, changes: NDArray[np.float64], names: list[str], phrases: Phrases, tissues: Sequence[str]
) -> pd.DataFrame:
    """Words that describe each group clearly (:func:`lexicell.core.genes.word_selection.select_words`), if any do.

    Cell types and processes are chosen apart, cell types among those of `tissues`.

    Returns
    -------
    As :func:`words`, with ``kind``, ``"cell type"`` or ``"process"``; ``z`` is of changes cut at 2.
    """
    blocks = []
    for kind, chosen in (("cell type", phrases.cell_types), ("process", ~phrases.cell_types)):
        if not chosen.any():
            continue
        part = phrases.part(chosen)
        sets = part.sets(z.ids)
        allowed = allowed_words(part.tissues, tissues)
        score = np.asarray(sets @ changes.T).T
        for k, shown in enumerate(select_words(changes, sets, z.mean, allowed=allowed)):
            best = np.asarray([s.word for s in shown], dtype=np.int64)
            own = np.asarray([s.score for s in shown])
            columns = {
                "group": names[k],
                "kind": kind,
                "rank": np.arange(1, len(best) + 1),
                "concept": part.names[best],
                "z": own,
                "score": score[k, best],
                "genes": [leading(sets[q], changes[k], z.ids) for q in best],
            }
            blocks.append(pd.DataFrame(columns))
    return stack_tables(blocks)


def tissues_of(z: ZGenes, changes: NDArray[np.float64], phrases: Phrases) -> list[str]:
    """Tissues that the cell types of the groups are found in: a guess."""
    part = phrases.part(phrases.cell_types)
    if not len(part.names):
        return []
    return guess_tissues(word_scores(changes, part.sets(z.ids), z.mean), part.tissues)


def leading(row: Any, change: Floats, ids: NDArray[Any], n: int = 5) -> str:
    """Genes of a phrase that go up most, in words."""
    parts = row.data * change[row.indices]
    order = np.argsort(-parts, kind="stable")[:n]
    return ", ".join(str(ids[row.indices[i]]) for i in order if parts[i] > 0)
