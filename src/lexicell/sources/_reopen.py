"""Find the gene vectors behind a cell embedding again, so that they need not be stored twice."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .._errors import MissingKeyError
from ..core.genes.embedding import GeneEmbedding
from ..store import Store

__all__ = ["record", "reopen"]

_KIND = "genes"


def record(genes: GeneEmbedding, space: str, store: Store) -> None:
    """Note ids, texts and provenance of `genes` under its hash; the vectors are in `store` already, by text."""
    entry = {
        "space": space,
        "ids": list(genes.ids),
        "texts": list(genes.texts),
        "provenance": genes.provenance,
        "table": json.loads(genes.table.astype(str).to_json(orient="split")),
    }
    store.put_record(_KIND, genes.hash, zlib.compress(json.dumps(entry).encode(), 1))


def reopen(entry: Mapping[str, Any], *, store: Store | None = None) -> GeneEmbedding:
    """The gene embedding behind ``adata.uns["lexicell"][key]``, for the genes used there.

    Parameters
    ----------
    entry
        What :func:`lexicell.emb.cells` wrote: ``genes``, ``gene_embedding`` (hash) and ``provenance`` are read.
    store
        Where embeddings of other sources than the bundle are looked up; default: the user's store.

    Raises
    ------
    MissingKeyError
        If neither the installed bundle nor the store has these vectors; the message names the call that provides them.
    """
    ids = [str(i) for i in np.asarray(entry["genes"])]
    known, provenance = str(entry["gene_embedding"]), dict(entry.get("provenance", {}))
    if provenance.get("vectors") == "bundled":
        from . import get

        found = get(str(provenance["source"])).texts(ids, organism=str(provenance["organism"]))
        if found.vectors is not None and found.provenance.get("vectors_sha256") == provenance.get("vectors_sha256"):
            return GeneEmbedding.from_vectors(
                ids, found.vectors, texts=found.texts, table=found.table, provenance=provenance
            ).subset(ids)
        raise MissingKeyError(
            "these cells were embedded with another version of the bundled gene vectors; "
            "run lexicell.emb.genes and lexicell.emb.cells again, or pass genes="
        )
    store = store or Store()
    payload = store.get_record(_KIND, known)
    if payload is None:
        raise MissingKeyError(
            f"the gene vectors with hash {known[:12]} are neither bundled nor in the store; "
            "pass genes= (the GeneEmbedding given to lexicell.emb.cells), or make it again with lexicell.emb.genes"
        )
    saved = json.loads(zlib.decompress(payload))
    vectors = store.get_many(saved["space"], saved["texts"])
    missing = [t for t in saved["texts"] if t not in vectors]
    if missing:
        raise MissingKeyError(
            f"{len(missing)} of the gene vectors with hash {known[:12]} are no longer in the store; "
            "make them again with lexicell.emb.genes, or pass genes="
        )
    return GeneEmbedding.from_vectors(
        saved["ids"],
        np.stack([vectors[t] for t in saved["texts"]]),
        texts=saved["texts"],
        table=pd.DataFrame(**saved["table"]),
        provenance=saved["provenance"],
    ).subset(ids)
