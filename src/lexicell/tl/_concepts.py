"""Ask cells in words: how far each cell and each group expresses a phrase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .. import _keys
from .._errors import InputError, check_key
from .._results import keep_results, recorded
from .._values import read_values
from ..core.concepts import N_GENES, cell_zscores, contrast_scores
from ..core.donors import donor_means
from ..core.embedding import GeneEmbedding
from ..core.moderated import moderated_t
from ..core.shift import Design
from ..core.vulnerability import adjust_bh
from . import _describe, _words
from ._linear import LinearForm, linear_form

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["concepts"]

_MIN_DONORS = 3


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
        Cells with expression; only gene vectors are taken from the representation.
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
    adata = adata.copy() if copy else adata
    if donor is not None and groupby is None:
        raise InputError("donor= needs groupby=: donors serve to test groups")
    columns = [str(c) for c in adata.obs.columns]
    for column in (c for c in (groupby, donor) if c is not None):
        check_key(column, columns, "column in obs")
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases = _words.asked(queries, query_vectors, known)
    form = linear_form(adata, use_rep, genes) if directions else None
    like = recorded(adata, use_rep).get("params") or _words.text_entry(adata, use_rep).get("params")
    values = read_values(adata, layer=layer, use_raw=use_raw, like=like)
    z = _words.zscores(values, known)
    sets = phrases.sets(z.vectors, n_genes=None if dense else n_genes)
    scores = cell_zscores(z.deviations, z.baseline, sets, z.mean)
    result: dict[str, Any] = {"sets": _sets(sets, phrases, z)}
    if groupby is not None:
        result["table"] = _groups(adata, z, sets, phrases, groupby, donor, min_cells)
    if form is not None and directions:
        result["directions"] = _directions(form, z, sets, phrases, directions)
    result["params"] = {
        "queries": len(phrases.names), "words": phrases.source, "groupby": groupby or "", "donor": donor or "",
        "min_cells": min_cells, "dense": dense, "n_genes": n_genes, "expression": values.params["slot"],
        "key_added": key_added,
    }  # fmt: skip
    # A "/" would be read as a folder in an h5ad.
    adata.obsm[key_added] = pd.DataFrame(
        scores, index=adata.obs_names, columns=[str(n).replace("/", "∕") for n in phrases.names]
    )
    keep_results(adata, use_rep, {"concepts": result})
    return adata if copy else None


def _directions(
    form: LinearForm,
    z: _words.ZScores,
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


def _sets(sets: sp.csr_matrix, phrases: _words.Phrases, z: _words.ZScores) -> pd.DataFrame:
    nearest = []
    for row in sets:
        order = np.argsort(-row.data, kind="stable")[:10]
        nearest.append(", ".join(f"{z.ids[row.indices[i]]} {row.data[i]:.3f}" for i in order))
    return _describe.stack([
        pd.DataFrame({"concept": phrases.names, "n_genes": np.diff(sets.indptr), "nearest_genes": nearest})
    ])  # fmt: skip


def _groups(
    adata: AnnData,
    z: _words.ZScores,
    sets: sp.csr_matrix,
    phrases: _words.Phrases,
    groupby: str,
    donor: str | None,
    min_cells: int,
) -> pd.DataFrame:
    names, codes = _codes(adata.obs[groupby], groupby)
    rows = np.flatnonzero(codes >= 0)
    labelled = _words.ZScores(z.ids, z.vectors, sp.csr_matrix(z.deviations[rows]), z.baseline, z.mean, z.sd)
    changes = _describe.against_rest(labelled, codes[rows], len(names))
    got = contrast_scores(changes, sets, z.mean)
    blocks = [
        pd.DataFrame(
            {
                "group": name, "concept": phrases.names, "score": got.score[k], "z": got.z[k],
                "genes": [_describe.leading(sets[q], changes[k], z.ids) for q in range(len(phrases.names))],
            }
        )
        for k, name in enumerate(names)
    ]  # fmt: skip
    if donor is not None:
        _, donors = _codes(adata.obs[donor], donor)
        for block, tested in zip(
            blocks, _tests(labelled, sets, codes[rows], donors[rows], names, min_cells), strict=True
        ):
            for column, entries in tested.items():
                block[column] = entries
    table = _describe.stack(blocks)
    if donor is not None:
        table["q"] = adjust_bh(table["p"].to_numpy())
    return table


def _codes(values: pd.Series, what: str) -> tuple[list[str], NDArray[np.int64]]:
    labels = values.astype(object).where(values.notna())
    kinds = pd.Categorical(labels.map(lambda v: v if v is None or v != v else str(v)))
    if len(kinds.categories) < 2:
        raise InputError(
            f"the column '{what}' holds {len(kinds.categories)} groups; at least two are needed to compare"
        )
    return [str(c) for c in kinds.categories], kinds.codes.astype(np.int64)


def _tests(
    z: _words.ZScores,
    sets: sp.csr_matrix,
    codes: NDArray[np.int64],
    donors: NDArray[np.int64],
    names: list[str],
    min_cells: int,
) -> list[dict[str, Any]]:
    """Moderated t over donors of each group's score minus that of the donor's other cells."""
    n_donors, n_phrases = int(donors.max()) + 1, sets.shape[0]
    # One pass over the cells: the others of a donor are all its cells less those of the group.
    means = donor_means(z.deviations, codes, donors, n_types=len(names), n_donors=n_donors, min_cells=1)
    sums = np.nan_to_num(means.means @ sets.T.toarray()) * means.counts[..., None]
    out = []
    for k in range(len(names)):
        inside, outside = means.counts[k], means.counts.sum(axis=0) - means.counts[k]
        both = (inside >= min_cells) & (outside >= min_cells)
        entry: dict[str, Any] = {c: np.full(n_phrases, np.nan) for c in ("t", "p")} | {"donors": int(both.sum())}
        if both.sum() >= _MIN_DONORS:
            rest = (sums.sum(axis=0) - sums[k])[both] / outside[both, None]
            differences = sums[k, both] / inside[both, None] - rest
            found = moderated_t(differences, Design.of(np.ones(both.sum()), is_paired=True), shared_noise=True)
            entry["t"], entry["p"] = found.t, found.p
        out.append(entry)
    return out
