"""What cells express in words, the genes behind a number, programs and perturbations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from .._results import recorded
from ._context import Context, section
from ._html import Column, Html, details, figure, join, number, percent, table, tag

__all__ = ["frame_table", "number_column", "percent_column"]

_ROWS = 40


def _results(ctx: Context, tool: str) -> list[tuple[str, dict[str, Any]]]:
    """The results of a tool: of the representation shown, of what it rests on, and of any other."""
    keys = dict.fromkeys([ctx.use_rep, ctx.text_key, *(str(k) for k in ctx.adata.obsm)])
    found = [(key, recorded(ctx.adata, key).get(tool)) for key in keys if key]
    return [(key, result) for key, result in found if isinstance(result, dict) and "params" in result]


def number_column(head: str, digits: int = 0, note: str = "") -> Column:
    """A column of numbers with so many decimals."""
    return Column(head, partial(number, digits=digits), is_number=True, note=note)


def percent_column(head: str, note: str = "") -> Column:
    """A column of shares, shown in percent."""
    return Column(head, percent, is_number=True, note=note)


def frame_table(caption: str, rows: pd.DataFrame, columns: Mapping[str, Column]) -> Html:
    """Write those columns of a table that `columns` names."""
    return table(caption, list(columns.values()), rows[list(columns)].itertuples(index=False))


@section(34, "concepts", "Concepts asked for")
def _concepts(ctx: Context) -> Html | None:
    from .. import pl

    found = [(k, r) for k, r in _results(ctx, "concepts") if "table" in r or "directions" in r]
    if not found:
        return None
    key, result = found[0]
    params, parts = result["params"], []
    text = (
        f"{params['queries']} phrases ({params['words']}). Each is represented by the {params['n_genes']} genes whose "
        "texts are nearest to it. z is the distance of a group's score from random gene sets of the same expression, "
        "in their standard deviations: a scale, not a test."
    )
    if "table" in result:
        tested = "q" in result["table"]
        if tested:
            text += f" q comes from a moderated t over donors ({params['donor']}), corrected over all rows."
        parts.append(tag("p", text))
        note = "Red: higher than in all other cells."
        if tested:
            note += " A ring marks q of at most .05."
        parts.append(figure(pl.concepts(ctx.adata, use_rep=key), "Groups by their highest concepts.", note))
        best = result["table"].sort_values("z", ascending=False).groupby("group", sort=True).head(3)
        best = best.sort_values(["group", "z"], ascending=[True, False])
        parts.append(_ranking("Highest concepts of each group", best.head(_ROWS * 2), tested=tested))
    if "directions" in result:
        near = result["directions"][result["directions"]["rank"] <= 3]
        parts.append(_ranking("Concepts nearest each direction", near.head(_ROWS), tested=False))
    return join(parts)


def _ranking(caption: str, rows: pd.DataFrame, *, tested: bool) -> Html:
    columns = {"group": Column("Group"), "concept": Column("Concept"), "z": number_column("z", 2)}
    if tested:
        columns["q"] = number_column("q", 3)
    columns["genes"] = Column("Genes that contribute most", is_wide=True)
    return frame_table(caption, rows, columns)


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
        "because a cell embedding is a weighted sum of gene vectors. They say what the number rests on and are no "
        "test."
    )
    if params["before_scaling"]:
        text += " Cells of this preset are scaled to unit length; the parts are those before scaling."
    names = totals["group"].astype(str).tolist()
    parts = [tag("p", text)]
    for i, name in enumerate(names[:12]):
        rows = result["table"][result["table"]["group"].astype(str) == name]
        drawn = figure(pl.explain(ctx.adata, name, use_rep=key), f"Genes behind {name}, by their part.")
        columns = {
            "gene": Column("Gene"),
            "part": number_column("Part", 3),
            "expression_change": number_column("Change of log expression", 2),
            "text_source": Column("Text from"),
            "text": Column("Text", is_wide=True),
        }
        body = join([drawn, frame_table(f"{name}: parts of genes", rows, columns)])
        parts.append(body if i == 0 else details(name, body))
    if len(names) > 12:
        parts.append(tag("p", f"{len(names) - 12} more groups are stored in the object.", class_="note"))
    return join(parts)


@section(37, "programs", "Gene programs")
def _programs(ctx: Context) -> Html | None:
    found = _results(ctx, "programs")
    if not found:
        return None
    _, result = found[0]
    params = result["params"]
    text = (
        f"Sparse factors of {params['genes_used']} variable genes, smoothed over genes with similar texts (weight "
        f"{params['text_weight']:g}), named by the concept whose genes weigh most. Relative error of the factors: "
        f"{number(params['error'], 2)}."
    )
    columns = {
        "program": Column("Program"),
        "name": Column("Nearest concept"),
        "share": percent_column("Share"),
        "n_genes": number_column("Genes"),
        "genes": Column("Heaviest genes", is_wide=True),
    }
    return join([tag("p", text), frame_table("Programs", result["table"], columns)])


@section(38, "perturb", "Genes changed on paper")
def _perturb(ctx: Context) -> Html | None:

    parts: list[Html] = []
    for _, result in _results(ctx, "perturb")[:1]:
        params = result["params"]
        targets = ", ".join(str(t) for t in params["targets"])
        text = (
            f"The counts of {targets} times {params['fold']:g}, library size {params['library']}: arithmetic on the "
            "embedding. It does not predict how cells would respond."
        )
        columns = {
            "group": Column("Group"),
            "cells": number_column("Cells"),
            "expressing": percent_column("Expressing"),
            "shift": number_column("Moved by", 2),
            "relative": number_column("Relative to the spread of cells", 2),
        }
        parts += [tag("p", text), frame_table("Movement of each group", result["table"], columns)]
    return join(parts) if parts else None
