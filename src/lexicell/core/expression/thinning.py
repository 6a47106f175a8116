"""Binomial thinning of counts, and counts split into two halves."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError

__all__ = ["split", "thin"]

Floats = NDArray[np.float64]


def thin(counts: sp.csr_matrix, share: Floats, rng: int | np.random.Generator = 0) -> sp.csr_matrix:
    """Binomial thinning: what sequencing each cell less deeply would have given.

    Parameters
    ----------
    counts
        Cells x genes, whole numbers; not changed.
    share
        ``(n_cells,)`` probability that a molecule is kept.
    rng
        Seed or generator.

    Raises
    ------
    InputError
        If values are not counts.
    """
    matrix = sp.csr_matrix(counts)
    values = np.asarray(matrix.data)
    if len(values) and ((values < 0).any() or (values != np.rint(values)).any()):
        raise InputError("thinning needs counts; name the layer that holds them with layer=")
    per_value = np.repeat(np.asarray(share, dtype=np.float64), np.diff(matrix.indptr))
    kept = np.random.default_rng(rng).binomial(values.astype(np.int64), np.clip(per_value, 0, 1))
    out = sp.csr_matrix((kept.astype(np.float32), matrix.indices.copy(), matrix.indptr.copy()), shape=matrix.shape)
    out.eliminate_zeros()
    return out


def split(
    counts: sp.csr_matrix, share: float = 0.5, rng: int | np.random.Generator = 0
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Give each molecule to one of two halves: ``x = a + b`` with a binomial of x and `share`.

    Parameters
    ----------
    counts
        Cells x genes, whole numbers; not changed.
    share
        Probability that a molecule goes to the first half.
    rng
        Seed or generator.

    Raises
    ------
    InputError
        If values are not counts.
    """
    whole = sp.csr_matrix(counts, dtype=np.float32)
    first = thin(whole, np.full(whole.shape[0], share), rng)
    second = sp.csr_matrix(whole - first)
    second.eliminate_zeros()
    return first, second
