"""Does text help on this data? Representations, baselines and controls, scored against the user's own labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, check_key, choices
from .._expression import DEFAULT_SLOT, Expression, read_values
from .._progress import progress
from ..core import metrics
from ..core.genes.embedding import GeneEmbedding
from .representations import CONTROLS, Evaluation, Representation, check_compared, compared, tie_margin

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["evaluate", "verdict"]

_RESOLUTIONS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)
_FEWEST = 5  # cells per class, so that each of five folds has one
_N_NEIGHBORS = 15


def evaluate(
    adata: AnnData,
    *,
    label: str,
    genes: GeneEmbedding | None = None,
    batch: str | None = None,
    use_reps: list[str] | None = None,
    expression: Expression | None = None,
    n_controls: int = 3,
    n_bootstraps: int = 200,
    rng: int = 0,
    show_progress: bool | None = None,
) -> Evaluation:
    """Score text representations on known labels, beside strong expression baselines and matched controls.

    The controls are the same gene embedding with shuffled or random vectors, sent through the same public functions. A
    gain that they share does not come from the text. For measured times instead of labels, see
    :func:`lexicell.evaluate_order`.

    Parameters
    ----------
    adata
        Cells with counts (or abundances, or log values). Not changed.
    label
        Column of ``obs`` with labels known from elsewhere, best not from clustering the same counts. Cells without a
        label and classes of fewer than five cells are left out, and named in the result.
    genes
        From :func:`lexicell.emb.genes`; None: the bundled texts and vectors.
    batch
        Column of ``obs`` with batches or donors; adds ``batch_mixing``, and leaves out whole batches for ``knn`` and
        ``lr``.
    use_reps
        Further keys of ``obsm`` to score as they are.
    expression
        Which matrix holds the expression; None: ``X``.
    n_controls
        Seeds of each control.
    n_bootstraps
        Draws of cells for the intervals.
    rng
        Random seed.
    show_progress
        Whether to draw a progress bar; None: if stderr is a terminal.

    Returns
    -------
    Evaluation
        Scores: ``ari``, ``ami``, ``nmi`` (Leiden, mean over resolutions .1 to 1.5; ``ari_low`` and ``ari_high``: 95 %
        interval over cells), ``ari_at_k`` (Leiden at the number of classes), ``kmeans_ari``, ``asw`` (silhouette of the
        labels), ``knn`` and ``lr`` (balanced accuracy, five folds; classifier, scaling and the representation itself,
        its variable genes, z-scores and components, are fitted inside the folds, except for those of `use_reps`),
        ``batch_mixing`` with `batch`; in the table also ``ari_sd`` (over seeds of a control).

    Raises
    ------
    MissingKeyError
        If a column or a representation does not exist; the message lists those that do.
    InputError
        If fewer than two classes have five cells, cells have no batch or all have the same, a representation contains
        NaN, nothing is expressed, or the values cannot be used.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> where = lx.Expression(library_size="n_counts")
    >>> found = lx.evaluate(adata, label="cell_type", expression=where, n_controls=1)  # doctest: +SKIP
    >>> print(found.verdict)  # doctest: +SKIP
    """
    from .. import emb

    choice = expression or DEFAULT_SLOT
    check_key(label, adata.obs.columns, "column in obs")
    if batch is not None:
        check_key(batch, adata.obs.columns, "column in obs")
    check_compared(adata, use_reps, n_controls, n_bootstraps)
    keep, dropped = _usable(adata.obs[label], adata.obs)
    work = adata[keep].copy()
    labels = work.obs[label].astype(str).to_numpy(dtype=object)
    batches = None if batch is None else _batches(work.obs[batch])
    # Values that cannot be used are refused before anything costly begins.
    if read_values(work, choice).log.nnz == 0:
        raise InputError(
            f"no gene is expressed in any of the {len(labels)} labeled cells; pass expression=, the matrix with counts"
        )
    if genes is None:
        genes = emb.genes(work, use_raw=bool(choice.use_raw))
    jobs = compared(genes, n_controls, choice, use_reps)
    rows = []
    said: set[str] = set()
    with progress("evaluating", len(jobs), show=show_progress) as advance:
        for job in jobs:
            with _once(said):
                scores = _score(job, work, labels, batches, n_bootstraps=n_bootstraps, seed=int(rng))
            rows.append({"representation": job.name, "kind": job.kind, "seed": job.seed, **scores})
            advance()
    table = _summary(pd.DataFrame(rows))
    params = {
        "label": label,
        "batch": batch or "",
        "cells": len(labels),
        "classes": len(set(labels)),
        "genes": len(genes),
        "gene_embedding": genes.hash,
        "n_controls": n_controls,
        "n_bootstraps": n_bootstraps,
        "seed": int(rng),
        **{name: str(value or "") for name, value in asdict(choice).items()},
    }
    return Evaluation(table, pd.DataFrame(rows), verdict(table, len(labels)), dropped, params)


@contextmanager
def _once(said: set[str]) -> Iterator[None]:
    """Show each warning once, although many representations and folds raise it."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    for warning in heard:
        if str(warning.message) not in said:
            said.add(str(warning.message))
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _named(column: pd.Series) -> pd.Series:
    """Values as strings, empty if missing."""
    return column.astype(object).where(column.notna(), "").astype(str)


def _classes(column: pd.Series) -> pd.Series:
    """Number of cells in each class, the largest first, without cells that have no label."""
    names = _named(column)
    return names[names != ""].value_counts()


def _usable(column: pd.Series, obs: pd.DataFrame) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which cells can be scored, and the number of cells of each label left out."""
    sizes = _classes(column)
    large = sizes[sizes >= _FEWEST]
    if len(large) < 2:
        known = f"one class, '{large.index[0]}'," if len(large) else "no class"
        raise InputError(
            f"obs['{column.name}'] has {known} of at least {_FEWEST} cells; two are needed to compare. "
            f"{_other_columns(obs)}"
        )
    names = _named(column)
    dropped = {str(name): int(size) for name, size in sizes[sizes < _FEWEST].items()}
    if (names == "").any():
        dropped["(no label)"] = int((names == "").sum())
    return names.isin(list(large.index)).to_numpy(), dropped


def _other_columns(obs: pd.DataFrame) -> str:
    """Which columns could be labels: two classes or more are large enough, and hold at least half of the cells."""
    fit = []
    for column in obs.columns:
        sizes = _classes(obs[column])
        large = sizes[sizes >= _FEWEST]
        if len(large) >= 2 and large.sum() >= len(obs) / 2:
            fit.append(str(column))
    return f"Columns that have them: {choices(fit, limit=5)}" if fit else "No column of obs has them"


def _batches(column: pd.Series) -> NDArray[Any]:
    names = _named(column)
    missing = int((names == "").sum())
    if missing:
        raise InputError(
            f"{missing} labeled cells have no value in obs['{column.name}']; give them a batch, or leave them out"
        )
    if names.nunique() < 2:
        raise InputError(f"all labeled cells have the same batch in obs['{column.name}']: there is nothing to mix")
    return np.asarray(names)


def _score(
    made: Representation,
    adata: AnnData,
    labels: NDArray[Any],
    batch: NDArray[Any] | None,
    *,
    n_bootstraps: int,
    seed: int,
) -> dict[str, float]:
    """All scores of one representation."""
    from ..tl import graph_of, kmeans, leiden, resolution_for

    matrix = made.fit(adata).matrix
    k = len(set(labels))
    run = leiden(graph_of(matrix, min(_N_NEIGHBORS, len(labels) - 1), seed))
    sweep = [run(resolution, seed) for resolution in _RESOLUTIONS]
    each = pd.DataFrame([metrics.agreement(labels, codes) for codes in sweep])
    intervals = [metrics.bootstrap_ari(labels, codes, n=n_bootstraps, rng=seed) for codes in sweep]
    low, high = np.mean(intervals, axis=0)
    at_k = run(resolution_for(lambda resolution: run(resolution, seed), k), seed)

    def fold(fit: NDArray[np.int64], rest: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        # The representation is fitted inside the fold, too, or it would have seen the cells it is tested on.
        inside = made.fit(adata[fit].copy())
        return inside.matrix, inside.apply(adata[rest].copy())

    found: dict[Any, float] = {
        **each.mean().to_dict(),
        "ari_low": low,
        "ari_high": high,
        "ari_at_k": metrics.agreement(labels, at_k)["ari"],
        "kmeans_ari": metrics.agreement(labels, kmeans(matrix, k, seed))["ari"],
        "asw": metrics.silhouette(matrix, labels, rng=seed),
        **metrics.balanced_accuracy(fold, labels, donors=batch, rng=seed),
    }
    if batch is not None:
        found["batch_mixing"] = metrics.batch_mixing(matrix, batch, labels)
    return {str(name): float(value) for name, value in found.items()}


def _summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean scores of each representation over its seeds."""
    groups = scores.groupby("representation", sort=False)
    table = groups[[c for c in scores.columns if c not in ("representation", "kind", "seed")]].mean()
    table.insert(0, "kind", groups["kind"].first())
    table["ari_sd"] = groups["ari"].std().fillna(0.0)
    return table


def verdict(table: pd.DataFrame, n_cells: int) -> str:
    """Say in words what the table says, by a fixed rule.

    The text representation judged is ``fused``, the default, chosen before looking. Its mean Leiden ARI is compared
    with the best expression baseline and with each of its controls. A difference counts if it exceeds both the tie
    margin (.05; .10 below 300 cells) and twice the control's standard deviation over seeds. The plain method and
    whitened text alone are judged by the same rule against their own controls, in a second sentence.

    Parameters
    ----------
    table
        As in :class:`Evaluation`.
    n_cells
        Number of cells scored.
    """
    margin = tie_margin(n_cells)
    ari = table["ari"]
    best = str(ari[table["kind"] == "expression"].idxmax())
    gain = ari["fused"] - ari[best]
    from_text = _beats_controls(table, "fused", margin)
    if gain > margin and from_text:
        first = "Text helps here: the fused representation beats expression, and its controls do not"
    elif gain > margin:
        first = "Text adds nothing over shuffled text here: fusion beats expression, but so do its controls"
    elif gain < -margin:
        first = "Text costs accuracy here: expression alone is better than the fused representation"
    elif from_text:
        first = "Text carries signal here but adds nothing to expression: fusion equals it and beats its own controls"
    else:
        first = "Text adds nothing over shuffled text here: fusion equals expression, and so do its controls"
    numbers = [f"fused ARI {ari['fused']:.2f}", f"best expression baseline {ari[best]:.2f} ({best})"]
    for control in CONTROLS:
        row = table.loc[f"fused, {control}"]
        numbers.append(f"{control} {row['ari']:.2f} +- {row['ari_sd']:.2f}")
    alone = [name for name in ("paper", "whitened") if _beats_controls(table, name, margin)]
    second = f"above its controls in: {', '.join(alone)}" if alone else "not above its controls"
    return f"{first} ({', '.join(numbers)}). Text alone is {second}."


def _beats_controls(table: pd.DataFrame, name: str, margin: float) -> bool:
    """Whether a representation beats both of its controls by more than the margin and twice their spread."""
    controls = table.loc[[f"{name}, {control}" for control in CONTROLS]]
    gain = float(table["ari"][name]) - controls["ari"]
    return bool((gain > np.maximum(margin, 2 * controls["ari_sd"])).all())
