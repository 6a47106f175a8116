"""One self-contained HTML page of everything lexicell found in an object."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .._errors import InputError
from .._files import check_file, write_file

# Each adds its sections when imported.
from . import _background, _labels, _overview, _trajectory, _vulnerability, _words  # noqa: F401
from ._context import SECTIONS, Context, make_context, text_of
from ._findings import findings as findings
from ._html import Html, join, tag
from ._page_data import PageData, page_data, quantize

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["live_page", "quantize", "report"]


def report(
    adata: AnnData,
    path: str | Path,
    *,
    use_rep: str | None = None,
    color: str | Sequence[str] = (),
    title: str = "Cells in words",
) -> Path:
    """Write what lexicell found as one HTML file that can be explored: nothing is loaded from elsewhere.

    The page says what was found, then shows an interactive map of the cells: color by any column of ``obs``, by genes
    that results name and by words; search them; draw around cells or choose a group and read its composition, words and
    genes; compare two groups. Then the clusters in words, what other tools found, controls, coverage, methods to paste,
    provenance, and every table of results to save. Parts that were not computed are left out. Simulated (planted) data
    is labeled as such at the top. `adata` is only read; all that is computed are scores of the words that results name.

    The page carries the names of the cells and the columns of ``obs`` (labels of up to 250 values, and numbers): drop
    columns that the readers of the page should not see. Beyond 200,000 cells it carries a random sample of them.

    Parameters
    ----------
    adata
        An object that lexicell wrote to.
    path
        The file, e.g. ``report.html``; written aside and renamed, so that it is whole or absent.
    use_rep
        Representation to show. Default: the fused one, else the text embedding, else another that was clustered.
    color
        Columns of ``obs`` that come first on the map, and genes that it should hold. Columns of labels are also
        compared with the clusters.
    title
        Heading of the page.

    Returns
    -------
    The path that was written.

    Raises
    ------
    MissingKeyError
        If `use_rep`, a column or a gene is not there.
    InputError
        If the object holds nothing that lexicell made, or `path` cannot be written.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.cluster(adata)
    >>> lx.report(adata, "report.html", color=["cell_type", "CD8A"])  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; name a file, e.g. '{path / 'report.html'}'")
    check_file(path, inputs=[adata.filename] if adata.isbacked else [])
    names = [color] if isinstance(color, str) else list(color)
    page, _, _ = live_page(adata, use_rep=use_rep, color=names, title=title)
    write_file(path, lambda aside: aside.write_text(page, encoding="utf-8", errors="replace"))
    return path


def live_page(
    adata: AnnData, *, use_rep: str | None, color: list[str], title: str, live: str = ""
) -> tuple[str, NDArray[np.int64], str]:
    """Write the page as text; `live` is the address that scores phrases where it is served.

    Returns the page, the rows of the cells that it carries, and the key of the text embedding behind it.
    """
    ctx = make_context(adata, use_rep, color)
    if not ctx.use_rep and not ctx.planted:
        raise InputError("there are no lexicell results here yet; run lexicell.emb.cells first")
    _overview.check_labels(ctx)
    data = page_data(ctx)
    data.about["live"] = live
    # Sections are written first, because they note what the warnings at the top say.
    written = [(s.anchor, s.heading, made) for s in SECTIONS if (made := s.write(ctx)) is not None]
    if data.tables:
        written.append(("tables", "Tables to save", _background.all_tables(data.tables)))
    body = [
        tag("section", tag("h2", heading, id=f"{anchor}-heading"), made, id=anchor, aria_labelledby=f"{anchor}-heading")
        for anchor, heading, made in written
    ]
    first = int(bool(written) and written[0][0] == "found")
    links = [tag("li", tag("a", heading, href=f"#{anchor}")) for anchor, heading, _ in written]
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    foot = f"Written by lexicell {__version__} on {today}. This file is self-contained."
    scripts = _scripts(map_is_drawn=bool(data.about["n"]))
    content = join(
        [
            tag("a", "Skip to the content", href="#content", class_="skip"),
            _top(ctx, title),
            tag("nav", tag("ul", *links), aria_label="Sections"),
            # What was found comes first, then what speaks against it.
            tag("main", _planted(ctx), *body[:first], _notices(ctx), *body[first:], id="content"),
            tag("footer", tag("div", foot)),
            _data_elements(data),
            *(tag("script", script) for script in scripts),
        ]
    )
    head = _head(title, _policy(scripts, live))
    page = "<!DOCTYPE html>\n" + tag("html", head, tag("body", content), lang="en")
    return page, data.cells, ctx.text_key


def _read(name: str) -> Html:
    return Html((files("lexicell._report") / name).read_text(encoding="utf-8"))


def _scripts(*, map_is_drawn: bool) -> list[Html]:
    names = ["vendor/regl-scatterplot.min.js", "map.js", "page.js"]
    return [_read(name) for name in (names if map_is_drawn else names[2:])]


def _policy(scripts: list[Html], live: str) -> str:
    """What the browser may do: run these scripts alone, and load nothing."""
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    connect = "'self'" if live else "'none'"
    # 'unsafe-eval': the WebGL library builds its draw calls as functions.
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _data_elements(data: PageData) -> Html:
    about, arrays = data.scripts()
    return join(
        [
            tag("script", about, type="application/json", id="lexicell-data"),
            tag("script", arrays, type="text/plain", id="lexicell-arrays"),
        ]
    )


def _head(title: str, policy: str) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"lexicell {__version__}"),
        tag("title", f"{title} – lexicell"),
        tag("style", _read("style.css")),
    )


def _top(ctx: Context, title: str) -> Html:
    cards = [tag("li", tag("b", value), " ", what) for value, what in _background.size_of(ctx)]
    return tag(
        "header",
        tag("div", tag("h1", title), tag("p", _lead(ctx), class_="lead"), tag("ul", *cards, class_="cards")),
    )


def _lead(ctx: Context) -> str:
    if ctx.planted:
        return "Simulated data: donors, conditions and a disease program were planted on top of real cells."
    organism = text_of(ctx.text.get("provenance", {}).get("organism", ""))
    whose = f"{organism} cells" if organism else "cells"
    return f"A description of {ctx.adata.n_obs:,} {whose} by what is written about the genes they express."


def _planted(ctx: Context) -> Html:
    if not ctx.planted:
        return Html("")
    rows = [f"{str(k).replace('_', ' ')}: {text_of(v)}" for k, v in ctx.planted.items() if text_of(v)]
    text = (
        "Only the cells the simulation started from are real. Donors, conditions and the effect were made up, so that "
        "tools have a truth to be compared with."
    )
    heading = tag("h2", "Planted data: not a finding about real tissue")
    return tag("div", heading, tag("p", text), tag("p", "; ".join(rows)), class_="box planted", role="note")


def _notices(ctx: Context) -> Html:
    if not ctx.notices:
        return Html("")
    rows = [tag("li", notice) for notice in dict.fromkeys(ctx.notices)]
    return tag("div", tag("h2", "Read this first"), tag("ul", *rows), class_="box warn", role="note")
