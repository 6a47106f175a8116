"""Score pseudotime of human skeletal muscle myoblasts against the measured hours.

    python evaluation/trajectory/hsmm.py --data FOLDER -o evaluation/trajectory/results

FOLDER holds hsmm.h5ad and gene_summaries_human.tsv.gz. Eight draws of 80 % of the cells, the same for all; root: the
medoid of hour 0. Five seeds of each control. Results already in the files are not computed again.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _representations import representations, subsets, texts_for
from _shared import pyplot, read_cells

import lexicell as lx
from lexicell.core.trajectory.order import match_scale
from lexicell.core.trajectory.scores import pseudotime_score


def load(folder: Path) -> anndata.AnnData:
    """Genes of at least 1 FPKM in 3 % of the cells; hours as a label too."""
    adata = read_cells(folder / "hsmm.h5ad")
    expressed = np.asarray((adata.X >= 1).mean(axis=0)).ravel() >= 0.03
    adata = adata[:, expressed].copy()
    adata.obs["stage"] = adata.obs["Hours"].astype(str)
    return adata


def score(adata: anndata.AnnData, key: str, rows: np.ndarray) -> tuple[float, float]:
    """Spearman and Kendall with hours of one draw."""
    sub = anndata.AnnData(obs=adata.obs.iloc[rows][["stage", "Hours"]].copy(), obsm={"X_now": adata.obsm[key][rows]})
    lx.tl.trajectory(sub, root="stage=0", use_rep="X_now", groupby="stage", n_bootstraps=0)
    return pseudotime_score(sub.obs["now_pseudotime"], sub.obs["Hours"])


def coverage(adata: anndata.AnnData, key: str, draws: list[np.ndarray]) -> dict[str, float]:
    """Share of the values of other draws that the interval of all cells holds, and its width."""
    whole = anndata.AnnData(obs=adata.obs[["stage"]].copy(), obsm={"X_now": adata.obsm[key]})
    lx.tl.trajectory(whole, root="stage=0", use_rep="X_now", groupby="stage", n_bootstraps=50, rng=1)
    time, low, high = (whole.obs[f"now_pseudotime{s}"].to_numpy() for s in ("", "_low", "_high"))
    inside = []
    for rows in draws:
        sub = anndata.AnnData(obs=whole.obs.iloc[rows][["stage"]].copy(), obsm={"X_now": adata.obsm[key][rows]})
        lx.tl.trajectory(sub, root="stage=0", use_rep="X_now", groupby="stage", n_bootstraps=0)
        again = match_scale(sub.obs["now_pseudotime"].to_numpy(), time[rows])
        known = np.isfinite(again) & np.isfinite(low[rows])
        inside.append(((again >= low[rows]) & (again <= high[rows]))[known].mean())
    roots = whole.uns["lexicell"]["X_now"]["trajectory"]["roots"]["spearman"]
    return {
        "coverage": float(np.mean(inside)),
        "lowest_draw": float(np.min(inside)),
        "width": float(np.nanmean(high - low)),
        "other_root_median": float(roots.median()),
        "other_root_10%": float(roots.quantile(0.1)),
    }


def figure(table: pd.DataFrame, path: Path) -> None:
    plt = pyplot()

    # Random vectors are the same whatever the text.
    table = table[(table["vectors"] != "random") | (table["texts"] == table["texts"].unique()[1])]
    table = table.assign(
        label=table["method"] + " " + table["vectors"].replace("none", "") + " " + table["texts"].replace("none", "")
    )
    order = table.groupby("label")["spearman"].mean().sort_values().index
    fig, ax = plt.subplots(figsize=(7, 0.32 * len(order) + 1))
    colors = {"none": "black", "text": "C0", "random": "C7", "shuffled": "C1"}
    for i, label in enumerate(order):
        part = table[table["label"] == label]
        color = colors[part["vectors"].iloc[0]]
        ax.plot(part["spearman"], [i] * len(part), "o", color=color, alpha=0.35, ms=4, mec="none")
        ax.plot(part["spearman"].mean(), i, "|", color=color, ms=14, mew=2)
    ax.set_yticks(range(len(order)), [str(o).strip() for o in order])
    ax.axvline(0.48, color="0.8", zorder=0)
    ax.set_xlabel("Spearman of pseudotime with hours\n(a dot: a draw of cells; a bar: their mean)")
    fig.tight_layout()
    fig.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="the graph falls into")
    adata = load(args.data)
    texts = texts_for(adata, args.data)
    args.output.mkdir(parents=True, exist_ok=True)
    draws = subsets(adata.n_obs)
    # Results already in the files are not computed again.
    main_file, interval_file = args.output / "hsmm.csv", args.output / "hsmm_intervals.csv"
    rows = pd.read_csv(main_file, keep_default_na=False).to_dict("records") if main_file.exists() else []
    covered = pd.read_csv(interval_file, keep_default_na=False).to_dict("records") if interval_file.exists() else []
    done = {(r["method"], r["vectors"], r["texts"], int(r["seed"])) for r in rows}
    for method, vectors, name, seed, key in representations(adata, texts):
        same = {"method": method, "vectors": vectors, "texts": name, "seed": seed}
        if tuple(same.values()) not in done:
            for d, draw in enumerate(draws):
                spearman, kendall = score(adata, key, draw)
                rows.append({**same, "draw": d, "spearman": round(spearman, 4), "kendall": round(kendall, 4)})
            print(*same.values(), round(np.mean([r["spearman"] for r in rows[-len(draws) :]]), 3), flush=True)
            pd.DataFrame(rows).to_csv(main_file, index=False)
        wanted = (method == "fused" and vectors == "text") or method == "PCA 1000 HVG"
        if wanted and not any(c["method"] == method and c["texts"] == name for c in covered):
            covered.append({"method": method, "texts": name, **coverage(adata, key, draws)})
            pd.DataFrame(covered).to_csv(interval_file, index=False, float_format="%.4f")
    figure(pd.read_csv(args.output / "hsmm.csv", keep_default_na=False), args.output / "hsmm.png")


if __name__ == "__main__":
    main()
