"""A pseudotime on a map, with PAGA over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, choices
from .._keys import X_FUSED, prefix, umap
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["draw_ends", "find_map", "trajectory"]


def trajectory(
    adata: AnnData,
    *,
    use_rep: str = X_FUSED,
    basis: str | None = None,
    paga: bool = True,
    threshold: float = 0.1,
    ends: bool = True,
    size: float | None = None,
    cmap: str = "viridis",
    ax: Axes | None = None,
) -> Axes:
    """Draw cells colored by pseudotime, the graph of their groups over them, and where the trajectory starts and ends.

    Parameters
    ----------
    adata
        Cells with a trajectory.
    use_rep
        Representation that :func:`lexicell.tl.trajectory` was run on.
    basis
        Key of a map in ``obsm``, with or without ``X_``. None: the UMAP of that representation if there is one, else
        the first two dimensions of the representation.
    paga
        Whether to draw PAGA: a dot per group at the median of its cells, larger for more cells; the stronger the
        connectivity, the thicker the line.
    threshold
        Smallest connectivity that is drawn.
    ends
        Whether to mark the roots (squares) and the terminal cells (triangles, with the branch).
    size
        Area of a dot in points squared; None: by the number of cells.
    cmap
        Colors of the pseudotime. Cells without one are gray.
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
    >>> axes = lx.pl.trajectory(adata, use_rep="X_expression")
    """
    result = find_results(adata, use_rep, "trajectory", "lexicell.tl.trajectory")["trajectory"]
    time = adata.obs[f"{prefix(use_rep)}_pseudotime"].to_numpy(dtype=float)
    points, label = find_map(adata, basis, use_rep)
    ax = _draw.new_axes(ax)
    options = _draw.dots(len(points), size)
    known = np.isfinite(time)
    if not known.all():
        ax.scatter(points[~known, 0], points[~known, 1], c=_draw.GREY, label="no pseudotime", **options)
    cells = ax.scatter(points[known, 0], points[known, 1], c=time[known], cmap=cmap, vmin=0, vmax=1, **options)
    bar = ax.figure.colorbar(cells, ax=ax, shrink=0.6, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("pseudotime", fontsize="small")
    if paga:
        _draw_paga(ax, adata, points, adata.uns[f"{prefix(use_rep)}_paga"], threshold)
    if ends:
        draw_ends(ax, adata, points, result)
        marks = [h for h in ax.collections if h.get_label() in ("root", "end", "no pseudotime")]
        ax.legend(handles=marks, frameon=False, fontsize="small", loc="best")
    _draw.bare(ax, f"{label} 1", f"{label} 2")
    return ax


def find_map(adata: AnnData, basis: str | None, use_rep: str) -> tuple[NDArray[np.floating], str]:
    """Two coordinates of each cell, and the name of the map for the axes."""
    wanted = [umap(prefix(use_rep)), use_rep]
    if basis is not None:
        wanted = [basis, f"X_{basis}"]
    found = [key for key in wanted if key in adata.obsm]
    if not found:
        raise MissingKeyError(f"no map '{basis or use_rep}' in obsm; there is {choices(sorted(adata.obsm))}")
    points = np.asarray(adata.obsm[found[0]])
    if points.ndim != 2 or points.shape[1] < 2:
        raise InputError(f"obsm['{found[0]}'] of shape {points.shape} has no two dimensions to draw; name a basis")
    label = str(found[0]).removeprefix("X_").replace("_", " ").replace("umap", "UMAP")
    return points[:, :2], label


def draw_ends(ax: Axes, adata: AnnData, points: NDArray[np.floating], result: dict[str, Any]) -> None:
    """Mark roots and terminal cells, the latter with the names of their branches."""
    roots = []
    for cells in result["components"]["root"]:
        roots += [c for c in str(cells).split("; ") if c]
    mark: dict[str, Any] = {"s": 70, "c": _draw.FEW[5], "edgecolors": "white", "linewidths": 1, "zorder": 6}
    rows = adata.obs_names.get_indexer(pd.Index(roots))
    ax.scatter(*points[rows[rows >= 0]].T, marker="s", label="root", **mark)
    table = result["table"]
    rows = adata.obs_names.get_indexer(pd.Index(table["cell"].astype(str)))
    ax.scatter(*points[rows[rows >= 0]].T, marker="^", label="end", **mark)
    for name, row in zip(table.index.astype(str), rows, strict=True):
        # After subsetting, a terminal cell may no longer be among the cells.
        if row >= 0 and not name.endswith("trunk"):
            ax.annotate(
                name,
                points[row],
                xytext=(6, 6),
                textcoords="offset points",
                fontsize="small",
                zorder=7,
                path_effects=_draw.halo(2.5),
            )


def _draw_paga(ax: Axes, adata: AnnData, points: NDArray[np.floating], graph: dict[str, Any], threshold: float) -> None:
    names, codes = _draw.as_categories(pd.Series(adata.obs[graph["groups"]]))
    centers = np.array([np.median(points[codes == c], axis=0) for c in range(len(names))])
    weights = np.triu(graph["connectivities"].toarray(), 1)
    for i, j in np.argwhere(weights >= max(threshold, 1e-12)):
        ax.plot(*centers[[i, j]].T, color="#333333", lw=0.5 + 3 * weights[i, j], zorder=3, gid="paga", alpha=0.8)
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    area = 30 + 200 * np.sqrt(sizes / sizes.max())
    ax.scatter(centers[:, 0], centers[:, 1], s=area, c="white", edgecolors="#333333", zorder=4, label="groups")
    for name, (x, y) in zip(names, centers.tolist(), strict=True):
        ax.text(x, y, name, fontsize="x-small", ha="center", va="center", zorder=5, path_effects=_draw.halo(2))
