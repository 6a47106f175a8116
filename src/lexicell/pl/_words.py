"""Concepts of groups, genes behind a number, programmes and perturbations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._errors import InputError, check_key
from .._keys import X_TEXT
from .._results import find_results
from . import _draw

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

__all__ = ["concepts", "explain", "perturb", "programmes"]

_UP, _DOWN, _TEXT, _EXPRESSION = "#D55E00", "#0072B2", "#009E73", "#CC79A7"


def concepts(
    adata: AnnData,
    *,
    use_rep: str = X_TEXT,
    key: str = "concepts",
    n_concepts: int = 3,
    ax: Axes | None = None,
) -> Axes:
    """Groups by concepts: color and size say how far a group expresses a concept; a ring marks q of at most .05.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.concepts` with ``groupby``.
    use_rep, key
        Where the result stands: ``uns["lexicell"][use_rep][key]``.
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
    groups = sorted(z.index, key=_draw._natural)
    chosen: list[str] = []
    for group in groups:
        chosen += [c for c in z.loc[group].nlargest(n_concepts).index if c not in chosen]
    shown = z.loc[groups, chosen].to_numpy()
    ax = _draw.new_axes(ax, (2.8 + 0.38 * len(groups), max(2.6, 1.2 + 0.26 * len(chosen))))
    x, y = np.meshgrid(np.arange(len(groups)), np.arange(len(chosen)))
    values = shown.T
    limit = float(np.abs(values).max()) or 1.0
    size = 6 + 120 * np.abs(values) / limit
    dots = ax.scatter(x, y, c=values, s=size, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="none")
    if "q" in table:
        q = table.pivot(index="group", columns="concept", values="q").loc[groups, chosen].to_numpy().T
        sure = np.nan_to_num(q, nan=1.0) <= 0.05
        ax.scatter(x[sure], y[sure], s=size[sure] + 25, facecolors="none", edgecolors="black", linewidths=0.9)
    ax.set_xticks(range(len(groups)), groups, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(chosen)), chosen)
    ax.set(xlim=(-0.6, len(groups) - 0.4), ylim=(len(chosen) - 0.4, -0.6))
    ax.figure.colorbar(dots, ax=ax, label="z against random gene sets", shrink=0.7)
    _frame(ax)
    return ax


def explain(
    adata: AnnData,
    group: str | None = None,
    *,
    use_rep: str = X_TEXT,
    key: str = "explain",
    n_genes: int = 15,
    ax: Axes | None = None,
) -> Axes:
    """Bars of the genes behind a number; all other genes in one bar, so that the bars add up to the whole.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.explain`.
    group
        Group or cell, where several were explained; None: the first.
    use_rep, key
        Where the result stands.
    n_genes
        Genes with a bar of their own; the others join the last bar.
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
    names = result["totals"]["group"].astype(str).tolist()
    group = names[0] if group is None else check_key(group, names, "explained group")
    table = result["table"][result["table"]["group"].astype(str) == group]
    own = table[table["rank"].between(1, n_genes)]
    rest = table[(table["rank"] > n_genes) | (table["rank"] == 0)]
    closing = rest.groupby(rest["gene"].astype(str).where(rest["rank"] == 0, "(all other genes)"))[
        ["part_text", "part_expression", "part"]
    ].sum()
    labels = [*own["gene"].astype(str), *closing.index]
    text = np.r_[own["part_text"], closing["part_text"]]
    expression = np.r_[own["part_expression"], closing["part_expression"]]
    other = np.r_[np.zeros(len(own)), closing["part"] - closing["part_text"] - closing["part_expression"]]
    ax = _draw.new_axes(ax, (5.0, 1.0 + 0.24 * len(labels)))
    y = np.arange(len(labels))
    both = bool(np.abs(expression).max() > 0)
    up = np.r_[own["change"].astype(float) > 0, np.ones(len(closing), dtype=bool)]
    colors = [_draw.GREY if i >= len(own) else _TEXT if both else _UP if up[i] else _DOWN for i in y]
    ax.barh(y, text + other, color=colors, label="through its text" if both else None)
    if both:
        ax.barh(y, expression, left=text, color=_EXPRESSION, label="through its expression")
        ax.legend(frameon=False, fontsize=8)
    ax.axvline(0, color="black", lw=0.8)
    ax.set_yticks(y, labels)
    ax.invert_yaxis()
    totals = result["totals"].set_index(result["totals"]["group"].astype(str)).loc[group]
    params = result["params"]
    what = (
        f"score of “{params['concept']}”"
        if params["concept"]
        else "the decision"
        if params["classifier"]
        else "the whole"
    )
    against = "" if params["reference"] == "nothing" else f" against {params['reference']}"
    ax.set_xlabel(f"part of {what} (sum {totals['whole']:.3g})")
    ax.set_title(f"{group}{against}", fontsize=10)
    if not both:
        ax.text(0.99, 0.02, "orange: up, blue: down", transform=ax.transAxes, ha="right", fontsize=7, color="#555555")
    _frame(ax)
    return ax


def programmes(
    adata: AnnData, groupby: str, *, use_rep: str = X_TEXT, key: str = "programmes", ax: Axes | None = None
) -> Axes:
    """Mean usage of each programme in each group, as a share of its highest; programmes with their concept.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.programmes`.
    groupby
        Column of ``obs``.
    use_rep, key
        Where the result stands.
    ax
        Axes to draw into; None: a new figure.

    Returns
    -------
    The Axes.

    Raises
    ------
    MissingKeyError
        If there is no result, or the column is not there.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", library_size="n_counts")
    >>> lx.tl.programmes(adata, n_programmes=5)
    >>> axes = lx.pl.programmes(adata, "cell_type")
    """
    from .. import _keys

    table = find_results(adata, use_rep, key, f"lexicell.tl.programmes(adata, use_rep='{use_rep}')")[key]["table"]
    check_key(groupby, [str(c) for c in adata.obs.columns], "column in obs")
    names, codes = _draw.as_categories(adata.obs[groupby])
    usage = adata.obsm[f"{_keys.prefix(use_rep)}_{key}"]
    mean = usage[codes >= 0].groupby(codes[codes >= 0]).mean().to_numpy().T
    share = mean / np.maximum(mean.max(axis=1, keepdims=True), 1e-12)
    labels = [
        f"{row['programme']}  {row['name']}" if row["name"] else f"{row['programme']}" for _, row in table.iterrows()
    ]
    ax = _draw.new_axes(ax, (3.5 + 0.38 * len(names), 1.4 + 0.27 * len(labels)))
    image = ax.imshow(share, aspect="auto", cmap="Greens", vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(labels)), labels)
    ax.figure.colorbar(image, ax=ax, label="usage, share of the highest group", shrink=0.7)
    return ax


def perturb(
    adata: AnnData, *, use_rep: str = X_TEXT, key: str = "perturb", n_bars: int = 20, ax: Axes | None = None
) -> Axes:
    """How far groups move if genes are changed, or, after a ranking, which removals lead back.

    Parameters
    ----------
    adata
        After :func:`lexicell.tl.perturb`, or, with ``key="rank_perturbations"``, after
        :func:`lexicell.tl.rank_perturbations` (its first cell type).
    use_rep, key
        Where the result stands.
    n_bars
        Bars shown at most.
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
    table: pd.DataFrame = result["table"]
    if "closes" in table:
        first = table.iloc[0]
        shown = (table["cell_type"] == first["cell_type"]) & (table["comparison"] == first["comparison"])
        table = table[shown].head(n_bars)
        labels, values = table["gene"].astype(str).tolist(), table["closes"].to_numpy(dtype=float)
        colors = [_UP if p <= 0.05 else _draw.GREY for p in table["p"]]
        what, title = "share of the way to control that its removal closes", f"{first['cell_type']} (orange: p ≤ .05)"
    else:
        table = table.sort_values("relative", ascending=False).head(n_bars)
        labels, values = table["group"].astype(str).tolist(), table["relative"].to_numpy(dtype=float)
        colors = [_UP] * len(labels)
        targets = ", ".join(str(t) for t in np.atleast_1d(result["params"]["targets"])[:5])
        what, title = "movement of the mean, over the spread of cells", f"{targets} × {result['params']['fold']:g}"
    ax = _draw.new_axes(ax, (5.0, 1.0 + 0.24 * len(labels)))
    ax.barh(range(len(labels)), values, color=colors)
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.axvline(0, color="black", lw=0.8)
    ax.set_xlabel(what)
    ax.set_title(title, fontsize=10)
    _frame(ax)
    return ax


def _frame(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(color="#eeeeee", lw=0.8)
