"""How much of each cell the gene texts cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import _keys
from .._errors import MissingKeyError, check_column, choices
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["coverage"]


def coverage(
    adata: AnnData, *, use_rep: str = _keys.X_TEXT, groupby: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the share of each cell's counts whose gene has a text.

    Parameters
    ----------
    adata
        Cells embedded with :func:`lexicell.emb.cells`.
    use_rep
        Which embedding: its shares are stored in ``obs["text_coverage"]`` for ``X_text``.
    groupby
        Column of ``obs``: one box per group, sorted by median, instead of one histogram. A group whose genes are less
        covered than others' is described less well.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If the shares or the column are not there.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> axes = lx.pl.coverage(adata, groupby="cell_type")
    """
    column = _keys.coverage(_keys.prefix(use_rep))
    if column not in adata.obs:
        others = [str(c) for c in adata.obs if str(c).endswith("_coverage")]
        raise MissingKeyError(
            f"no column '{column}' in obs; there is {choices(others)}. lexicell.emb.cells writes it for '{use_rep}'"
        )
    if groupby is not None:
        check_column(adata.obs, groupby)
    share = adata.obs[column].to_numpy(dtype=float)
    if groupby is None:
        ax = _draw.new_axes(ax, (5.0, 3.0))
        ax.hist(share, bins=np.linspace(0, 1, 51).tolist(), color=_draw.FEW[0], edgecolor="white", linewidth=0.4)
        middle = float(np.median(share))
        ax.axvline(middle, color="#333333", linewidth=1.0, linestyle="--")
        ax.text(middle, 0.98, f"median {middle:.1%}", transform=ax.get_xaxis_transform(), ha="right", va="top", size=9)
        ax.set_ylabel("cells")
    else:
        names, codes = _draw.as_categories(adata.obs[groupby])
        groups = sorted(((share[codes == k], n) for k, n in enumerate(names)), key=lambda g: float(np.median(g[0])))
        ax = _draw.new_axes(ax, (6.0, 1.0 + 0.28 * len(groups)))
        ax.boxplot(
            [g for g, _ in groups],
            orientation="horizontal",
            widths=0.6,
            # A large file of dots hides the boxes.
            showfliers=len(share) <= 20_000,
            flierprops={"markersize": 2, "markeredgecolor": "#888888"},
            medianprops={"color": _draw.FEW[5]},
        )
        ax.set_yticks(range(1, len(groups) + 1), [f"{n} ({len(g):,})" for g, n in groups])
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of a cell's counts whose gene has a text")
    _draw.no_frame(ax)
    return ax
