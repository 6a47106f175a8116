"""Cell types suggested from descriptions, or from a handful of labelled cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .. import __version__
from .._errors import InputError, check_key, choices
from .._keys import SUGGESTED, X_TEXT, column_name
from .._results import keep_results, recorded
from .._values import Values, read_values
from ..core.annotation import few_shot, gene_symbols, mask, refined, standardised, suggestion_weights, type_scores
from ..core.embedding import GeneEmbedding
from ..core.transfer import smooth
from . import _describe, _sides, _words
from ._words import Phrases, ZScores

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["annotate"]

UNSURE = "unsure"


def annotate(
    adata: AnnData,
    types: Mapping[str, str] | Sequence[str] | None = None,
    *,
    group: str | Sequence[str] | None = None,
    groupby: str | None = None,
    examples: str | None = None,
    use_rep: str = X_TEXT,
    min_score: float = 0.5,
    min_margin: float = 0.25,
    smoothing: bool | None = None,
    refine: bool = True,
    type_vectors: ArrayLike | None = None,
    genes: GeneEmbedding | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    library_size: str | None = None,
    key_added: str = SUGGESTED,
    copy: bool = False,
) -> AnnData | None:
    """Suggest a cell type for each cell and group from what is written about types and genes. A suggestion, no label.

    Each description stands for the genes whose texts are nearest it (10, 25, 50 and 100 of them in turn, after what
    all candidates have in common was taken away). A cell scores by the mean z of these genes, standardised over the
    cells type by type, and smoothed over the neighbour graph of expression; then the clearest cells of each type stand
    as examples for the others (:func:`lexicell.core.annotation.refined`). So scores compare cells with each other: a
    type that no cell is of will still have a best cell. Candidates should be the types that the tissue may hold.

    A description that names a gene symbol would look up a marker rather than understand a text. Such symbols are
    masked before the description is embedded, they are reported, and what they alone would suggest stands beside.

    Parameters
    ----------
    adata
        Cells with expression.
    types
        Candidates: name -> description by function, or names of the shipped cell types
        (:func:`lexicell.sources.cell_types.load`). None: all shipped ones of `group`.
    group
        Group of the shipped types, such as ``"immune"`` or ``["neuron", "glia"]``.
    groupby
        Column of ``obs``, such as clusters: a suggestion for each group as well.
    examples
        Column of ``obs`` with the types of a few cells, empty elsewhere: few-shot. Then cells are compared with the
        means of these examples in the principal components of expression, and descriptions are not used.
    use_rep
        The embedding whose gene vectors, slot and library sizes are used.
    min_score, min_margin
        A cell or group is ``"unsure"`` where its best score, or its lead over the second, is smaller; in standard
        deviations over the cells (few-shot: cosine, where the lead counts alone).
    smoothing
        Spread scores over the 15 nearest neighbours in 20 principal components of expression. None: with descriptions
        yes; with `examples` no, since it lost accuracy from three labelled cells a type on (``docs/transfer.md``).
    refine
        Add the nearness, in these components, to the cells that lead most clearly for each type. Not in few-shot, where
        the examples are given. Where most candidates are absent it makes wrong suggestions surer, too.
    type_vectors
        Vectors of the descriptions, instead of embedding them.
    genes
        The gene vectors; None: those that `use_rep` was made from.
    layer, use_raw, library_size
        Where expression stands; default: where `use_rep` was computed from.
    key_added
        Prefix of what is written.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obs[key_added]``
        Suggested type, categorical, or ``"unsure"``.
    ``obs[key_added + "_best"]``, ``"_runner_up"``, ``"_score"``, ``"_margin"``
        The best type whatever its lead, the second, the best score and its lead.
    ``obsm[key_added]``
        DataFrame of cells x types, float32; a "/" in a name is written as "∕" there.
    ``uns["lexicell"][key_added]``
        ``types`` (a row a type: description, symbols masked, genes it stands for, and, where symbols were named, the
        correlation over cells of its score with the plain mean z of these markers), ``table`` (with `groupby`, a row a
        group: ``suggested``, ``best``, ``runner_up``, ``score``, ``margin``, ``share`` of its cells with that best
        type, ``genes`` that speak for it, and ``by_markers``, the best type by named markers alone), ``scores``
        (mean score of each group and type), ``params``.

    Raises
    ------
    InputError
        If there are fewer than two candidates, one is unknown or empty, or nothing but symbols stands in a description.
    MissingKeyError
        If a column or the gene vectors are not there.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> kinds = ["T cell", "B cell", "natural killer cell", "monocyte", "dendritic cell"]
    >>> lx.tl.annotate(adata, kinds, groupby="cell_type")
    >>> table = adata.uns["lexicell"]["text_suggested"]["table"].set_index("group")
    >>> table.loc["CD19+ B", "suggested"]
    'B cell'
    """
    adata = adata.copy() if copy else adata
    columns = [str(c) for c in adata.obs.columns]
    for column in (c for c in (groupby, examples) if c is not None):
        check_key(column, columns, "column in obs")
    if examples is not None and (types is not None or group is not None):
        raise InputError("give either examples= (labelled cells) or types= (descriptions), not both")
    smoothing = examples is None if smoothing is None else smoothing
    like = recorded(adata, use_rep).get("params") or _words.text_entry(adata, use_rep).get("params")
    result: dict[str, Any] = {}
    z, by_markers = None, None
    if examples is None:
        known = _words.gene_vectors(adata, use_rep, genes)
        names, descriptions, symbols, phrases = _candidates(types, group, type_vectors, known)
        values = read_values(adata, layer=layer, use_raw=use_raw, library_size=library_size, like=like)
        z = _words.zscores(values, known)
        sets = suggestion_weights(z.vectors, phrases.vectors)
        scores = type_scores(z.deviations, z.baseline, sets)
        if smoothing or refine:
            cells = _components(values)
            scores = standardised(smooth(scores, cells)) if smoothing else scores
            scores = refined(scores, cells) if refine else scores
        by_markers = _marker_scores(z, symbols)
        result["types"] = _types(names, descriptions, symbols, sets[0], z, scores, by_markers)
        source = phrases.source
    else:
        values = read_values(adata, layer=layer, use_raw=use_raw, library_size=library_size, like=like)
        names, scores = _from_examples(adata, examples, values, smoothing)
        min_score, source = -np.inf, f"examples in obs['{examples}']"
    _write(adata, names, scores, key_added, min_score, min_margin)
    if groupby is not None:
        result["table"], result["scores"] = _by_group(
            adata, groupby, names, scores, min_score, min_margin, z, by_markers, result
        )
    result["params"] = {
        "candidates": len(names), "source": source, "groupby": groupby or "", "examples": examples or "",
        "use_rep": use_rep, "min_score": float(min_score), "min_margin": float(min_margin), "smoothing": smoothing,
        "refine": refine and examples is None,
        "expression": values.params["slot"], "key_added": key_added, "lexicell": __version__,
    }  # fmt: skip
    keep_results(adata, key_added, result, replace=True)
    return adata if copy else None


def _candidates(
    types: Mapping[str, str] | Sequence[str] | None,
    group: str | Sequence[str] | None,
    vectors: ArrayLike | None,
    genes: GeneEmbedding,
) -> tuple[list[str], list[str], list[list[str]], Phrases]:
    """Names, descriptions, the symbols these name, and vectors of what is left when they are masked."""
    from ..sources import cell_types

    if isinstance(types, str):
        types = [types]
    table, shipped = cell_types.load(group)
    if isinstance(types, Mapping):
        names, descriptions = [str(n) for n in types], [str(d).strip() for d in types.values()]
    else:
        known = dict(zip(table["cell_type"], table["description"], strict=True))
        names = list(known) if types is None else [str(t) for t in types]
        for name in names:
            check_key(name, known, "shipped cell type")
        descriptions = [known[name] for name in names]
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(f"suggestions need two or more distinct types to choose from; got {choices(names)}")
    for name, description in zip(names, descriptions, strict=True):
        if not description:
            raise InputError(f"the description of '{name}' is empty; say what such cells do")
    ids = {str(g) for g in genes.ids}
    symbols = [gene_symbols(d, ids) for d in descriptions]
    masked = [mask(d, s) for d, s in zip(descriptions, symbols, strict=True)]
    for name, left in zip(names, masked, strict=True):
        if not left:
            raise InputError(
                f"the description of '{name}' names genes only; say what such cells do, or score markers with scanpy"
            )
    if vectors is not None:
        matrix = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        if len(matrix) != len(names):
            raise InputError(f"{len(matrix)} vectors do not fit {len(names)} types")
        return names, descriptions, symbols, Phrases(np.asarray(names, dtype=object), matrix, "given")
    space = f"{_words.embedder_of(genes)}@{genes.provenance.get('revision', '')}/{genes.dim}"
    texts = {d: row for row, d in enumerate(table["description"])}
    if cell_types.manifest()["space"] == space and all(d in texts for d in masked):
        chosen = shipped[[texts[d] for d in masked]]
        return names, descriptions, symbols, Phrases(np.asarray(names, dtype=object), chosen, "shipped cell types")
    if len(set(masked)) != len(masked):
        raise InputError("two descriptions say the same (without the gene symbols they name)")
    made = _words.embed_queries(masked, genes)
    return names, descriptions, symbols, Phrases(np.asarray(names, dtype=object), made.vectors, made.source)


def _components(values: Values) -> NDArray[np.float64]:
    return _sides.own_components(values, 20, 1000)[1]


def _marker_scores(z: ZScores, symbols: list[list[str]]) -> NDArray[np.float64] | None:
    """Mean z of the named genes, NaN for types that name none; None where no type does."""
    if not any(symbols):
        return None
    out = np.full((z.deviations.shape[0], len(symbols)), np.nan)
    place = {str(g): i for i, g in enumerate(z.ids)}
    for k, named in enumerate(symbols):
        at = [place[s] for s in named if s in place]
        if at:
            out[:, k] = np.asarray(z.deviations[:, at].mean(axis=1)).ravel() + z.baseline[at].mean()
    return out


def _types(
    names: list[str],
    descriptions: list[str],
    symbols: list[list[str]],
    sets: Any,
    z: ZScores,
    scores: NDArray[np.float64],
    by_markers: NDArray[np.float64] | None,
) -> pd.DataFrame:
    from scipy.stats import spearmanr

    nearest = []
    for row in sets:
        order = np.argsort(-row.data, kind="stable")[:10]
        nearest.append(", ".join(str(z.ids[row.indices[i]]) for i in order))
    frame = pd.DataFrame({
        "type": names, "description": descriptions, "marker_look_up": [", ".join(s) for s in symbols],
        "masked": [mask(d, s) for d, s in zip(descriptions, symbols, strict=True)], "nearest_genes": nearest,
    })  # fmt: skip
    agreement = np.full(len(names), np.nan)
    if by_markers is not None:
        for k in range(len(names)):
            if np.isfinite(by_markers[:, k]).all() and by_markers[:, k].std() > 0 and scores[:, k].std() > 0:
                agreement[k] = spearmanr(by_markers[:, k], scores[:, k]).statistic
    frame["agreement_with_markers"] = agreement
    return _describe.stack([frame])


def _from_examples(
    adata: AnnData, column: str, values: Values, smoothing: bool
) -> tuple[list[str], NDArray[np.float64]]:
    labels = adata.obs[column]
    given = labels.notna().to_numpy() & (labels.astype(str).to_numpy() != "")
    names = sorted(set(labels[given].map(str)))
    if len(names) < 2:
        raise InputError(f"obs['{column}'] holds {len(names)} types; examples of two or more are needed")
    codes = np.full(adata.n_obs, -1, dtype=np.int64)
    codes[given] = pd.Index(names).get_indexer(pd.Index(labels[given].map(str)))
    cells = _components(values)
    scores = few_shot(cells, codes, len(names))
    return names, smooth(scores, cells) if smoothing else scores


def _best(scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Any, Any]:
    order = np.argsort(-scores, axis=1, kind="stable")
    rows = np.arange(len(scores))
    top = scores[rows, order[:, 0]]
    return order[:, 0], order[:, 1], top, top - scores[rows, order[:, 1]]


def _write(
    adata: AnnData, names: list[str], scores: NDArray[np.float64], key: str, min_score: float, min_margin: float
) -> None:
    first, second, top, margin = _best(scores)
    kinds = np.asarray(names, dtype=object)
    final = np.where((top >= min_score) & (margin >= min_margin), kinds[first], UNSURE)
    adata.obs[key] = pd.Categorical(final, categories=[*names, *([] if UNSURE in names else [UNSURE])])
    adata.obs[f"{key}_best"] = pd.Categorical(kinds[first], categories=names)
    adata.obs[f"{key}_runner_up"] = pd.Categorical(kinds[second], categories=names)
    adata.obs[f"{key}_score"], adata.obs[f"{key}_margin"] = top, margin
    columns = [column_name(n) for n in names]
    adata.obsm[key] = pd.DataFrame(scores.astype(np.float32), index=adata.obs_names, columns=columns)


def _by_group(
    adata: AnnData,
    groupby: str,
    names: list[str],
    scores: NDArray[np.float64],
    min_score: float,
    min_margin: float,
    z: ZScores | None,
    by_markers: NDArray[np.float64] | None,
    result: dict[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = adata.obs[groupby]
    known = labels.notna().to_numpy()
    groups = sorted(set(labels[known].map(str)))
    codes = pd.Index(groups).get_indexer(pd.Index(labels.astype(object).map(str)))
    codes[~known] = -1
    means = np.stack([scores[codes == k].mean(axis=0) for k in range(len(groups))])
    first, second, top, margin = _best(means)
    each = _best(scores)[0]
    sure = (top >= min_score) & (margin >= min_margin)
    frame = pd.DataFrame({
        "group": groups, "cells": np.bincount(codes[known], minlength=len(groups)),
        "suggested": [names[f] if s else UNSURE for f, s in zip(first, sure, strict=True)],
        "best": [names[f] for f in first], "runner_up": [names[s] for s in second], "score": top, "margin": margin,
        "share": [float((each[codes == k] == first[k]).mean()) for k in range(len(groups))],
    })  # fmt: skip
    if z is not None:
        changes = _describe.against_rest(
            replace(z, deviations=sp.csr_matrix(z.deviations[np.flatnonzero(known)])), codes[known], len(groups)
        )
        place = {str(g): i for i, g in enumerate(z.ids)}
        near = [[place[g] for g in str(t).split(", ") if g in place] for t in result["types"]["nearest_genes"]]
        frame["genes"] = [
            ", ".join(str(z.ids[g]) for g in sorted(near[first[k]], key=lambda g: -row[g])[:5] if row[g] > 0)
            for k, row in enumerate(changes)
        ]
    if by_markers is not None:
        mean = np.stack([by_markers[codes == k].mean(axis=0) for k in range(len(groups))])
        frame["by_markers"] = [names[int(np.nanargmax(m))] if np.isfinite(m).any() else "" for m in mean]
    columns = [column_name(n) for n in names]
    return _describe.stack([frame]), pd.DataFrame(means, index=pd.Index(groups, dtype=object), columns=columns)
