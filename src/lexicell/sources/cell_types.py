"""Cell types in words: what some 140 human and mouse cell types do, with vectors, so that no model is needed.

``data/cell_types.tsv`` is written by hand: a name, a group and a description by function. No description names a gene.
``tools/build_cell_types.py`` embeds the descriptions, without the names, with the local embedder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._shipped import read_manifest, select

__all__ = ["load", "manifest", "text_hash"]


def load(group: str | Sequence[str] | None = None) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Read the cell types.

    Parameters
    ----------
    group
        Keep this group, or these; None keeps all.

    Returns
    -------
    table
        One row a type, string columns ``cell_type`` (unique), ``group`` (``immune``, ``neuron``, ``glia`` ...) and
        ``description``.
    vectors
        ``(n_types, 384)`` float32 (stored as float16), in the space :func:`manifest` names.

    Raises
    ------
    InputError
        If a group is unknown; the message lists them.

    Examples
    --------
    >>> from lexicell.sources import cell_types
    >>> table, vectors = cell_types.load("neuron")
    >>> "lower motor neuron" in set(table["cell_type"])
    True
    """
    return select("cell_types", "group", group, "group of cell types")


def text_hash(table: pd.DataFrame) -> str:
    """32 hex digits over the embedded texts and their order."""
    return hashlib.blake2b("\n".join(table["description"]).encode(), digest_size=16).hexdigest()


def manifest() -> dict[str, Any]:
    """How the vectors were made: ``space``, ``texts`` (their hash), ``cell_types`` (their number), ``built_with``."""
    return read_manifest("cell_types")
