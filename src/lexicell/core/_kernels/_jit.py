"""One way to compile: without the interpreter lock, and kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` when first called, release the interpreter lock while it runs, cache the machine code.

    Only contraction (a multiply and an add in one instruction) is allowed: reordering would let two builds of one loop
    give different bits.
    """
    try:
        return njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # No folder can be written (a read-only installation without a home): compile anew in each process.
        return njit(nogil=True, fastmath={"contract"}, error_model="numpy")(function)  # type: ignore[no-any-return]
