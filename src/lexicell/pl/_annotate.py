"""Suggested cell types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import InputError
from .._keys import SUGGESTED, column_name
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["annotate"]


def annotate(adata: AnnData, *, n_types: int = 12, key: str = SUGGESTED, ax: Axes | None = None) -> Axes:
    """Draw the probability of candidate types in each group; the suggestion is framed, and dashed where it is unsure.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.annotate` with ``groupby=``.
    n_types
        At most so many candidates: those with the highest probability in any group.
    key
        `key_added` of the suggestions.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no such result.
    InputError
        If no group stands out for any candidate, so that there are no scores.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.annotate(adata, groupby="cell_type")
    >>> axes = lx.pl.annotate(adata)
    """
    found = find_results(adata, key, "scores", "lexicell.tl.annotate with groupby=")
    scores, table = found["scores"], found["table"].set_index("group")
    if scores.empty:
        raise InputError("no group stands out for any of the candidates, so there are no scores to draw; name others")
    top = scores.max(axis=0).sort_values(ascending=False).index[:n_types]
    wanted = {column_name(b) for b in table["best"] if b}
    columns = [c for c in scores.columns if c in set(top) | wanted]
    ax = _draw.new_axes(ax)
    values = scores[columns].to_numpy(dtype=float)
    image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    from matplotlib.patches import Rectangle

    # The suggestion of each group is framed.
    for i, group in enumerate(scores.index):
        row = table.loc[str(group)]
        if not row["best"]:
            continue
        style = "-" if row["suggested"] == row["best"] else ":"
        j = columns.index(column_name(row["best"]))
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="black", linestyle=style, linewidth=1.4))
    ax.set(xticks=range(len(columns)), yticks=range(len(scores)), xlabel="suggested type", ylabel="group")
    ax.set_xticklabels(columns, rotation=40, ha="right", fontsize="small")
    ax.set_yticklabels([str(g) for g in scores.index], fontsize="small")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7)
    bar.set_label("mean probability", fontsize="small")
    return ax
