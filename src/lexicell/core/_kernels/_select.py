"""Selection: of each cell the genes to sum over, and their log-normalised expression.

For each row: check the values, sum them, find the value at the cut, break ties at the cut by the rank of the gene, and
emit (row of the gene matrix, weight) in the order of the columns. Rows of small whole numbers are cut by a histogram
of the raw counts, with one logarithm a distinct count; other rows are cut on the bits of the floats, which rise with
the value. Which way a row goes depends on its values only, so that its bits do not depend on its neighbours.
"""

# Types in compiled loops are numba's: what Python calls a change of type is none there.
# mypy: disable-error-code="assignment, no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np

from ._jit import compiled

__all__ = ["BAD_LIBRARY", "BAD_LOG", "BAD_VALUE", "FINE", "LOG_LIMIT", "select_block"]

FINE, BAD_VALUE, BAD_LOG, BAD_LIBRARY = 0, 1, 2, 3

_SMALL = 2048  # whole numbers below this take the histogram
_DIGITS = 10  # bits of the key a pass of the radix selection looks at
TARGET = 1e4
LOG_LIMIT = 32.0  # no logarithm of an expression value comes near


@compiled
def _nth_largest(keys: Any, n_keys: Any, n: Any, bucket: Any, found: Any) -> Any:
    """The n-th largest of `keys` (overwritten); found[0]: how many of its equals are among the n, found[1]: in all."""
    low, high = keys[0], keys[0]
    for i in range(n_keys):
        low, high = min(low, keys[i]), max(high, keys[i])
    while low < high:
        shift = 0
        while ((high - low) >> shift) >= (1 << _DIGITS):
            shift += 1
        top = (high - low) >> shift
        for b in range(top + 1):
            bucket[b] = 0
        for i in range(n_keys):
            bucket[(keys[i] - low) >> shift] += 1
        b = top
        while bucket[b] < n:
            n -= bucket[b]
            b -= 1
        kept = 0
        base = low
        first = base + (b << shift)
        low, high = first + (1 << shift), first - 1
        for i in range(n_keys):
            key = keys[i]
            if (key - base) >> shift == b:
                keys[kept] = key
                kept += 1
                low, high = min(low, key), max(high, key)
        n_keys = kept
    found[0], found[1] = n, n_keys
    return low


@compiled
def _check_row(data: Any, bits: Any, start: Any, stop: Any, limit: Any) -> Any:
    """(fine, whole, largest, total): all values usable? all whole and small? the largest; the sum where whole."""
    largest = bits[start] * 0
    odd = 0
    total = 0
    negative = 0
    for j in range(start, stop):
        value = data[j]
        whole = np.int32(value)
        odd += value != whole
        total += np.int64(whole)
        largest = max(largest, bits[j])
        negative += bits[j] < 0
    fine = True
    if negative or largest >= limit:
        for j in range(start, stop):
            # A negative zero is a zero.
            fine = fine and data[j] >= 0 and data[j] < np.inf
    return fine, odd == 0, total


@compiled
def _tie_cut(ranks: Any, n_ranks: Any, need: Any, bucket: Any, found: Any) -> Any:
    """The rank below which `need` of the tied genes lie; ranks (negated, overwritten) are unique."""
    return 1 - _nth_largest(ranks, n_ranks, need, bucket, found)


@compiled
def _select_counts(data, indices, start, stop, columns, top_n, scale, want_all, hist, every, table, keys, bucket, found,
                   rows, weights, k, sums):  # fmt: skip
    """A row of small whole numbers. Returns how many genes were emitted; sums: kept l, l of all genes, covered x."""
    largest = 0
    for j in range(start, stop):
        largest = max(largest, np.int32(data[j]))
    for c in range(largest + 1):
        hist[c] = 0
        every[c] = 0
    for j in range(start, stop):
        c = np.uintp(data[j])
        hist[c] += columns[np.uintp(indices[j]), 0] >= 0
        every[c] += 1
    n_covered, covered = 0, 0
    for c in range(1, largest + 1):
        n_covered += hist[c]
        covered += hist[c] * c
    threshold, need, cut = 1, hist[1] if largest else 0, np.int64(1) << 40
    if 0 < top_n < n_covered:
        threshold, need = largest, top_n
        while hist[threshold] < need:
            need -= hist[threshold]
            threshold -= 1
        if need < hist[threshold]:
            tied = 0
            for j in range(start, stop):
                column = np.uintp(indices[j])
                keys[tied] = -np.int64(columns[column, 1])
                tied += (np.int32(data[j]) == threshold) & (columns[column, 0] >= 0)
            cut = _tie_cut(keys, tied, need, bucket, found)
    kept_sum, all_sum = 0.0, 0.0
    for c in range(1, largest + 1):
        if every[c] and (want_all or (c >= threshold and hist[c])):
            value = np.log1p(c * scale)
            table[c] = np.float32(value)
            all_sum += every[c] * value
            if c > threshold:
                kept_sum += hist[c] * value
            elif c == threshold:
                kept_sum += need * value
    for j in range(start, stop):
        c = np.int32(data[j])
        column = np.uintp(indices[j])
        row = columns[column, 0]
        rows[k] = row
        weights[k] = table[np.uintp(c)]
        k += (row >= 0) & ((c > threshold) | ((c == threshold) & (columns[column, 1] < cut)))
    sums[0], sums[1], sums[2] = kept_sum, all_sum, np.float64(covered)
    return k


@compiled
def _select_values(data, bits, indices, start, stop, columns, top_n, scale, logged, want_all, keys, places, work,
                   bucket, found, rows, weights, k, sums):  # fmt: skip
    """A row of any non-negative numbers; `logged`: they are l already."""
    n_covered = 0
    covered, kept_sum, all_sum = 0.0, 0.0, 0.0
    for j in range(start, stop):
        value = np.float64(data[j])
        if want_all:
            all_sum += value if logged else np.log1p(value * scale)
        keys[n_covered] = np.int64(bits[j])
        places[n_covered] = j
        take = (columns[np.uintp(indices[j]), 0] >= 0) & (value > 0)
        n_covered += take
        if take:
            covered += np.expm1(value) if logged else value
    threshold, cut = np.int64(0), np.int64(1) << 40
    if 0 < top_n < n_covered:
        for i in range(n_covered):
            work[i] = keys[i]
        threshold = _nth_largest(work, n_covered, top_n, bucket, found)
        need = found[0]
        if need < found[1]:
            tied = 0
            for i in range(n_covered):
                work[tied] = -np.int64(columns[np.uintp(indices[places[i]]), 1])
                tied += keys[i] == threshold
            cut = _tie_cut(work, tied, need, bucket, found)
    for i in range(n_covered):
        column = np.uintp(indices[places[i]])
        if keys[i] > threshold or (keys[i] == threshold and columns[column, 1] < cut):
            value = np.float64(data[places[i]])
            expression = value if logged else np.log1p(value * scale)
            kept_sum += expression
            rows[k] = columns[column, 0]
            weights[k] = np.float32(expression)
            k += 1
    sums[0], sums[1], sums[2] = kept_sum, all_sum, covered
    return k


@compiled
def select_block(data, bits, indices, indptr, library, columns, top_n, logged, want_all, rows, weights, offsets, kept,
                 everything, covered, totals):  # fmt: skip
    """Select for every row of a block.

    Parameters
    ----------
    data, bits, indices, indptr
        CSR in canonical form: float32 or float64, the same memory as int32 or int64, int32, int64.
    library
        Library size of each row, or an empty array: the sum of the row.
    columns
        (n_columns, 2) int32: row of the gene matrix (-1: no text), rank of the gene among ties.
    top_n
        0: all genes with text.
    logged, want_all
        Whether values are l already; whether the sum of l over all genes is needed.
    rows, weights, offsets
        Written: gene rows, l, and where each cell's begin; room for all nonzeros and 16 more.
    kept, everything, covered, totals
        Written, float64 a cell: sum of l kept, sum of l of all genes, counts with text, library size.

    Returns
    -------
    (status, row): FINE, or what is wrong with which row.
    """
    n_cells = indptr.shape[0] - 1
    longest = 0
    for cell in range(n_cells):
        longest = max(longest, indptr[cell + 1] - indptr[cell])
    hist, every = np.empty(_SMALL, np.int32), np.empty(_SMALL, np.int32)
    table = np.zeros(_SMALL, np.float32)
    keys, work = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    places = np.empty(longest + 1, np.int64)
    bucket, found = np.empty(1 << _DIGITS, np.int32), np.empty(2, np.int64)
    sums = np.zeros(3, np.float64)
    limit = np.array([np.inf]).astype(data.dtype).view(bits.dtype)[0]
    k = 0
    offsets[0] = 0
    for cell in range(n_cells):
        start, stop = indptr[cell], indptr[cell + 1]
        kept[cell] = everything[cell] = covered[cell] = totals[cell] = 0.0
        offsets[cell + 1] = k
        if start == stop:
            continue
        fine, whole, total = _check_row(data, bits, start, stop, limit)
        if not fine:
            return BAD_VALUE, cell
        largest = 0.0
        for j in range(start, stop):
            largest = max(largest, np.float64(data[j]))
        if logged and largest > LOG_LIMIT:
            return BAD_LOG, cell
        size = np.float64(total)
        if logged or not whole:
            size = 0.0
            # In the order of the columns: explicit zeros change nothing.
            for j in range(start, stop):
                size += np.expm1(np.float64(data[j])) if logged else np.float64(data[j])
        if library.shape[0]:
            if not library[cell] >= size * (1 - 1e-4) or library[cell] == np.inf:
                return BAD_LIBRARY, cell
            size = library[cell]
        totals[cell] = size
        if largest == 0.0:
            continue
        scale = TARGET / size
        if whole and not logged and largest < _SMALL:
            k = _select_counts(data, indices, start, stop, columns, top_n, scale, want_all, hist, every, table, keys,
                               bucket, found, rows, weights, k, sums)  # fmt: skip
        else:
            k = _select_values(data, bits, indices, start, stop, columns, top_n, scale, logged, want_all, keys, places,
                               work, bucket, found, rows, weights, k, sums)  # fmt: skip
        kept[cell], everything[cell], covered[cell] = sums[0], sums[1], sums[2]
        offsets[cell + 1] = k
    return FINE, -1
