"""Plots: one for each tool. They read keys, compute nothing, take ``ax=`` and return the Axes."""

from __future__ import annotations

from ._coverage import coverage
from ._embedding import embedding

__all__ = ["coverage", "embedding"]
