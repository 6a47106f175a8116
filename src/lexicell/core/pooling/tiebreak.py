"""Which of several genes with the same count comes first: decided by the gene's name, not by its column."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["tie_ranks"]


def tie_ranks(ids: Iterable[str]) -> NDArray[np.int32]:
    """Rank of each gene by the blake2b hash of its id, smallest first; equal hashes (never seen) by id.

    A hash spreads ties evenly over genes: names in alphabetical order would favor whole families. The order of any
    subset of genes is the order they have among all, so that leaving genes out changes nothing for the others.
    """
    names = [str(i) for i in ids]
    digests = [hashlib.blake2b(name.encode()).digest() for name in names]
    # The first eight bytes tell nearly all apart; big-endian numbers sort as bytes do.
    heads = np.frombuffer(b"".join(d[:8] for d in digests), dtype=">u8").astype(np.uint64)
    order = np.argsort(heads)
    if (heads[order][1:] == heads[order][:-1]).any():
        order = np.array(sorted(range(len(names)), key=lambda i: (digests[i], names[i])))
    ranks = np.empty(len(names), dtype=np.int32)
    ranks[order] = np.arange(len(names), dtype=np.int32)
    return ranks
