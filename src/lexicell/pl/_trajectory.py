"""A pseudotime on a map with PAGA over it, and what changes along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, check_choice, choices
from .._keys import X_FUSED, umap
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["trajectory", "trends"]

_LINES = 12  # curves that can be told apart by their labels


def trajectory(
    adata: AnnData,
    *,
    key: str = X_FUSED,
    basis: str | None = None,
    paga: bool = True,
    threshold: float = 0.1,
    ends: bool = True,
    size: float | None = None,
    cmap: str = "viridis",
    ax: Axes | None = None,
) -> Axes:
    """Draw cells coloured by pseudotime, the graph of their groups over them, and where the trajectory starts and ends.

    Parameters
    ----------
    adata
        Cells with a trajectory.
    key
        Key under which :func:`lexicell.tl.trajectory` wrote.
    basis
        Key of a map in ``obsm``, with or without ``X_``. Default: the UMAP of that representation where it stands, else
        the first two dimensions of the representation.
    paga
        Whether to draw PAGA: a dot a group at the median of its cells, its area growing with their number; lines as
        thick as the connectivity.
    threshold
        Smallest connectivity that is drawn.
    ends
        Whether to mark the roots (squares) and the terminal cells (triangles, with the branch).
    size
        Area of a dot in points squared; default: by the number of cells.
    cmap
        Colours of the pseudotime. Cells without one are grey.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no such trajectory or map.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=0)
    >>> axes = lx.pl.trajectory(adata, key="X_expression")
    """
    result = find_results(adata, key, "trajectory", "lexicell.tl.trajectory")["trajectory"]
    params = result["params"]
    scanpys = bool(params["scanpy_keys"])
    time = adata.obs["dpt_pseudotime" if scanpys else f"{params['prefix']}_pseudotime"].to_numpy(dtype=float)
    name, points = _map(adata, basis, str(params["prefix"]), str(params["use_rep"]))
    ax = _draw.new_axes(ax)
    area = _draw.dot_size(len(points)) if size is None else size
    known = np.isfinite(time)
    options: dict[str, Any] = {"s": area, "linewidths": 0, "rasterized": _draw.rasterize(len(points))}
    if not known.all():
        ax.scatter(points[~known, 0], points[~known, 1], c=_draw.GREY, label="no pseudotime", **options)
    cells = ax.scatter(points[known, 0], points[known, 1], c=time[known], cmap=cmap, vmin=0, vmax=1, **options)
    bar = ax.figure.colorbar(cells, ax=ax, shrink=0.6, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("pseudotime", fontsize="small")
    if paga:
        _draw_paga(ax, adata, points, adata.uns["paga" if scanpys else f"{params['prefix']}_paga"], threshold)
    if ends:
        _draw_ends(ax, adata, points, result)
    label = name.removeprefix("X_").replace("_", " ").replace("umap", "UMAP")
    _draw.bare(ax, f"{label} 1", f"{label} 2")
    return ax


def trends(
    adata: AnnData,
    *,
    key: str = X_FUSED,
    features: Sequence[str] | None = None,
    kind: str = "gene",
    n_features: int = 30,
    cmap: str = "viridis",
    ax: Axes | None = None,
) -> Axes:
    """Draw genes or concepts along a pseudotime: a heat map of those that change most, or curves of the ones named.

    Parameters
    ----------
    adata
        Cells with :func:`lexicell.tl.trends`.
    key
        Key under which the trajectory was written.
    features
        Up to 12 genes or concepts, drawn as curves in their own units. None: a heat map.
    kind
        ``"gene"`` or ``"concept"``, for the heat map.
    n_features
        Rows of the heat map: the features with the most explained variance, ordered by where they peak. Each row is
        scaled to 0 .. 1, so that colours compare along a row and not between rows.
    cmap
        Colours of the heat map.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there are no trends, or a feature has no curve.
    InputError
        If there are too many features, or none of that kind.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=0)
    >>> lx.tl.trends(adata, key="X_expression", words=False)
    >>> axes = lx.pl.trends(adata, key="X_expression")
    """
    found = find_results(adata, key, "trends", "lexicell.tl.trends")["trends"]
    curves, table = found["curves"], found["table"]
    if features is not None:
        return _draw_lines(curves, list(features), ax)
    check_choice(kind, ("gene", "concept"), "kind")
    names = [str(f).replace("/", "-") for f in table.loc[table["kind"].astype(str) == kind, "feature"]]
    shown = [f for f in names if f in curves.columns][:n_features]
    if not shown:
        raise InputError(f"there are no curves of kind '{kind}'; lexicell.tl.trends says why when it runs")
    rows = curves[shown].to_numpy().T
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    scaled = (rows - low) / np.where(high > low, high - low, 1.0)
    order = np.argsort(scaled.argmax(axis=1), kind="stable")
    ax = _draw.new_axes(ax, (6.0, 0.2 * len(shown) + 1.2))
    grid = curves.index.to_numpy(dtype=float)
    image = ax.imshow(
        scaled[order], aspect="auto", cmap=cmap, interpolation="nearest", extent=(grid[0], grid[-1], len(shown), 0)
    )
    ax.set_yticks(np.arange(len(shown)) + 0.5, [shown[i] for i in order], fontsize="small")
    ax.set_xlabel("pseudotime")
    ax.tick_params(length=0, axis="y")
    for side in ax.spines.values():
        side.set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.5, aspect=18, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["lowest", "highest"], fontsize="small")
    bar.outline.set_visible(False)
    return ax


def _map(adata: AnnData, basis: str | None, prefix: str, use_rep: str) -> tuple[str, NDArray[np.floating]]:
    wanted = [basis, f"X_{basis}"] if basis is not None else [umap(prefix), use_rep]
    name = next((w for w in wanted if w in adata.obsm), None)
    if name is None:
        raise MissingKeyError(f"no map '{basis or use_rep}' in obsm; there is {choices(sorted(adata.obsm))}")
    points = np.asarray(adata.obsm[name])
    if points.ndim != 2 or points.shape[1] < 2:
        raise InputError(f"obsm['{name}'] of shape {points.shape} has no two dimensions to draw")
    return str(name), points[:, :2]


def _draw_paga(ax: Axes, adata: AnnData, points: NDArray[np.floating], graph: dict[str, Any], threshold: float) -> None:
    from matplotlib import patheffects

    names, codes = _draw.as_categories(pd.Series(adata.obs[graph["groups"]]))
    centres = np.array([np.median(points[codes == c], axis=0) for c in range(len(names))])
    weights = np.asarray(graph["connectivities"].todense())
    for i, j in zip(*np.nonzero(np.triu(weights, 1) >= max(threshold, 1e-12)), strict=True):
        ax.plot(*centres[[i, j]].T, color="#333333", lw=0.5 + 3 * weights[i, j], zorder=3, gid="paga", alpha=0.8)
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    ax.scatter(
        centres[:, 0],
        centres[:, 1],
        s=30 + 200 * np.sqrt(sizes / sizes.max()),
        c="white",
        edgecolors="#333333",
        zorder=4,
        label="groups",
    )
    for name, (x, y) in zip(names, centres.tolist(), strict=True):
        ax.text(
            x, y, name, fontsize="x-small", ha="center", va="center", zorder=5,
            path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip


def _draw_ends(ax: Axes, adata: AnnData, points: NDArray[np.floating], result: dict[str, Any]) -> None:
    from matplotlib import patheffects

    roots = [c for cells in result["components"]["root"] for c in str(cells).split("; ") if c]
    places = adata.obs_names.get_indexer(pd.Index(roots))
    mark: dict[str, Any] = {"s": 70, "c": _draw.FEW[5], "edgecolors": "white", "linewidths": 1, "zorder": 6}
    ax.scatter(*points[places[places >= 0]].T, marker="s", label="root", **mark)
    table = result["table"]
    places = adata.obs_names.get_indexer(pd.Index(table["cell"].astype(str)))
    ax.scatter(*points[places[places >= 0]].T, marker="^", label="end", **mark)
    for name, place in zip(table.index.astype(str), places, strict=True):
        if place >= 0 and not name.endswith("trunk"):
            ax.annotate(
                name, points[place], xytext=(6, 6), textcoords="offset points", fontsize="small", zorder=7,
                path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")],
            )  # fmt: skip
    ax.legend(
        handles=[h for h in ax.collections if h.get_label() in ("root", "end", "no pseudotime")],
        frameon=False, fontsize="small", loc="best",
    )  # fmt: skip


def _draw_lines(curves: pd.DataFrame, features: list[str], ax: Axes | None) -> Axes:
    if not 1 <= len(features) <= _LINES:
        raise InputError(f"between 1 and {_LINES} features can be drawn as curves; got {len(features)}")
    columns = [str(f).replace("/", "-") for f in features]
    missing = [f for f, c in zip(features, columns, strict=True) if c not in curves.columns]
    if missing:
        raise MissingKeyError(
            f"no curve of {choices(missing)}; name them in lexicell.tl.trends(features=...) or raise n_curves"
        )
    ax = _draw.new_axes(ax, (6.0, 3.6))
    for name, column, colour in zip(features, columns, _draw.palette(len(features)), strict=True):
        ax.plot(curves.index.to_numpy(dtype=float), curves[column].to_numpy(), color=colour, lw=1.8, label=name)
    ax.set_xlabel("pseudotime")
    ax.set_ylabel("smoothed value")
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax
