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
        Candidates shown at most: those with the highest probability in any group.
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
        raise InputError(
            "no group stands out for any of the candidates, so there are no scores to draw; name other types in "
            "lexicell.tl.annotate(types=...)"
        )
    top = scores.max(axis=0).sort_values(ascending=False).index[:n_types]
    # The suggestion of a group is shown even if its score is not among the highest.
    wanted = {column_name(b) for b in table["best"] if b}
    columns = [c for c in scores.columns if c in set(top) | wanted]
    ax = _draw.new_axes(ax, (2.8 + 0.36 * len(columns), 2.2 + 0.26 * len(scores)))
    values = scores[columns].to_numpy(dtype=float)
    groups = [str(group) for group in scores.index]
    image = _draw.heat_map(ax, values, groups, columns, cmap="Blues", vmin=0, vmax=1)
    for i, group in enumerate(groups):
        row = table.loc[group]
        if not row["best"]:
            continue
        style = "-" if row["suggested"] == row["best"] else ":"
        _draw.frame(ax, i, columns.index(column_name(row["best"])), style)
    ax.set(xlabel="suggested type", ylabel="group")
    _draw.color_bar(ax, image, "mean probability")
    return ax
