"""Score cells and groups of cells by phrases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike

from .. import _keys
from .._errors import InputError, check_column
from .._expression import Expression, open_values
from .._results import keep_results, recorded_params, stack_tables
from ..core.expression.sums import add_sums
from ..core.genes.concepts import contrast_scores
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.retrieval import N_GENES
from . import _describe
from . import words as _words
from ._linear import LinearForm, linear_form
from .concept_pass import ConceptPass, Groups, describe_params, group_table, ranges, set_tables
from .words import ZGenes

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["concepts"]


def concepts(
    adata: AnnData,
    queries: _words.Queries | None = None,
    *,
    use_rep: str = _keys.X_TEXT,
    groupby: str | None = None,
    donor: str | None = None,
    min_cells: int = 8,
    directions: Mapping[str, ArrayLike] | None = None,
    n_genes: int = N_GENES,
    genes: GeneEmbedding | None = None,
    expression: Expression | None = None,
    key_added: str = "concepts",
    copy: bool = False,
) -> AnnData | None:
    r"""Score cells, and groups of cells, by phrases.

    A phrase stands for the `n_genes` genes that a search finds for it: by the meaning of their texts, by their words,
    by what is curated about them, and by name. The weight :math:`w_{qg}` of a gene is its score in the search
    (:mod:`lexicell.core.genes.retrieval` has the formula), scaled to sum to 1; genes that score far below the best of
    all human genes are left out, so that unrelated genes do not stand in for those a panel lacks. Genes are chosen
    from the phrase alone, never from the data. A cell's raw score is :math:`\sum_g w_{qg} z_g`, with z the z-score of
    log expression over all cells. What is written is its distance from random gene sets with the same weights and the
    same expression, in their standard deviations: a scale on which cells and phrases can be compared, not a test.
    There are no p values for single cells.

    With `groupby`, each group is compared with all other cells; with `donor` too, donor by donor, which allows a test:
    in every donor the mean score of the group minus that of the donor's other cells, then a moderated t over donors.
    For conditions use :func:`lexicell.tl.vulnerability`, which compares donors.

    Parameters
    ----------
    adata
        Cells with expression, in memory or backed: it is read some cells at a time, twice. Only gene vectors are taken
        from the representation. For a file whose scores do not fit either, :func:`lexicell.stream.concepts`.
    queries
        Phrases. Names of cell types and phrases of :func:`lexicell.sources.lexicon.load` need no model; others are
        embedded with the embedder that made the gene vectors. ``{phrase: vector}``
        brings vectors of that embedder. None: the cell types and processes of the lexicon.
    use_rep
        The embedding whose genes and gene vectors are used.
    groupby
        Column of ``obs`` with groups, such as clusters or cell types.
    donor
        Column of ``obs``; groups are then tested over donors.
    min_cells
        Cells a donor needs inside and outside a group to be part of its test.
    directions
        Directions of ``obsm[use_rep]`` by name, each of shape ``(dim,)``, such as a principal component or the weights
        of a classifier: concepts are ranked by how far the vectors of their genes point along each.
    n_genes
        Genes per phrase at most.
    genes
        The gene vectors; None: those that `use_rep` was made from.
    expression
        Which matrix is read, and what its values are; None: that of `use_rep`.
    key_added
        Name of the result, and end of the key of the scores in ``obsm``.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obsm["text_concepts"]`` (prefix of `use_rep`, and `key_added`)
        DataFrame of cells x phrases, float32; a "/" in a phrase is written as "∕" there.
    ``uns["lexicell"][use_rep][key_added]``
        ``sets``: one row per phrase: its number of genes and the first ten with their weights. ``genes``: one row per
        phrase and gene: ``concept``, ``gene``, ``weight`` and ``reason``, such as "annotated to GO:0030182 neuron
        differentiation" or "known gene of 'astrocyte'" (for up to 100 phrases). ``table`` (with `groupby`): one row
        per group and phrase: ``score`` (difference of weighted mean z to all other cells), ``z`` (against random
        sets), ``genes`` (those that contribute most), and with `donor` ``t``, ``p``, ``q``
        (Benjamini-Hochberg over all rows) and ``donors``. ``directions`` (with `directions`): one row per direction and
        phrase, nearest first: ``group`` (name of the direction), ``rank``, ``concept``, ``score`` (weighted mean of
        :math:`e_g \cdot u`, u of unit length), ``z`` (against random sets), ``genes``. ``params``.

    Raises
    ------
    MissingKeyError
        If a column is not there, or the gene vectors cannot be found.
    InputError
        If a query is empty or given twice, or there is no query and no word of the lexicon finds a gene.

    Warns
    -----
    UserWarning
        If a phrase finds no gene, holds a word that is in no text, or is longer than the model reads.

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
        raise InputError("adata is on disk, and copy=True would need it in memory: call adata.to_memory() first")
    adata = adata.copy() if copy else adata
    if donor is not None and groupby is None:
        raise InputError("donor= needs groupby=: donors serve to test groups")
    for column in (c for c in (groupby, donor) if c is not None):
        check_column(adata.obs, column)
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases = _words.asked(queries, known)
    form = linear_form(adata, use_rep, genes) if directions else None
    groups = None
    if groupby is not None:
        groups = Groups.of(adata.obs[groupby], None if donor is None else adata.obs[donor], min_cells)
    values = open_values(adata, expression or Expression(), like=recorded_params(adata, use_rep))
    work = ConceptPass(values, known)
    _, parts = ranges(values.n_cells, len(phrases.names))
    # Two passes: z-scores need the moments of all cells before any cell can be scored.
    z = work.set_moments(add_sums(work.moments(start, stop) for start, stop in parts))
    sets = work.set_phrases(phrases, n_genes)
    scores = np.empty((values.n_cells, len(phrases.names)), dtype=np.float32)
    sums = add_sums(work.score(start, stop, scores[start:stop], groups) for start, stop in parts)
    result: dict[str, Any] = dict(set_tables(sets, phrases, z))
    if groups is not None:
        result["table"] = group_table(groups, sums, sets, phrases, z)
    if form is not None and directions:
        result["directions"] = _directions(form, z, sets, phrases, directions)
    result["params"] = describe_params(
        phrases, values, groupby=groupby, donor=donor, min_cells=min_cells, n_genes=n_genes
    )
    frame = pd.DataFrame(scores, index=adata.obs_names, columns=_words.columns(phrases), copy=False)
    adata.obsm[f"{_keys.prefix(use_rep)}_{key_added}"] = frame
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


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
        # A fused representation has two rows per gene, by text and by expression; both point along the direction.
        np.add.at(loading, place[place >= 0], (form.vectors @ (axis / np.linalg.norm(axis)))[place >= 0])
        got = contrast_scores(loading, sets, z.mean)
        order = np.argsort(-got.z[0], kind="stable")
        columns = {
            "group": str(name),
            "rank": np.arange(1, len(order) + 1),
            "concept": phrases.names[order],
            "score": got.score[0, order],
            "z": got.z[0, order],
            "genes": [_describe.leading(sets[q], loading, z.ids) for q in order],
        }
        blocks.append(pd.DataFrame(columns))
    return stack_tables(blocks)
