"""Does text help on this data? Representations, baselines and controls, scored against the user's own labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._errors import InputError, check_key, choices
from ._progress import progress
from ._representations import CONTROLS, Fitted, Representation, representations
from ._scib import check_scib, scib_scores
from ._values import check_rep, read_values
from .core import metrics
from .core.embedding import GeneEmbedding

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Evaluation", "evaluate", "verdict"]

_RESOLUTIONS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)
_FEWEST = 5  # cells a class, so that five folds have one each
_TIE = 0.05  # differences in ARI below this are ties (0.10 below 300 cells), whatever their spread
_CONTROLS = tuple(CONTROLS)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What :func:`evaluate` found.

    Attributes
    ----------
    table
        One row a representation (controls averaged over their seeds): ``kind`` (``text``, ``expression``,
        ``control``), the mean of each score, ``ari_low`` and ``ari_high`` (bootstrap over cells), ``ari_sd`` (over
        seeds of a control).
    scores
        One row a representation and seed, all scores.
    verdict
        The answer in words, by the rule of :func:`verdict`.
    dropped
        Labels left out, with their number of cells.
    params
        What was evaluated and how.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    verdict: str
    dropped: dict[str, int]
    params: dict[str, Any]


def evaluate(
    adata: AnnData,
    *,
    label: str | None = None,
    time: str | None = None,
    genes: GeneEmbedding | None = None,
    batch: str | None = None,
    order: list[str] | None = None,
    root: str | None = None,
    branch: str | None = None,
    trunk: str = "trunk",
    use_reps: list[str] | None = None,
    organism: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    library_size: str | None = None,
    n_controls: int = 3,
    n_bootstraps: int | None = None,
    n_neighbors: int = 15,
    scib: bool = False,
    rng: int = 0,
    show_progress: bool | None = None,
) -> Evaluation:
    """Score text representations beside strong expression baselines and matched controls.

    The controls are the same gene embedding with shuffled or random vectors, sent through the same public functions. A
    gain that they share is not owed to the text.

    Parameters
    ----------
    adata
        Cells with counts (or abundances, or log values).
    label
        Column of ``obs`` with labels known from elsewhere, best not from clustering the same counts. Cells without a
        label and classes of fewer than five cells are left out, and named in the result.
    time
        Column of ``obs`` with measured times or ordered stages, instead of `label`: every representation orders the
        cells from the same root (:func:`lexicell.tl.trajectory`), and the order is compared with time.
    genes
        From :func:`lexicell.emb.genes`; None: the bundled texts and vectors.
    batch
        Column of ``obs`` with batches or donors; adds ``batch_mixing``. For labels.
    order
        Stages from first to last, where the column `time` is neither numbers nor ordered.
    root
        For `time`: a cell name or ``"column=value"``. None: the cells of the first time (their medoid is the root).
    branch, trunk
        For `time`: column of ``obs`` with true branches, and its value before they part; adds ``branch_f1``.
    use_reps
        Further keys of ``obsm`` to score as they are.
    organism
        Passed on to :func:`lexicell.emb.genes` where `genes` is None.
    layer, use_raw, normalization, library_size
        Where expression stands, as in :func:`lexicell.emb.cells`.
    n_controls
        Seeds of each control.
    n_bootstraps
        Draws of cells for the intervals. None: 200 for labels, 20 for `time`, where each draw (80 % of the cells) is
        ordered anew.
    n_neighbors
        Neighbours a cell in the graph.
    scib
        Whether to add the scores of scib-metrics, each under ``scib_`` and its name there: ``silhouette_label``,
        ``clisi`` and, with `batch`, ``isolated_labels``, ``ilisi`` and ``silhouette_batch``. Needs ``lexicell[eval]``.
    rng
        Seed of everything random.
    show_progress
        Whether to draw a bar; None: where stderr is a terminal.

    Returns
    -------
    Evaluation
        Scores: ``ari``, ``ami``, ``nmi`` (Leiden, mean over resolutions .1 to 1.5), ``ari_at_k`` (Leiden at the number
        of classes), ``kmeans_ari``, ``asw`` (silhouette of the labels), ``knn`` and ``lr`` (balanced accuracy, five
        folds; classifier, scaling and the representation itself, its variable genes, z-scores and components, are
        fitted inside the folds, all but those of `use_reps`), ``batch_mixing`` where asked for. `adata` is not changed.

        Scores against `time`: ``spearman`` and ``kendall`` (all cells; ``_low`` and ``_high``: 95 % of the draws),
        ``spearman_mean`` over the draws, ``spearman_sd`` (over seeds of a control), ``gain`` (mean over draws of the
        difference to the best expression baseline on the same draw, with ``_low`` and ``_high``), ``missing`` (share of
        cells without a pseudotime), ``parts`` (of the graph), and ``branch_f1`` and ``branches`` (found) where `branch`
        is given. In ``scores``, draw -1 is all cells.

    Raises
    ------
    MissingKeyError
        If a column or a representation does not exist; the message lists those that do.
    MissingDependencyError
        If `scib` is asked for and scib-metrics is not installed.
    InputError
        If fewer than two classes have five cells, the times have no order, cells have no batch or all have the same, a
        representation holds NaN, nothing is expressed, or the values cannot be used.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> found = lx.evaluate(adata, label="cell_type", library_size="n_counts", n_controls=1)  # doctest: +SKIP
    >>> print(found.verdict)  # doctest: +SKIP
    """
    from . import emb
    from ._evaluate_time import check_one, evaluate_time, truth_of

    check_one(label, time)
    reps = list(use_reps or [])
    if label is not None:
        check_key(label, adata.obs.columns, "column in obs")
    if batch is not None:
        check_key(batch, adata.obs.columns, "column in obs")
    for key in reps:
        check_key(key, adata.obsm.keys(), "representation in obsm")
        check_rep(adata, key)
    if n_controls < 1:
        raise InputError("n_controls must be at least 1: a text result without a control says nothing")
    if n_neighbors < 2:
        raise InputError(
            f"n_neighbors must be at least 2, so that a cell has neighbours in the graph; got {n_neighbors}"
        )
    if n_bootstraps is not None and n_bootstraps < 1:
        raise InputError(f"n_bootstraps must be at least 1, for there is an interval in the table; got {n_bootstraps}")
    if scib:
        check_scib()
    source: dict[str, Any] = {
        "layer": layer,
        "use_raw": use_raw,
        "normalization": normalization,
        "library_size": library_size,
    }
    if time is not None:
        truth = truth_of(adata, time=time, order=order, root=root, branch=branch, trunk=trunk)
        work = adata[truth.keep].copy()
        genes = emb.genes(work, organism=organism) if genes is None else genes
        made = [(r.name, r.kind, r.seed, partial(_matrix_of, r, work)) for r in _all(genes, n_controls, source, reps)]
        draws = 20 if n_bootstraps is None else n_bootstraps
        found = evaluate_time(made, truth, n_draws=draws, n_neighbors=n_neighbors, rng=rng, show_progress=show_progress)
        params = {
            "time": time, "root": truth.root_name, "branch": branch or "", "cells": len(truth.keep),
            "genes": len(genes), "gene_embedding": genes.hash, "n_controls": n_controls, "n_neighbors": n_neighbors,
            "n_bootstraps": draws, "seed": int(rng), **{k: str(v or "") for k, v in source.items()},
        }  # fmt: skip
        dropped = {"(no time)": truth.n_missing} if truth.n_missing else {}
        return Evaluation(*found, dropped, params)
    assert label is not None  # check_one has seen to it
    keep, dropped = _usable(adata.obs[label], adata.obs)
    work = adata[keep].copy()
    labels = work.obs[label].astype(str).to_numpy(dtype=object)
    batches = None if batch is None else _batches(work.obs[batch])
    # Values that cannot be used are refused before anything costly begins.
    if read_values(work, **source).log.nnz == 0:
        raise InputError(f"no gene is expressed in any of the {len(labels)} labelled cells; name the slot with counts")
    genes = emb.genes(work, organism=organism) if genes is None else genes
    jobs = _all(genes, n_controls, source, reps)
    how = _How(n_neighbors, 200 if n_bootstraps is None else n_bootstraps, int(rng), scib)
    rows = []
    said: set[str] = set()
    with progress("evaluating", len(jobs), show=show_progress) as advance:
        for job in jobs:
            known = {"representation": job.name, "kind": job.kind, "seed": job.seed}
            with _once(said):
                rows.append({**known, **_score(job, work, labels, batches, how)})
            advance()
    scores = pd.DataFrame(rows)
    table = _summary(scores)
    params = {
        "label": label, "batch": batch or "", "cells": len(labels), "classes": len(set(labels)), "genes": len(genes),
        "gene_embedding": genes.hash, "n_controls": n_controls, "n_neighbors": n_neighbors, "seed": int(rng),
        **{k: str(v or "") for k, v in source.items()},
    }  # fmt: skip
    return Evaluation(table, scores, verdict(table, len(labels)), dropped, params)


def _all(genes: GeneEmbedding, n_controls: int, source: dict[str, Any], reps: list[str]) -> list[Representation]:
    return [*representations(genes, n_controls, source), *(Representation(k, "given", 0, _given(k)) for k in reps)]


def _matrix_of(made: Representation, adata: AnnData) -> NDArray[Any]:
    return made.fit(adata).matrix


@contextmanager
def _once(said: set[str]) -> Iterator[None]:
    """Warn once of what is the same for many representations and folds."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    for warning in heard:
        if str(warning.message) not in said:
            said.add(str(warning.message))
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


@dataclass(frozen=True)
class _How:
    n_neighbors: int
    n_bootstraps: int
    seed: int
    scib: bool


def _given(key: str) -> Callable[[AnnData], Fitted]:
    def read(cells: AnnData) -> NDArray[Any]:
        return np.asarray(cells.obsm[key])

    return lambda cells: Fitted(read(cells), read)


def _named(column: pd.Series) -> pd.Series:
    """Values as strings, empty where there is none."""
    return column.astype(object).where(column.notna(), "").astype(str)


def _classes(column: pd.Series) -> pd.Series:
    """Cells of each class, largest first, those without a label left out."""
    names = _named(column)
    return names[names != ""].value_counts()


def _usable(column: pd.Series, obs: pd.DataFrame) -> tuple[NDArray[np.bool_], dict[str, int]]:
    names, sizes = _named(column), _classes(column)
    large = sizes[sizes >= _FEWEST]
    if len(large) < 2:
        known = "no class" if len(large) == 0 else f"one class, '{large.index[0]}',"
        raise InputError(
            f"obs['{column.name}'] has {known} of at least {_FEWEST} cells; two are needed to compare. {_instead(obs)}"
        )
    keep = names.isin(list(large.index)).to_numpy()
    dropped = {str(k): int(v) for k, v in sizes[sizes < _FEWEST].items()}
    if missing := int((names == "").sum()):
        dropped["(no label)"] = missing
    return keep, dropped


def _instead(obs: pd.DataFrame) -> str:
    """Which columns could be labels: two classes or more are large enough, and hold at least half of the cells."""
    large = {str(c): sizes[sizes >= _FEWEST] for c in obs.columns for sizes in [_classes(obs[c])]}
    fit = [name for name, sizes in large.items() if len(sizes) >= 2 and sizes.sum() >= len(obs) / 2]
    return f"Columns that have them: {choices(fit, limit=5)}" if fit else "No column of obs has them"


def _batches(column: pd.Series) -> NDArray[Any]:
    names = _named(column)
    if missing := int((names == "").sum()):
        raise InputError(
            f"{missing} labelled cells have no value in obs['{column.name}']; give them a batch, or leave them out"
        )
    if names.nunique() < 2:
        raise InputError(f"all labelled cells have the same batch in obs['{column.name}']: there is nothing to mix")
    return np.asarray(names)


def _score(
    made: Representation, adata: AnnData, labels: NDArray[Any], batch: NDArray[Any] | None, how: _How
) -> dict[str, float]:
    from .tl._graph import graph_of, kmeans, leiden, resolution_for

    fitted, k, seed = made.fit(adata), len(set(labels)), how.seed
    matrix = fitted.matrix
    run = leiden(graph_of(matrix, min(how.n_neighbors, len(labels) - 1), "euclidean", seed))
    sweep = [run(r, seed) for r in _RESOLUTIONS]
    each = pd.DataFrame([metrics.agreement(labels, codes) for codes in sweep])
    interval = np.mean([metrics.bootstrap_ari(labels, codes, n=how.n_bootstraps, rng=seed) for codes in sweep], axis=0)
    at_k = run(resolution_for(lambda r: run(r, seed), k), seed)

    def fold(fit: NDArray[np.int64], rest: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        inside = made.fit(adata[fit].copy())
        return inside.matrix, inside.apply(adata[rest].copy())

    found = {
        **each.mean().to_dict(),
        "ari_low": float(interval[0]),
        "ari_high": float(interval[1]),
        "ari_at_k": metrics.agreement(labels, at_k)["ari"],
        "kmeans_ari": metrics.agreement(labels, kmeans(matrix, k, seed))["ari"],
        "asw": metrics.silhouette(matrix, labels, rng=seed),
        **metrics.balanced_accuracy(fold, labels, rng=seed),
    }
    if batch is not None:
        found["batch_mixing"] = metrics.batch_mixing(matrix, batch, labels)
    if how.scib:
        found |= scib_scores(matrix, labels, batch)
    return {str(name): float(value) for name, value in found.items()}


def _summary(scores: pd.DataFrame) -> pd.DataFrame:
    groups = scores.groupby("representation", sort=False)
    table = groups[[c for c in scores.columns if c not in ("representation", "kind", "seed")]].mean()
    table.insert(0, "kind", groups["kind"].first())
    table["ari_sd"] = groups["ari"].std().fillna(0.0)
    return table


def verdict(table: pd.DataFrame, n_cells: int) -> str:
    """Say in words what the table says, by a fixed rule.

    The text representation judged is ``fused``, the default, chosen before looking. Its mean Leiden ARI is compared
    with the best expression baseline and with each of its controls. A difference counts where it exceeds both the tie
    margin (.05; .10 below 300 cells) and twice the control's standard deviation over seeds. The plain method and
    whitened text alone are judged by the same rule against their own controls, in a second sentence.

    Parameters
    ----------
    table
        As in :class:`Evaluation`.
    n_cells
        Number of cells scored.
    """
    margin = _TIE if n_cells >= 300 else 2 * _TIE
    ari = {str(k): float(v) for k, v in table["ari"].items()}
    sd = {str(k): float(v) for k, v in table["ari_sd"].items()}
    best = max((str(k) for k in table.index[table["kind"] == "expression"]), key=lambda k: ari[k])
    gain = ari["fused"] - ari[best]
    against = [f"{c} {ari[f'fused, {c}']:.2f} +- {sd[f'fused, {c}']:.2f}" for c in _CONTROLS]
    owed = _owed(table, "fused", margin)
    numbers = f"fused ARI {ari['fused']:.2f}, best expression baseline {ari[best]:.2f} ({best}), {', '.join(against)}"
    if gain > margin and owed:
        first = "Text helps here: the fused representation beats expression, and its controls do not"
    elif gain > margin:
        first = "Text adds nothing over shuffled text here: fusion beats expression, but so do its controls"
    elif gain < -margin:
        first = "Text costs accuracy here: expression alone is better than the fused representation"
    elif owed:
        first = "Text carries signal here but adds nothing to expression: fusion equals it and beats its own controls"
    else:
        first = "Text adds nothing over shuffled text here: fusion equals expression, and so do its controls"
    alone = [name for name in ("paper", "whitened") if _owed(table, name, margin)]
    second = f"above its controls in: {', '.join(alone)}" if alone else "not above its controls"
    return f"{first} ({numbers}). Text alone is {second}."


def _owed(table: pd.DataFrame, name: str, margin: float) -> bool:
    """Whether a representation beats both of its controls by more than the margin and twice their spread."""
    ari, sd = table["ari"].to_dict(), table["ari_sd"].to_dict()
    keys = [f"{name}, {control}" for control in _CONTROLS]
    return all(ari[name] - ari[key] > max(margin, 2 * sd[key]) for key in keys)
