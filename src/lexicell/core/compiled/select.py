"""Selection: of each cell the genes to sum over, and their log-normalized expression.

A row is read once (`scan`): values are checked and added up, and each gene with text gets a key that rises with its
value. The value at the cut is found by counting keys above a bound (`count_from`), narrowing the range each time;
genes below it are squeezed out; ties at the cut are broken by the rank of the gene in the same two steps. Logarithms of
small counts are taken once per cell for each count. Rows that hold other numbers than counts take longer ways to the
same bits. No step depends on other rows.
"""

# Types in compiled loops are numba's: what Python calls a change of type is none there.
# mypy: disable-error-code="assignment, no-untyped-def"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import compiled
from .log import LogBuffers, expm1_sum, log1p_scaled
from .pack import WHOLE_LIMIT, count_from, scan, squeeze

__all__ = [
    "BAD_LIBRARY",
    "BAD_LOG",
    "BAD_VALUE",
    "FINE",
    "SPARE",
    "Block",
    "Genes",
    "Question",
    "Selected",
    "select_block",
]

FINE, BAD_VALUE, BAD_LOG, BAD_LIBRARY = 0, 1, 2, 3

TARGET = 1e4
LOG_LIMIT = 32.0  # no logarithm of an expression value comes near
SPARE = 1  # entries behind the last that may be written
_SMALL = 64  # counts up to this one share their logarithms


class Block(NamedTuple):
    """Rows in canonical CSR: float32 or float64, the same memory as int32 or int64, int32, int64."""

    data: Any
    bits: Any
    indices: Any
    indptr: Any


class Genes(NamedTuple):
    """Of each column the number of its gene vector, n_vectors where there is none; of each vector its rank among ties.

    Both int32: (n_columns,), rising, and (n_vectors + 1,), with n_vectors at the end.
    """

    table: Any
    ranks: Any


class Question(NamedTuple):
    """Genes kept per cell (0: all), whether values are l already, and whether l of all genes is summed.

    `boost` is the power of two that l is multiplied by.
    """

    top_n: Any
    logged: Any
    sum_all: Any
    boost: Any


class Selected(NamedTuple):
    """What is written.

    Gene vectors (int32) and l (float32) of all cells, with room for all nonzeros and `SPARE` more; where those of each
    cell begin (int64). Float64 per cell: sum of l kept, sum of l of all genes, counts with text, library size.
    """

    rows: Any
    weights: Any
    offsets: Any
    kept: Any
    everything: Any
    covered: Any
    totals: Any


class _Scratch(NamedTuple):
    """Memory for one row."""

    keys: Any  # of numbers: their bits
    counts: Any  # keys of counts: the counts
    narrow: Any  # the row as float32
    genes: Any
    picked: Any  # values of the genes kept, then l
    order: Any
    places: Any
    logs: Any
    found: Any
    tallies: Any
    log: LogBuffers


@compiled
def _scratch(longest, bits):
    """Memory for rows of up to `longest` values."""
    work, part = np.empty(longest, np.float64), np.empty(longest, np.float64)
    return _Scratch(
        np.zeros(longest, bits.dtype),
        np.zeros(longest, np.int32),
        np.empty(longest, np.float32),
        np.zeros(longest, np.int32),
        np.empty(longest, np.float64),
        np.zeros(longest, np.int32),
        np.empty(longest, np.int32),
        np.empty(longest + _SMALL + 1, np.float64),
        np.empty(2, np.int64),
        np.zeros(4, np.int64),
        LogBuffers(work, work.view(np.int64), part, part.view(np.int64)),
    )


@compiled
def _usable(values, bits):
    """Whether every value is finite and not negative."""
    limit = np.array([np.inf]).astype(values.dtype).view(bits.dtype)[0]
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
    """Write values as float32; whether each is still the same number."""
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
def _sum_in_order(numbers, n):
    """Sum, one after the other: as in the order of the columns."""
    total = 0.0
    for j in range(n):
        total += numbers[j]
    return total


@compiled
def _bound(keys, n, high, wanted, n_low, found):
    """The largest bound at or above which `wanted` of n keys lie, or the next more where keys are equal.

    Keys lie below `high`, and n_low > wanted of them are above 0. found[0]: how many are at or above the bound;
    found[1]: how many are above it, where the first is not what was wanted.
    """
    low, at, above = np.int64(1), n_low, 0
    high = np.int64(high)
    while at != wanted and high - low > 1:
        middle = low + ((high - low) >> 1)
        count = count_from(keys, n, middle)
        if count >= wanted:
            low, at = middle, count
        else:
            high, above = middle, count
    found[0], found[1] = at, above
    return low


@compiled
def _even_bound(keys, n, high, n_high, wanted):
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
        count = count_from(keys, n, middle)
        if count >= wanted:
            low, at = middle, count
        else:
            high, above = middle, count
    return low


@compiled
def _sum(values, n):
    """Sum in four chains: one alone would wait for each addition."""
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
def _keep(keys, values, m, top_n, ranks, scratch, rows):
    """Write the `top_n` of m genes with the largest keys to `rows`, and move their values to the front of `values`.

    Values rise with keys, and may be the keys themselves. Returns how many genes were kept.
    """
    genes, order, found = scratch.genes, scratch.order, scratch.found
    if not 0 < top_n < m:
        rows[:m] = genes[:m]
        return m
    largest = keys[0]
    for j in range(m):
        largest = max(largest, keys[j])
    bound = _bound(keys, m, np.int64(largest) + 1, top_n, m, found)
    k = squeeze(genes, values, keys, m, bound, rows)
    if k == top_n:
        return k
    # Genes above the cut come before all that are tied at it, which have different ranks.
    n_vectors = np.int32(ranks.shape[0] - 1)
    tied = values[0]
    for j in range(k):
        tied = min(tied, values[j])
    for j in range(k):
        rank = n_vectors - ranks[np.uint32(rows[j])]
        order[j] = rank if values[j] == tied else n_vectors + 1
    last = _even_bound(order, k, n_vectors + 1, found[1], top_n)
    return squeeze(rows, values, order, k, last, rows)


@compiled
def _log_counts(m, scale, scratch):
    """picked[i] = log(1 + counts[i] * scale) for i < m."""
    counts, picked, places, logs = scratch.counts, scratch.picked, scratch.places, scratch.logs
    if m <= 2 * _SMALL:
        for i in range(m):
            picked[i] = counts[i]
        log1p_scaled(picked, m, scale, scratch.log)
        return
    # Most counts of a cell are small: their logarithms are looked up.
    for i in range(_SMALL + 1):
        logs[i] = i
    log1p_scaled(logs, _SMALL + 1, scale, scratch.log)
    largest = np.int32(0)
    for i in range(m):
        largest = max(largest, counts[i])
        picked[i] = logs[np.uint32(min(counts[i], _SMALL))]
    if largest <= _SMALL:
        return
    large, n_large = logs[_SMALL + 1 :], np.uintp(0)
    for i in range(m):
        places[n_large], large[n_large] = i, counts[i]
        n_large += np.uintp(counts[i] > _SMALL)
    log1p_scaled(large, n_large, scale, scratch.log)
    for i in range(n_large):
        picked[np.uint32(places[i])] = large[i]


@compiled
def _size(values, bits, logged, scratch):
    """(status, library size) of a row that is not of counts; of l, the sum of exp(l) - 1."""
    n = values.shape[0]
    if not _usable(values, bits):
        return BAD_VALUE, 0.0
    if not logged:
        # In the order of the columns: explicit zeros change nothing.
        size = 0.0
        for j in range(n):
            size += np.float64(values[j])
        return FINE, size
    for j in range(n):
        scratch.picked[j] = values[j]
        if scratch.picked[j] > LOG_LIMIT:
            return BAD_LOG, 0.0
    return FINE, expm1_sum(scratch.picked, n, scratch.log)


@compiled
def _sum_all(values, logged, scale, scratch):
    """Sum of l over all genes of a row, those without text included."""
    picked, k = scratch.picked, np.uintp(0)
    for j in range(values.shape[0]):
        picked[k] = values[j]
        k += np.uintp(values[j] > 0)
    n = np.int64(k)
    if not logged:
        log1p_scaled(picked, n, scale, scratch.log)
    return _sum(picked, n)


@compiled
def _select_row(block, cell, library, genes, question, scratch, out, k):
    """Select for one row, whose genes are written from entry k on; returns (status, genes kept)."""
    start, stop = block.indptr[cell], block.indptr[cell + 1]
    out.kept[cell] = out.everything[cell] = out.covered[cell] = out.totals[cell] = 0.0
    if start == stop:
        return FINE, 0
    values, bits, columns = block.data[start:stop], block.bits[start:stop], block.indices[start:stop]
    n_vectors, tallies = np.int32(genes.ranks.shape[0] - 1), scratch.tallies
    counts, m, size = False, np.int64(0), 0.0
    if not question.logged and _as_float32(values, scratch.narrow):
        m = scan(scratch.narrow, columns, stop - start, genes.table, n_vectors, scratch.counts, scratch.genes, tallies)
        counts = tallies[3] >= 0 and tallies[2] <= WHOLE_LIMIT
        size = np.float64(tallies[0])
    if not counts:
        status, size = _size(values, bits, question.logged, scratch)
        if status != FINE:
            return status, 0
    if library.shape[0]:
        # With slack: totals in obs may have been rounded.
        if not library[cell] >= size * (1 - 1e-4) or library[cell] == np.inf:
            return BAD_LIBRARY, 0
        size = library[cell]
    out.totals[cell] = size
    if size == 0.0:
        return FINE, 0
    scale = TARGET / size
    if question.sum_all:
        out.everything[cell] = _sum_all(values, question.logged, scale, scratch)
    rows, top_n = out.rows[k:], question.top_n
    if counts:
        out.covered[cell] = np.float64(tallies[1])
        m = _keep(scratch.counts, scratch.counts, m, top_n, genes.ranks, scratch, rows)
        _log_counts(m, scale, scratch)
    else:
        m = _float_keys(values, bits, columns, genes.table, n_vectors, scratch.keys, scratch.genes, scratch.picked)
        if question.logged:
            out.covered[cell] = expm1_sum(scratch.picked, m, scratch.log)
        else:
            out.covered[cell] = _sum_in_order(scratch.picked, m)
        m = _keep(scratch.keys, scratch.picked, m, top_n, genes.ranks, scratch, rows)
        if not question.logged:
            log1p_scaled(scratch.picked, m, scale, scratch.log)
    out.kept[cell] = _sum(scratch.picked, m)
    for i in range(m):
        out.weights[k + i] = np.float32(scratch.picked[i] * question.boost)
    return FINE, m


@compiled
def select_block(block, library, genes, question, out):
    """Select for every row of a block.

    Parameters
    ----------
    block, genes, question
        As their classes say.
    library
        Library size of each row, or an empty array: the sum of the row.
    out
        Written.

    Returns
    -------
    (status, row): FINE, or what is wrong with which row.
    """
    n_cells = block.indptr.shape[0] - 1
    longest = 1
    for cell in range(n_cells):
        longest = max(longest, block.indptr[cell + 1] - block.indptr[cell] + SPARE)
    scratch = _scratch(longest, block.bits)
    k = 0
    out.offsets[0] = 0
    for cell in range(n_cells):
        status, m = _select_row(block, cell, library, genes, question, scratch, out, k)
        if status != FINE:
            return status, cell
        k += m
        out.offsets[cell + 1] = k
    return FINE, -1
