"""Scores of representations, baselines and controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._errors import InputError, check_key
from . import _draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["evaluation"]

_NAMES = {
    "ari": "Leiden ARI, mean",
    "ami": "Leiden AMI, mean",
    "nmi": "Leiden NMI, mean",
    "ari_at_k": "Leiden ARI at true k",
    "kmeans_ari": "k-means ARI",
    "asw": "silhouette of labels",
    "knn": "kNN, balanced accuracy",
    "lr": "logistic regression, bal. acc.",
    "batch_mixing": "batch mixing",
}
_FOR_LABELS = ("ari", "ari_at_k", "kmeans_ari", "knn", "lr")
_FOR_TIMES = ("spearman", "kendall", "gain")
_COLORS = {"text": "#0072B2", "expression": "#D55E00", "control": "#8c8c8c", "given": "#009E73"}
_WORDS = {"text": "text", "expression": "expression alone", "control": "controls", "given": "given"}


def evaluation(found: Any, *, metrics: Sequence[str] | None = None) -> Figure:
    """Draw what :func:`lexicell.evaluate` or :func:`lexicell.evaluate_order` found: one panel per score.

    There is one row per representation. The vertical line is the best expression baseline, which text must beat. Lines
    through dots are the interval over draws of cells if the table has one and, for controls, one standard deviation
    over seeds.

    Parameters
    ----------
    found
        The result, or its table.
    metrics
        Columns of the table to draw. Default: ``ari``, ``ari_at_k``, ``kmeans_ari``, ``knn`` and ``lr`` for labels,
        ``spearman``, ``kendall`` and ``gain`` for times.

    Returns
    -------
    The figure.

    Raises
    ------
    MissingKeyError
        If a score is not in the table; the message lists those that are.
    InputError
        If there is no score to draw.

    Examples
    --------
    >>> import pandas as pd
    >>> import lexicell as lx
    >>> table = pd.DataFrame(
    ...     {"kind": ["text", "expression", "control"], "ari": [0.5, 0.6, 0.5]},
    ...     index=["fused", "expression PCA, 300 genes", "fused, shuffled texts"],
    ... )
    >>> len(lx.pl.evaluation(table, metrics=["ari"]).axes)
    1
    """
    from matplotlib import pyplot as plt

    table: pd.DataFrame = getattr(found, "table", found)
    if metrics is None:
        metrics = _FOR_LABELS if "ari" in table else _FOR_TIMES
    for metric in metrics:
        check_key(metric, [c for c in table.columns if c != "kind"], "score in the table")
    if not metrics or not len(table):
        raise InputError("there is no score to draw: name at least one column of the table in metrics=")
    size = (2.6 + 2.0 * len(metrics), 0.7 + 0.21 * len(table))
    figure: Figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(metrics), sharey=True)
    for ax, metric in zip(np.atleast_1d(axes), metrics, strict=True):
        _panel(ax, table, metric)
    handles = [
        plt.Line2D([], [], marker="o", linestyle="", color=color, label=_WORDS[kind])
        for kind, color in _COLORS.items()
        if (table["kind"] == kind).any()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize="small")
    return figure


def _panel(ax: Axes, table: pd.DataFrame, metric: str) -> None:
    y = np.arange(len(table))[::-1]
    values = table[metric].to_numpy(dtype=float)
    for place, value, (_, row) in zip(y, values, table.iterrows(), strict=True):
        color = _COLORS[str(row["kind"])]
        ax.plot(value, place, "o", color=color, markersize=5)
        low, high, sd = f"{metric}_low", f"{metric}_high", f"{metric}_sd"
        # Controls vary by seed, the others by draws of cells.
        if row["kind"] == "control" and sd in row:
            ax.plot([value - row[sd], value + row[sd]], [place, place], color=color, linewidth=1.2)
        elif low in row:
            ax.plot([row[low], row[high]], [place, place], color=color, linewidth=1.2)
    baselines = values[(table["kind"] == "expression").to_numpy()]
    if len(baselines):
        ax.axvline(baselines.max(), color=_COLORS["expression"], linewidth=0.8)
    ax.set_yticks(y, [str(name) for name in table.index], fontsize="small")
    ax.set_ylim(-0.7, len(table) - 0.3)
    ax.set_title(_NAMES.get(metric, metric), fontsize="small")
    ax.tick_params(axis="x", labelsize="small")
    ax.grid(axis="y", color="#eeeeee", linewidth=0.6)
    ax.set_axisbelow(True)
    _draw.no_frame(ax, "left")
    ax.tick_params(axis="y", length=0)
