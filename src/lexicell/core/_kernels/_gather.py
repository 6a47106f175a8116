"""Weighted sums of gene vectors: the part that takes the time.

The gene matrix lies in panels of `WIDTH` dimensions, (panel, gene, WIDTH), so that the accumulators of one cell and
one panel stay in registers while its genes stream from cache. LLVM splits the vectors to what the machine has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import compiled

__all__ = ["SEGMENT", "SPARE", "WIDTH", "gather_block", "gather_block_plain"]

WIDTH = 128
_LANES = 16
_AHEAD = 8  # entries ahead whose gene vector is asked for
SPARE = 16  # entries behind the last that may be read
SEGMENT = 256  # entries summed in float32 before they join the total, which is float64


@intrinsic  # type: ignore[untyped-decorator]
def _add_panel(typingctx: Any, panel: Any, rows: Any, weights: Any, count: Any, total: Any) -> Any:
    """total[:WIDTH] += sum_i weights[i] * panel[rows[i]], total in float64; addresses as integers, count >= 1."""
    signature = types.void(types.uintp, types.uintp, types.uintp, types.int64, types.uintp)
    n_vectors = WIDTH // _LANES

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        panel, rows, weights, count, total = args
        f32, i8, i32, i64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
        vector, wide = ir.VectorType(f32, _LANES), ir.VectorType(ir.DoubleType(), _LANES)

        def pointer(address: Any, kind: Any) -> Any:
            return builder.inttoptr(address, kind.as_pointer())

        def splat(x: Any) -> Any:
            undefined = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(undefined, x, i32(0))
            return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(i32, _LANES), [0] * _LANES))

        def gene_address(at: Any) -> Any:
            gene = builder.load(pointer(builder.add(rows, at), i32))
            return builder.add(panel, builder.mul(builder.sext(gene, i64), i64(WIDTH * 4)))

        before = builder.block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        j = builder.phi(i64)
        j.add_incoming(i64(0), before)
        zero = ir.Constant(vector, [0.0] * _LANES)
        sums = [builder.phi(vector) for _ in range(n_vectors)]
        for s in sums:
            s.add_incoming(zero, before)
        at = builder.mul(j, i64(4))
        weight = splat(builder.load(pointer(builder.add(weights, at), f32)))
        here, ahead = gene_address(at), gene_address(builder.add(at, i64(4 * _AHEAD)))
        prefetch = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i32, i32, i32]), "llvm.prefetch.p0"
        )
        for byte in range(0, WIDTH * 4, 64):
            builder.call(prefetch, [pointer(builder.add(ahead, i64(byte)), i8), i32(0), i32(3), i32(1)])
        new = []
        for v, s in enumerate(sums):
            gene = builder.load(pointer(builder.add(here, i64(v * _LANES * 4)), vector), align=4)
            product = builder.fmul(weight, gene, flags=("contract",))
            new.append(builder.fadd(s, product, flags=("contract",)))
        following = builder.add(j, i64(1))
        j.add_incoming(following, loop)
        for s, n in zip(sums, new, strict=True):
            s.add_incoming(n, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        builder.position_at_end(after)
        for v, n in enumerate(new):
            place = pointer(builder.add(total, i64(v * _LANES * 8)), wide)
            builder.store(builder.fadd(builder.load(place, align=8), builder.fpext(n, wide)), place, align=8)
        return context.get_dummy_value()

    return signature, codegen


@compiled
def _finish(total: Any, scale: Any, shift: Any, row: Any, first: Any) -> None:
    for d in range(first, min(first + WIDTH, row.shape[0])):
        row[d] = np.float32((total[d - first] + shift[d]) * scale)


@compiled
def _unit_length(row: Any) -> None:
    square = 0.0
    for d in range(row.shape[0]):
        square += np.float64(row[d]) * np.float64(row[d])
    if square > 0:
        length = 1.0 / np.sqrt(square)
        for d in range(row.shape[0]):
            row[d] = np.float32(row[d] * length)


@compiled
def gather_block(
    panels: Any, rows: Any, weights: Any, offsets: Any, scale: Any, shift: Any, unit: Any, segment: Any, out: Any
) -> None:
    """out[c] = scale[c] (sum_i weights[i] g[rows[i]] + shift), to unit length if `unit`; no genes: a row of zeros.

    `segment` entries are summed in float32 before they join a total in float64.
    """
    total = np.empty(WIDTH, np.float64)
    address = np.uintp(total.ctypes.data)
    n_cells = offsets.shape[0] - 1
    for p in range(panels.shape[0]):
        panel = np.uintp(panels.ctypes.data + p * panels.shape[1] * WIDTH * 4)
        for cell in range(n_cells):
            start, stop = offsets[cell], offsets[cell + 1]
            if start == stop:
                continue
            total[:] = 0
            for i in range(start, stop, segment):
                here = np.uintp(rows.ctypes.data + i * 4)
                _add_panel(panel, here, np.uintp(weights.ctypes.data + i * 4), min(segment, stop - i), address)
            _finish(total, scale[cell], shift, out[cell], p * WIDTH)
    for cell in range(n_cells):
        if offsets[cell] == offsets[cell + 1]:
            out[cell, :] = 0
        elif unit:
            _unit_length(out[cell])


@compiled
def gather_block_plain(
    panels: Any, rows: Any, weights: Any, offsets: Any, scale: Any, shift: Any, unit: Any, segment: Any, out: Any
) -> None:
    """The same as `gather_block` without its own machine code, for machines on which that does not compile."""
    total, part = np.empty(WIDTH, np.float64), np.empty(WIDTH, np.float32)
    n_cells = offsets.shape[0] - 1
    for p in range(panels.shape[0]):
        for cell in range(n_cells):
            start, stop = offsets[cell], offsets[cell + 1]
            if start == stop:
                continue
            total[:] = 0
            for i in range(start, stop, segment):
                part[:] = 0
                for j in range(i, min(i + segment, stop)):
                    for d in range(WIDTH):
                        part[d] += weights[j] * panels[p, np.uintp(rows[j]), d]
                for d in range(WIDTH):
                    total[d] += part[d]
            _finish(total, scale[cell], shift, out[cell], p * WIDTH)
    for cell in range(n_cells):
        if offsets[cell] == offsets[cell + 1]:
            out[cell, :] = 0
        elif unit:
            _unit_length(out[cell])
