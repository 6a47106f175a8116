"""Plots of what the tools found. They read keys, compute nothing, take ``ax=`` and return the Axes."""

from __future__ import annotations

from ._annotate import annotate
from ._concepts import concepts
from ._coverage import coverage
from ._draw import GREY as GREY
from ._draw import as_categories as as_categories
from ._draw import category_colors as category_colors
from ._embedding import embedding
from ._evaluation import evaluation
from ._explain import explain
from ._perturb import perturb
from ._programs import programs
from ._trajectory import trajectory
from ._transfer import transfer
from ._trends import trends
from ._vulnerability import vulnerability

__all__ = [
    "annotate",
    "concepts",
    "coverage",
    "embedding",
    "evaluation",
    "explain",
    "perturb",
    "programs",
    "trajectory",
    "transfer",
    "trends",
    "vulnerability",
]
