"""Data sets and gene texts of the search."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import lexicell as lx
from lexicell.sources.bundled import load_table

SETS = {  # file, column and value to keep, label, stage
    "pbmc68k": (None, None, "cell_type", "choose"),
    "kang5 stim": ("kang_donors.h5ad", ("group_id", "stim"), "cluster_id", "choose"),
    "mixology celseq2": ("mixology_celseq2_3cl.h5ad", None, "cell_line", "choose"),
    "kang5 ctrl": ("kang_donors.h5ad", ("group_id", "ctrl"), "cluster_id", "confirm"),
    "kang13 ctrl": ("kang_pbmc.h5ad", ("condition", "ctrl"), "cell_type", "confirm"),
    "mixology dropseq": ("mixology_dropseq_3cl.h5ad", None, "cell_line", "confirm"),
}
SECOND = {  # the sets that the second round adds or moves; a study with two sides has one on each
    "kang13 stim": ("kang_pbmc.h5ad", ("condition", "stim"), "cell_type", "choose"),
    "motor cortex": ("m1_patchseq.h5ad", None, "RNA_family", "confirm"),
}
LEAST = 0.02  # share of cells that must express a gene
MOST = 3000  # genes of a set, those of the highest mean
FEWEST = 5  # cells a class


@dataclass(frozen=True)
class Cells:
    name: str
    adata: anndata.AnnData  # X: counts; obs["label"]; obs["total"]: depth over all genes
    stage: str

    @property
    def labels(self) -> np.ndarray:
        return self.adata.obs["label"].to_numpy(dtype=object)


def load(name: str, folder: Path, *, least: float = LEAST, most: int = MOST) -> Cells:
    """Counts of the genes that a share of `least` of the cells express, at most the `most` of the highest mean."""
    file, keep, label, stage = {**SETS, **SECOND}[name]
    adata = lx.datasets.pbmc68k_counts() if file is None else anndata.read_h5ad(folder / file)
    if keep is not None:
        adata = adata[adata.obs[keep[0]].astype(str) == keep[1]].copy()
    adata.var_names_make_unique()
    counts = sp.csr_matrix(adata.layers.get("counts", adata.X))
    total = adata.obs["n_counts"].to_numpy(float) if file is None else np.asarray(counts.sum(axis=1)).ravel()
    labels = adata.obs[label].astype(str)
    sizes = labels.value_counts()
    rows = np.flatnonzero(((labels != "low quality") & (labels.map(sizes) >= FEWEST)).to_numpy())
    share, mean = (np.asarray(m.mean(axis=0)).ravel() for m in (counts[rows] > 0, counts[rows]))
    columns = np.sort(
        np.argsort(-np.where(share >= least, mean, -1), kind="stable")[: min(most, (share >= least).sum())]
    )
    obs = pd.DataFrame({"label": labels.to_numpy()[rows], "total": total[rows]}, index=adata.obs_names[rows])
    return Cells(name, anndata.AnnData(counts[rows][:, columns], obs=obs, var=adata.var[[]].iloc[columns]), stage)


def texts_of(cells: Cells, folder: Path) -> dict[str, Callable[[], lx.GeneEmbedding]]:
    """Every kind of gene vectors, made when asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named = lx.emb.genes(cells.adata, source="bundled-names")
        full = lx.emb.genes(cells.adata, source="bundled")
    human = load_table("human")
    symbol = dict(zip(human.gene_id, human.symbol, strict=True))
    table = pd.read_csv(folder / "gene_summaries_human.tsv.gz", sep="\t", dtype=str).drop_duplicates("symbol")
    summary = table.set_index("symbol")["summary"]
    own = [symbol.get(str(g), "") for g in named.table["text_gene_id"]]
    found = summary.reindex(own).fillna("").to_numpy()
    with_summary = [f"{a} {b}".strip() for a, b in zip(named.texts, found, strict=True)]
    rows = full.rows(named.ids)
    everything = [f"{full.texts[r]} {b}".strip() for r, b in zip(rows, found, strict=True)]

    def wrap(vectors: np.ndarray) -> lx.GeneEmbedding:
        return lx.GeneEmbedding.from_vectors(named.ids, vectors, table=named.table)

    return {
        "names": lambda: named,
        "names + GO": lambda: full,
        "names + summary": lambda: wrap(lx.embedders.embed(with_summary)),
        "LSA, names + GO + summary": lambda: wrap(lsa(everything)),
        "GO gene sets": lambda: wrap(go_sets(own)),
    }


def lsa(texts: list[str], dim: int = 256) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(min_df=2, sublinear_tf=True, stop_words="english").fit_transform(texts)
    return TruncatedSVD(min(dim, counts.shape[1] - 1), random_state=0).fit_transform(counts) + 1e-9


def go_sets(symbols: list[str], dim: int = 256) -> np.ndarray:
    """Membership in GO terms of 10 to 200 of these genes, columns scaled by 1 / sqrt(size), as SVD scores."""
    from sklearn.decomposition import TruncatedSVD

    human = load_table("human")
    go = {s: set(t.split("|")) - {""} for s, t in zip(human.symbol, human.go, strict=True)}
    mine = [go.get(s, set()) for s in symbols]
    sizes = pd.Series([t for terms in mine for t in terms]).value_counts()
    kept = {t: i for i, t in enumerate(sizes.index[(sizes >= 10) & (sizes <= 200)])}
    matrix = np.zeros((len(symbols), len(kept)), dtype=np.float32)
    for row, terms in enumerate(mine):
        for term in terms:
            if term in kept:
                matrix[row, kept[term]] = 1 / np.sqrt(sizes[term])
    matrix -= matrix.mean(axis=0)
    return TruncatedSVD(min(dim, len(kept) - 1), random_state=0).fit_transform(matrix) + 1e-9
