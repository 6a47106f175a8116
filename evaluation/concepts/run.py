"""Concepts: is the right phrase found, is a known response named, do the parts of genes add up.

    python evaluation/concepts/run.py [recovery|kang|attribution|figure] [--seeds 10]

Without a part: all of them. Writes ``results/recovery.csv``, ``kang.csv``, ``attribution.csv`` and ``concepts.png``.

Recovery measures the cosine of phrase and text alone, the part "meaning" of the search; `kang` the whole search.
Recovery plants a GO program two-fold into half of the cells of one type in the cases (4 against 4 donors, cells of
kang_donors) and ranks the 32 phrases of concepts32.tsv. How genes stand for a phrase was chosen on the programs of
even number (their place in concepts32.tsv) planted into other cells (kang_pbmc, mixology) with other seeds; the column
`confirmed` holds the programs of odd number, which that choice never saw.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _cosine import cosine_sets
from _planted import Base, base, embed, go_programs, shuffles, texts
from _shared import DATA, pyplot, wilson
from _simulator import simulate

import lexicell as lx
from lexicell.core.donors.moderated import moderated_t
from lexicell.core.donors.shift import Design
from lexicell.core.genes.concepts import contrast_scores
from lexicell.sources import lexicon

OUT = Path(__file__).parent / "results"
SEED = 20_261
COPIES = 5
DESIGN = Design.of(np.repeat([0.0, 1.0], 4))
TABLE = pd.read_csv(DATA / "concepts32.tsv", sep="\t").fillna("")
PHRASES = TABLE["concept"].tolist()
TEXTS = {"summary": False, "names": False, "bundled": True}  # whether the text contains GO terms
INTERFERON = "response to type I interferon and antiviral defense"


def studies(b: Base, n_seeds: int) -> pd.DataFrame:
    """Donor means of z in the target type, ``(8, n_genes)``, of every program and seed."""
    rows = []
    for seed in range(n_seeds):
        for place, (concept, members) in enumerate(go_programs(b.genes).items()):
            rng = np.random.default_rng([SEED, seed, place])
            target = int(rng.integers(len(b.kinds)))
            planted = simulate(b, rng, program=members, fold=2.0, fraction=0.5, target=target)
            rows.append((concept, seed, b.kinds[target], planted.means[target]))
        print(f"seed {seed}", flush=True)
    return pd.DataFrame(rows, columns=["concept", "seed", "target", "means"])


def scorings(vectors: np.ndarray, queries: np.ndarray, background: np.ndarray) -> dict[str, np.ndarray]:
    """Phrases x genes: the default and what it is compared with."""
    default = {"background": background}
    mean = vectors.mean(axis=0)
    to_mean = (queries - mean) / np.linalg.norm(queries - mean, axis=1, keepdims=True)
    cosine = to_mean @ ((vectors - mean) / np.linalg.norm(vectors - mean, axis=1, keepdims=True)).T
    nearest = np.where(np.argsort(np.argsort(-cosine, axis=1), axis=1) < 50, np.maximum(cosine, 0), 0)
    return {
        "default": cosine_sets(vectors, queries, **default).toarray(),
        "25 genes": cosine_sets(vectors, queries, n_genes=25, **default).toarray(),
        "100 genes": cosine_sets(vectors, queries, n_genes=100, **default).toarray(),
        "no background": cosine_sets(vectors, queries).toarray(),
        "no background, cosine": nearest / nearest.sum(axis=1, keepdims=True),
        "dense": cosine_sets(vectors, queries, n_genes=None).toarray(),
    }


def ranks(sets: np.ndarray, data: pd.DataFrame, expression: np.ndarray, statistic: str) -> np.ndarray:
    """Rank of the planted phrase among all, from 1."""
    import scipy.sparse as sp

    M = np.stack(data["means"].to_numpy())
    if statistic == "z":
        scores = contrast_scores(M[:, 4:].mean(axis=1) - M[:, :4].mean(axis=1), sp.csr_matrix(sets), expression).z
    else:
        scores = np.stack([moderated_t(m @ sets.T, DESIGN, shared_noise=True).t for m in M])
    true = np.array([PHRASES.index(c) for c in data["concept"]])
    return 1 + (scores > scores[np.arange(len(true)), true][:, None]).sum(axis=1)


def recovery(n_seeds: int) -> None:
    b = base("kang_donors")
    data = studies(b, n_seeds)
    confirmed = np.array([PHRASES.index(c) % 2 == 1 for c in data["concept"]])
    expression = np.log1p(1e4 * b.profiles).mean(axis=0)
    queries, background = embed(PHRASES), lexicon.load()[1].astype(np.float64)
    orders = shuffles(len(b.genes), expression, np.random.default_rng(SEED), COPIES)
    rows: list[dict[str, object]] = []

    def note(text: str, has_go: bool, scoring: str, control: str, copy: int, found: dict[str, np.ndarray]) -> None:
        for statistic, r in found.items():
            low, high = wilson((r == 1).mean(), len(r))
            rows.append({
                "text": text, "GO in text": has_go, "scoring": scoring, "control": control, "copy": copy,
                "statistic": statistic, "studies": len(r), "top1": (r == 1).mean(), "top1_low": low, "top1_high": high,
                "top3": (r <= 3).mean(), "top1_confirmed": (r[confirmed] == 1).mean(),
                "top3_confirmed": (r[confirmed] <= 3).mean(), "studies_confirmed": int(confirmed.sum()),
                "mean_rank": r.mean(),
            })  # fmt: skip

    by_program = data[["concept", "seed", "target"]].copy()
    for text, has_go in TEXTS.items():
        vectors = embed(texts(b.genes, text)).astype(np.float64)
        for scoring, sets in scorings(vectors, queries, background).items():
            found = {s: ranks(sets, data, expression, s) for s in ("z", "t")}
            note(text, has_go, scoring, "", 0, found)
            if scoring == "default":
                by_program[f"rank_{text}"] = found["z"]
        for copy, (name, order) in enumerate(orders.items()):
            sets = cosine_sets(vectors[order], queries, background=background).toarray()
            kind = "shuffled within deciles" if "deciles" in name else "shuffled"
            note(text, has_go, "default", kind, copy % COPIES, {"z": ranks(sets, data, expression, "z")})
    for copy in range(COPIES):
        vectors = np.random.default_rng(copy).normal(size=(len(b.genes), queries.shape[1]))
        sets = cosine_sets(vectors, queries, background=background).toarray()
        note("random vectors", False, "default", "random vectors", copy, {"z": ranks(sets, data, expression, "z")})
    pd.DataFrame(rows).to_csv(OUT / "recovery.csv", index=False, float_format="%.4f")
    by_program.to_csv(OUT / "recovery_ranks.csv", index=False)
    shown = pd.DataFrame(rows)
    print(shown[shown["control"] == ""].to_string(index=False, float_format="%.3f"))
    print(shown[shown["control"] != ""].groupby(["text", "control"])[["top1", "top3"]].agg(["mean", "max"]))


def kang_cells() -> ad.AnnData:
    adata = ad.read_h5ad(DATA / "kang_donors.h5ad")
    return adata[:, ~adata.var_names.duplicated()].copy()


def _genes(
    adata: ad.AnnData, text: str, order: np.ndarray | None = None, random: int | None = None
) -> lx.GeneEmbedding:
    names = adata.var_names.to_numpy().astype(str)
    vectors = (
        embed(texts(names, text)) if random is None else np.random.default_rng(random).normal(size=(len(names), 384))
    )
    vectors = vectors if order is None else vectors[order]
    about = lexicon.manifest()["space"]
    name, rest = about.split("@")
    return lx.GeneEmbedding.from_vectors(
        names, vectors, texts=texts(names, text), provenance={"embedder": name, "revision": rest.split("/")[0]}
    )


def kang() -> None:
    """Rank of interferon among the 32 phrases in stimulated against control cells, and how it tells cells apart."""
    from sklearn.metrics import roc_auc_score

    adata = kang_cells()
    queries, rows = dict(zip(PHRASES, embed(PHRASES), strict=True)), []
    expression = np.asarray(adata.X.mean(axis=0)).ravel()
    orders = shuffles(adata.n_vars, expression, np.random.default_rng(SEED), COPIES)
    runs: list[tuple[str, bool, str, dict[str, object]]] = []
    for text, has_go in TEXTS.items():
        runs += [(text, has_go, "", {})]
        runs += [(text, has_go, name, {"order": order}) for name, order in orders.items()]
    runs += [("random vectors", False, f"random vectors {i}", {"random": i}) for i in range(COPIES)]
    for text, has_go, control, options in runs:
        genes = _genes(adata, text if text in TEXTS else "names", **options)
        for kind in sorted(adata.obs["cluster_id"].astype(str).unique()):
            part = adata[adata.obs["cluster_id"].astype(str) == kind].copy()
            lx.tl.concepts(part, queries, genes=genes, groupby="group_id")
            table = part.uns["lexicell"]["X_text"]["concepts"]["table"].query("group == 'stim'")
            z = table.set_index("concept")["z"]
            score = part.obsm["text_concepts"][INTERFERON]
            rows.append({
                "text": text, "GO in text": has_go, "control": control, "cell_type": kind,
                "rank": 1 + int((z > z[INTERFERON]).sum()), "z": z[INTERFERON],
                "auroc": roc_auc_score(part.obs["group_id"].astype(str) == "stim", score), "cells": part.n_obs,
            })  # fmt: skip
    found = pd.DataFrame(rows)
    found.to_csv(OUT / "kang.csv", index=False, float_format="%.4f")
    print(found[found["control"] == ""].to_string(index=False, float_format="%.3f"))
    print(found[found["control"] != ""].groupby("text")[["rank", "auroc"]].describe().T.to_string(float_format="%.2f"))


def attribution() -> None:
    """Largest distance of the sum of parts from the whole, over representations and what is explained."""
    from lexicell.core.transfer.classify import fit_logistic

    rows = []
    full = kang_cells()
    genes = lx.emb.genes(full, organism="human")
    for preset in ("paper", "genept-w", "scelmo-wa", "scelmo-aa", "whitened"):
        adata = full.copy()
        lx.emb.cells(adata, genes, preset=preset)
        keys = ["X_text"]
        if preset == "whitened":
            lx.emb.fuse(adata)
            lx.emb.expression_pca(adata)
            keys += ["X_text_fused", "X_expression"]
        for key in keys:
            cell = str(adata.obs_names[7])
            asked = {
                "clusters against the rest": {"groupby": "cluster_id"},
                "a condition in a type": {
                    "groupby": "group_id",
                    "group": "stim",
                    "reference": "ctrl",
                    "subset": {"cluster_id": "CD14+ Monocytes"},
                },
                "a group's embedding": {"groupby": "cluster_id", "reference": "nothing"},
                "a cell's embedding": {"group": cell, "reference": "nothing"},
            }
            if not adata.uns["lexicell"][key].get("params", {}).get("l2", False):
                y = (adata.obs["group_id"].astype(str) == "stim").to_numpy()
                model = fit_logistic(adata.obsm[key], y, adata.obs["sample_id"].astype(str).to_numpy())
                asked["a classifier's decision"] = {"group": cell, "reference": "nothing", "direction": model}
            if key != "X_expression":
                asked["a cell's concept score"] = {
                    "group": cell,
                    "reference": "nothing",
                    "concept": "interferon signalling",
                }
            for what, options in asked.items():
                lx.tl.explain(adata, use_rep=key, **options)
                found = adata.uns["lexicell"][key]["explain"]
                whole = found["totals"].set_index("group")["whole"]
                parts = found["table"].groupby("group")["part"].sum()
                error = float(((parts - whole).abs() / np.maximum(whole.abs(), 1)).max())
                rows.append(
                    {"preset": preset, "representation": key, "explained": what, "wholes": len(whole), "error": error}
                )
    frame = pd.DataFrame(rows)
    frame.to_csv(OUT / "attribution.csv", index=False, float_format="%.2e")
    print(frame.to_string(index=False))


def figure() -> None:
    plt = pyplot()

    found, responses = pd.read_csv(OUT / "recovery.csv"), pd.read_csv(OUT / "kang.csv")
    found["control"] = found["control"].fillna("")
    responses["control"] = responses["control"].fillna("")
    fig, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained", width_ratios=[1.6, 1])
    own = found[(found["control"] == "") & (found["statistic"] == "z")]
    labels, y = [], 0
    for text, mark in (("summary", ""), ("names", ""), ("bundled", " (GO in text)")):
        for scoring in ("default", "no background", "no background, cosine", "dense"):
            row = own[(own["text"] == text) & (own["scoring"] == scoring)].iloc[0]
            color = "#0072B2" if scoring == "default" else "#9ecae1"
            left.barh(y, row["top1"], color=color, alpha=0.5 if mark else 1)
            left.plot([row["top1_low"], row["top1_high"]], [y, y], color="black", lw=1)
            left.plot(row["top3"], y, "D", color="#D55E00", ms=4)
            labels.append(f"{text}{mark}: {scoring}")
            y += 1
    for control in ("shuffled", "shuffled within deciles", "random vectors"):
        rows = found[(found["control"] == control) & found["text"].isin(["summary", "random vectors"])]
        left.barh(y, rows["top1"].mean(), color="#bdbdbd")
        left.plot(rows["top1"], [y] * len(rows), ".", color="black", ms=3)
        left.plot(rows["top3"].mean(), y, "D", color="#D55E00", ms=4)
        labels.append(control)
        y += 1
    left.set_yticks(range(y), labels, fontsize=8)
    left.invert_yaxis()
    left.axvline(0.45, color="black", ls=":", lw=1)
    left.axvline(0.65, color="black", ls="--", lw=1)
    left.set(xlim=(0, 1), xlabel="share of studies: phrase is first of 32 (bar), among 3 (diamond)")
    left.set_title("GO programs, two-fold in half of the cells", fontsize=10)
    kinds = sorted(responses["cell_type"].unique())
    for i, kind in enumerate(kinds):
        mine = responses[responses["cell_type"] == kind]
        for text, marker in (("summary", "o"), ("names", "s"), ("bundled", "^")):
            row = mine[(mine["text"] == text) & (mine["control"] == "") & (mine["scoring"] == "default")].iloc[0]
            right.plot(row["auroc"], i, marker, color="#0072B2", label=text if i == 0 else None)
        others = mine[mine["control"] != ""]
        right.plot(
            others["auroc"], [i + 0.15] * len(others), ".", color="#bdbdbd", label="controls" if i == 0 else None
        )
    right.axvline(0.92, color="black", ls=":", lw=1)
    right.set_yticks(range(len(kinds)), kinds, fontsize=8)
    right.set(xlim=(0, 1.03), xlabel="AUROC of the interferon score")
    right.legend(fontsize=7, loc="lower left", frameon=False)
    ranks = responses[(responses["control"] == "") & (responses["scoring"] == "default")]["rank"]
    right.set_title(f"Interferon: rank of 32 is 1 in {(ranks == 1).sum()} of {len(ranks)}", fontsize=10)
    fig.savefig(OUT / "concepts.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="?", choices=["recovery", "kang", "attribution", "figure"])
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    for name, part in {
        "recovery": lambda: recovery(asked.seeds), "kang": kang, "attribution": attribution, "figure": figure
    }.items():  # fmt: skip
        if asked.part in (None, name):
            print(f"== {name}", flush=True)
            part()


if __name__ == "__main__":
    main()
