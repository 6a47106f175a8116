"""Plots of what the tools found. They read keys, compute nothing, take ``ax=`` and return the Axes."""

from __future__ import annotations

from ._coverage import coverage
from ._embedding import embedding
from ._evaluation import evaluation
from ._fates import fates
from ._trajectory import trajectory, trends
from ._transfer import annotate, transfer
from ._vulnerability import vulnerability, vulnerability_calibration, vulnerability_concepts, vulnerability_genes
from ._words import concepts, explain, perturb, programmes

__all__ = [
    "annotate",
    "concepts",
    "coverage",
    "embedding",
    "evaluation",
    "explain",
    "fates",
    "perturb",
    "programmes",
    "trajectory",
    "transfer",
    "trends",
    "vulnerability",
    "vulnerability_calibration",
    "vulnerability_concepts",
    "vulnerability_genes",
]
