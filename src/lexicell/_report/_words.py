"""What cells express in words, the genes behind a number, programmes and perturbations: for who did not run them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .._results import recorded
from ._context import Context, section
from ._html import Column, Html, details, figure, join, number, percent, table, tag

__all__: list[str] = []

_ROWS = 40


def _results(ctx: Context, tool: str) -> list[tuple[str, dict[str, Any]]]:
    """The results of a tool: of the representation shown, of what it rests on, and of any other."""
    keys = dict.fromkeys([ctx.use_rep, ctx.text_key, *(str(k) for k in ctx.adata.obsm)])
    found = [(key, recorded(ctx.adata, key).get(tool)) for key in keys if key]
    return [(key, result) for key, result in found if isinstance(result, dict) and "params" in result]


def _two(value: Any) -> str:
    return number(value, 2)


@section(34, "concepts", "Concepts asked for")
def _concepts(ctx: Context) -> Html | None:
    from .. import pl

    found = [(k, r) for k, r in _results(ctx, "concepts") if "table" in r or "directions" in r]
    if not found:
        return None
    key, result = found[0]
    params, parts = result["params"], []
    text = (
        f"{params['queries']} phrases ({params['words']}). Each stands for the {params['n_genes']} genes whose texts "
        "are nearest it. z is the distance of a group's score from random gene sets of the same expression, in their "
        "standard deviations: a scale, not a test."
    )
    if "table" in result:
        tested = "q" in result["table"]
        if tested:
            text += f" q comes from a moderated t over donors ({params['donor']}), corrected over all rows."
        parts.append(tag("p", text))
        parts.append(
            figure(pl.concepts(ctx.adata, use_rep=key), "Groups by their highest concepts.",
                   "Red: higher than in all other cells." + (" A ring marks q of at most .05." if tested else ""))
        )  # fmt: skip
        best = result["table"].sort_values("z", ascending=False).groupby("group", sort=True).head(3)
        best = best.sort_values(["group", "z"], ascending=[True, False])
        parts.append(_ranking("Highest concepts of each group", best.head(_ROWS * 2), tested=tested))
    if "directions" in result:
        near = result["directions"][result["directions"]["rank"] <= 3]
        parts.append(_ranking("Concepts nearest each direction", near.head(_ROWS), tested=False))
    return join(parts)


def _ranking(caption: str, rows: pd.DataFrame, *, tested: bool) -> Html:
    columns = [Column("Group"), Column("Concept"), Column("z", _two, is_number=True)]
    names = ["group", "concept", "z"]
    if tested:
        columns.append(Column("q", lambda v: number(v, 3), is_number=True))
        names.append("q")
    columns.append(Column("Genes that contribute most", is_wide=True))
    return table(caption, columns, rows[[*names, "genes"]].itertuples(index=False))


@section(36, "explain", "The genes behind a number")
def _explain(ctx: Context) -> Html | None:
    from .. import pl

    found = _results(ctx, "explain")
    if not found:
        return None
    key, result = found[0]
    totals, params = result["totals"], result["params"]
    what = f"the score of “{params['concept']}”" if params["concept"] else "a classifier's decision"
    if not params["concept"] and not params["classifier"]:
        what = "the distance along a direction" if params["direction"] else "the embedding"
    text = (
        f"What {what} is made of, gene by gene, against {params['reference']}. The parts add up to the whole exactly, "
        "because a cell embedding is a weighted sum of gene vectors. They say what the number rests on, and test "
        "nothing."
    )
    if params["before_scaling"]:
        text += " Cells of this preset are scaled to unit length; the parts are those before scaling."
    names = totals["group"].astype(str).tolist()
    parts = [tag("p", text)]
    for i, name in enumerate(names[:12]):
        rows = result["table"][result["table"]["group"].astype(str) == name]
        drawn = figure(pl.explain(ctx.adata, name, use_rep=key), f"Genes behind {name}, by their part.")
        columns = [
            Column("Gene"), Column("Part", lambda v: number(v, 3), is_number=True),
            Column("Change of log expression", _two, is_number=True), Column("Text from"), Column("Text", is_wide=True),
        ]  # fmt: skip
        shown = rows[["gene", "part", "expression_change", "text_source", "text"]].itertuples(index=False)
        body = join([drawn, table(f"{name}: parts of genes", columns, shown)])
        parts.append(body if i == 0 else details(name, body))
    if len(names) > 12:
        parts.append(tag("p", f"{len(names) - 12} more groups stand in the object.", class_="note"))
    return join(parts)


@section(37, "programmes", "Gene programmes")
def _programmes(ctx: Context) -> Html | None:
    found = _results(ctx, "programmes")
    if not found:
        return None
    _, result = found[0]
    params = result["params"]
    text = (
        f"Sparse factors of {params['genes_used']} variable genes, smoothed over genes whose texts are near "
        f"(share {params['smoothing']:g}), named by the concept whose genes weigh most. Relative error of the factors: "
        f"{number(params['error'], 2)}."
    )
    columns = [
        Column("Programme"), Column("Nearest concept"), Column("Share", percent, is_number=True),
        Column("Genes", lambda v: number(v), is_number=True), Column("Heaviest genes", is_wide=True),
    ]  # fmt: skip
    rows = result["table"][["programme", "name", "share", "n_genes", "genes"]].itertuples(index=False)
    return join([tag("p", text), table("Programmes", columns, rows)])


@section(38, "perturb", "Genes changed on paper")
def _perturb(ctx: Context) -> Html | None:
    from .. import pl

    parts: list[Html] = []
    for _, result in _results(ctx, "perturb")[:1]:
        params = result["params"]
        targets = ", ".join(str(t) for t in params["targets"])
        parts.append(tag("p", f"The counts of {targets} times {params['fold']:g}, library size {params['library']}: "
                              "arithmetic on the embedding, no prediction of what cells do."))  # fmt: skip
        columns = [
            Column("Group"), Column("Cells", lambda v: number(v), is_number=True),
            Column("Expressing", percent, is_number=True), Column("Moved by", _two, is_number=True),
            Column("Relative to the spread of cells", _two, is_number=True),
        ]  # fmt: skip
        rows = result["table"][["group", "cells", "expressing", "shift", "relative"]].itertuples(index=False)
        parts.append(table("Movement of each group", columns, rows))
    for key, result in _results(ctx, "rank_perturbations")[:1]:
        parts.append(tag("p", "Genes whose removal would lead diseased cells towards "
                              f"{result['params']['reference']}. p comes from exchanging whole donors. Candidates to "
                              "look at, not predictions."))  # fmt: skip
        parts.append(figure(pl.perturb(ctx.adata, use_rep=key, key="rank_perturbations"), "Removals that lead back."))
        columns = [
            Column("Cell type"), Column("Gene"), Column("Closes", percent, is_number=True),
            Column("p", lambda v: number(v, 3), is_number=True), Column("q", lambda v: number(v, 3), is_number=True),
        ]  # fmt: skip
        best = result["table"][result["table"]["rank"] <= 10].head(_ROWS)
        rows = best[["cell_type", "gene", "closes", "p", "q"]].itertuples(index=False)
        parts.append(table("First genes of each cell type", columns, rows))
    return join(parts) if parts else None
