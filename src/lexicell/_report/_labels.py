"""Suggested cell types and transferred labels, with what speaks against them."""

from __future__ import annotations

from typing import Any

from .. import _keys
from ._context import Context, section
from ._html import Column, Html, figure, join, num, prob, share, table, tag

__all__: list[str] = []


def _found(ctx: Context, part: str) -> list[tuple[str, dict[str, Any]]]:
    stored = ctx.adata.uns.get(_keys.UNS, {})
    return [(str(k), v) for k, v in stored.items() if isinstance(v, dict) and part in v and "params" in v]


@section(32, "suggested-types", "Suggested cell types")
def _suggested(ctx: Context) -> Html | None:
    from .. import pl

    columns = {
        "group": Column("Group"),
        "cells": num("Cells"),
        "suggested": Column("Suggested"),
        "best": Column("Best"),
        "runner_up": Column("Runner-up"),
        "confidence": num("Confidence", 2),
        "share": share("Share", "cells of the group with that best type"),
    }
    text = (
        "Suggestions, not labels. A type is suggested only if some cells stand out for it. Unsure means that its "
        "probability is below min_confidence; none of these, that the cells stand out for no candidate."
    )
    parts = []
    for key, found in _found(ctx, "scores"):
        parts += [tag("p", text), table(f"Suggestions, from {found['params']['source']}", columns, found["table"])]
        if not found["scores"].empty:
            parts.append(figure(pl.annotate(ctx.adata, key=key), "Mean probability of each type found, in each group"))
    return join(parts) if parts else None


@section(33, "transferred-labels", "Transferred labels")
def _transferred(ctx: Context) -> Html | None:
    from .. import pl

    advice = {
        "source": Column("Labeled data"),
        "method": Column("Method"),
        "cells": num("Cells"),
        "shared_genes": num("Shared genes"),
        "strength": num("Strength", 1, "agreement of the components by their texts, divided by that of shuffled texts"),
        "p": prob("p"),
    }
    known = {
        "class": Column("Class"),
        "cells": num("Cells"),
        "recall": share("Recall"),
        "precision": share("Precision"),
        "unsure": share("Unsure"),
    }
    parts: list[Html] = []
    for key, found in _found(ctx, "advice"):
        rows = found["table"]
        if ((rows["p"] > 0.05) & (rows["method"] != "expression")).any():
            ctx.notices.append("The texts link the two data sets of a label transfer no better than chance.")
        parts += [tag("p", str(found["advice"])), table("Where the labels come from", advice, rows)]
        if "report" in found:
            parts.append(table("Against known labels", known, found["report"]))
            drawn = pl.transfer(ctx.adata, key=key, kind="confusion")
            parts.append(figure(drawn, "Known labels against transferred ones"))
        if "umap" in found.get("source", {}):
            about = "Dots: labeled data. Crosses: this data set, by transferred label."
            drawn = pl.transfer(ctx.adata, key=key, kind="map")
            parts.append(figure(drawn, "Cells of both data sets on one map", about))
    return join(parts) if parts else None
