"""Ways to find the genes of a phrase, chosen on some programmes and cells and confirmed on others.

    python evaluation/concepts/search.py [choose|confirm] [--seeds 10]

Texts are symbol, name and RefSeq summary: no GO terms stand in them. `choose` scores every way on programmes of even
number (their place in concepts32.tsv) planted into cells of kang_pbmc and mixology, and writes ``results/search.csv``.
`confirm` scores the default and the best of those, with shuffled texts, on programmes of odd number in the same cells
with other seeds, and on all programmes in cells of kang_donors, and writes ``results/search_confirmed.csv``.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).parents[1] / "vulnerability"))
from _benchmark import DATA, Base, base, embed, go_programmes, shuffles, texts
from _simulator import simulate

from lexicell.core.concepts import contrast_scores
from lexicell.sources import lexicon

OUT = Path(__file__).parent / "results"
SEED = 9_117
TABLE = pd.read_csv(DATA / "concepts32.tsv", sep="\t").fillna("")
PHRASES = TABLE["concept"].tolist()
FRAMES = (
    "{}", "This gene encodes a protein involved in {}.", "The encoded protein plays a role in {}.", "genes of {}",
    "Mutations in this gene disturb {}.",
)  # fmt: skip

Matrix = np.ndarray
Way = Callable[["Words"], Matrix]


def unit(M: Matrix) -> Matrix:
    return M / np.maximum(np.linalg.norm(M, axis=-1, keepdims=True), 1e-12)


class Words:
    """Vectors of genes, phrases and lexicon over one set of cells, made when asked for."""

    def __init__(self, b: Base, order: Matrix | None = None) -> None:
        self.genes = b.genes
        self.expression = np.log1p(1e4 * b.profiles).mean(axis=0)
        self.order = np.arange(len(b.genes)) if order is None else order
        plain = texts(b.genes, "summary")
        self.texts = [plain[i] for i in self.order]
        self.E = embed(self.texts).astype(float)
        self.mu = self.E.mean(axis=0)
        self.C = unit(self.E - self.mu)
        self.Q, self.B = embed(PHRASES).astype(float), lexicon.load()[1].astype(float)
        self.made: dict[str, Matrix] = {}

    def keep(self, name: str, make: Callable[[], Matrix]) -> Matrix:
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def framed(self) -> list[Matrix]:
        return [embed([f.format(p) for p in PHRASES]).astype(float) for f in FRAMES]

    def pieces(self) -> tuple[Matrix, Matrix]:
        """Vectors of the sentences of all texts, each behind the gene's name, and the gene of each."""
        parts, gene = [], []
        for g, text in enumerate(self.texts):
            head, _, rest = text.partition(". ")
            sentences = [s for s in re.split(r"(?<=[a-z)\]]\.)\s+(?=[A-Z])", rest) if len(s) > 20] or [""]
            for s in sentences:
                parts.append(s if s else head)
                gene.append(g)
            parts.append(head)
            gene.append(g)
        return embed(parts).astype(float), np.array(gene)

    def lexical(self, queries: list[str]) -> Matrix:
        """Cosines of words and of their latent components between queries and gene texts."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        about = lexicon.load()[0]
        words = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=2, token_pattern=r"[a-zA-Z][a-zA-Z-]+")
        X = words.fit_transform(self.texts + (about["concept"] + ": " + about["description"]).tolist())
        svd = TruncatedSVD(min(200, len(self.texts) // 4), random_state=0).fit(X[: len(self.texts)])
        G, Q = svd.transform(X[: len(self.texts)]), svd.transform(words.transform(queries))
        return unit(Q - G.mean(axis=0)) @ unit(G - G.mean(axis=0)).T


def weights(cosine: Matrix, usual: Matrix | float, n: int = 50, power: float = 2.0) -> Matrix:
    """As `lexicell.core.concepts.concept_sets` makes them, from cosines and what is usual for each gene."""
    s = np.where(cosine > 0, cosine - usual, 0.0)
    keep = min(n, s.shape[1] // 2)
    out = np.zeros_like(s)
    for q, row in enumerate(s):
        best = np.argsort(-row, kind="stable")[:keep]
        best = best[row[best] > 0]
        out[q, best] = row[best] ** power
    return out / np.maximum(out.sum(axis=1, keepdims=True), 1e-300)


def usual(w: Words, factor: float = 1.0) -> Matrix:
    return factor * (w.C @ unit(w.B - w.mu).mean(axis=0))


def cosines(w: Words, queries: Matrix) -> Matrix:
    return unit(queries - w.mu) @ w.C.T


def feedback(w: Words, k: int, share: float, rounds: int = 1) -> Matrix:
    """Queries moved towards the mean of their nearest genes."""
    q = unit(w.Q - w.mu)
    for _ in range(rounds):
        s = q @ w.C.T - usual(w)
        near = np.argsort(-s, axis=1)[:, :k]
        q = unit((1 - share) * unit(w.Q - w.mu) + share * unit(w.C[near].mean(axis=1)))
    return q @ w.C.T


def lexicon_feedback(w: Words, k: int, share: float) -> Matrix:
    q, b = unit(w.Q - w.mu), unit(w.B - w.mu)
    near = np.argsort(-(q @ b.T), axis=1)[:, :k]
    return unit((1 - share) * q + share * unit(b[near].mean(axis=1))) @ w.C.T


def framed(w: Words, which: tuple[int, ...]) -> Matrix:
    every = w.framed()
    return np.mean([cosines(w, every[i]) for i in which], axis=0)


def sentences(w: Words, how: str) -> tuple[Matrix, Matrix]:
    """Cosines of phrases and of the lexicon with the sentences of a text: the largest, or a soft one."""

    def pooled() -> Matrix:
        P, gene = w.pieces()
        middle = P.mean(axis=0)
        c = unit(np.vstack([w.Q, w.B]) - middle) @ unit(P - middle).T
        starts = np.flatnonzero(np.r_[True, np.diff(gene) > 0])
        if how == "max":
            return np.maximum.reduceat(c, starts, axis=1)
        return np.log(np.add.reduceat(np.exp(8 * c), starts, axis=1) / np.bincount(gene)) / 8

    both = w.keep(f"sentences {how}", pooled)
    return both[: len(w.Q)], both[len(w.Q) :]


def smoothed(w: Words, k: int, share: float) -> Words:
    """Genes moved towards their text neighbours."""
    other = object.__new__(Words)
    other.__dict__.update(w.__dict__)
    near = np.argsort(-(w.C @ w.C.T), axis=1)[:, 1 : k + 1]
    other.C = unit((1 - share) * w.C + share * unit(w.C[near].mean(axis=1)))
    return other


def spread(w: Words, exponent: float, k: int | None = None) -> Words:
    """Directions of the gene matrix brought nearer to equal size: 1 is whitened."""
    other = object.__new__(Words)
    other.__dict__.update(w.__dict__)
    _, s, Vt = np.linalg.svd(w.E - w.mu, full_matrices=False)
    s = np.maximum(s, 1e-3 * s[0])
    A = Vt[:k].T * s[:k] ** -exponent
    for name in ("E", "Q", "B"):
        setattr(other, name, (getattr(w, name) - w.mu) @ A)
    other.mu, other.C = np.zeros(A.shape[1]), unit(other.E)
    return other


def csls(w: Words, k: int) -> Matrix:
    every = unit(np.vstack([w.Q, w.B]) - w.mu) @ w.C.T
    of_gene = np.sort(every, axis=0)[-k:].mean(axis=0)
    of_query = np.sort(every, axis=1)[:, -50:].mean(axis=1)
    return every[: len(w.Q)] - of_gene / 2 - of_query[: len(w.Q), None] / 2 + of_query.mean() / 2 + of_gene.mean() / 2


def near_background(w: Words, k: int) -> Matrix:
    """Background: for each phrase, the lexicon but for the concepts near the phrase."""
    q, b = unit(w.Q - w.mu), unit(w.B - w.mu)
    far = np.argsort(q @ b.T, axis=1)[:, : len(b) - k]
    return np.stack([w.C @ b[f].mean(axis=0) for f in far])


def parts(w: Words, share: float, how: str = "max") -> Matrix:
    """Whole text and its best sentence together."""
    q, b = sentences(w, how)
    whole = cosines(w, w.Q) - usual(w)
    s = (1 - share) * whole + share * (q - b.mean(axis=0))
    return weights(np.maximum(s, 0), 0.0)


def with_words(w: Words, share: float) -> Matrix:
    about = lexicon.load()[0]
    L = w.keep("lexical", lambda: w.lexical(PHRASES + (about["concept"] + ": " + about["description"]).tolist()))
    q, b = L[: len(PHRASES)], L[len(PHRASES) :]
    s = (1 - share) * (cosines(w, w.Q) - usual(w)) + share * (q - b.mean(axis=0)) * 0.5
    return weights(np.maximum(s, 0), 0.0)


def ways(*, with_sentences: bool = True) -> dict[str, Way]:
    """Weights of phrases x genes, by name; the sentences of thousands of genes take minutes to embed."""
    # fmt: off
    found: dict[str, Way] = {"default": lambda w: weights(cosines(w, w.Q), usual(w))}
    for n in (25, 35, 100, 200):
        found[f"{n} genes"] = lambda w, n=n: weights(cosines(w, w.Q), usual(w), n)
    for p in (1.0, 1.5, 3.0):
        found[f"power {p}"] = lambda w, p=p: weights(cosines(w, w.Q), usual(w), power=p)
    for p, n in ((3.0, 100), (3.0, 200), (4.0, 200)):
        found[f"power {p}, {n} genes"] = lambda w, p=p, n=n: weights(cosines(w, w.Q), usual(w), n, p)
    for f in (0.5, 1.5, 2.0):
        found[f"background x {f}"] = lambda w, f=f: weights(cosines(w, w.Q), usual(w, f))
    for k in (20, 100):
        found[f"background without the {k} nearest"] = lambda w, k=k: weights(cosines(w, w.Q), near_background(w, k))
    for k in (5, 10, 20, 50):
        for share in (0.25, 0.5, 0.75):
            found[f"feedback {k} genes, {share}"] = lambda w, k=k, s=share: weights(feedback(w, k, s), usual(w))
    found["feedback 10 genes, 0.5, thrice"] = lambda w: weights(feedback(w, 10, 0.5, 3), usual(w))
    for k in (1, 3, 5):
        for share in (0.25, 0.5):
            found[f"lexicon {k}, {share}"] = lambda w, k=k, s=share: weights(lexicon_feedback(w, k, s), usual(w))
    frames = {"frame 1": (1,), "frame 2": (2,), "frames 0-2": (0, 1, 2), "all frames": (0, 1, 2, 3, 4)}
    for name, which in frames.items():
        found[name] = lambda w, i=which: weights(framed(w, i), usual(w))
    for how in ("max", "soft") if with_sentences else ():
        for share in (0.25, 0.5, 0.75, 1.0):
            found[f"sentences {how}, {share}"] = lambda w, h=how, s=share: parts(w, s, h)
    for k in (5, 20):
        for share in (0.25, 0.5):
            found[f"genes smoothed over {k}, {share}"] = lambda w, k=k, s=share: (
                lambda v: weights(cosines(v, v.Q), usual(v))
            )(smoothed(w, k, s))
    for e in (0.25, 0.5, 1.0):
        found[f"spread {e}"] = lambda w, e=e: (lambda v: weights(cosines(v, v.Q), usual(v)))(spread(w, e))
    for k in (100, 200):
        found[f"spread 0.5, {k} directions"] = lambda w, k=k: (lambda v: weights(cosines(v, v.Q), usual(v)))(
            spread(w, 0.5, k)
        )
    for k in (10, 50):
        found[f"CSLS {k}"] = lambda w, k=k: weights(csls(w, k), 0.0)
    for share in (0.25, 0.5, 0.75, 1.0):
        found[f"words {share}"] = lambda w, s=share: with_words(w, s)
    # fmt: on
    return found


def studies(b: Base, seeds: range, odd: int | None, tag: int) -> tuple[Matrix, Matrix]:
    """Change of each gene from controls to cases in the target type, and the planted phrase, of each study."""
    changes, truth = [], []
    for seed in seeds:
        for place, (concept, members) in enumerate(go_programmes(b.genes).items()):
            number = PHRASES.index(concept)
            if odd is not None and number % 2 != odd:
                continue
            rng = np.random.default_rng([SEED, tag, seed, place])
            target = int(rng.integers(len(b.kinds)))
            m = simulate(b, rng, programme=members, fold=2.0, fraction=0.5, target=target).means[target]
            changes.append(m[4:].mean(axis=0) - m[:4].mean(axis=0))
            truth.append(number)
    return np.array(changes), np.array(truth)


def ranks(sets: Matrix, changes: Matrix, truth: Matrix, expression: Matrix) -> Matrix:
    z = contrast_scores(changes, sp.csr_matrix(sets), expression).z
    return 1 + (z > z[np.arange(len(z)), truth][:, None]).sum(axis=1)


def measured(name: str, which: dict[str, Way], w: Words, data: tuple[Matrix, Matrix], **about: object) -> list[dict]:
    rows = []
    for way, make in which.items():
        print(name, about, way, flush=True)
        r = ranks(make(w), *data, w.expression)
        rows.append({"cells": name, "way": way, **about, "studies": len(r), "top1": (r == 1).mean(),
                     "top3": (r <= 3).mean(), "mean_rank": r.mean(), "mrr": (1 / r).mean()})  # fmt: skip
    return rows


def choose(n_seeds: int) -> None:
    rows = []
    for tag, name in enumerate(("kang_pbmc", "mixology")):
        b = base(name)
        print(name, len(b.genes), flush=True)
        which = ways(with_sentences=name == "kang_pbmc")
        rows += measured(name, which, Words(b), studies(b, range(n_seeds), 0, tag))
    found = pd.DataFrame(rows)
    found.to_csv(OUT / "search.csv", index=False, float_format="%.4f")
    table = found.groupby("way", sort=False)[["top1", "top3", "mrr", "mean_rank"]].mean().sort_values("mrr")
    print(table.to_string(float_format="%.3f"))


def confirm(n_seeds: int, chosen: list[str]) -> None:
    rows = []
    which = {name: ways()[name] for name in chosen}
    for tag, name, odd in ((13, "kang_donors", None), (10, "kang_pbmc", 1), (11, "mixology", 1)):
        b = base(name)
        data = studies(b, range(n_seeds), odd, tag)
        programmes = "odd" if odd else "all"
        rows += measured(name, which, Words(b), data, programmes=programmes, control="none")
        orders = shuffles(len(b.genes), np.log1p(1e4 * b.profiles).mean(axis=0), np.random.default_rng(SEED), 2)
        for control, order in orders.items():
            rows += measured(name, which, Words(b, order), data, programmes=programmes, control=control)
        pd.DataFrame(rows).to_csv(OUT / "search_confirmed.csv", index=False, float_format="%.4f")
        print(pd.DataFrame(rows).tail(40).to_string(float_format="%.3f"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["choose", "confirm"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--way", action="append", default=["default"])
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.part == "choose":
        choose(asked.seeds)
    else:
        confirm(asked.seeds, asked.way)


if __name__ == "__main__":
    main()
