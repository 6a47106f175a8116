"""The search of PROTOCOL.md: every variant, its controls, on one data set after the other.

    python evaluation/search/run.py DATA_FOLDER choose     # then fix what is taken on, and only then:
    python evaluation/search/run.py DATA_FOLDER confirm
    python evaluation/search/run.py DATA_FOLDER summary    # summary.csv from what is there

writes trials_choose.csv and trials_confirm.csv, one row a data set, regime, variant, arm (text, shuffled, random,
expression) and seed. Finished pieces are kept; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _sets import SETS, Cells, load, texts_of
from _zero_shot import QUERIES

import lexicell as lx
from lexicell.core.concepts import concept_sets
from lexicell.core.controls import random_vectors, shuffled
from lexicell.core.expression import column_stats, log_cp10k, zscore_sparse
from lexicell.core.metrics import agreement, batch_mixing
from lexicell.core.thinning import split, thin
from lexicell.tl._graph import graph_of, leiden

HERE = Path(__file__).parent
RESOLUTIONS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)
SHARES = (0.0, 0.05, 0.1, 0.15, 0.25, 0.5)
SEEDS = (0, 1, 2)
SEED = 20261125
DRAWS = 3  # of each damage
TOTAL = {"library_size": "total"}
Rows = Iterator[dict[str, object]]


def clusters(matrix: np.ndarray) -> list[np.ndarray]:
    run = leiden(graph_of(np.asarray(matrix, dtype=np.float32), 15, "euclidean", SEED))
    return [run(r, SEED) for r in RESOLUTIONS]


def ari(found: list[np.ndarray], labels: np.ndarray) -> float:
    return float(np.mean([agreement(labels, codes)["ari"] for codes in found]))


def rare_f1(found: list[np.ndarray], labels: np.ndarray) -> float:
    """Best F1 of any cluster of the sweep, mean over types below 5 % of the cells; NaN where there is none."""
    names, sizes = np.unique(labels.astype(str), return_counts=True)
    best = []
    for name in names[sizes < 0.05 * len(labels)]:
        mine = labels == name
        scores = [
            2 * (mine & (codes == k)).sum() / (mine.sum() + (codes == k).sum())
            for codes in found
            for k in np.unique(codes)
        ]
        best.append(max(scores))
    return float(np.mean(best)) if best else float("nan")


def few_shot(matrix: np.ndarray, labels: np.ndarray, k: int, draws: int = 50) -> float:
    """Balanced accuracy of the nearest class mean with k labelled cells a type; the same draws for every matrix."""
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(SEED)
    X = np.asarray(matrix, dtype=np.float64)
    names = np.unique(labels.astype(str))
    groups = {n: np.flatnonzero(labels == n) for n in names}
    groups = {n: rows for n, rows in groups.items() if len(rows) > k}
    scores = []
    for _ in range(draws):
        chosen = {n: rng.choice(rows, k, replace=False) for n, rows in groups.items()}
        means = np.stack([X[rows].mean(axis=0) for rows in chosen.values()])
        rest = np.setdiff1d(np.concatenate(list(groups.values())), np.concatenate(list(chosen.values())))
        distance = (means**2).sum(axis=1) - 2 * X[rest] @ means.T
        guess = np.array(list(chosen))[distance.argmin(axis=1)]
        scores.append(balanced_accuracy_score(labels[rest].astype(str), guess))
    return float(np.mean(scores))


def row_sums(matrix: sp.csr_matrix) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()


class Bench:
    """Representations of one data set, through the product's functions, and their scores."""

    def __init__(self, cells: Cells) -> None:
        self.cells, self.adata, self.labels = cells, cells.adata.copy(), cells.labels

    def whitened(self, genes: lx.GeneEmbedding) -> np.ndarray:
        lx.emb.cells(self.adata, genes, preset="whitened", key_added="X_w", **TOTAL)
        return np.asarray(self.adata.obsm["X_w"])

    def fused(self, blocks: np.ndarray, a: float, n_components: int = 30) -> np.ndarray:
        if a == 0:
            return self.expression(1000, n_components)
        self.adata.obsm["X_blocks"] = blocks
        self.adata.uns.get("lexicell", {}).pop("X_blocks", None)
        lx.emb.fuse(self.adata, use_rep="X_blocks", a=a, n_components=n_components, key_added="X_f", **TOTAL)
        return np.asarray(self.adata.obsm["X_f"])

    def expression(self, n_top_genes: int, n_components: int = 20) -> np.ndarray:
        lx.emb.expression_pca(self.adata, n_top_genes=n_top_genes, n_components=n_components, key_added="X_e", **TOTAL)
        return np.asarray(self.adata.obsm["X_e"])

    def row(self, regime: str, variant: str, arm: str, seed: int, score: float) -> dict[str, object]:
        return {
            "data": self.cells.name, "stage": self.cells.stage, "regime": regime, "variant": variant, "arm": arm,
            "seed": seed, "score": round(float(score), 4),
        }  # fmt: skip

    def score(self, matrix: np.ndarray, variant: str, arm: str, seed: int = 0, *, few: bool = False) -> Rows:
        found = clusters(matrix)
        yield self.row("clusters", variant, arm, seed, ari(found, self.labels))
        rare = rare_f1(found, self.labels)
        if np.isfinite(rare):
            yield self.row("rare types", variant, arm, seed, rare)
        if few:
            for k in (1, 3, 10):
                yield self.row(f"{k} labelled", variant, arm, seed, few_shot(matrix, self.labels, k))


def reduced(matrix: np.ndarray, k: int = 50) -> np.ndarray:
    """Leading principal components, as in lexicell.evaluate."""
    from lexicell.core.expression import principal_components

    k = min(k, *matrix.shape, len(matrix) - 1)
    return principal_components(lambda a, b: np.asarray(matrix[a:b], dtype=np.float64), len(matrix), k).scores


def arms(genes: lx.GeneEmbedding, *, noise: bool = False) -> Iterator[tuple[str, int, lx.GeneEmbedding]]:
    yield "text", 0, genes
    for seed in SEEDS:
        yield "shuffled", seed, shuffled(genes, seed=seed)
    if noise:
        yield "random", 0, random_vectors(genes, seed=0)


def expression_rows(bench: Bench) -> Rows:
    for n in (300, 1000, 2000):
        yield from bench.score(bench.expression(n), f"PCA, {n} genes", "expression", few=True)


def text_rows(bench: Bench, texts: dict[str, object]) -> Rows:
    """Regimes 1, 3, 5, 6: each kind of text fused at a = .25, and alone."""
    for name, make in texts.items():
        for arm, seed, genes in arms(make(), noise=name == "names + GO"):
            white = bench.whitened(genes)
            yield from bench.score(bench.fused(white, 0.25, 20), f"{name}, fused", arm, seed, few=True)
            if name in ("names + GO", "GO gene sets"):
                yield from bench.score(reduced(white), f"{name}, alone", arm, seed, few=True)


def facet_rows(bench: Bench, texts: dict[str, object]) -> Rows:
    """Regime 2: names, GO sets and, where embedded, summaries, each whitened and scaled by itself."""
    parts = [texts[n]() for n in ("names", "GO gene sets", "names + summary") if n in texts]
    for arm, seed in [("text", 0), *(("shuffled", s) for s in SEEDS)]:
        blocks = []
        for genes in parts:
            white = bench.whitened(genes if arm == "text" else shuffled(genes, seed=seed)).astype(np.float64)
            white -= white.mean(axis=0)
            blocks.append(white / np.linalg.norm(white))
        yield from bench.score(bench.fused(np.hstack(blocks), 0.25, 20), "facets as blocks, fused", arm, seed, few=True)


def weight_rows(bench: Bench, genes: lx.GeneEmbedding) -> Rows:
    """Regime 4: the share of text, over a grid, and chosen by count thinning."""
    white, scores = bench.whitened(genes), {}
    for a in SHARES:
        matrix = bench.fused(white, a)
        for k in (20, 30):
            scores[a, k] = ari(clusters(matrix[:, :k]), bench.labels)
            yield bench.row("clusters", f"names + GO, a = {a}, {k} PCs", "text", 0, scores[a, k])
    a = thinned_share(bench, genes)
    yield bench.row("clusters", "names + GO, a by thinning, 20 PCs", "text", 0, scores[a, 20])
    yield bench.row("a by thinning", "names + GO", "text", 0, a)


def thinned_share(bench: Bench, genes: lx.GeneEmbedding) -> float:
    """The share of text whose 20 components, from one half of the molecules, best predict the other half."""
    from sklearn.linear_model import Ridge

    first, second = split(bench.adata.X, 0.5, SEED)
    half = bench.adata.copy()
    left_out = bench.adata.obs["total"] - row_sums(bench.adata.X)
    half.X, half.obs["total"] = first, row_sums(first) + left_out / 2
    inside = Bench(Cells(bench.cells.name, half, bench.cells.stage))
    white = inside.whitened(genes)
    lx.emb.expression_pca(half, n_top_genes=1000, key_added="X_e", **TOTAL)
    columns = half.var_names.get_indexer(half.uns["lexicell"]["X_e"]["hvg"])
    target = log_cp10k(second, (row_sums(second) + left_out / 2).to_numpy())[:, columns].toarray()
    target = (target - target.mean(axis=0)) / (target.std(axis=0) + 1e-9)
    order = np.random.default_rng(SEED).permutation(len(target))
    fit, rest = order[: len(order) // 2], order[len(order) // 2 :]
    error = {}
    for a in SHARES:
        matrix = inside.fused(white, a, 20).astype(np.float64)
        matrix /= matrix.std()
        error[a] = ((Ridge(1.0).fit(matrix[fit], target[fit]).predict(matrix[rest]) - target[rest]) ** 2).mean()
    return min(error, key=lambda a: error[a])


def zero_rows(bench: Bench, genes: lx.GeneEmbedding) -> Rows:
    """Names of types as queries: each cell goes to the query whose ten nearest genes it expresses most."""
    from sklearn.metrics import balanced_accuracy_score

    asked = QUERIES.get(bench.cells.name)
    if asked is None:
        return
    queries = lx.embedders.embed(list(asked.values()))
    log = log_cp10k(sp.csr_matrix(bench.adata.X), bench.adata.obs["total"].to_numpy())
    for arm, seed, vectors in arms(genes):
        columns = bench.adata.var_names.get_indexer(vectors.ids)
        z, baseline = zscore_sparse(log[:, columns], *column_stats(log[:, columns]))
        sets = concept_sets(vectors.vectors, queries, n_genes=10)
        scores = np.asarray((z @ sets.T).todense()) + baseline @ sets.T
        scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
        guess = np.array(list(asked))[scores.argmax(axis=1)]
        yield bench.row("no labels", "names + GO, ten genes a query", arm, seed,
                        balanced_accuracy_score(bench.labels.astype(str), guess))  # fmt: skip


def damage_rows(cells: Cells, genes: lx.GeneEmbedding) -> Rows:
    """Regime 7: the same cells with less depth, unequal depth, or factors a gene in half of them; three draws."""
    for draw in range(DRAWS):
        for name, adata, half in damaged(cells.adata, np.random.default_rng([SEED, draw])):
            bench = Bench(Cells(cells.name, adata, cells.stage))
            batch = np.where(half, "changed", "as it was")

            def rows(matrix: np.ndarray, variant: str, arm: str, seed: int, bench: Bench = bench, name: str = name,
                     batch: np.ndarray = batch, draw: int = draw) -> Rows:  # fmt: skip
                yield {
                    **bench.row(f"damage: {name}", variant, arm, seed, ari(clusters(matrix), bench.labels)),
                    "draw": draw,
                }
                if name != "depth 1/4":
                    mixing = batch_mixing(np.asarray(matrix), batch, bench.labels)
                    yield {**bench.row(f"mixing: {name}", variant, arm, seed, mixing), "draw": draw}

            for n in (300, 1000, 2000):
                yield from rows(bench.expression(n), f"PCA, {n} genes", "expression", 0)
            for arm, seed, vectors in arms(genes):
                if arm == "shuffled" and seed == SEEDS[-1]:
                    continue
                white = bench.whitened(vectors)
                yield from rows(bench.fused(white, 0.25, 20), "names + GO, fused", arm, seed)
                yield from rows(reduced(white), "names + GO, alone", arm, seed)


def damaged(whole: anndata.AnnData, rng: np.random.Generator) -> Iterator[tuple[str, anndata.AnnData, np.ndarray]]:
    """Name of the damage, the cells that have counts left, which of them were changed."""
    n, p = whole.shape
    half = np.zeros(n, dtype=bool)
    half[rng.permutation(n)[: n // 2]] = True
    for name in ("depth 1/4", "half at 3/10", "batch"):
        adata = whole.copy()
        if name == "batch":
            factor = np.exp(rng.normal(0, 0.5, p))
            keep = np.minimum(factor / factor.max() * 3, 1)  # thinning cannot add molecules
            kept = sp.csr_matrix(adata.X, copy=True)
            odds = np.where(np.repeat(half, np.diff(kept.indptr)), keep[kept.indices], 1.0)
            kept.data = rng.binomial(kept.data.astype(int), odds).astype(np.float32)
        else:
            kept = thin(adata.X, np.full(n, 0.25) if name == "depth 1/4" else np.where(half, 0.3, 1.0), rng)
        before, after = row_sums(adata.X), row_sums(kept)
        alive = after > 0
        adata.X, adata.obs["total"] = kept, np.maximum(adata.obs["total"] * after / np.maximum(before, 1), after)
        yield name, adata[alive].copy(), half[alive]


def parts_of(name: str, stage: str, folder: Path) -> dict[str, Callable[[], Rows]]:
    """The pieces of the search on one data set, each kept as soon as it is finished."""
    cells = load(name, folder)
    texts = texts_of(cells, folder)
    bench = Bench(cells)
    parts: dict[str, Callable[[], Rows]] = {
        "expression": lambda: expression_rows(bench),
        "weights": lambda: weight_rows(bench, texts["names + GO"]()),
        **{f"text: {text}": partial(text_rows, bench, {text: make}) for text, make in texts.items()},
        "facets": lambda: facet_rows(bench, texts),
        "no labels": lambda: zero_rows(bench, texts["names + GO"]()),
    }
    if name in ("kang5 stim", "kang5 ctrl", "mixology dropseq"):
        parts["damage"] = lambda: damage_rows(cells, texts["names + GO"]())
    if stage == "confirm" and name == "pbmc68k":  # damage was not looked at there before
        return {"damage": lambda: damage_rows(replace(cells, stage="confirm"), texts["names + GO"]())}
    return parts


def summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Means over the sets of each stage: text, its shuffled controls and their spread, the best expression baseline."""
    base = trials[trials["arm"] == "expression"].groupby(["data", "regime", "variant"])["score"].mean()
    base = base.groupby(["data", "regime"]).max()
    out = []
    for (stage, regime, variant), part in trials[trials["arm"] == "text"].groupby(
        ["stage", "regime", "variant"], sort=False
    ):
        same = trials[(trials["stage"] == stage) & (trials["regime"] == regime) & (trials["variant"] == variant)]
        control = same[same["arm"] == "shuffled"].groupby("seed")["score"].mean()
        best = [base.get((d, regime), np.nan) for d in part["data"]]
        noise = same[same["arm"] == "random"]["score"].mean()
        out.append({
            "stage": stage, "regime": regime, "variant": variant, "sets": part["data"].nunique(),
            "text": part["score"].mean(), "shuffled": control.mean(), "shuffled_sd": control.std(), "random": noise,
            "expression": np.mean(best), "gain": part["score"].mean() - np.mean(best),
            "over_shuffled": part["score"].mean() - control.mean(), "worst_loss": float(np.min(part["score"] - best)),
        })  # fmt: skip
    return pd.DataFrame(out).round(4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("stage", choices=["choose", "confirm", "summary"])
    parser.add_argument("--only", default="", help="one data set")
    parser.add_argument("--part", default="", help="one piece, such as damage")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    target = HERE / f"trials_{options.stage}.csv"
    if options.stage != "summary":
        search(target, options)
    found = [pd.read_csv(p) for p in sorted(HERE.glob("trials_*.csv"))]
    summary(pd.concat(found, ignore_index=True)).to_csv(HERE / "summary.csv", index=False)


def search(target: Path, options: argparse.Namespace) -> None:
    done = pd.DataFrame(columns=["data", "part"])
    if target.exists() and not options.fresh:
        done = pd.read_csv(target)
    warnings.simplefilter("ignore")
    for name, (*_, stage) in SETS.items():
        again = options.stage == "confirm" and name == "pbmc68k"
        if (stage != options.stage and not again) or options.only not in ("", name):
            continue
        for part, make in parts_of(name, options.stage, options.data).items():
            if ((done["data"] == name) & (done["part"] == part)).any() or options.part not in ("", part):
                continue
            began = time.process_time()
            rows = pd.DataFrame(list(make()) or [{"data": name}]).assign(part=part)
            done = pd.concat([done, rows], ignore_index=True)
            done.to_csv(target, index=False)
            print(f"{name}, {part}: {len(rows)} rows, {time.process_time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
