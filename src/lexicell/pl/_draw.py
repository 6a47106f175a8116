"""What all plots share: axes, colors, dots. Nothing here changes matplotlib's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, choices
from .._keys import prefix

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = [
    "DOWN",
    "FEW",
    "GREEN",
    "GREY",
    "MANY",
    "PURPLE",
    "UP",
    "as_categories",
    "bare",
    "bars",
    "category_colors",
    "color_bar",
    "dots",
    "find_map",
    "frame",
    "halo",
    "heat_map",
    "light_frame",
    "natural",
    "new_axes",
    "no_frame",
    "palette",
]

GREY = "#bdbdbd"
"""Cells without a value."""

# Okabe and Ito 2008: told apart with any of the common color deficiencies. Yellow last: it is faint on white.
FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A7A7A", "#F0E442")

# After those, each color is the one farthest in CIELAB from all before it, for normal sight and for either red-green
# deficiency (Machado et al. 2009), among colors that are neither harsh nor too light or dark.
MANY = (
    *FEW[:6],
    "#7F331A",
    "#D9BF73",
    "#594059",
    "#0D40B2",
    "#0D7FF2",
    "#E6B2B2",
    "#E63359",
    "#7F1A7F",
    "#33D9E6",
    "#D96640",
    "#E6BF99",
    "#BF1A7F",
    "#6699F2",
    "#B2330D",
    "#596640",
    "#E69940",
    "#0D59B2",
    "#E6737F",
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
        order = sorted(known.unique(), key=natural)
        values = pd.Series(pd.Categorical(values.astype(object).where(values.notna()).map(_text), order))
    used = values.cat.remove_unused_categories()
    return [str(c) for c in used.cat.categories], used.cat.codes.to_numpy().astype(np.int64)


def _text(value: Any) -> Any:
    return value if pd.isna(value) else str(value)


def natural(name: str) -> tuple[float, str]:
    """Sort key: numbers by value, before words."""
    return (float(name), "") if name.lstrip("-").isdigit() else (float("inf"), name)


def dots(n: int, size: float | None = None) -> dict[str, Any]:
    """Options of ``scatter`` for a map of `n` cells; `size` is the area of a dot in points squared."""
    if size is None:
        # Large for few cells, still visible for very many.
        size = float(np.clip(60_000 / max(n, 1), 0.3, 40.0))
    return {"s": size, "linewidths": 0, "rasterized": n > _RASTER_ABOVE}


def find_map(adata: AnnData, keys: Sequence[str], hint: str = "") -> tuple[str, NDArray[np.floating]]:
    """The first of these keys of ``obsm`` that is there, and the first two coordinates of each cell.

    Raises
    ------
    MissingKeyError
        If there is none of them; the message lists the maps and ends with `hint`.
    InputError
        If it has fewer than two dimensions.
    """
    key = next((k for k in keys if k in adata.obsm), None)
    if key is None:
        # Scores are in obsm, too; only matrices with two columns can be maps.
        shapes: dict[str, tuple[int, ...]] = {str(k): getattr(adata.obsm[k], "shape", ()) for k in adata.obsm}
        maps = sorted(k for k, shape in shapes.items() if len(shape) == 2 and shape[1] >= 2)
        raise MissingKeyError(f"no map '{keys[0]}' in obsm; there is {choices(maps)}{hint}")
    points = np.asarray(adata.obsm[key])
    if points.ndim != 2 or points.shape[1] < 2:
        raise InputError(f"obsm['{key}'] of shape {points.shape} does not have two dimensions to draw; name a basis")
    return key, points[:, :2]


def heat_map(ax: Axes, values: NDArray[Any], rows: Sequence[str], columns: Sequence[str], **options: Any) -> Any:
    """Draw a matrix with names of rows and columns; options are those of ``imshow``."""
    image = ax.imshow(values, aspect="auto", **options)
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize="small")
    ax.set_yticks(range(len(rows)), rows, fontsize="small")
    return image


def frame(ax: Axes, row: int, column: int, style: str = "-") -> None:
    """Frame one entry of a heat map."""
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linestyle=style))


def color_bar(ax: Axes, drawn: Any, label: str, **options: Any) -> Any:
    """Draw what colors mean, without a frame."""
    bar = ax.figure.colorbar(drawn, ax=ax, **{"shrink": 0.6, "aspect": 18, "pad": 0.02, **options})
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize="small")
    return bar


def halo(width: float) -> list[Any]:
    """A white outline, so that text can be read over dots."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="white")]


def bare(ax: Axes, key: str) -> None:
    """Label the axes of a map, whose units mean nothing, by its key, and leave out ticks and frame."""
    name = prefix(key).replace("_", " ").replace("umap", "UMAP")
    ax.set_xlabel(f"{name} 1", loc="left", fontsize="small", color="#555555")
    ax.set_ylabel(f"{name} 2", loc="bottom", fontsize="small", color="#555555")
    ax.set_xticks([])
    ax.set_yticks([])
    no_frame(ax)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#cccccc")


def no_frame(ax: Axes, *more: str) -> None:
    """Draw no frame at the top, at the right, and at the sides named."""
    for side in ("top", "right", *more):
        ax.spines[side].set_visible(False)


def light_frame(ax: Axes) -> None:
    """Leave out the frame at the top and right, and draw a light grid behind."""
    no_frame(ax)
    ax.set_axisbelow(True)
    ax.grid(color="#eeeeee", lw=0.8)


def bars(ax: Axes, names: list[str], values: NDArray[Any], colors: list[str], *, label: str | None = None) -> None:
    """Draw horizontal bars from zero, the first on top."""
    ax.barh(range(len(names)), values, color=colors, label=label)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.axvline(0, color="black", lw=0.8)
    light_frame(ax)
