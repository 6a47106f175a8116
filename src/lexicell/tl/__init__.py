"""Tools on cell embeddings: clusters with genes and words."""

from __future__ import annotations

from ._cluster import cluster
from ._trajectory import trajectory
from ._vulnerability import vulnerability

__all__ = ["cluster", "trajectory", "vulnerability"]
