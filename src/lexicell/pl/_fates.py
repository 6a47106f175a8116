"""Fate probabilities on a map: the colors of the terminal states, mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError
from .._keys import X_FUSED, prefix
from .._results import find_results
from . import _draw
from ._trajectory import draw_ends, find_map

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["fates"]

Floats = NDArray[np.float64]


def fates(
    adata: AnnData,
    *,
    use_rep: str = X_FUSED,
    basis: str | None = None,
    ends: bool = True,
    size: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw cells colored by their fate: the colors of the terminal states, mixed by probability.

    A cell with one certain fate has that state's color; the more open its fate, the closer it is to white:

    .. math:: color = 1 - s (1 - \sum_k p_k c_k), \qquad s = .15 + .85 (1 - H / \log_2 K)

    with p the fate probabilities, c the colors of the K terminal states and H the cell's entropy in bits.

    Parameters
    ----------
    adata
        Cells with :func:`lexicell.tl.fates`.
    use_rep
        Representation that :func:`lexicell.tl.trajectory` was run on.
    basis
        Key of a map in ``obsm``, with or without ``X_``. None: the UMAP of that representation if there is one, else
        the first two dimensions of the representation.
    ends
        Whether to mark the roots (squares) and the terminal cells (triangles).
    size
        Area of a dot in points squared; None: by the number of cells.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes. Cells in other parts of the graph, which have no fate, are gray.

    Raises
    ------
    MissingKeyError
        If there are no fates or no such map.
    InputError
        If the stored probabilities and the ends disagree.

    Examples
    --------
    >>> import lexicell as lx
    >>> axes = lx.pl.fates(adata, use_rep="X_expression")  # after lx.tl.fates  # doctest: +SKIP
    """
    found = find_results(adata, use_rep, "fates", "lexicell.tl.fates")
    name = prefix(use_rep)
    table = pd.DataFrame(adata.obsm[f"{name}_fates"])
    states = [str(n) for n in found["fates"]["table"].index]
    if [str(c) for c in table.columns] != states:
        raise InputError(f"obsm['{name}_fates'] has other ends (terminal states) than uns; run lexicell.tl.fates again")
    points, label = find_map(adata, basis, use_rep)
    shares = table.to_numpy(dtype=float)
    known = np.isfinite(shares).all(axis=1)
    ax = _draw.new_axes(ax)
    options = _draw.dots(len(points), size)
    if not known.all():
        ax.scatter(points[~known, 0], points[~known, 1], c=_draw.GREY, label="no fate", **options)
    entropy = adata.obs[f"{name}_fate_entropy"].to_numpy(dtype=float)[known]
    colors = _mixed(shares[known], entropy, _draw.palette(len(states)))
    ax.scatter(points[known, 0], points[known, 1], c=colors, label="cells", **options)
    if ends:
        draw_ends(ax, adata, points, found["trajectory"])
    _legend(ax, states)
    _draw.bare(ax, f"{label} 1", f"{label} 2")
    return ax


def _mixed(shares: Floats, entropy: Floats, ends: list[str]) -> Floats:
    from matplotlib.colors import to_rgb

    pure = np.array([to_rgb(c) for c in ends])
    settled = 0.15 + 0.85 * (1 - entropy / np.log2(max(len(ends), 2)))
    mixed: Floats = 1 - np.clip(settled, 0.0, 1.0)[:, None] * (1 - shares @ pure)
    return np.clip(mixed, 0.0, 1.0)


def _legend(ax: Axes, names: list[str]) -> None:
    from matplotlib.lines import Line2D

    marks: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 6}
    handles: list[Any] = []
    for name, color in zip(names, _draw.palette(len(names)), strict=True):
        handles.append(Line2D([], [], color=color, label=name, **marks))
    handles.append(Line2D([], [], color="#e6e6e6", label="open", **marks))
    handles += [c for c in ax.collections if c.get_label() in ("root", "end", "no fate")]
    ax.legend(handles=handles, frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.1, 0.5))
