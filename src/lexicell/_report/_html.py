"""Markup that users' words cannot break: plain strings are escaped; figures and tables are self-contained."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Column", "Html", "details", "figure", "join", "number", "percent", "table", "tag"]


class Html(str):
    """Text that is markup already. Everything else is escaped before it goes into the page."""

    __slots__ = ()


def join(parts: Iterable[str], between: str = "") -> Html:
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
    if name in ("img", "meta", "br", "link"):
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{''.join(_safe(c) for c in children)}</{name}>")


def number(value: Any, digits: int = 0) -> str:
    """Write 12345 as 12,345 and what is not a number as a dash."""
    value = float(value)
    return "–" if not math.isfinite(value) else f"{value:,.{digits}f}"


def percent(value: Any, digits: int = 0) -> str:
    """Write .123 as 12 % and what is not a number as a dash."""
    value = float(value)
    return "–" if not math.isfinite(value) else f"{100 * value:.{digits}f}\u00a0%"


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, how an entry is shown, whether it holds numbers or is wide, a remark."""

    head: str
    show: Callable[[Any], object] = lambda value: value
    is_number: bool = False
    note: str = ""
    is_wide: bool = False

    @property
    def style(self) -> str | None:
        """Class of its cells."""
        if self.is_number:
            return "num"
        return "wide" if self.is_wide else None


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Html:
    """Write a table with a caption; the first column names its row."""
    head = [tag("th", c.head, scope="col", class_=c.style, title=c.note or None) for c in columns]
    body = []
    for row in rows:
        cells = [
            tag("th" if i == 0 else "td", c.show(value), scope="row" if i == 0 else None, class_=c.style)
            for i, (c, value) in enumerate(zip(columns, row, strict=True))
        ]
        body.append(tag("tr", *cells))
    made = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", made, class_="scroll")


def bar(share: float, color: str = "var(--accent)") -> Html:
    """Draw a share as a short bar behind its percentage."""
    width = 0.0 if not np.isfinite(share) else 100 * float(np.clip(share, 0, 1))
    filled = tag("span", class_="fill", style=f"width:{width:.1f}%;background:{color}")
    return tag("span", tag("span", filled, class_="bar", aria_hidden="true"), " ", percent(share), class_="barred")


def swatch(color: str) -> Html:
    """Draw a dot in the color of a group in the figures."""
    return tag("span", class_="swatch", style=f"background:{color}", aria_hidden="true")


def legend(entries: Iterable[tuple[str, str, str]]) -> Html:
    """List the meaning of colors: color, name and a remark such as a number of cells."""
    items = [tag("li", swatch(color), name, " ", tag("small", remark)) for color, name, remark in entries]
    return tag("ul", *items, class_="legend")


def details(summary: str, *children: object) -> Html:
    """Fold away what few readers need; it is printed all the same."""
    return tag("details", tag("summary", summary), *children)


def figure(drawing: Figure | Axes, alt: str, caption: object = "", legend: Html | None = None) -> Html:
    """Put a figure into the page as an SVG of its own, with its description for those who cannot see it."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    whole = drawing if isinstance(drawing, Figure) else drawing.get_figure(root=True)
    if whole is None:  # pragma: no cover
        raise ValueError("the axes belong to no figure")
    buffer = io.BytesIO()
    # The salt fixes the ids that matplotlib would draw at random, so that the same figure gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "lexicell", "savefig.dpi": 200}):
        whole.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(whole)
    source = "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
    shown = tag("img", src=source, alt=alt)
    below = [legend or Html(""), tag("figcaption", caption) if caption else Html("")]
    return tag("figure", shown, *below)
