"""Trajectories: the order, how reliable it is, where it ends, and what changes along it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .._results import recorded
from ._context import Context, section
from ._html import Column, Html, details, figure, join, number, percent, table, tag

__all__: list[str] = []

_ROWS = 15  # genes and concepts listed

_decimals = partial(number, digits=2)


def _results(ctx: Context) -> tuple[str, dict[str, Any]]:
    """A representation with a trajectory and its results: the one shown, the text embedding behind it, or any other."""
    for key in (ctx.use_rep, ctx.text_key, *ctx.adata.obsm):
        if not key:
            continue
        found = recorded(ctx.adata, str(key))
        if isinstance(found.get("trajectory"), dict):
            return str(key), found
    return "", {}


@section(34, "trajectory", "The order of the cells")
def _trajectory(ctx: Context) -> Html | None:
    use_rep, found = _results(ctx)
    if not found:
        return None
    result = found["trajectory"]
    ctx.notices += [str(note) for note in np.atleast_1d(result["notes"])]
    parts = [_opening(use_rep, result), _map(ctx, use_rep), _ends(result), _parts_of_graph(result)]
    if "trends" in found:
        parts.append(tag("h3", "What changes along it"))
        parts.append(tag("p", found["trends"]["params"]["note"], class_="note"))
        parts += [_trends(ctx, use_rep, found["trends"], kind) for kind in ("gene", "concept")]
        parts.append(_branches(found["trends"]["branches"]))
    if "progression" in found:
        parts.append(_progression(found["progression"]))
    return join(parts)


def _opening(use_rep: str, result: dict[str, Any]) -> Html:
    roots = ", ".join(str(r) for r in np.atleast_1d(result["params"]["root"]))
    rho = result["roots"]["spearman"].astype(float)
    width = float(result["components"]["interval_width"].iloc[0])
    text = (
        f"Diffusion pseudotime on {use_rep}, from the root “{roots}”: 0 at the root, 1 at the farthest cell. It orders "
        "cells by similarity; that they pass through these states one after the other is an assumption."
    )
    sure = "The root is one named cell, so how the order depends on it was not tested."
    if len(rho) > 1:
        sure = (
            f"{len(rho)} other possible roots gave orders with a median rank correlation of {_decimals(rho.median())} "
            f"with this one, {_decimals(rho.min())} at the lowest."
        )
    if np.isfinite(width):
        sure += (
            " The 95 % interval of a cell's pseudotime over draws of cells and roots is "
            f"{_decimals(width)} wide on average."
        )
    return join([tag("p", text), tag("p", sure, class_="note")])


def _map(ctx: Context, use_rep: str) -> Html:
    from .. import pl

    return figure(
        pl.trajectory(ctx.adata, use_rep=use_rep),
        "Cells colored by pseudotime, with the graph of their groups, the root and the ends.",
        "Squares: roots. Triangles: where the graph ends. Dots and lines: groups of cells and how connected they are.",
    )


def _ends(result: dict[str, Any]) -> Html:
    columns = [
        Column("End"),
        Column("Cell"),
        Column("Group"),
        Column("Cells", number, is_number=True),
        Column("Pseudotime", _decimals, is_number=True),
        Column("Found again", percent, is_number=True, note="fraction of draws that found this end again"),
    ]
    shown = result["table"][["cell", "group", "n_cells", "pseudotime", "support"]]
    note = "An end is where the graph ends, not a fate: types that do not descend from the root end somewhere, too."
    return join([table("Where the order ends", columns, shown.itertuples(name=None)), tag("p", note, class_="note")])


def _parts_of_graph(result: dict[str, Any]) -> Html:
    parts = result["components"]
    if len(parts) < 2:
        return Html("")
    columns = [
        Column("Part"),
        Column("Cells", number, is_number=True),
        Column("Root", lambda root: root or "–"),
        Column("Where the root came from"),
    ]
    rows = parts[["n_cells", "root", "root_from"]].head(_ROWS).itertuples(name=None)
    note = "The graph is not connected. Pseudotime does not compare between its parts."
    return join([tag("p", note), table("Parts of the graph", columns, rows)])


def _trends(ctx: Context, use_rep: str, found: dict[str, Any], kind: str) -> Html:
    """Heat map and table of the genes, or of the concepts."""
    from .. import pl

    rows = found["table"]
    rows = rows[rows["kind"].astype(str) == kind].head(_ROWS)
    if not len(rows):
        return Html("")
    drawn = figure(
        pl.trends(ctx.adata, use_rep=use_rep, kind=kind, n_features=25),
        f"The {kind}s that change most along pseudotime.",
        f"{kind.capitalize()}s, each scaled to its own range.",
    )
    return join([drawn, details(f"The first {kind}s in numbers", _trend_table(rows, kind))])


def _trend_table(rows: pd.DataFrame, kind: str) -> Html:
    columns = [
        Column(kind.capitalize()),
        Column("Explained", percent, is_number=True, note="of the variance in cells left out"),
        Column("Peak", _decimals, is_number=True),
        Column("Steepest", _decimals, is_number=True),
        Column("Turns"),
    ]
    names = ["feature", "explained", "peak", "steepest", "turning_points"]
    if "q" in rows and kind == "gene":
        columns.append(Column("q", _p, is_number=True))
        names.append("q")
    return table(f"{kind.capitalize()}s along the order", columns, rows[names].to_numpy().tolist())


def _branches(branches: pd.DataFrame) -> Html:
    if not len(branches):
        return Html("")
    columns = [
        Column("What"),
        Column("Kind"),
        Column("Higher in"),
        Column("Than in"),
        Column("d", _decimals, is_number=True),
    ]
    top = branches.groupby(["branch", "against", "kind"], sort=False).head(6)
    rows = []
    for feature, kind, branch, against, d in top[["feature", "kind", "branch", "against", "d"]].to_numpy():
        if d > 0:
            rows.append((feature, kind, branch, against, d))
        else:
            rows.append((feature, kind, against, branch, -d))
    return table("Differences between branches (Cohen's d, a description)", columns, rows)


def _progression(found: dict[str, Any]) -> Html:
    params = found["params"]
    columns = [
        Column("Cell type"),
        Column("rho", _decimals, is_number=True),
        Column("p", _p, is_number=True),
        Column("q", _p, is_number=True),
        Column("max-T p", _p, is_number=True),
        Column("Donors", number, is_number=True),
        Column("First stage", _decimals, is_number=True),
        Column("Last stage", _decimals, is_number=True),
        Column("Remark", is_wide=True),
    ]
    shown = found["table"][["rho", "p", "q", "p_max_t", "n_donors", "first", "last", "reason"]]
    text = (
        f"Does pseudotime increase with {params['stage']}? One-sided test over {params['donor']}, by "
        f"{params['n_permutations']} arrangements of stages over whole donors."
    )
    if params["root_rechosen"]:
        text += " The root was chosen again in every arrangement."
    smallest = float(found["table"]["smallest_p"].min())
    if smallest > 0.05:
        text += (
            f" This design cannot reach p < .05: the smallest possible p is {_p(smallest)}. Read the effects instead."
        )
    text += " First and last stage: means of the donors' mean pseudotimes."
    rows = shown.itertuples(name=None)
    parts = [tag("h3", "Progression"), tag("p", text), table("Progression of each type", columns, rows)]
    if "genes" in found:
        parts.append(_progression_genes(found["genes"], str(found["table"].index[0])))
    return join(parts)


def _progression_genes(genes: pd.DataFrame, cell_type: str) -> Html:
    """The genes of the type with the smallest p."""
    mine = genes[(genes["cell_type"].astype(str) == cell_type) & (genes["rank"] > 0)]
    if not len(mine):
        return Html("")
    columns = [
        Column("Gene"),
        Column("Part", partial(percent, digits=1), is_number=True),
        Column("Change of weight", _decimals, is_number=True),
    ]
    rows = mine.head(_ROWS)[["gene", "part", "change"]].to_numpy().tolist()
    caption = f"Genes that make the last stage differ from the first, {cell_type}; all genes together make 100 %"
    return table(caption, columns, rows)


def _p(value: Any) -> str:
    value = float(value)
    return "–" if not np.isfinite(value) else f"{value:.2g}"
