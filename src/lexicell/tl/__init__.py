"""Tools on embedded cells: clusters, vulnerability, trajectories, labels, and the genes and words behind each."""

from __future__ import annotations

from ._annotate import annotate
from ._classify import classify_vulnerability, predict_vulnerability
from ._cluster import cluster
from ._concepts import concepts
from ._explain import explain
from ._fates import fates
from ._match_depth import match_depth
from ._movement import movement
from ._perturb import perturb
from ._programmes import concept_sets, gene_neighbors, programmes
from ._progression import progression
from ._rank_perturbations import rank_perturbations
from ._split_counts import split_counts
from ._trajectory import trajectory
from ._transfer import transfer, transfer_across
from ._transfer_model import transfer_model
from ._trends import trends
from ._vulnerability import vulnerability

__all__ = [
    "annotate",
    "classify_vulnerability",
    "cluster",
    "concept_sets",
    "concepts",
    "explain",
    "fates",
    "gene_neighbors",
    "match_depth",
    "movement",
    "perturb",
    "predict_vulnerability",
    "programmes",
    "progression",
    "rank_perturbations",
    "split_counts",
    "trajectory",
    "transfer",
    "transfer_across",
    "transfer_model",
    "trends",
    "vulnerability",
]
