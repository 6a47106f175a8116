"""Reading whole numbers of a row, and packing what is kept side by side."""

# Types in compiled loops are numba's: what Python calls a change of type is none there.
# mypy: disable-error-code="assignment, no-untyped-def"

from __future__ import annotations

import numpy as np

from .jit import compiled

__all__ = ["WHOLE_LIMIT", "count_from", "scan", "squeeze"]

WHOLE_LIMIT = 0x4B800000  # bits of 2^24, to which float32 holds every whole number


@compiled
def count_from(keys, n, bound):
    """How many of the first n keys are at least `bound`."""
    count = np.int32(0)
    for j in range(n):
        # Kept at 32 bits, as the keys are: as many fit a vector.
        count = np.int32(count + (keys[j] >= bound))
    return np.int64(count)


@compiled
def squeeze(genes, values, keys, n, bound, rows):
    """Where keys[i] >= bound, i < n: move genes[i] to the front of `rows`, values[i] to the front of `values`.

    Returns how many. `rows` may be `genes`, `keys` may be `values`; one entry behind the last may be overwritten.
    """
    k = np.uintp(0)
    for j in range(n):
        # Not a branch: whether a key is kept cannot be foreseen.
        gene, value, key = genes[j], values[j], keys[j]
        rows[k], values[k] = gene, value
        k += np.uintp(key >= bound)
    return np.int64(k)


@compiled
def scan(values, indices, n, table, n_vectors, keys, genes, tallies):
    """Read a row of float32, and write key (the number) and gene of each positive one with text; returns how many.

    tallies[:4]: sum, sum of those with text, largest bits, and a negative number if any value is negative or not
    whole. What was written, and the sums, hold only if it is not, and if the largest bits do not pass `WHOLE_LIMIT`.
    """
    # Three loops: LLVM turns the first and the last into vectors.
    total, covered, largest, odd = np.int64(0), np.int64(0), np.int32(0), np.int32(0)
    bits = values.view(np.int32)
    for j in range(n):
        whole = np.int32(values[j])
        total += np.int64(whole)
        largest = max(largest, bits[j])
        odd |= bits[j] | -np.int32(np.float32(whole) != values[j])
    k = np.uintp(0)
    for j in range(n):
        whole = np.int32(values[j])
        gene = table[np.uint32(indices[j])]
        genes[k], keys[k] = gene, whole
        k += np.uintp((gene < n_vectors) & (whole > 0))
    for i in range(k):
        covered += np.int64(keys[i])
    tallies[0], tallies[1], tallies[2], tallies[3] = total, covered, largest, odd
    return np.int64(k)
