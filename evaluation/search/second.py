"""The second round of the search in PROTOCOL.md: shares, texts, learned weights, priors, rare types, damage.

    python evaluation/search/second.py DATA_FOLDER choose --extras EXTRAS   # _more_texts.py says what EXTRAS holds
    python evaluation/search/second.py DATA_FOLDER confirm --extras EXTRAS
    python evaluation/search/second.py DATA_FOLDER summary

writes second_choose.csv and second_confirm.csv, one row a data set, regime, variant, arm, seed and draw, and
second_summary.csv. Finished pieces are kept; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _more_texts import more_texts
from _sets import SECOND, SETS, Cells, load
from run import SEEDS, SHARES, TOTAL, Bench, ari, arms, clusters, damaged, reduced, row_sums

import lexicell as lx
from lexicell.core.controls import shuffled
from lexicell.core.expression import column_stats, log_cp10k, zscore_block, zscore_sparse
from lexicell.core.gene_prior import together
from lexicell.core.metrics import batch_mixing
from lexicell.core.space import GeneSpace
from lexicell.core.thinning import split
from lexicell.emb._gene_prior import reference_targets

HERE = Path(__file__).parent
SEED = 20261126
MOST = 6000  # genes of a set, but for the shares of text
CELLS, DRAWS = 0.8, 3  # of the shares of text
GENES = (300, 1000, 2000)
TOLERATED = {"auto": 1.0, "auto 1 %": 0.99, "auto 5 %": 0.95}
STEP, ROOM = 0.1, 0.5  # of learned weights
WEIGHTS = (0.25, 0.5, 1.0)  # of a prior
STUDY = {"pbmc68k": "68k", "mixology celseq2": "mixology", "mixology dropseq": "mixology", "motor cortex": "M1"}
CHOOSING = ("pbmc68k", "kang5 stim", "kang13 stim", "mixology celseq2")
Rows = Iterator[dict[str, object]]


def study(name: str) -> str:
    return STUDY.get(name, "Kang")


# -- count thinning: what a representation of one half of the molecules explains of the other half


@dataclass(frozen=True)
class Half:
    """One half of the molecules: principal components of each block, and how they see the other half's z-scores."""

    blocks: list[np.ndarray]  # cells x components, centred, unit Frobenius norm
    target: np.ndarray  # cells x genes

    def explained(self, weights: np.ndarray, k: int = 20) -> float:
        """Share of the target's variance in the span of the first k components of the weighted blocks."""
        features = np.hstack([np.sqrt(w) * b for w, b in zip(weights, self.blocks, strict=True) if w > 0])
        values, vectors = np.linalg.eigh(features.T @ features)
        basis = features @ vectors[:, -k:] / np.sqrt(values[-k:])
        return float(((basis.T @ self.target) ** 2).sum() / (self.target**2).sum())


def halves(bench: Bench, embeddings: list[lx.GeneEmbedding], seed: int, n_top_genes: int = 1000) -> list[Half]:
    """Both halves, each seen from the other: blocks are expression and every gene embedding, whitened."""
    X = sp.csr_matrix(bench.adata.X)
    parts, left_out = split(X, 0.5, seed), bench.adata.obs["total"].to_numpy() - row_sums(X)
    totals = [row_sums(part) + left_out / 2 for part in parts]
    found = []
    for one, other in ((0, 1), (1, 0)):
        adata = bench.adata.copy()
        adata.X, adata.obs["total"] = parts[one], totals[one]
        inside = Bench(Cells(bench.cells.name, adata, bench.cells.stage))
        blocks = [
            unit(inside.expression(n_top_genes, 60)),
            *(unit(reduced(inside.whitened(g), 60)) for g in embeddings),
        ]
        columns = inside.adata.var_names.get_indexer(inside.adata.uns["lexicell"]["X_e"]["hvg"])
        log = log_cp10k(sp.csr_matrix(parts[other][:, columns]), totals[other])
        z = zscore_block(log, *column_stats(log))
        found.append(Half(blocks, z - z.mean(axis=0)))
    return found


def unit(matrix: np.ndarray) -> np.ndarray:
    centred = np.asarray(matrix, dtype=np.float64) - np.mean(matrix, axis=0)
    return centred / np.linalg.norm(centred)


def chosen_shares(both: list[Half]) -> dict[str, float]:
    """Rule -> share of text."""
    scores = {a: np.mean([half.explained(np.array([1 - a, a])) for half in both]) for a in SHARES}
    best = max(scores.values())
    return {name: max(a for a in SHARES if scores[a] >= least * best) for name, least in TOLERATED.items()}


# -- the pieces of the protocol


def share_rows(whole: Cells, draw: int) -> Rows:
    """1: fixed shares and shares by thinning, on a draw of the cells, all genes."""
    pick = np.sort(np.random.default_rng([SEED, draw]).permutation(whole.adata.n_obs)[: int(CELLS * whole.adata.n_obs)])
    bench = Bench(Cells(whole.name, whole.adata[pick].copy(), whole.stage))
    genes = lx.emb.genes(bench.adata, source="bundled")

    def row(matrix: np.ndarray, variant: str, arm: str) -> dict[str, object]:
        return {**bench.row("share", variant, arm, draw, ari(clusters(matrix), bench.labels)), "draw": draw}

    for n in GENES:
        yield row(bench.expression(n), f"PCA, {n} genes", "expression")
    for arm, vectors in (("text", genes), ("shuffled", shuffled(genes, seed=draw))):
        bench.adata.obsm["X_blocks"] = bench.whitened(vectors)
        fixed = {a: row(fuse(bench, a), f"a = {a}", arm) for a in (SHARES if arm == "text" else (0.1, 0.25, 0.5))}
        yield from fixed.values()
        if arm == "text":
            for a in (0.0, 0.1, 0.25):
                yield row(fuse(bench, a, 2000), f"a = {a}, 2000 genes", arm)
        for rule, a in chosen_shares(halves(bench, [vectors], draw)).items():
            known = fixed.get(a)
            score = known["score"] if known else row(fuse(bench, a), "", arm)["score"]
            yield {**bench.row("share", f"a {rule}", arm, draw, float(str(score))), "draw": draw, "share": a}


def fuse(bench: Bench, a: float, n_top_genes: int = 1000) -> np.ndarray:
    """The product's fusion of obsm["X_blocks"]."""
    bench.adata.uns.get("lexicell", {}).pop("X_blocks", None)
    lx.emb.fuse(bench.adata, use_rep="X_blocks", a=a, n_top_genes=n_top_genes, key_added="X_f", **TOTAL)
    return np.asarray(bench.adata.obsm["X_f"])


def expression_rows(bench: Bench) -> Rows:
    for n in GENES:
        yield from bench.score(bench.expression(n), f"PCA, {n} genes", "expression", few=True)


def text_rows(bench: Bench, name: str, make: Callable[[], lx.GeneEmbedding]) -> Rows:
    """2 and 5: one kind of text, fused and alone."""
    for arm, seed, genes in arms(make()):
        white = bench.whitened(genes)
        yield from bench.score(bench.fused(white, 0.25, 20), f"{name}, fused", arm, seed, few=True)
        yield from bench.score(reduced(white), f"{name}, alone", arm, seed, few=True)


def learned_rows(bench: Bench, texts: dict[str, Callable[[], lx.GeneEmbedding]]) -> Rows:
    """3: weights of expression and of each space, by thinning, learned anew for every control."""
    names = [n for n in ("names", "GO gene sets", "names + summary", "names + diseases") if n in texts]
    made = [texts[n]() for n in names]
    grid = [
        np.array([1 - sum(w), *w])
        for w in itertools.product(np.arange(0, ROOM + 1e-9, STEP), repeat=len(made))
        if sum(w) <= ROOM + 1e-9
    ]
    for arm, seed in [("text", 0), *(("shuffled", s) for s in SEEDS)]:
        vectors = made if arm == "text" else [shuffled(g, seed=seed) for g in made]
        both = halves(bench, vectors, SEED)
        for rule, least in TOLERATED.items():
            scores = np.array([np.mean([half.explained(w) for half in both]) for w in grid])
            kept = [w for w, s in zip(grid, scores, strict=True) if s >= least * scores.max()]
            weights = min(kept, key=lambda w: w[0]) if least < 1 else grid[int(scores.argmax())]
            share = 1 - weights[0]
            if share < 1e-9:
                matrix = bench.expression(1000)
            else:
                blocks = [
                    unit(bench.whitened(g)) * np.sqrt(w) for g, w in zip(vectors, weights[1:], strict=True) if w > 0
                ]
                bench.adata.obsm["X_blocks"] = np.hstack(blocks)
                matrix = fuse(bench, float(share))
            said = "; ".join(f"{n} {w:.1f}" for n, w in zip(names, weights[1:], strict=True))
            for row in bench.score(matrix, f"learned weights, {rule}", arm, seed, few=True):
                yield {**row, "share": round(float(share), 3), "weights": said}


def prior_rows(bench: Bench, genes: lx.GeneEmbedding, folder: Path, arm: str, seed: int = 0) -> Rows:
    """4: priors from the choosing sets of other studies, as weights of genes."""
    others = {n: load(n, folder, most=MOST) for n in CHOOSING if study(n) != study(bench.cells.name)}
    references = {n: (c.adata, "label") for n, c in others.items()}
    n_genes = min(1000, len(genes) // 2)
    vectors = shuffled(genes, seed=seed) if arm == "shuffled" else genes
    prior = lx.emb.gene_prior(vectors, references, n_controls=0)
    if arm == "measured":  # what the references measured of each gene itself, without text: the prior's own teacher
        told = np.nan_to_num(together([t.beyond for t in reference_targets(genes, references).values()]))
        prior = lx.emb.GenePrior(prior.table.assign(prior=told), prior.evidence, prior.params)
        panel = list(lx.emb.gene_panel(genes, n_genes, pilot=bench.adata, prior=prior, weight=0.0, **TOTAL).index)
        yield from bench.score(panel_pca(bench, panel), "prior, genes, w = 0", "expression", few=True)
    yield from weighted(bench, genes, prior, standard(prior.table["prior"].to_numpy()), n_genes, arm, seed)


def standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / max(x.std(), 1e-12)


def panel_pca(bench: Bench, panel: list[str]) -> np.ndarray:
    part = bench.adata[:, panel].copy()
    lx.emb.expression_pca(part, n_top_genes=None, key_added="X_e", **TOTAL)
    return np.asarray(part.obsm["X_e"])


def weighted(bench: Bench, genes: lx.GeneEmbedding, prior: lx.emb.GenePrior, score: np.ndarray, n: int, arm: str,
             seed: int) -> Rows:  # fmt: skip
    adata = bench.adata
    log = log_cp10k(sp.csr_matrix(adata.X), adata.obs["total"].to_numpy())
    columns = adata.var_names.get_indexer(genes.ids)
    z, base = zscore_sparse(log[:, columns], *column_stats(log[:, columns]))
    space = GeneSpace.fit(genes.vectors).transform(genes.vectors).astype(np.float64)
    bench.expression(1000)
    variable = adata.var_names.get_indexer(adata.uns["lexicell"]["X_e"]["hvg"])
    dense = zscore_block(log[:, variable], *column_stats(log[:, variable]))
    of_gene = pd.Series(score, index=genes.ids).reindex(adata.var_names[variable]).fillna(0.0).to_numpy()
    for w in WEIGHTS:
        panel = list(lx.emb.gene_panel(genes, n, pilot=adata, prior=prior, weight=w, **TOTAL).index)
        yield from bench.score(panel_pca(bench, panel), f"prior, genes, w = {w}", arm, seed, few=True)
        adata.obsm["X_blocks"] = dense * np.exp(w * of_gene)
        yield from bench.score(fuse(bench, 1.0), f"prior, z-scores, w = {w}", arm, seed, few=True)
        heavy = space * np.exp(w * score)[:, None]
        adata.obsm["X_blocks"] = np.asarray(z @ heavy) + base @ heavy
        yield from bench.score(fuse(bench, 0.25), f"prior, pooled, w = {w}", arm, seed, few=True)


def representations(bench: Bench, genes: lx.GeneEmbedding) -> Iterator[tuple[np.ndarray, str, str, int]]:
    """What 6 and 7 compare."""
    for n in GENES:
        yield bench.expression(n), f"PCA, {n} genes", "expression", 0
    for arm, seed, vectors in arms(genes):
        if arm == "shuffled" and seed == SEEDS[-1]:
            continue
        white = bench.whitened(vectors)
        yield bench.fused(white, 0.25, 20), "names + GO, fused", arm, seed
        yield reduced(white), "names + GO, alone", arm, seed


def rare_rows(cells: Cells, genes: lx.GeneEmbedding) -> Rows:
    """6: each of the six largest types in turn is cut to 2 % of the cells."""
    labels = cells.labels.astype(str)
    for t, name in enumerate(pd.Series(labels).value_counts().index[:6]):
        mine, rest = np.flatnonzero(labels == name), np.flatnonzero(labels != name)
        n = max(10, round(0.02 / 0.98 * len(rest)))
        if n >= len(mine):
            continue
        kept = np.sort(np.r_[rest, np.random.default_rng([SEED, t]).choice(mine, n, replace=False)])
        bench = Bench(Cells(cells.name, cells.adata[kept].copy(), cells.stage))
        target = bench.labels.astype(str) == name
        for matrix, variant, arm, seed in representations(bench, genes):
            scores = [
                2 * (target & (codes == k)).sum() / (target.sum() + (codes == k).sum())
                for codes in clusters(matrix)
                for k in np.unique(codes)
            ]
            yield {**bench.row("planted rare type", variant, arm, seed, max(scores)), "draw": name}


def drop_out(whole: anndata.AnnData, rng: np.random.Generator) -> tuple[anndata.AnnData, np.ndarray]:
    """Half of the cells lose each molecule of a gene with mean m with probability exp(-2 m)."""
    adata, n = whole.copy(), whole.n_obs
    half = np.zeros(n, dtype=bool)
    half[rng.permutation(n)[: n // 2]] = True
    kept = sp.csr_matrix(adata.X, copy=True)
    stays = 1 - np.exp(-2 * np.asarray(kept.mean(axis=0)).ravel())
    odds = np.where(np.repeat(half, np.diff(kept.indptr)), stays[kept.indices], 1.0)
    before = row_sums(kept)
    kept.data = rng.binomial(kept.data.astype(int), odds).astype(np.float32)
    kept.eliminate_zeros()
    after = row_sums(kept)
    adata.X, adata.obs["total"] = kept, np.maximum(adata.obs["total"] * after / np.maximum(before, 1), after)
    return adata[after > 0].copy(), half[after > 0]


def damage_rows(cells: Cells, genes: lx.GeneEmbedding) -> Rows:
    """7: the damages of the first round and drop-out, two draws."""
    for draw in range(2):
        rng = np.random.default_rng([SEED, draw])
        for name, adata, half in [*damaged(cells.adata, rng), ("drop-out", *drop_out(cells.adata, rng))]:
            bench = Bench(Cells(cells.name, adata, cells.stage))
            batch = np.where(half, "changed", "as it was")
            for matrix, variant, arm, seed in representations(bench, genes):
                score = ari(clusters(matrix), bench.labels)
                yield {**bench.row(f"damage: {name}", variant, arm, seed, score), "draw": draw}
                if name != "depth 1/4":
                    mixing = batch_mixing(np.asarray(matrix), batch, bench.labels)
                    yield {**bench.row(f"mixing: {name}", variant, arm, seed, mixing), "draw": draw}


def parts_of(name: str, folder: Path, extras: Path) -> dict[str, Callable[[], Rows]]:
    cells = load(name, folder, most=MOST)
    texts = more_texts(cells, folder, extras)
    bench = Bench(cells)
    full = texts["names + GO"]
    return {
        **{
            f"shares, draw {draw}": lambda draw=draw: share_rows(load(name, folder, least=0.0, most=10**9), draw)
            for draw in range(DRAWS)
        },
        "expression": lambda: expression_rows(bench),
        "priors, text": lambda: prior_rows(bench, full(), folder, "text"),
        "priors, measured": lambda: prior_rows(bench, full(), folder, "measured"),
        **{f"priors, shuffled {s}": lambda s=s: prior_rows(bench, full(), folder, "shuffled", s) for s in SEEDS},
        "rare types": lambda: rare_rows(cells, full()),
        "damage": lambda: damage_rows(cells, full()),
        **{f"text: {text}": partial(text_rows, bench, text, make) for text, make in texts.items()},
        "learned weights": lambda: learned_rows(bench, texts),
    }


def summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Means over the sets of each stage: text, its shuffled controls and their spread, the best expression baseline."""
    mean = trials.groupby(["stage", "data", "regime", "variant", "arm"], sort=False)["score"].mean().reset_index()
    base = mean[mean["arm"] == "expression"].groupby(["data", "regime"])["score"].max()
    out = []
    for (stage, regime, variant), part in mean[mean["arm"] == "text"].groupby(
        ["stage", "regime", "variant"], sort=False
    ):
        same = trials[(trials["stage"] == stage) & (trials["regime"] == regime) & (trials["variant"] == variant)]
        each = same[same["arm"] == "shuffled"].groupby(["seed", "data"])["score"].mean().groupby("seed").mean()
        control = same[same["arm"] == "shuffled"].groupby("data")["score"].mean().mean()  # sets may have other draws
        best = np.array([base.get((d, regime), np.nan) for d in part["data"]])
        gains = part["score"].to_numpy() - best
        told = same[same["arm"] == "measured"]
        out.append({
            "stage": stage, "regime": regime, "variant": variant, "sets": len(part), "text": part["score"].mean(),
            "shuffled": control, "shuffled_sd": each.std(), "expression": best.mean(), "gain": gains.mean(),
            "over_shuffled": part["score"].mean() - control, "worst_loss": gains.min(),
            "measured": told.groupby("data")["score"].mean().mean() if len(told) else np.nan,
        })  # fmt: skip
    return pd.DataFrame(out).round(4)


def search(target: Path, options: argparse.Namespace) -> None:
    if options.fresh:
        target.unlink(missing_ok=True)
    warnings.simplefilter("ignore")
    asked = [p for p in options.part.split(";") if p]
    for name, (*_, stage) in {**SETS, **SECOND}.items():
        if stage != options.stage or options.only not in ("", name):
            continue
        for part, make in parts_of(name, options.data, options.extras).items():
            found = finished(target)
            if ((found["data"] == name) & (found["part"] == part)).any():
                continue
            if asked and not any(part.startswith(a) for a in asked):
                continue
            began = time.process_time()
            rows = pd.DataFrame(list(make()) or [{"data": name}]).assign(part=part)
            # Read anew: another process may have finished another piece meanwhile.
            pd.concat([finished(target), rows], ignore_index=True).to_csv(target, index=False)
            print(f"{name}, {part}: {len(rows)} rows, {time.process_time() - began:.0f} s", flush=True)


def finished(target: Path) -> pd.DataFrame:
    return pd.read_csv(target) if target.exists() else pd.DataFrame(columns=["data", "part"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("stage", choices=["choose", "confirm", "summary"])
    parser.add_argument("--extras", type=Path, default=Path("extras"), help="folder of what _more_texts.py names")
    parser.add_argument("--only", default="", help="one data set")
    parser.add_argument("--part", default="", help="pieces, such as 'shares;text: GO'; beginnings are enough")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    if options.stage != "summary":
        search(HERE / f"second_{options.stage}.csv", options)
    found = [pd.read_csv(p) for p in sorted(HERE.glob("second_c*.csv"))]
    summary(pd.concat(found, ignore_index=True)).to_csv(HERE / "second_summary.csv", index=False)


if __name__ == "__main__":
    main()
