"""Does text help clustering? Every labeled data set at hand, through `lexicell.evaluate`.

    python evaluation/clustering/run.py DATA_FOLDER

writes scores.csv (one row per data set, text, representation and seed), table.csv (means), verdicts.csv, raw.csv (the
same z-scores through gene vectors that were not whitened, for Kang's five types) and clustering.png beside this script.
`python evaluation/pages.py` then writes the page in the docs. DATA_FOLDER holds the .h5ad files named below; a file
that is not there is left out and named. Where it holds gene_summaries_human.tsv.gz, the Kang sets are also evaluated on
texts of the form "SYMBOL: full name. RefSeq summary", embedded by the local model.
Finished data sets are kept, so an interrupted run goes on where it stopped; --fresh starts anew.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _shared import SUMMARIES, pyplot, read_cells, summary_genes

import lexicell as lx
from lexicell._evaluate.labels import _RESOLUTIONS as RESOLUTIONS
from lexicell._expression import Expression, read_values
from lexicell.core.expression.components import principal_components
from lexicell.core.expression.log_values import column_stats, zscore_sparse
from lexicell.core.metrics import agreement
from lexicell.tl._graph import graph_of, leiden

HERE = Path(__file__).parent
SEED = 20261123
N_CONTROLS = 3
# file, column and value to keep, label, layer, organism
SETS = {
    "Kang 5 types, control": ("kang_donors.h5ad", ("group_id", "ctrl"), "cluster_id", "counts"),
    "Kang 5 types, stimulated": ("kang_donors.h5ad", ("group_id", "stim"), "cluster_id", "counts"),
    "Kang 13 types, control": ("kang_pbmc.h5ad", ("condition", "ctrl"), "cell_type", "counts"),
    "Kang 13 types, stimulated": ("kang_pbmc.h5ad", ("condition", "stim"), "cell_type", "counts"),
    "Motor cortex, mouse": ("m1_patchseq.h5ad", None, "RNA_family", "counts"),
    "Mixology, CEL-seq2": ("mixology_celseq2_3cl.h5ad", None, "cell_line", "counts"),
    "Mixology, Drop-seq": ("mixology_dropseq_3cl.h5ad", None, "cell_line", "counts"),
}
TEXTS = {"bundled": "GO in text", "bundled-names": "names only", "summaries": "RefSeq summary"}


def data_sets(folder: Path) -> Iterator[tuple[str, anndata.AnnData, str, Expression]]:
    for name, (file, keep, label, layer) in SETS.items():
        if not (folder / file).exists():
            print(f"left out: {name} ({file} is not in {folder})")
            continue
        adata = read_cells(folder / file, keep)
        if label == "RNA_family":
            adata = adata[adata.obs[label].astype(str) != "low quality"].copy()
        yield name, adata, label, Expression(layer if layer in adata.layers else None)
    yield "pbmc68k (765 genes)", lx.datasets.pbmc68k_counts(), "cell_type", Expression(library_size="n_counts")


def evaluate_all(folder: Path, *, fresh: bool) -> pd.DataFrame:
    target, words = HERE / "scores.csv", HERE / "verdicts.csv"
    done = pd.DataFrame() if fresh or not target.exists() else pd.read_csv(target)
    said = pd.DataFrame() if fresh or not words.exists() else pd.read_csv(words)
    for name, adata, label, where in data_sets(folder):
        for source, mark in TEXTS.items():
            if len(done) and ((done["data"] == name) & (done["text"] == mark)).any():
                continue
            if source == "summaries" and not (name.startswith("Kang") and (folder / SUMMARIES).exists()):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                genes = summary_genes(adata, folder) if source == "summaries" else lx.emb.genes(adata, source=source)
                found = lx.evaluate(adata, label=label, genes=genes, expression=where, n_controls=N_CONTROLS, rng=SEED)
            rows = found.scores.assign(
                data=name, text=mark, cells=found.params["cells"], classes=found.params["classes"]
            )
            done = pd.concat([done, rows], ignore_index=True)
            said = pd.concat([said, pd.DataFrame([{"data": name, "text": mark, "verdict": found.verdict}])])
            done.round(5).to_csv(target, index=False)
            said.to_csv(words, index=False)
            print(f"{name} [{mark}]: {found.verdict}", flush=True)
    return done


def raw(folder: Path) -> pd.DataFrame:
    """What whitening is measured against: z-scores times gene vectors as they are, 50 components, the same clusters."""
    rows = []
    for name, adata, label, where in data_sets(folder):
        if not name.startswith("Kang 5"):
            continue
        values = read_values(adata, where)
        for source, mark in TEXTS.items():
            if source == "summaries" and not (folder / SUMMARIES).exists():
                continue
            genes = summary_genes(adata, folder) if source == "summaries" else lx.emb.genes(adata, source=source)
            log = values.log[:, values.rows(genes.ids)]
            z, baseline = zscore_sparse(log, *column_stats(log))
            matrix = np.asarray(z @ genes.vectors + baseline @ genes.vectors)
            scores = principal_components(lambda a, b, m=matrix: m[a:b].astype(np.float64), len(matrix), 50).scores
            run = leiden(graph_of(scores, 15, "euclidean", SEED))
            labels = adata.obs[label].astype(str).to_numpy()
            ari = np.mean([agreement(labels, run(r, SEED))["ari"] for r in RESOLUTIONS])
            rows.append({"data": name, "text": mark, "representation": "z-scores, raw vectors", "ari": ari})
    return pd.DataFrame(rows)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    keys = ["data", "text", "representation", "kind"]
    numbers = [c for c in scores.columns if c not in (*keys, "seed", "cells", "classes")]
    groups = scores.groupby(keys, sort=False)
    table = groups[numbers].mean()
    table["ari_sd"] = groups["ari"].std().fillna(0.0)
    return table.reset_index()


def draw(table: pd.DataFrame) -> None:
    plt = pyplot()

    rows = {
        "fused": "fused", "fused, shuffled": "fused, shuffled texts", "fused, random": "fused, random vectors",
        "whitened text": "whitened", "whitened, shuffled": "whitened, shuffled texts",
        "plain (paper)": "paper", "plain, shuffled": "paper, shuffled texts", "plain, random": "paper, random vectors",
    }  # fmt: skip
    names = list(dict.fromkeys(table["data"]))
    figure, axes = plt.subplots(1, len(names), figsize=(2.1 * len(names) + 1.5, 3.6), sharey=True, layout="constrained")
    for ax, name in zip(np.atleast_1d(axes), names, strict=True):
        part = table[(table["data"] == name) & (table["text"] == TEXTS["bundled"])].set_index("representation")
        best = part.loc[part["kind"] == "expression", "ari"].max()
        y = np.arange(len(rows))[::-1]
        colors = ["#444444" if "," in row else "#0072B2" for row in rows]
        values = part.loc[list(rows.values())]
        ax.barh(y, values["ari"], xerr=values["ari_sd"], color=colors, height=0.7)
        ax.axvline(best, color="#D55E00")
        ax.set(title=name.replace(", ", "\n"), xlim=(0, 1), yticks=y, yticklabels=list(rows))
        ax.title.set_fontsize(8)
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("mean Leiden ARI; orange: best expression baseline; grey: controls", fontsize=8)
    figure.savefig(HERE / "clustering.png", dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    scores = evaluate_all(options.data, fresh=options.fresh)
    table = summary(scores)
    table.round(4).to_csv(HERE / "table.csv", index=False)
    raw(options.data).round(5).to_csv(HERE / "raw.csv", index=False)
    draw(table)


if __name__ == "__main__":
    main()
