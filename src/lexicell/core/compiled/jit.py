"""Two ways to compile: without the interpreter lock, and kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled", "compiled_fast", "compiled_fused"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` when first called, release the interpreter lock while it runs, cache the machine code.

    Arithmetic stays that of IEEE 754, step by step: what LLVM may reorder or contract, it may treat differently in a
    vector and in its remainder, and a value would depend on its position.
    """
    return _compile(function)


def compiled_fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, but a sum with a product is rounded once wherever the processor can.

    For sums whose only form is total += a * b, which is fused in a vector and in its remainder alike.
    """
    return _compile(function, fastmath={"contract"})


def compiled_fast(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, but LLVM may reorder sums, so that the last digits depend on the processor."""
    return _compile(function, fastmath=True)


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    options = {"nogil": True, "error_model": "numpy", **options}
    try:
        return njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # No folder can be written (a read-only installation without a home): compile anew in each process.
        return njit(**options)(function)  # type: ignore[no-any-return]
