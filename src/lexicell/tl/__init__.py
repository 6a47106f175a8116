"""Tools on cell embeddings: clusters with genes and words."""

from __future__ import annotations

from ._cluster import cluster
from ._movement import movement
from ._progression import progression
from ._trajectory import trajectory
from ._trends import trends
from ._vulnerability import vulnerability

__all__ = ["cluster", "movement", "progression", "trajectory", "trends", "vulnerability"]
