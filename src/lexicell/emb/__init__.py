"""Gene names -> gene texts -> gene vectors -> cell embeddings."""

from ._cells import cells
from ._coverage import Coverage, coverage
from ._file import embed_file
from ._fuse import expression_pca, fuse
from ._gene_prior import GenePrior, gene_panel, gene_prior
from ._genes import cost, genes
from ._project import project
from ._result import merge_shards
from ._sentences import sentences

__all__ = [
    "Coverage",
    "GenePrior",
    "cells",
    "cost",
    "coverage",
    "embed_file",
    "expression_pca",
    "fuse",
    "gene_panel",
    "gene_prior",
    "genes",
    "merge_shards",
    "project",
    "sentences",
]
