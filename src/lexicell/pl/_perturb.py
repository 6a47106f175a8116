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

_N_BARS = 20  # groups that are drawn


def perturb(adata: AnnData, *, use_rep: str = X_TEXT, key: str = "perturb", ax: Axes | None = None) -> Axes:
    """Draw how far the mean of each group moves if genes are changed: the 20 groups that move most.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.perturb`.
    use_rep, key
        Where the result is stored: ``uns["lexicell"][use_rep][key]``.
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
    table: pd.DataFrame = result["table"].sort_values("relative", ascending=False).head(_N_BARS)
    ax = _draw.new_axes(ax, (5.0, 1.0 + 0.24 * len(table)))
    names = table["group"].astype(str).tolist()
    _draw.bars(ax, names, table["relative"].to_numpy(dtype=float), [_draw.UP] * len(table))
    ax.set_xlabel("movement of the mean, relative to the spread of cells")
    targets = ", ".join(str(t) for t in np.atleast_1d(result["params"]["targets"])[:5])
    ax.set_title(f"{targets} × {result['params']['fold']:g}", fontsize=10)
    return ax
