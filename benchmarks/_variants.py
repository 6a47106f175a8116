"""Forms of the gather that were tried and not kept, made on demand: storage of numbers, cells at once, width."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_LANES = 16


def _loads(builder: Any, storage: str, here: Any, n_vectors: int) -> list[Any]:
    """Sixteen float32 each from where one gene's vector stands."""
    i32, i64 = ir.IntType(32), ir.IntType(64)
    whole, floats = ir.VectorType(i32, _LANES), ir.VectorType(ir.FloatType(), _LANES)

    def load(offset: int, kind: Any, align: int) -> Any:
        return builder.load(builder.inttoptr(builder.add(here, i64(offset)), kind.as_pointer()), align=align)

    if storage == "float32":
        return [load(64 * v, floats, 64) for v in range(n_vectors)]
    if storage == "float16":
        half = ir.VectorType(ir.HalfType(), _LANES)
        return [builder.fpext(load(32 * v, half, 32), floats) for v in range(n_vectors)]
    values = []
    for v in range(n_vectors // 2):
        raw = load(64 * v, whole, 64)
        upper = builder.bitcast(raw, floats)
        if storage == "pairs, read twice":
            # Two bytes further down the lower halves stand where the upper ones are read.
            lower = load(64 * v - 2, floats, 2)
        else:
            lower = builder.bitcast(builder.shl(raw, ir.Constant(whole, [16] * _LANES)), floats)
        if storage == "whole numbers":
            upper, lower = (builder.sitofp(builder.bitcast(x, whole), floats) for x in (upper, lower))
        values += [upper, lower]
    return values


def _adder(storage: str, n_cells: int, width: int, ahead: int) -> Any:
    row = width * (4 if storage == "float32" else 2)
    n_vectors = width // _LANES

    @intrinsic
    def add(typingctx, panel, genes, weights, count, sums, stride):
        def codegen(context, builder, signature, args):
            panel, genes, weights, count, sums, stride = args
            i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
            floats = ir.VectorType(ir.FloatType(), _LANES)
            none, zeros = ir.Constant(floats, ir.Undefined), ir.Constant(ir.VectorType(i32, _LANES), [0] * _LANES)

            def pointer(base, offset, kind):
                return builder.inttoptr(builder.add(base, offset), kind.as_pointer())

            def address(offset):
                gene = builder.load(pointer(genes, offset, i32))
                return builder.add(panel, builder.mul(builder.zext(gene, i64), i64(row)))

            before = builder.block
            loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
            builder.branch(loop)
            builder.position_at_end(loop)
            j = builder.phi(i64)
            old = [[builder.phi(floats) for _ in range(n_vectors)] for _ in range(n_cells)]
            here = address(builder.mul(j, i64(4)))
            if ahead:
                name = "llvm.prefetch.p0"
                kind = ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i32, i32, i32])
                prefetch = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
                there = address(builder.add(builder.mul(j, i64(4)), i64(4 * ahead)))
                for byte in range(0, row, 64):
                    builder.call(prefetch, [pointer(there, i64(byte), i8), i32(0), i32(3), i32(1)])
            values = _loads(builder, storage, here, n_vectors)
            new = []
            for cell in range(n_cells):
                place = builder.add(builder.mul(j, i64(4 * n_cells)), i64(4 * cell))
                one = builder.insert_element(none, builder.load(pointer(weights, place, ir.FloatType())), i32(0))
                weight = builder.shuffle_vector(one, none, zeros)
                new.append(
                    [
                        builder.fadd(o, builder.fmul(weight, v, flags=("contract",)), flags=("contract",))
                        for o, v in zip(old[cell], values, strict=True)
                    ]
                )
            following = builder.add(j, i64(1))
            j.add_incoming(i64(0), before)
            j.add_incoming(following, loop)
            for olds, news in zip(old, new, strict=True):
                for o, n in zip(olds, news, strict=True):
                    o.add_incoming(ir.Constant(floats, [0.0] * _LANES), before)
                    o.add_incoming(n, loop)
            builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
            builder.position_at_end(after)
            for cell, news in enumerate(new):
                target = builder.add(sums, builder.mul(stride, i64(cell)))
                for v, n in enumerate(news):
                    place = pointer(target, i64(64 * v), floats)
                    builder.store(builder.fadd(builder.load(place, align=4), n), place, align=4)
            return context.get_dummy_value()

        kinds = (types.uintp, types.uintp, types.uintp, types.int64, types.uintp, types.uintp)
        return types.void(*kinds), codegen

    return add, row


@njit(nogil=True, error_model="numpy")
def _merge(rows, weights, offsets, at, last, place, genes, both, starts, n_cells):
    """Genes of every `n_cells` cells below `last` as one list with a weight for each cell."""
    k, none = 0, np.int32(2**31 - 1)
    for group in range(starts.shape[0] - 1):
        starts[group] = k
        first = group * n_cells
        n = min(n_cells, at.shape[0] - first)
        while True:
            least = none
            for c in range(n):
                if at[first + c] < offsets[first + c + 1]:
                    least = min(least, rows[at[first + c]])
            if least >= last:
                break
            genes[k] = place[least]
            for c in range(n_cells):
                both[k * n_cells + c] = 0
            for c in range(n):
                j = at[first + c]
                if j < offsets[first + c + 1] and rows[j] == least:
                    both[k * n_cells + c] = weights[j]
                    at[first + c] += 1
            k += 1
    starts[starts.shape[0] - 1] = k


def gather(storage: str = "float32", n_cells: int = 1, width: int = 128, ahead: int = 8) -> Any:
    """A compiled (merge, add) of this form; merging is kept apart, for it was not made fast."""
    add, row = _adder(storage, n_cells, width, ahead)

    @njit(nogil=True, error_model="numpy")
    def merge(rows, weights, offsets, place, segment, genes, both, starts):
        at = offsets[:-1].copy()
        used = 0
        for i in range(starts.shape[0]):
            _merge(rows, weights, offsets, at, (i + 1) * segment, place, genes[used:], both[used * n_cells :],
                   starts[i], n_cells)  # fmt: skip
            starts[i] += used
            used = starts[i, -1]

    @njit(nogil=True, error_model="numpy")
    def sums_of(base, n_panels, n_vectors, genes, both, starts, sums):
        sums[:] = 0
        stride = sums.shape[1] * 4
        for i in range(starts.shape[0]):
            for p in range(n_panels):
                panel = np.uintp(base + p * n_vectors * row)
                for group in range(starts.shape[1] - 1):
                    first = starts[i, group]
                    n = starts[i, group + 1] - first
                    if n:
                        target = sums.ctypes.data + n_cells * group * stride + p * width * 4
                        add(panel, np.uintp(genes.ctypes.data + 4 * first),
                            np.uintp(both.ctypes.data + 4 * n_cells * first), n, np.uintp(target),
                            np.uintp(stride))  # fmt: skip

    return merge, sums_of
