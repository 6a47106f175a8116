"""Labels between panels without a common gene.

    python evaluation/transfer/run.py DATA_FOLDER

writes scores.csv (one row per run), table.csv (means and spreads) and transfer.png. Finished runs are kept, so that an
interrupted evaluation resumes; --fresh starts over. DATA_FOLDER holds the .h5ad files named below.

The two sides of a run have neither a cell nor a gene in common. Labels of the target are read by the report alone.
Method and settings were chosen on stimulated Kang cells and on halves of pbmc68k, with other seeds than here. Kang's
control cells were looked at once before, with the settings fixed; the mixology and the pairs of studies were not.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _shared import pyplot, read_cells, summary_genes

import lexicell as lx
from lexicell.core.controls import random_vectors, shuffled

HERE = Path(__file__).parent
SEEDS = range(1000, 1003)
COARSE = {
    "CD14 Mono": "monocyte", "CD16 Mono": "monocyte", "B": "B", "NK": "NK", "CD8 T": "T", "CD4 Naive T": "T",
    "CD4 Memory T": "T", "DC": "DC", "CD14+ Monocyte": "monocyte", "Dendritic": "DC", "CD56+ NK": "NK",
    "CD19+ B": "B", "CD4+/CD25 T Reg": "T", "CD4+/CD45RA+/CD25- Naive T": "T", "CD4+/CD45RO+ Memory": "T",
    "CD8+ Cytotoxic T": "T", "CD8+/CD45RA+ Naive Cytotoxic": "T",
}  # fmt: skip
MAIN = {k: k for k in ("CD14 Mono", "CD16 Mono", "B", "NK", "CD8 T", "DC")}
MAIN |= {"CD4 Naive T": "CD4 T", "CD4 Memory T": "CD4 T"}
# name -> options of tl.transfer; the last two columns of a run say which texts and which control.
METHODS = {
    "aligned": {"method": "aligned"},
    "aligned, texts alone": {"method": "rotated"},
    "text space": {"method": "text"},
}
CONTROLS = {"shuffled": shuffled, "random": random_vectors}


def read(folder: Path, file: str, column: str, keep: tuple[str, str] | None, names: dict[str, str] | None):
    adata = read_cells(folder / file, keep)
    if "counts" in adata.layers:
        adata.X = adata.layers["counts"]
    return labeled(adata, adata.obs[column].astype(str), names)


def kang(folder: Path, condition: str, names: dict[str, str]) -> anndata.AnnData:
    """Cells of kang_pbmc in one condition, labeled by MAIN or COARSE."""
    return read(folder, "kang_pbmc.h5ad", "cell_type", ("condition", condition), names)


def pbmc68k() -> anndata.AnnData:
    """The 700 blood cells that come with scanpy, labeled by COARSE."""
    blood = lx.datasets.pbmc68k_counts()
    return labeled(blood, blood.obs["cell_type"].astype(str), COARSE)


def mixology(folder: Path) -> dict[str, anndata.AnnData]:
    """Three cell lines on two platforms."""
    return {p: read(folder, f"mixology_{p}_3cl.h5ad", "cell_line", None, None) for p in ("celseq2", "dropseq")}


def labeled(adata: anndata.AnnData, values: pd.Series, names: dict[str, str] | None) -> anndata.AnnData:
    """Counts with a column `label`, a total over all genes, and genes seen in at least 2 % of cells."""
    label = values.map(names) if names else values
    if "n_counts" not in adata.obs:
        adata.obs["n_counts"] = np.asarray(adata.X.sum(axis=1)).ravel()
    known = label.notna().to_numpy()
    seen = np.asarray((sp.csr_matrix(adata.X) > 0).mean(axis=0)).ravel() >= 0.02
    kept = anndata.AnnData(
        sp.csr_matrix(adata.X)[known][:, seen],
        obs=pd.DataFrame({"label": label[known].to_numpy(), "n_counts": adata.obs["n_counts"].to_numpy()[known]}),
        var=pd.DataFrame(index=adata.var_names[seen].astype(str)),
    )
    kept.obs_names = [f"c{i}" for i in range(kept.n_obs)]
    return kept


def halves(adata: anndata.AnnData, rng: np.random.Generator):
    genes, cells = rng.permutation(adata.n_vars), rng.permutation(adata.n_obs)
    g, c = adata.n_vars // 2, adata.n_obs // 2
    return adata[cells[:c], genes[:g]].copy(), adata[cells[c:], genes[g:]].copy()


def pair(one: anndata.AnnData, other: anndata.AnnData, rng: np.random.Generator, n: int | None = None):
    """Every gene goes to one side only; `n` genes per side if given."""
    every = np.union1d(one.var_names, other.var_names)
    left = dict(zip(every, rng.random(len(every)) < 0.5, strict=True))
    a = np.flatnonzero([left[g] for g in one.var_names])
    b = np.flatnonzero([not left[g] for g in other.var_names])
    if n is not None:
        a, b = rng.choice(a, n, replace=False), rng.choice(b, n, replace=False)
    return one[:, a].copy(), other[:, b].copy()


def without_a_type(adata: anndata.AnnData, rng: np.random.Generator):
    """Halves of which the target lacks one type and has a third of another."""
    one, other = halves(adata, rng)
    kinds = rng.permutation(sorted(set(other.obs["label"])))
    label = other.obs["label"].to_numpy()
    keep = (label != kinds[0]) & ((label != kinds[1]) | (rng.random(len(label)) < 1 / 3))
    return one, other[keep].copy()


def studies(folder: Path) -> dict[str, tuple[Callable, str]]:
    """Name -> how a pair of data sets is drawn, and the organism."""
    five = read(folder, "kang_donors.h5ad", "cluster_id", ("group_id", "ctrl"), None)
    main, coarse = kang(folder, "ctrl", MAIN), kang(folder, "ctrl", COARSE)
    blood = pbmc68k()
    cel, drop = mixology(folder).values()
    cortex = read(folder, "m1_patchseq.h5ad", "RNA_family", None, {k: k for k in ("Sst", "IT", "ET", "Pvalb")})
    return {
        "Kang control, 5 types": (lambda rng: halves(five, rng), "human"),
        "the same, one type missing": (lambda rng: without_a_type(five, rng), "human"),
        "Kang control, 7 types": (lambda rng: halves(main, rng), "human"),
        "Kang -> pbmc68k, 5 types": (lambda rng: pair(coarse, blood, rng), "human"),
        "pbmc68k -> Kang, 5 types": (lambda rng: pair(blood, coarse, rng), "human"),
        "CEL-seq2 -> Drop-seq, 300 genes each": (lambda rng: pair(cel, drop, rng, 300), "human"),
        "Drop-seq -> CEL-seq2, 300 genes each": (lambda rng: pair(drop, cel, rng, 300), "human"),
        "Motor cortex, mouse, 4 families": (lambda rng: halves(cortex, rng), "mouse"),
    }


def gene_vectors(names: list[str], organism: str, text: str, folder: Path) -> lx.GeneEmbedding:
    if text == "bundled":
        return lx.emb.genes(names, organism=organism)
    return summary_genes(names, folder)


def score(one: anndata.AnnData, other: anndata.AnnData, genes: lx.GeneEmbedding, **options: object) -> dict[str, float]:
    counts = lx.Expression(library_size="n_counts")
    lx.tl.transfer(one, other, label="label", truth="label", genes=genes, expression=counts, **options)
    found = other.uns["lexicell"]["text_transfer"]
    report, table = found["report"], found["table"].iloc[0]
    return {
        "balanced_accuracy": report["recall"].mean(), "where_sure": report["recall_where_sure"].mean(),
        "unsure": np.average(report["unsure"], weights=report["cells"]), "strength": table["strength"],
        "p": table["p"], "shared_genes": table["shared_genes"], "classes": len(report), **confidence(other),
    }  # fmt: skip


def confidence(adata: anndata.AnnData) -> dict[str, float]:
    """Mean confidence beside the share of right labels, over all cells and over those with at least .9."""
    sure = adata.obs["text_transfer_confidence"].to_numpy()
    right = adata.obs["text_transfer_best"].astype(str).to_numpy() == adata.obs["label"].astype(str).to_numpy()
    most = sure >= 0.9
    return {
        "confidence": sure.mean(), "right": right.mean(), "share_above_.9": most.mean(),
        "right_above_.9": right[most].mean() if most.any() else np.nan,
    }  # fmt: skip


def evaluate(folder: Path, *, fresh: bool) -> pd.DataFrame:
    target = HERE / "scores.csv"
    done = pd.DataFrame() if fresh or not target.exists() else pd.read_csv(target)
    for text in ("bundled", "RefSeq summary"):
        for name, (draw_pair, organism) in studies(folder).items():
            # Texts are embedded once a data set of Kang's five types: some 1,200 of them.
            if text != "bundled" and "5 types" not in name.partition("control")[2]:
                continue
            for seed in SEEDS:
                if len(done) and ((done["data"] == name) & (done["seed"] == seed) & (done["text"] == text)).any():
                    continue
                one, other = draw_pair(np.random.default_rng(seed))
                names = sorted({*one.var_names, *other.var_names})
                genes = gene_vectors(names, organism, text, folder)
                rows = [{"method": m, "control": "none", **score(one, other, genes, **o)} for m, o in METHODS.items()]
                for control, make in CONTROLS.items():
                    known = make(genes, seed=seed)
                    rows.append({"method": "aligned", "control": control, **score(one, other, known)})
                block = pd.DataFrame(rows).assign(data=name, text=text, seed=seed)
                done = pd.concat([done, block], ignore_index=True)
                done.round(4).to_csv(target, index=False)
                print(name, text, seed, round(rows[0]["balanced_accuracy"], 3), flush=True)
    return done


def draw(table: pd.DataFrame) -> None:
    plt = pyplot()

    part = table[table["text"] == "bundled"]
    kinds = {
        ("aligned", "none"): ("#0072B2", "o", "aligned"),
        ("aligned, texts alone", "none"): ("#56B4E9", "o", "texts alone"),
        ("text space", "none"): ("#E69F00", "s", "text space"),
        ("aligned", "shuffled"): ("0.55", "x", "aligned, shuffled texts"),
        ("aligned", "random"): ("0.55", "+", "aligned, random vectors"),
    }  # fmt: skip
    names = list(dict.fromkeys(part["data"]))[::-1]
    figure, ax = plt.subplots(figsize=(7.6, 0.5 * len(names) + 1.3), layout="constrained")
    for k, (key, (color, marker, label)) in enumerate(kinds.items()):
        rows = part[(part["method"] == key[0]) & (part["control"] == key[1])].set_index("data").reindex(names)
        at = np.arange(len(names)) + 0.12 * (2 - k)
        ax.errorbar(rows["mean"], at, xerr=rows["sd"], fmt=marker, color=color, label=label, ms=5, lw=1)
    chance = 1 / part.drop_duplicates("data").set_index("data")["classes"].reindex(names)
    ax.plot(chance, np.arange(len(names)), "|", color="black", ms=14, label="chance")
    ax.set(
        yticks=np.arange(len(names)), yticklabels=names, xlim=(0, 1), xlabel="balanced accuracy, mean and sd over seeds"
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(HERE / "transfer.png", dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = evaluate(options.data, fresh=options.fresh)
        groups = scores.groupby(["data", "text", "method", "control"], sort=False)
        table = groups["balanced_accuracy"].agg(["mean", "std", "min", "max"]).rename(columns={"std": "sd"})
        table["p_below_.05"] = groups["p"].agg(lambda p: (p < 0.05).mean())
        more = ["strength", "classes", "confidence", "right", "share_above_.9", "right_above_.9"]
        table[more] = groups[more].mean()
        table = table.reset_index()
        table.round(3).to_csv(HERE / "table.csv", index=False)
        draw(table)


if __name__ == "__main__":
    main()
