"""Gene panels chosen by texts, by a pilot, by expression and by chance, scored on cells that chose nothing.

    python evaluation/gene_prior/run.py DATA_FOLDER

For each labelled data set: a prior is learned from the references of the *other* studies (tools/build_gene_prior.py
names them). Candidates are the set's protein-coding genes with a text. Panels of 100 and 300 genes are chosen by
`lexicell.emb.gene_panel` and by the rules beside it; a pilot is 100 cells without labels, the same for all. The other
cells (at most 1,000) are scored on the panel alone: log values, z-scores, 20 components; mean Leiden ARI at resolutions
.25, .5 and 1, and kNN balanced accuracy in five folds. Nothing is tuned here: the weight of the prior beside a pilot is
the WEIGHT that was set before the first run.

Writes panels.csv (every panel), table.csv (means over seeds) and panels.png.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import scipy.sparse as sp

import lexicell as lx
from lexicell.core.controls import random_vectors, shuffled
from lexicell.core.expression import log_cp10k, residual_variance, zscore_pca
from lexicell.core.gene_prior import informativeness, together
from lexicell.core.metrics import agreement, balanced_accuracy
from lexicell.emb._gene_prior import reference_targets
from lexicell.tl._graph import graph_of, leiden

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
from build_gene_prior import REFERENCES, load  # noqa: E402

SIZES = (100, 300)
SEEDS = (0, 1, 2)
PILOT = 100
WEIGHT = 0.5  # of the prior beside a pilot, set before the first run
MOST = 1000  # cells scored
RESOLUTIONS = (0.25, 0.5, 1.0)


def score(log: sp.csr_matrix, columns: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """How well the types stand apart in these columns."""
    part = sp.csr_matrix(log[:, columns])
    matrix = zscore_pca(part, min(20, len(columns) - 1, part.shape[0] - 1)).scores
    run = leiden(graph_of(matrix, 15, "euclidean", seed))
    return {
        "ari": float(np.mean([agreement(labels, run(r, seed))["ari"] for r in RESOLUTIONS])),
        "knn": balanced_accuracy(matrix, labels, classifiers=["knn"], rng=seed)["knn"],
    }


def panels(
    genes: lx.GeneEmbedding, others: dict[str, tuple[anndata.AnnData, str]], pilot: anndata.AnnData, n: int, seed: int
) -> Iterator[tuple[str, list[str]]]:
    """Name of the rule, genes chosen."""
    rng = np.random.default_rng(seed)
    names = genes.ids.astype(str)
    columns = pilot.var_names.get_indexer(names)
    counts = sp.csr_matrix(pilot.X)
    variance = residual_variance(counts)[columns]
    mean = np.asarray(counts.mean(axis=0)).ravel()[columns]
    if seed == SEEDS[0]:
        measured = together([t.total for t in reference_targets(genes, others).values()])
        yield "measured in the references", list(names[np.argsort(-np.nan_to_num(measured, nan=-9))[:n]])
    arms = {
        "text": genes,
        "shuffled texts": shuffled(genes, seed=seed),
        "random vectors": random_vectors(genes, seed=seed),
    }
    for kind, vectors in arms.items():
        prior = priors(vectors, others)
        if kind != "text" or seed == SEEDS[0]:
            yield f"{kind}, no pilot", list(lx.emb.gene_panel(vectors, n, prior=prior).index)
        if kind != "random vectors":
            chosen = lx.emb.gene_panel(vectors, n, pilot=pilot, prior=prior, weight=WEIGHT)
            yield f"pilot variance + {kind}", list(chosen.index)
    yield "pilot variance", list(names[np.argsort(-variance, kind="stable")[:n]])
    yield "pilot mean", list(names[np.argsort(-mean, kind="stable")[:n]])
    yield "random genes", list(rng.choice(names, n, replace=False))
    expressed = names[mean > 0]
    yield "random expressed genes", list(rng.choice(expressed, min(n, len(expressed)), replace=False))


_PRIORS: dict[str, lx.emb.GenePrior] = {}


def priors(genes: lx.GeneEmbedding, others: dict[str, tuple[anndata.AnnData, str]]) -> lx.emb.GenePrior:
    key = genes.hash + "|".join(others)
    if key not in _PRIORS:
        _PRIORS[key] = lx.emb.gene_prior(genes, others, n_controls=0)
    return _PRIORS[key]


def run(name: str, folder: Path) -> pd.DataFrame:
    adata, label = load(name, folder)
    study = REFERENCES[name][2]
    others = {n: load(n, folder) for n in REFERENCES if REFERENCES[n][2] != study}
    adata = adata[adata.obs[label].notna()].copy()
    labels = adata.obs[label].astype(str)
    adata = adata[(labels.map(labels.value_counts()) >= 10).to_numpy()].copy()
    labels = adata.obs[label].astype(str).to_numpy()
    everything = lx.emb.genes(adata)
    coding = everything.table.get("gene_type", pd.Series("protein-coding", index=everything.table.index))
    genes = everything.subset(list(everything.ids[(coding == "protein-coding").to_numpy()]))
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    log = log_cp10k(sp.csr_matrix(adata.X), totals)
    rows = []
    for seed in SEEDS:
        order = np.random.default_rng([seed, 1]).permutation(adata.n_obs)
        take = min(PILOT, adata.n_obs // 3)
        pilot, rest = adata[np.sort(order[:take])].copy(), np.sort(order[take : take + MOST])
        kept = pd.Series(labels[rest]).value_counts()
        rest = rest[np.isin(labels[rest], kept.index[kept >= 5])]
        for n in SIZES:
            if n > len(genes) // 2:
                continue
            for panel, chosen in panels(genes, others, pilot, n, seed):
                columns = adata.var_names.get_indexer(chosen)
                found = score(log[rest], columns, labels[rest], seed)
                rows.append({"data": name, "genes": n, "panel": panel, "seed": seed, **found})
        whole = informativeness(log[rest], pd.factorize(labels[rest])[0], len(set(labels[rest])))
        for n in SIZES:
            best = np.argsort(-whole, kind="stable")[:n]
            found = score(log[rest], best, labels[rest], seed)
            known = {"data": name, "genes": n, "panel": "oracle (sees the labels)"}
            rows.append({**known, "seed": seed, **found})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    part = table[(table["genes"] == 100)]
    names = list(dict.fromkeys(table["panel"]))
    sets = [s for s in REFERENCES if s in set(part["data"])]
    figure, axes = plt.subplots(1, len(sets), figsize=(2.4 * len(sets) + 2.5, 4.6), sharey=True, layout="constrained")
    for ax, name in zip(np.atleast_1d(axes), sets, strict=True):
        rows = part[part["data"] == name].set_index("panel").reindex(names)
        y = np.arange(len(names))[::-1]
        colours = ["#0072B2" if "text" in n and "shuffled" not in n else "#8c8c8c" for n in names]
        ax.barh(y, rows["knn"], xerr=rows["knn_sd"], color=colours, height=0.7)
        ax.set_yticks(y, names, fontsize=8)
        ax.set_title(name, fontsize=8)
        ax.set_xlim(0, 1)
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("kNN balanced accuracy on 100 genes (bars: mean, lines: sd over three pilots)", fontsize=8)
    figure.savefig(HERE / "panels.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="one data set")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    target = HERE / "panels.csv"
    done = pd.read_csv(target) if target.exists() and not options.fresh else pd.DataFrame(columns=["data"])
    warnings.simplefilter("ignore")
    for name in REFERENCES:
        if name not in set(done["data"]) and options.only in ("", name):
            done = pd.concat([done, run(name, options.data)], ignore_index=True)
            done.round(4).to_csv(target, index=False)
            print(name, flush=True)
    groups = done.groupby(["data", "genes", "panel"], sort=False)[["ari", "knn"]]
    table = groups.mean().join(groups.std().add_suffix("_sd")).reset_index()
    table.round(4).to_csv(HERE / "table.csv", index=False)
    draw(table)


if __name__ == "__main__":
    main()
