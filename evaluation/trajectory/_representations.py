"""Every representation that is compared, made with the public functions; controls differ in the gene vectors only."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _shared import summary_genes

import lexicell as lx
from lexicell.core.controls import random_vectors, shuffled

SEEDS = range(5)


def texts_for(adata: anndata.AnnData, folder: Path) -> dict[str, lx.GeneEmbedding]:
    """The bundled texts, and "SYMBOL: full name. RefSeq summary" (the name alone where there is no summary)."""
    return {"bundled": lx.emb.genes(adata, organism="human"), "summaries": summary_genes(adata, folder)}


def representations(
    adata: anndata.AnnData, texts: dict[str, Any], **slot: Any
) -> Iterator[tuple[str, str, str, int, str]]:
    """Write each into obsm; yields (method, gene vectors, texts, seed, key)."""
    for hvg in (300, 1000, 2000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lx.emb.expression_pca(adata, n_top_genes=hvg, key_added="X_now", **slot)
        yield f"PCA {hvg} HVG", "none", "none", 0, "X_now"
    for name, genes in texts.items():
        made = [("text", 0, genes)]
        made += [("random", s, random_vectors(genes, seed=s)) for s in SEEDS]
        made += [("shuffled", s, shuffled(genes, seed=s)) for s in SEEDS]
        for control, seed, vectors in made:
            lx.emb.cells(adata, vectors, preset="whitened", key_added="X_now", **slot)
            yield "whitened", control, name, seed, "X_now"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                lx.emb.fuse(adata, use_rep="X_now", key_added="X_both", **slot)
            yield "fused", control, name, seed, "X_both"
            lx.emb.cells(adata, vectors, preset="paper", key_added="X_now", **slot)
            yield "paper", control, name, seed, "X_now"


def subsets(n: int, *, n_draws: int = 8, share: float = 0.8) -> list[np.ndarray]:
    """The same draws of cells for every representation."""
    return [np.sort(np.random.default_rng(s).choice(n, round(share * n), replace=False)) for s in range(n_draws)]
