"""The genes behind a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._errors import check_key
from .._keys import OTHER_GENES, X_TEXT
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["explain"]


def explain(
    adata: AnnData,
    group: str | None = None,
    *,
    use_rep: str = X_TEXT,
    key: str = "explain",
    n_genes: int = 15,
    ax: Axes | None = None,
) -> Axes:
    """Draw the genes behind a number as bars; all other genes share one bar, so that the bars add up to the whole.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.explain`.
    group
        Group or cell, if several were explained; None: the first.
    use_rep, key
        Where the result is stored: ``uns["lexicell"][use_rep][key]``.
    n_genes
        Genes with their own bar; all others share one bar.
    ax
        Axes to draw into; None: a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no result, or none for the group.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", library_size="n_counts")
    >>> lx.tl.explain(adata, groupby="cell_type", group="CD19+ B")
    >>> axes = lx.pl.explain(adata, "CD19+ B")
    """
    result = find_results(adata, use_rep, key, f"lexicell.tl.explain(adata, use_rep='{use_rep}')")[key]
    totals = result["totals"].set_index(result["totals"]["group"].astype(str))
    group = totals.index[0] if group is None else check_key(group, totals.index, "explained group")
    table = result["table"][result["table"]["group"].astype(str) == group]
    is_shown = table["rank"].between(1, n_genes)
    own, rest = table[is_shown], table[~is_shown]
    # Genes that are not drawn join the row of all other genes; what belongs to no gene keeps its own bar.
    bar = rest["gene"].astype(str).where(rest["rank"] == 0, OTHER_GENES)
    closing = rest.groupby(bar)[["part_text", "part_expression", "part"]].sum()
    labels = [*own["gene"].astype(str), *closing.index]
    parts = pd.concat([own[closing.columns], closing])
    expression = parts["part_expression"].to_numpy(dtype=float)
    is_fused = bool(np.abs(expression).max() > 0)
    if is_fused:
        colors = [_draw.GREEN] * len(own)
    else:
        colors = [_draw.UP if change > 0 else _draw.DOWN for change in own["change"].astype(float)]
    ax = _draw.new_axes(ax, (5.0, 1.0 + 0.24 * len(labels)))
    text = parts["part"].to_numpy(dtype=float) - expression
    label = "through its text" if is_fused else None
    _draw.bars(ax, labels, text, [*colors, *[_draw.GREY] * len(closing)], label=label)
    if is_fused:
        # Stacked on the part through text, so that the end of the bar is the gene's whole part.
        left = parts["part_text"].to_numpy(dtype=float)
        ax.barh(range(len(labels)), expression, left=left, color=_draw.PURPLE, label="through its expression")
        ax.legend(frameon=False, fontsize=8)
    else:
        ax.text(0.99, 0.02, "orange: up, blue: down", transform=ax.transAxes, ha="right", fontsize=7, color="#555555")
    params = result["params"]
    what = "the whole"
    if params["concept"]:
        what = f"score of “{params['concept']}”"
    elif params["classifier"]:
        what = "the decision"
    against = "" if params["reference"] == "nothing" else f" against {params['reference']}"
    ax.set_xlabel(f"part of {what} (sum {totals.loc[group, 'whole']:.3g})")
    ax.set_title(f"{group}{against}", fontsize=10)
    return ax
