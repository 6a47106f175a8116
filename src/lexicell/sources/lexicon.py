"""The lexicon: a few hundred concepts with vectors, so that words can be used without a model.

``data/concepts.tsv`` is written by hand: a name, a category and a sentence that says what the concept is in words that
texts about genes use. ``tools/build_concepts.py`` embeds "name: sentence" with the local embedder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import check_choice

__all__ = ["load", "manifest", "rows", "text_hash", "texts"]


def load(category: str | Sequence[str] | None = None) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Read the lexicon.

    Parameters
    ----------
    category
        Keep concepts of this category, or of these; None keeps all.

    Returns
    -------
    table
        One row per concept, string columns ``concept`` (unique), ``category`` (``process``, ``metabolism``,
        ``signalling``, ``immune process``, ``neuron and ALS biology``, ``stress and disease``, ``cell type``) and
        ``description``.
    vectors
        ``(n_concepts, 384)`` float32 (stored as float16), in the space :func:`manifest` names.

    Raises
    ------
    InputError
        If a category is unknown; the message lists them.

    Examples
    --------
    >>> from lexicell.sources import lexicon
    >>> table, vectors = lexicon.load("cell type")
    >>> len(table) == len(vectors)
    True
    """
    table, vectors = _read()
    if category is None:
        return table.copy(), vectors.copy()
    kinds = [category] if isinstance(category, str) else list(category)
    for kind in kinds:
        check_choice(kind, list(dict.fromkeys(table["category"])), "category of concepts")
    keep = table["category"].isin(kinds).to_numpy()
    return table[keep].reset_index(drop=True), vectors[keep]


@cache
def _read() -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """The table, all columns strings, and one vector per row. Both are kept: copy before changing them."""
    folder = files("lexicell.data")
    with (folder / "concepts.tsv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    with (folder / "concepts_vectors.npy").open("rb") as binary:
        vectors = np.load(binary, allow_pickle=False).astype(np.float32)
    return table, vectors


def rows(words: Sequence[str]) -> NDArray[np.int64]:
    """Row in :func:`load` of each word that is the name of a concept, whatever its case; -1 for others."""
    table, _ = _read()
    names = {name.casefold(): row for row, name in enumerate(table["concept"])}
    return np.asarray([names.get(word.strip().casefold(), -1) for word in words], dtype=np.int64)


def texts(table: pd.DataFrame) -> list[str]:
    """The text of each concept that is embedded: "name: sentence"."""
    return [f"{name}: {words}" for name, words in zip(table["concept"], table["description"], strict=True)]


def text_hash(table: pd.DataFrame) -> str:
    """32 hex digits over the embedded texts and their order."""
    return hashlib.blake2b("\n".join(texts(table)).encode(), digest_size=16).hexdigest()


@cache
def manifest() -> dict[str, Any]:
    """How the vectors were made.

    ``space`` (embedder, revision, dimensions), ``texts`` (their hash), ``concepts`` (their number), ``built_with``
    (version of lexicell).
    """
    return dict(json.loads((files("lexicell.data") / "concepts_vectors.json").read_text(encoding="utf-8")))
