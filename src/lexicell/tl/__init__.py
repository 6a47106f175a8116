"""Tools on cell embeddings: clusters with genes and words."""

from __future__ import annotations

from ._cluster import cluster

__all__ = ["cluster"]
