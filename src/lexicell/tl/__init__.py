"""Tools on embedded cells: clusters, vulnerability, trajectories, labels, and the genes and words behind each."""

from __future__ import annotations

from ._annotate import annotate
from ._classify import classify_vulnerability
from ._cluster import cluster
from ._concepts import concepts
from ._explain import explain

# The functions that other packages of lexicell use; they are not public.
from ._graph import graph_of as graph_of
from ._graph import kmeans as kmeans
from ._graph import leiden as leiden
from ._graph import resolution_for as resolution_for
from ._graph import sample_of as sample_of
from ._perturb import perturb
from ._programs import programs
from ._progression import progression
from ._roots import find_roots as find_roots
from ._trajectory import trajectory
from ._transfer import transfer
from ._transfer_model import transfer_model
from ._trends import trends
from ._vulnerability import vulnerability

__all__ = [
    "annotate",
    "classify_vulnerability",
    "cluster",
    "concepts",
    "explain",
    "perturb",
    "programs",
    "progression",
    "trajectory",
    "transfer",
    "transfer_model",
    "trends",
    "vulnerability",
]
