"""How fast this machine reads from its caches: the yardstick of the gather."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_LANES, _CHAINS = 16, 16


@intrinsic
def _read(typingctx, address, n_bytes):
    """Sum of float32 at an address, a multiple of 1,024 bytes, in sixteen chains of sixteen."""

    def codegen(context, builder, signature, args):
        address, n_bytes = args
        i64, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), _LANES)
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        j, old = builder.phi(i64), [builder.phi(vector) for _ in range(_CHAINS)]
        here = builder.add(address, j)
        new = []
        for i, chain in enumerate(old):
            place = builder.inttoptr(builder.add(here, i64(64 * i)), vector.as_pointer())
            new.append(builder.fadd(chain, builder.load(place, align=4)))
        following = builder.add(j, i64(64 * _CHAINS))
        j.add_incoming(i64(0), before)
        j.add_incoming(following, loop)
        for chain, more in zip(old, new, strict=True):
            chain.add_incoming(ir.Constant(vector, [0.0] * _LANES), before)
            chain.add_incoming(more, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_bytes), loop, after)
        builder.position_at_end(after)
        total = new[0]
        for more in new[1:]:
            total = builder.fadd(total, more)
        return builder.extract_element(total, ir.IntType(32)(0))

    return types.float32(types.uintp, types.int64), codegen


@njit(nogil=True)
def _read_often(values, times):
    total = np.float32(0)
    for _ in range(times):
        total += _read(np.uintp(values.ctypes.data), values.shape[0] * 4)
    return total


def read_rate(n_bytes: int) -> float:
    """Bytes a CPU-second when the same memory is read again and again; the median of nine."""
    memory = np.empty(n_bytes // 4 + 16, dtype=np.float32)
    # Written, not zeros: memory that was never written is one page of zeros, mapped again and again, and stays in the
    # first-level cache whatever its size.
    memory[:] = 1
    start = -memory.ctypes.data % 64 // 4
    values = memory[start : start + n_bytes // 4]
    times = max(2, int(3e8) // n_bytes)
    _read_often(values, 2)
    rates = []
    for _ in range(9):
        begun = time.process_time()
        _read_often(values, times)
        rates.append(n_bytes * times / (time.process_time() - begun))
    return float(np.median(rates))


def second_level_cache() -> int:
    """Bytes of the second-level cache, 1 MB where the system does not say."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text(encoding="ascii").strip()
        return int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]]
    except (OSError, KeyError, ValueError):
        return 1 << 20


def name() -> str:
    """The processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
