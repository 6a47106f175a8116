"""One way to compile: without the interpreter lock, and kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` when first called, release the interpreter lock while it runs, cache the machine code.

    Arithmetic stays that of IEEE 754, step by step: what LLVM may reorder or contract, it may treat differently in a
    vector and in its remainder, and a value would depend on where it stands.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # No folder can be written (a read-only installation without a home): compile anew in each process.
        return njit(**options)(function)  # type: ignore[no-any-return]
