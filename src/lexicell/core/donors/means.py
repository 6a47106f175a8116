"""Donor means: the unit of every test here is the donor, never the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError

__all__ = ["DonorMeans", "donor_means", "gram"]

_BLOCK = 16_384  # cells cast to float64 at a time


@dataclass(frozen=True)
class DonorMeans:
    """Mean embedding and number of cells of each cell type in each donor.

    Attributes
    ----------
    means
        ``(n_types, n_donors, dim)`` float64; NaN where `present` is False.
    counts
        ``(n_types, n_donors)`` int64: cells, also where there are too few of them for a mean.
    present
        ``(n_types, n_donors)`` bool: at least `min_cells` cells.
    min_cells
        The threshold used.
    """

    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    present: NDArray[np.bool_]
    min_cells: int


def donor_means(
    C: Any, types: ArrayLike, donors: ArrayLike, *, n_types: int, n_donors: int, min_cells: int = 8
) -> DonorMeans:
    r"""Mean of the rows of `C` in each cell type and donor, in float64.

    .. math:: m_{sd} = \frac{1}{n_{sd}} \sum_{c \in (s, d)} C_c

    Parameters
    ----------
    C
        ``(n_cells, dim)`` cell embedding, or a sparse matrix of cells x genes.
    types, donors
        ``(n_cells,)`` codes from 0; a cell with a negative code is left out.
    n_types, n_donors
        How many there are, those without cells included.
    min_cells
        Fewer cells give no mean. The mean of few cells is mostly sampling noise.

    Raises
    ------
    InputError
        If the codes do not fit the matrix.
    """
    type_codes, donor_codes = np.asarray(types), np.asarray(donors)
    if not len(type_codes) == len(donor_codes) == C.shape[0]:
        raise InputError(
            f"{C.shape[0]} cells, {len(type_codes)} cell types and {len(donor_codes)} donors; "
            "one of each a cell is needed"
        )
    n_groups = n_types * n_donors
    known = (type_codes >= 0) & (donor_codes >= 0)
    group = np.where(known, type_codes * n_donors + donor_codes, -1)
    counts = np.bincount(group[known], minlength=n_groups)
    sums = np.zeros((n_groups, C.shape[1]))
    for start in range(0, C.shape[0], _BLOCK):
        rows = np.flatnonzero(known[start : start + _BLOCK])
        if not len(rows):
            continue
        ones = sp.csr_matrix(
            (np.ones(len(rows)), (group[start : start + _BLOCK][rows], rows)),
            shape=(n_groups, min(_BLOCK, C.shape[0] - start)),
        )
        block = ones @ C[start : start + _BLOCK].astype(np.float64)
        sums += block.toarray() if sp.issparse(block) else block
    present = counts >= max(min_cells, 1)
    means = np.full_like(sums, np.nan)
    means[present] = sums[present] / counts[present, None]
    shape = (n_types, n_donors)
    return DonorMeans(means.reshape(*shape, -1), counts.reshape(shape), present.reshape(shape), min_cells)


def gram(M: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products of the donors' means about their common mean, ``(n_donors, n_donors)``.

    Squared distances and variances depend on the means only through this matrix, so every permutation costs donors
    squared, whatever the length of the embedding. Centering changes neither and keeps float64 exact.
    """
    centered = M - M.mean(axis=0)
    return np.asarray(centered @ centered.T)
