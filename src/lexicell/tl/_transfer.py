"""Labels from one data set to another: by expression if they share genes, else by the texts of their genes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import __version__
from .._errors import InputError, check_choice, check_column, choices
from .._expression import Expression
from .._keys import TRANSFER, column_name, umap
from .._results import keep_results, stack_tables
from ..core.genes.embedding import GeneEmbedding
from ..core.transfer.align import TransferModel, text_match
from ..core.transfer.classify import unit_rows, vote
from ..core.transfer.consensus import KEPT, Consensus, consensus, told_apart
from ._transfer_input import N_COMPONENTS, N_TOP_GENES, TransferInput, on_shared_genes, read_input, shared_genes
from ._transfer_model import learn

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["ENOUGH_SHARED", "METHODS", "UNSURE", "transfer"]

Labeled = Any  # AnnData | TransferModel | str | Path
Floats = NDArray[np.float64]

METHODS = ("auto", "aligned", "rotated", "text", "expression")
ENOUGH_SHARED = 2 / 3
"""Share of the smaller panel's genes that must be shared for expression itself to be compared.

Chosen on Kang's stimulated cells, where the lines cross between 200 and 1,000 of 1,500 shared genes, and checked on
three other data sets (``evaluation/transfer/overlap_table.csv``). Below it, aligned components also use the genes that
are not shared.
"""
UNSURE = "unsure"
CHANCE = 0.05
"""Above this p the texts match no better than shuffled ones, and every cell is unsure."""
_SEED = int(np.random.default_rng(0).integers(2**31))  # of the map
_NAN = float("nan")


def transfer(
    labeled: Labeled | Mapping[str, Labeled],
    adata: AnnData,
    *,
    label: str | None = None,
    truth: str | None = None,
    method: str = "auto",
    genes: GeneEmbedding | tuple[GeneEmbedding | None, GeneEmbedding | None] | None = None,
    expression: Expression | None = None,
    batch: str | None = None,
    min_confidence: float = 0.5,
    map_cells: bool = False,
    key_added: str = TRANSFER,
    copy: bool = False,
) -> AnnData | None:
    r"""Label the cells of one data set by those of another, even if the two share no gene.

    Each data set is reduced to 20 principal components of the z-scores of its own 2,000 most variable genes with text
    (each gene centered and scaled over the data set's own cells, clipped at 10, which removes a constant batch effect
    on a gene). A component is a weighted list of genes, so it has a text vector: the weighted sum of the vectors of its
    genes, centered on the genes of both data sets. ``"aligned"`` rotates the components of `adata` onto those of
    `labeled` so that these text vectors agree best,

    .. math:: R = U V^\top, \quad \text{diag}(\sigma_s)\, A_s A_t^\top\, \text{diag}(\sigma_t) = U \Sigma V^\top,

    (A text vectors of the components, :math:`\sigma` their standard deviations), and refines the rotation in up to
    eight rounds on cells of the two data sets that are each other's nearest neighbors. Each cell then gets the votes of
    its 15 nearest labeled cells by cosine, each class weighing the same. Labels are used for these votes only. Only the
    names and texts of genes link the two data sets: with shuffled texts, labels are at chance on average.

    One alignment can exchange related types and be sure of it. So 16 are made, of genes with random weights, and their
    votes are averaged, each alignment weighted by how far it labels cells like the others
    (:func:`lexicell.core.transfer.consensus.consensus`). Confidence is the share of these votes, and falls where
    alignments disagree. If refinement changes more than half of the labels, it is not used.

    The refinement assumes that the two data sets hold largely the same kinds of cells. A kind that only `adata` has
    gets the label of the most similar one, and confidence hardly shows it.

    Parameters
    ----------
    labeled
        Labeled cells; a model from :func:`transfer_model`, or a file of one; or a mapping of several by name, whose
        votes are averaged over those that have a class.
    adata
        Cells to label.
    label
        Column of ``obs`` of `labeled` with labels; not needed with models. Cells without one are left out.
    truth
        Column of ``obs`` of `adata` with known labels, for the report by class only.
    method
        ``"aligned"`` as above; ``"rotated"`` without the refinement; ``"text"`` compares cells in text space itself,
        without a rotation; ``"expression"`` fits components of the shared genes on `labeled` and projects `adata`.
        ``"auto"`` chooses ``"expression"`` if two thirds of the smaller panel's genes are shared, else ``"aligned"``,
        which also uses the genes that are not shared. Across species, shared genes are orthologs by the bundled tables.
    genes
        Gene vectors of both data sets, or a pair: those of `labeled` and those of `adata`, of one embedder. None: those
        that ``obsm["X_text"]`` of each was made from.
    expression
        Which matrix of both data sets is read. None: what :func:`lexicell.emb.cells` read, else ``X``. If the two data
        sets differ, run that on each.
    batch
        Column of ``obs``; if a data set has it, the mean of each batch is subtracted from its components. Use it only
        if batches hold the same kinds of cells.
    min_confidence
        Cells whose best class has a smaller share of the votes are ``"unsure"``; all cells are if the texts match no
        better than shuffled ones (p above .05).
    map_cells
        Also draw both data sets into one UMAP (one labeled data set only).
    key_added
        Prefix of what is written.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obs[key_added]``
        Transferred label, categorical, ``"unsure"`` below `min_confidence`.
    ``obs[key_added + "_best"]``, ``"_confidence"``, ``"_runner_up"``
        The best class whatever its confidence, its share of the votes (0 to 1), and the second class.
    ``obsm[key_added]``
        DataFrame of cells x classes, float32; rows sum to 1. A "/" in a class is written as "∕".
    ``obsm["X_" + key_added]``
        Cells on the axes of `labeled`, by the alignment that agrees most with the others, float32 (one labeled data set
        only).
    ``uns["lexicell"][key_added]``
        ``table`` (one row per labeled data set: method, shared genes, strength and p of the match of texts against 999
        shuffles, pairs, ``agreement`` of the alignments, share of labels ``kept`` by refinement), ``classes`` (one row
        per class found: cells, mean confidence, the ``next`` class, and whether the two are ``told_apart``),
        ``advice`` (sentences), ``params``; with `truth` also ``report`` (one row per class) and ``confusion``; with
        one labeled data set ``source`` (its cells on the axes, and labels), with `map_cells` also their map, and
        ``obsm["X_" + key_added + "_umap"]``.

    Raises
    ------
    InputError
        If the gene vectors are of different embedders, the labels have one class, expression is to be compared without
        two shared genes or with a saved model, or an argument is out of range.
    MissingKeyError
        If a column or the gene vectors are not found.

    References
    ----------
    Procrustes: Schönemann 1966, doi:10.1007/BF02289451. Refinement by mutual neighbors: Conneau et al. 2018,
    doi:10.48550/arXiv.1710.04087.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> genes = lx.emb.genes(adata, organism="human")
    >>> one, other = adata[::2, ::2].copy(), adata[1::2, 1::2].copy()  # no gene and no cell in common
    >>> counts = lx.Expression(library_size="n_counts")
    >>> lx.tl.transfer(one, other, label="cell_type", truth="cell_type", genes=genes, expression=counts)
    >>> other.uns["lexicell"]["text_transfer"]["table"]["shared_genes"].tolist()
    [0]
    """
    check_choice(method, METHODS, "method")
    if not 0 <= min_confidence <= 1:
        raise InputError(f"min_confidence must be between 0 and 1; got {min_confidence}")
    if truth is not None:
        check_column(adata.obs, truth)
    adata = adata.copy() if copy else adata
    sources = dict(labeled) if isinstance(labeled, Mapping) else {"source": labeled}
    if not sources:
        raise InputError("there is no labeled data set to learn from; give one, or several by name")
    expression = expression or Expression()
    genes_labeled, genes_target = genes if isinstance(genes, tuple) else (genes, genes)
    target = read_input(adata, genes_target, batch, expression)
    parts, rows, advice = [], [], []
    for name, given in sources.items():
        model, read = learn(given, label, genes_labeled, batch, expression)
        shared = shared_genes(model.genes if read is None else read.varying, target.varying)
        n_shared = len(shared[0])
        chosen, enough = _choose(method, n_shared, model, read, target)
        if chosen == "expression" and read is not None:
            S, T = on_shared_genes(read, target, shared)
            found = Consensus(vote(S, model.labels, model.classes, T), S, T, _NAN, _NAN, ())
            strength, p = _NAN, _NAN
        else:
            found = consensus(
                model.panel, target.panel, model.labels, turn=chosen != "text", rounds=8 if chosen == "aligned" else 0
            )
            strength, p = text_match(model.panel, target.panel, target.loadings, target.vectors)
        parts.append((found.votes, model.classes))
        row = _row(name, chosen, n_shared, model, target, found, strength, p)
        advice.append(_advise(row, enough))
        rows.append(row)
    probability, classes = _pool(parts)
    pairs = told_apart(probability, classes)
    advice += _advise_pairs(pairs)
    result: dict[str, Any] = {
        "table": stack_tables([pd.DataFrame(rows)]),
        "classes": stack_tables([pairs]),
        "advice": ". ".join(advice) + ".",
    }
    # Above 1 no cell is sure: no source whose texts match is left.
    needed = min_confidence if any(not row["p"] > CHANCE for row in rows) else 1.1
    best = _write_labels(adata, probability, classes, key_added, needed)
    if truth is not None:
        result["report"], result["confusion"] = _report(adata, truth, best, key_added, classes)
    if len(sources) == 1:
        result["source"] = _write_cells(adata, found, model.labels, key_added, map_cells)
    result["params"] = {
        "label": label or str(model.about.get("label", "")),
        "truth": truth or "",
        "method": method,
        "n_components": N_COMPONENTS,
        "n_top_genes": N_TOP_GENES,
        "batch": batch or "",
        "min_confidence": float(min_confidence),
        "key_added": key_added,
        "lexicell": __version__,
    }
    keep_results(adata, key_added, result, replace=True)
    return adata if copy else None


def _choose(
    method: str, n_shared: int, model: TransferModel, read: TransferInput | None, target: TransferInput
) -> tuple[str, bool]:
    """The method to use, and whether enough genes are shared to compare expression."""
    n_labeled = len(model.genes if read is None else read.varying)
    # Relative to the smaller panel: a panel of 300 genes inside a genome shares all it has.
    enough = n_shared >= ENOUGH_SHARED * min(n_labeled, len(target.varying))
    if method == "expression" and read is None:
        raise InputError(
            "a saved model holds no expression; pass the labeled data set itself to use method='expression'"
        )
    if method == "expression" and n_shared < 2:
        raise InputError(
            f"the two data sets share {n_shared} varying genes, so expression cannot be compared; the labeled one "
            f"has {choices(list(model.genes[:3]))}, the other {choices(list(target.genes[:3]))}. method='aligned' "
            "compares what is written about them"
        )
    if method == "auto":
        method = "expression" if read is not None and enough else "aligned"
    if method != "expression" and model.space != target.space:
        raise InputError(
            f"the gene vectors of the two data sets are of different embedders ('{model.space}' and "
            f"'{target.space}'); make both with the same one"
        )
    return method, enough


def _row(
    name: str,
    method: str,
    n_shared: int,
    model: TransferModel,
    target: TransferInput,
    found: Consensus,
    strength: float,
    p: float,
) -> dict[str, Any]:
    return {
        "source": name,
        "method": method,
        "cells": len(model.labels),
        "classes": len(model.classes),
        "genes": len(model.genes),
        "target_genes": len(target.genes),
        "shared_genes": n_shared,
        "strength": strength,
        "p": p,
        "pairs": found.pairs[-1] if found.pairs else 0,
        "rounds": len(found.pairs),
        "agreement": found.agreement,
        "kept": found.kept,
    }


def _pool(parts: list[tuple[Floats, NDArray[Any]]]) -> tuple[Floats, NDArray[Any]]:
    """Average votes class by class over the data sets that know the class."""
    classes = np.asarray(sorted({c for _, names in parts for c in names}), dtype=object)
    total = np.zeros((len(parts[0][0]), len(classes)))
    known = np.zeros(len(classes))
    for votes, names in parts:
        at = np.searchsorted(classes.astype(str), np.asarray(names).astype(str))
        total[:, at] += votes
        known[at] += 1
    # A data set without a class must not vote against it.
    mean = total / known
    return mean / mean.sum(axis=1, keepdims=True), classes


def _advise(row: dict[str, Any], enough: bool) -> str:
    """What was compared, and whether to trust it."""
    start = f"{row['source']}: {row['shared_genes']} shared genes, so "
    if row["method"] == "expression":
        text = start + "plain expression was compared"
        if not enough:
            text += "; most genes are not shared, and method='aligned' would use them too"
        return text
    text = start + "cells were compared by what is written about their genes"
    if enough:
        text += "; with nearly all genes shared plain expression (method='expression') is the better choice"
    text += (
        f"; texts match the components of the two data sets {row['strength']:.1f} times as well as shuffled texts "
        f"do (p = {row['p']:.3g})"
    )
    if row["p"] > CHANCE:
        return text + ": no better than chance, so do not trust these labels; all cells are unsure"
    text += f"; alignments of resampled genes label {row['agreement']:.0%} of the cells alike"
    if row["kept"] < KEPT:
        text += f"; refinement kept only {row['kept']:.0%} of the labels and was not used"
    return text


def _advise_pairs(table: pd.DataFrame) -> list[str]:
    """Classes that cannot be told apart, in a sentence if there are any."""
    doubtful = table[~table["told_apart"]]
    if not len(doubtful):
        return []
    pairs = dict.fromkeys(tuple(sorted(map(str, pair))) for pair in doubtful[["class", "next"]].to_numpy())
    return ["cannot be told apart: " + ", ".join(f"'{a}' and '{b}'" for a, b in pairs)]


def _write_labels(
    adata: AnnData, probability: Floats, classes: NDArray[Any], key: str, min_confidence: float
) -> NDArray[Any]:
    """Write the labels, and return the best class of each cell."""
    order = np.argsort(-probability, axis=1, kind="stable")
    best = classes[order[:, 0]]
    confidence = probability[np.arange(len(best)), order[:, 0]]
    names = list(classes)
    if UNSURE not in names:
        names.append(UNSURE)
    adata.obs[key] = pd.Categorical(np.where(confidence >= min_confidence, best, UNSURE), categories=names)
    adata.obs[f"{key}_best"] = pd.Categorical(best, categories=list(classes))
    adata.obs[f"{key}_confidence"] = confidence
    adata.obs[f"{key}_runner_up"] = pd.Categorical(classes[order[:, 1]], categories=list(classes))
    columns = [column_name(c) for c in classes]
    adata.obsm[key] = pd.DataFrame(probability.astype(np.float32), index=adata.obs_names, columns=columns)
    return np.asarray(best)


def _report(
    adata: AnnData, truth: str, best: NDArray[Any], key: str, classes: NDArray[Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per known class, and the table of known against transferred classes."""
    known = adata.obs[truth].notna().to_numpy()
    real = adata.obs[truth].astype(object).map(str).to_numpy(dtype=object)[known]
    found = best[known].astype(str)
    sure = (adata.obs[key].astype(str).to_numpy() != UNSURE)[known]
    names = [str(c) for c in classes]
    rows = []
    for name in sorted(set(real)):
        mine, called = real == name, found == name
        right = int((mine & called).sum())
        rows.append(
            {
                "class": name,
                "cells": int(mine.sum()),
                "in_source": name in names,
                "recall": right / mine.sum(),
                "precision": right / called.sum() if called.any() else np.nan,
                "f1": 2 * right / (mine.sum() + called.sum()),
                "unsure": (~sure[mine]).mean(),
                "recall_where_sure": called[mine & sure].mean() if (mine & sure).any() else np.nan,
            }
        )
    counts = pd.crosstab(pd.Series(real), pd.Series(found)).reindex(columns=names, fill_value=0)
    counts.columns = [column_name(c) for c in counts.columns]
    counts.index = pd.Index([str(i) for i in counts.index], dtype=object, name=None)
    return stack_tables([pd.DataFrame(rows)]), counts


def _write_cells(
    adata: AnnData, found: Consensus, labels: NDArray[Any], key: str, map_cells: bool
) -> dict[str, NDArray[Any]]:
    """Write the cells on the axes of the labeled data set, and return those of the labeled data set."""
    adata.obsm[f"X_{key}"] = found.target.astype(np.float32)
    source = {"cells": found.source.astype(np.float32), "labels": labels.astype(object)}
    if map_cells:
        from ._graph import graph_of, umap_of

        # Votes are by cosine, so the map is of unit vectors, too.
        both = np.vstack([unit_rows(found.source), unit_rows(found.target)]).astype(np.float32)
        drawn = umap_of(graph_of(both, min(15, len(both) - 1), _SEED), _SEED)
        source["umap"] = drawn[: len(labels)]
        adata.obsm[umap(key)] = drawn[len(labels) :]
    return source
