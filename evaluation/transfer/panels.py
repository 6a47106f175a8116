"""Labels between real panels without a common gene, and between species without a common ortholog.

    python evaluation/transfer/panels.py DATA_FOLDER

writes panels.csv (one row per run; finished blocks are kept) and panels_table.csv.

- merfish_poa and osmfish: mouse cells of two studies, brain regions and methods; the four genes that both have are
  removed, and nine broad classes follow from the words in the names of the cell types.
- "midbrain": human and mouse cells of the embryonic midbrain. Published are medians per cell type, so cells are drawn
  from them: 40 of each type, 2,500 molecules (log-normal, sd .35) spread by a gamma-Poisson law with dispersion 1/3.
  Every pair of orthologs goes to one side only. Five broad types, or the fifteen that have one name in both species.
- "human midbrain -> merfish_poa": such human cells, and real cells of the mouse; no ortholog of its 155 genes is left.
- "human -> cynomolgus": stem cells that become neurons; pluripotent cells and early ectoderm, 150 genes per side.

The types of the midbrain were looked at while the method was chosen (draws 0 and 1), with other draws of the cells.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _draws import HERE, Row, run
from run import labeled, pair, read, score

import lexicell as lx
from lexicell.core.controls import shuffled
from lexicell.sources import bundled

SEEDS = range(1000, 1003)
# Start of a type's name -> class; the first that fits counts.
MERFISH = {
    "Astrocyte": "astrocyte", "OD Mature": "oligodendrocyte", "OD Immature": "precursor", "Microglia": "microglia",
    "Ependymal": "ependymal", "Pericytes": "mural", "Endothelial": "endothelial", "Inhibitory": "inhibitory",
    "Excitatory": "excitatory",
}  # fmt: skip
OSMFISH = {
    "Astrocyte": "astrocyte", "Oligodendrocyte Precursor": "precursor", "Oligodendrocyte COP": "precursor",
    "Oligodendrocyte": "oligodendrocyte", "Microglia": "microglia", "Ependymal": "ependymal", "Pericytes": "mural",
    "Vascular Smooth": "mural", "Endothelial": "endothelial", "Inhibitory": "inhibitory", "Pyramidal": "excitatory",
    "pyramidal": "excitatory", "Hippocampus": "excitatory",
}  # fmt: skip
FIVE = {"Endo": "vascular", "Peric": "vascular", "Mgl": "microglia", "Rgl": "radial glia", "NProg": "neuroblast",
        "Nb": "neuroblast", "DA": "neuron", "RN": "neuron", "Gaba": "neuron", "Sert": "neuron",
        "OMTN": "neuron"}  # fmt: skip
IN_MERFISH = {"Endo": "endothelial", "Peric": "mural", "Mgl": "microglia", "OPC": "precursor"} | {
    start: "neuron" for start, kind in FIVE.items() if kind == "neuron"
}
CALLS = {"aligned": {}, "aligned, texts alone": {"method": "rotated"}, "text space": {"method": "text"}}
Pair = tuple[anndata.AnnData, anndata.AnnData]


def broad(values: pd.Series, names: dict[str, str]) -> pd.Series:
    """Class by the start of a name; missing where none fits."""
    return values.map(lambda value: next((kind for start, kind in names.items() if value.startswith(start)), None))


def panel(folder: Path, file: str, names: dict[str, str]) -> anndata.AnnData:
    """Real cells of a panel, by class."""
    adata = anndata.read_h5ad(folder / file)
    return labeled(adata, broad(adata.obs["celltype"].astype(str), names), None)


def drawn(folder: Path, species: str, names: dict[str, str], rng: np.random.Generator) -> anndata.AnnData:
    """Cells drawn from the medians of the cell types that `names` gives a class, by the name without the species."""
    medians = pd.read_csv(folder / f"lamanno_{species}_medians.tsv.gz", sep="\t", index_col=0)
    medians = medians[~medians.index.duplicated()]
    kinds = broad(pd.Series(medians.columns.str[1:]), names).to_numpy()
    counts, labels = [], []
    for column, kind in zip(medians.columns, kinds, strict=True):
        if kind is None:
            continue
        share = medians[column].to_numpy(dtype=float)
        mean = (2500 * rng.lognormal(0, 0.35, 40))[:, None] * share / share.sum()
        counts.append(rng.poisson(mean * rng.gamma(3, 1 / 3, mean.shape)))
        labels += [kind] * 40
    X = sp.csr_matrix(np.vstack(counts).astype(np.float32))
    cells = anndata.AnnData(X, var=pd.DataFrame(index=medians.index.astype(str)))
    return labeled(cells, pd.Series(labels, index=cells.obs_names), None)


def some_of_each(adata: anndata.AnnData, n: int, rng: np.random.Generator) -> anndata.AnnData:
    """At most `n` cells of each class."""
    labels = adata.obs["label"].to_numpy()
    rows = [rng.permutation(np.flatnonzero(labels == kind))[:n] for kind in sorted(set(labels))]
    return adata[np.sort(np.concatenate(rows))].copy()


def human_names(mouse: list[str]) -> list[str]:
    """Human ortholog of each mouse gene; the name in upper case where the bundled table has none."""
    table, human = bundled.load_table("mouse"), bundled.load_table("human")
    symbol = dict(zip(human.gene_id, human.symbol, strict=True))
    of = {s: symbol.get(g) for s, g in zip(table.symbol, table.human_gene_id, strict=True)}
    return [of.get(name) or name.upper() for name in mouse]


def without_orthologs(human: anndata.AnnData, mouse: anndata.AnnData, rng: np.random.Generator | None) -> Pair:
    """Every pair of orthologs goes to a random side, or all to the mouse."""
    names = human_names(list(mouse.var_names))
    every = sorted({*human.var_names, *names})
    side = np.zeros(len(every)) if rng is None else rng.random(len(every))
    to_human = dict(zip(every, side < 0.5, strict=True)) if rng is not None else dict.fromkeys(names, False)
    keep = np.array([to_human.get(g, True) for g in human.var_names])
    other = np.array([not to_human[g] for g in names])
    return human[:, keep].copy(), mouse[:, other].copy()


def pairs(folder: Path) -> dict[str, tuple[Callable[[np.random.Generator], Pair], str, str]]:
    """Name -> how a pair is drawn, and the organisms of both sides."""
    merfish, osmfish = panel(folder, "merfish_poa.h5ad", MERFISH), panel(folder, "osmfish.h5ad", OSMFISH)
    common = set(merfish.var_names) & set(osmfish.var_names)
    a, b = (p[:, [g not in common for g in p.var_names]].copy() for p in (merfish, osmfish))
    files = [folder / f"lamanno_{species}_medians.tsv.gz" for species in ("human", "mouse")]
    columns = [set(pd.read_csv(file, sep="\t", index_col=0, nrows=1).columns.str[1:]) for file in files]
    same = {name: name for name in sorted(set.intersection(*columns) - {"z"}, key=len, reverse=True)}
    in_brain = merfish[merfish.obs["label"].isin({*IN_MERFISH.values(), "inhibitory", "excitatory"})].copy()
    in_brain.obs["label"] = in_brain.obs["label"].replace({"inhibitory": "neuron", "excitatory": "neuron"})
    stem = {kind: kind for kind in ("Pluripotent_Cells", "Early_Ectoderm")}
    ape = {s: read(folder, "croco.h5ad", "cell_type", ("species", s), stem) for s in ("human", "cynomolgus")}

    def midbrain(rng: np.random.Generator, names: dict[str, str]) -> Pair:
        return without_orthologs(drawn(folder, "human", names, rng), drawn(folder, "mouse", names, rng), rng)

    def to_merfish(rng: np.random.Generator) -> Pair:
        return without_orthologs(drawn(folder, "human", IN_MERFISH, rng), some_of_each(in_brain, 200, rng), None)

    def panels(rng: np.random.Generator) -> Pair:
        return some_of_each(a, 250, rng), some_of_each(b, 250, rng)

    return {
        "merfish_poa -> osmfish, 9 classes": (panels, "mouse", "mouse"),
        "osmfish -> merfish_poa, 9 classes": (lambda rng: panels(rng)[::-1], "mouse", "mouse"),
        "midbrain, human -> mouse, 5 types": (lambda rng: midbrain(rng, FIVE), "human", "mouse"),
        "midbrain, mouse -> human, 5 types": (lambda rng: midbrain(rng, FIVE)[::-1], "mouse", "human"),
        "midbrain, human -> mouse, 15 types": (lambda rng: midbrain(rng, same), "human", "mouse"),
        "human midbrain -> merfish_poa, 5 classes": (to_merfish, "human", "mouse"),
        "human -> cynomolgus, 2 types": (lambda rng: pair(ape["human"], ape["cynomolgus"], rng), "human", "human"),
    }  # fmt: skip


def main() -> None:
    chosen = pairs(Path(sys.argv[1]))

    def rows_of(name: str, seed: int) -> list[Row]:
        draw, *organisms = chosen[name]
        one, other = draw(np.random.default_rng(seed))
        theirs, mine = (
            lx.emb.genes(list(a.var_names), organism=o) for a, o in zip((one, other), organisms, strict=True)
        )
        rows = [{"method": m, "control": "none", **score(one, other, (theirs, mine), **o)} for m, o in CALLS.items()]
        known = (theirs, shuffled(mine, seed=seed))
        rows.append({"method": "aligned", "control": "shuffled", **score(one, other, known)})
        return rows

    scores = run("panels", [(n, s) for n in chosen for s in SEEDS], ["data", "seed"], rows_of)
    groups = scores.groupby(["data", "method", "control"], sort=False)
    table = groups["balanced_accuracy"].agg(["mean", "std", "min", "max"])
    more = ["strength", "classes", "confidence", "right", "share_above_.9", "right_above_.9"]
    table[more] = groups[more].mean()
    table["p_below_.05"] = groups["p"].agg(lambda p: (p < 0.05).mean())
    table.round(3).reset_index().to_csv(HERE / "panels_table.csv", index=False)
    print(table.round(3).to_string())


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
