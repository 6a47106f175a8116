"""What all plots share: axes, colors, dots. Nothing here changes matplotlib's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DOWN",
    "FEW",
    "GREEN",
    "GREY",
    "MANY",
    "PURPLE",
    "UP",
    "bare",
    "bars",
    "dot_size",
    "dots",
    "halo",
    "light_frame",
    "new_axes",
    "palette",
    "rasterize",
]

GREY = "#bdbdbd"
"""Cells without a value."""

# Okabe and Ito 2008: told apart with any of the common color deficiencies. Yellow last: it is faint on white.
FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A7A7A", "#F0E442")

# More than eight colors cannot all be told apart by everyone; these differ in lightness as well as in hue
# (Paul Tol's muted and bright schemes after Okabe and Ito's), and the legend repeats no color up to 24.
MANY = (
    *FEW[:6],
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#7A7A7A",
    "#4477AA",
    "#66CCEE",
    "#228833",
    "#CCBB44",
    "#EE6677",
    "#AA3377",
    "#555555",
    "#BBCC33",
)

UP, DOWN, GREEN, PURPLE = "#D55E00", "#0072B2", "#009E73", "#CC79A7"
"""For what goes up and down, and for two kinds of bars side by side."""

_RASTER_ABOVE = 5_000  # dots; a vector file of more is slow to open


def new_axes(ax: Axes | None, size: tuple[float, float] = (5.0, 4.5)) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    made: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return made


def palette(n: int) -> list[str]:
    """`n` colors: eight safe for color-blind readers, up to 24 distinct ones, then the same again."""
    colors = FEW if n <= len(FEW) else MANY
    return [colors[i % len(colors)] for i in range(n)]


def category_colors(adata: Any, column: str, categories: list[str]) -> list[str]:
    """Colors stored in ``uns["<column>_colors"]``, as scanpy keeps them, or our palette."""
    kept = adata.uns.get(f"{column}_colors")
    if kept is not None and len(kept) >= len(categories):
        return [str(c) for c in kept[: len(categories)]]
    return palette(len(categories))


def as_categories(values: pd.Series) -> tuple[list[str], NDArray[np.int64]]:
    """Names in their order (numbers by value), and the code of each entry, -1 where it is missing."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        known = values.dropna().astype(str)
        order = sorted(known.unique(), key=_natural)
        values = pd.Series(pd.Categorical(values.astype(object).where(values.notna()).map(_text), order))
    used = values.cat.remove_unused_categories()
    return [str(c) for c in used.cat.categories], used.cat.codes.to_numpy().astype(np.int64)


def _text(value: Any) -> Any:
    return value if pd.isna(value) else str(value)


def _natural(name: str) -> tuple[float, str]:
    return (float(name), "") if name.lstrip("-").isdigit() else (float("inf"), name)


def dot_size(n: int) -> float:
    """Area of a dot in points squared: large for few cells, still visible for very many."""
    return float(np.clip(60_000 / max(n, 1), 0.3, 40.0))


def rasterize(n: int) -> bool:
    """Whether so many dots should be drawn as an image inside a vector file."""
    return n > _RASTER_ABOVE


def dots(n: int, size: float | None = None) -> dict[str, Any]:
    """Options of ``scatter`` for a map of `n` cells."""
    if size is None:
        size = dot_size(n)
    return {"s": size, "linewidths": 0, "rasterized": rasterize(n)}


def halo(width: float) -> list[Any]:
    """A white outline, so that text can be read over dots."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="white")]


def bare(ax: Axes, x: str, y: str) -> None:
    """Label the axes of a map, whose units mean nothing, and leave out ticks and frame."""
    ax.set_xlabel(x, loc="left", fontsize="small", color="#555555")
    ax.set_ylabel(y, loc="bottom", fontsize="small", color="#555555")
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#cccccc")


def light_frame(ax: Axes) -> None:
    """Leave out the frame at the top and right, and draw a light grid behind."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(color="#eeeeee", lw=0.8)


def bars(ax: Axes, names: list[str], values: NDArray[Any], colors: list[str], *, label: str | None = None) -> None:
    """Draw horizontal bars from zero, the first on top."""
    ax.barh(range(len(names)), values, color=colors, label=label)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.axvline(0, color="black", lw=0.8)
    light_frame(ax)
