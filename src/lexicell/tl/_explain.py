"""Which genes make groups, single cells, scores and decisions what they are: parts that add up to the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .. import _keys
from .._errors import InputError, MissingKeyError, check_choice, check_key
from .._results import keep_results, recorded
from ..core.classify import LinearClassifier
from ..core.concepts import N_GENES
from ..core.embedding import GeneEmbedding
from . import _describe, _splits, _words
from ._linear import LinearForm, linear_form
from ._splits import Rows, Split, Splitter

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["explain"]

REST = "rest"
NOTHING = "nothing"
SCORES = ("sparse", "dense", "cosine")
_OTHERS = "(all other genes)"
_CONSTANT = "(no gene)"
_SNIPPET = 100  # characters of a gene's text


def explain(
    adata: AnnData,
    *,
    groupby: str | None = None,
    group: str | None = None,
    cell: str | None = None,
    reference: str = REST,
    subset: Mapping[str, str] | None = None,
    concept: str | None = None,
    score: str | None = None,
    query_vectors: ArrayLike | None = None,
    direction: ArrayLike | None = None,
    classifier: LinearClassifier | None = None,
    label: str | None = None,
    use_rep: str = _keys.X_TEXT,
    n_genes: int = 25,
    genes: GeneEmbedding | None = None,
    key_added: str = "explain",
    copy: bool = False,
) -> AnnData | None:
    r"""Split the embedding, a difference, a score or a decision into genes, exactly.

    A cell embedding is :math:`c = \sum_g w_g e_g`. So the difference :math:`\delta` of two groups' means is a sum over
    genes, and the part of a gene is

    .. math:: a_g = \frac{\Delta w_g\; e_g \cdot \delta}{|\delta|^2}, \qquad \sum_g a_g = 1.

    A gene has a large part if its weight changes and its text points where the groups differ; a negative part works
    against the difference. Presets that scale cells to unit length are explained before scaling. In a fused
    representation a gene acts through its text and through its own expression; both parts are shown.

    This says what the numbers are made of. It does not test anything: clusters found in the same data cannot be tested
    on it, and for conditions :func:`lexicell.tl.vulnerability` tests over donors.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``, made by lexicell.
    groupby
        Column of ``obs``.
    group
        The group that is explained; None: each group in turn.
    cell
        Name of one cell to explain, instead of a group.
    reference
        What it is compared with: ``"rest"``, all other cells of the subset; another group; or ``"nothing"``: then the
        group's or the cell's own embedding, score or decision is explained.
    subset
        Only cells with these values, such as ``{"cell_type": "motor neuron"}`` to explain a condition within a type.
    concept
        Explain the score of this phrase (:func:`lexicell.tl.concepts`) instead: parts :math:`w_{qg} \Delta z_g` that
        sum to the raw score, and ``part_z``, which sum to the score on the scale of random gene sets.
    score
        How the concept is scored, ``"sparse"`` or ``"dense"``, as in :func:`lexicell.tl.concepts`; default: as it was
        when that was last called. A ``"cosine"`` is refused: it divides by a length and is no sum over genes.
    query_vectors
        Vector of `concept`, shape ``(dim,)``, instead of embedding it.
    direction
        Explain the difference along this vector of the embedding instead: parts that sum to the distance along it.
    classifier
        Explain the decision of a linear classifier (:class:`lexicell.core.classify.LinearClassifier`), in log odds,
        instead: of one cell or the mean of a group with ``reference="nothing"``, else the difference of two decisions.
    label
        The class whose decision that is; default: the second of two. With more than two, the decision is the score of
        the class less the mean score of all.
    use_rep
        Key of the representation in ``obsm``.
    n_genes
        Genes kept, by size of their part; the others are summed in one row, so that the column still adds up.
    genes
        The gene vectors; None: those that the representation was made from.
    key_added
        Name of the result within ``uns["lexicell"][use_rep]``.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][use_rep][key_added]``:

    ``table``
        One row a group and gene: ``group`` (or the cell's name), ``rank``, ``gene``, ``part``, ``part_text`` and
        ``part_expression`` (which sum to it), for a concept ``part_z``, ``change`` (of its weight), ``mean`` and
        ``mean_reference`` (of log expression), ``expression_change`` (their difference), ``text_source`` and ``text``
        (its beginning). Two more rows of rank 0 close the sum: all other genes, and what belongs to no gene (an
        intercept, the centre of a fused representation).
    ``totals``
        One row a group: ``cells``, ``cells_reference``, ``length`` (of the difference), ``whole`` (what parts sum to:
        1, a distance, a score or a decision), ``whole_z`` (for a concept), ``sum_of_parts``, ``n_genes``.
    ``params``

    Raises
    ------
    MissingKeyError
        If a column, a group, a cell or the gene vectors are not there.
    InputError
        If the representation cannot be taken apart, groups are empty or equal, more than one of `concept`, `direction`
        and `classifier` is given, or a cosine or a classifier of cells of unit length is to be explained.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.explain(adata, groupby="cell_type", group="CD19+ B")
    >>> float(adata.uns["lexicell"]["X_text"]["explain"]["table"]["part"].sum().round(6))
    1.0
    """
    adata = adata.copy() if copy else adata
    _check_options(concept, score, query_vectors, direction, classifier, label, n_genes)
    check_key(use_rep, [str(k) for k in adata.obsm], "representation in obsm")
    pairs = _pairs(adata, groupby, group, cell, reference, subset)
    form = linear_form(adata, use_rep, genes)
    options: dict[str, Any] = {}
    if concept is not None:
        split = _of_concept(adata, form, use_rep, genes, concept, score, query_vectors, options)
    elif classifier is not None:
        split = _splits.decision(form, classifier, label)
    else:
        split = _splits.embedding(form) if direction is None else _splits.along(form, direction)
    about = _about_genes(adata, use_rep, genes)
    blocks, totals = [], []
    for name, inside, outside in pairs:
        found = split(inside, outside)
        block = _block(found, n_genes)
        block.insert(0, "group", name)
        _add_expression(block, form, inside, outside)
        for column in ("text_source", "text"):
            block[column] = [about[column].get(str(g), "") for g in block["gene"]]
        blocks.append(block)
        totals.append(_totals(found, name, reference, inside, outside))
    result = {
        "table": _describe.stack(blocks),
        "totals": _describe.stack([pd.DataFrame(totals)]),
        "params": {
            "groupby": groupby or "", "cell": cell or "", "reference": reference, "concept": concept or "",
            "direction": "given" if direction is not None else "",
            "classifier": "given" if classifier is not None else "",
            "label": label or "", "n_genes": n_genes, "before_scaling": form.is_scaled,
            "subset": {str(k): str(v) for k, v in (subset or {}).items()}, **options,
        },
    }  # fmt: skip
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _check_options(
    concept: str | None,
    score: str | None,
    query_vectors: ArrayLike | None,
    direction: ArrayLike | None,
    classifier: LinearClassifier | None,
    label: str | None,
    n_genes: int,
) -> None:
    if sum(option is not None for option in (concept, direction, classifier)) > 1:
        raise InputError("give only one of concept=, direction= and classifier=, not both")
    if n_genes < 1:
        raise InputError(f"n_genes must be at least 1, got {n_genes}")
    if (score is not None or query_vectors is not None) and concept is None:
        raise InputError("score= and query_vectors= need concept=")
    if label is not None and classifier is None:
        raise InputError("label= needs classifier=")
    if score is not None and check_choice(score, SCORES, "score") == "cosine":
        raise InputError(
            "a cosine divides by the length of the cell, so it is no sum over genes and has no parts that add up; "
            'explain the score itself (score="sparse" or "dense"), or the distance along direction=, before cells are '
            "scaled to unit length"
        )


def _pairs(
    adata: AnnData,
    groupby: str | None,
    group: str | None,
    cell: str | None,
    reference: str,
    subset: Mapping[str, str] | None,
) -> list[tuple[str, Rows, Rows | None]]:
    """Name, cells, and the cells they are compared with."""
    if groupby is None and cell is None:
        raise InputError("name what is explained: groupby= for groups, or cell= for one cell")
    if group is not None and cell is not None:
        raise InputError("give either group= or cell=, not both")
    columns = [str(c) for c in adata.obs.columns]
    within = np.ones(adata.n_obs, dtype=bool)
    for column, value in (subset or {}).items():
        check_key(column, columns, "column in obs")
        here = adata.obs[column].astype(str)
        check_key(str(value), sorted(here.unique()), f"value of obs['{column}']")
        within &= (here == str(value)).to_numpy()
    labels, names = np.full(adata.n_obs, ""), []
    if groupby is not None:
        check_key(groupby, columns, "column in obs")
        known = adata.obs[groupby].notna().to_numpy()
        labels = adata.obs[groupby].astype(str).to_numpy(dtype=object)
        within = within & (known if cell is None else known | (adata.obs_names == cell))
        names = sorted({str(v) for v in labels[within & known]}, key=_natural)
    if group is not None:
        check_key(group, names, f"group of obs['{groupby}'] among these cells")
    if reference not in (REST, NOTHING):
        check_key(reference, [*names, REST, NOTHING], f"group of obs['{groupby}'] among these cells")
    if cell is not None:
        check_key(cell, adata.obs_names, "cell")
        wanted = [(str(cell), np.asarray(adata.obs_names == cell))]
    else:
        chosen = [group] if group is not None else [n for n in names if n != reference]
        wanted = [(str(name), labels == name) for name in chosen]
    pairs: list[tuple[str, Rows, Rows | None]] = []
    for name, mask in wanted:
        inside = within & mask
        outside = within & ~mask & (True if reference in (REST, NOTHING) else (labels == reference))
        if name == reference or not inside.any() or (reference != NOTHING and not outside.any()):
            raise InputError(f"'{name}' has no other cells to be compared with; name another reference=")
        pairs.append((name, np.flatnonzero(inside), None if reference == NOTHING else np.flatnonzero(outside)))
    if not pairs:
        raise InputError(f"obs['{groupby}'] holds no group beside '{reference}' among these cells")
    return pairs


def _natural(name: str) -> tuple[bool, int, str]:
    return not name.isdigit(), int(name) if name.isdigit() else 0, name


def _of_concept(
    adata: AnnData,
    form: LinearForm,
    use_rep: str,
    genes: GeneEmbedding | None,
    concept: str,
    score: str | None,
    vector: ArrayLike | None,
    options: dict[str, Any],
) -> Splitter:
    asked = recorded(adata, use_rep).get("concepts", {}).get("params", {})
    options["score"] = score or ("dense" if asked.get("dense", False) else "sparse")
    size = int(asked.get("n_genes", N_GENES))
    known = _words.gene_vectors(adata, use_rep, genes)
    phrase = _words.phrases_of([concept], known) if vector is None else _words.given(concept, vector, known)
    z = _words.zscores(form.values, known)
    weights = phrase.sets(z.vectors, n_genes=None if options["score"] == "dense" else size).toarray()
    if not weights.any():
        raise InputError(f"no gene has a text near '{concept}'; ask in other words")
    return _splits.concept(z, weights[0])


def _block(found: Split, n_genes: int) -> pd.DataFrame:
    """The genes with the largest parts, then one row for all others, and one for what belongs to no gene."""
    gene, first, where = np.unique(found.ids.astype(str), return_index=True, return_inverse=True)
    columns: dict[str, NDArray[np.float64]] = {
        "part": found.parts,
        "part_text": np.where(found.by_text, found.parts, 0.0),
        "part_expression": np.where(found.by_text, 0.0, found.parts),
    }
    if found.scaled is not None:
        columns["part_z"] = found.scaled
    # A gene that acts in both ways stands twice, with the same change.
    total = {name: np.bincount(where, weights=values, minlength=len(gene)) for name, values in columns.items()}
    order = np.lexsort((first, -np.abs(total["part"])))
    shown, others = order[:n_genes], order[n_genes:]
    rows: dict[str, list[Any]] = {"rank": list(range(1, len(shown) + 1)), "gene": list(gene[shown])}
    rows |= {name: list(values[shown]) for name, values in total.items()}
    rows["change"] = list(found.change[first[shown]])
    if len(others):
        _append(rows, _OTHERS, {name: float(values[others].sum()) for name, values in total.items()})
    if found.constant:
        _append(rows, _CONSTANT, {"part": found.constant})
    return pd.DataFrame(rows)


def _append(rows: dict[str, list[Any]], gene: str, values: Mapping[str, float]) -> None:
    empty: dict[str, Any] = {"rank": 0, "gene": gene, "change": float("nan")}
    for name, column in rows.items():
        column.append(empty[name] if name in empty else values.get(name, 0.0))


def _add_expression(block: pd.DataFrame, form: LinearForm, inside: Rows, outside: Rows | None) -> None:
    columns = form.values.rows(block["gene"].to_numpy(dtype=object))
    for name, rows in (("mean", inside), ("mean_reference", outside)):
        block[name] = np.nan
        if rows is not None:
            mean = np.asarray(form.values.log[rows][:, columns].mean(axis=0), dtype=np.float64).ravel()
            block[name] = np.where(columns >= 0, mean, np.nan)
    block["expression_change"] = block["mean"] - block["mean_reference"]


def _about_genes(adata: AnnData, use_rep: str, genes: GeneEmbedding | None) -> dict[str, dict[str, str]]:
    """Where each gene's text came from, and how it begins."""
    about: dict[str, dict[str, str]] = {"text_source": {}, "text": {}}
    entry = recorded(adata, use_rep)
    column = _keys.gene_source(_keys.prefix(str(entry.get("based_on", use_rep))))
    if column in adata.var:
        about["text_source"] = {str(g): str(s) for g, s in adata.var[column].items()}
    if genes is None and "gene_embedding" not in entry and "based_on" not in entry:
        return about  # the expression baseline needs no texts
    try:
        known = _words.gene_vectors(adata, use_rep, genes)
    except MissingKeyError:
        return about
    about["text"] = {str(g): _snippet(str(t)) for g, t in zip(known.ids, known.texts, strict=True)}
    return about


def _snippet(text: str) -> str:
    return text if len(text) <= _SNIPPET else text[:_SNIPPET].rsplit(" ", 1)[0] + " …"


def _totals(found: Split, name: str, reference: str, inside: Rows, outside: Rows | None) -> dict[str, Any]:
    row = {
        "group": name, "reference": reference, "cells": len(inside),
        "cells_reference": 0 if outside is None else len(outside), "length": found.length, "whole": found.whole,
    }  # fmt: skip
    if found.scaled is not None:
        row["whole_z"] = float(found.scaled.sum())
    return row | {"sum_of_parts": float(found.parts.sum()) + found.constant, "n_genes": len(set(found.ids))}
