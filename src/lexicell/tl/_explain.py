"""Embeddings, differences, scores and decisions as exact sums over genes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .. import _keys
from .._errors import InputError, MissingKeyError, check_column, check_key
from .._keys import OTHER_GENES
from .._results import keep_results, recorded, stack_tables
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.retrieval import N_GENES
from ..core.transfer.classify import LinearClassifier
from . import _splits
from . import words as _words
from ._linear import LinearForm, linear_form
from ._splits import Rows, Split, Splitter

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["explain", "gene_rows"]

REST = "rest"
NOTHING = "nothing"
_CONSTANT = "(no gene)"
_SNIPPET = 100  # characters of a gene's text


def explain(
    adata: AnnData,
    *,
    groupby: str | None = None,
    group: str | None = None,
    reference: str = REST,
    subset: Mapping[str, str] | None = None,
    concept: str | Mapping[str, ArrayLike] | None = None,
    direction: ArrayLike | LinearClassifier | None = None,
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

    This is a decomposition, not a test: clusters found in the same data cannot be tested on it. For conditions,
    :func:`lexicell.tl.vulnerability` tests over donors.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``, made by lexicell.
    groupby
        Column of ``obs``.
    group
        The group that is explained, or the name of one cell; None: each group in turn.
    reference
        What it is compared with: ``"rest"``, all other cells of the subset; another group; or ``"nothing"``: then the
        group's or the cell's own embedding, score or decision is explained.
    subset
        Only cells with these values, such as ``{"cell_type": "motor neuron"}`` to explain a condition within a type.
    concept
        Explain the score of this phrase (:func:`lexicell.tl.concepts`) instead: parts :math:`w_{qg} \Delta z_g` that
        sum to the raw score, and ``part_z``, which sum to the score on the scale of random gene sets.
        ``{phrase: vector}`` to bring the phrase's own vector, shape ``(dim,)``.
    direction
        Explain the difference along this vector of the embedding instead: parts that sum to the distance along it. Or
        a linear classifier of two classes (:class:`lexicell.core.transfer.classify.LinearClassifier`; of several, take
        ``classifier.one_class(label)``): parts of its decision in log odds, of one cell or the mean of a group with
        ``reference="nothing"``, else of the difference of two decisions.
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
        One row per group and gene: ``group`` (or the cell's name), ``rank``, ``gene``, ``part``, ``part_text`` and
        ``part_expression`` (which sum to it), for a concept ``part_z``, ``change`` (of its weight), ``mean`` and
        ``mean_reference`` (of log expression), ``expression_change`` (their difference), ``text_source`` and ``text``
        (its beginning). Two more rows of rank 0 close the sum: all other genes, and what belongs to no gene (an
        intercept, the center of a fused representation).
    ``totals``
        One row per group: ``cells``, ``cells_reference``, ``length`` (of the difference), ``whole`` (what parts sum to:
        1, a distance, a score or a decision), ``whole_z`` (for a concept), ``sum_of_parts``, ``n_genes``.
    ``params``

    Raises
    ------
    MissingKeyError
        If a column, a group, a cell or the gene vectors are not found.
    InputError
        If the representation cannot be split into genes, groups are empty or equal, both `concept` and `direction` are
        given, or a classifier of cells of unit length is to be explained.

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
    if concept is not None and direction is not None:
        raise InputError("give only one of concept= and direction=, not both")
    if n_genes < 1:
        raise InputError(f"n_genes must be at least 1, got {n_genes}")
    check_key(use_rep, [str(k) for k in adata.obsm], "representation in obsm")
    pairs = _pairs(adata, groupby, group, reference, subset)
    # Refused here if counts or vectors changed since: parts of other numbers would be reported otherwise.
    form = linear_form(adata, use_rep, genes)
    what = {"concept": "", "direction": "", "classifier": ""}
    if concept is not None:
        what["concept"], split = _of_concept(adata, form, use_rep, genes, concept)
    elif isinstance(direction, LinearClassifier):
        what["classifier"] = "given"
        split = _splits.decision(form, direction)
    elif direction is not None:
        what["direction"] = "given"
        split = _splits.along(form, direction)
    else:
        split = _splits.embedding(form)
    sources, texts = _about_genes(adata, use_rep, genes)
    blocks, totals = [], []
    for name, inside, outside in pairs:
        found = split(inside, outside)
        block = gene_rows(found, n_genes)
        block.insert(0, "group", name)
        _add_expression(block, form, inside, outside)
        block["text_source"] = [sources.get(gene, "") for gene in block["gene"]]
        block["text"] = [texts.get(gene, "") for gene in block["gene"]]
        blocks.append(block)
        totals.append(_totals(found, name, reference, inside, outside))
    result = {
        "table": stack_tables(blocks),
        "totals": stack_tables([pd.DataFrame(totals)]),
        "params": {
            "groupby": groupby or "",
            "reference": reference,
            "subset": {str(k): str(v) for k, v in (subset or {}).items()},
            **what,
            "n_genes": n_genes,
            "before_scaling": form.is_scaled,
        },
    }
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _pairs(
    adata: AnnData, groupby: str | None, group: str | None, reference: str, subset: Mapping[str, str] | None
) -> list[tuple[str, Rows, Rows | None]]:
    """Name and cells of all that is explained, and the cells they are compared with."""
    if groupby is None and group is None:
        raise InputError("name what is explained: groupby= for groups, or group= for one cell")
    within = _within(adata, subset)
    labels, names = np.full(adata.n_obs, "", dtype=object), []
    grouped = np.ones(adata.n_obs, dtype=bool)
    if groupby is not None:
        check_column(adata.obs, groupby)
        grouped = adata.obs[groupby].notna().to_numpy()
        labels = adata.obs[groupby].astype(str).to_numpy(dtype=object)
        names = sorted({str(v) for v in labels[within & grouped]}, key=_natural)
    what = f"group of obs['{groupby}'] among these cells"
    if reference not in (REST, NOTHING):
        check_key(reference, [*names, REST, NOTHING], what)
    if group is None:
        wanted = [(name, labels == name) for name in names if name != reference]
    elif group in names:
        wanted = [(group, labels == group)]
    elif group in adata.obs_names:
        wanted = [(group, np.asarray(adata.obs_names == group))]
    else:
        check_key(group, adata.obs_names if groupby is None else names, "cell" if groupby is None else what)
    pairs: list[tuple[str, Rows, Rows | None]] = []
    for name, mask in wanted:
        # A single cell may be explained although its own group is unknown.
        inside = within & mask & (grouped | (adata.obs_names == name))
        outside = within & grouped & ~mask
        if reference not in (REST, NOTHING):
            outside &= labels == reference
        if name == reference or not inside.any() or (reference != NOTHING and not outside.any()):
            raise InputError(f"'{name}' has no other cells to be compared with; name another reference=")
        pairs.append((name, np.flatnonzero(inside), None if reference == NOTHING else np.flatnonzero(outside)))
    if not pairs:
        raise InputError(f"obs['{groupby}'] holds no group beside '{reference}' among these cells")
    return pairs


def _within(adata: AnnData, subset: Mapping[str, str] | None) -> NDArray[np.bool_]:
    """Which cells have the values of the subset."""
    within = np.ones(adata.n_obs, dtype=bool)
    for column, value in (subset or {}).items():
        check_column(adata.obs, column)
        values = adata.obs[column].astype(str)
        check_key(str(value), sorted(values.unique()), f"value of obs['{column}']")
        within &= (values == str(value)).to_numpy()
    return within


def _natural(name: str) -> tuple[bool, int, str]:
    """Sort key: numbers by size, before words."""
    return not name.isdigit(), int(name) if name.isdigit() else 0, name


def _of_concept(
    adata: AnnData, form: LinearForm, use_rep: str, genes: GeneEmbedding | None, concept: str | Mapping[str, ArrayLike]
) -> tuple[str, Splitter]:
    """The phrase, and how its score is split, with as many genes as in the last call of `tl.concepts`."""
    asked = recorded(adata, use_rep).get("concepts", {}).get("params", {})
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases = _words.phrases_of(concept, known)
    if len(phrases.names) != 1:
        raise InputError(f"concept= takes one phrase, got {len(phrases.names)}")
    phrase = str(phrases.names[0])
    z = _words.zscores(form.values, known)
    weights = phrases.sets(z.ids, n_genes=int(asked.get("n_genes", N_GENES))).toarray()
    if not weights.any():
        raise InputError(f"no gene of the data was found for '{phrase}'; ask in other words")
    return phrase, _splits.concept(z, weights[0])


def gene_rows(found: Split, n_genes: int) -> pd.DataFrame:
    """The genes with the largest parts, then one row for all others, and one for what belongs to no gene."""
    parts = pd.DataFrame(
        {
            "part": found.parts,
            "part_text": np.where(found.by_text, found.parts, 0.0),
            "part_expression": np.where(found.by_text, 0.0, found.parts),
        }
    )
    if found.scaled is not None:
        parts["part_z"] = found.scaled
    # A gene that acts in both ways has two rows, with the same change.
    by_gene = found.ids.astype(str)
    total = parts.groupby(by_gene, sort=False).sum()
    total.insert(0, "gene", total.index)
    total["change"] = pd.Series(found.change).groupby(by_gene, sort=False).first()
    order = np.argsort(-total["part"].abs().to_numpy(), kind="stable")
    shown, others = total.iloc[order[:n_genes]], total.iloc[order[n_genes:]]
    rows: list[dict[Any, Any]] = shown.to_dict("records")
    if len(others):
        rows.append({"gene": OTHER_GENES, **dict(others[parts.columns].sum())})
    # Without this row the column would not add up to the decision or the fused embedding.
    if found.constant:
        rows.append({"gene": _CONSTANT, **dict.fromkeys(parts.columns, 0.0), "part": found.constant})
    table = pd.DataFrame(rows, columns=total.columns)
    table.insert(0, "rank", np.r_[np.arange(1, len(shown) + 1), np.zeros(len(rows) - len(shown), dtype=int)])
    return table


def _add_expression(block: pd.DataFrame, form: LinearForm, inside: Rows, outside: Rows | None) -> None:
    """Add mean log expression of each gene in the explained cells and in those of the reference."""
    columns = form.values.rows(block["gene"].to_numpy(dtype=object))
    for name, rows in (("mean", inside), ("mean_reference", outside)):
        block[name] = np.nan
        if rows is not None:
            mean = np.asarray(form.values.log[rows][:, columns].mean(axis=0), dtype=np.float64).ravel()
            block[name] = np.where(columns >= 0, mean, np.nan)
    block["expression_change"] = block["mean"] - block["mean_reference"]


def _about_genes(adata: AnnData, use_rep: str, genes: GeneEmbedding | None) -> tuple[dict[str, str], dict[str, str]]:
    """Where each gene's text came from, and how it begins."""
    sources: dict[str, str] = {}
    entry = recorded(adata, use_rep)
    column = _keys.gene_source(_keys.prefix(str(entry.get("based_on", use_rep))))
    if column in adata.var:
        sources = {str(g): str(s) for g, s in adata.var[column].items()}
    if genes is None and "gene_embedding" not in entry and "based_on" not in entry:
        return sources, {}  # the expression baseline needs no texts
    try:
        known = _words.gene_vectors(adata, use_rep, genes)
    except MissingKeyError:
        return sources, {}
    return sources, {str(g): _snippet(str(t)) for g, t in zip(known.ids, known.texts, strict=True)}


def _snippet(text: str) -> str:
    return text if len(text) <= _SNIPPET else text[:_SNIPPET].rsplit(" ", 1)[0] + " …"


def _totals(found: Split, name: str, reference: str, inside: Rows, outside: Rows | None) -> dict[str, Any]:
    row = {
        "group": name,
        "reference": reference,
        "cells": len(inside),
        "cells_reference": 0 if outside is None else len(outside),
        "length": found.length,
        "whole": found.whole,
        "sum_of_parts": float(found.parts.sum()) + found.constant,
        "n_genes": len(set(found.ids)),
    }
    if found.scaled is not None:
        row["whole_z"] = float(found.scaled.sum())
    return row
