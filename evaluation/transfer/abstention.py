"""Accuracy against the share of cells that get a label, with one command.

    python evaluation/transfer/abstention.py DATA_FOLDER

writes abstention.csv (finished blocks are kept), abstention_table.csv and abstention.png beside this script. Cells of
the target are kept from the most to the least confident. "area" is the mean accuracy over all shares kept, "by chance"
what the same labels give when confidence is permuted (their plain accuracy). No side shares a gene or a cell with the
other; 250 cells a side. Nothing was chosen here.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from _draws import HERE, Row, moved, recall, run, some
from run import COARSE, MAIN, halves, labelled, pair, read, without_a_type

import lexicell as lx
from lexicell.core.controls import shuffled

KEPT = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


def main() -> None:
    folder = Path(sys.argv[1])
    main_types = read(folder, "kang_pbmc.h5ad", "cell_type", ("condition", "ctrl"), MAIN)
    coarse = read(folder, "kang_pbmc.h5ad", "cell_type", ("condition", "ctrl"), COARSE)
    blood = lx.datasets.pbmc68k_counts()
    blood = labelled(blood, blood.obs["cell_type"].astype(str), COARSE)

    def lacking(rng):
        other, one = without_a_type(main_types, rng)  # the source lacks the type
        return one, other

    studies = {
        "Kang control, 7 types": lambda rng: halves(main_types, rng),
        "Kang -> pbmc68k, 5 types": lambda rng: pair(coarse, blood, rng),
        "Kang control, a type unknown to the source": lacking,
    }
    genes = lx.emb.genes(sorted({*main_types.var_names, *blood.var_names}), organism="human")

    def rows_of(name: str, seed: int) -> list[Row]:
        rng = np.random.default_rng(seed)
        one, other = (some(a, rng, 250) for a in studies[name](rng))
        rows = []
        for classifier in ("knn", "logistic", "contrastive"):
            for control, known in (("none", genes), ("shuffled", shuffled(genes, seed=seed))):
                new = moved(one, other, known, method="aligned", classifier=classifier, rng=seed)
                right = (new.obs["text_transfer_best"].astype(str) == new.obs["label"].astype(str)).to_numpy()
                order = np.argsort(-new.obs["text_transfer_confidence"].to_numpy(), kind="stable")
                rising = right[order].cumsum() / np.arange(1, len(right) + 1)
                unsure = (new.obs["text_transfer"] == "unsure").to_numpy()
                rows += [
                    {"classifier": classifier, "control": control, "kept": share,
                     "accuracy": rising[max(int(share * len(right)), 1) - 1], "area": rising.mean(),
                     "by_chance": right.mean(), "balanced_accuracy": recall(new), "unsure_by_default": unsure.mean(),
                     "accuracy_where_sure": right[~unsure].mean() if (~unsure).any() else np.nan}
                    for share in KEPT
                ]  # fmt: skip
        return rows

    table = run("abstention", [(n, s) for s in range(2) for n in studies], ["data", "seed"], rows_of)
    groups = table.groupby(["data", "classifier", "control"], sort=False)
    numbers = ["balanced_accuracy", "by_chance", "area", "unsure_by_default", "accuracy_where_sure"]
    means = groups[numbers].mean().reset_index()
    means.round(3).to_csv(HERE / "abstention_table.csv", index=False)
    print(means.round(3).to_string())
    draw(table, list(studies))


def draw(table: pd.DataFrame, names: list[str]) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(names), figsize=(3.3 * len(names), 3.2), sharey=True, layout="constrained")
    colors = {"knn": "#0072B2", "logistic": "#E69F00", "contrastive": "#009E73"}
    for ax, name in zip(axes, names, strict=True):
        for classifier, color in colors.items():
            for control, style in (("none", "-"), ("shuffled", ":")):
                part = table.query("data == @name and classifier == @classifier and control == @control")
                line = part.groupby("kept")["accuracy"].mean()
                label = classifier + (", shuffled texts" if control != "none" else "")
                ax.plot(line.index, line.to_numpy(), style, color=color, label=label, lw=1.4)
        ax.set(title=name, xlabel="share of cells labelled", xlim=(0.15, 1.02), ylim=(0, 1.02))
        ax.title.set_fontsize("small")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy among them")
    axes[-1].legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(HERE / "abstention.png", dpi=150)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
