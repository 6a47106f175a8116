"""Trajectories: the order, how reliable it is, where it ends, and what changes along it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .._results import recorded
from ._context import Context, section
from ._html import Column, Html, details, figure, join, note, num, number, percent, prob, probability, share, table, tag

__all__: list[str] = []

_ROWS = 15  # genes and concepts listed

_decimals = partial(number, digits=2)


@section(50, "trajectory", "The order of the cells")
def _trajectory(ctx: Context) -> Html | None:
    use_rep, _ = ctx.find("trajectory")
    if not use_rep:
        return None
    found = recorded(ctx.adata, use_rep)
    result = found["trajectory"]
    ctx.notices += [str(note) for note in np.atleast_1d(result["notes"])]
    parts = [_opening(use_rep, result), _map(ctx, use_rep), _ends(result), _parts_of_graph(result)]
    if "trends" in found:
        parts.append(tag("h3", "What changes along it"))
        parts.append(note(found["trends"]["params"]["note"]))
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
    return join([tag("p", text), note(sure)])


def _map(ctx: Context, use_rep: str) -> Html:
    from .. import pl

    return figure(
        pl.trajectory(ctx.adata, use_rep=use_rep),
        "Cells colored by pseudotime, with the graph of their groups, the root and the ends.",
        "Squares: roots. Triangles: where the graph ends. Dots and lines: groups of cells and how connected they are.",
    )


def _ends(result: dict[str, Any]) -> Html:
    columns = {
        "end": Column("End"),
        "cell": Column("Cell"),
        "group": Column("Group"),
        "n_cells": num("Cells"),
        "pseudotime": num("Pseudotime", 2),
        "support": share("Found again", "fraction of draws that found this end again"),
    }
    about = "An end is where the graph ends, not a fate: types that do not descend from the root end somewhere, too."
    return join([table("Where the order ends", columns, _named(result["table"], "end")), note(about)])


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The index as a column."""
    return frame.rename_axis(name).reset_index()


def _parts_of_graph(result: dict[str, Any]) -> Html:
    parts = result["components"]
    if len(parts) < 2:
        return Html("")
    columns = {
        "part": Column("Part"),
        "n_cells": num("Cells"),
        "root": Column("Root", lambda root: root or "–"),
        "root_from": Column("Where the root came from"),
    }
    about = note("The graph is not connected. Pseudotime does not compare between its parts.")
    return join([about, table("Parts of the graph", columns, _named(parts, "part").head(_ROWS))])


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
    columns = {
        "feature": Column(kind.capitalize()),
        "explained": share("Explained", "of the variance in cells left out"),
        "peak": num("Peak", 2),
        "steepest": num("Steepest", 2),
        "turning_points": Column("Turns"),
    }
    if "q" in rows and kind == "gene":
        columns["q"] = prob("q")
    return table(f"{kind.capitalize()}s along the order", columns, rows)


def _branches(branches: pd.DataFrame) -> Html:
    if not len(branches):
        return Html("")
    columns = {
        "feature": Column("What"),
        "kind": Column("Kind"),
        "higher": Column("Higher in"),
        "lower": Column("Than in"),
        "d": num("d", 2),
    }
    top = branches.groupby(["branch", "against", "kind"], sort=False).head(6)
    is_higher = (top["d"] > 0).to_numpy()
    branch, against = top["branch"].astype(str), top["against"].astype(str)
    shown = top.assign(
        higher=np.where(is_higher, branch, against), lower=np.where(is_higher, against, branch), d=top["d"].abs()
    )
    return table("Differences between branches (Cohen's d, a description)", columns, shown)


def _progression(found: dict[str, Any]) -> Html:
    params = found["params"]
    columns = {
        "type": Column("Cell type"),
        "rho": num("rho", 2),
        "p": prob("p"),
        "q": prob("q"),
        "p_max_t": prob("max-T p"),
        "n_donors": num("Donors"),
        "first": num("First stage", 2),
        "last": num("Last stage", 2),
        "reason": Column("Remark", style="wide"),
    }
    text = (
        f"Does pseudotime increase with {params['stage']}? One-sided test over {params['donor']}, by "
        f"{params['n_permutations']} arrangements of stages over whole donors."
    )
    if params["root_rechosen"]:
        text += " The root was chosen again in every arrangement."
    smallest = float(found["table"]["smallest_p"].min())
    if smallest > 0.05:
        text += (
            f" This design cannot reach p < .05: the smallest possible p is {probability(smallest)}. Read the effects "
            "instead."
        )
    text += " First and last stage: means of the donors' mean pseudotimes."
    shown = table("Progression of each type", columns, _named(found["table"], "type"))
    parts = [tag("h3", "Progression"), tag("p", text), shown]
    if "genes" in found:
        parts.append(_progression_genes(found["genes"], str(found["table"].index[0])))
    return join(parts)


def _progression_genes(genes: pd.DataFrame, cell_type: str) -> Html:
    """The genes of the type with the smallest p."""
    mine = genes[(genes["cell_type"].astype(str) == cell_type) & (genes["rank"] > 0)]
    if not len(mine):
        return Html("")
    columns = {
        "gene": Column("Gene"),
        "part": Column("Part", partial(percent, digits=1), "num"),
        "change": num("Change of weight", 2),
    }
    caption = f"Genes that make the last stage differ from the first, {cell_type}; all genes together make 100 %"
    return table(caption, columns, mine.head(_ROWS))
