"""The effect of removing or over-expressing genes on cell embeddings and concept scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import check_choice, check_column
from .._results import check_rep, keep_results, stack_tables
from ..core.genes.concepts import cell_scores, cell_zscores
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.perturbation import Change
from . import words as _words
from ._linear import LinearForm, linear_form

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["perturb"]

LIBRARIES = ("fixed", "recomputed")


def perturb(
    adata: AnnData,
    targets: Sequence[str] | str,
    *,
    fold: float = 0.0,
    library: str = "fixed",
    queries: _words.Queries | None = None,
    groupby: str | None = None,
    use_rep: str = _keys.X_TEXT,
    genes: GeneEmbedding | None = None,
    key_added: str = "perturb",
    copy: bool = False,
) -> AnnData | None:
    r"""Predict how removing or over-expressing genes moves cells and their concept scores.

    The counts of the `targets` are multiplied by `fold`, and the embedding, a weighted sum of gene vectors, is computed
    again. This is arithmetic on what is written about genes. It does not predict how cells would respond.

    Computed again are the log values of the targets (of all genes with ``library="recomputed"``), the top N of each
    cell, sums over a cell's genes, and unit length. So the presets ``paper``, ``genept-w``, ``scelmo-wa`` and
    ``scelmo-aa`` give what embedding the changed counts would give, with the old or with new library sizes. Held fixed
    are the number of genes of the matrix and, in ``whitened``, fused and expression representations, the mean and
    spread of each gene, the gene space and the components, because they belong to the data set and not to the cell.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``, made by lexicell.
    targets
        One gene or several, changed together.
    fold
        Factor on their counts: 0 removes, 2 doubles. Cells that do not express a target stay as they are.
    library
        ``"fixed"``: other genes keep their log values. ``"recomputed"``: cells are normalized again, so that the shares
        of their other genes grow or shrink.
    queries
        Phrases whose scores are followed (:func:`lexicell.tl.concepts`), or ``{phrase: vector}`` to bring their own
        vectors, shape ``(dim,)`` each.
    groupby
        Column of ``obs``: the movement is also summarized for each group.
    use_rep
        Key of the representation in ``obsm``.
    genes
        The gene vectors; None: those that the representation was made from.
    key_added
        Name of the result.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obsm["X_text_perturb"]`` (`use_rep` and `key_added`)
        The embedding after the change, float32.
    ``obsm["text_perturb_concepts"]`` (with `queries`)
        DataFrame of cells x phrases: change of the score that :func:`lexicell.tl.concepts` writes, with each cell's
        random gene sets unchanged.
    ``uns["lexicell"][use_rep][key_added]``
        ``table``: one row per group (or one for all cells): ``cells``, ``expressing`` (share of cells that express a
        target), ``moved`` (mean length of the movement), ``shift`` (length of the mean movement), ``relative`` (shift
        over the spread of cells: the root of their mean squared distance from their mean). ``concepts`` (with
        `queries`): one row per group and phrase: ``change`` (of the raw score) and ``z_change``. ``params``.

    Raises
    ------
    MissingKeyError
        If a gene, column or the gene vectors are not found.
    InputError
        If the representation is not a sum over genes, or `fold` or `library` is out of range.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.perturb(adata, ["CD79A", "CD79B"], groupby="cell_type")
    >>> table = adata.uns["lexicell"]["X_text"]["perturb"]["table"]
    >>> table.sort_values("shift").iloc[-1]["group"]
    'CD19+ B'
    """
    adata = adata.copy() if copy else adata
    check_choice(library, LIBRARIES, "library")
    change = Change.of(targets, fold, keep_library=library == "fixed")
    check_rep(adata, use_rep)
    if groupby is not None:
        check_column(adata.obs, groupby)
    # Both forms come from the same record, so that their difference is the change alone.
    before = linear_form(adata, use_rep, genes)
    after = linear_form(adata, use_rep, genes, change=change)
    cells = np.arange(adata.n_obs)
    start, embedding = before.embed_scaled(cells), after.embed_scaled(cells)
    moved = embedding - start
    groups = _groups(adata, groupby)
    columns = before.values.rows(np.asarray(change.genes, dtype=object))
    expressing = np.asarray((before.values.log[:, columns] > 0).sum(axis=1)).ravel() > 0
    # A movement means little by itself: it is compared with how far cells lie from their mean anyway.
    spread = float(np.sqrt(start.var(axis=0).sum()))
    result: dict[str, Any] = {"table": _table(moved, expressing, groups, spread)}
    if queries is not None:
        scores, result["concepts"] = _concepts(adata, use_rep, before, after, queries, genes, groups)
        adata.obsm[f"{_keys.prefix(use_rep)}_{key_added}_concepts"] = scores
    result["params"] = {
        "targets": np.asarray(change.genes, dtype=object),
        "fold": change.fold,
        "library": library,
        "groupby": groupby or "",
        "unit_length": before.is_scaled,
    }
    adata.obsm[f"{use_rep}_{key_added}"] = embedding.astype(np.float32)
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _groups(adata: AnnData, groupby: str | None) -> dict[str, NDArray[np.int64]]:
    """Rows of the cells of each group, or of all cells."""
    if groupby is None:
        return {"all cells": np.arange(adata.n_obs)}
    labels = adata.obs[groupby].astype(object).dropna().astype(str)
    known = np.flatnonzero(adata.obs[groupby].notna())
    return {name: known[(labels == name).to_numpy()] for name in sorted(labels.unique())}


def _table(
    moved: NDArray[np.float64], expressing: NDArray[np.bool_], groups: dict[str, NDArray[np.int64]], spread: float
) -> pd.DataFrame:
    rows = []
    for name, members in groups.items():
        shift = float(np.linalg.norm(moved[members].mean(axis=0)))
        rows.append(
            {
                "group": name,
                "cells": len(members),
                "expressing": float(expressing[members].mean()),
                "moved": float(np.linalg.norm(moved[members], axis=1).mean()),
                "shift": shift,
                "relative": shift / spread if spread > 0 else 0.0,
            }
        )
    return stack_tables([pd.DataFrame(rows)])


def _concepts(
    adata: AnnData,
    use_rep: str,
    before: LinearForm,
    after: LinearForm,
    queries: _words.Queries,
    genes: GeneEmbedding | None,
    groups: dict[str, NDArray[np.int64]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Change of each cell's score, and its mean in each group."""
    known = _words.gene_vectors(adata, use_rep, genes)
    asked = _words.phrases_of(queries, known)
    z = _words.zscores(before.values, known)
    sets = asked.sets(z.ids)
    changed = z.of(after.values)
    # Random gene sets stay those of the unchanged cells, or the scale would move with the targets.
    raw = cell_scores(changed, z.baseline, sets) - cell_scores(z.deviations, z.baseline, sets)
    scaled = cell_zscores(changed, z.baseline, sets, z.mean, random_sets=z.deviations)
    scaled = scaled - cell_zscores(z.deviations, z.baseline, sets, z.mean)
    blocks = []
    for name, members in groups.items():
        change, z_change = raw[members].mean(axis=0), scaled[members].mean(axis=0, dtype=np.float64)
        block = {"group": name, "concept": asked.names, "change": change, "z_change": z_change}
        blocks.append(pd.DataFrame(block))
    cells = pd.DataFrame(scaled, index=adata.obs_names, columns=_words.columns(asked))
    return cells, stack_tables(blocks)
