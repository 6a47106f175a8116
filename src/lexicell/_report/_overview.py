"""The sections on what was done, on the map, on the clusters, and on the comparison with expression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import _keys
from .._results import recorded
from ..core.agreement import adjusted_rand
from ..core.pooling.presets import in_words
from ..pl import GREY, as_categories, category_colors
from ._context import Context, is_categorical, section, text_of
from ._html import Column, Html, bar, details, figure, join, legend, number, percent, swatch, table, tag

__all__ = ["representations"]

WEAK = 3.0
"""Words below this z are shown pale."""


@section(10, "done", "What was done")
def _what(ctx: Context) -> Html | None:
    if not ctx.text:
        return tag("p", "No text embedding made by lexicell is recorded in this file.")
    provenance, params = ctx.text.get("provenance", {}), ctx.text.get("params", {})
    preset, dims = str(params.get("preset", "")), np.shape(ctx.adata.obsm[ctx.text_key])[1]
    source, embedder = provenance.get("source", "an unknown source"), provenance.get("embedder", "an unknown embedder")
    n = len(np.asarray(ctx.text["genes"]))
    parts = [
        tag(
            "p",
            f"For {n:,} of {ctx.adata.n_vars:,} genes a text was found (source: {source}). A language model "
            f"({embedder}) turned each text into a vector, so that genes with similar texts lie close together.",
        ),
        tag(
            "p",
            f"Each cell is then {in_words(preset)} (preset “{preset}”), which gives {dims} numbers per cell in obsm[",
            tag("code", ctx.text_key),
            "].",
        ),
    ]
    if ctx.entry.get("based_on"):
        p = ctx.entry.get("params", {})
        n_components = np.shape(ctx.adata.obsm[ctx.use_rep])[1]
        parts.append(
            tag(
                "p",
                f"Text and expression were joined: the first {n_components} principal components of "
                f"both, side by side, in which text brings {percent(p.get('a', np.nan))} of the variance "
                f"and the expression of {len(np.asarray(ctx.entry['hvg'])):,} variable genes the "
                "rest.",
            )
        )
    if ctx.clusters:
        p = ctx.clusters["params"]
        how = f"Leiden at resolution {float(p['resolution']):.3g}" if p["method"] == "leiden" else "k-means"
        parts.append(
            tag(
                "p",
                f"{how} found {int(p['n_clusters'])} clusters on obsm[",
                tag("code", ctx.use_rep),
                f"] ({int(p['n_neighbors'])} neighbors per cell, seed {int(p['seed'])}).",
            )
        )
    return join(parts)


@section(20, "map", "The cells")
def _map(ctx: Context) -> Html | None:
    key = _keys.umap(_keys.prefix(ctx.use_rep)) if ctx.use_rep else ""
    if key not in ctx.adata.obsm:
        return None
    from matplotlib.axes import Axes

    from .. import pl

    own = [str(ctx.clusters["params"]["key_added"])] if ctx.clusters else []
    columns: list[str | None] = [*dict.fromkeys([*own, *ctx.color])]
    drawn = []
    for column in columns or [None]:
        ax = pl.embedding(ctx.adata, basis=key, color=column, legend="none")
        assert isinstance(ax, Axes)  # a Figure is of several colors
        ax.set_title("")
        about = f"colored by {column}" if column else "in one color"
        drawn.append(
            figure(ax, f"Map of {ctx.adata.n_obs:,} cells, {about}.", _about(ctx, column), _colors(ctx, column))
        )
    note = tag(
        "p",
        "Each dot is a cell; cells that are described alike lie together. Distances between groups on such "
        "a map mean little, and sizes of groups nothing.",
        class_="note",
    )
    return join([note, tag("div", *drawn, class_="figures")])


def _about(ctx: Context, column: str | None) -> object:
    if column is None:
        return ""
    own = bool(ctx.clusters) and column == str(ctx.clusters["params"]["key_added"])
    return join([tag("b", column), ": clusters found on this representation." if own else ": a column of the data."])


def _colors(ctx: Context, column: str | None) -> Html | None:
    """The legend of a column of labels; None for numbers, which have their color bar."""
    if column is None or not is_categorical(ctx.adata.obs[column]):
        return None
    names, codes = as_categories(ctx.adata.obs[column])
    size = [f"{n:,}" for n in np.bincount(codes[codes >= 0], minlength=len(names))]
    entries = list(zip(category_colors(ctx.adata, column, names), names, size, strict=True))
    if (codes < 0).any():
        entries.append((GREY, "no label", f"{int((codes < 0).sum()):,}"))
    return legend(entries)


@section(30, "clusters", "The clusters, in genes and in words")
def _clusters(ctx: Context) -> Html | None:
    if not ctx.clusters:
        return None
    rows, made = pd.DataFrame(ctx.clusters["table"]), ctx.clusters
    column = str(made["params"]["key_added"])
    names = [str(i) for i in rows.index]
    colors = dict(zip(names, category_colors(ctx.adata, column, names), strict=True))
    columns = [
        Column("Cluster", lambda name: join([swatch(colors[name]), name])),
        Column("Cells", number, is_number=True),
        Column("Share", lambda v: bar(float(v)), is_number=True),
    ]
    data: list[list[Any]] = [names, list(rows["cells"]), list(rows["share"])]
    if np.isfinite(rows["stability"]).any():
        columns.append(
            Column("Found again", percent, is_number=True, note="Overlap with the best cluster of other seeds")
        )
        data.append(list(rows["stability"]))
    for label in ctx.labels:
        columns.append(Column(f"Mostly ({label})"))
        data.append(_mostly(ctx, column, label, names))
    if "genes" in rows:
        columns.append(Column("Top genes", lambda v: tag("span", v, class_="genes")))
        data.append(list(rows["genes"]))
    if "concepts" in made:
        for kind, title in (("cell type", "Cell types"), ("process", "Processes")):
            columns.append(Column(title, is_wide=True))
            words = made["concepts"][made["concepts"]["kind"] == kind]
            data.append([_word_list(words, name) for name in names])
    parts = [
        tag(
            "p",
            "Genes are those whose mean log expression is highest against all other cells. Concepts are phrases "
            "whose genes go up further in the cluster than the best of all words does in random orders of the "
            "genes; z is the distance from random gene sets of the same expression, in their standard deviations. "
            f"Words below z = {WEAK:g} are pale.",
        ),
        tag(
            "p",
            "These rankings are descriptive. Clusters that were found in the same counts cannot be tested on "
            "them, so there are no p values.",
            class_="note",
        ),
        table(f"{len(names)} clusters of {ctx.adata.n_obs:,} cells", columns, zip(*data, strict=True)),
    ]
    if "markers" in made:
        parts.append(details("More genes of each cluster", _markers(made["markers"], names)))
    weak = [n for n, s in zip(names, rows["stability"], strict=True) if np.isfinite(s) and s < 0.6]
    if weak:
        who, its = f"Cluster {weak[0]} is", "its"
        if len(weak) > 1:
            who, its = f"Clusters {', '.join(weak)} are", "their"
        ctx.notices.append(
            f"{who} not found again with other seeds (overlap below 60 %): do not build on {its} borders."
        )
    return join(parts)


def _mostly(ctx: Context, column: str, label: str, names: list[str]) -> list[str]:
    given, found = ctx.adata.obs[label], ctx.adata.obs[column].astype(str)
    texts = []
    for name in names:
        inside = given[(found == name).to_numpy()].dropna().astype(str).value_counts()
        share = inside.iloc[0] / inside.sum() if len(inside) else 0.0
        texts.append(f"{inside.index[0]} ({percent(share)})" if len(inside) else "–")
    return texts


def _word_list(concepts: pd.DataFrame, name: str, n: int = 4) -> Html:
    items = []
    best = concepts[concepts["group"].astype(str) == name].head(n)
    for concept, z, genes in zip(best["concept"], best["z"], best["genes"], strict=True):
        pale = "color:var(--soft);opacity:.75" if float(z) < WEAK else None
        items.append(tag("li", str(concept), " ", tag("small", f"z {float(z):.1f} · {genes}"), style=pale))
    return tag("ol", *items, class_="words") if items else Html("no clear word")


def _markers(markers: pd.DataFrame, names: list[str], n: int = 12) -> Html:
    columns = [
        Column("Cluster"),
        Column("Gene", lambda v: tag("span", v, class_="genes")),
        Column(
            "Difference", lambda v: number(v, 2), is_number=True, note="Mean log expression against all other cells"
        ),
        Column("Cells with it", percent, is_number=True),
        Column("Elsewhere", percent, is_number=True),
    ]
    rows = []
    for name in names:
        best = markers[markers["group"].astype(str) == name].head(n)
        rows += [(name, r.gene, r.difference, r.share, r.share_rest) for r in best.itertuples()]
    return table("Genes by difference in mean log expression, log1p of counts per 10,000", columns, rows)


def representations(ctx: Context) -> list[tuple[str, str, pd.DataFrame]]:
    """Clustered representations: key, what it is, and its clusters beside the labels."""
    found = []
    for key in sorted(str(k) for k in ctx.adata.obsm):
        made = recorded(ctx.adata, key).get("cluster")
        if made is None or str(made["params"]["key_added"]) not in ctx.adata.obs:
            continue
        entry = recorded(ctx.adata, key)
        what = "yours"
        if entry.get("based_on"):
            what = "text and expression"
        elif "gene_embedding" in entry:
            what = f"text ({text_of(entry['params'].get('preset', ''))})"
        elif "hvg" in entry:
            what = "expression (principal components)"
        found.append((key, what, ctx.adata.obs[[str(made["params"]["key_added"]), *ctx.labels]]))
    return found


@section(40, "comparison", "Beside expression alone")
def _comparison(ctx: Context) -> Html | None:
    known = representations(ctx)
    if len(known) < 2:
        return None
    columns = [
        Column("Representation", lambda v: tag("code", v)),
        Column("What it is"),
        Column("Clusters", number, True),
    ]
    columns += [Column(f"ARI with {label}", lambda v: number(v, 3), True) for label in ctx.labels]
    rows, scores = [], {}
    for key, what, frame in known:
        ari = [_ari(frame[label], frame.iloc[:, 0]) for label in ctx.labels]
        rows.append([key, what, frame.iloc[:, 0].nunique(), *ari])
        scores[key] = ari
    parts = [table("The same clustering on each representation", columns, rows)]
    if ctx.labels:
        about = (
            "The adjusted Rand index (ARI) says how well clusters agree with given labels: 1 is the same partition, 0 "
            "is chance. It measures agreement with those labels only, and they may be imperfect themselves."
        )
        parts.insert(0, tag("p", about))
        parts.append(tag("p", _verdict(ctx, known, scores)))
    else:
        parts.append(
            tag("p", "No column of labels was given, so the representations cannot be scored here.", class_="note")
        )
    maps = _maps(ctx, [key for key, _, _ in known])
    return join([*parts, maps] if maps else parts)


def _ari(labels: pd.Series, clusters: pd.Series) -> float:
    known = labels.notna().to_numpy()
    codes = [pd.Categorical(s[known].astype(str)).codes.astype(np.int64) for s in (labels, clusters)]
    return adjusted_rand(*codes) if known.sum() > 1 else float("nan")


def _verdict(ctx: Context, known: list[tuple[str, str, pd.DataFrame]], scores: dict[str, list[float]]) -> str:
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


def _maps(ctx: Context, keys: list[str]) -> Html | None:
    """The same cells on the map of each representation, all in the colors of the first labels."""
    from .. import pl

    color = next(iter(ctx.labels), None)
    maps = [k for k in keys if _keys.umap(_keys.prefix(k)) in ctx.adata.obsm]
    if color is None or len(maps) < 2:
        return None
    from matplotlib import pyplot as plt

    drawing, axes = plt.subplots(1, len(maps), figsize=(4.3 * len(maps), 4.0), layout="constrained")
    for ax, key in zip(axes, maps, strict=True):
        pl.embedding(ctx.adata, basis=_keys.umap(_keys.prefix(key)), color=color, ax=ax, legend="none")
        ax.set_title(key)
    alt = f"Maps of the same cells from {', '.join(maps)}, colored by {color}."
    about = join(["The same cells on the map of each representation, colored by ", tag("b", color), "."])
    return figure(drawing, alt, about, _colors(ctx, color))


def check_labels(ctx: Context) -> None:
    """Note labels that are not fit to be compared with."""
    for column in ctx.color:
        values = ctx.adata.obs[column]
        if is_categorical(values) and values.isna().any():
            ctx.notices.append(
                f"{int(values.isna().sum()):,} cells have no label in “{column}”; they are left out there."
            )
