"""Checks an answer in OpenAI's format and takes the vectors out of it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import ProviderError

__all__ = ["vectors_of"]


def vectors_of(answer: Any, count: int, dim: int | None, name: str) -> NDArray[np.float32]:
    """The vectors of an answer in the order of the texts.

    Parameters
    ----------
    answer
        Parsed JSON: ``{"data": [{"index": 0, "embedding": base64 or list of numbers}, ...]}``.
    count
        Texts that were sent.
    dim
        Expected length of a vector; None where it is not known yet.
    name
        The embedder, for messages.

    Returns
    -------
    ``(count, dim)`` float32.

    Raises
    ------
    ProviderError
        If the number of vectors, their places, their length or their values are wrong. Nothing of such an answer is
        used: vectors that may belong to other texts are worse than none.
    """
    said = f"embedder '{name}': the server answered"
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise ProviderError(f"{said} without a list 'data' of vectors; is it a server for embeddings?")
    if len(data) != count:
        raise ProviderError(f"{said} {len(data)} vectors for {count} texts; none was stored")
    places = [item.get("index") for item in data]
    if not all(type(place) is int for place in places) or sorted(places) != list(range(count)):
        raise ProviderError(
            f"{said} {count} vectors whose 'index' does not name each text once, so it cannot be told which vector "
            "is whose; none was stored. Texts can be sent one by one with batch_size=1"
        )
    rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * count
    for place, item in zip(places, data, strict=True):
        rows[place] = _vector(item.get("embedding"), said)
    lengths = {len(row) for row in rows}
    if len(lengths) > 1 or 0 in lengths or (dim is not None and lengths != {dim}):
        found = " and ".join(str(length) for length in sorted(lengths))
        wanted = "vectors of one length" if dim is None else f"length {dim}"
        raise ProviderError(
            f"{said} vectors of length {found}, not {wanted}; none was stored. Check the model's name; some servers "
            "ignore the dimensions asked for: leave dimensions= out there"
        )
    matrix = np.stack(rows)
    if not np.isfinite(matrix).all():
        bad = int((~np.isfinite(matrix).all(axis=1)).sum())
        raise ProviderError(f"{said} NaN or infinity in {bad} of {count} vectors; none was stored")
    return matrix


def _vector(value: Any, said: str) -> NDArray[np.float32]:
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
            return np.frombuffer(raw, dtype="<f4").astype(np.float32)
        except (binascii.Error, ValueError):
            raise ProviderError(f"{said} a vector that is no base64 of 4-byte numbers; none was stored") from None
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise ProviderError(f"{said} a vector that holds something else than numbers; none was stored") from None
    if vector.ndim != 1:
        raise ProviderError(f"{said} something else than a vector of numbers; none was stored")
    return vector
