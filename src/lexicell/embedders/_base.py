"""What an embedder is: a name, a revision, a dimension, and one method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embedder"]


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors.

    A provider writes `embed` and no more: de-duplication, batches, the store, order and length checks and progress
    stand once, in :func:`lexicell.embedders.embed`.

    Attributes
    ----------
    name
        As it was asked for, e.g. ``"local"`` or ``"openai:text-embedding-3-large"``.
    revision
        What exactly computes the vectors (weights hash, model revision): part of the store's key.
    dim
        Length of each vector.
    leaves_machine
        Whether texts are sent to another machine.
    """

    name: str
    revision: str
    dim: int
    leaves_machine: bool

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed one batch; returns ``(len(texts), dim)`` float32 in the order given."""
        ...
