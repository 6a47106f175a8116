"""How phrases found genes before the search of core/genes/retrieval.py: by cosine alone. For comparison."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike


def cosine_sets(
    vectors: ArrayLike, queries: ArrayLike, *, n_genes: int | None = 50, background: ArrayLike | None = None
) -> sp.csr_matrix:
    """Genes nearest each query, weighted by the square of how much nearer it they are than the background phrases.

    `n_genes` None: all genes with their signed cosines, divided by the sum of sizes.
    """
    genes, asked = np.asarray(vectors, dtype=np.float64), np.atleast_2d(np.asarray(queries, dtype=np.float64))
    center = genes.mean(axis=0)
    cosine = _unit(asked - center) @ _unit(genes - center).T
    if n_genes is None:
        return sp.csr_matrix(cosine / np.maximum(np.abs(cosine).sum(axis=1, keepdims=True), 1e-300))
    usual = np.zeros(len(genes))
    if background is not None:
        usual = _unit(genes - center) @ _unit(np.asarray(background, dtype=np.float64) - center).mean(axis=0)
    out = np.zeros(cosine.shape)
    for q, line in enumerate(np.where(cosine > 0, cosine - usual, 0.0)):
        best = np.argsort(-line, kind="stable")[: min(n_genes, len(genes) // 2)]
        best = best[line[best] > 0]
        out[q, best] = line[best] ** 2 / (line[best] ** 2).sum()
    return sp.csr_matrix(out)


def _unit(matrix: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(length > 0, length, 1.0)
