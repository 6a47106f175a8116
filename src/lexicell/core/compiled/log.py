"""Logarithm and exponential of many values at once, to the last bits of a double.

The functions of the C library take one value at a time, some ten nanoseconds each. These are plain arithmetic without
branches, which LLVM turns into vectors. Bits of a float are reached through two views of one array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import compiled

__all__ = ["LogBuffers", "expm1_sum", "log1p_scaled"]

_LN2 = 0.6931471805599453
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_ROOT2 = 1.4142135623730951
_FRACTION = (1 << 52) - 1
_ONE = 1023 << 52


class LogBuffers(NamedTuple):
    """Two float64 arrays at least as long as the values, each also as int64."""

    work: Any
    work_bits: Any
    part: Any
    part_bits: Any


@compiled
def log1p_scaled(values: Any, n: Any, scale: Any, buffers: LogBuffers) -> None:
    """values[i] = log(1 + values[i] * scale) for i < n, values >= 0.

    With 1 + x = 2^e f, f between sqrt(1/2) and sqrt(2), d = f - 1 and z = d / (d + 2): the logarithm is
    e log 2 + 2 artanh z. Where e = 0, d is x itself, of which 1 + x may have lost much.
    """
    work, work_bits, part, part_bits = buffers
    for i in range(n):
        values[i] *= scale
        work[i] = 1.0 + values[i]
    for i in range(n):
        part_bits[i] = (work_bits[i] & _FRACTION) | _ONE
    for i in range(n):
        power = np.float64((work_bits[i] >> 52) - 1023)
        f = part[i]
        large = f > _ROOT2
        f = f * 0.5 if large else f
        power = power + 1.0 if large else power
        d = values[i] if power == 0.0 else f - 1.0
        z = d / (d + 2.0)
        q = z * z
        s = 1.0 / 21.0
        s = s * q + 1.0 / 19.0
        s = s * q + 1.0 / 17.0
        s = s * q + 1.0 / 15.0
        s = s * q + 1.0 / 13.0
        s = s * q + 1.0 / 11.0
        s = s * q + 1.0 / 9.0
        s = s * q + 1.0 / 7.0
        s = s * q + 1.0 / 5.0
        s = s * q + 1.0 / 3.0
        values[i] = power * _LN2 + (2.0 * z + 2.0 * z * q * s)


@compiled
def expm1_sum(values: Any, n: Any, buffers: LogBuffers) -> Any:
    """Sum of exp(v) - 1 for 0 <= v <= 32, to about 1e-15 of the sum of exp(v)."""
    work, work_bits = buffers.work, buffers.work_bits
    for i in range(n):
        power = np.floor(values[i] * (1.0 / _LN2) + 0.5)
        work_bits[i] = (np.int64(power) + 1023) << 52
    for i in range(n):
        power = np.floor(values[i] * (1.0 / _LN2) + 0.5)
        r = (values[i] - power * _LN2_HIGH) - power * _LN2_LOW
        s = 1.0 / 87178291200.0
        s = s * r + 1.0 / 6227020800.0
        s = s * r + 1.0 / 479001600.0
        s = s * r + 1.0 / 39916800.0
        s = s * r + 1.0 / 3628800.0
        s = s * r + 1.0 / 362880.0
        s = s * r + 1.0 / 40320.0
        s = s * r + 1.0 / 5040.0
        s = s * r + 1.0 / 720.0
        s = s * r + 1.0 / 120.0
        s = s * r + 1.0 / 24.0
        s = s * r + 1.0 / 6.0
        s = s * r + 0.5
        work[i] = work[i] * (r + r * r * s) + (work[i] - 1.0)
    total = 0.0
    for i in range(n):
        total += work[i]
    return total
