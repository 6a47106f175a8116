"""Groups by their highest concepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._errors import InputError
from .._keys import X_TEXT
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["concepts"]


def concepts(
    adata: AnnData,
    *,
    use_rep: str = X_TEXT,
    key: str = "concepts",
    n_concepts: int = 3,
    ax: Axes | None = None,
) -> Axes:
    """Draw the leading concepts of each group: color and size are z, and a ring marks q <= .05.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.concepts` with ``groupby``.
    use_rep, key
        Where the result is stored: ``uns["lexicell"][use_rep][key]``.
    n_concepts
        Each group's highest concepts are shown, for all groups.
    ax
        Axes to draw into; None: a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no result.
    InputError
        If concepts were scored for single cells only.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", library_size="n_counts")
    >>> lx.tl.concepts(adata, groupby="cell_type")
    >>> axes = lx.pl.concepts(adata)
    """
    result = find_results(adata, use_rep, key, f"lexicell.tl.concepts(adata, use_rep='{use_rep}')")[key]
    if "table" not in result:
        raise InputError("concepts were scored for cells only; call lexicell.tl.concepts with groupby=")
    table = result["table"]
    z = table.pivot(index="group", columns="concept", values="z")
    groups = sorted(z.index, key=_draw.natural)
    chosen: list[str] = []
    for group in groups:
        chosen += [c for c in z.loc[group].nlargest(n_concepts).index if c not in chosen]
    shown = z.loc[groups, chosen].to_numpy()
    ax = _draw.new_axes(ax, (2.8 + 0.38 * len(groups), max(2.6, 1.2 + 0.26 * len(chosen))))
    x, y = np.meshgrid(np.arange(len(groups)), np.arange(len(chosen)))
    values = shown.T
    # One group that stands far out would leave the others pale: the strongest twentieth share the last color and size.
    limit = float(np.percentile(np.abs(values), 95)) or 1.0
    # Size repeats the color, so that the plot can be read in grey.
    size = 6 + 120 * np.minimum(np.abs(values) / limit, 1)
    dots = ax.scatter(x, y, c=values, s=size, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="none")
    if "q" in table:
        q = table.pivot(index="group", columns="concept", values="q").loc[groups, chosen].to_numpy().T
        sure = np.nan_to_num(q, nan=1.0) <= 0.05
        ax.scatter(x[sure], y[sure], s=size[sure] + 25, facecolors="none", edgecolors="black", linewidths=0.9)
    ax.set_xticks(range(len(groups)), groups, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(chosen)), chosen)
    ax.set(xlim=(-0.6, len(groups) - 0.4), ylim=(len(chosen) - 0.4, -0.6))
    _draw.color_bar(ax, dots, "z against random gene sets", extend="both")
    _draw.light_frame(ax)
    return ax
