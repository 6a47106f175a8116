"""Suggested cell types and transferred labels, with what speaks against them."""

from __future__ import annotations

from typing import Any

from .. import _keys
from ._context import Context, section
from ._html import Column, Html, figure, join, tag
from ._words import frame_table, number_column, percent_column

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
        columns = {
            "group": Column("Group"),
            "cells": number_column("Cells"),
            "suggested": Column("Suggested"),
            "best": Column("Best"),
            "runner_up": Column("Runner-up"),
            "confidence": number_column("Confidence", 2),
            "share": percent_column("Share", note="cells of the group with that best type"),
        }
        text = (
            "Suggestions, not labels. A type is suggested only if some cells stand out for it. Unsure means that its "
            "probability is below min_confidence; none of these, that the cells stand out for no candidate."
        )
        parts += [
            tag("p", text),
            frame_table(f"Suggestions, from {found['params']['source']}", rows, columns),
        ]
        if not found["scores"].empty:
            parts.append(figure(pl.annotate(ctx.adata, key=key), "Mean score of each group for each candidate type"))
    return join(parts) if parts else None


@section(27, "transferred-labels", "Transferred labels")
def _transferred(ctx: Context) -> Html | None:
    from .. import pl

    parts = []
    for key, found in _found(ctx, "advice"):
        rows = found["table"]
        if ((rows["p"] > 0.05) & (rows["method"] != "expression")).any():
            ctx.notices.append("The texts link the two data sets of a label transfer no better than chance.")
        columns = {
            "source": Column("Labeled data"),
            "method": Column("Method"),
            "cells": number_column("Cells"),
            "shared_genes": number_column("Shared genes"),
            "strength": number_column(
                "Strength", 1, note="agreement of the components by their texts, divided by that of shuffled texts"
            ),
            "p": number_column("p", 3),
        }
        parts += [tag("p", str(found["advice"])), frame_table("Where the labels come from", rows, columns)]
        if "report" in found:
            columns = {
                "class": Column("Class"),
                "cells": number_column("Cells"),
                "recall": percent_column("Recall"),
                "precision": percent_column("Precision"),
                "unsure": percent_column("Unsure"),
            }
            parts += [
                frame_table("Against known labels", found["report"], columns),
                figure(pl.transfer(ctx.adata, key=key, kind="confusion"), "Known labels against transferred ones"),
            ]
        if "umap" in found.get("source", {}):
            parts.append(
                figure(
                    pl.transfer(ctx.adata, key=key, kind="map"),
                    "Cells of both data sets on one map",
                    "Dots: labeled data. Crosses: this data set, by transferred label.",
                )
            )
    return join(parts) if parts else None
