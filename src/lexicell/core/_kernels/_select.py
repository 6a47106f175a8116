"""Selection: of each cell the genes to sum over, and their log-normalised expression.

A row is read once (`scan`): values are checked and added up, and each gene with text gets a key that rises with its
value. The value at the cut is found by counting keys above a bound (`count_from`), narrowing the range each time;
genes below it are squeezed out; ties at the cut are broken by the rank of the gene in the same two steps. Logarithms of
small counts are taken once a cell for each count. Rows that hold other numbers than counts take longer ways to the
same bits. No step depends on other rows.
"""

# Types in compiled loops are numba's: what Python calls a change of type is none there.
# mypy: disable-error-code="assignment, no-untyped-def"

from __future__ import annotations

import numpy as np

from ._jit import compiled
from ._log import expm1_sum, log1p_scaled
from ._pack import N_SUMS, WHOLE_LIMIT, scan, squeeze
from ._vector import count_from

__all__ = ["BAD_LIBRARY", "BAD_LOG", "BAD_VALUE", "FINE", "LOG_LIMIT", "select_block"]

FINE, BAD_VALUE, BAD_LOG, BAD_LIBRARY = 0, 1, 2, 3

TARGET = 1e4
LOG_LIMIT = 32.0  # no logarithm of an expression value comes near
_PAD = 16  # keys `count_from` may read behind the last
_RARE = 8  # fewer than one in so many kept: a branch that is seldom taken beats none
_SMALL = 64  # counts up to this one share their logarithms


@compiled
def _usable(values, bits, limit):
    """Is every value finite and not negative."""
    largest, signs = bits[0], bits[0]
    for j in range(values.shape[0]):
        largest = max(largest, bits[j])
        signs |= bits[j]
    fine = True
    if signs < 0 or largest >= limit:
        for j in range(values.shape[0]):
            # A negative zero is a zero.
            fine = fine and values[j] >= 0 and values[j] < np.inf
    return fine


@compiled
def _as_float32(values, narrow):
    """Write values as float32; is each the same number."""
    n = values.shape[0]
    same = 0
    for j in range(n):
        narrow[j] = np.float32(values[j])
        same += np.float64(narrow[j]) == values[j]
    return same == n


@compiled
def _float_keys(values, bits, indices, table, n_vectors, keys, genes, numbers):
    """Keys of other numbers are their bits. Writes key, gene and number; returns how many."""
    k = np.uintp(0)
    for j in range(values.shape[0]):
        gene = table[np.uint32(indices[j])]
        genes[k] = gene
        keys[k] = bits[j]
        numbers[k] = values[j]
        k += np.uintp((gene < n_vectors) & (bits[j] > 0))
    return np.int64(k)


@compiled
def _sum_numbers(numbers, n):
    total = 0.0
    for j in range(n):
        total += numbers[j]
    return total


@compiled
def _bound(address, n, high, wanted, n_low, kind, found):
    """The largest bound at or above which `wanted` of n keys lie, or the next more where keys are equal.

    Keys lie below `high`, and n_low > wanted of them are above 0. found[0]: how many are at or above the bound;
    found[1]: how many are above it, where the first is not what was wanted. `kind` has the type of the keys.
    """
    low, at, above = np.int64(1), n_low, 0
    high = np.int64(high)
    while at != wanted and high - low > 1:
        middle = low + ((high - low) >> 1)
        count = count_from(address, n, middle, kind)
        if count >= wanted:
            low, at = middle, count
        else:
            high, above = middle, count
    found[0], found[1] = at, above
    return low


@compiled
def _even_bound(address, n, high, n_high, wanted, kind):
    """A bound at or above which exactly `wanted` of n keys lie; those from 1 to high - 1 differ, `n_high` lie above.

    Keys are ranks of names by their hash, spread evenly: where the bound should be by the rule of three is nearly where
    it is. Every other step halves the range, should they not be.
    """
    low, at, above = np.int64(1), n, n_high
    high = np.int64(high)
    halve = False
    while at != wanted:
        step = (high - low) >> 1
        if not halve:
            step = np.int64(np.float64(high - low) * np.float64(at - wanted) / np.float64(at - above))
        halve = not halve
        middle = low + min(max(step, 1), high - low - 1)
        count = count_from(address, n, middle, kind)
        if count >= wanted:
            low, at = middle, count
        else:
            high, above = middle, count
    return low


@compiled
def _drop_ties(keys, genes, n, bound, tied, need, ranks, order, places, found):
    """Set to 0 the keys of all but the first `need` (by rank) of the `tied` genes whose key equals `bound`."""
    n_vectors = np.int32(ranks.shape[0] - 1)
    k = np.uintp(0)
    if tied * _RARE < n:
        for j in range(n):
            if keys[j] == bound:
                order[k] = n_vectors - ranks[np.uint32(genes[j])]
                places[k] = j
                k += np.uintp(1)
    else:
        for j in range(n):
            order[k] = n_vectors - ranks[np.uint32(genes[j])]
            places[k] = j
            k += np.uintp(keys[j] == bound)
    for i in range(tied, tied + _PAD):
        order[i] = 0
    last = _bound(np.uintp(order.ctypes.data), tied, n_vectors + 1, need, tied, order[0], found)
    for i in range(tied):
        keys[np.uint32(places[i])] *= order[i] >= last


@compiled
def _emit(numbers, keys, genes, n, bound, rare, rows, picked):
    """Write gene and number of every key at or above the bound, in order; returns how many."""
    k = np.uintp(0)
    if rare:
        for j in range(n):
            if keys[j] >= bound:
                rows[k] = genes[j]
                picked[k] = numbers[j]
                k += np.uintp(1)
    else:
        for j in range(n):
            rows[k] = genes[j]
            picked[k] = numbers[j]
            k += np.uintp(keys[j] >= bound)
    return np.int64(k)


@compiled
def _sum(values, n):
    # Four chains: one alone would wait for each addition.
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
    for i in range(whole, n):
        a += values[i]
    return (a + b) + (c + d)


@compiled
def _positive(values, picked):
    k = np.uintp(0)
    for j in range(values.shape[0]):
        picked[k] = values[j]
        k += np.uintp(values[j] > 0)
    return np.int64(k)


@compiled
def _whole_row(keys, genes, m, largest, top_n, ranks, order, address, order_address, found, rows):
    """Write those kept of m genes with counts `keys` to `rows`, their counts to the front; returns how many."""
    if not 0 < top_n < m:
        rows[:m] = genes[:m]
        return m
    for j in range(m, m + _PAD):
        keys[j] = 0
    bound = _bound(address, m, largest + 1, top_n, m, keys[0], found)
    k = squeeze(genes, keys, m, bound, rows)
    squeeze(keys, keys, m, bound, keys)
    if k == top_n:
        return k
    # Genes above the cut come before all that are tied at it, which have different ranks.
    n_vectors = np.int32(ranks.shape[0] - 1)
    for j in range(k):
        rank = n_vectors - ranks[np.uint32(rows[j])]
        order[j] = rank if keys[j] == bound else n_vectors + 1
    for j in range(k, k + _PAD):
        order[j] = 0
    last = _even_bound(order_address, k, n_vectors + 1, found[1], top_n, order[0])
    squeeze(rows, order, k, last, rows)
    return squeeze(keys, order, k, last, keys)


@compiled
def _whole_logs(keys, m, scale, logs, picked, order, places, work, work_bits, part, part_bits):
    """picked[i] = log(1 + keys[i] * scale) for i < m; `order` counts up from 0."""
    if m <= 2 * _SMALL:
        for i in range(m):
            picked[i] = keys[i]
        log1p_scaled(picked, m, scale, work, work_bits, part, part_bits)
        return
    for i in range(_SMALL + 1):
        logs[i] = i
    log1p_scaled(logs, _SMALL + 1, scale, work, work_bits, part, part_bits)
    for j in range(m, m + _PAD):
        keys[j] = 0
    for i in range(m):
        picked[i] = logs[np.uint32(min(keys[i], _SMALL))]
    n_large = squeeze(order, keys, m, _SMALL + 1, places)
    if n_large:
        large = logs[_SMALL + 1 :]
        for i in range(n_large):
            large[i] = keys[np.uint32(places[i])]
        log1p_scaled(large, n_large, scale, work, work_bits, part, part_bits)
        for i in range(n_large):
            picked[np.uint32(places[i])] = large[i]


@compiled
def select_block(data, bits, indices, indptr, library, table, ranks, top_n, logged, want_all, boost, rows, weights,
                 offsets, kept, everything, covered, totals):  # fmt: skip
    """Select for every row of a block.

    Parameters
    ----------
    data, bits, indices, indptr
        CSR in canonical form: float32 or float64, the same memory as int32 or int64, int32, int64.
    library
        Library size of each row, or an empty array: the sum of the row.
    table
        (n_columns,) int32: number of the gene vector of each column, rising; n_vectors where there is none.
    ranks
        (n_vectors + 1,) int32: rank of each gene among ties, n_vectors at the end.
    top_n
        0: all genes with text.
    logged, want_all
        Whether values are l already; whether the sum of l over all genes is needed.
    boost
        Power of two that l is written times.
    rows, weights, offsets
        Written: gene vectors, l, and where each cell's begin; room for all nonzeros and 16 more.
    kept, everything, covered, totals
        Written, float64 a cell: sum of l kept, sum of l of all genes, counts with text, library size.

    Returns
    -------
    (status, row): FINE, or what is wrong with which row.
    """
    n_cells = indptr.shape[0] - 1
    n_vectors = np.int32(ranks.shape[0] - 1)
    longest = _PAD
    for cell in range(n_cells):
        longest = max(longest, indptr[cell + 1] - indptr[cell] + _PAD)
    keys, genes = np.zeros(longest, bits.dtype), np.zeros(longest, np.int32)
    order, places = np.zeros(longest, np.int32), np.empty(longest, np.int32)
    numbers = np.empty(longest, np.float64)
    picked, work, part = np.empty(longest, np.float64), np.empty(longest, np.float64), np.empty(longest, np.float64)
    work_bits, part_bits = work.view(np.int64), part.view(np.int64)
    found = np.empty(2, np.int64)
    address = np.uintp(keys.ctypes.data)
    limit = np.array([np.inf]).astype(data.dtype).view(bits.dtype)[0]
    narrow, counting = np.empty(longest, np.float32), np.arange(longest).astype(np.int32)
    whole_keys, logs = np.zeros(longest, np.int32), np.empty(longest + _SMALL + 1, np.float64)
    sums, tallies = np.zeros(N_SUMS, np.int64), np.zeros(4, np.int64)
    whole_address, order_address = np.uintp(whole_keys.ctypes.data), np.uintp(order.ctypes.data)
    k = 0
    offsets[0] = 0
    for cell in range(n_cells):
        start, stop = indptr[cell], indptr[cell + 1]
        n = stop - start
        kept[cell] = everything[cell] = covered[cell] = totals[cell] = 0.0
        offsets[cell + 1] = k
        if n == 0:
            continue
        values, value_bits, columns = data[start:stop], bits[start:stop], indices[start:stop]
        counts = False
        size = 0.0
        if not logged and _as_float32(values, narrow):
            m = scan(narrow, columns, n, table, n_vectors, whole_keys, genes, sums, tallies)
            counts = tallies[3] >= 0 and tallies[2] <= WHOLE_LIMIT
            size = np.float64(tallies[0])
        if not counts:
            if not _usable(values, value_bits, limit):
                return BAD_VALUE, cell
            size = 0.0
            if logged:
                for j in range(n):
                    picked[j] = values[j]
                    if picked[j] > LOG_LIMIT:
                        return BAD_LOG, cell
                size = expm1_sum(picked, n, work, work_bits)
            else:
                # In the order of the columns: explicit zeros change nothing.
                for j in range(n):
                    size += np.float64(values[j])
        if library.shape[0]:
            if not library[cell] >= size * (1 - 1e-4) or library[cell] == np.inf:
                return BAD_LIBRARY, cell
            size = library[cell]
        totals[cell] = size
        if size == 0.0:
            continue
        if want_all:
            n_all = _positive(values, picked)
            if not logged:
                log1p_scaled(picked, n_all, TARGET / size, work, work_bits, part, part_bits)
            everything[cell] = _sum(picked, n_all)
        if counts:
            covered[cell] = np.float64(tallies[1])
            largest = np.int64(0)
            for j in range(m):
                largest = max(largest, whole_keys[j])
            m = _whole_row(whole_keys, genes, m, largest, top_n, ranks, order, whole_address, order_address, found,
                           rows[k:])  # fmt: skip
            _whole_logs(whole_keys, m, TARGET / size, logs, picked, counting, places, work, work_bits, part,
                        part_bits)  # fmt: skip
        else:
            m = _float_keys(values, value_bits, columns, table, n_vectors, keys, genes, numbers)
            if logged:
                picked[:m] = numbers[:m]
                covered[cell] = expm1_sum(picked, m, work, work_bits)
            else:
                covered[cell] = _sum_numbers(numbers, m)
            for j in range(m, m + _PAD):
                keys[j] = 0
            bound = np.int64(1)
            n_kept = m
            if 0 < top_n < n_kept:
                largest_key = keys[0]
                for j in range(m):
                    largest_key = max(largest_key, keys[j])
                bound = _bound(address, m, np.int64(largest_key) + 1, top_n, n_kept, keys[0], found)
                if found[0] > top_n:
                    tied = found[0] - found[1]
                    _drop_ties(keys, genes, m, bound, tied, top_n - found[1], ranks, order, places, found)
                n_kept = top_n
            m = _emit(numbers, keys, genes, m, bound, n_kept * _RARE < m, rows[k:], picked)
            if not logged:
                log1p_scaled(picked, m, TARGET / size, work, work_bits, part, part_bits)
        kept[cell] = _sum(picked, m)
        for i in range(m):
            weights[k + i] = np.float32(picked[i] * boost)
        k += m
        offsets[cell + 1] = k
    return FINE, -1
