"""Cell types suggested by name: with the right candidates, with absent ones, with all of the tissue, and shuffled.

    python evaluation/transfer/annotate.py DATA_FOLDER

writes annotate.csv. Kang's stimulated cells and pbmc68k were looked at while the method was made, and the control cells
too, so that none of them confirms; the genes of a name come from the lexicon, which was written without these cells.
`kin` counts a type above or below the true one in the lexicon as right.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from run import COARSE, HERE, MAIN, kang, pbmc68k

import lexicell as lx
from lexicell.core.controls import shuffled
from lexicell.core.genes.retrieval import Entry
from lexicell.core.genes.word_selection import organ_of
from lexicell.sources.annotation import load_lexicon

FIVE = {
    "monocyte": "monocyte", "DC": "dendritic cell", "NK": "natural killer cell", "B": "B cell", "T": "T cell",
}  # fmt: skip
SEVEN = {
    "CD14 Mono": "classical monocyte", "CD16 Mono": "non-classical monocyte", "B": "B cell", "DC": "dendritic cell",
    "NK": "natural killer cell", "CD8 T": "cytotoxic T cell", "CD4 T": "helper T cell",
}  # fmt: skip

ABSENT = ["hepatocyte", "astrocyte", "cardiomyocyte", "pancreatic beta cell", "keratinocyte"]


def main() -> None:
    folder = Path(sys.argv[1])
    studies = [
        ("Kang control, 7 types", "seen", kang(folder, "ctrl", MAIN), SEVEN),
        ("Kang control, 5 types", "seen", kang(folder, "ctrl", COARSE), FIVE),
        ("Kang stimulated, 7 types", "seen", kang(folder, "stim", MAIN), SEVEN),
        ("pbmc68k, 5 types", "seen", pbmc68k(), FIVE),
    ]
    entries = {e.name: e for e in load_lexicon().entries if e.category == "cell type"}
    blood = [name for name, e in entries.items() if "blood" in {organ_of(t) for t in e.tissues}]
    rows = []
    for name, role, adata, names in studies:
        real = adata.obs["label"].map(names).astype(str).to_numpy()
        right = list(names.values())
        genes = lx.emb.genes(adata, organism="human")
        runs = {
            "right": right,
            "right and five absent": right + ABSENT,
            "all of blood": sorted({*blood, *right}),
            "only absent": ABSENT,
        } | {f"shuffled {seed}": right for seed in range(5)}
        for candidates, types in runs.items():
            known = shuffled(genes, seed=int(candidates.split()[1])) if "shuffled" in candidates else genes
            lx.tl.annotate(adata, types, genes=known, expression=lx.Expression(library_size="n_counts"))
            best = adata.obs["text_suggested_best"].astype(str).to_numpy()
            said = adata.obs["text_suggested"].astype(str).to_numpy()
            decided = ~np.isin(said, ["unsure", "none of these"])
            kin = np.asarray(
                [b in above(k, entries) or k in above(b, entries) for b, k in zip(best, real, strict=True)]
            )
            recalls = {kind: (best[real == kind] == kind).mean() for kind in right}
            rows.append(
                {
                    "data": name,
                    "role": role,
                    "candidates": candidates,
                    "number": len(types),
                    "found": int(adata.uns["lexicell"]["text_suggested"]["types"]["found"].sum()),
                    "balanced_accuracy": np.mean(list(recalls.values())),
                    "kin": np.mean([kin[real == kind].mean() for kind in right]),
                    "unsure": (said == "unsure").mean(),
                    "none": (said == "none of these").mean(),
                    "accuracy_where_decided": (best == real)[decided].mean() if decided.any() else np.nan,
                    "recalls": "; ".join(f"{k} {v:.2f}" for k, v in recalls.items()),
                }
            )
            print(name, candidates, round(rows[-1]["balanced_accuracy"], 3), flush=True)
    pd.DataFrame(rows).round(4).to_csv(HERE / "annotate.csv", index=False)


def above(name: str, entries: dict[str, Entry]) -> set[str]:
    """A type and all above it."""
    if name not in entries:
        return {name}
    return {name}.union(*(above(parent, entries) for parent in entries[name].parents))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
