"""Ask cells in words: how far each cell and each group expresses a phrase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike

from .. import _keys
from .._errors import InputError, check_key
from .._results import keep_results, recorded
from .._values import LogRows, open_values
from ..core.concepts import N_GENES, contrast_scores
from ..core.embedding import GeneEmbedding
from . import _describe, _words
from ._concept_pass import ConceptPass, Groups, Sums, add, group_table, ranges, set_table
from ._linear import LinearForm, linear_form
from ._words import ZGenes

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["concepts", "describe_params"]


def concepts(
    adata: AnnData,
    queries: Sequence[str] | str | None = None,
    *,
    use_rep: str = _keys.X_TEXT,
    groupby: str | None = None,
    donor: str | None = None,
    min_cells: int = 8,
    directions: Mapping[str, ArrayLike] | None = None,
    dense: bool = False,
    n_genes: int = N_GENES,
    query_vectors: ArrayLike | None = None,
    genes: GeneEmbedding | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    key_added: str = _keys.CONCEPTS,
    copy: bool = False,
) -> AnnData | None:
    r"""Score cells, and groups of cells, by phrases.

    A phrase stands for the `n_genes` genes whose texts are nearest it: :math:`w_{qg} \propto s_{qg}^2`, scaled to sum
    to 1, with :math:`s_{qg}` the centred cosine of gene and phrase less the gene's mean cosine to the shipped lexicon,
    so that genes near everything count for less (:func:`lexicell.core.concepts.concept_sets`). A cell's raw score is
    :math:`\sum_g w_{qg} z_g`, with z the z-score of log expression over all cells. What is written is its distance from
    random gene sets with the same weights and the same expression, in their standard deviations: a scale on which
    cells and phrases can be compared, not a test. There are no p values for single cells.

    With `groupby`, each group is compared with all other cells; with `donor` too, donor by donor, which allows a test:
    in every donor the mean score of the group minus that of the donor's other cells, then a moderated t over donors.
    For conditions use :func:`lexicell.tl.vulnerability`, which compares donors.

    Parameters
    ----------
    adata
        Cells with expression, in memory or backed: it is read some cells at a time, twice. Only gene vectors are taken
        from the representation. For a file whose scores do not fit either, :func:`lexicell.concepts_file`.
    queries
        Phrases. Those the shipped lexicon knows (:func:`lexicell.sources.lexicon.load`) need no model; others are
        embedded with the embedder that made the gene vectors. None: the whole lexicon.
    use_rep
        The embedding whose genes and gene vectors are used.
    groupby
        Column of ``obs`` with groups, such as clusters or cell types.
    donor
        Column of ``obs``; groups are then tested over donors.
    min_cells
        A donor takes part in a group's test with at least so many cells inside and outside the group.
    directions
        Directions of ``obsm[use_rep]`` by name, each of shape ``(dim,)``, such as a principal component or the weights
        of a classifier: concepts are ranked by how far the vectors of their genes point along each.
    dense
        Use all genes with their signed cosines instead of the nearest. Thousands of faintly related genes then
        outweigh the few that the phrase is about, and scores can point the wrong way; offered for comparison.
    n_genes
        Genes a phrase.
    query_vectors
        Vectors of `queries`, shape ``(n_queries, dim)``, instead of embedding them.
    genes
        The gene vectors; None: those that `use_rep` was made from.
    layer, use_raw
        Where expression stands; default: where `use_rep` was computed from.
    key_added
        Key of the scores in ``obsm``.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obsm[key_added]``
        DataFrame of cells x phrases, float32; a "/" in a phrase is written as "∕" there.
    ``uns["lexicell"][use_rep]["concepts"]``
        ``sets``: one row a phrase: its number of genes and the nearest ten with their weights. ``table`` (with
        `groupby`): one row a group and phrase: ``score`` (difference of weighted mean z to all other cells), ``z``
        (against random sets), ``genes`` (those that contribute most), and with `donor` ``t``, ``p``, ``q``
        (Benjamini-Hochberg over all rows) and ``donors``. ``directions`` (with `directions`): one row a direction and
        phrase, nearest first: ``group`` (name of the direction), ``rank``, ``concept``, ``score`` (weighted mean of
        :math:`e_g \cdot u`, u of unit length), ``z`` (against random sets), ``genes``. ``params``.

    Raises
    ------
    MissingKeyError
        If a column is not there, or the gene vectors cannot be found.
    InputError
        If a query is empty or stands twice, vectors do not fit, or there is no lexicon for this embedder and no query.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.concepts(adata, ["B cell", "T cell cytotoxicity"], groupby="cell_type")
    >>> table = adata.uns["lexicell"]["X_text"]["concepts"]["table"]
    >>> table.query("concept == 'B cell'").sort_values("z").iloc[-1]["group"]
    'CD19+ B'
    """
    if adata.isbacked and copy:
        raise InputError("adata stands on disk, and copy=True would need it in memory: call adata.to_memory() first")
    adata = adata.copy() if copy else adata
    if donor is not None and groupby is None:
        raise InputError("donor= needs groupby=: donors serve to test groups")
    columns = [str(c) for c in adata.obs.columns]
    for column in (c for c in (groupby, donor) if c is not None):
        check_key(column, columns, "column in obs")
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases = _words.asked(queries, query_vectors, known)
    form = linear_form(adata, use_rep, genes) if directions else None
    groups = None
    if groupby is not None:
        groups = Groups.of(adata.obs[groupby], None if donor is None else adata.obs[donor], min_cells)
    like = recorded(adata, use_rep).get("params") or _words.text_entry(adata, use_rep).get("params")
    values = open_values(adata, layer=layer, use_raw=use_raw, like=like)
    work = ConceptPass(values, known)
    _, parts = ranges(values.n_cells, len(phrases.names))
    moments: Sums = {}
    for start, stop in parts:
        moments = add(moments, work.moments(start, stop))
    z = work.set_moments(moments)
    sets = work.set_phrases(phrases, None if dense else n_genes)
    scores, sums = np.empty((values.n_cells, len(phrases.names)), dtype=np.float32), Sums()
    for start, stop in parts:
        sums = add(sums, work.score(start, stop, scores[start:stop], groups))
    result: dict[str, Any] = {"sets": set_table(sets, phrases, z)}
    if groups is not None:
        result["table"] = group_table(groups, sums, sets, phrases, z)
    if form is not None and directions:
        result["directions"] = _directions(form, z, sets, phrases, directions)
    result["params"] = describe_params(
        phrases, values, groupby=groupby, donor=donor, min_cells=min_cells, dense=dense, n_genes=n_genes,
        key_added=key_added,
    )  # fmt: skip
    adata.obsm[key_added] = pd.DataFrame(scores, index=adata.obs_names, columns=_words.columns(phrases), copy=False)
    keep_results(adata, use_rep, {"concepts": result})
    return adata if copy else None


def describe_params(
    phrases: _words.Phrases,
    values: LogRows,
    *,
    groupby: str | None,
    donor: str | None,
    min_cells: int,
    dense: bool,
    n_genes: int,
    key_added: str,
) -> dict[str, Any]:
    """What was asked, as it stands in ``uns``."""
    return {
        "queries": len(phrases.names), "words": phrases.source, "groupby": groupby or "", "donor": donor or "",
        "min_cells": min_cells, "dense": dense, "n_genes": n_genes, "expression": values.params["slot"],
        "key_added": key_added,
    }  # fmt: skip


def _directions(
    form: LinearForm,
    z: ZGenes,
    sets: sp.csr_matrix,
    phrases: _words.Phrases,
    directions: Mapping[str, ArrayLike],
) -> pd.DataFrame:
    """Phrases whose genes point along each direction; a gene that acts by text and by expression does so in sum."""
    place = pd.Index(z.ids.astype(str)).get_indexer(pd.Index(form.ids.astype(str)))
    blocks = []
    for name, direction in directions.items():
        axis = np.asarray(direction, dtype=np.float64)
        if axis.shape != (form.vectors.shape[1],) or not axis.any() or not np.isfinite(axis).all():
            raise InputError(
                f"direction '{name}' must be {form.vectors.shape[1]} numbers, not all zero; got shape {axis.shape}"
            )
        loading = np.zeros(len(z.ids))
        np.add.at(loading, place[place >= 0], (form.vectors @ (axis / np.linalg.norm(axis)))[place >= 0])
        got = contrast_scores(loading, sets, z.mean)
        order = np.argsort(-got.z[0], kind="stable")
        blocks.append(
            pd.DataFrame(
                {
                    "group": str(name), "rank": np.arange(1, len(order) + 1), "concept": phrases.names[order],
                    "score": got.score[0, order], "z": got.z[0, order],
                    "genes": [_describe.leading(sets[q], loading, z.ids) for q in order],
                }
            )
        )  # fmt: skip
    return _describe.stack(blocks)
