"""Each of three data sets labelled by the other two, with one command, to see whether a second source helps.

    python evaluation/transfer/leave_one_out.py DATA_FOLDER

writes leave_one_out.csv beside this script (finished blocks are kept). Kang's control and stimulated cells are of one
study and the same donors; pbmc68k is another. Five types that all have, 200 cells a data set and draw. "all": genes as
they are. "none": every gene goes to one of three panels, so that no two data sets share one. Nothing was chosen here.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _draws import Row, moved, recall, run, some
from run import COARSE, labelled, read

import lexicell as lx
from lexicell.core.controls import shuffled


def data_sets(folder: Path) -> dict[str, Any]:
    blood = lx.datasets.pbmc68k_counts()
    kang = {c: read(folder, "kang_pbmc.h5ad", "cell_type", ("condition", c), COARSE) for c in ("ctrl", "stim")}
    return {
        "Kang control": kang["ctrl"], "Kang stimulated": kang["stim"],
        "pbmc68k": labelled(blood, blood.obs["cell_type"].astype(str), COARSE),
    }  # fmt: skip


def main() -> None:
    every = data_sets(Path(sys.argv[1]))
    genes = lx.emb.genes(sorted(set().union(*(a.var_names for a in every.values()))), organism="human")

    def rows_of(shared: str, seed: int) -> list[Row]:
        rng = np.random.default_rng(seed)
        drawn = {name: some(a, rng, 200) for name, a in every.items()}
        if shared == "none":
            panel = dict(zip(genes.ids, rng.integers(3, size=len(genes.ids)), strict=True))
            drawn = {
                name: a[:, [panel.get(g) == i for g in a.var_names]].copy() for i, (name, a) in enumerate(drawn.items())
            }
        rows = []
        for method in ("expression", "aligned") if shared == "all" else ("aligned",):
            controls = {"none": genes}
            if method == "aligned":
                controls["shuffled"] = shuffled(genes, seed=seed)
            for control, known in controls.items():
                options = {"genes": known, "method": method, "n_controls": 0, "library_size": "n_counts"}
                table = lx.tl.transfer_across(drawn, label="label", **options).drop_duplicates("held_out")
                both = dict(zip(table["held_out"], table["balanced_accuracy"], strict=True))
                rows += [
                    {"method": method, "control": control, "held_out": name, "sources": "both others", "score": score}
                    for name, score in both.items()
                ]
                if control == "none":
                    rows += [
                        {"method": method, "control": control, "held_out": name, "sources": other,
                         "score": recall(moved(drawn[other], drawn[name], known, method=method))}
                        for name in drawn for other in drawn if other != name
                    ]  # fmt: skip
        return rows

    table = run("leave_one_out", [(s, k) for k in range(2) for s in ("all", "none")], ["shared", "seed"], rows_of)
    groups = table.groupby(["shared", "method", "control", "held_out", "sources"], sort=False)["score"]
    print(groups.agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
