"""What cells express in words, the genes behind a number, programs and perturbations."""

from __future__ import annotations

import pandas as pd

from ._context import Context, section
from ._html import Column, Html, details, figure, join, note, num, number, prob, share, table, tag

__all__: list[str] = []

_ROWS = 40


@section(41, "concepts", "Concepts asked for")
def _concepts(ctx: Context) -> Html | None:
    from .. import pl

    key, result = ctx.find("concepts")
    if not result:
        return None
    params = result["params"]
    text = (
        f"{params['queries']} phrases ({params['words']}). Each is represented by the {params['n_genes']} genes whose "
        "texts are nearest to it. z is the distance of a group's score from random gene sets of the same expression, "
        "in their standard deviations: a scale, not a test."
    )
    parts = []
    if "table" in result:
        tested = "q" in result["table"]
        about = "Red: higher than in all other cells."
        if tested:
            text += f" q comes from a moderated t over donors ({params['donor']}), corrected over all rows."
            about += " A ring marks q of at most .05."
        parts.append(figure(pl.concepts(ctx.adata, use_rep=key), "Groups by their highest concepts.", about))
        best = result["table"].sort_values("z", ascending=False).groupby("group", sort=True).head(3)
        best = best.sort_values(["group", "z"], ascending=[True, False])
        parts.append(_ranking("Highest concepts of each group", best.head(_ROWS * 2), tested=tested))
    if "directions" in result:
        near = result["directions"][result["directions"]["rank"] <= 3]
        parts.append(_ranking("Concepts nearest each direction", near.head(_ROWS), tested=False))
    return join([tag("p", text), *parts])


def _ranking(caption: str, rows: pd.DataFrame, *, tested: bool) -> Html:
    columns = {"group": Column("Group"), "concept": Column("Concept"), "z": num("z", 2)}
    if tested:
        columns["q"] = prob("q")
    columns["genes"] = Column("Genes that contribute most", style="wide")
    return details(caption, table(caption, columns, rows))


@section(42, "explain", "The genes behind a number")
def _explain(ctx: Context) -> Html | None:
    from .. import pl

    key, result = ctx.find("explain")
    if not result:
        return None
    params = result["params"]
    what = "the embedding"
    if params["concept"]:
        what = f"the score of “{params['concept']}”"
    elif params["classifier"]:
        what = "a classifier's decision"
    elif params["direction"]:
        what = "the distance along a direction"
    text = (
        f"What {what} is made of, gene by gene, against {params['reference']}. The parts add up to the whole exactly, "
        "because a cell embedding is a weighted sum of gene vectors. They say what the number rests on and are no "
        "test."
    )
    if params["before_scaling"]:
        text += " Cells of this preset are scaled to unit length; the parts are those before scaling."
    columns = {
        "gene": Column("Gene"),
        "part": num("Part", 3),
        "expression_change": num("Change of log expression", 2),
        "text_source": Column("Text from"),
        "text": Column("Text", style="wide"),
    }
    names = result["totals"]["group"].astype(str).tolist()
    parts = [tag("p", text)]
    for i, name in enumerate(names[:12]):
        rows = result["table"][result["table"]["group"].astype(str) == name]
        drawn = figure(pl.explain(ctx.adata, name, use_rep=key), f"Genes behind {name}, by their part.")
        body = join([drawn, table(f"{name}: parts of genes", columns, rows)])
        parts.append(details(name, body) if i else body)
    if len(names) > 12:
        parts.append(note(f"{len(names) - 12} more groups are stored in the object."))
    return join(parts)


@section(43, "programs", "Gene programs")
def _programs(ctx: Context) -> Html | None:
    _, result = ctx.find("programs")
    if not result:
        return None
    params = result["params"]
    text = (
        f"Sparse factors of {params['genes_used']} variable genes, smoothed over genes with similar texts (weight "
        f"{params['text_weight']:g}), named by the concept whose genes weigh most. Relative error of the factors: "
        f"{number(params['error'], 2)}."
    )
    columns = {
        "program": Column("Program"),
        "name": Column("Nearest concept"),
        "share": share("Share"),
        "n_genes": num("Genes"),
        "genes": Column("Heaviest genes", style="wide"),
    }
    return join([tag("p", text), table("Programs", columns, result["table"])])


@section(44, "perturb", "Predicted effect of changing genes")
def _perturb(ctx: Context) -> Html | None:
    _, result = ctx.find("perturb")
    if not result:
        return None
    params = result["params"]
    text = (
        f"The counts of {', '.join(str(t) for t in params['targets'])} times {params['fold']:g}, library size "
        f"{params['library']}: arithmetic on the embedding. It does not predict how cells would respond."
    )
    columns = {
        "group": Column("Group"),
        "cells": num("Cells"),
        "expressing": share("Expressing"),
        "shift": num("Moved by", 2),
        "relative": num("Relative to the spread of cells", 2),
    }
    return join([tag("p", text), table("Movement of each group", columns, result["table"])])
