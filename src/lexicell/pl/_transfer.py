"""Transferred labels: two data sets on one map, and how often labels were right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._errors import MissingKeyError, check_choice, check_column
from .._keys import TRANSFER, umap
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["transfer"]

_KINDS = ("auto", "confusion", "map")


def transfer(
    adata: AnnData, *, kind: str = "auto", color: str | None = None, key: str = TRANSFER, ax: Axes | None = None
) -> Axes:
    """Draw both data sets on one map, or how transferred labels agree with known ones.

    Parameters
    ----------
    adata
        Cells labeled by :func:`lexicell.tl.transfer`.
    kind
        ``"confusion"`` (needs ``truth=``): of each known class, the share that got each label. ``"map"`` (needs
        ``map_cells=True``): cells of the labeled data set as filled dots, those of `adata` as crosses, colored by
        label. ``"auto"``: the confusion if there is one.
    color
        Map: column of ``obs`` that colors the cells of `adata`, such as their known types, which show whether cells
        lie among cells of their type. None: the transferred label, which agrees with nearby labeled cells by
        construction.
    key
        `key_added` of the transfer.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no such result or column.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> genes = lx.emb.genes(adata)
    >>> one, other = adata[::2, ::2].copy(), adata[1::2, 1::2].copy()
    >>> counts = lx.Expression(library_size="n_counts")
    >>> lx.tl.transfer(one, other, label="cell_type", truth="cell_type", genes=genes, expression=counts)
    >>> axes = lx.pl.transfer(other)
    """
    check_choice(kind, _KINDS, "kind of plot")
    found = find_results(adata, key, "table", "lexicell.tl.transfer")
    if kind == "auto":
        kind = "confusion" if "confusion" in found else "map"
    if kind == "confusion":
        counts = find_results(adata, key, "confusion", "lexicell.tl.transfer with truth=")["confusion"]
        return _confusion(counts, _draw.new_axes(ax))
    source = find_results(adata, key, "source", "lexicell.tl.transfer with one labeled data set")["source"]
    if "umap" not in source or umap(key) not in adata.obsm:
        raise MissingKeyError("there is no common map; run lexicell.tl.transfer with map_cells=True first")
    if color is not None:
        check_column(adata.obs, color)
    return _map(adata, source, key, color or f"{key}_best", _draw.new_axes(ax))


def _confusion(counts: pd.DataFrame, ax: Axes) -> Axes:
    values = counts.to_numpy(dtype=float)
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    rows = [f"{name} ({n:.0f})" for name, n in zip(counts.index, values.sum(axis=1), strict=True)]
    image = _draw.heat_map(ax, shares, rows, [str(c) for c in counts.columns], vmin=0, vmax=1, cmap="Blues")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if share >= 0.005:
                color = "white" if share > 0.55 else "black"
                ax.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize="x-small", color=color)
    ax.set(xlabel="transferred label", ylabel="known label")
    _draw.color_bar(ax, image, "share of the known class")
    return ax


def _map(adata: AnnData, source: dict[str, Any], key: str, column: str, ax: Axes) -> Axes:
    from matplotlib.lines import Line2D

    labels = [str(v) for v in source["labels"]]
    shown = adata.obs[column].astype(object).where(adata.obs[column].notna(), "unknown").map(str)
    names = sorted({*labels, *shown})
    # The user's colors are in the order of the column's own categories, which may be fewer than those drawn.
    own, _ = _draw.as_categories(adata.obs[column])
    drawn = _draw.category_colors(adata, column, names) if own == names else _draw.palette(len(names))
    colors = dict(zip(names, drawn, strict=True))
    one, other = np.asarray(source["umap"]), np.asarray(adata.obsm[umap(key)])
    options = _draw.dots(len(one) + len(other))
    # Crosses look smaller than dots of the same area.
    crosses = {**options, "s": 1.4 * options["s"], "linewidths": 0.7}
    filled = [colors[v] for v in labels]
    crossed = [colors[v] for v in shown]
    ax.scatter(one[:, 0], one[:, 1], c=filled, alpha=0.55, **options)
    ax.scatter(other[:, 0], other[:, 1], c=crossed, marker="x", **crosses)
    entries = [("o", colors[name], name) for name in names]
    entries += [("o", "0.4", "labeled"), ("x", "0.4", "this data set")]
    handles = [
        Line2D([], [], marker=marker, linestyle="", color=color, label=label, markersize=5)
        for marker, color, label in entries
    ]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
    _draw.bare(ax, "common map")
    return ax
