"""Trajectories: the order, how sure it is, where it ends, and what changes along it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._results import recorded
from ._context import Context, section
from ._html import Column, Html, details, figure, join, number, percent, table, tag

__all__: list[str] = []

_ROWS = 15  # genes and concepts listed


def _results(ctx: Context) -> tuple[str, dict[str, Any]]:
    """The representation with a result: the one shown, what it rests on, or any other key of ours."""
    keys = [ctx.use_rep, ctx.text_key, *(str(k) for k in ctx.adata.obsm), *(str(k) for k in ctx.adata.uns["lexicell"])]
    for key in dict.fromkeys(k for k in keys if k):
        found = recorded(ctx.adata, key)
        if isinstance(found.get("trajectory"), dict):
            return key, found
    return "", {}


@section(34, "trajectory", "The order of the cells")
def _trajectory(ctx: Context) -> Html | None:
    key, found = _results(ctx)
    if not found:
        return None
    result = found["trajectory"]
    ctx.notices += [str(note) for note in np.atleast_1d(result["notes"])]
    parts = [_opening(key, result), _map(ctx, key), _ends(result), _parts_of_graph(result)]
    if "fates" in found:
        parts += [_fates(found["fates"]), _fate_map(ctx, key)]
    if "trends" in found:
        parts += _trends(ctx, key, found["trends"])
    if "movement" in found:
        parts.append(_movement(found["movement"]))
    if "progression" in found:
        parts.append(_progression(found["progression"]))
    return join(parts)


def _opening(key: str, result: dict[str, Any]) -> Html:
    roots = ", ".join(str(r) for r in np.atleast_1d(result["params"]["root"]))
    rho = result["roots"]["spearman"].astype(float)
    width = float(result["components"]["interval_width"].iloc[0])
    text = (
        f"Diffusion pseudotime on {key}, from the root “{roots}”: 0 at the root, 1 at the farthest cell. It orders "
        "cells by likeness; that they pass through these states one after the other is an assumption."
    )
    if len(rho) > 1:
        sure = (
            f"{len(rho)} other cells that the root could have meant give orders whose rank correlation with this one "
            f"is {number(rho.median(), 2)} in the middle and {number(rho.min(), 2)} at the lowest."
        )
    else:
        sure = "The root is one named cell, so the order's dependence on it was not looked at."
    if np.isfinite(width):
        sure += (
            f" The 95 % interval of a cell's pseudotime over draws of cells and roots is {number(width, 2)} wide "
            "on average."
        )
    return join([tag("p", text), tag("p", sure, class_="note")])


def _map(ctx: Context, key: str) -> Html:
    from .. import pl

    return figure(
        pl.trajectory(ctx.adata, key=key),
        "Cells coloured by pseudotime, with the graph of their groups, the root and the ends.",
        "Squares: roots. Triangles: where the graph ends. Dots and lines: groups of cells and how connected they are.",
    )


def _ends(result: dict[str, Any]) -> Html:
    columns = [
        Column("End"), Column("Cell"), Column("Group"), Column("Cells", number, is_number=True),
        Column("Pseudotime", lambda v: number(v, 2), is_number=True),
        Column("Found again", percent, is_number=True, note="share of draws that found this end again"),
    ]  # fmt: skip
    rows = [
        (end, r["cell"], r["group"], r["n_cells"], r["pseudotime"], r["support"])
        for end, r in result["table"].iterrows()
    ]
    note = "An end is where the graph ends, not a fate: types that do not descend from the root end somewhere, too."
    return join([table("Where the order ends", columns, rows), tag("p", note, class_="note")])


def _parts_of_graph(result: dict[str, Any]) -> Html:
    parts = result["components"]
    if len(parts) < 2:
        return Html("")
    columns = [
        Column("Part"),
        Column("Cells", number, is_number=True),
        Column("Root"),
        Column("Where the root came from"),
    ]
    rows = [(name, r["n_cells"], r["root"] or "–", r["root_from"]) for name, r in parts.head(_ROWS).iterrows()]
    note = "The graph falls into parts that no edge joins. Pseudotime does not compare between them."
    return join([tag("p", note), table("Parts of the graph", columns, rows)])


def _fates(found: dict[str, Any]) -> Html:
    columns = [
        Column("End"), Column("Cells of the end", number, is_number=True),
        *(Column(c, percent, is_number=True) for c in ("Mean, all cells", "Mean, trunk", "Mean, own branch")),
    ]  # fmt: skip
    rows = [
        (end, r["n_terminal"], r["mean"], r["mean_trunk"], r["mean_branch"]) for end, r in found["table"].iterrows()
    ]
    params = found["params"]
    return table(f"Fate probabilities ({params['method']} {params['version']})", columns, rows)


def _fate_map(ctx: Context, key: str) -> Html:
    from .. import pl

    return figure(
        pl.fates(ctx.adata, key=key),
        "Cells coloured by the ends that they lead to, mixed by probability.",
        "The nearer to white, the less is settled.",
    )


def _trends(ctx: Context, key: str, found: dict[str, Any]) -> list[Html]:
    from .. import pl

    whole, parts = (
        found["table"],
        [tag("h3", "What changes along it"), tag("p", found["params"]["note"], class_="note")],
    )
    for kind in ("gene", "concept"):
        rows = whole[whole["kind"].astype(str) == kind]
        if not len(rows):
            continue
        drawn = pl.trends(ctx.adata, key=key, kind=kind, n_features=25)
        parts.append(
            figure(
                drawn,
                f"The {kind}s that change most along pseudotime.",
                f"{kind.capitalize()}s, each scaled to its own range.",
            )
        )
        parts.append(details(f"The first {kind}s in numbers", _trend_table(rows.head(_ROWS), kind)))
    branches = found["branches"]
    if len(branches):
        columns = [
            Column("What"),
            Column("Kind"),
            Column("Higher in"),
            Column("Than in"),
            Column("d", lambda v: number(v, 2), is_number=True),
        ]
        top = branches.groupby(["branch", "against", "kind"], sort=False).head(6)
        rows = [
            (
                r["feature"],
                r["kind"],
                *((r["branch"], r["against"]) if r["d"] > 0 else (r["against"], r["branch"])),
                abs(r["d"]),
            )
            for _, r in top.iterrows()
        ]
        parts.append(table("What sets branches apart (Cohen's d, a description)", columns, rows))
    return parts


def _trend_table(rows: pd.DataFrame, kind: str) -> Html:
    columns = [
        Column(kind.capitalize()),
        Column("Explained", percent, is_number=True, note="of the variance of cells left out"),
        Column("Peak", lambda v: number(v, 2), is_number=True),
        Column("Steepest", lambda v: number(v, 2), is_number=True),
        Column("Turns"),
    ]  # fmt: skip
    names = ["feature", "explained", "peak", "steepest", "turning_points"]
    if "q" in rows and kind == "gene":
        columns.append(Column("q", lambda v: f"{float(v):.2g}", is_number=True))
        names.append("q")
    return table(f"{kind.capitalize()}s along the order", columns, rows[names].to_numpy().tolist())


def _movement(found: dict[str, Any]) -> Html:
    params = found["params"]
    columns = [
        Column("Gene"),
        Column("Part", lambda v: percent(v, 1), is_number=True),
        Column("Change of z", lambda v: number(v, 2), is_number=True),
    ]
    rows = found["table"].head(_ROWS)[["gene", "part", "change"]].to_numpy().tolist()
    caption = f"Genes behind the movement from {params['start']} to {params['end']}; all genes together make 100 %"
    return table(caption, columns, rows)


def _progression(found: dict[str, Any]) -> Html:
    params = found["params"]
    columns = [
        Column("Cell type"), Column("rho", lambda v: number(v, 2), is_number=True),
        *(Column(c, _p, is_number=True) for c in ("p", "q", "max-T p")), Column("Donors", number, is_number=True),
        Column("First stage", lambda v: number(v, 2), is_number=True),
        Column("Last stage", lambda v: number(v, 2), is_number=True), Column("Remark", is_wide=True),
    ]  # fmt: skip
    rows = [
        (kind, r["rho"], r["p"], r["q"], r["p_max_t"], r["n_donors"], r["first"], r["last"], r["reason"])
        for kind, r in found["table"].iterrows()
    ]
    again = " The root was chosen again in every arrangement." if params["root_rechosen"] else ""
    text = (
        f"Whether pseudotime rises with {params['stage']}, tested over {params['donor']} by {params['n_permutations']} "
        f"arrangements of stages over whole donors; one-sided.{again} First and last stage: where the donors' means "
        "stand."
    )
    return join([tag("h3", "Progression"), tag("p", text), table("Progression of each type", columns, rows)])


def _p(value: Any) -> str:
    value = float(value)
    return "–" if not np.isfinite(value) else f"{value:.2g}"
