"""What several evaluations need: the data, gene texts with RefSeq summaries, an interval, plots without a screen."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import anndata
import pandas as pd

import lexicell as lx

DATA = Path(os.environ.get("LEXICELL_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SUMMARIES = "gene_summaries_human.tsv.gz"


def read_cells(path: Path, keep: tuple[str, str] | None = None) -> anndata.AnnData:
    """The cells of a file whose column `keep[0]` holds `keep[1]`, with unique gene names."""
    adata = anndata.read_h5ad(path)
    if keep is not None:
        column, value = keep
        adata = adata[adata.obs[column].astype(str) == value].copy()
    adata.var_names_make_unique()
    return adata


def summary_genes(names: anndata.AnnData | list[str], folder: Path) -> lx.GeneEmbedding:
    """Human genes by "SYMBOL: full name. RefSeq summary", by the name alone where there is no summary."""
    named = lx.emb.genes(names, source="bundled-names", organism="human")
    table = pd.read_csv(folder / SUMMARIES, sep="\t", dtype=str).drop_duplicates("symbol").set_index("symbol")
    found = table["summary"].reindex(named.table["symbol"]).fillna("").to_numpy()
    texts = [f"{name} {summary}".strip() for name, summary in zip(named.texts, found, strict=True)]
    vectors = lx.embedders.embed(texts, "local")
    return lx.GeneEmbedding.from_vectors(named.ids, vectors, texts=texts, table=named.table)


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share of `n` studies."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
    return middle - half, middle + half


def pyplot() -> ModuleType:
    """Matplotlib's pyplot, drawing to files."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
