"""Gene programs in groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._errors import check_column
from .._keys import X_TEXT, prefix
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["programs"]


def programs(
    adata: AnnData, groupby: str, *, use_rep: str = X_TEXT, key: str = "programs", ax: Axes | None = None
) -> Axes:
    """Draw the mean usage of each program in each group, relative to the group with the highest.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.programs`.
    groupby
        Column of ``obs``.
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
        If there is no result or no such column.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", library_size="n_counts")
    >>> lx.tl.programs(adata, n_programs=5)
    >>> axes = lx.pl.programs(adata, "cell_type")
    """
    table = find_results(adata, use_rep, key, f"lexicell.tl.programs(adata, use_rep='{use_rep}')")[key]["table"]
    check_column(adata.obs, groupby)
    names, codes = _draw.as_categories(adata.obs[groupby])
    usage = adata.obsm[f"{prefix(use_rep)}_{key}"]
    mean = usage[codes >= 0].groupby(codes[codes >= 0]).mean().to_numpy().T
    # Programs differ in scale by orders of magnitude; a row shows where each is used, not how much.
    share = mean / np.maximum(mean.max(axis=1, keepdims=True), 1e-12)
    labels = [f"{program}  {name}".strip() for program, name in zip(table["program"], table["name"], strict=True)]
    ax = _draw.new_axes(ax, (3.5 + 0.38 * len(names), 1.4 + 0.27 * len(labels)))
    image = _draw.heat_map(ax, share, labels, names, cmap="Greens", vmin=0, vmax=1)
    _draw.color_bar(ax, image, "usage, share of the highest group")
    return ax
