"""Suggested cell types and transferred labels, with what speaks against them."""

from __future__ import annotations

from typing import Any

from .. import _keys
from ._context import Context, section
from ._html import Column, Html, figure, join, number, percent, table, tag

__all__: list[str] = []


def _found(ctx: Context, part: str) -> list[tuple[str, dict[str, Any]]]:
    stored = ctx.adata.uns.get(_keys.UNS, {})
    return [(str(k), v) for k, v in stored.items() if isinstance(v, dict) and part in v and "params" in v]


@section(26, "suggested-types", "Suggested cell types")
def _suggested(ctx: Context) -> Html | None:
    from .. import pl

    parts = []
    for key, found in _found(ctx, "scores"):
        rows = found["table"]
        columns = [
            Column("Group"), Column("Cells", number, is_number=True), Column("Suggested"), Column("Best"),
            Column("Runner-up"), Column("Score", lambda v: number(v, 2), is_number=True),
            Column("Lead", lambda v: number(v, 2), is_number=True),
            Column("Share", percent, is_number=True, note="cells of the group with that best type"),
        ]  # fmt: skip
        names = ["group", "cells", "suggested", "best", "runner_up", "score", "margin", "share"]
        text = (
            "Suggestions from descriptions of cell types, not labels: scores compare the cells of this data set with "
            "each other, so a type that is not there still has a best group. Unsure means that the score or its lead "
            "over the runner-up is small."
        )
        parts += [
            tag("p", text),
            table(f"Suggestions, from {found['params']['source']}", columns, rows[names].itertuples(index=False)),
            figure(pl.annotate(ctx.adata, key=key), "Mean score of each group for each candidate type"),
        ]
        if "types" in found and found["types"]["marker_look_up"].ne("").any():
            looked = found["types"].query("marker_look_up != ''")
            named = ", ".join(f"{t}: {m}" for t, m in zip(looked["type"], looked["marker_look_up"], strict=True))
            parts.append(tag("p", f"Descriptions named gene symbols, which were masked ({named}).", class_="note"))
    return join(parts) if parts else None


@section(27, "transferred-labels", "Transferred labels")
def _transferred(ctx: Context) -> Html | None:
    from .. import pl

    parts = []
    for key, found in _found(ctx, "advice"):
        rows = found["table"]
        if ((rows["p"] > 0.05) & (rows["method"] != "expression")).any():
            ctx.notices.append("Texts tie the two data sets of a label transfer together no better than chance.")
        columns = [
            Column("Source"), Column("Method"), Column("Classifier"), Column("Cells", number, is_number=True),
            Column("Shared genes", number, is_number=True), Column("Strength", lambda v: number(v, 1), is_number=True,
            note="agreement of the components in text, against shuffled texts"),
            Column("p", lambda v: number(v, 3), is_number=True),
        ]  # fmt: skip
        names = ["source", "method", "classifier", "cells", "shared_genes", "strength", "p"]
        parts += [
            tag("p", str(found["advice"])),
            table("Where the labels come from", columns, rows[names].itertuples(index=False)),
        ]
        if "report" in found:
            heads = [
                Column("Class"), Column("Cells", number, is_number=True), Column("Recall", percent, is_number=True),
                Column("Precision", percent, is_number=True), Column("Unsure", percent, is_number=True),
            ]  # fmt: skip
            shown = found["report"][["class", "cells", "recall", "precision", "unsure"]]
            parts += [
                table("Against known labels", heads, shown.itertuples(index=False)),
                figure(pl.transfer(ctx.adata, key=key, kind="confusion"), "Known labels against transferred ones"),
            ]
        if "umap" in found.get("source", {}):
            parts.append(
                figure(
                    pl.transfer(ctx.adata, key=key, kind="map"),
                    "Cells of both data sets on one map",
                    "Dots: source. Crosses: this data set, by transferred label.",
                )
            )
    return join(parts) if parts else None
