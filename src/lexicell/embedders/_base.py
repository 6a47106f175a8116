"""What an embedder is: a name, a revision, a dimension, and one method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embedder", "EmbedderInfo"]


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors.

    A provider writes `embed` and no more: de-duplication, batches, the store, order and length checks and progress
    are written once, in :func:`lexicell.embedders.embed`.

    Making an embedder must be cheap and must neither load a model nor reach a network: texts whose vectors are all
    in the store are answered without either.

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

    Notes
    -----
    An embedder may also have any of these:

    ``batch_size`` : int, default 64
        Texts per call of `embed`.
    ``plan(texts) -> sequence of sequences of int``
        Its own batches, as positions in `texts`, each position exactly once; takes the place of ``batch_size``.
        One batch is one call of `embed`, and is stored as soon as the call returns.
    ``concurrency`` : int, default 1
        How many calls of `embed` may run at once, each in a thread of its own.
    ``cancel()``
        Called once when the run is interrupted or a batch has failed: calls in flight should finish or fail soon
        (no more retries, no more waiting); what they return is still stored.
    ``truncated(texts) -> sequence of int``
        Positions of the texts that are longer than the model reads; the caller is warned.
    ``token_counts(texts) -> sequence of int``, ``max_tokens`` : int
        Tokens of each text, uncut, and how many the model reads: so that a warning can tell both.
    ``quote(texts) -> Quote``
        Tokens, requests and money for texts, for :func:`lexicell.emb.cost`; sends nothing.
    ``dim_known`` : bool, default True
        Whether `dim` can be told without a request.

    A `ProviderError` of `embed` may carry ``partial``, a pair of positions and their vectors: what had been answered
    before the rest failed. It is stored.
    """

    name: str
    revision: str
    dim: int
    leaves_machine: bool

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed one batch; returns ``(len(texts), dim)`` float32 in the order given."""
        ...


@dataclass(frozen=True)
class EmbedderInfo:
    """One row of :func:`lexicell.embedders.list`, stated by the module that provides the embedder.

    Attributes
    ----------
    name
        What to pass to :func:`lexicell.embedders.get`; a placeholder is in capitals (``"hf:MODEL"``).
    dim
        Length of a vector; 0 where it depends on the model.
    needs
        What must be installed or set, in words; empty where nothing is.
    available
        Whether it would run here and now, as far as can be told without loading it.
    licence
        Licence of the model, or the terms of the service.
    leaves_machine
        Whether texts are sent to another machine.
    """

    name: str
    dim: int
    needs: str
    available: bool
    licence: str
    leaves_machine: bool
