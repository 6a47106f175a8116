"""Synthetic cells of known kinds, with gene vectors whose directions are known concepts."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lexicell import GeneEmbedding
from lexicell.core.genes.gene_space import GeneSpace
from lexicell.tl import words as _words

KINDS = ("alpha", "beta", "gamma")
PER_KIND = 60
N_GENES = 240


@pytest.fixture
def planted_genes(rng):
    """Gene vectors: genes 0-19 mean concept 'alpha', 20-39 'beta', 40-59 'gamma', the rest nothing in particular."""
    vectors = rng.normal(size=(N_GENES, 24)) * 0.3 + 2.0
    for k in range(3):
        vectors[20 * k : 20 * k + 20, k] += 3.0
    return GeneEmbedding.from_vectors(
        [f"g{i}" for i in range(N_GENES)], vectors, provenance={"embedder": "test", "revision": "1"}
    )


@pytest.fixture
def phrases(planted_genes):
    """Phrases that point where the three concepts point, and some that point elsewhere."""
    rng = np.random.default_rng(5)
    mean = planted_genes.vectors.mean(axis=0)
    directions = np.vstack([np.eye(24)[:3], rng.normal(size=(9, 24))])
    names = np.array([*KINDS, *(f"other {i}" for i in range(9))], dtype=object)
    return dict(zip(names, (mean + directions).astype(np.float32), strict=True))


@pytest.fixture
def unrelated(phrases, planted_genes):
    """The other phrases without what they share with the three concepts."""
    mean = planted_genes.vectors.mean(axis=0)
    return {
        name: np.concatenate([mean[:3], vector[3:]]).astype(np.float32)
        for name, vector in phrases.items()
        if name not in KINDS
    }


@pytest.fixture
def kinds_adata(rng, planted_genes):
    """180 cells of three kinds; a kind expresses the 20 genes of its concept four times as much. Counts in X."""
    labels = np.repeat(KINDS, PER_KIND)
    rate = np.tile(rng.gamma(2.0, 0.6, size=N_GENES), (len(labels), 1)) * rng.lognormal(0, 0.2, size=(len(labels), 1))
    for k in range(3):
        rate[np.ix_(labels == KINDS[k], range(20 * k, 20 * k + 20))] *= 4
    order = rng.permutation(len(labels))
    adata = anndata.AnnData(
        sp.csr_matrix(rng.poisson(rate).astype(np.float32))[order],
        obs=pd.DataFrame({"kind": pd.Categorical(labels[order])}, index=[f"c{i}" for i in range(len(labels))]),
        var=pd.DataFrame(index=planted_genes.ids.astype(str)),
    )
    log = np.log1p(1e4 * adata.X.toarray() / np.asarray(adata.X.sum(axis=1)))
    z = (log - log.mean(axis=0)) / np.maximum(log.std(axis=0), 1e-9)
    adata.obsm["X_text"] = (z @ GeneSpace.fit(planted_genes.vectors).transform(planted_genes.vectors)).astype(
        np.float32
    )
    adata.uns["lexicell"] = {
        "X_text": {
            "genes": planted_genes.ids,
            "gene_embedding": planted_genes.hash,
            "params": {"preset": "whitened", "slot": "X", "normalization": "counts", "library_size": ""},
            "provenance": dict(planted_genes.provenance),
        }
    }
    return adata


@pytest.fixture
def lexicon(monkeypatch, phrases):
    """The test phrases in place of the shipped lexicon; the three kinds are cell types."""

    def shipped(genes):
        found = replace(_words.phrases_of(phrases, genes), source="test phrases")
        return replace(found, cell_types=np.isin(found.names, KINDS))

    monkeypatch.setattr(_words, "shipped_lexicon", shipped)
    return phrases
