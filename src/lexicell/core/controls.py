"""Gene embeddings that look like the real one but know nothing, to be sent through the same pipeline.

A result of text counts only where these do not have it. Shuffled texts keep every property of the vectors but the gene
they belong to; random vectors keep only their number and length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError
from .genes.embedding import GeneEmbedding

__all__ = ["random_vectors", "shuffled"]


def _with_vectors(
    genes: GeneEmbedding, vectors: NDArray[np.float32], control: str, seed: int, text_of: NDArray[Any]
) -> GeneEmbedding:
    provenance = {**genes.provenance, "vectors": "control", "control": control, "control_seed": seed, "of": genes.hash}
    wrapped = GeneEmbedding.from_vectors(
        genes.ids, vectors, table=genes.table.assign(text_of=text_of), provenance=provenance
    )
    return replace(wrapped, coverage=genes.coverage)


def shuffled(genes: GeneEmbedding, *, seed: int = 0, strata: ArrayLike | None = None) -> GeneEmbedding:
    """Give every gene the vector of another gene.

    Parameters
    ----------
    genes
        The real gene embedding.
    seed
        Seed of the permutation.
    strata
        One label a gene, e.g. its decile of mean expression: vectors are exchanged within a label only. Text follows
        expression (well-studied genes are highly expressed and have long texts), and this keeps that.

    Returns
    -------
    GeneEmbedding
        The same ids and the same set of vectors, in another order; the table's column ``text_of`` names the gene whose
        vector each has, so that phrases find what that gene would be found for.

    Examples
    --------
    >>> import numpy as np
    >>> from lexicell.core.controls import shuffled
    >>> from lexicell.core.genes.embedding import GeneEmbedding
    >>> genes = GeneEmbedding.from_vectors(["a", "b", "c"], np.eye(3))
    >>> np.array_equal(shuffled(genes, seed=1).vectors.sum(axis=0), genes.vectors.sum(axis=0))
    True
    """
    rng = np.random.default_rng(seed)
    order = np.arange(len(genes))
    if strata is None:
        order = rng.permutation(order)
        name = "shuffled texts"
    else:
        labels = np.asarray(strata)
        if len(labels) != len(genes):
            raise InputError(f"{len(labels)} strata do not fit {len(genes)} genes")
        for rows in pd.Series(order).groupby(labels).indices.values():
            order[rows] = rng.permutation(rows)
        name = "shuffled texts within strata"
    return _with_vectors(genes, genes.vectors[order], name, seed, genes.ids[order].astype(str).astype(object))


def random_vectors(genes: GeneEmbedding, *, seed: int = 0) -> GeneEmbedding:
    """Give every gene a random vector, of independent normal entries, scaled to the length of its own.

    Parameters
    ----------
    genes
        The real gene embedding: number, dimension and lengths of its vectors are kept.
    seed
        Seed of the vectors.
    """
    noise = np.random.default_rng(seed).standard_normal(genes.vectors.shape).astype(np.float32)
    length = np.linalg.norm(genes.vectors, axis=1, keepdims=True)
    vectors = noise * (length / np.linalg.norm(noise, axis=1, keepdims=True))
    return _with_vectors(genes, vectors, "random vectors", seed, np.full(len(genes), "", dtype=object))
