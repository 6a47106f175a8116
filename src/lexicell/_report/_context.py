"""What the sections of a report look at: the object, the representation, and what was noted about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import _keys
from .._errors import InputError, check_column, check_key
from .._expression import Values, read_values
from .._results import recorded
from ._html import Html

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["SECTIONS", "Context", "Section", "is_categorical", "section"]


@dataclass
class Context:
    """One report in the making.

    Attributes
    ----------
    adata
        The object that is reported on; only read.
    use_rep
        Representation whose clusters and map are shown, empty where there is none.
    color
        Columns of ``obs`` to show on the map.
    notices
        What the reader should be warned of, in the order it was found.
    """

    adata: AnnData
    use_rep: str
    color: list[str]
    notices: list[str] = field(default_factory=list)

    @cached_property
    def entry(self) -> dict[str, Any]:
        """What is recorded on the representation shown."""
        return recorded(self.adata, self.use_rep) if self.use_rep else {}

    @cached_property
    def text_key(self) -> str:
        """Key of the text embedding behind the representation, empty where there is none."""
        for key in (self.use_rep, str(self.entry.get("based_on", "")), _keys.X_TEXT):
            if key and "gene_embedding" in recorded(self.adata, key):
                return key
        return ""

    @cached_property
    def text(self) -> dict[str, Any]:
        """What is recorded on the text embedding."""
        return recorded(self.adata, self.text_key) if self.text_key else {}

    @cached_property
    def clusters(self) -> dict[str, Any]:
        """Result of the clustering shown, empty where there is none, or where its column is gone."""
        found = dict(self.entry.get("cluster", {}))
        return found if found and str(found["params"]["key_added"]) in self.adata.obs else {}

    @cached_property
    def labels(self) -> list[str]:
        """The columns among `color` that hold categories."""
        return [c for c in self.color if is_categorical(self.adata.obs[c])]

    @cached_property
    def planted(self) -> dict[str, Any]:
        """The truth of planted data, empty for real data."""
        found = self.adata.uns.get(_keys.UNS, {}).get("planted", {})
        return dict(found) if isinstance(found, dict) else {}

    @cached_property
    def values(self) -> Values | None:
        """Expression as the text embedding read it; None where the object no longer holds it."""
        try:
            return read_values(self.adata, like=self.text.get("params") or self.entry.get("params"))
        except (InputError, KeyError):
            return None


@dataclass(frozen=True)
class Section:
    """A part of the report: where it stands, its heading, and what writes it (None where there is nothing to say)."""

    order: int
    anchor: str
    heading: str
    write: Callable[[Context], Html | None]


SECTIONS: list[Section] = []
"""All sections. A tool adds one by decorating a function with :func:`section` in a module that ``_report`` imports."""


def section(order: int, anchor: str, heading: str) -> Callable[[Callable[[Context], Html | None]], Callable[..., Any]]:
    """Register a function as a section of the report, placed by `order`."""

    def register(write: Callable[[Context], Html | None]) -> Callable[[Context], Html | None]:
        SECTIONS.append(Section(order, anchor, heading, write))
        SECTIONS.sort(key=lambda s: s.order)
        return write

    return register


def is_categorical(values: pd.Series) -> bool:
    """Whether a column holds labels rather than numbers."""
    return bool(pd.api.types.is_bool_dtype(values.dtype) or not pd.api.types.is_numeric_dtype(values.dtype))


def make_context(adata: AnnData, use_rep: str | None, color: list[str]) -> Context:
    """Choose the representation to show and check the columns.

    Raises
    ------
    MissingKeyError
        If `use_rep` or a column is not there.
    """
    keys = [str(k) for k in adata.obsm]
    if use_rep is not None:
        check_key(use_rep, keys, "representation in obsm")
    else:
        known = [k for k in sorted(keys) if recorded(adata, k)]
        clustered = [k for k in known if "cluster" in recorded(adata, k)]
        first = [k for k in (_keys.X_FUSED, _keys.X_TEXT) if k in (clustered or known)]
        use_rep = next(iter([*first, *clustered, *known]), "")
    for column in color:
        check_column(adata.obs, column)
    return Context(adata, use_rep, list(dict.fromkeys(color)))


def text_of(value: Any) -> str:
    """Any recorded value in one line."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:g}"
    if isinstance(value, np.ndarray):
        shown = ", ".join(str(v) for v in value[:12])
        return shown + (f" and {len(value) - 12} more" if len(value) > 12 else "")
    if isinstance(value, dict):
        return ", ".join(f"{k}: {text_of(v)}" for k, v in sorted(value.items()))
    return str(value)
