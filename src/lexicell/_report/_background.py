"""The sections a careful reader looks for: coverage, methods to paste, provenance, and all tables."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

from .. import __version__, _keys
from .._results import recorded
from ..core.pooling.presets import in_words
from ..sources import is_mitochondrial, is_ribosomal
from ._context import Context, section, text_of
from ._html import Column, Html, details, figure, join, note, num, number, percent, share, table, tag

__all__ = ["all_tables", "size_of"]

_LOW = 0.5  # share of counts below which a cell or a data set is poorly described


def _covered(ctx: Context) -> Any:
    """Share of each cell's counts whose gene has a text; None where it is not recorded."""
    column = _keys.coverage(_keys.prefix(ctx.text_key)) if ctx.text_key else ""
    return ctx.adata.obs[column].to_numpy(dtype=float) if column in ctx.adata.obs else None


@section(70, "coverage", "Data and coverage")
def _coverage(ctx: Context) -> Html | None:
    covered = _covered(ctx)
    if covered is None:
        return None
    from .. import pl

    n = len(np.asarray(ctx.text["genes"]))
    said = (
        f"{ctx.adata.n_obs:,} cells and {ctx.adata.n_vars:,} genes. A gene without a text does not take part in the "
        f"embedding. {n:,} genes have one; in the median cell they make up {percent(np.median(covered), 1)} of the "
        f"counts, in the least covered one {percent(covered.min(), 1)}."
    )
    groups = next((c for c in ctx.labels if ctx.adata.obs[c].nunique() > 1), None)
    drawn = figure(
        pl.coverage(ctx.adata, use_rep=ctx.text_key, groupby=groups),
        "The share of counts covered in each cell" + (f", by {groups}." if groups else "."),
        "Share of each cell's counts whose gene has a text. A group far to the left is described less well.",
    )
    parts: list[object] = [tag("p", said), drawn]
    total = str(ctx.text.get("params", {}).get("library_size", ""))
    if total:
        # Shares are of all counts of a cell; those of genes that are not in the matrix cannot have a text.
        parts.append(
            note(f"These are shares of the totals in “{total}”, which count genes that are not in this matrix too.")
        )
    elif np.median(covered) < _LOW:
        ctx.notices.append(
            f"In the median cell only {percent(np.median(covered))} of the counts belong to genes with a text. "
            "Check that organism and gene names are right."
        )
    elif (covered < _LOW).any():
        ctx.notices.append(
            f"In {int((covered < _LOW).sum()):,} cells less than half of the counts belong to genes with a text."
        )
    return join([*parts, _missing(ctx)])


def _missing(ctx: Context) -> Html:
    """The genes without a text that have most counts: what the embedding does not see."""
    if ctx.values is None:
        return Html("")
    has_text = np.isin(ctx.values.genes, np.asarray(ctx.text["genes"]).astype(object))
    matrix = ctx.values.counts if ctx.values.counts is not None else ctx.values.log.expm1()
    total = np.asarray(matrix.sum(axis=0), dtype=float).ravel()
    _dominated(ctx, total)
    lost = np.flatnonzero(~has_text & (total > 0))
    if not len(lost):
        return tag("p", "Every expressed gene has a text.")
    order = lost[np.argsort(-total[lost], kind="stable")][:15]
    expressed = np.asarray((ctx.values.log[:, order] > 0).sum(axis=0)).ravel() / ctx.adata.n_obs
    columns = {
        "gene": Column("Gene", lambda v: tag("i", v)),
        "share": Column("Share of all counts", lambda v: percent(v, 2), "num"),
        "cells": share("Cells that express it"),
    }
    caption = f"The {len(order)} with most counts of {len(lost):,} expressed genes without a text"
    rows = zip(ctx.values.genes[order], total[order] / total.sum(), expressed, strict=True)
    return details("Which genes are missing", table(caption, columns, rows))


def _dominated(ctx: Context, total: np.ndarray[Any, Any]) -> None:
    assert ctx.values is not None
    for what, belongs in (("mitochondrial", is_mitochondrial), ("ribosomal protein", is_ribosomal)):
        part = total[[belongs(str(g)) for g in ctx.values.genes]].sum() / max(total.sum(), 1.0)
        if part > 0.3:
            ctx.notices.append(
                f"{percent(part)} of all counts are of {what} genes, which then shape the text embedding too."
            )


@section(80, "methods", "Methods, to paste")
def _methods(ctx: Context) -> Html | None:
    said = [*_embedding(ctx), *_analyses(ctx)]
    if not said:
        return None
    copy = tag("button", "Copy", type="button", class_="small", data_copy="methods-text")
    text = tag("div", tag("p", " ".join(said)), tag("ul", *(tag("li", w) for w in _works(ctx))), id="methods-text")
    return join([text, copy])


def _embedding(ctx: Context) -> list[str]:
    if not ctx.text:
        return ["No text embedding made by lexicell is recorded in this file."] if ctx.entry else []
    made, params = ctx.text.get("provenance", {}), ctx.text.get("params", {})
    preset, dims = str(params.get("preset", "")), np.shape(ctx.adata.obsm[ctx.text_key])[1]
    n = len(np.asarray(ctx.text["genes"]))
    dates = text_of(made.get("dates", ""))
    said = [
        f"Cells were described by what is written about their genes with lexicell {__version__}. Texts were found for "
        f"{n:,} of {ctx.adata.n_vars:,} genes (source: {made.get('source', 'unknown')}{'; ' + dates if dates else ''}) "
        f"and turned into vectors by the language model {made.get('embedder', 'unknown')} "
        f"(revision {made.get('revision', 'unknown')}).",
        f"Each cell is {in_words(preset)} (preset “{preset}”, {dims} dimensions; expression from "
        f"{params.get('slot', 'X')}).",
    ]
    if ctx.entry.get("based_on"):
        weight = percent(ctx.entry.get("params", {}).get("a", np.nan))
        said.append(
            f"Text and expression were joined: {np.shape(ctx.adata.obsm[ctx.use_rep])[1]} principal components of both "
            f"side by side, in which text brings {weight} of the variance and the expression of "
            f"{len(np.asarray(ctx.entry['hvg'])):,} variable genes (Pearson residuals) the rest."
        )
    return said


def _analyses(ctx: Context) -> list[str]:
    said = []
    if ctx.clusters:
        p = ctx.clusters["params"]
        how = f"Leiden at resolution {float(p['resolution']):.3g}" if p["method"] == "leiden" else "k-means"
        said.append(
            f"{how} found {int(p['n_clusters'])} clusters on obsm[{ctx.use_rep}] ({int(p['n_neighbors'])} neighbors "
            f"per cell, seed {int(p['seed'])})."
        )
    _, found = ctx.find("vulnerability")
    if "table" in found:
        p = found["params"]
        said.append(
            f"Cell types ({p['cell_type']}) were compared between conditions ({p['condition']}, reference "
            f"{p['reference']}) with donors ({p['donor']}) as replicates: squared distance of mean embeddings beyond "
            f"the differences between donors, {p['n_permutations']:,} permutations of donors, family-wise p by max-T "
            f"over {p['n_tests']} tests; at least {p['min_donors']} donors per arm with {p['min_cells']} cells."
        )
    key, order = ctx.find("trajectory")
    if "table" in order:
        roots = ", ".join(str(r) for r in np.atleast_1d(order["params"]["root"]))
        said.append(f"Cells were ordered by diffusion pseudotime on obsm[{key}] from the root {roots}.")
    return said


def _works(ctx: Context) -> list[str]:
    made = ctx.text.get("provenance", {})
    preset = str(ctx.text.get("params", {}).get("preset", ""))
    works = [
        f"lexicell {__version__} (this software).",
        "The method of describing cells by the texts of their genes: arXiv:2505.07896.",
    ]
    if preset.startswith("genept"):
        works.append("GenePT: Chen and Zou, bioRxiv 2023.10.16.562533.")
    if preset.startswith("scelmo"):
        works.append("scELMo: Liu et al., bioRxiv 2023.12.07.569910.")
    if str(made.get("source", "")).startswith("bundled"):
        works.append("Gene facts: NCBI Gene, HGNC, MGI and Ensembl; GO terms: Gene Ontology Consortium (CC BY 4.0).")
    if str(made.get("embedder", "")) == "local":
        works.append("Text vectors: all-MiniLM-L6-v2, Reimers and Gurevych 2019, doi:10.18653/v1/D19-1410.")
    if ctx.clusters:
        works.append("scanpy: Wolf, Angerer and Theis 2018, doi:10.1186/s13059-017-1382-0.")
        works.append("Leiden: Traag, Waltman and van Eck 2019, doi:10.1038/s41598-019-41695-z.")
        works.append("UMAP: McInnes, Healy and Melville 2018, arXiv:1802.03426.")
    if ctx.entry.get("based_on") or ctx.use_rep == _keys.X_EXPRESSION:
        works.append("Pearson residuals: Lause, Berens and Kobak 2021, doi:10.1186/s13059-021-02451-7.")
    if "table" in ctx.find("vulnerability")[1]:
        works.append("max-T permutation: Westfall and Young 1993; false discovery rate: Benjamini and Hochberg 1995.")
    if "table" in ctx.find("trajectory")[1]:
        works.append("Diffusion pseudotime: Haghverdi et al. 2016, doi:10.1038/nmeth.3971.")
    return works


@section(90, "provenance", "Provenance")
def _provenance(ctx: Context) -> Html | None:
    steps = recorded(ctx.adata, "run").get("steps")
    parts = [_steps(steps)] if isinstance(steps, pd.DataFrame) else []
    if ctx.text:
        made = {str(k): v for k, v in ctx.text.get("provenance", {}).items()}
        made["hash of the gene embedding"] = ctx.text["gene_embedding"]
        parts.append(_pairs("Gene texts and vectors", made))
        parts.append(_pairs(f"Cell embedding {ctx.text_key}", ctx.text.get("params", {})))
        space = ctx.text.get("space", {})
        if space:
            parts.append(_pairs("Gene space", {k: space[k] for k in ("k", "rank", "n_genes") if k in space}))
        if space and int(space.get("rank", 0)) > int(space["k"]):
            n, k, rank = (int(space[name]) for name in ("n_genes", "k", "rank"))
            ctx.notices.append(
                f"{n:,} genes are too few to estimate all {rank} text dimensions; {k} are used. With more genes "
                "the texts could tell more."
            )
    if ctx.entry.get("based_on"):
        parts.append(_pairs(f"Fusion {ctx.use_rep}", ctx.entry.get("params", {})))
    if ctx.clusters:
        parts.append(_pairs("Clusters", ctx.clusters["params"]))
    return join([*parts, _pairs("Software", _software())])


def _steps(steps: pd.DataFrame) -> Html:
    heads = {"step": Column("Step"), "seconds": num("Seconds", 1), "cpu_seconds": num("CPU seconds", 1)}
    heads["peak_gb"] = num("Peak memory, GB", 2)
    return table("Time and memory of each step", {k: v for k, v in heads.items() if k in steps}, steps)


def _pairs(caption: str, pairs: dict[str, Any]) -> Html:
    rows = [(k.replace("_", " "), text_of(v)) for k, v in sorted(pairs.items()) if text_of(v) != ""]
    columns = {"what": Column("What"), "value": Column("Value", lambda v: tag("code", v))}
    return details(caption, table(caption, columns, rows))


def _software() -> dict[str, str]:
    found = {"lexicell": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "anndata", "scanpy", "igraph", "umap-learn", "scikit-learn", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover
            continue
    return found


def all_tables(tables: dict[str, int]) -> Html:
    """Buttons that save every table of results that the page carries."""
    buttons = [
        tag("li", tag("button", f"{name}.tsv", type="button", class_="small", data_table=name, data_array=place))
        for name, place in tables.items()
    ]
    return tag("ul", *buttons, class_="downloads")


def size_of(ctx: Context) -> list[tuple[str, str]]:
    """The numbers at the top: value and what it is."""
    cards = [(number(ctx.adata.n_obs), "cells"), (number(ctx.adata.n_vars), "genes")]
    if ctx.text:
        cards.append((number(len(np.asarray(ctx.text["genes"]))), "genes with a text"))
    covered = _covered(ctx)
    if covered is not None and len(covered):
        cards.append((percent(np.median(covered), 1), "of the counts covered"))
    if ctx.clusters:
        cards.append((number(ctx.clusters["params"]["n_clusters"]), "clusters"))
        again = float(ctx.clusters["params"].get("repeat_ari", np.nan))
        if np.isfinite(again):
            cards.append((number(again, 2), "ARI between seeds"))
    return cards
