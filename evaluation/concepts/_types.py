"""Labelled sets of the words benchmark: which word each label means, and the change of every gene in every type.

The halves were set before any result: one study never lies on both sides.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lexicell import datasets
from lexicell.sources.annotation import human_ids

DATA = Path(os.environ["LEXICELL_TEST_DATA"])
KANG = {
    "B": "naive B cell", "B Activated": "activated B cell", "CD14 Mono": "classical monocyte",
    "CD16 Mono": "non-classical monocyte", "CD4 Naive T": "naive helper T cell", "CD4 Memory T": "memory helper T cell",
    "CD8 T": "cytotoxic T cell", "T activated": "activated T cell", "NK": "natural killer cell", "DC": "dendritic cell",
    "pDC": "plasmacytoid dendritic cell", "Mk": "platelet", "Eryth": "erythrocyte",
}  # fmt: skip
PBMC = {
    "Dendritic": "dendritic cell", "CD14+ Monocyte": "classical monocyte", "CD19+ B": "B cell",
    "CD4+/CD25 T Reg": "regulatory T cell", "CD8+ Cytotoxic T": "cytotoxic T cell",
    "CD8+/CD45RA+ Naive Cytotoxic": "naive cytotoxic T cell", "CD56+ NK": "natural killer cell",
    "CD4+/CD45RO+ Memory": "memory helper T cell", "CD34+": "hematopoietic progenitor",
    "CD4+/CD45RA+/CD25- Naive T": "naive helper T cell",
}  # fmt: skip
ONEK = {
    "cd4nc": "helper T cell",
    "bmem": "memory B cell",
    "monoc": "classical monocyte",
    "mononc": "non-classical monocyte",
}
M1 = {
    "Sst": "somatostatin interneuron", "Pvalb": "parvalbumin interneuron", "IT": "intratelencephalic neuron",
    "ET": "extratelencephalic neuron",
}  # fmt: skip
MERFISH = {
    "Inhibitory": "GABAergic neuron", "Excitatory": "glutamatergic neuron", "Astrocyte": "astrocyte",
    "Endothelial": "endothelial cell", "OD Mature": "oligodendrocyte", "OD Immature": "oligodendrocyte precursor cell",
    "Ependymal": "ependymal cell", "Microglia": "microglia", "Pericytes": "pericyte",
}  # fmt: skip
OSMFISH = {
    "Inhibitory Vip": "vasoactive intestinal peptide interneuron", "Inhibitory": "GABAergic neuron",
    "Pyramidal": "cortical pyramidal neuron", "pyramidal": "cortical pyramidal neuron",
    "Hippocampus": "hippocampal pyramidal neuron", "Oligodendrocyte Precursor": "oligodendrocyte precursor cell",
    "Oligodendrocyte COP": "committed oligodendrocyte precursor", "Oligodendrocyte": "oligodendrocyte",
    "Astrocyte": "astrocyte", "Endothelial": "endothelial cell", "Ependymal": "ependymal cell", "Pericytes": "pericyte",
    "Perivascular Macrophages": "border-associated macrophage", "Microglia": "microglia",
    "C. Plexus": "choroid plexus epithelial cell", "Vascular Smooth Muscle": "vascular smooth muscle cell",
}  # fmt: skip
MIDBRAIN = {
    "Endo": "endothelial cell", "Peric": "pericyte", "Mgl": "microglia", "OPC": "oligodendrocyte precursor cell",
    "Ependy": "ependymal cell", "Epend": "ependymal cell", "Rgl": "radial glia", "ProgFP": "floor plate cell",
    "Prog": "neural progenitor", "NProg": "neural progenitor", "NbDA": "dopaminergic neuron",
    "NbGaba": "GABAergic neuron", "Nb": "neuroblast", "RN": "red nucleus neuron",
    "DA": "dopaminergic neuron", "Gaba": "GABAergic neuron",
    "Sert": "serotonergic neuron", "OMTN": "oculomotor neuron",
}  # fmt: skip
SETS = {  # file, label column, organism, words of labels, tissue, half
    "kang": ("kang_pbmc", "cell_type", "human", KANG, "blood", "choose"),
    "onek1k": ("onek1k", "cell_type", "human", ONEK, "blood", "choose"),
    "m1": ("m1_patchseq", "RNA_family", "mouse", M1, "brain", "choose"),
    "osmfish": ("osmfish", "celltype", "mouse", OSMFISH, "brain", "choose"),
    "pbmc68k": (None, "cell_type", "human", PBMC, "blood", "confirm"),
    "merfish_poa": ("merfish_poa", "celltype", "mouse", MERFISH, "brain", "confirm"),
    "lamanno human": ("lamanno_human_medians", "", "human", MIDBRAIN, "brain", "confirm"),
    "lamanno mouse": ("lamanno_mouse_medians", "", "mouse", MIDBRAIN, "brain", "confirm"),
}


@dataclass(frozen=True, eq=False)
class Types:
    """One set: types x genes."""

    name: str
    words: list[str]  # the word of each type
    gene_ids: list[str]  # NCBI GeneID of the human gene
    change: np.ndarray  # mean z in the type less that of all other cells
    share: np.ndarray  # share of the type's cells that express the gene
    expression: np.ndarray
    half: str
    tissue: str


def load(name: str) -> Types:
    """Read one set; labels that mean the same word are one type."""
    file, column, organism, words, tissue, half = SETS[name]
    if not column:
        table = pd.read_csv(DATA / f"{file}.tsv.gz", sep="\t", index_col=0)
        table = table[~table.index.duplicated()].iloc[:, 1:] if "Sz" in table.columns else table
        labels = [_word(str(c)[1:], words) for c in table.columns]
        log = np.log1p(table.to_numpy(float).T / np.maximum(table.to_numpy(float).sum(axis=0)[:, None], 1e-9) * 1e4)
        return _types(name, log, labels, list(table.index), organism, half, tissue)
    cells = datasets.pbmc68k_counts() if file is None else ad.read_h5ad(DATA / f"{file}.h5ad")
    cells.var_names_make_unique()
    if name == "kang":
        cells = cells[cells.obs["condition"].astype(str) == "ctrl"].copy()
    labels = [_word(str(v), words) for v in cells.obs[column]]
    counts = sp.csr_matrix(cells.layers.get("counts", cells.X)).astype(float)
    total = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1e-9)
    log = np.log1p((sp.diags(np.median(total) / total) @ counts).toarray())
    return _types(name, log, labels, list(cells.var_names), organism, half, tissue)


def _word(label: str, words: dict[str, str]) -> str:
    for start in sorted(words, key=len, reverse=True):
        if label == start:
            return words[start]
    exact = set(words) & {"B", "NK", "DC"}
    for start in sorted(set(words) - exact, key=len, reverse=True):
        if label.startswith(start) and not exact:
            return words[start]
    return ""


def _types(
    name: str, log: np.ndarray, labels: list[str], genes: list[str], organism: str, half: str, tissue: str
) -> Types:
    codes = np.asarray(labels, dtype=object)
    kept = [w for w in dict.fromkeys(labels) if w]
    rows = codes != ""
    log, codes = log[rows], codes[rows]
    ids = human_ids(genes, organism)
    mean, sd = log.mean(axis=0), log.std(axis=0)
    expressed = (log > 0).mean(axis=0)
    first = {g: i for i, g in reversed(list(enumerate(ids))) if g}
    columns = np.asarray([i for i, g in enumerate(ids) if g and first[g] == i and sd[i] > 0 and expressed[i] >= 0.002])
    z = np.clip((log[:, columns] - mean[columns]) / sd[columns], -10, 10)
    change = np.stack([z[codes == w].mean(axis=0) - z[codes != w].mean(axis=0) for w in kept])
    share = np.stack([(log[codes == w][:, columns] > 0).mean(axis=0) for w in kept])
    return Types(name, kept, [ids[i] for i in columns], change, share, mean[columns], half, tissue)
