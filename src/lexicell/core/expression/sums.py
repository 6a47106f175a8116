"""Sums over ranges of cells, kept by name and added range by range."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

__all__ = ["Sums", "add_sums"]

Sums = dict[str, NDArray[Any]]
"""Named sums over some cells."""


def add_sums(parts: Iterable[Sums]) -> Sums:
    """Add the sums of ranges of cells, name by name; their order fixes the last bits. Empty ones are left out."""
    total: Sums = {}
    for part in parts:
        if not total:
            total = part
        elif part:
            total = {name: total[name] + part[name] for name in part}
    return total
