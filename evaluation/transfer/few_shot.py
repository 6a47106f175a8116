"""Cell types from a few labeled cells: expression against text.

    python evaluation/transfer/few_shot.py DATA_FOLDER

writes few_shot.csv beside this script. 1, 3, 5 or 10 labeled cells per type, ten draws each; all other cells are scored
(balanced accuracy), by the nearest mean of the labeled ones, smoothed over the neighbor graph of expression as
tl.annotate does ("smoothed") or not ("plain"). Representations: expression PCA (the best),
text (preset "whitened"), fused, and the two with shuffled texts (three shuffles). Nothing was chosen here.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _draws import HERE, Row, run
from run import MAIN, kang, pbmc68k, read

import lexicell as lx
from lexicell.core.controls import shuffled
from lexicell.core.transfer.align import smooth
from lexicell.core.transfer.classify import unit_rows

SHOTS = (1, 3, 5, 10)
DRAWS = 10


def few_shot(cells: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Cosine of every cell to the mean of each class's labeled cells, all centered on the mean of these means."""
    centers = np.stack([cells[codes == k].mean(axis=0) for k in range(n_classes)])
    middle = centers.mean(axis=0)
    return unit_rows(cells - middle) @ unit_rows(centers - middle).T


def scores(
    cells: np.ndarray, graph: np.ndarray, draws: list[np.ndarray], real: np.ndarray, n: int
) -> list[list[float]]:
    """Balanced accuracy of each draw, plain and smoothed; all draws are smoothed at once."""
    found = [few_shot(cells, codes, n) for codes in draws]
    calm = np.split(smooth(np.hstack(found), graph), len(found), axis=1)
    return [
        [
            float(np.mean([(each.argmax(axis=1) == k)[(real == k) & (codes < 0)].mean() for k in range(n)]))
            for each, codes in zip(kind, draws, strict=True)
        ]
        for kind in (found, calm)
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    kinds = {k: k for k in ("Sst", "IT", "ET")}
    studies = {
        "Kang control, 7 types": (kang(folder, "ctrl", MAIN), "human"),
        "Kang stimulated, 7 types": (kang(folder, "stim", MAIN), "human"),
        "pbmc68k, 5 types": (pbmc68k(), "human"),
        "Motor cortex, mouse, 3 families": (read(folder, "m1_patchseq.h5ad", "RNA_family", None, kinds), "mouse"),
    }

    def rows_of(name: str, text: str) -> list[Row]:
        adata, organism = studies[name]
        names = sorted(set(adata.obs["label"]))
        real = np.searchsorted(names, adata.obs["label"].to_numpy().astype(str))
        lx.emb.expression_pca(adata, library_size="n_counts", key_added="graph", n_components=20)
        graph = np.asarray(adata.obsm["graph"], dtype=np.float64)
        if text == "none":
            cells = {"expression PCA": graph}
        else:
            genes = lx.emb.genes(adata, organism=organism)
            if text != "real":
                genes = shuffled(genes, seed=int(text.split()[1]))
            lx.emb.cells(adata, genes, preset="whitened", library_size="n_counts")
            lx.emb.fuse(adata)
            cells = {"text": np.asarray(adata.obsm["X_text"], dtype=np.float64),
                     "fused": np.asarray(adata.obsm["X_text_fused"], dtype=np.float64)}  # fmt: skip
        rows = []
        for shots in SHOTS:
            draws = []
            for draw in range(DRAWS):
                rng = np.random.default_rng([shots, draw])
                codes = np.full(len(real), -1)
                for k in range(len(names)):
                    codes[rng.choice(np.flatnonzero(real == k), shots, replace=False)] = k
                draws.append(codes)
            for which, matrix in cells.items():
                for kind, values in zip(
                    ("plain", "smoothed"), scores(matrix, graph, draws, real, len(names)), strict=True
                ):
                    rows += [
                        {"rep": which, "kind": kind, "shots": shots, "draw": d, "score": v}
                        for d, v in enumerate(values)
                    ]
        return rows

    keys = [(name, text) for name in studies for text in ("none", "real", "shuffled 0", "shuffled 1", "shuffled 2")]
    table = run("few_shot", keys, ["data", "text"], rows_of)
    table["text"] = table["text"].str.split().str[0]
    grouped = table.groupby(["data", "kind", "rep", "text", "shots"], sort=False)["score"]
    wide = grouped.mean().unstack().round(3)
    wide.columns = [f"{c} cells a type" for c in wide.columns]
    wide.reset_index().to_csv(HERE / "few_shot_table.csv", index=False)
    with pd.option_context("display.width", 200):
        print(wide.to_string())


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
