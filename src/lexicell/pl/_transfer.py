"""Labels that came from elsewhere: two data sets on one map, and how often labels were right; suggested cell types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._errors import MissingKeyError, check_choice, check_key
from .._keys import SUGGESTED, TRANSFER, column_name, umap
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["annotate", "transfer"]

_KINDS = ("auto", "confusion", "map")


def transfer(
    adata: AnnData, *, kind: str = "auto", color: str | None = None, key: str = TRANSFER, ax: Axes | None = None
) -> Axes:
    """Draw both data sets on one map, or how transferred labels agree with known ones.

    Parameters
    ----------
    adata
        The target of :func:`lexicell.tl.transfer`.
    kind
        ``"confusion"`` (needs ``truth=``): of each known class, the share that got each label. ``"map"`` (needs
        ``map_cells=True``): cells of the source as filled dots, those of the target as crosses, coloured by label.
        ``"auto"``: the confusion where there is one.
    color
        Map: column of ``obs`` that colours the target's cells, such as their known types, which show whether cells
        lie among their like. None: the transferred label, which always agrees with the cells around.
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
    >>> lx.tl.transfer(one, other, label="cell_type", truth="cell_type", genes=genes, library_size="n_counts")
    >>> axes = lx.pl.transfer(other)
    """
    check_choice(kind, _KINDS, "kind of plot")
    found = find_results(adata, key, "table", "lexicell.tl.transfer")
    if kind == "auto":
        kind = "confusion" if "confusion" in found else "map"
    if kind == "confusion":
        counts = find_results(adata, key, "confusion", "lexicell.tl.transfer with truth=")["confusion"]
        return _confusion(counts, _draw.new_axes(ax))
    source = find_results(adata, key, "source", "lexicell.tl.transfer with one source")["source"]
    if "umap" not in source or umap(key) not in adata.obsm:
        raise MissingKeyError("there is no common map; run lexicell.tl.transfer with map_cells=True first")
    if color is not None:
        check_key(color, [str(c) for c in adata.obs.columns], "column in obs")
    return _map(adata, source, key, color or f"{key}_best", _draw.new_axes(ax))


def _confusion(counts: pd.DataFrame, ax: Axes) -> Axes:
    shares = counts.to_numpy(dtype=float) / np.maximum(counts.to_numpy(dtype=float).sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if share >= 0.005:
                ax.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize="x-small",
                        color="white" if share > 0.55 else "black")  # fmt: skip
    ax.set(xticks=range(counts.shape[1]), yticks=range(len(counts)), xlabel="transferred label", ylabel="known label")
    ax.set_xticklabels([str(c) for c in counts.columns], rotation=40, ha="right", fontsize="small")
    ax.set_yticklabels(
        [f"{c} ({int(n)})" for c, n in zip(counts.index, counts.sum(axis=1), strict=True)], fontsize="small"
    )
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7)
    bar.set_label("share of the known class", fontsize="small")
    return ax


def _map(adata: AnnData, source: dict[str, Any], key: str, column: str, ax: Axes) -> Axes:
    labels = [str(v) for v in source["labels"]]
    shown = adata.obs[column].astype(object).where(adata.obs[column].notna(), "unknown").map(str)
    names = sorted({*labels, *shown})
    # The user's colours are in the order of the column's own categories, which need not be all that is drawn.
    own, _ = _draw.as_categories(adata.obs[column])
    drawn = _draw.category_colors(adata, column, names) if own == names else _draw.palette(len(names))
    colors = dict(zip(names, drawn, strict=True))
    area = _draw.dot_size(len(labels) + adata.n_obs)
    one, other = np.asarray(source["umap"]), np.asarray(adata.obsm[umap(key)])
    raster = _draw.rasterize(len(one) + len(other))
    ax.scatter(one[:, 0], one[:, 1], s=area, c=[colors[v] for v in labels], linewidths=0, alpha=0.55, rasterized=raster)
    ax.scatter(
        other[:, 0], other[:, 1], s=area * 1.4, marker="x", linewidths=0.7, c=[colors[v] for v in shown],
        rasterized=raster,
    )  # fmt: skip
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", linestyle="", color=colors[n], label=n, markersize=5) for n in names]
    handles += [
        Line2D([], [], marker="o", linestyle="", color="0.4", label="source", markersize=5),
        Line2D([], [], marker="x", linestyle="", color="0.4", label="target", markersize=5),
    ]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
    _draw.bare(ax, "common map 1", "common map 2")
    return ax


def annotate(adata: AnnData, *, n_types: int = 12, key: str = SUGGESTED, ax: Axes | None = None) -> Axes:
    """Draw how well candidate types fit each group; the suggestion is framed, and dashed where it is unsure.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.annotate` with ``groupby=``.
    n_types
        At most so many candidates: those with the highest score in any group.
    key
        `key_added` of the suggestions.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no such result.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.annotate(adata, group="immune", groupby="cell_type")
    >>> axes = lx.pl.annotate(adata)
    """
    found = find_results(adata, key, "scores", "lexicell.tl.annotate with groupby=")
    scores, table = found["scores"], found["table"].set_index("group")
    top = scores.max(axis=0).sort_values(ascending=False).index[:n_types]
    wanted = {column_name(b) for b in table["best"]}
    columns = [c for c in scores.columns if c in set(top) | wanted]
    ax = _draw.new_axes(ax)
    values = scores[columns].to_numpy(dtype=float)
    size = float(np.abs(values).max()) or 1.0
    image = ax.imshow(values, cmap="RdBu_r", vmin=-size, vmax=size, aspect="auto")
    from matplotlib.patches import Rectangle

    for i, group in enumerate(scores.index):
        row = table.loc[str(group)]
        style = "-" if row["suggested"] == row["best"] else ":"
        j = columns.index(column_name(row["best"]))
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="black", linestyle=style, linewidth=1.4))
    ax.set(xticks=range(len(columns)), yticks=range(len(scores)), xlabel="suggested type", ylabel="group")
    ax.set_xticklabels(columns, rotation=40, ha="right", fontsize="small")
    ax.set_yticklabels([str(g) for g in scores.index], fontsize="small")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7)
    bar.set_label("mean score (sd over cells)", fontsize="small")
    return ax
