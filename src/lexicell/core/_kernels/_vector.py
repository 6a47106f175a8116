"""Counting keys above a bound, a loop LLVM does not find by itself; and what the machine can."""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

__all__ = ["count_from", "has_avx512"]


def has_avx512() -> bool:
    """Whether code may use 512-bit vectors here: what the processor can, unless numba was told to aim at another."""
    if config.CPU_NAME or config.CPU_FEATURES:
        return False
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))


@intrinsic  # type: ignore[untyped-decorator]
def count_from(typingctx: Any, keys: Any, n: Any, bound: Any, kind: Any) -> Any:
    """How many of n keys at an address are at least `bound`; they have the type of `kind`, int32 or int64.

    Sixteen (or eight) are read at a time: those behind the last must be below the bound.
    """
    if kind not in (types.int32, types.int64):
        return None
    bits = kind.bitwidth
    lanes = 512 // bits

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        keys, n, bound, _ = args
        i64, element = ir.IntType(64), ir.IntType(bits)
        if bits < 64:
            bound = builder.trunc(bound, element)
        vector, mask = ir.VectorType(element, lanes), ir.IntType(lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        one = builder.insert_element(undefined, bound, ir.IntType(32)(0))
        bounds = builder.shuffle_vector(one, undefined, zeros)
        before = builder.block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed(">", n, i64(0)), loop, after)
        builder.position_at_end(loop)
        j, count = builder.phi(i64), builder.phi(i64)
        address = builder.add(keys, builder.mul(j, i64(bits // 8)))
        these = builder.load(builder.inttoptr(address, vector.as_pointer()), align=bits // 8)
        found = builder.ctpop(builder.bitcast(builder.icmp_signed(">=", these, bounds), mask))
        more, following = builder.add(count, builder.zext(found, i64)), builder.add(j, i64(lanes))
        for phi, new in ((j, following), (count, more)):
            phi.add_incoming(i64(0), before)
            phi.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, n), loop, after)
        builder.position_at_end(after)
        result = builder.phi(i64)
        result.add_incoming(i64(0), before)
        result.add_incoming(more, loop)
        return result

    return types.int64(types.uintp, types.int64, types.int64, kind), codegen
