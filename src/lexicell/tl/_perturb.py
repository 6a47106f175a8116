"""What a cell embedding and its concept scores become if genes are removed or over-expressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .. import _keys
from .._errors import InputError, check_choice, check_key
from .._results import keep_results
from .._values import check_rep
from ..core.concepts import N_GENES, cell_scores, cell_zscores
from ..core.embedding import GeneEmbedding
from ..core.perturbation import Change
from . import _describe, _words
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
    queries: Sequence[str] | str | None = None,
    query_vectors: ArrayLike | None = None,
    groupby: str | None = None,
    use_rep: str = _keys.X_TEXT,
    genes: GeneEmbedding | None = None,
    key_added: str = "perturb",
    copy: bool = False,
) -> AnnData | None:
    r"""Remove or over-express genes on paper, and say how cells and their concept scores move.

    The counts of the `targets` are multiplied by `fold`, and the embedding is computed again, without a model: it is a
    weighted sum of gene vectors. This is arithmetic on what is written about genes, no prediction of what cells do.

    What is computed anew: log values of the targets (of all genes with ``library="recomputed"``), the top N of each
    cell, sums over a cell's genes, unit length. So the presets ``paper``, ``genept-w``, ``scelmo-wa`` and ``scelmo-aa``
    give what embedding the changed counts gives, with the library sizes of before or with new ones. What is held fixed:
    in ``whitened``, fused and expression representations the mean and spread of each gene, the gene space and the
    components, because they belong to the data set and not to the cell; the number of genes of the matrix.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``, made by lexicell.
    targets
        One gene or several, changed together.
    fold
        Factor on their counts: 0 removes, 2 doubles. A cell that does not express a gene has nothing to multiply.
    library
        ``"fixed"``: other genes keep their log values, as if the counts had gone unseen. ``"recomputed"``: the cell is
        normalised again, so that its other genes take the place.
    queries
        Phrases whose scores are followed (:func:`lexicell.tl.concepts`).
    query_vectors
        Their vectors, shape ``(n_queries, dim)``, instead of embedding them.
    groupby
        Column of ``obs``: the movement is summed up for each group too.
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
        DataFrame of cells x phrases: change of the score that :func:`lexicell.tl.concepts` writes, each cell's random
        sets held as they were.
    ``uns["lexicell"][use_rep][key_added]``
        ``table``: one row a group (or one for all cells): ``cells``, ``expressing`` (share of cells that express a
        target), ``moved`` (mean length of the movement), ``shift`` (length of the mean movement), ``relative`` (shift
        over the spread of cells: the root of their mean squared distance from their mean). ``concepts`` (with
        `queries`): one row a group and phrase: ``change`` (of the raw score) and ``z_change``. ``params``.

    Raises
    ------
    MissingKeyError
        If a gene, column or the gene vectors are not there.
    InputError
        If the representation is no sum over genes, or `fold` or `library` is out of range.

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
        check_key(groupby, [str(c) for c in adata.obs.columns], "column in obs")
    if query_vectors is not None and queries is None:
        raise InputError("query_vectors= needs queries=, which name them")
    before = linear_form(adata, use_rep, genes)
    after = linear_form(adata, use_rep, genes, change=change)
    embedding = _embedding(after)
    moved = embedding - _embedding(before)
    groups = _groups(adata, groupby)
    columns = before.values.rows(np.asarray(change.genes, dtype=object))
    expressing = np.asarray((before.values.log[:, columns] > 0).sum(axis=1)).ravel() > 0
    spread = float(np.sqrt(((embedding - moved - (embedding - moved).mean(axis=0)) ** 2).sum(axis=1).mean()))
    result: dict[str, Any] = {"table": _table(moved, expressing, groups, spread)}
    if queries is not None:
        scores, result["concepts"] = _concepts(adata, use_rep, before, after, queries, query_vectors, genes, groups)
        adata.obsm[f"{_keys.prefix(use_rep)}_{key_added}_concepts"] = scores
    result["params"] = {
        "targets": np.asarray(change.genes, dtype=object), "fold": change.fold, "library": library,
        "groupby": groupby or "", "unit_length": before.is_scaled,
    }  # fmt: skip
    adata.obsm[f"{use_rep}_{key_added}"] = embedding.astype(np.float32)
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _embedding(form: LinearForm) -> NDArray[np.float64]:
    made = form.embed(np.arange(form.weights.shape[0]))
    if form.is_scaled:
        made = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-300)
    return made


def _groups(adata: AnnData, groupby: str | None) -> dict[str, NDArray[np.int64]]:
    if groupby is None:
        return {"all cells": np.arange(adata.n_obs)}
    labels = adata.obs[groupby].astype(object).where(adata.obs[groupby].notna())
    known = labels.dropna().astype(str)
    place = pd.Series(np.arange(adata.n_obs), index=adata.obs_names).loc[known.index].to_numpy()
    return {name: place[(known == name).to_numpy()] for name in sorted(known.unique())}


def _table(
    moved: NDArray[np.float64], expressing: NDArray[np.bool_], groups: dict[str, NDArray[np.int64]], spread: float
) -> pd.DataFrame:
    rows = []
    for name, members in groups.items():
        mean = float(np.linalg.norm(moved[members].mean(axis=0)))
        rows.append({
            "group": name, "cells": len(members), "expressing": float(expressing[members].mean()),
            "moved": float(np.linalg.norm(moved[members], axis=1).mean()), "shift": mean,
            "relative": mean / spread if spread > 0 else 0.0,
        })  # fmt: skip
    return _describe.stack([pd.DataFrame(rows)])


def _concepts(
    adata: AnnData,
    use_rep: str,
    before: LinearForm,
    after: LinearForm,
    queries: Sequence[str] | str,
    vectors: ArrayLike | None,
    genes: GeneEmbedding | None,
    groups: dict[str, NDArray[np.int64]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Change of each cell's score, and its mean in each group."""
    known = _words.gene_vectors(adata, use_rep, genes)
    asked = _words.phrases_of(queries, known) if vectors is None else _words.given(queries, vectors, known)
    z = _words.zscores(before.values, known)
    sets = asked.sets(z.vectors, n_genes=N_GENES)
    changed = z.of(after.values)
    raw = cell_scores(changed, z.baseline, sets) - cell_scores(z.deviations, z.baseline, sets)
    scaled = cell_zscores(changed, z.baseline, sets, z.mean, random_sets=z.deviations)
    scaled = scaled - cell_zscores(z.deviations, z.baseline, sets, z.mean)
    table = [
        pd.DataFrame(
            {
                "group": name, "concept": asked.names, "change": raw[members].mean(axis=0),
                "z_change": scaled[members].mean(axis=0, dtype=np.float64),
            }
        )
        for name, members in groups.items()
    ]  # fmt: skip
    names = _words.columns(asked)
    return pd.DataFrame(scaled, index=adata.obs_names, columns=names), _describe.stack(table)
