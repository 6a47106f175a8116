"""How many genes two panels must share before plain expression does better than text.

    python evaluation/transfer/overlap.py DATA_FOLDER

writes overlap.csv (one row per run; finished blocks are kept), overlap_table.csv and overlap.png. Panels
of 500 and of 1,500 genes of which 0 to all are shared; the two sides have no cell in common, 200 cells each.
"expression": components of the shared genes, fitted on the source. "aligned": components of each side's own genes, the
shared ones among them, turned by text. The threshold of method="auto" was chosen on Kang's stimulated cells (and is
marked so); the other data sets confirm.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from _draws import HERE, Row, in_two, moved, recall, run, some
from run import COARSE, MAIN, kang, mixology, pbmc68k, pyplot

import lexicell as lx
from lexicell.core.controls import shuffled

PANELS = {500: (0, 50, 200, 350, 500), 1500: (0, 50, 200, 1000, 1500)}
ROLES = {"Kang stimulated, 7 types": "chosen on"}


def main() -> None:
    folder = Path(sys.argv[1])
    pairs = {
        "Kang stimulated, 7 types": (kang(folder, "stim", MAIN), None),
        "Kang control, 7 types": (kang(folder, "ctrl", MAIN), None),
        "Kang -> pbmc68k, 5 types": (kang(folder, "ctrl", COARSE), pbmc68k()),
        "CEL-seq2 -> Drop-seq, 3 lines": tuple(mixology(folder).values()),
    }
    every = sorted(set().union(*(a.var_names for pair in pairs.values() for a in pair if a is not None)))
    genes = lx.emb.genes(every, organism="human")
    known = set(genes.ids)

    def panels(one: anndata.AnnData, other: anndata.AnnData, size: int, n: int, rng: np.random.Generator):
        both = rng.permutation(sorted(known & set(one.var_names) & set(other.var_names)))
        left, right = both[:n], both[:n]
        rest = both[n:]
        a, b = rest[: size - n], rest[size - n : 2 * (size - n)]
        return one[:, [*left, *a]].copy(), other[:, [*right, *b]].copy()

    def rows_of(name: str, size: int, seed: int) -> list[Row]:
        rng = np.random.default_rng(seed)
        one, other = pairs[name]
        one, other = in_two(one, rng, 200) if other is None else (some(one, rng, 200), some(other, rng, 200))
        rows = []
        for n in PANELS[size]:
            if len(set(one.var_names) & set(other.var_names) & known) < 2 * size - n:
                continue
            a, b = panels(one, other, size, n, rng)
            # Without shared genes there is no expression to compare, but there is something to shuffle.
            other_way = ("expression", "none", genes) if n else ("aligned", "shuffled", shuffled(genes, seed=seed))
            for method, control, texts in (("aligned", "none", genes), other_way):
                score = recall(moved(a, b, texts, method=method))
                rows.append({"shared": n, "method": method, "control": control, "score": score})
        return rows

    keys = [(name, size, seed) for seed in range(2) for name in pairs for size in PANELS
            if size == 500 or "pbmc68k" not in name]  # fmt: skip
    table = run("overlap", keys, ["data", "panel", "seed"], rows_of)
    groups = table.groupby(["data", "panel", "shared", "method", "control"], sort=False)["score"]
    means = groups.agg(["mean", "std"]).reset_index().assign(role=lambda t: t["data"].map(ROLES).fillna("confirmed"))
    means.round(3).to_csv(HERE / "overlap_table.csv", index=False)
    draw(means)
    wide = means.pivot_table(
        index=["data", "panel", "shared"], columns=["method", "control"], values="mean", sort=False
    )
    print(wide.round(2).to_string())


def draw(means: pd.DataFrame) -> None:
    plt = pyplot()

    names = list(dict.fromkeys(means["data"]))
    figure, axes = plt.subplots(1, len(names), figsize=(3.1 * len(names), 3.2), sharey=True, layout="constrained")
    kinds = {
        ("expression", "none"): ("#D55E00", "shared genes, expression"),
        ("aligned", "none"): ("#0072B2", "aligned by text"),
        ("aligned", "shuffled"): ("0.6", "aligned, shuffled texts"),
    }  # fmt: skip
    for ax, name in zip(axes, names, strict=True):
        for size, style in ((500, "-"), (1500, "--")):
            for (method, control), (color, label) in kinds.items():
                key = (name, size, method, control)
                rows = means[(means[["data", "panel", "method", "control"]] == key).all(axis=1)]
                ax.errorbar(rows["shared"] / size, rows["mean"], yerr=rows["std"], fmt=f"o{style}", ms=3, lw=1.2,
                            color=color, label=f"{label}, {size} genes")  # fmt: skip
        role = means.loc[means["data"] == name, "role"].iloc[0]
        ax.set(title=f"{name}\n({role})", xlabel="shared part of the panel", xlim=(-0.04, 1.04), ylim=(0, 1.02))
        ax.title.set_fontsize("small")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("balanced accuracy")
    axes[-1].legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(HERE / "overlap.png", dpi=150)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
