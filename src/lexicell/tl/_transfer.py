"""Labels from one data set to another, through expression where genes are shared and through their texts where not."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import __version__
from .._errors import InputError, check_choice, check_key, choices
from .._keys import TRANSFER, UNS, X_TEXT, column_name, umap
from .._results import keep_results
from ..core.classify import fit_contrastive, fit_logistic, vote
from ..core.embedding import GeneEmbedding
from ..core.transfer import Alignment, GeneMoments, TransferModel, align, smooth, text_frame
from . import _sides
from ._sides import Side
from ._transfer_model import AUTO, learned_from, sizes_asked

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["CLASSIFIERS", "ENOUGH_SHARED", "METHODS", "UNSURE", "transfer", "transfer_across"]

METHODS = ("auto", "aligned", "text", "expression")
CLASSIFIERS = ("knn", "logistic", "contrastive")
SPACES = ("joint", "source", "genome")
ENOUGH_SHARED = 2 / 3
"""Share of the smaller panel's genes that must be shared for plain expression to be advised.

Chosen on Kang's stimulated cells, where the lines cross between 200 and 1,000 of 1,500 shared genes, and looked
at on three other data sets (``evaluation/transfer/overlap_table.csv``). Below it aligned components also use the genes
that are not shared.
"""
UNSURE = "unsure"

Source = Any  # AnnData | TransferModel | path


def transfer(
    source: Source | Mapping[str, Source],
    target: AnnData,
    *,
    label: str | None = None,
    truth: str | None = None,
    method: str = "auto",
    classifier: str = "knn",
    genes: GeneEmbedding | None = None,
    target_genes: GeneEmbedding | None = None,
    use_rep: str = X_TEXT,
    n_components: int | str = AUTO,
    n_top_genes: int | str | None = AUTO,
    space: str = "joint",
    whiten: float = 0.0,
    rounds: int = 8,
    batch: str | None = None,
    smoothing: int = 0,
    min_confidence: float = 0.5,
    n_controls: int = 20,
    map_cells: bool = False,
    layer: str | None = None,
    use_raw: bool | None = None,
    library_size: str | None = None,
    rng: int | np.random.Generator = 0,
    key_added: str = TRANSFER,
    copy: bool = False,
) -> AnnData | None:
    r"""Label the cells of one data set by those of another, even where the two share no gene.

    Each data set is reduced to the principal components of the z-scores of its own genes (cut at 10; each gene centred
    and scaled over the data set's own cells, which takes a constant batch effect on a gene away). A component weighs
    genes, so it has a text vector: the sum of its genes' text vectors, weighted. ``"aligned"`` turns the components of
    the target onto those of the source by the rotation that agrees best with these text vectors,

    .. math:: R = U V^\top, \quad \text{diag}(\sigma_s)\, A_s A_t^\top\, \text{diag}(\sigma_t) = U \Sigma V^\top,

    (A text vectors of the components, :math:`\sigma` their standard deviations), and refines it by cells of the two
    sides that are each other's nearest neighbours. Cells are then compared by cosine. No label takes part in any of
    this, and none of the target's in anything. Nothing but the names and texts of genes ties the two panels together:
    with the texts shuffled, labels are at chance on average.

    ``"text"`` compares cells in text space itself. ``"expression"`` takes the shared genes, fits components on the
    source and projects the target. ``"auto"`` takes it where two thirds of the smaller panel's genes are shared, and
    says so; below that it takes ``"aligned"``, which uses the genes that are not shared too.

    Turning the axes by nearest neighbours presumes that the two data sets hold largely the same kinds of cells. What
    is only in the target gets the label of what looks nearest; confidence does not tell.

    Parameters
    ----------
    source
        Labelled cells; a model from :func:`transfer_model`, or a file of one; or a mapping of several by name, whose
        votes are averaged over those that know a class.
    target
        Cells to label.
    label
        Column of ``obs`` of the source with labels; not needed with models. Cells without one take no part.
    truth
        Column of ``obs`` of the target with known labels, for the report by class only.
    method
        ``"auto"``, ``"aligned"``, ``"text"`` or ``"expression"``.
    classifier
        ``"knn"`` (15 neighbours by cosine, classes weighing the same), ``"logistic"`` (multi-class logistic
        regression) or ``"contrastive"`` (a supervised-contrastive linear head, then 15 neighbours).
    genes, target_genes
        Gene vectors of source and target, of one embedder. None: those `use_rep` was made from; `target_genes` may be
        left out where `genes` covers both.
    use_rep
        The embedding whose gene vectors, slot and library sizes are used, where `genes` or `layer` are not given.
    n_components, n_top_genes
        Components a side, and how many of its most variable genes (Pearson residuals) make them; None: all genes.
        ``"auto"``: as the model was made; 20 and 2,000 where `source` is no model. A number that is not the model's is
        used for the target, with a warning, and is named in the advice.
    space
        Where gene vectors are centred and whitened: ``"joint"`` (over the genes of both sides), ``"source"`` (carried
        over from the source) or ``"genome"`` (over all bundled genes; needs the embedder of the bundle).
    whiten
        0: centred only. 1: all directions of text space have the same spread. Small panels bear little whitening.
    rounds
        Rounds of refinement at most; 0: texts alone.
    batch
        Column of ``obs``; where a data set has it, each batch's mean is taken from its components. Presumes that
        batches hold the same kinds of cells.
    smoothing
        Rounds in which each target cell takes over nine tenths of the votes of its 15 nearest cells (in the target's
        own components). For few, well separated kinds: groups of fewer than some 15 cells are swallowed.
    min_confidence
        A label stands where the share of its class among neighbours (or its probability) is as large; others are
        ``"unsure"``.
    n_controls
        Shuffles of the target's texts for the check of the alignment; 0 leaves it out.
    map_cells
        Also draw both data sets into one UMAP (``method`` other than several sources).
    layer, use_raw, library_size
        Where expression stands, in both data sets, as in :func:`lexicell.emb.cells`; where they differ, run that on
        each, and its slots are used.
    rng
        Seed or generator of shuffles, of the contrastive head and of the map.
    key_added
        Prefix of what is written.
    copy
        Return a new object instead of writing into `target`.

    Returns
    -------
    None, or the new object. Writes

    ``obs[key_added]``
        Transferred label, categorical, ``"unsure"`` below `min_confidence`.
    ``obs[key_added + "_best"]``, ``"_confidence"``, ``"_runner_up"``
        The best class whatever its confidence, its share (0 to 1), and the second.
    ``obsm[key_added]``
        DataFrame of cells x classes; rows sum to 1. A "/" in a class is written as "∕" there.
    ``obsm["X_" + key_added]``
        Cells on the axes of the source, float32 (one source only).
    ``uns["lexicell"][key_added]``
        ``table`` (a row a source: method, shared genes, strength and p of the alignment, pairs), ``advice`` (a
        sentence), ``params``; with `truth` ``report`` (a row a class) and ``confusion``; with one source ``source``
        (its cells on the axes and labels), with `map_cells` their map, and ``obsm["X_" + key_added + "_umap"]``.

    Raises
    ------
    InputError
        If the two have no gene and no text in common ground (different embedders), the labels have one class, or a
        model is asked for plain expression.
    MissingKeyError
        If a column or the gene vectors cannot be found.

    References
    ----------
    Procrustes: Schönemann 1966, doi:10.1007/BF02289451. Refinement by mutual neighbours: Conneau et al. 2018,
    doi:10.48550/arXiv.1710.04087.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> genes = lx.emb.genes(adata, organism="human")
    >>> one, other = adata[::2, ::2].copy(), adata[1::2, 1::2].copy()  # no gene and no cell in common
    >>> lx.tl.transfer(one, other, label="cell_type", truth="cell_type", genes=genes, library_size="n_counts")
    >>> other.uns["lexicell"]["text_transfer"]["table"]["shared_genes"].tolist()
    [0]
    """
    check_choice(method, METHODS, "method")
    check_choice(classifier, CLASSIFIERS, "classifier")
    check_choice(space, SPACES, "space")
    if smoothing < 0:
        raise InputError(f"smoothing is a number of rounds, 0 for none; got {smoothing}")
    if not 0 <= min_confidence <= 1:
        raise InputError(f"min_confidence lies between 0 and 1; got {min_confidence}")
    if truth is not None:
        check_key(truth, [str(c) for c in target.obs.columns], "column in obs")
    target = target.copy() if copy else target
    sources = dict(source) if isinstance(source, Mapping) else {"source": source}
    if not sources:
        raise InputError("there is no source to learn from; give labelled cells, or several by name")
    asked = sizes_asked(n_components, n_top_genes)
    options: dict[str, Any] = {
        "use_rep": use_rep, "batch": batch, "layer": layer, "use_raw": use_raw, "library_size": library_size,
    }  # fmt: skip
    seed = int(np.random.default_rng(rng).integers(2**31))
    sides: dict[tuple[int | None, ...], Side] = {}
    parts, rows, said, alignment = {}, [], [], None
    for name, given in sources.items():
        found = learned_from(given, label, genes, options, asked)
        if found.differing:
            warnings.warn(f"{name}: {found.differing}", UserWarning, stacklevel=2)
        learned, sizes, size = found.model, found.sizes, tuple(found.sizes.values())
        if size not in sides:
            known = target_genes if target_genes is not None else genes
            sides[size] = _sides.side_of(target, known, **options, **sizes)
        side = sides[size]
        taken, n_shared, enough = _choose(method, learned, side, found.side)
        if taken == "expression":
            placed = _sides.on_shared_genes(found.side, side, sizes["n_components"])
            alignment = Alignment(*placed, float("nan"), float("nan"), ())
        else:
            alignment = _aligned(learned, side, taken, space, whiten, rounds, n_controls, seed)
        votes = _classify(alignment, learned.labels, classifier, seed)
        if smoothing:
            votes = smooth(votes, side.panel.scores, rounds=smoothing)
        parts[name] = (votes, learned.classes)
        said.append(
            _said(name, taken, n_shared, enough, alignment) + (f"; {found.differing}" if found.differing else "")
        )
        rows.append({
            "source": name, "method": taken, "classifier": classifier, "cells": len(learned.labels),
            "classes": len(learned.classes), "genes": len(learned.genes), "target_genes": len(side.genes),
            "shared_genes": n_shared, "strength": alignment.strength, "p": alignment.p,
            "pairs": alignment.pairs[-1] if alignment.pairs else 0, "rounds": len(alignment.pairs),
        })  # fmt: skip
    probability, classes = _pool(parts)
    table = pd.DataFrame(rows, index=[str(i) for i in range(len(rows))]).astype(
        {"source": object, "method": object, "classifier": object}
    )
    result: dict[str, Any] = {"table": table, "advice": ". ".join(said) + "."}
    best = _write_labels(target, probability, classes, key_added, min_confidence)
    if truth is not None:
        result["report"], result["confusion"] = _report(target, truth, best, key_added, classes)
    assert alignment is not None
    if len(sources) == 1:
        _write_cells(target, result, alignment, learned.labels, key_added, seed if map_cells else None)
    result["params"] = {
        "label": label or str(learned.about.get("label", "")), "truth": truth or "", "method": method,
        "classifier": classifier, "n_components": sizes["n_components"], "n_top_genes": sizes["n_top_genes"] or 0,
        "space": space,
        "whiten": float(whiten), "rounds": rounds, "batch": batch or "", "smoothing": smoothing,
        "min_confidence": float(min_confidence),
        "n_controls": n_controls, "key_added": key_added, "lexicell": __version__,
    }  # fmt: skip
    keep_results(target, key_added, result, replace=True)
    return target if copy else None


def transfer_across(datasets: Mapping[str, AnnData], *, label: str, **options: Any) -> pd.DataFrame:
    """Leave each data set out in turn, label it by all others, and score that by its own labels.

    Parameters
    ----------
    datasets
        Two or more, by name.
    label
        Column of ``obs`` that all have.
    **options
        Of :func:`transfer`.

    Returns
    -------
    One row a data set and class: ``held_out``, ``class``, ``cells``, ``recall``, ``precision``, ``f1``, ``unsure``
    (share), and per data set ``balanced_accuracy`` (mean recall of its classes, no cell left out).

    Raises
    ------
    InputError
        If there are fewer than two data sets.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> halves = {"one": adata[::2].copy(), "other": adata[1::2].copy()}
    >>> genes = lx.emb.genes(adata)
    >>> table = lx.tl.transfer_across(halves, label="cell_type", genes=genes, library_size="n_counts")
    >>> sorted(table["held_out"].unique())
    ['one', 'other']
    """
    if len(datasets) < 2:
        raise InputError("leaving one data set out needs at least two")
    key = str(options.get("key_added", TRANSFER))
    blocks = []
    for name, adata in datasets.items():
        others = {n: a for n, a in datasets.items() if n != name}
        options = {**options, "copy": True}
        done = transfer(others, adata, label=label, truth=label, **options)
        assert done is not None
        report = done.uns[UNS][key]["report"].copy()
        report.insert(0, "held_out", name)
        report["balanced_accuracy"] = report["recall"].mean()
        blocks.append(report)
    whole: pd.DataFrame = pd.concat(blocks, ignore_index=True)
    return whole


def _choose(method: str, learned: TransferModel, side: Side, source: Side | None) -> tuple[str, int, bool]:
    theirs = set(learned.genes if source is None else source.all_genes)
    shared = set(side.all_genes) & theirs
    enough = len(shared) >= ENOUGH_SHARED * min(len(theirs), len(side.all_genes))
    if method == "expression" and source is None:
        raise InputError(
            "a saved model holds no expression; pass the labelled data set itself as source for method='expression'"
        )
    if method == "expression" and len(shared) < 2:
        raise InputError(
            f"the two data sets share {len(shared)} varying genes, so expression cannot be compared; the source has "
            f"{choices(list(learned.genes[:3]))}, the target {choices(list(side.genes[:3]))}. method='aligned' "
            "compares what is written about them"
        )
    if method == "auto":
        method = "expression" if source is not None and enough else "aligned"
    if method != "expression" and learned.space != side.space:
        raise InputError(
            f"the gene vectors of the two data sets are of different embedders ('{learned.space}' and '{side.space}'); "
            "make both with the same one"
        )
    return method, len(shared), enough


def _aligned(
    learned: TransferModel, side: Side, method: str, space: str, whiten: float, rounds: int, n_controls: int, seed: int
) -> Alignment:
    moments = learned.panel.moments
    if space == "joint":
        moments = moments + side.panel.moments
    elif space == "genome":
        moments = GeneMoments.of(_sides.genome(side.space))
    return align(
        learned.panel, side.panel, frame=text_frame(moments, whiten=whiten), turn=method == "aligned", rounds=rounds,
        shuffles=side.shuffles(n_controls, seed) if n_controls else None,
    )  # fmt: skip


def _classify(alignment: Alignment, labels: NDArray[Any], classifier: str, seed: int) -> NDArray[np.float64]:
    classes = np.asarray(sorted(set(labels)), dtype=object)
    if len(classes) < 2:
        raise InputError(f"the labels hold one class only ('{classes[0]}'); there is nothing to tell apart")
    if classifier == "knn":
        return vote(alignment.source, labels, classes, alignment.target)
    source, target = _sides.unit(alignment.source), _sides.unit(alignment.target)
    # Small axes hold little but noise in one panel and something else in another: no axis is blown up.
    names = labels.astype(str)
    if classifier == "logistic":
        return fit_logistic(source, names, standardize=False).probabilities(target)
    return fit_contrastive(source, names, standardize=False, rng=seed).probabilities(target)


def _pool(parts: Mapping[str, tuple[NDArray[np.float64], NDArray[Any]]]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Average the votes of sources class by class over those that know the class."""
    classes = np.asarray(sorted({c for _, names in parts.values() for c in names}), dtype=object)
    first = next(iter(parts.values()))[0]
    total, known = np.zeros((len(first), len(classes))), np.zeros(len(classes))
    for votes, names in parts.values():
        at = np.searchsorted(classes.astype(str), np.asarray(names).astype(str))
        total[:, at] += votes
        known[at] += 1
    mean = total / known
    return mean / mean.sum(axis=1, keepdims=True), classes


def _said(name: str, method: str, n: int, enough: bool, alignment: Alignment) -> str:
    if method == "expression":
        text = f"{name}: {n} shared genes, so plain expression was compared"
        return text if enough else text + "; most genes are not shared, and method='aligned' would use them too"
    text = f"{name}: {n} shared genes, so cells were compared by what is written about their genes"
    if enough:
        text += "; with nearly all genes shared plain expression (method='expression') is the better choice"
    if np.isfinite(alignment.p):
        text += (
            f"; texts match the components of the two sides {alignment.strength:.1f} times as well as shuffled texts "
            f"do (p = {alignment.p:.3g})"
        )
        if alignment.p > 0.05:
            text += ": no better than chance, so do not trust these labels"
    return text


def _write_labels(
    target: AnnData, probability: NDArray[np.float64], classes: NDArray[Any], key: str, min_confidence: float
) -> NDArray[Any]:
    order = np.argsort(-probability, axis=1, kind="stable")
    best = classes[order[:, 0]]
    confidence = probability[np.arange(len(best)), order[:, 0]]
    final = np.where(confidence >= min_confidence, best, UNSURE)
    names = [*classes, *([] if UNSURE in classes else [UNSURE])]
    target.obs[key] = pd.Categorical(final, categories=names)
    target.obs[f"{key}_best"] = pd.Categorical(best, categories=list(classes))
    target.obs[f"{key}_confidence"] = confidence
    target.obs[f"{key}_runner_up"] = pd.Categorical(classes[order[:, 1]], categories=list(classes))
    columns = [column_name(c) for c in classes]
    target.obsm[key] = pd.DataFrame(probability.astype(np.float32), index=target.obs_names, columns=columns)
    return np.asarray(best)


def _report(
    target: AnnData, truth: str, best: NDArray[Any], key: str, classes: NDArray[Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    known = target.obs[truth].notna().to_numpy()
    real = target.obs[truth].astype(object).map(str).to_numpy(dtype=object)[known]
    found, sure = best[known].astype(str), (target.obs[key].astype(str).to_numpy() != UNSURE)[known]
    rows = []
    for name in sorted(set(real)):
        mine, said = real == name, found == name
        recall = float((mine & said).sum() / mine.sum())
        precision = float((mine & said).sum() / said.sum()) if said.any() else float("nan")
        total = recall + (0.0 if np.isnan(precision) else precision)
        rows.append({
            "class": name, "cells": int(mine.sum()), "in_source": name in set(map(str, classes)), "recall": recall,
            "precision": precision, "f1": 2 * recall * precision / total if total > 0 and said.any() else 0.0,
            "unsure": float((~sure[mine]).mean()),
            "recall_where_sure": float(said[mine & sure].mean()) if (mine & sure).any() else float("nan"),
        })  # fmt: skip
    report = pd.DataFrame(rows, index=[str(i) for i in range(len(rows))]).astype({"class": object})
    counts = pd.crosstab(pd.Series(real), pd.Series(found)).reindex(columns=[str(c) for c in classes], fill_value=0)
    counts.columns = [column_name(c) for c in counts.columns]
    counts.index = pd.Index([str(i) for i in counts.index], dtype=object, name=None)
    return report, counts


def _write_cells(
    target: AnnData, result: dict[str, Any], found: Alignment, labels: NDArray[Any], key: str, map_seed: int | None
) -> None:
    target.obsm[f"X_{key}"] = found.target.astype(np.float32)
    result["source"] = {"cells": found.source.astype(np.float32), "labels": labels.astype(object)}
    if map_seed is None:
        return
    from ._graph import graph_of, umap_of

    both = np.vstack([_sides.unit(found.source), _sides.unit(found.target)])
    drawn = umap_of(graph_of(both.astype(np.float32), min(15, len(both) - 1), "euclidean", map_seed), map_seed)
    result["source"]["umap"] = drawn[: len(labels)]
    target.obsm[umap(key)] = drawn[len(labels) :]
