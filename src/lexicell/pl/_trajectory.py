"""A pseudotime on a map, with PAGA over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._keys import X_FUSED, prefix, umap
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["trajectory"]

_THRESHOLD = 0.1  # smallest connectivity of PAGA that is drawn


def trajectory(
    adata: AnnData,
    *,
    use_rep: str = X_FUSED,
    basis: str | None = None,
    paga: bool = True,
    ends: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw cells colored by pseudotime, the graph of their groups over them, and where the trajectory starts and ends.

    Cells without a pseudotime are gray.

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
        connectivity, the thicker the line; connectivities below .1 are not drawn.
    ends
        Whether to mark the roots (squares) and the terminal cells (triangles, with the branch).
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
    wanted = [umap(prefix(use_rep)), use_rep] if basis is None else [basis, f"X_{basis}"]
    key, points = _draw.find_map(adata, wanted)
    ax = _draw.new_axes(ax)
    options = _draw.dots(len(points))
    known = np.isfinite(time)
    if not known.all():
        ax.scatter(points[~known, 0], points[~known, 1], c=_draw.GREY, label="no pseudotime", **options)
    cells = ax.scatter(points[known, 0], points[known, 1], c=time[known], vmin=0, vmax=1, **options)
    _draw.color_bar(ax, cells, "pseudotime")
    if paga:
        _draw_paga(ax, adata, points, adata.uns[f"{prefix(use_rep)}_paga"])
    if ends:
        _draw_ends(ax, adata, points, result)
        marks = [h for h in ax.collections if h.get_label() in ("root", "end", "no pseudotime")]
        ax.legend(handles=marks, frameon=False, fontsize="small", loc="best")
    _draw.bare(ax, key)
    return ax


def _draw_ends(ax: Axes, adata: AnnData, points: NDArray[np.floating], result: dict[str, Any]) -> None:
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


def _draw_paga(ax: Axes, adata: AnnData, points: NDArray[np.floating], graph: dict[str, Any]) -> None:
    names, codes = _draw.as_categories(pd.Series(adata.obs[graph["groups"]]))
    centers = np.array([np.median(points[codes == c], axis=0) for c in range(len(names))])
    # The graph is symmetric: each edge is drawn once.
    weights = np.triu(graph["connectivities"].toarray(), 1)
    for i, j in np.argwhere(weights >= _THRESHOLD):
        ax.plot(*centers[[i, j]].T, color="#333333", lw=0.5 + 3 * weights[i, j], zorder=3, gid="paga", alpha=0.8)
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    area = 30 + 200 * np.sqrt(sizes / sizes.max())
    ax.scatter(centers[:, 0], centers[:, 1], s=area, c="white", edgecolors="#333333", zorder=4, label="groups")
    for name, (x, y) in zip(names, centers.tolist(), strict=True):
        ax.text(x, y, name, fontsize="x-small", ha="center", va="center", zorder=5, path_effects=_draw.halo(2))
