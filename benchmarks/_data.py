"""Synthetic counts of the usual mix: 20,000 genes, 18,000 with text, some 1,763 nonzeros a cell, 62 % of them ones.

Genes have lognormal abundances, each of ten cell types changes them by another lognormal factor, cells differ in
depth, and molecules fall as a Poisson process. `SPREAD`, `FACTOR` and `DEPTH` were set so that the two figures above
come out.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numba import njit

N_GENES, N_TEXT, N_TYPES = 20_000, 18_000, 10
SPREAD, FACTOR, DEPTH, DEPTH_SPREAD = 2.45, 0.35, 4800.0, 0.25


@njit(nogil=True)
def _fill(cumulative, types, depths, rng, indptr, indices, data):
    k = 0
    for cell in range(types.shape[0]):
        edges = cumulative[types[cell]]
        unit, gene, at = 1.0 / depths[cell], 0, 0.0
        while True:
            # Molecules of a Poisson process on [0, 1), cut into genes of unequal length.
            at += rng.standard_exponential() * unit
            if at >= 1.0:
                break
            step = 1
            if edges[gene] <= at:
                # Gallop, then halve.
                low = gene
                while gene + step < edges.shape[0] and edges[gene + step] <= at:
                    low, step = gene + step, step * 2
                high = min(gene + step, edges.shape[0] - 1)
                while high - low > 1:
                    middle = (low + high) // 2
                    if edges[middle] <= at:
                        low = middle
                    else:
                        high = middle
                gene = high
            if k > indptr[cell] and indices[k - 1] == gene:
                data[k - 1] += 1
            else:
                indices[k], data[k] = gene, 1
                k += 1
        indptr[cell + 1] = k
    return k


def counts(n_cells: int, *, seed: int = 0) -> sp.csr_matrix:
    """Cells x 20,000 genes, float32."""
    rng = np.random.default_rng(seed)
    abundance = np.exp(rng.normal(0, SPREAD, N_GENES) + rng.normal(0, FACTOR, (N_TYPES, N_GENES)))
    cumulative = np.cumsum(abundance / abundance.sum(axis=1, keepdims=True), axis=1)
    cumulative[:, -1] = 1.0
    depths = DEPTH * np.exp(rng.normal(0, DEPTH_SPREAD, n_cells))
    types = rng.integers(0, N_TYPES, n_cells)
    room = int(depths.sum() * 1.01 + 10_000)
    indptr = np.zeros(n_cells + 1, dtype=np.int64)
    indices, data = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.float32)
    n = _fill(cumulative, types, depths, rng, indptr, indices, data)
    dtype = np.int32 if n < 1 << 31 else np.int64
    return sp.csr_matrix((data[:n].copy(), indices[:n].copy(), indptr.astype(dtype)), shape=(n_cells, N_GENES))


def with_text(*, seed: int = 0) -> np.ndarray:
    """Columns of the genes that have text, rising."""
    return np.sort(np.random.default_rng(seed + 1).permutation(N_GENES)[:N_TEXT])


def vectors(dim: int, *, seed: int = 0) -> np.ndarray:
    """Gene vectors of unit length around a common direction, as texts give them; float32."""
    rng = np.random.default_rng(seed + 2)
    V = rng.normal(size=(N_TEXT, dim)).astype(np.float32) + 0.7
    return V / np.linalg.norm(V, axis=1, keepdims=True)


def names() -> np.ndarray:
    """Names of all genes."""
    return np.array([f"GENE{i:05d}" for i in range(N_GENES)])
