"""What the sections of a report look at: the object, the representation, and what was noted about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import _keys
from .._errors import InputError, MissingKeyError, check_key, choices
from .._expression import Values, read_values
from .._results import recorded
from ._html import Html

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["SECTIONS", "Context", "Section", "is_categorical", "make_context", "section", "text_of"]


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
        Columns of ``obs`` and genes to begin with on the map.
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
    def cluster_column(self) -> str:
        """Column of the clusters shown, empty where there are none."""
        return str(self.clusters["params"]["key_added"]) if self.clusters else ""

    @cached_property
    def map_key(self) -> str:
        """Key of the map shown, empty where there is none."""
        key = _keys.umap(_keys.prefix(self.use_rep)) if self.use_rep else ""
        return key if key in self.adata.obsm else ""

    @cached_property
    def labels(self) -> list[str]:
        """The columns among `color` that hold categories."""
        return [c for c in self.color if c in self.adata.obs and is_categorical(self.adata.obs[c])]

    @cached_property
    def design(self) -> dict[str, str]:
        """Columns of the study: ``cell_type``, ``condition``, ``donor``; those that results name and that are there."""
        params = self.find("vulnerability")[1].get("params", {})
        named = {what: str(params.get(what, "")) for what in ("cell_type", "condition", "donor")}
        # What CELLxGENE's schema and most studies call it.
        others = [str(self.find("concepts")[1].get("params", {}).get("donor", "")), "donor", "donor_id"]
        named["donor"] = next((c for c in [named["donor"], *others] if c in self.adata.obs), "")
        return {what: column for what, column in named.items() if column in self.adata.obs}

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

    def find(self, tool: str) -> tuple[str, dict[str, Any]]:
        """A representation and its result of a tool: the one shown, the text behind it, or any other."""
        for key in dict.fromkeys([self.use_rep, self.text_key, *(str(k) for k in self.adata.obsm)]):
            found = recorded(self.adata, key).get(tool) if key else None
            if isinstance(found, dict) and "params" in found:
                return key, found
        return "", {}

    def words_of(self, cluster: str, n: int = 3) -> list[tuple[str, float, str]]:
        """The first cell types and processes of a cluster: phrase, z and the genes behind it."""
        if "concepts" not in self.clusters:
            return []
        mine = self.clusters["concepts"]
        mine = mine[mine["group"].astype(str) == cluster].groupby("kind", sort=False).head(n)
        return [(str(c), float(z), str(g)) for c, z, g in zip(mine["concept"], mine["z"], mine["genes"], strict=True)]


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
    """Choose the representation to show and check the names.

    Raises
    ------
    MissingKeyError
        If `use_rep`, a column or a gene is not there.
    """
    keys = [str(k) for k in adata.obsm]
    if use_rep is not None:
        check_key(use_rep, keys, "representation in obsm")
    else:
        known = [k for k in sorted(keys) if recorded(adata, k)]
        clustered = [k for k in known if "cluster" in recorded(adata, k)]
        first = [k for k in (_keys.X_FUSED, _keys.X_TEXT) if k in (clustered or known)]
        use_rep = next(iter([*first, *clustered, *known]), "")
    for name in color:
        if name not in adata.obs and name not in adata.var_names:
            columns = [str(c) for c in adata.obs.columns]
            raise MissingKeyError(f"no column in obs '{name}', and no gene; obs has {choices(columns)}")
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
