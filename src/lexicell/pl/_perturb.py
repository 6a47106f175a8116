"""Effects of changed genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._keys import X_TEXT
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["perturb"]


def perturb(
    adata: AnnData, *, use_rep: str = X_TEXT, key: str = "perturb", n_bars: int = 20, ax: Axes | None = None
) -> Axes:
    """How far groups move if genes are changed, or which removals move cells toward control.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.perturb`, or, with ``key="rank_perturbations"``, after
        :func:`lexicell.tl.rank_perturbations` (its first cell type).
    use_rep, key
        Where the result is stored: ``uns["lexicell"][use_rep][key]``.
    n_bars
        Bars shown at most.
    ax
        Axes to draw into; None: a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no result.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", library_size="n_counts")
    >>> lx.tl.perturb(adata, ["CD79A"], groupby="cell_type")
    >>> axes = lx.pl.perturb(adata)
    """
    result = find_results(adata, use_rep, key, f"lexicell.tl.{key}(adata, use_rep='{use_rep}')")[key]
    table: pd.DataFrame = result["table"]
    if "closes" in table:
        first = table.iloc[0]
        is_shown = (table["cell_type"] == first["cell_type"]) & (table["comparison"] == first["comparison"])
        table = table[is_shown].head(n_bars)
        names, values = table["gene"], table["closes"]
        colors = [_draw.UP if p <= 0.05 else _draw.GREY for p in table["p"]]
        label = "share of the way to control that its removal closes"
        title = f"{first['cell_type']} (orange: p ≤ .05)"
    else:
        table = table.sort_values("relative", ascending=False).head(n_bars)
        names, values = table["group"], table["relative"]
        colors = [_draw.UP] * len(table)
        label = "movement of the mean, relative to the spread of cells"
        targets = ", ".join(str(t) for t in np.atleast_1d(result["params"]["targets"])[:5])
        title = f"{targets} × {result['params']['fold']:g}"
    ax = _draw.new_axes(ax, (5.0, 1.0 + 0.24 * len(table)))
    _draw.bars(ax, names.astype(str).tolist(), values.to_numpy(dtype=float), colors)
    ax.set_xlabel(label)
    ax.set_title(title, fontsize=10)
    return ax
