"""Cell types suggested from descriptions alone, with one command, beside shuffled texts.

    python evaluation/transfer/annotate.py DATA_FOLDER

writes annotate.csv beside this script. The form of the score was chosen on Kang's stimulated cells and pbmc68k (marked
so); the control cells confirm. So was what follows it, `refine`, among some forty ways (annotate_tries.csv). The
descriptions are the shipped ones, written before any of this was run.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from run import COARSE, MAIN, labelled, read

import lexicell as lx
from lexicell.core.controls import shuffled

HERE = Path(__file__).parent
FIVE = {
    "monocyte": "monocyte", "DC": "dendritic cell", "NK": "natural killer cell", "B": "B cell", "T": "T cell",
}  # fmt: skip
SEVEN = {
    "CD14 Mono": "classical monocyte", "CD16 Mono": "non-classical monocyte", "B": "B cell", "DC": "dendritic cell",
    "NK": "natural killer cell", "CD8 T": "cytotoxic T cell", "CD4 T": "helper T cell",
}  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    blood = lx.datasets.pbmc68k_counts()
    kang = [("kang_pbmc.h5ad", "cell_type", ("condition", c)) for c in ("ctrl", "stim")]
    studies = [
        ("Kang control, 7 types", "confirmed", read(folder, *kang[0], MAIN), SEVEN),
        ("Kang control, 5 types", "confirmed", read(folder, *kang[0], COARSE), FIVE),
        ("Kang stimulated, 7 types", "chosen on", read(folder, *kang[1], MAIN), SEVEN),
        ("pbmc68k, 5 types", "chosen on", labelled(blood, blood.obs["cell_type"].astype(str), COARSE), FIVE),
    ]
    rows = []
    for name, role, adata, names in studies:
        real = adata.obs["label"].map(names).astype(str).to_numpy()
        genes = lx.emb.genes(adata, organism="human")
        for control in ("none", "not refined", *(f"shuffled {seed}" for seed in range(5))):
            known = shuffled(genes, seed=int(control.split()[1])) if "shuffled" in control else genes
            refine = control != "not refined"
            lx.tl.annotate(adata, list(names.values()), genes=known, library_size="n_counts", refine=refine)
            best = adata.obs["text_suggested_best"].astype(str).to_numpy()
            sure = (adata.obs["text_suggested"] != "unsure").to_numpy()
            recalls = {kind: (best[real == kind] == kind).mean() for kind in names.values()}
            rows.append({
                "data": name, "role": role, "control": control, "balanced_accuracy": np.mean(list(recalls.values())),
                "unsure": 1 - sure.mean(), "accuracy_where_sure": (best == real)[sure].mean(),
                "recalls": "; ".join(f"{k} {v:.2f}" for k, v in recalls.items()),
            })  # fmt: skip
            print(name, control, round(rows[-1]["balanced_accuracy"], 3), flush=True)
    pd.DataFrame(rows).round(4).to_csv(HERE / "annotate.csv", index=False)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
