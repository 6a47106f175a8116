"""Markup that users' words cannot break: plain strings are escaped; figures and tables are self-contained."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Column", "Html", "details", "figure", "join", "note", "num", "number", "percent", "prob", "probability"]
__all__ += ["share", "swatch", "table", "tag"]


class Html(str):
    """Text that is markup already. Everything else is escaped before it goes into the page."""

    __slots__ = ()


def join(parts: Iterable[object], between: str = "") -> Html:
    """Put parts side by side, each escaped unless it is markup."""
    return Html(_safe(between).join(_safe(p) for p in parts))


def _safe(part: object) -> str:
    return part if isinstance(part, Html) else html.escape(str(part), quote=True)


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Write one element; `class_` is class, and underscores in other names are hyphens."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "meta", "br", "link", "input"):
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def note(*children: object) -> Html:
    """Write a remark under or above what it is about."""
    return tag("p", *children, class_="note")


def number(value: Any, digits: int = 0) -> str:
    """Write 12345 as 12,345 and what is not a number as a dash."""
    value = float(value)
    return "–" if not math.isfinite(value) else f"{value:,.{digits}f}"


def percent(value: Any, digits: int = 0) -> str:
    """Write .123 as 12 % and what is not a number as a dash."""
    value = float(value)
    return "–" if not math.isfinite(value) else f"{100 * value:.{digits}f}\u00a0%"


def probability(value: Any) -> str:
    """Two digits, a dash where there is none."""
    value = float(value)
    if not math.isfinite(value):
        return "–"
    return f"{value:.2g}".replace("0.", ".") if value < 1 else "1"


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, how an entry is shown, its class (``num`` or ``wide``), a remark."""

    head: str
    show: Callable[[Any], object] = str
    style: str | None = None
    note: str | None = None


def num(head: str, digits: int = 0, note: str | None = None) -> Column:
    """A column of numbers with so many decimals."""
    return Column(head, lambda value: number(value, digits), "num", note)


def share(head: str, note: str | None = None) -> Column:
    """A column of shares, shown in percent."""
    return Column(head, percent, "num", note)


def prob(head: str, note: str | None = None) -> Column:
    """A column of p or q."""
    return Column(head, probability, "num", note)


def table(caption: str, columns: Mapping[str, Column], rows: pd.DataFrame | Iterable[Sequence[Any]]) -> Html:
    """Write a table with a caption; the first column names its row. Of a DataFrame those columns that are named."""
    if isinstance(rows, pd.DataFrame):
        rows = rows[list(columns)].itertuples(index=False)
    shown = list(columns.values())
    head = [tag("th", c.head, scope="col", class_=c.style, title=c.note) for c in shown]
    body = []
    for row in rows:
        cells = [_cell(i, column, value) for i, (column, value) in enumerate(zip(shown, row, strict=True))]
        body.append(tag("tr", *cells))
    made = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(place: int, column: Column, value: Any) -> Html:
    exact = f"{float(value):.6g}" if column.style == "num" and not isinstance(value, str) else None
    return tag(
        "td" if place else "th", column.show(value), scope=None if place else "row", class_=column.style, data_v=exact
    )


def swatch(color: str) -> Html:
    """Draw a dot in the color of a group in the figures."""
    return tag("span", class_="swatch", style=f"background:{color}", aria_hidden="true")


def details(summary: str, *children: object) -> Html:
    """Fold away what few readers need; it is printed all the same."""
    return tag("details", tag("summary", summary), *children)


def figure(drawing: Figure | Axes, alt: str, caption: object = "", **attributes: object) -> Html:
    """Put a figure into the page as an SVG of its own, with its description for those who cannot see it."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    whole = drawing if isinstance(drawing, Figure) else drawing.get_figure(root=True)
    if whole is None:  # pragma: no cover
        raise ValueError("the axes belong to no figure")
    buffer = io.BytesIO()
    # The salt fixes the ids that matplotlib would draw at random, so that the same figure gives the same bytes.
    # Without a background the dark page can invert the drawing.
    with mpl.rc_context({"svg.hashsalt": "lexicell", "savefig.dpi": 200}):
        whole.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", transparent=True
        )
    plt.close(whole)
    source = "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
    below = tag("figcaption", caption) if caption else Html("")
    return tag("figure", tag("img", src=source, alt=alt), below, **attributes)
