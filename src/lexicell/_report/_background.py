"""The sections a careful reader looks for: coverage, provenance, and how to cite."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .. import __version__, _keys
from ..sources import is_mitochondrial, is_ribosomal
from ._context import Context, section, text_of
from ._html import Column, Html, details, figure, join, number, percent, table, tag

__all__: list[str] = []

_LOW = 0.5  # share of counts below which a cell or a data set is poorly described


@section(50, "coverage", "How much the texts cover")
def _coverage(ctx: Context) -> Html | None:
    column = _keys.coverage(_keys.prefix(ctx.text_key)) if ctx.text_key else ""
    if column not in ctx.adata.obs:
        return None
    from .. import pl

    share = ctx.adata.obs[column].to_numpy(dtype=float)
    n = len(np.asarray(ctx.text["genes"]))
    groups = next(iter(ctx.labels), None)
    ax = pl.coverage(ctx.adata, use_rep=ctx.text_key)
    about = "Share of each cell's counts whose gene has a text."
    drawn = [figure(ax, "Histogram of the share of counts covered in each cell.", about)]
    if groups is not None and ctx.adata.obs[groups].nunique() > 1:
        ax = pl.coverage(ctx.adata, use_rep=ctx.text_key, groupby=groups)
        about = f"The same by “{groups}”: a group far to the left is described less well than others."
        drawn.append(figure(ax, f"Box plots of the share of counts covered, by {groups}.", about))
    parts = [
        tag(
            "p",
            f"A gene without a text does not take part in the embedding. {n:,} genes have one; in the median cell "
            f"they make up {percent(np.median(share), 1)} of the counts, in the least covered "
            f"one {percent(share.min(), 1)}.",
        ),
        tag("div", *drawn, class_="figures"),
    ]
    total = str(ctx.text.get("params", {}).get("library_size", ""))
    if total:
        # Shares are of all counts of a cell; those of genes that are not in the matrix cannot have a text.
        parts.append(
            tag(
                "p",
                f"These are shares of the totals in “{total}”, which count genes that are not in this matrix too.",
                class_="note",
            )
        )
    elif np.median(share) < _LOW:
        ctx.notices.append(
            f"In the median cell only {percent(np.median(share))} of the counts belong to genes with a text. "
            "Check that organism and gene names are right."
        )
    elif (share < _LOW).any():
        ctx.notices.append(
            f"In {int((share < _LOW).sum()):,} cells less than half of the counts belong to genes with a text."
        )
    missing = _missing(ctx)
    if missing is not None:
        parts.append(missing)
    return join(parts)


def _missing(ctx: Context) -> Html | None:
    """The genes without a text that have most counts: what the embedding does not see."""
    if ctx.values is None:
        return None
    has_text = np.isin(ctx.values.genes, np.asarray(ctx.text["genes"]).astype(object))
    matrix = ctx.values.counts if ctx.values.counts is not None else ctx.values.log.expm1()
    total = np.asarray(matrix.sum(axis=0), dtype=float).ravel()
    lost = np.flatnonzero(~has_text & (total > 0))
    _dominated(ctx, total)
    if not len(lost):
        return tag("p", "Every expressed gene has a text.")
    order = lost[np.argsort(-total[lost], kind="stable")][:15]
    rows = [(ctx.values.genes[g], total[g] / total.sum(), _expressed(ctx, g)) for g in order]
    columns = [
        Column("Gene", lambda v: tag("span", v, class_="genes")),
        Column("Share of all counts", lambda v: percent(v, 2), is_number=True),
        Column("Cells that express it", percent, is_number=True),
    ]
    caption = (
        f"The {len(order)} genes without a text that have most counts, of {len(lost):,} expressed genes without a text"
    )
    return details("Which genes are missing", table(caption, columns, rows))


def _expressed(ctx: Context, gene: Any) -> float:
    assert ctx.values is not None
    return float((ctx.values.log[:, gene] > 0).sum() / ctx.adata.n_obs)


def _dominated(ctx: Context, total: np.ndarray[Any, Any]) -> None:
    assert ctx.values is not None
    for what, belongs in (("mitochondrial", is_mitochondrial), ("ribosomal protein", is_ribosomal)):
        share = total[[belongs(str(g)) for g in ctx.values.genes]].sum() / max(total.sum(), 1.0)
        if share > 0.3:
            ctx.notices.append(
                f"{percent(share)} of all counts are of {what} genes, which then shape the text embedding too."
            )


@section(80, "provenance", "Where everything comes from")
def _provenance(ctx: Context) -> Html | None:
    parts = []
    if ctx.text:
        parts.append(
            _keys_table(
                "Gene texts and vectors",
                {
                    **{str(k): v for k, v in ctx.text.get("provenance", {}).items()},
                    "hash of the gene embedding": ctx.text["gene_embedding"],
                },
            )
        )
        parts.append(_keys_table(f"Cell embedding {ctx.text_key}", ctx.text.get("params", {})))
        if "space" in ctx.text:
            space = ctx.text["space"]
            parts.append(_keys_table("Gene space", {k: space[k] for k in ("k", "rank", "n_genes") if k in space}))
            if int(space.get("rank", 0)) > int(space["k"]):
                n, k, rank = (int(space[name]) for name in ("n_genes", "k", "rank"))
                ctx.notices.append(
                    f"{n:,} genes are too few to estimate all {rank} text dimensions; {k} are used. With more genes "
                    "the texts could tell more."
                )
    if ctx.entry.get("based_on"):
        parts.append(_keys_table(f"Fusion {ctx.use_rep}", ctx.entry.get("params", {})))
    if ctx.clusters:
        parts.append(_keys_table("Clusters", ctx.clusters["params"]))
    parts.append(_keys_table("Software", _software()))
    return join(parts)


def _keys_table(caption: str, pairs: dict[str, Any]) -> Html:
    rows = [(k.replace("_", " "), text_of(v)) for k, v in sorted(pairs.items()) if text_of(v) != ""]
    made = table(caption, [Column("What"), Column("Value", lambda v: tag("code", v))], rows)
    return Html(made.replace("<table>", '<table class="keys">', 1))


def _software() -> dict[str, str]:
    found = {"lexicell": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "anndata", "scanpy", "igraph", "umap-learn", "scikit-learn", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover
            continue
    return found


@section(90, "cite", "How to cite")
def _cite(ctx: Context) -> Html | None:
    preset = str(ctx.text.get("params", {}).get("preset", ""))
    works = [
        f"lexicell {__version__} (this software).",
        "The method of describing cells by the texts of their genes: arXiv:2505.07896.",
    ]
    if preset.startswith("genept"):
        works.append("GenePT: Chen and Zou, bioRxiv 2023.10.16.562533.")
    if preset.startswith("scelmo"):
        works.append("scELMo: Liu et al., bioRxiv 2023.12.07.569910.")
    if str(ctx.text.get("provenance", {}).get("source", "")).startswith("bundled"):
        works.append("Gene facts: NCBI Gene, HGNC, MGI and Ensembl; GO terms: Gene Ontology Consortium (CC BY 4.0).")
    if str(ctx.text.get("provenance", {}).get("embedder", "")) == "local":
        works.append("Text vectors: all-MiniLM-L6-v2, Reimers and Gurevych 2019, doi:10.18653/v1/D19-1410.")
    if ctx.clusters:
        works.append("scanpy: Wolf, Angerer and Theis 2018, doi:10.1186/s13059-017-1382-0.")
        works.append("Leiden: Traag, Waltman and van Eck 2019, doi:10.1038/s41598-019-41695-z.")
        works.append("UMAP: McInnes, Healy and Melville 2018, arXiv:1802.03426.")
    if ctx.entry.get("based_on") or ctx.use_rep == _keys.X_EXPRESSION:
        works.append("Pearson residuals: Lause, Berens and Kobak 2021, doi:10.1186/s13059-021-02451-7.")
    return join([tag("ul", *(tag("li", w) for w in works))])


def size_of(ctx: Context) -> list[tuple[str, str]]:
    """The numbers at the top: value and what it is."""
    cards = [(number(ctx.adata.n_obs), "cells"), (number(ctx.adata.n_vars), "genes")]
    if ctx.text:
        cards.append((number(len(np.asarray(ctx.text["genes"]))), "genes with a text"))
    column = _keys.coverage(_keys.prefix(ctx.text_key)) if ctx.text_key else ""
    if column in ctx.adata.obs:
        cards.append((percent(np.median(ctx.adata.obs[column].to_numpy(dtype=float)), 1), "of the counts covered"))
    if ctx.clusters:
        cards.append((number(ctx.clusters["params"]["n_clusters"]), "clusters"))
        again = float(ctx.clusters["params"].get("repeat_ari", np.nan))
        if np.isfinite(again):
            cards.append((number(again, 2), "ARI between seeds"))
    return cards
