"""Row blocks: from dense to sparse, and whether a sparse block is in canonical form."""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import compiled

__all__ = ["count_nonzero", "fill_nonzero", "is_canonical"]


@compiled
def _falls(columns: Any) -> Any:
    later = columns[1:]
    falls = 0
    for j in range(later.shape[0]):
        falls += later[j] <= columns[j]
    return falls


@compiled
def is_canonical(indices: Any, indptr: Any, n_columns: Any) -> Any:
    """1: every row has rising columns without duplicates; 0: some row has not; -1: a column does not exist."""
    canonical = 1
    for row in range(indptr.shape[0] - 1):
        columns = indices[indptr[row] : indptr[row + 1]]
        n = columns.shape[0]
        if n and _falls(columns):
            canonical = 0
            for j in range(n):
                if columns[j] < 0 or columns[j] >= n_columns:
                    return -1
        elif n and (columns[0] < 0 or columns[n - 1] >= n_columns):
            return -1
    return canonical


@compiled
def count_nonzero(block: Any, indptr: Any) -> Any:
    """Fill `indptr` for the nonzeros of a dense block; NaN counts as a nonzero."""
    total = 0
    indptr[0] = 0
    for row in range(block.shape[0]):
        values = block[row]
        for column in range(values.shape[0]):
            total += values[column] != 0
        indptr[row + 1] = total
    return total


@compiled
def fill_nonzero(block: Any, indptr: Any, data: Any, indices: Any) -> None:
    """Write the nonzeros of a dense block in CSR order; both arrays have one entry to spare."""
    for row in range(block.shape[0]):
        values = block[row]
        k = np.uintp(indptr[row])
        for column in range(values.shape[0]):
            value = values[column]
            data[k] = value
            indices[k] = np.int32(column)
            k += np.uintp(value != 0)
