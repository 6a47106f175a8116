"""Principal components of matrices that are made block by block.

Text, fusion and the expression baseline all take their components from these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError
from .log_values import column_stats, zscore_block

__all__ = ["Components", "principal_components", "zscore_pca"]

# Rows per block. Fixed, because the last bit of a sum over blocks depends on it.
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of a matrix of cells x features.

    Attributes
    ----------
    scores
        Shape ``(n_cells, k)``, float32.
    loadings
        Shape ``(n_features, k)``, float64, orthonormal columns; the entry of largest size of each is positive.
    mean
        Mean of each feature, shape ``(n_features,)``: ``scores = (features - mean) @ loadings``.
    variance_ratio
        Share of the total variance of each component, shape ``(k,)``.
    """

    scores: NDArray[np.float32]
    loadings: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance_ratio: NDArray[np.float64]


Block = Callable[[int, int], NDArray[np.float64]]


def principal_components(block: Block, n_rows: int, n_components: int) -> Components:
    """Principal components of a matrix that is made block by block and never held in memory as a whole.

    Eigenvectors of the covariance, summed over fixed blocks of 4,096 rows in float64 on one thread: the same bits for
    any number of threads. Memory: features squared, plus one block.

    Parameters
    ----------
    block
        ``block(start, stop)`` gives rows start to stop, dense, shape ``(stop - start, n_features)``.
    n_rows
        Number of rows.
    n_components
        Number of components.

    Raises
    ------
    InputError
        If there are fewer than two rows, or fewer directions than components.
    """
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    starts = range(0, n_rows, _ROWS)
    with threadpool_limits(limits=1):
        total = sum(
            (block(a, min(a + _ROWS, n_rows)).sum(axis=0) for a in starts[1:]), block(0, min(_ROWS, n_rows)).sum(axis=0)
        )
        mean = np.asarray(total, dtype=np.float64) / n_rows
        p = len(mean)
        most = min(n_rows - 1, p)
        if not 1 <= n_components <= most:
            raise InputError(
                f"{n_components} components cannot be taken from {n_rows} cells and {p} features; at most {most} can"
            )
        gram = np.zeros((p, p))
        for a in starts:
            rows = block(a, min(a + _ROWS, n_rows)) - mean
            gram += rows.T @ rows
        values, vectors = eigh(gram, subset_by_index=(p - n_components, p - 1))
        loadings = np.ascontiguousarray(vectors[:, ::-1])
        peak = loadings[np.abs(loadings).argmax(axis=0), np.arange(n_components)]
        loadings *= np.where(peak < 0, -1.0, 1.0)
        scores = np.empty((n_rows, n_components), dtype=np.float32)
        for a in starts:
            stop = min(a + _ROWS, n_rows)
            scores[a:stop] = (block(a, stop) - mean) @ loadings
    whole = float(np.trace(gram))
    ratio = np.clip(values[::-1], 0.0, None) / (whole if whole > 0 else 1.0)
    return Components(scores, loadings, mean, ratio)


def zscore_pca(values: sp.csr_matrix, n_components: int = 20) -> Components:
    """Principal components of z-scored log values, cells x genes (choose variable genes first)."""
    mean, sd = column_stats(values)
    return principal_components(lambda a, b: zscore_block(values[a:b], mean, sd), values.shape[0], n_components)
