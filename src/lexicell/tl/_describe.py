"""Describe groups of cells by genes and by words.

A cluster found in the same counts cannot be tested on them, so these are rankings without p values, unless there are
counts that it was not found in (`tested`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._values import Values
from ..core.concepts import contrast_scores
from ..core.expression import group_profiles
from ._words import Phrases, ZScores

__all__ = ["MIN_SHARE", "against_rest", "leading", "markers", "rest_differences", "stack", "tested", "words"]

MIN_SHARE = 0.1
"""Genes expressed in a smaller share of a group's cells are not ranked for it."""


def markers(values: Values, codes: NDArray[np.int64], names: list[str], *, n_genes: int = 25) -> pd.DataFrame:
    """Rank the genes of each group by how much higher their mean log value is than in all other cells.

    Returns
    -------
    One row a group and gene: ``group``, ``rank``, ``gene``, ``difference``, ``mean``, ``mean_rest``, ``share``,
    ``share_rest``. Only genes with a positive difference that at least a tenth of the group's cells express.
    """
    inside = group_profiles(values.log, codes, len(names))
    mean_rest, share_rest = inside.against_rest()
    blocks = []
    for k, name in enumerate(names):
        difference = inside.mean[k] - mean_rest[k]
        ranked = np.where(inside.share[k] >= MIN_SHARE, difference, -np.inf)
        best = np.argsort(-ranked, kind="stable")[:n_genes]
        best = best[ranked[best] > 0]
        blocks.append(
            pd.DataFrame(
                {
                    "group": name,
                    "rank": np.arange(1, len(best) + 1),
                    "gene": values.genes[best],
                    "difference": difference[best],
                    "mean": inside.mean[k, best],
                    "mean_rest": mean_rest[k, best],
                    "share": inside.share[k, best],
                    "share_rest": share_rest[k, best],
                }
            )
        )
    return stack(blocks)


def tested(table: pd.DataFrame, values: Values, codes: NDArray[np.int64], names: list[str]) -> pd.DataFrame:
    """Test each gene of a table of markers against all other cells, in counts that the groups were not found in.

    Returns
    -------
    The table with ``difference_test`` (of mean log values in the tested counts), ``p`` (Wilcoxon rank-sum, two-sided,
    normal approximation with ties) and ``q`` (Benjamini-Hochberg over all rows).
    """
    from scipy.stats import false_discovery_control, mannwhitneyu

    table = table.copy()
    log = sp.csc_matrix(values.log[:, values.rows(table["gene"].to_numpy(dtype=object))])
    p, difference = np.ones(len(table)), np.zeros(len(table))
    places = [names.index(str(g)) for g in table["group"]]
    for row, place in enumerate(places):
        x, inside = log[:, [row]].toarray().ravel(), codes == place
        difference[row] = x[inside].mean() - x[~inside].mean()
        if x.min() < x.max():
            p[row] = mannwhitneyu(x[inside], x[~inside], method="asymptotic").pvalue
    table["difference_test"], table["p"] = difference, p
    table["q"] = false_discovery_control(p) if len(p) else p
    return table


def against_rest(z: ZScores, codes: NDArray[np.int64], n_groups: int) -> NDArray[np.float64]:
    """Mean z of each group minus that of all other cells, shape ``(n_groups, n_genes)``."""
    size = np.bincount(codes, minlength=n_groups).astype(float)
    member = sp.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_groups, len(codes)))
    return rest_differences(np.asarray((member @ z.deviations).todense()), size)


def rest_differences(total: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each group less that of all other cells, from sums over groups of deviations and sizes of groups."""
    inside = total / np.maximum(size, 1)[:, None]
    outside = (total.sum(axis=0) - total) / np.maximum(size.sum() - size, 1)[:, None]
    # The baseline row is the same on both sides and cancels.
    return np.asarray(inside - outside)


def words(
    z: ZScores,
    changes: NDArray[np.float64],
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
        One name a contrast.
    phrases
        What to choose from.
    n_words, n_genes
        Phrases a contrast, and genes named beside each.
    among
        Columns of the genes that take part; default: all.

    Returns
    -------
    One row a contrast and phrase: ``group``, ``rank``, ``concept``, ``z`` (against random gene sets of matched
    expression: a scale, not a test), ``score`` (weighted mean change of the phrase's genes), ``genes`` (those that
    contribute most).
    """
    ids, changes = z.ids[among], changes[:, among]
    sets = phrases.sets(z.vectors[among])
    got = contrast_scores(changes, sets, z.mean[among])
    blocks = []
    for k, name in enumerate(names):
        best = np.argsort(-got.z[k], kind="stable")[:n_words]
        best = best[got.z[k, best] > 0]
        blocks.append(
            pd.DataFrame(
                {
                    "group": name,
                    "rank": np.arange(1, len(best) + 1),
                    "concept": phrases.names[best],
                    "z": got.z[k, best],
                    "score": got.score[k, best],
                    "genes": [leading(sets[q], changes[k], ids, n_genes) for q in best],
                }
            )
        )
    return stack(blocks)


def leading(row: Any, change: NDArray[np.float64], ids: NDArray[Any], n: int = 5) -> str:
    """Genes of a phrase that go up most, in words."""
    parts = row.data * change[row.indices]
    order = np.argsort(-parts, kind="stable")[:n]
    return ", ".join(str(ids[row.indices[i]]) for i in order if parts[i] > 0)


def stack(blocks: list[pd.DataFrame]) -> pd.DataFrame:
    """Put tables one under the other, with plain strings and names of rows that an h5ad takes."""
    frame = pd.concat(blocks, ignore_index=True)
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].astype(str).astype(object)
    # Row names must be strings in an h5ad.
    frame.index = frame.index.astype(str)
    return frame
