"""One self-contained HTML page of everything lexicell found in an object."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .._errors import InputError
from .._files import check_file, write_file

# Each adds its sections when imported.
from . import _background, _labels, _overview, _trajectory, _vulnerability, _words  # noqa: F401
from ._context import SECTIONS, Context, make_context, text_of
from ._html import Html, join, tag

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["report"]


def report(
    adata: AnnData,
    path: str | Path,
    *,
    use_rep: str | None = None,
    color: str | Sequence[str] = (),
    title: str = "Cells in words",
) -> Path:
    """Write what lexicell found as one HTML file: figures inline, nothing loaded from elsewhere, printable.

    Sections: what was done, the map, the clusters with their genes and words, the comparison with expression,
    coverage, what other tools found, provenance, and how to cite. Parts that were not computed are left out.
    Simulated (planted) data is labeled as such at the top. Nothing is computed anew and `adata` is only read.

    Parameters
    ----------
    adata
        An object that lexicell wrote to.
    path
        The file, e.g. ``report.html``; written aside and renamed, so that it is whole or absent.
    use_rep
        Representation to show. Default: the fused one, else the text embedding, else another that was clustered.
    color
        Columns of ``obs`` to show on the map. Columns of labels are also compared with the clusters.
    title
        Heading of the page.

    Returns
    -------
    The path that was written.

    Raises
    ------
    MissingKeyError
        If `use_rep` or a column is not there.
    InputError
        If the object holds nothing that lexicell made, or `path` cannot be written.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.cluster(adata, umap=False)
    >>> lx.report(adata, "report.html", color="cell_type")  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; name a file, e.g. '{path / 'report.html'}'")
    check_file(path, inputs=[adata.filename] if adata.isbacked else [])
    ctx = make_context(adata, use_rep, [color] if isinstance(color, str) else list(color))
    if not ctx.use_rep and not ctx.planted:
        raise InputError("this object holds nothing that lexicell made; embed cells first with lexicell.emb.cells")
    _overview.check_labels(ctx)
    page = _page(ctx, title)
    write_file(path, lambda aside: aside.write_text(page, encoding="utf-8", errors="replace"))
    return path


def _page(ctx: Context, title: str) -> str:
    # Sections are written first, because they note what the warnings at the top say.
    written = [(s, made) for s in SECTIONS if (made := s.write(ctx)) is not None]
    body = [
        tag(
            "section",
            tag("h2", s.heading, id=f"{s.anchor}-heading"),
            made,
            id=s.anchor,
            aria_labelledby=f"{s.anchor}-heading",
        )
        for s, made in written
    ]
    links = [tag("li", tag("a", s.heading, href=f"#{s.anchor}")) for s, _ in written]
    style = (files("lexicell._report") / "style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=f"lexicell {__version__}"),
        tag("title", f"{title} – lexicell"),
        tag("style", Html(style)),
    )
    top = tag(
        "header",
        tag(
            "div",
            tag("p", "lexicell", class_="brand"),
            tag("h1", title),
            tag("p", _lead(ctx), class_="lead"),
            tag(
                "ul",
                *(tag("li", tag("b", v), tag("span", what)) for v, what in _background.size_of(ctx)),
                class_="cards",
            ),
        ),
    )
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    foot = tag("footer", tag("div", f"Written by lexicell {__version__} on {today}. This file is self-contained."))
    content = join(
        [
            tag("a", "Skip to the content", href="#content", class_="skip"),
            top,
            tag("nav", tag("ul", *links), aria_label="Sections"),
            tag("main", _planted(ctx), _notices(ctx), *body, id="content"),
            foot,
        ]
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", content), lang="en")


def _lead(ctx: Context) -> str:
    if ctx.planted:
        return "Simulated data: donors, conditions and a disease program were planted on top of real cells."
    organism = text_of(ctx.text.get("provenance", {}).get("organism", ""))
    whose = f"{organism} cells" if organism else "cells"
    return f"A description of {ctx.adata.n_obs:,} {whose} by what is written about the genes they express."


def _planted(ctx: Context) -> Html:
    if not ctx.planted:
        return Html("")
    rows = [tag("li", f"{str(k).replace('_', ' ')}: {text_of(v)}") for k, v in ctx.planted.items() if text_of(v)]
    return tag(
        "div",
        tag("h2", "Planted data: not a finding about real tissue"),
        tag(
            "p",
            "Only the cells the simulation started from are real. Donors, conditions and the effect were made "
            "up, so that tools have a truth to be compared with:",
        ),
        tag("ul", *rows),
        class_="box planted",
        role="note",
    )


def _notices(ctx: Context) -> Html:
    if not ctx.notices:
        return Html("")
    return tag(
        "div",
        tag("h2", "Read this first"),
        tag("ul", *(tag("li", n) for n in dict.fromkeys(ctx.notices))),
        class_="box warn",
        role="note",
    )
