"""Genes and concepts along a pseudotime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._errors import InputError, MissingKeyError, check_choice, choices
from .._keys import X_FUSED, column_name
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["trends"]

_LINES = 12  # curves that can be told apart by their colors


def trends(
    adata: AnnData,
    *,
    use_rep: str = X_FUSED,
    features: Sequence[str] | None = None,
    kind: str = "gene",
    n_features: int = 30,
    ax: Axes | None = None,
) -> Axes:
    """Draw genes or concepts along a pseudotime: a heat map of those that change most, or named ones as curves.

    Parameters
    ----------
    adata
        Cells with :func:`lexicell.tl.trends`.
    use_rep
        Representation that :func:`lexicell.tl.trajectory` was run on.
    features
        Up to 12 genes or concepts, drawn as curves in their own units. None: a heat map.
    kind
        ``"gene"`` or ``"concept"``, for the heat map.
    n_features
        Rows of the heat map: the features with the most explained variance, ordered by where they peak. Each row is
        scaled to 0 to 1, so that colors compare within a row, not between rows.
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
    >>> lx.tl.trends(adata, use_rep="X_expression", queries=[])
    >>> axes = lx.pl.trends(adata, use_rep="X_expression")
    """
    found = find_results(adata, use_rep, "trends", "lexicell.tl.trends")["trends"]
    curves, table = found["curves"], found["table"]
    if features is not None:
        return _draw_lines(curves, list(features), ax)
    check_choice(kind, ("gene", "concept"), "kind")
    names = [column_name(f) for f in table.loc[table["kind"].astype(str) == kind, "feature"]]
    shown = [f for f in names if f in curves.columns][:n_features]
    if not shown:
        raise InputError(f"there are no curves of kind '{kind}'; run lexicell.tl.trends again, it says why")
    return _draw_heat_map(curves[shown], ax)


def _draw_heat_map(curves: pd.DataFrame, ax: Axes | None) -> Axes:
    rows = curves.to_numpy().T
    low = rows.min(axis=1, keepdims=True)
    size = rows.max(axis=1, keepdims=True) - low
    scaled = (rows - low) / np.where(size > 0, size, 1.0)
    # By the position of the peak, so that the rows read as a cascade.
    order = np.argsort(scaled.argmax(axis=1), kind="stable")
    n = len(rows)
    ax = _draw.new_axes(ax, (6.0, 0.2 * n + 1.2))
    grid = curves.index.to_numpy(dtype=float)
    extent = (grid[0], grid[-1], n, 0)
    image = ax.imshow(scaled[order], aspect="auto", cmap="viridis", interpolation="nearest", extent=extent)
    ax.set_yticks(np.arange(n) + 0.5, curves.columns[order], fontsize="small")
    ax.set_xlabel("pseudotime")
    ax.tick_params(length=0, axis="y")
    _draw.no_frame(ax, "left", "bottom")
    bar = _draw.color_bar(ax, image, "", shrink=0.5, ticks=[0, 1])
    bar.ax.set_yticklabels(["lowest", "highest"], fontsize="small")
    return ax


def _draw_lines(curves: pd.DataFrame, features: list[str], ax: Axes | None) -> Axes:
    if not 1 <= len(features) <= _LINES:
        raise InputError(f"between 1 and {_LINES} features can be drawn as curves; got {len(features)}")
    columns = [column_name(f) for f in features]
    missing = [f for f, c in zip(features, columns, strict=True) if c not in curves.columns]
    if missing:
        raise MissingKeyError(f"no curve of {choices(missing)}; name them in lexicell.tl.trends(features=...)")
    ax = _draw.new_axes(ax, (6.0, 3.6))
    for name, column, color in zip(features, columns, _draw.palette(len(features)), strict=True):
        ax.plot(curves.index.to_numpy(dtype=float), curves[column].to_numpy(), color=color, lw=1.8, label=name)
    ax.set_xlabel("pseudotime")
    ax.set_ylabel("smoothed value")
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    _draw.no_frame(ax)
    return ax
