"""Reading whole numbers of a row and packing what is kept side by side: sixteen at a time where the machine can.

Each function stands twice, in machine code with AVX-512 and as a plain loop; `squeeze` and `scan` are those for here.
"""

# Types in compiled loops are numba's: what Python calls a change of type is none there.
# mypy: disable-error-code="assignment, no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import compiled
from ._vector import has_avx512

__all__ = ["N_SUMS", "WHOLE_LIMIT", "scan", "scan_plain", "scan_wide", "squeeze", "squeeze_plain", "squeeze_wide"]

_LANES = 16
WHOLE_LIMIT = 0x4B800000  # bits of 2^24, to which float32 holds every whole number
N_SUMS = 4 * _LANES
"""Length of the scratch of `scan`: sixteen partial sums of all counts and of those with text, largest bits, signs."""

_VECTOR = ir.VectorType(ir.IntType(32), _LANES)
_MASK = ir.VectorType(ir.IntType(1), _LANES)


def _declare(builder: Any, name: str, kind: Any) -> Any:
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def _at(builder: Any, address: Any, j: Any, size: int, kind: Any) -> Any:
    return builder.inttoptr(builder.add(address, builder.mul(j, ir.IntType(64)(size))), kind.as_pointer())


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    i32, none = ir.IntType(32), ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(none, value, i32(0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(i32, kind.count), [0] * kind.count))


def _store_packed(builder: Any, values: Any, mask: Any, target: Any, k: Any) -> None:
    """Write the values whose bit is set at target[k:]; what follows in sixteen lanes is overwritten."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR, _MASK])
    compress = _declare(builder, "llvm.x86.avx512.mask.compress.v16i32", kind)
    packed = builder.call(compress, [values, ir.Constant(_VECTOR, [0] * _LANES), mask])
    builder.store(packed, _at(builder, target, k, 4, _VECTOR), align=4)


def _how_many(builder: Any, mask: Any) -> Any:
    return builder.zext(builder.ctpop(builder.bitcast(mask, ir.IntType(_LANES))), ir.IntType(64))


@intrinsic  # type: ignore[untyped-decorator]
def _squeeze_blocks(typingctx: Any, values: Any, keys: Any, n: Any, bound: Any, target: Any) -> Any:
    signature = types.int64(types.uintp, types.uintp, types.int64, types.int32, types.uintp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, keys, n, bound, target = args
        i64 = ir.IntType(64)
        bounds = _splat(builder, bound, _VECTOR)
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed(">", n, i64(0)), loop, after)
        builder.position_at_end(loop)
        j, k = builder.phi(i64), builder.phi(i64)
        these = builder.load(_at(builder, keys, j, 4, _VECTOR), align=4)
        moved = builder.load(_at(builder, values, j, 4, _VECTOR), align=4)
        mask = builder.icmp_signed(">=", these, bounds)
        _store_packed(builder, moved, mask, target, k)
        following, more = builder.add(j, i64(_LANES)), builder.add(k, _how_many(builder, mask))
        for phi, new in ((j, following), (k, more)):
            phi.add_incoming(i64(0), before)
            phi.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, n), loop, after)
        builder.position_at_end(after)
        result = builder.phi(i64)
        result.add_incoming(i64(0), before)
        result.add_incoming(more, loop)
        return result

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def _scan_blocks(typingctx: Any, values: Any, indices: Any, n: Any, table: Any, n_vectors: Any, keys: Any, genes: Any,
                 tallies: Any) -> Any:  # fmt: skip
    signature = types.int64(types.uintp, types.uintp, types.int64, types.uintp, types.int32, types.uintp, types.uintp,
                            types.uintp)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, indices, n, table, n_vectors, keys, genes, tallies = args
        i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
        floats, longs = ir.VectorType(ir.FloatType(), _LANES), ir.VectorType(i64, _LANES)
        pointer = i8.as_pointer()
        kind = ir.FunctionType(_VECTOR, [_VECTOR, pointer, _VECTOR, _MASK, i32])
        gather = _declare(builder, "llvm.x86.avx512.mask.gather.dpi.512", kind)
        zeros, every = ir.Constant(_VECTOR, [0] * _LANES), ir.Constant(_MASK, [1] * _LANES)
        ends, base = _splat(builder, n_vectors, _VECTOR), builder.inttoptr(table, pointer)
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed(">", n, i64(0)), loop, after)
        builder.position_at_end(loop)
        j, k = builder.phi(i64), builder.phi(i64)
        total, covered = builder.phi(longs), builder.phi(longs)
        largest, odd = builder.phi(_VECTOR), builder.phi(_VECTOR)
        number = builder.load(_at(builder, values, j, 4, floats), align=4)
        bits = builder.bitcast(number, _VECTOR)
        whole = builder.fptosi(number, _VECTOR)
        differs = builder.fcmp_unordered("!=", builder.sitofp(whole, floats), number)
        column = builder.load(_at(builder, indices, j, 4, _VECTOR), align=4)
        gene = builder.call(gather, [zeros, base, column, every, i32(4)])
        mask = builder.and_(builder.icmp_signed("<", gene, ends), builder.icmp_signed(">", whole, zeros))
        _store_packed(builder, whole, mask, keys, k)
        _store_packed(builder, gene, mask, genes, k)
        new = {
            j: builder.add(j, i64(_LANES)),
            k: builder.add(k, _how_many(builder, mask)),
            total: builder.add(total, builder.sext(whole, longs)),
            covered: builder.add(covered, builder.sext(builder.select(mask, whole, zeros), longs)),
            largest: builder.select(builder.icmp_signed(">", bits, largest), bits, largest),
            # A sign, or a number that is not whole: the sign of this becomes set.
            odd: builder.or_(odd, builder.or_(bits, builder.sext(differs, _VECTOR))),
        }
        starts = {j: i64(0), k: i64(0), total: ir.Constant(longs, [0] * _LANES),
                  covered: ir.Constant(longs, [0] * _LANES), largest: zeros, odd: zeros}  # fmt: skip
        for phi, value in new.items():
            phi.add_incoming(starts[phi], before)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", new[j], n), loop, after)
        builder.position_at_end(after)
        ending = {}
        for phi in starts:
            ending[phi] = builder.phi(phi.type)
            ending[phi].add_incoming(starts[phi], before)
            ending[phi].add_incoming(new[phi], loop)
        for i, phi in enumerate((total, covered)):
            builder.store(ending[phi], _at(builder, tallies, i64(i * _LANES), 8, longs), align=8)
        for i, phi in enumerate((largest, odd)):
            place = _at(builder, tallies, i64((2 + i) * _LANES), 8, longs)
            builder.store(builder.sext(ending[phi], longs), place, align=8)
        return ending[k]

    return signature, codegen


@compiled
def squeeze_wide(values, keys, n, bound, target):
    """Write values[i] for every i < n with keys[i] >= bound at the beginning of `target`; returns how many.

    All are int32; `target` may be `values` or `keys`. Up to fifteen entries behind the last are read, whose keys must
    lie below the bound, and up to sixteen behind what is kept are overwritten.
    """
    return _squeeze_blocks(
        np.uintp(values.ctypes.data), np.uintp(keys.ctypes.data), n, np.int32(bound), np.uintp(target.ctypes.data)
    )


@compiled
def squeeze_plain(values, keys, n, bound, target):
    """As `squeeze_wide`, one at a time."""
    k = np.uintp(0)
    for j in range(n):
        key = keys[j]
        target[k] = values[j]
        k += np.uintp(key >= bound)
    return np.int64(k)


@compiled
def _scan_rest(values, indices, first, n, table, n_vectors, keys, genes, k, tallies):
    total, covered, largest, odd = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    bits = values.view(np.int32)
    place = np.uintp(k)
    for j in range(first, n):
        whole = np.int32(values[j])
        gene = table[np.uint32(indices[j])]
        genes[place], keys[place] = gene, whole
        kept = (gene < n_vectors) & (whole > 0)
        place += np.uintp(kept)
        total += np.int64(whole)
        covered += np.int64(whole) * kept
        largest = max(largest, np.int64(bits[j]))
        odd |= np.int64(bits[j]) | -np.int64(whole != values[j])
    tallies[0], tallies[1], tallies[2], tallies[3] = total, covered, largest, odd
    return np.int64(place)


@compiled
def scan_plain(values, indices, n, table, n_vectors, keys, genes, sums, tallies):
    """Read a row of float32, and write key (the number) and gene of each positive one with text; returns how many.

    tallies[:4]: sum, sum of those with text, largest bits, and a negative number if any value is negative or not
    whole. What was written, and the sums, hold only if it is not, and if the largest bits do not pass `WHOLE_LIMIT`.
    `sums` is scratch of `N_SUMS`.
    """
    return _scan_rest(values, indices, 0, n, table, n_vectors, keys, genes, 0, tallies)


@compiled
def scan_wide(values, indices, n, table, n_vectors, keys, genes, sums, tallies):
    """As `scan_plain`, sixteen at a time."""
    whole = n - n % _LANES
    k = _scan_blocks(
        np.uintp(values.ctypes.data), np.uintp(indices.ctypes.data), whole, np.uintp(table.ctypes.data), n_vectors,
        np.uintp(keys.ctypes.data), np.uintp(genes.ctypes.data), np.uintp(sums.ctypes.data),
    )  # fmt: skip
    k = _scan_rest(values, indices, whole, n, table, n_vectors, keys, genes, k, tallies)
    for i in range(_LANES):
        tallies[0] += sums[i]
        tallies[1] += sums[_LANES + i]
        tallies[2] = max(tallies[2], sums[2 * _LANES + i])
        tallies[3] |= sums[3 * _LANES + i]
    return k


scan = scan_wide if has_avx512() else scan_plain
squeeze = squeeze_wide if has_avx512() else squeeze_plain
