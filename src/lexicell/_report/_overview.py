"""What was found, the map, the clusters in genes and words, and the comparison with expression alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._results import recorded
from ..core.agreement import adjusted_rand
from ..pl import category_colors
from ._context import Context, is_categorical, section, text_of
from ._findings import FIRST, findings
from ._html import Column, Html, details, figure, join, note, num, percent, share, swatch, table, tag
from ._page_data import MOST_CELLS

__all__ = ["check_labels"]

_STABLE = 0.6  # overlap with the clusters of other seeds


@section(10, "found", "What was found")
def _found(ctx: Context) -> Html | None:
    said: list[object] = []
    _, compared = ctx.find("vulnerability")
    if "table" in compared:
        for name in np.atleast_1d(compared["params"]["comparisons"]):
            said += findings(compared, str(name))[:FIRST]
    if ctx.clusters:
        said.append(_found_clusters(ctx))
    key, order = ctx.find("trajectory")
    if "table" in order:
        roots = ", ".join(str(r) for r in np.atleast_1d(order["params"]["root"]))
        said.append(f"An order of the cells from the root “{roots}” ends in {len(order['table'])} places ({key}).")
    return tag("ul", *(tag("li", sentence) for sentence in said), class_="found") if said else None


def _found_clusters(ctx: Context) -> str:
    """How many clusters, and those that words describe best."""
    rows = [(z, name, word) for name in _names(ctx) for word, z, _ in ctx.words_of(name, 1)[:1]]
    text = f"{len(_names(ctx))} clusters in {ctx.adata.n_obs:,} cells"
    if rows:
        best = [f"{name} is “{word}” (z {z:.1f})" for z, name, word in sorted(rows, reverse=True)[:3]]
        text += f"; the clearest in words: {', '.join(best)}"
    return text + "."


def _names(ctx: Context) -> list[str]:
    return [str(i) for i in ctx.clusters["table"].index]


@section(20, "cells", "The cells")
def _map(ctx: Context) -> Html | None:
    if not ctx.map_key or not ctx.adata.n_obs:
        return None

    from .. import pl

    column = next(iter([*([ctx.cluster_column] if ctx.cluster_column else []), *ctx.labels]), None)
    about = f"colored by {column}" if column else "in one color"
    drawn = figure(
        pl.embedding(ctx.adata, basis=ctx.map_key, color=column),
        f"Map of {ctx.adata.n_obs:,} cells, {about}.",
        class_="still",
    )
    text = (
        "Each dot is a cell; cells that are described alike lie together. Distances between groups mean little on such "
        "a map, and sizes of groups nothing."
    )
    if ctx.adata.n_obs > MOST_CELLS:
        text += f" A random {MOST_CELLS:,} of {ctx.adata.n_obs:,} cells are carried in this page."
    return join([note(text), _explorer(), drawn])


def _button(key: str, text: str, **attributes: object) -> Html:
    return tag("button", text, type="button", id=key, **attributes)


def _explorer() -> Html:
    search = tag(
        "div",
        tag("label", "Search columns, genes and words", for_="search"),
        tag(
            "input",
            id="search",
            type="search",
            autocomplete="off",
            spellcheck="false",
            role="combobox",
            aria_expanded="false",
            aria_controls="options",
            aria_autocomplete="list",
            placeholder="e.g. a gene, a cell type, a process",
        ),
        tag("ul", id="options", role="listbox", aria_label="Found", hidden="hidden"),
        class_="search",
    )
    color = tag("div", tag("label", "Color by", for_="color"), tag("select", id="color"))
    tools = tag(
        "div",
        _button("lasso", "Lasso", aria_pressed="false"),
        _button("clear", "Clear"),
        _button("reset", "Whole map"),
        _button("picture", "PNG", aria_label="Save the map as PNG"),
        class_="tools",
        role="group",
        aria_label="Map",
    )
    canvas = tag("canvas", id="map", role="img", aria_label="Map of cells")
    stage = tag("div", canvas, tag("div", id="tip", hidden="hidden"), class_="stage")
    pick = [
        tag(
            "div",
            tag("label", f"Group {name}", for_=f"group-{name.lower()}"),
            tag("select", id=f"group-{name.lower()}"),
        )
        for name in "AB"
    ]
    compare = tag(
        "details",
        tag("summary", "Compare two groups"),
        tag("div", *pick, _button("compare", "Compare"), class_="pick"),
        tag("div", id="comparison-result", aria_live="polite"),
    )
    side = tag("div", tag("div", id="legend"), tag("div", id="reading", aria_live="polite"), class_="side")
    bar = tag("div", search, color, tools, class_="bar")
    return tag("div", bar, tag("div", stage, side, class_="explorer"), compare, class_="live")


@section(30, "clusters", "Clusters in words")
def _clusters(ctx: Context) -> Html | None:
    if not ctx.clusters:
        return None
    rows, names = pd.DataFrame(ctx.clusters["table"]), _names(ctx)
    colors = dict(zip(names, category_colors(ctx.adata, ctx.cluster_column, names), strict=True))
    columns = {"name": Column("Cluster", lambda name: join([swatch(colors[name]), name])), "cells": num("Cells")}
    shown = rows.assign(name=names)
    stability = rows["stability"].to_numpy(dtype=float)
    if np.isfinite(stability).any():
        columns["stability"] = share("Found again", "Overlap with the best cluster of other seeds")
    for label in ctx.labels:
        if label != ctx.cluster_column:
            shown[f"mostly {label}"] = _mostly(ctx, label, names)
            columns[f"mostly {label}"] = Column(f"Mostly ({label})")
    if "concepts" in ctx.clusters:
        shown["words"] = pd.Series([ctx.words_of(name, 2) for name in names], index=rows.index, dtype=object)
        columns["words"] = Column("In words (z)", _words, "wide")
    if "genes" in rows:
        columns["genes"] = Column("Top genes", lambda genes: tag("i", genes), "wide")
    parts = [
        table(f"{len(names)} clusters of {ctx.adata.n_obs:,} cells", columns, shown),
        note(
            "Words are those whose genes go up further in the cluster than the best of all words does in random orders "
            "of the genes; z is the distance from random gene sets of the same expression, in their standard "
            "deviations. Genes are ranked by mean log expression against all other cells. Clusters found in the same "
            "counts cannot be tested on them, so there are no p values."
        ),
    ]
    if "concepts" in ctx.clusters:
        reasons = {"group": Column("Cluster"), "concept": Column("Words"), "z": num("z", 1)}
        reasons["genes"] = Column("Genes that contribute most", style="wide")
        best = ctx.clusters["concepts"].groupby(["group", "kind"], sort=False, observed=True).head(3)
        parts.append(details("The genes behind the words", table("Words and their genes", reasons, best)))
    weak = [n for n, s in zip(names, stability, strict=True) if np.isfinite(s) and s < _STABLE]
    if weak:
        who, its = f"Cluster {weak[0]} is", "its"
        if len(weak) > 1:
            who, its = f"Clusters {', '.join(weak)} are", "their"
        ctx.notices.append(
            f"{who} not found again with other seeds (overlap below 60 %): do not build on {its} borders."
        )
    return join(parts)


def _words(words: list[tuple[str, float, str]]) -> Html:
    if not words:
        return Html("no clear word")
    return join([join([word, " ", tag("small", f"{z:.1f}")]) for word, z, _ in words], ", ")


def _mostly(ctx: Context, label: str, names: list[str]) -> list[str]:
    given, found = ctx.adata.obs[label], ctx.adata.obs[ctx.cluster_column].astype(str)
    texts = []
    for name in names:
        inside = given[(found == name).to_numpy()].dropna().astype(str).value_counts()
        texts.append(f"{inside.index[0]} ({percent(inside.iloc[0] / inside.sum())})" if len(inside) else "–")
    return texts


def _representations(ctx: Context) -> list[tuple[str, str, str]]:
    """Clustered representations: key, what it is, and the column of its clusters."""
    found = []
    for key in sorted(str(k) for k in ctx.adata.obsm):
        entry = recorded(ctx.adata, key)
        column = str(entry.get("cluster", {}).get("params", {}).get("key_added", ""))
        if column not in ctx.adata.obs:
            continue
        what = "yours"
        if entry.get("based_on"):
            what = "text and expression"
        elif "gene_embedding" in entry:
            what = f"text ({text_of(entry['params'].get('preset', ''))})"
        elif "hvg" in entry:
            what = "expression (principal components)"
        found.append((key, what, column))
    return found


@section(60, "comparison", "Beside expression alone")
def _comparison(ctx: Context) -> Html | None:
    known = _representations(ctx)
    if len(known) < 2:
        return None
    columns = {
        "key": Column("Representation", lambda v: tag("code", v)),
        "what": Column("What it is"),
        "n": num("Clusters"),
    }
    columns |= {label: num(f"ARI with {label}", 3) for label in ctx.labels}
    obs = ctx.adata.obs
    scores = {key: [_ari(obs[label], obs[column]) for label in ctx.labels] for key, _, column in known}
    rows = [[key, what, obs[column].nunique(), *scores[key]] for key, what, column in known]
    made = table("The same clustering on each representation", columns, rows)
    if not ctx.labels:
        return join([made, note("No column of labels was given, so the representations cannot be scored here.")])
    about = (
        "The adjusted Rand index (ARI) says how well clusters agree with given labels: 1 is the same partition, 0 is "
        "chance. It measures agreement with those labels only, and they may be imperfect themselves."
    )
    return join([tag("p", _verdict(ctx, known, scores)), made, note(about)])


def _ari(labels: pd.Series, clusters: pd.Series) -> float:
    known = labels.notna().to_numpy()
    codes = [pd.Categorical(s[known].astype(str)).codes.astype(np.int64) for s in (labels, clusters)]
    return adjusted_rand(*codes) if known.sum() > 1 else float("nan")


def _verdict(ctx: Context, known: list[tuple[str, str, str]], scores: dict[str, Any]) -> str:
    """One sentence by a fixed rule: differences below .05 (.10 under 300 cells) count as equal."""
    margin = 0.10 if ctx.adata.n_obs < 300 else 0.05
    baseline = [k for k, what, _ in known if what.startswith("expression")]
    if not baseline or ctx.use_rep not in scores or ctx.use_rep in baseline:
        return ""
    gain = float(np.mean(np.array(scores[ctx.use_rep]) - np.array(scores[baseline[0]])))
    if gain < -margin:
        ctx.notices.append(f"Expression alone agrees better with the labels than {ctx.use_rep} (ARI {-gain:+.2f}).")
        said = f"Here expression alone agrees better with the labels, by {-gain:.2f}."
    elif gain > margin:
        said = (
            f"Here {ctx.use_rep} agrees better with the labels than expression alone, by {gain:.2f}. Whether the texts "
            "are the reason shows only beside shuffled texts: see lexicell.evaluate."
        )
    else:
        said = f"Here {ctx.use_rep} and expression alone agree equally well with the labels (difference {gain:+.2f})."
    return f"{said} Differences below {margin:.2f} count as equal: another seed or sample of cells gives as much."


def check_labels(ctx: Context) -> None:
    """Note labels that are not fit to be compared with."""
    for column in ctx.labels:
        missing = int(ctx.adata.obs[column].isna().sum())
        if missing and is_categorical(ctx.adata.obs[column]):
            ctx.notices.append(f"{missing:,} cells have no label in “{column}”; they are left out there.")
