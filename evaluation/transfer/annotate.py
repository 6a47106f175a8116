"""Cell types suggested by name: with the right candidates, with absent ones, with all of the tissue, and shuffled.

    LEXICELL_TEST_DATA=DATA_FOLDER python evaluation/transfer/annotate.py

writes annotate.csv (one row per run) and annotate_calibration.csv. The sets, the word that each label means, and the
halves are those of the words benchmark (evaluation/concepts/_types.py): the sharpness of the probabilities was chosen
on one half. At most 1,500 cells per set; cells of the midbrain are drawn from medians as in panels.py. The genes of a
name come from the lexicon, which was written without these cells, but the sets had been looked at by then.

`exact`: the best type is the one that the label means; `in_line`: or one above or below it in the lexicon. Both are
means over types; `confidence` and `right` are means over the cells that are not "none of these", right meaning in line.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from panels import drawn

sys.path.insert(0, str(Path(__file__).parents[1] / "concepts"))
from _types import DATA, SETS, _word

import lexicell as lx
from lexicell.core.controls import shuffled
from lexicell.core.genes.retrieval import Entry
from lexicell.core.genes.word_selection import organ_of
from lexicell.sources.annotation import load_lexicon

HERE = Path(__file__).parent
ABSENT = {
    "blood": ["hepatocyte", "astrocyte", "cardiomyocyte", "pancreatic beta cell", "keratinocyte"],
    "brain": ["hepatocyte", "T cell", "cardiomyocyte", "pancreatic beta cell", "keratinocyte"],
}
BINS = (0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


def cells(name: str) -> anndata.AnnData:
    """Labeled cells of a set with the word of each in ``obs["word"]``."""
    file, column, organism, words, _, _ = SETS[name]
    rng = np.random.default_rng(0)
    if not column:
        longest_first = {start: start for start in sorted(words, key=len, reverse=True)}
        adata = drawn(DATA, organism, longest_first, rng)
        labels = [words[start] for start in adata.obs["label"]]
    else:
        adata = lx.datasets.pbmc68k_counts() if file is None else anndata.read_h5ad(DATA / f"{file}.h5ad")
        adata.var_names_make_unique()
        if name == "kang":
            adata = adata[adata.obs["condition"].astype(str) == "ctrl"].copy()
        if "counts" in adata.layers:
            adata.X = adata.layers["counts"]
        if "n_counts" not in adata.obs:
            adata.obs["n_counts"] = np.asarray(adata.X.sum(axis=1)).ravel()
        labels = [_word(str(value), words) for value in adata.obs[column]]
    adata.obs["word"] = labels
    known = np.flatnonzero(adata.obs["word"] != "")
    return adata[np.sort(rng.permutation(known)[:1500])].copy()


def main() -> None:
    entries = {e.name: e for e in load_lexicon().entries if e.category == "cell type"}
    rows, curves = [], []
    for name, (_, _, organism, _, tissue, half) in SETS.items():
        adata = cells(name)
        genes = lx.emb.genes(adata, organism=organism)
        right = [word for word in sorted(set(adata.obs["word"])) if word in entries]
        organ = organ_of(tissue)
        own = [n for n, e in entries.items() if {organ, "vessel"} & {organ_of(t) for t in e.tissues}]
        runs = {"right": right, "right and five absent": right + ABSENT[tissue]}
        runs |= {"all of the tissue": sorted({*own, *right}), "only absent": ABSENT[tissue]}
        runs |= {f"shuffled {seed}": right for seed in range(3)}
        for candidates, types in runs.items():
            known = shuffled(genes, seed=int(candidates.split()[1])) if "shuffled" in candidates else genes
            lx.tl.annotate(adata, types, genes=known, expression=lx.Expression(library_size="n_counts"))
            row, cell = scored(adata, right, entries)
            rows.append({"data": name, "half": half, "candidates": candidates, "number": len(types), **row})
            print(name, candidates, round(row["exact"], 3), round(row["in_line"], 3), flush=True)
            if candidates in ("right", "right and five absent", "all of the tissue"):
                curves.append(cell.assign(half=half))
    pd.DataFrame(rows).round(4).to_csv(HERE / "annotate.csv", index=False)
    every = pd.concat(curves)
    every["bin"] = pd.cut(every["confidence"], BINS, right=False)
    curve = every.groupby(["half", "bin"], observed=True).apply(weighted, include_groups=False)
    whole = every.groupby("half").apply(weighted, include_groups=False).assign(bin="all").set_index("bin", append=True)
    curve.index = curve.index.set_levels(curve.index.levels[1].astype(str), level=1)
    pd.concat([curve, whole]).round(3).to_csv(HERE / "annotate_calibration.csv")
    print(pd.concat([curve, whole]).round(3).to_string())


def scored(
    adata: anndata.AnnData, right: list[str], entries: dict[str, Entry]
) -> tuple[dict[str, float], pd.DataFrame]:
    """Numbers of one run, and the confidence of every cell beside whether it is right; each run weighs the same."""
    real = adata.obs["word"].astype(str).to_numpy()
    best = adata.obs["text_suggested_best"].astype(str).to_numpy()
    said = adata.obs["text_suggested"].astype(str).to_numpy()
    kin = np.asarray([b in above(k, entries) or k in above(b, entries) for b, k in zip(best, real, strict=True)])
    none = said == "none of these"
    cell = pd.DataFrame({"confidence": adata.obs["text_suggested_confidence"].to_numpy(), "right": kin})[~none]
    cell["weight"] = 1 / max(len(cell), 1)
    numbers = {
        "found": float(adata.uns["lexicell"]["text_suggested"]["types"]["found"].sum()),
        "exact": float(np.mean([(best[real == kind] == kind).mean() for kind in right])),
        "in_line": float(np.mean([kin[real == kind].mean() for kind in right])),
        "unsure": float((said == "unsure").mean()),
        "none": float(none.mean()),
        "confidence": float(cell["confidence"].mean()),
        "right": float(cell["right"].mean()),
    }
    return numbers, cell


def weighted(cell: pd.DataFrame) -> pd.Series:
    """Mean confidence and share that is right, and the weight of both."""
    means = {c: np.average(cell[c], weights=cell["weight"]) for c in ("confidence", "right")}
    return pd.Series(means | {"runs": cell["weight"].sum()})


def above(name: str, entries: dict[str, Entry]) -> set[str]:
    """A type and all above it."""
    if name not in entries:
        return {name}
    return {name}.union(*(above(parent, entries) for parent in entries[name].parents))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
