"""Genes that many cells have, summed densely as whole numbers: by the processor's tile unit (AMX) where there is one.

Weights of a cell are written as whole numbers of its largest, vectors as whole numbers of the largest entry of each
dimension, both below 2^23 and cut into three signed bytes (with vectors of sixteen bits: below 2^15, two bytes).
Products of bytes are added without any rounding; those whose places are too small to matter are left out:

    w v = 2^32 w0 v0 + 2^24 (w0 v1 + w1 v0) + 2^16 (w0 v2 + w1 v1 + w2 v0) + ...

so that sums depend neither on order, nor on which cells stand beside each other, nor on whether the tile unit or the
plain loop adds them.
"""

# mypy: disable-error-code="assignment, no-untyped-def"

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from ._jit import compiled

__all__ = ["BATCH", "DEEP", "DIMS", "add_hot_plain", "add_hot_wide", "distribute", "has_tiles", "pack_digits"]

DEEP = 64  # genes a tile
DIMS = 32  # dimensions worked on at a time: two tiles
BATCH = 64
_SIDE = 16  # rows of a tile
_TILE = _SIDE * DEEP
_REQUEST, _TILE_DATA, _ARCH_PRCTL = 0x1023, 18, 158


@cache
def has_tiles() -> bool:
    """Whether this process may use the tile unit: the processor has one, and the system grants it when asked."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or config.CPU_NAME or config.CPU_FEATURES:
        return False
    if not llvmlite.binding.get_host_cpu_features().get("amx-int8"):
        return False
    try:
        return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0  # type: ignore[no-any-return]
    except (OSError, AttributeError):
        return False


def shapes() -> Any:
    """The layout of all eight tiles, sixteen rows of 64 bytes, as the processor wants it."""
    layout = np.zeros(64, dtype=np.uint8)
    layout[0] = 1
    layout[16:32].view(np.uint16)[:] = DEEP
    layout[48:56] = _SIDE
    return layout


@compiled
def _largest(n_digits):
    """The largest whole number of so many signed bytes, all 127."""
    number = 0
    for _ in range(n_digits):
        number = number * 256 + 127
    return number


@compiled
def pack_digits(vectors, source, panels, unit):
    """Write vectors[source] as digits: (digits, dims / 16, steps, 16, 64) int8, filled up with zeros.

    Four genes stand side by side for each of sixteen dimensions. `unit` (dims,) float64 is written: what 1 is worth in
    each dimension.
    """
    n_digits, dim = panels.shape[0], vectors.shape[1]
    most, scale = _largest(n_digits), np.zeros(dim, np.float64)
    for g in range(source.shape[0]):
        vector = vectors[source[g]]
        for d in range(dim):
            scale[d] = max(scale[d], abs(np.float64(vector[d])))
    unit[:] = 0
    for d in range(dim):
        unit[d] = scale[d] / most
        if scale[d] > 0:
            scale[d] = most / scale[d]
    panels[:] = 0
    for g in range(source.shape[0]):
        vector = vectors[source[g]]
        step, deep = g // DEEP, g % DEEP
        for d in range(dim):
            number = np.int32(np.rint(np.float64(vector[d]) * scale[d]))
            for i in range(n_digits - 1, -1, -1):
                digit = ((number + 128) & 255) - 128
                panels[i, d // _SIDE, step, deep // 4, (d % _SIDE) * 4 + deep % 4] = digit
                number = (number - digit) >> 8


@compiled
def distribute(rows, weights, offsets, first, last, kinds, slots, tiles, unit, listed, amounts, ends):
    """Genes of a batch of cells by their kind: digits of the weights of hot genes into `tiles`, the others into lists.

    Parameters
    ----------
    rows, weights, offsets
        Genes and weights of each cell.
    first, last
        Cells of the batch.
    kinds, slots
        Kind of each gene, 0 for the hot ones; number of each gene among the hot ones.
    tiles
        Written, (digits, BATCH / 16, steps, 16, 64) int8.
    unit
        Written, float64 (BATCH,): what 1 is worth in each cell.
    listed, amounts
        Written, (n_kinds, n) int32 and float32: genes and weights of each kind, from ends[kind, first] on; those of
        the hot ones are scratch.
    ends
        Written, (n_kinds, n_cells + 1) int64: where the genes of each cell end in each list.
    """
    tiles[:] = 0
    unit[:] = 0
    n_kinds, n_digits = ends.shape[0], tiles.shape[0]
    most = _largest(n_digits)
    at = np.empty(n_kinds, np.uintp)
    for kind in range(n_kinds):
        at[kind] = ends[kind, first]
    for cell in range(first, last):
        at[0] = 0
        for j in range(offsets[cell], offsets[cell + 1]):
            row = np.uint32(rows[j])
            kind = np.uintp(kinds[row])
            k = at[kind]
            listed[kind, k], amounts[kind, k] = rows[j], weights[j]
            at[kind] = k + np.uintp(1)
        for kind in range(n_kinds):
            ends[kind, cell + 1] = np.int64(at[kind])
        n_hot, largest = np.int64(at[0]), np.float32(0)
        hot, amount = listed[0], amounts[0]
        for i in range(n_hot):
            largest = max(largest, abs(amount[i]))
        if largest == 0:
            continue
        place = cell - first
        block, line = place // _SIDE, place % _SIDE
        scale = most / np.float64(largest)
        unit[place] = np.float64(largest) / most
        first_digits, last_digits = tiles[0, block], tiles[n_digits - 1, block]
        for i in range(n_hot):
            slot = np.uint32(slots[np.uint32(hot[i])])
            number = np.int32(np.rint(np.float64(amount[i]) * scale))
            step, deep = slot // np.uint32(DEEP), slot % np.uint32(DEEP)
            digit = ((number + 128) & 255) - 128
            last_digits[step, line, deep] = digit
            number = (number - digit) >> 8
            if n_digits == 3:
                digit = ((number + 128) & 255) - 128
                tiles[1, block, step, line, deep] = digit
                number = (number - digit) >> 8
            first_digits[step, line, deep] = number


def _declared(builder: Any, name: str, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(ir.VoidType(), arguments)
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _lay_out(typingctx: Any, layout: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(builder, args[0])
        builder.call(_declared(builder, "llvm.x86.ldtilecfg", [pointer.type]), [pointer])
        return context.get_dummy_value()

    return types.void(types.uintp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _release(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.call(_declared(builder, "llvm.x86.tilerelease", []), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _clear(typingctx: Any) -> Any:
    """The four tiles of sums to zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i8 = ir.IntType(8)
        for tile in range(4):
            builder.call(_declared(builder, "llvm.x86.tilezero", [i8]), [i8(tile)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _multiply(typingctx: Any, a: Any, b: Any, further: Any, n_steps: Any) -> Any:
    """Sums of two row tiles and two column tiles, each `further` bytes behind the first, over n_steps tiles."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, further, n_steps = args
        i8, i64 = ir.IntType(8), ir.IntType(64)
        load = _declared(builder, "llvm.x86.tileloadd64", [i8, i8.as_pointer(), i64])
        product = _declared(builder, "llvm.x86.tdpbssd", [i8, i8, i8])
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(i64)
        at = builder.mul(step, i64(_TILE))
        for tile, base in ((4, a), (6, b), (7, builder.add(b, further)), (5, builder.add(a, further))):
            builder.call(load, [i8(tile), _pointer(builder, builder.add(base, at)), i64(DEEP)])
        for total, row, column in ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7)):
            builder.call(product, [i8(total), i8(row), i8(column)])
        following = builder.add(step, i64(1))
        step.add_incoming(i64(0), before)
        step.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _store(typingctx: Any, target: Any) -> Any:
    """Write the four tiles of sums one behind the other."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i8, i64 = ir.IntType(8), ir.IntType(64)
        store = _declared(builder, "llvm.x86.tilestored64", [i8, i8.as_pointer(), i64])
        for tile in range(4):
            place = _pointer(builder, builder.add(args[0], i64(tile * _TILE)))
            builder.call(store, [i8(tile), place, i64(DEEP)])
        return context.get_dummy_value()

    return types.void(types.uintp), codegen


@compiled
def _combine(parts, rows, columns, sums):
    """32 x 32 sums out of those of each order, (digits, 4, 16, 16) int32; `rows` and `columns` are what 1 is worth."""
    n_digits = parts.shape[0]
    place = 256.0 if n_digits == 2 else 65536.0
    for tile in range(4):
        down, right = (tile >> 1) * _SIDE, (tile & 1) * _SIDE
        high, middle, low = parts[0, tile], parts[1, tile], parts[n_digits - 1, tile]
        for r in range(_SIDE):
            target = sums[down + r]
            one = rows[down + r] * place
            for d in range(_SIDE):
                total = (np.int64(high[r, d]) << 8) + np.int64(middle[r, d])
                if n_digits == 3:
                    total = (total << 8) + np.int64(low[r, d])
                target[right + d] = np.float32(np.float64(total) * (one * columns[right + d]))


@compiled
def add_hot_wide(tiles, unit, panels, worth, layout, parts, sums):
    """sums[c, d] = sum of hot genes, for a batch of cells, by the tile unit.

    Parameters
    ----------
    tiles, unit
        As `distribute` writes them.
    panels, worth
        As `pack_digits` writes them; tiles and panels begin at a multiple of 64 bytes.
    layout, parts
        `shapes()`, and scratch (digits, 4, 16, 16) int32 that begins at a multiple of 64 bytes.
    sums
        Written, (BATCH, dims) float32.
    """
    n_steps = tiles.shape[2]
    further = np.uintp(n_steps * _TILE)
    _lay_out(np.uintp(layout.ctypes.data))
    for d in range(0, panels.shape[1], 2):
        for c in range(0, tiles.shape[1], 2):
            for order in range(tiles.shape[0]):
                _clear()
                for i in range(order + 1):
                    _multiply(np.uintp(tiles[i, c].ctypes.data), np.uintp(panels[order - i, d].ctypes.data), further,
                              n_steps)  # fmt: skip
                _store(np.uintp(parts[order].ctypes.data))
            rows, columns = slice(c * _SIDE, (c + 2) * _SIDE), slice(d * _SIDE, (d + 2) * _SIDE)
            _combine(parts, unit[rows], worth[columns], sums[rows, columns])
    _release()


@compiled
def add_hot_plain(tiles, unit, panels, worth, layout, parts, sums):
    """The same whole numbers as those of `add_hot_wide`, on any machine; much slower."""
    n_steps = tiles.shape[2]
    for d in range(0, panels.shape[1], 2):
        for c in range(0, tiles.shape[1], 2):
            parts[:] = 0
            for order in range(tiles.shape[0]):
                for i in range(order + 1):
                    for tile in range(4):
                        left, right = tiles[i, c + (tile >> 1)], panels[order - i, d + (tile & 1)]
                        target = parts[order, tile]
                        for step in range(n_steps):
                            for r in range(_SIDE):
                                for deep in range(DEEP):
                                    digit = np.int32(left[step, r, deep])
                                    if digit:
                                        for k in range(_SIDE):
                                            target[r, k] += digit * np.int32(right[step, deep // 4, 4 * k + deep % 4])
            rows, columns = slice(c * _SIDE, (c + 2) * _SIDE), slice(d * _SIDE, (d + 2) * _SIDE)
            _combine(parts, unit[rows], worth[columns], sums[rows, columns])
