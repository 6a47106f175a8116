"""Base cells, gene texts and gene programs that effects are planted from, for vulnerability and concepts.

The simulator follows :func:`lexicell.datasets.planted_vulnerability` (same formula) but keeps the softened profiles of
the base cells dense and ready, and returns donor means, so that hundreds of data sets a minute can be tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _shared import DATA, SUMMARIES


@dataclass
class Base:
    """Real cells to simulate from: softened compositions, library sizes and types."""

    name: str
    genes: np.ndarray
    profiles: np.ndarray
    sizes: np.ndarray
    types: np.ndarray

    @property
    def kinds(self) -> list[str]:
        return sorted(set(self.types))


def _read(name: str) -> ad.AnnData:
    adata = ad.read_h5ad(DATA / f"{name}.h5ad")
    adata = adata[:, ~adata.var_names.duplicated()].copy()
    if "counts" in adata.layers:
        adata.X = adata.layers["counts"]
    adata.X = sp.csr_matrix(adata.X).astype(np.float64)
    return adata


def _thinned(adata: ad.AnnData, depth: float) -> ad.AnnData:
    """About `depth` counts per cell at most."""
    rng = np.random.default_rng(0)
    keep = np.minimum(1, depth / np.asarray(adata.X.sum(axis=1)).ravel())
    adata.X.data = rng.binomial(adata.X.data.astype(int), np.repeat(keep, np.diff(adata.X.indptr))).astype(float)
    adata.X.eliminate_zeros()
    return adata


def _neurons() -> tuple[ad.AnnData, np.ndarray, float]:
    """Mouse motor cortex neurons under the names of their human orthologs, thinned to 4,000 counts per cell."""
    from lexicell.sources.bundled import load_table

    adata = _read("m1_patchseq")
    adata = adata[adata.obs["RNA_family"].isin(["Sst", "IT", "ET", "Pvalb"])].copy()
    mouse, human = load_table("mouse"), load_table("human")
    of = dict(zip(mouse.symbol, mouse.human_gene_id, strict=True))
    rows = [human.row_of_gene_id.get(of.get(g, ""), -1) for g in adata.var_names]
    names = np.array([human.symbol[r] if r >= 0 else "" for r in rows])
    first = ~pd.Series(names).duplicated().to_numpy() & (names != "")
    adata = adata[:, first].copy()
    adata.var_names = names[first]
    return _thinned(adata, 4000), adata.obs["RNA_family"].astype(str).to_numpy(), 0.3


def base(name: str) -> Base:
    """`kang_donors` (5 types), `kang_pbmc` (8), `m1_neurons` (4) or `mixology` (3 cell lines)."""
    if name == "kang_donors":
        adata = _read("kang_donors")
        adata = adata[adata.obs["group_id"] == "ctrl"].copy()
        labels, share = adata.obs["cluster_id"].astype(str).to_numpy(), 10 / adata.n_obs
    elif name == "kang_pbmc":
        adata = _read("kang_pbmc")
        keep = ["CD14 Mono", "CD4 Naive T", "CD4 Memory T", "CD16 Mono", "B", "CD8 T", "NK", "DC"]
        adata = adata[(adata.obs["condition"] == "ctrl") & adata.obs["cell_type"].isin(keep)].copy()
        labels, share = adata.obs["cell_type"].astype(str).to_numpy(), 0.1
    elif name == "m1_neurons":
        adata, labels, share = _neurons()
    else:
        adata = _thinned(_read("mixology_dropseq_3cl"), 3000)
        labels, share = adata.obs["cell_line"].astype(str).to_numpy(), 0.15
    seen = np.asarray((adata.X > 0).mean(axis=0)).ravel()
    adata = adata[:, seen >= share].copy()
    from lexicell.datasets import _profiles

    profiles, sizes = _profiles(adata, labels.astype(object), sorted(set(labels)), None, None, 8)
    return Base(name, adata.var_names.to_numpy().astype(str), profiles.toarray().astype(np.float32), sizes, labels)


def gene_table(genes: np.ndarray) -> pd.DataFrame:
    """The bundled gene table's rows of these symbols: columns name and go (term ids)."""
    from lexicell.sources.bundled import load_table
    from lexicell.sources.names.mapping import match

    table = load_table("human")
    rows = match(list(genes), table)["row"].to_numpy()
    columns = {c: [table.column(c)[r] if r >= 0 else "" for r in rows] for c in ("name", "go")}
    return pd.DataFrame(columns, index=pd.Index(genes))


def texts(genes: np.ndarray, kind: str = "summary") -> list[str]:
    """Text of each gene.

    `summary`: ``SYMBOL: full name. RefSeq summary``, the name alone where there is no summary (no GO terms in it);
    `names`: ``SYMBOL: full name``; `bundled`: the text that ships, which lists GO terms.
    """
    if kind == "bundled":
        from lexicell.sources import get

        found = get("bundled").texts(list(genes), organism="human")
        return [text or f"{g}." for g, text in zip(genes, found.texts, strict=True)]
    names = gene_table(genes)["name"].to_dict()
    plain = [f"{g}: {names[g]}." if names[g] else f"{g}." for g in genes]
    if kind == "names":
        return plain
    table = pd.read_csv(DATA / SUMMARIES, sep="\t").drop_duplicates("symbol").set_index("symbol")
    return [
        f"{g}: {table.at[g, 'gene_name']}. {table.at[g, 'summary']}" if g in table.index else plain[i]
        for i, g in enumerate(genes)
    ]


def go_terms(genes: np.ndarray) -> pd.DataFrame:
    """GO terms of the bundled table with the positions of their genes: columns id, name, genes."""
    from importlib.resources import files

    listed = gene_table(genes)["go"].str.split("|")
    pairs = pd.DataFrame({"gene": np.arange(len(genes)), "id": listed.to_numpy()}).explode("id")
    pairs = pairs[pairs["id"].fillna("").ne("")]
    with (files("lexicell.data") / "go_terms.tsv.gz").open("rb") as file:
        names = pd.read_csv(file, sep="\t", compression="gzip").set_index("go")["name"]
    grouped = pairs.groupby("id")["gene"].apply(lambda g: np.unique(g.to_numpy(dtype=int)))
    return pd.DataFrame(
        {"id": grouped.index, "name": names.reindex(grouped.index).fillna("").to_numpy(), "genes": grouped.to_numpy()}
    )


def go_space(genes: np.ndarray, k: int) -> np.ndarray:
    """Terms of 10-200 genes present, columns over the root of their size, centered, whitened to k directions."""
    from lexicell.core.genes.gene_space import GeneSpace

    terms = [g for g in go_terms(genes)["genes"] if 10 <= len(g) <= 200]
    M = np.zeros((len(genes), len(terms)))
    for j, members in enumerate(terms):
        M[members, j] = 1 / np.sqrt(len(members))
    return GeneSpace.fit(M, k).transform(M).astype(np.float64)


def go_programs(genes: np.ndarray) -> dict[str, np.ndarray]:
    """The 20 programs of concepts32.tsv with at least 10 genes here."""
    concepts = pd.read_csv(DATA / "concepts32.tsv", sep="\t").fillna("")
    terms, found = go_terms(genes), {}
    for concept, words in concepts.itertuples(index=False):
        if words:
            hits = terms["name"].str.contains(words, regex=True)
            members = np.unique(np.concatenate([np.array([], int), *terms["genes"][hits]]))
            if len(members) >= 10:
                found[concept] = members
    return found


def signatures(names: list[str], size: int = 100) -> dict[str, list[str]]:
    """Measured responses: the genes that rise most, by the t of log values between two groups of cells."""
    out = {}
    if "interferon" in names:
        a = _read("kang_pbmc")
        a = a[a.obs["cell_type"].isin(["CD14 Mono", "CD4 Naive T", "B", "NK"])].copy()
        out["interferon"] = _top(a, (a.obs["condition"] == "stim").to_numpy(), size)
    if "muscle" in names:
        a = _read("hsmm")
        hours = a.obs["Hours"].astype(int).to_numpy()
        for late in (24, 48, 72):
            part = np.isin(hours, [0, late])
            out[f"muscle {late} h up"] = _top(a[part], hours[part] == late, size)
            out[f"muscle {late} h down"] = _top(a[part], hours[part] == 0, size)
    if "lines" in names:
        a = _read("mixology_celseq2_3cl")
        for line in sorted(a.obs["cell_line"].astype(str).unique()):
            out[f"line {line}"] = _top(a, (a.obs["cell_line"] == line).to_numpy(), size)
    return out


def _top(a: ad.AnnData, case: np.ndarray, size: int) -> list[str]:
    X = np.asarray(a.X.todense())
    log = np.log1p(1e4 * X / X.sum(axis=1, keepdims=True))
    one, two = log[case], log[~case]
    t = (one.mean(axis=0) - two.mean(axis=0)) / np.sqrt(one.var(axis=0) / len(one) + two.var(axis=0) / len(two) + 1e-3)
    return list(a.var_names[np.argsort(-t)[: size * 5]])


def bundled_vectors(genes: np.ndarray) -> np.ndarray:
    """Vectors of the bundled texts, as they ship."""
    from lexicell.sources import get

    return np.asarray(get("bundled").texts(list(genes), organism="human").vectors, dtype=np.float64)


def embed(words: list[str]) -> np.ndarray:
    """Vectors of the local embedder, from the store where they are known."""
    from lexicell import embedders

    return embedders.embed(words, "local", show_progress=False)


def whiten(vectors: np.ndarray, k: int | None = None) -> np.ndarray:
    import warnings

    from lexicell.core.genes.gene_space import GeneSpace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GeneSpace.fit(vectors, k).transform(vectors).astype(np.float64)


def shuffles(n_genes: int, expression: np.ndarray, rng: np.random.Generator, copies: int = 5) -> dict[str, np.ndarray]:
    """Orders of the genes: over all of them, and within deciles of mean expression."""
    decile = np.argsort(np.argsort(expression)) * 10 // n_genes
    out = {f"shuffled {i}": rng.permutation(n_genes) for i in range(copies)}
    for i in range(copies):
        order = np.arange(n_genes)
        for d in range(10):
            rows = np.flatnonzero(decile == d)
            order[rows] = rng.permutation(rows)
        out[f"shuffled within deciles {i}"] = order
    return out
