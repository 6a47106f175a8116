"""Which of several genes with the same count comes first: decided by the gene's name, not by its column."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["tie_ranks"]


def tie_ranks(ids: Iterable[str]) -> NDArray[np.int32]:
    """Rank of each gene by the blake2b hash of its id, smallest first; equal hashes (never seen) by id.

    A hash spreads ties evenly over genes: names in alphabetical order would favour whole families. The order of any
    subset of genes is the order they have among all, so that leaving genes out changes nothing for the others.
    """
    keys = [(hashlib.blake2b(str(i).encode()).digest(), str(i)) for i in ids]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ranks = np.empty(len(keys), dtype=np.int32)
    ranks[order] = np.arange(len(keys), dtype=np.int32)
    return ranks
