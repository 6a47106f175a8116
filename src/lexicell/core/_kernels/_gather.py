"""Weighted sums of gene vectors: the part that takes the time.

The limit is how fast gene vectors come from cache, so that they are read as little and from as near as can be:

- Genes, in the order of the matrix, are cut into segments; the segment's gene vectors, `WIDTH` dimensions at a time,
  fit the second-level cache and serve all cells of a block before the next ones are touched.
- Two cells are summed at once: one reading of a gene's vector serves both. Their genes are first merged into one list
  with two weights each, 0 where a cell does not have the gene, which adds nothing.

Within a segment a cell's genes are added in the order of the matrix in float32, segments in their order: its bits
depend neither on its partner, nor on the block, nor on how the vectors lie in memory.
"""

# mypy: disable-error-code="assignment, arg-type, no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import compiled
from ._vector import has_avx512

__all__ = ["PAIR", "SPARE", "WIDTH", "add_alone", "add_block", "add_plain", "finish", "merge_cells", "pack",
           "pack_half", "segment_length"]  # fmt: skip

PAIR = 2
SPARE = 16  # entries behind the last that may be read
_LANES = 16
_AHEAD = 8  # entries ahead whose gene vector is asked for
_SEGMENT = 2048  # genes; 1 MB of vectors at the full width
_FEW = 256  # genes a cell whose vectors are read from wherever they lie: those read most lie side by side
_SINGLE = 64  # genes a cell that are summed in one go
_LONG = 8192


def _width() -> int:
    """Dimensions whose sums for two cells stay in registers: 16 of 512 bits, or 8 of 256."""
    return 128 if has_avx512() else 32


WIDTH = _width()


def segment_length(top_n: int, n_vectors: int, *, z_scored: bool) -> int:
    """Genes a segment: it belongs to the arithmetic, so that it depends on nothing but the question asked."""
    if z_scored:
        # The sum over nonzeros and what zeros give cancel in part: round less on the way.
        return _FEW
    if 0 < top_n <= _SINGLE:
        return max(n_vectors, 1)
    return _LONG if 0 < top_n <= _FEW else _SEGMENT


@compiled
def pack(vectors, source, panels):
    """Write vectors[source] into (n_panels, n, WIDTH) panels, filled up with zeros; True if all are finite."""
    dim = vectors.shape[1]
    strange = 0.0
    for g in range(source.shape[0]):
        vector = vectors[source[g]]
        for p in range(panels.shape[0]):
            first = p * WIDTH
            n = min(WIDTH, dim - first)
            place = panels[p, g]
            for d in range(n):
                value = vector[first + d]
                place[d] = value
                # 0 for a number, NaN for anything else.
                strange += value - value
            for d in range(n, WIDTH):
                place[d] = 0
    return strange == 0.0


@compiled
def _bits_of_half(bits, low):
    """Upper sixteen bits that, above `low`, come nearest to a float32 given by its bits."""
    sign, size = bits & np.uint32(0x80000000), np.int64(bits & np.uint32(0x7FFFFFFF))
    upper = (size - np.int64(low) + 0x8000) >> 16
    return np.uint32(min(max(upper, 0), 0x7F7F)) | (sign >> np.uint32(16))


@compiled
def pack_half(bits, source, panels):
    """Round vectors, given as uint32 bits, to sixteen bits, two in one: (n_panels, n, WIDTH) uint32.

    A panel has 2 WIDTH dimensions. Of every 32 the first sixteen stand in the upper halves and are read as float32 as
    they are: the lower halves add noise below the last bit, which the rounding knows. Both keep eight bits, as bfloat16
    does.
    """
    dim = bits.shape[1]
    for g in range(source.shape[0]):
        vector = bits[source[g]]
        for p in range(panels.shape[0]):
            place = panels[p, g]
            for i in range(WIDTH):
                first = p * 2 * WIDTH + i // _LANES * 2 * _LANES + i % _LANES
                low, high = np.uint32(0), np.uint32(0)
                if first + _LANES < dim:
                    low = _bits_of_half(vector[first + _LANES], np.uint32(0))
                if first < dim:
                    high = _bits_of_half(vector[first], low)
                place[i] = high << np.uint32(16) | low


def _add_cells(n_cells: int, n_loads: int, args: Any, context: Any, builder: Any, *, half: bool = False) -> Any:
    """sums[c] += sum_i weights[i, c] * panel[genes[i]] for `n_cells` cells; all addresses, count >= 1.

    `n_loads` times sixteen numbers are read of each gene; with `half` each holds two of sixteen bits, see `pack_half`.
    """
    panel, genes, weights, count, sums, stride = args
    n_vectors = n_loads * (1 + half)
    f32, i8, i32, i64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
    vector = ir.VectorType(f32, _LANES)
    undefined = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(i32, _LANES), [0] * _LANES)

    def pointer(base: Any, offset: Any, kind: Any) -> Any:
        return builder.inttoptr(builder.add(base, offset), kind.as_pointer())

    def gene_address(offset: Any) -> Any:
        gene = builder.load(pointer(genes, offset, i32))
        return builder.add(panel, builder.mul(builder.zext(gene, i64), i64(WIDTH * 4)))

    before = builder.block
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    j = builder.phi(i64)
    old = [[builder.phi(vector) for _ in range(n_vectors)] for _ in range(n_cells)]
    here = gene_address(builder.mul(j, i64(4)))
    ahead = gene_address(builder.add(builder.mul(j, i64(4)), i64(4 * _AHEAD)))
    prefetch = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
        builder.module, ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i32, i32, i32]), "llvm.prefetch.p0"
    )
    for byte in range(0, n_loads * _LANES * 4, 64):
        builder.call(prefetch, [pointer(ahead, i64(byte), i8), i32(0), i32(3), i32(1)])
    read = [builder.load(pointer(here, i64(v * _LANES * 4), vector), align=64) for v in range(n_loads)]
    gene = [part for r in read for part in _halves(builder, r)] if half else read
    new = []
    for cell in range(n_cells):
        place = builder.add(builder.mul(j, i64(4 * n_cells)), i64(4 * cell))
        one = builder.insert_element(undefined, builder.load(pointer(weights, place, f32)), i32(0))
        weight = builder.shuffle_vector(one, undefined, zeros)
        products = [builder.fmul(weight, g, flags=("contract",)) for g in gene]
        new.append([builder.fadd(o, p, flags=("contract",)) for o, p in zip(old[cell], products, strict=True)])
    following = builder.add(j, i64(1))
    j.add_incoming(i64(0), before)
    j.add_incoming(following, loop)
    for olds, news in zip(old, new, strict=True):
        for o, n in zip(olds, news, strict=True):
            o.add_incoming(ir.Constant(vector, [0.0] * _LANES), before)
            o.add_incoming(n, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    for cell, news in enumerate(new):
        row = builder.add(sums, builder.mul(stride, i64(cell)))
        for v, n in enumerate(news):
            place = pointer(row, i64(v * _LANES * 4), vector)
            builder.store(builder.fadd(builder.load(place, align=4), n), place, align=4)
    return context.get_dummy_value()


def _halves(builder: Any, read: Any) -> Any:
    """Two float32 of each: as it is, what stands in the lower sixteen bits being noise; and those bits moved up."""
    whole = ir.VectorType(ir.IntType(32), _LANES)
    moved = builder.shl(builder.bitcast(read, whole), ir.Constant(whole, [16] * _LANES))
    return read, builder.bitcast(moved, read.type)


_SIGNATURE = types.void(types.uintp, types.uintp, types.uintp, types.int64, types.uintp, types.uintp)


_LOADS = WIDTH // _LANES


@intrinsic  # type: ignore[untyped-decorator]
def _add_pair(typingctx: Any, panel: Any, genes: Any, weights: Any, count: Any, sums: Any, stride: Any) -> Any:
    return _SIGNATURE, lambda context, builder, _, args: _add_cells(PAIR, _LOADS, args, context, builder)


@intrinsic  # type: ignore[untyped-decorator]
def _add_one(typingctx: Any, panel: Any, genes: Any, weights: Any, count: Any, sums: Any, stride: Any) -> Any:
    return _SIGNATURE, lambda context, builder, _, args: _add_cells(1, _LOADS, args, context, builder)


@intrinsic  # type: ignore[untyped-decorator]
def _add_half(typingctx: Any, panel: Any, genes: Any, weights: Any, count: Any, sums: Any, stride: Any) -> Any:
    return _SIGNATURE, lambda context, builder, _, args: _add_cells(1, _LOADS, args, context, builder, half=True)


@intrinsic  # type: ignore[untyped-decorator]
def _add_narrow(typingctx: Any, panel: Any, genes: Any, weights: Any, count: Any, sums: Any, stride: Any) -> Any:
    return _SIGNATURE, lambda context, builder, _, args: _add_cells(1, _LOADS // 2, args, context, builder, half=True)


@compiled
def _reach(rows, j, stop, last):
    while j < stop and rows[j] < last:
        j += 1
    return j


@compiled
def merge_cells(rows, weights, offsets, at, last, place, genes, both, starts):
    """Genes of every two cells from where `at` stands to below `last`, as one list with two weights each.

    Parameters
    ----------
    rows, weights, offsets
        Genes and weights of each cell, rising.
    at
        (n_cells,) where each cell's next gene stands; moved on.
    place
        Where each gene's vector lies.
    genes, both, starts
        Written: places of vectors, (n, 2) weights, where each pair begins.
    """
    n_cells, k, nothing = at.shape[0], np.uintp(0), np.float32(0)
    for pair in range(starts.shape[0] - 1):
        starts[pair] = k
        cell = 2 * pair
        i = at[cell]
        j = i_end = at[cell] = _reach(rows, i, offsets[cell + 1], last)
        j_end = j
        if cell + 1 < n_cells:
            j = at[cell + 1]
            j_end = at[cell + 1] = _reach(rows, j, offsets[cell + 2], last)
        while i < i_end and j < j_end:
            # Products instead of branches: which cell has the next gene cannot be foreseen.
            one, other = rows[i], rows[j]
            genes[k] = place[np.uint32(min(one, other))]
            both[k, 0] = weights[i] * np.float32(one <= other)
            both[k, 1] = weights[j] * np.float32(other <= one)
            i += np.int64(one <= other)
            j += np.int64(other <= one)
            k += np.uintp(1)
        while i < i_end:
            genes[k] = place[np.uint32(rows[i])]
            both[k, 0], both[k, 1] = weights[i], nothing
            i += 1
            k += np.uintp(1)
        while j < j_end:
            genes[k] = place[np.uint32(rows[j])]
            both[k, 0], both[k, 1] = nothing, weights[j]
            j += 1
            k += np.uintp(1)
    starts[starts.shape[0] - 1] = k


@compiled
def finish(sums, offsets, scale, shift, unit, out):
    """out[c] = scale[c] (sums[c] + shift), to unit length if `unit`; a cell without genes: a row of zeros.

    `scale` and `shift` are float64, (n_cells,) and (dim,).
    """
    for cell in range(out.shape[0]):
        row, total = out[cell], sums[cell]
        if offsets[cell] == offsets[cell + 1]:
            row[:] = 0
            continue
        square = 0.0
        for d in range(row.shape[0]):
            value = (np.float64(total[d]) + shift[d]) * scale[cell]
            row[d] = np.float32(value)
            square += value * value
        if unit and square > 0:
            length = 1.0 / np.sqrt(square)
            for d in range(row.shape[0]):
                row[d] = np.float32((np.float64(total[d]) + shift[d]) * scale[cell] * length)


@compiled
def add_block(panels, place, rows, weights, offsets, segment, genes, both, sums, half):
    """sums[c] += sum_i weights[i] g[rows[i]] over the genes of each cell.

    Parameters
    ----------
    panels, place
        (n_panels, n_vectors, WIDTH) float32, aligned to 64 bytes; where each gene's vector lies in a panel.
    rows, weights, offsets
        Genes and weights of each cell, genes rising.
    segment
        Genes a segment.
    genes, both
        Scratch: int32 and (n, 2) float32 with room for all entries and `SPARE` more.
    sums
        float32, at least a row more than cells, as wide as all panels.
    half
        Not used: that of `add_alone`.
    """
    n_cells, n_vectors = offsets.shape[0] - 1, place.shape[0]
    n_pairs = (n_cells + 1) // 2
    segment = min(segment, n_vectors)
    at, starts = offsets[:n_cells].copy(), np.empty(n_pairs + 1, np.int64)
    stride = sums.shape[1] * 4
    for first in range(0, n_vectors, segment):
        merge_cells(rows, weights, offsets, at, first + segment, place, genes, both, starts)
        for p in range(panels.shape[0]):
            panel = np.uintp(panels.ctypes.data + p * n_vectors * WIDTH * 4)
            for pair in range(n_pairs):
                start = starts[pair]
                n = starts[pair + 1] - start
                if n:
                    list_genes = np.uintp(genes.ctypes.data + start * 4)
                    list_weights = np.uintp(both.ctypes.data + start * 4 * PAIR)
                    target = np.uintp(sums.ctypes.data + PAIR * pair * stride + p * WIDTH * 4)
                    _add_pair(panel, list_genes, list_weights, n, target, np.uintp(stride))


@compiled
def add_alone(panels, place, rows, weights, offsets, segment, genes, both, sums, half):
    """As `add_block`, one cell at a time; with `half`, panels are those of `pack_half`.

    Less is read where cells have few genes in common, and from vectors of sixteen bits, which need more registers.
    """
    n_cells, n_vectors, n_panels = offsets.shape[0] - 1, place.shape[0], panels.shape[0]
    segment = min(segment, n_vectors)
    at, starts = offsets[:n_cells].copy(), np.empty(n_cells, np.int64)
    for j in range(offsets[0], offsets[n_cells]):
        genes[j] = place[np.uint32(rows[j])]
    for j in range(offsets[n_cells], offsets[n_cells] + SPARE):
        genes[j] = 0
    stride = sums.shape[1] * 4
    dims = WIDTH * (1 + half)
    for first in range(0, n_vectors, segment):
        starts[:] = at
        for cell in range(n_cells):
            at[cell] = _reach(rows, at[cell], offsets[cell + 1], first + segment)
        for p in range(n_panels):
            panel = np.uintp(panels.ctypes.data + p * n_vectors * WIDTH * 4)
            narrow = sums.shape[1] < (p + 1) * dims
            for cell in range(n_cells):
                start = starts[cell]
                n = at[cell] - start
                if n:
                    list_genes = np.uintp(genes.ctypes.data + start * 4)
                    list_weights = np.uintp(weights.ctypes.data + start * 4)
                    target = np.uintp(sums.ctypes.data + cell * stride + p * dims * 4)
                    if not half:
                        _add_one(panel, list_genes, list_weights, n, target, np.uintp(stride))
                    elif narrow:
                        _add_narrow(panel, list_genes, list_weights, n, target, np.uintp(stride))
                    else:
                        _add_half(panel, list_genes, list_weights, n, target, np.uintp(stride))


@compiled
def add_plain(panels, place, rows, weights, offsets, segment, genes, both, sums, half):
    """The same as `add_block` and `add_alone` without machine code of our own, for machines that do not compile it."""
    part, read = np.empty(2 * WIDTH, np.float32), np.empty(2 * WIDTH, np.float32)
    bits = read.view(np.uint32)
    dims = WIDTH * (1 + half)
    for cell in range(offsets.shape[0] - 1):
        j, stop = offsets[cell], offsets[cell + 1]
        while j < stop:
            start, last = j, (rows[j] // segment + 1) * segment
            while j < stop and rows[j] < last:
                j += 1
            for p in range(panels.shape[0]):
                part[:] = 0
                for i in range(start, j):
                    vector = panels[p, place[rows[i]]]
                    if half:
                        for d in range(WIDTH):
                            at = d // _LANES * 2 * _LANES + d % _LANES
                            read[at] = vector[d]
                            bits[at + _LANES] = bits[at] << np.uint32(16)
                    else:
                        read[:WIDTH] = vector
                    for d in range(dims):
                        part[d] += weights[i] * read[d]
                first = p * dims
                for d in range(min(dims, sums.shape[1] - first)):
                    sums[cell, first + d] += part[d]
