"""Accuracy against the fraction of cells that get a label.

    python evaluation/transfer/abstention.py DATA_FOLDER

writes abstention.csv (finished blocks are kept), abstention_table.csv and abstention.png beside this script. Cells of
the target are kept from the most to the least confident. "area" is the mean accuracy over all shares kept, "by chance"
what the same labels give when confidence is permuted (their plain accuracy). No side shares a gene or a cell with the
other; 250 cells per side. Nothing was chosen here.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from _contrastive import fit_contrastive
from _draws import HERE, Row, moved, run, some
from run import COARSE, MAIN, halves, kang, pair, pbmc68k, pyplot, without_a_type

import lexicell as lx
from lexicell.core.controls import shuffled
from lexicell.core.transfer.classify import fit_logistic, unit_rows

KEPT = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


def main() -> None:
    folder = Path(sys.argv[1])
    main_types, coarse = kang(folder, "ctrl", MAIN), kang(folder, "ctrl", COARSE)
    blood = pbmc68k()

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
        for control, known in (("none", genes), ("shuffled", shuffled(genes, seed=seed))):
            new = moved(one, other, known, method="aligned")
            for classifier in ("knn", "logistic", "contrastive"):
                best, confidence = classified(new, classifier, seed)
                real = new.obs["label"].astype(str).to_numpy()
                right = best == real
                order = np.argsort(-confidence, kind="stable")
                rising = right[order].cumsum() / np.arange(1, len(right) + 1)
                unsure = confidence < 0.5
                rows += [
                    {"classifier": classifier, "control": control, "kept": share,
                     "accuracy": rising[max(int(share * len(right)), 1) - 1], "area": rising.mean(),
                     "by_chance": right.mean(), "balanced_accuracy": pd.Series(right).groupby(real).mean().mean(),
                     "unsure_by_default": unsure.mean(),
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


def classified(new: anndata.AnnData, classifier: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Best class and confidence of each cell, by the votes of tl.transfer or by a classifier on the common axes."""
    if classifier == "knn":
        return new.obs["text_transfer_best"].astype(str).to_numpy(), new.obs["text_transfer_confidence"].to_numpy()
    labeled = new.uns["lexicell"]["text_transfer"]["source"]
    source, target = unit_rows(labeled["cells"].astype(float)), unit_rows(new.obsm["X_text_transfer"].astype(float))
    names = labeled["labels"].astype(str)
    if classifier == "logistic":
        model = fit_logistic(source, names, standardize=False)
    else:
        model = fit_contrastive(source, names, standardize=False, rng=seed)
    probability = model.probabilities(target)
    return np.asarray(sorted(set(names)))[probability.argmax(axis=1)], probability.max(axis=1)


def draw(table: pd.DataFrame, names: list[str]) -> None:
    plt = pyplot()

    figure, axes = plt.subplots(1, len(names), figsize=(3.3 * len(names), 3.2), sharey=True, layout="constrained")
    colors = {"knn": "#0072B2", "logistic": "#E69F00", "contrastive": "#009E73"}
    for ax, name in zip(axes, names, strict=True):
        for classifier, color in colors.items():
            for control, style in (("none", "-"), ("shuffled", ":")):
                part = table.query("data == @name and classifier == @classifier and control == @control")
                line = part.groupby("kept")["accuracy"].mean()
                label = classifier + (", shuffled texts" if control != "none" else "")
                ax.plot(line.index, line.to_numpy(), style, color=color, label=label, lw=1.4)
        ax.set(title=name, xlabel="share of cells labeled", xlim=(0.15, 1.02), ylim=(0, 1.02))
        ax.title.set_fontsize("small")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy among them")
    axes[-1].legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(HERE / "abstention.png", dpi=150)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
