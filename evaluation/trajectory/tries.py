"""Ways that might have beaten expression on HSMM: all tried, all shown, none chosen by its score.

    python evaluation/trajectory/tries.py --data FOLDER -o evaluation/trajectory/results

The same draws and root as hsmm.py. Fusion at other weights of text; scores of the shipped concepts as coordinates,
alone and beside expression; the mean of the graphs of expression and text. Each beside shuffled texts (three seeds).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _representations import subsets
from hsmm import load, score
from scipy.stats import spearmanr
from sklearn.decomposition import PCA

import lexicell as lx
from lexicell._values import read_values
from lexicell.core.concepts import cell_scores, concept_sets
from lexicell.core.controls import shuffled
from lexicell.core.trajectory import diffusion, dpt_distances, medoid
from lexicell.sources import lexicon
from lexicell.tl import _paths, _words

WEIGHTS = (0.1, 0.25, 0.5, 0.75)


def unit(points: np.ndarray) -> np.ndarray:
    """Centred, total variance 1."""
    centred = points - points.mean(axis=0)
    return centred / np.sqrt((centred**2).sum(axis=1).mean())


def concepts(adata: anndata.AnnData, genes: lx.GeneEmbedding) -> np.ndarray:
    """Components of the scores of the shipped concepts."""
    _, vectors = lexicon.load()
    z = _words.zscores(read_values(adata), genes)
    scores = cell_scores(z.deviations, z.baseline, concept_sets(z.vectors, vectors))
    return PCA(20, svd_solver="full").fit_transform((scores - scores.mean(axis=0)) / scores.std(axis=0))


def mean_graph(points: list[np.ndarray], rows: np.ndarray, adata: anndata.AnnData) -> float:
    """Spearman with hours of the pseudotime on the mean of several graphs."""
    graphs = []
    for p in points:
        lists = _paths.neighbour_lists(p[rows], 14)
        graph = _paths.graph_of(p[rows].astype(np.float32), _paths.first(lists, 14), 15)
        graphs.append(sp.csr_matrix(graph.obsp["connectivities"]))
    both = sp.csr_matrix(sum(graphs) / len(graphs))
    if sp.csgraph.connected_components(both)[0] > 1:
        return float("nan")
    hours = adata.obs["Hours"].to_numpy()[rows]
    root = medoid(points[0][rows], np.flatnonzero(hours == hours.min()))
    return float(spearmanr(dpt_distances(*diffusion(both), [root])[0], hours)[0])


def representations(adata: anndata.AnnData, genes: lx.GeneEmbedding) -> Iterator[tuple[str, int, list[np.ndarray]]]:
    lx.emb.expression_pca(adata)
    expression = np.asarray(adata.obsm["X_expression"], dtype=float)
    yield "expression PCA", -1, [expression]
    for seed, vectors in [(-1, genes), *((s, shuffled(genes, seed=s)) for s in range(3))]:
        lx.emb.cells(adata, vectors, preset="whitened")
        for a in WEIGHTS:
            lx.emb.fuse(adata, a=a)
            yield f"fused, a = {a}", seed, [np.asarray(adata.obsm["X_text_fused"])]
        whitened = PCA(20, svd_solver="full").fit_transform(np.asarray(adata.obsm["X_text"], dtype=float))
        yield "mean of both graphs", seed, [expression, whitened]
        scores = concepts(adata, vectors)
        yield "concept scores", seed, [scores]
        yield "expression and concept scores", seed, [np.hstack([unit(expression), unit(scores)])]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    adata = load(args.data)
    genes = lx.emb.genes(adata, organism="human")
    draws, rows = subsets(adata.n_obs), []
    for name, seed, points in representations(adata, genes):
        for d, draw in enumerate(draws):
            if len(points) > 1:
                rho = mean_graph(points, draw, adata)
            else:
                adata.obsm["X_tried"] = points[0].astype(np.float32)
                rho = score(adata, "X_tried", draw)[0]
            texts = "none" if name == "expression PCA" else "text" if seed < 0 else "shuffled"
            rows.append({"way": name, "texts": texts, "seed": max(seed, 0), "draw": d, "spearman": round(rho, 4)})
        pd.DataFrame(rows).to_csv(args.output / "tries.csv", index=False)
    print(pd.DataFrame(rows).groupby(["way", "texts"], sort=False)["spearman"].agg(["mean", "std"]).round(3))


if __name__ == "__main__":
    main()
