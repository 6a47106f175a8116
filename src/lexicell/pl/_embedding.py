"""Cells on a two-dimensional map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, check_choice, choices
from .._expression import block_rows, open_values
from .._keys import UNS, X_TEXT, prefix, umap
from .._results import recorded_params
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["embedding"]

_LEGENDS = ("auto", "right", "on data", "none")
_ROWS = 16  # entries in a column of the legend
_MANY = 3 * _ROWS  # with more categories, names are written on the map


def embedding(
    adata: AnnData,
    *,
    basis: str | None = None,
    color: str | Sequence[str] | None = None,
    layer: str | None = None,
    legend: str = "auto",
    size: float | None = None,
    cmap: str = "viridis",
    ax: Axes | None = None,
) -> Axes | Figure:
    """Draw cells on a map, colored by a column of ``obs`` or by a gene.

    Parameters
    ----------
    adata
        Cells with a map in ``obsm``, for example from :func:`lexicell.tl.cluster`.
    basis
        Key of the map in ``obsm``, with or without ``X_``. Default: ``X_text_umap``, or the only one lexicell made.
    color
        Column of ``obs``, or a gene, drawn as log1p of counts per 10,000 of the expression that lexicell reads. Several
        give one panel each. Default: the clusters of :func:`lexicell.tl.cluster` on that map, or one color.
    layer
        Layer for genes, whose values are drawn as they are.
    legend
        For categories: ``"right"``, ``"on data"``, ``"none"``; ``"auto"`` writes names on the map where there are too
        many for a legend.
    size
        Area of a dot in points squared; default: by the number of cells.
    cmap
        Colors for numbers; viridis is readable for color-blind people and in grey.
    ax
        Axes to draw on; only for a single `color`.

    Returns
    -------
    The Axes; a Figure for several colors. More than 5,000 dots are rasterized inside vector files.

    Raises
    ------
    MissingKeyError
        If the map, the column or the gene is not there; the message lists what is.
    InputError
        If the map has fewer than two dimensions, or `ax` is given with several colors.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.obsm["X_map"] = adata.X[:, :2].toarray()
    >>> axes = lx.pl.embedding(adata, basis="map", color="cell_type")
    """
    check_choice(legend, _LEGENDS, "legend position")
    key, points = _points(adata, basis)
    if color is not None and not isinstance(color, str):
        if ax is not None:
            raise InputError("several colors make several panels, so ax= cannot be given with them")
        return _grid(adata, key, list(color), layer=layer, legend=legend, size=size, cmap=cmap)
    name = _default_color(adata, key) if color is None else color
    values = None if name is None else _values(adata, name, layer)
    ax = _draw.new_axes(ax)
    options = _draw.dots(len(points), size)
    if values is None:
        ax.scatter(points[:, 0], points[:, 1], c=_draw.FEW[0], **options)
    elif _is_number(values):
        _draw_numbers(ax, points, values.to_numpy(dtype=float), str(name), {**options, "cmap": cmap})
    else:
        _draw_categories(ax, adata, points, values, str(name), legend, options)
    if name is not None:
        ax.set_title(name, fontsize="medium")
    _draw.bare(ax, key)
    return ax


def _points(adata: AnnData, basis: str | None) -> tuple[str, NDArray[np.floating]]:
    """The map named, or the UMAP of the text embedding, or the only one that lexicell made."""
    if basis is None:
        own = [str(k) for k in adata.obsm if str(k).endswith("_umap") and k != "X_umap"]
        basis = own[0] if len(own) == 1 else umap(prefix(X_TEXT))
    return _draw.find_map(adata, [basis, f"X_{basis}"], ". lexicell.tl.cluster makes X_text_umap")


def _default_color(adata: AnnData, key: str) -> str | None:
    for rep, entry in adata.uns.get(UNS, {}).items():
        if isinstance(entry, dict) and "cluster" in entry and umap(prefix(str(rep))) == key:
            column = str(entry["cluster"]["params"]["key_added"])
            return column if column in adata.obs else None
    return None


def _values(adata: AnnData, name: str, layer: str | None) -> pd.Series:
    if name in adata.obs:
        return pd.Series(adata.obs[name])
    if name in adata.var_names:
        return pd.Series(_gene(adata, name, layer), index=adata.obs_names, name=name)
    columns = [str(c) for c in adata.obs.columns]
    raise MissingKeyError(f"'{name}' is neither a column of obs nor a gene; obs has {choices(columns)}")


def _gene(adata: AnnData, name: str, layer: str | None) -> NDArray[np.floating]:
    """log1p of counts per 10,000 of a gene; stored values of a named layer, or where X is neither counts nor logs."""
    if layer is None:
        try:
            rows = open_values(adata, like=recorded_params(adata, X_TEXT))
            place = np.flatnonzero(rows.genes == name)[:1]
            blocks = [rows.read(a, b)[0][:, place].toarray() for a, b in block_rows(rows.slot.rows, None)]
            return np.concatenate(blocks)[:, 0]
        except (InputError, KeyError, IndexError):
            pass
    # Not adata.obs_vector, which anndata 0.13 deprecates.
    stored = (adata.X if layer is None else adata.layers[layer])[:, adata.var_names.get_loc(name)]
    return np.asarray(stored.todense() if sp.issparse(stored) else stored).ravel()


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)


def _draw_numbers(
    ax: Axes, points: NDArray[np.floating], values: NDArray[np.floating], name: str, options: dict[str, Any]
) -> None:
    known = np.isfinite(values)
    if not known.all():
        ax.scatter(points[~known, 0], points[~known, 1], c=_draw.GREY, label="no value", **{**options, "cmap": None})
    # High values are what a reader looks for, so they are drawn last.
    order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
    drawn = ax.scatter(points[order, 0], points[order, 1], c=values[order], **options)
    _draw.color_bar(ax, drawn, name)


def _draw_categories(
    ax: Axes,
    adata: AnnData,
    points: NDArray[np.floating],
    values: pd.Series,
    column: str,
    legend: str,
    options: dict[str, Any],
) -> None:
    names, codes = _draw.as_categories(values)
    colors = np.array([*_draw.category_colors(adata, column, names), _draw.GREY], dtype=object)
    # In their own order the last category would hide the others; a fixed shuffle is fair and always the same.
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(codes[order] >= 0, kind="stable")]
    ax.scatter(points[order, 0], points[order, 1], c=list(colors[codes[order]]), **options)
    if legend == "auto":
        legend = "right" if len(names) <= _MANY else "on data"
    if legend == "on data":
        for k, name in enumerate(names):
            x, y = np.median(points[codes == k], axis=0)
            ax.text(x, y, name, fontsize="small", ha="center", va="center", path_effects=_draw.halo(2.5))
    elif legend == "right":
        _legend(ax, names, colors, missing=bool((codes < 0).any()))


def _legend(ax: Axes, names: list[str], colors: NDArray[Any], *, missing: bool) -> None:
    from matplotlib.lines import Line2D

    shown = [*names, *(["no label"] if missing else [])]
    used = [*colors[: len(names)], *([_draw.GREY] if missing else [])]
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=6, color=str(c), label=n)
        for n, c in zip(shown, used, strict=True)
    ]
    ax.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize="small",
        ncols=-(-len(shown) // _ROWS),
        handletextpad=0.2,
        columnspacing=1.0,
    )


def _grid(adata: AnnData, basis: str, colors: list[str], **options: Any) -> Figure:
    from matplotlib import pyplot as plt

    if not colors:
        raise InputError("color= is an empty list; name columns of obs or genes")
    columns = min(len(colors), 3)
    rows = -(-len(colors) // columns)
    figure: Figure = plt.figure(figsize=(5.2 * columns, 4.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel, name in zip(axes.flat, colors, strict=False):
        embedding(adata, basis=basis, color=name, ax=panel, **options)
    for panel in axes.flat[len(colors) :]:
        panel.set_axis_off()
    return figure
