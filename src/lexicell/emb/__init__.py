"""Gene names -> gene texts -> gene vectors -> cell embeddings."""

from ._cells import cells
from ._coverage import Coverage, coverage
from ._fuse import expression_pca, fuse
from ._genes import cost, genes
from ._project import project
from ._sentences import sentences

__all__ = [
    "Coverage",
    "cells",
    "cost",
    "coverage",
    "expression_pca",
    "fuse",
    "genes",
    "project",
    "sentences",
]
