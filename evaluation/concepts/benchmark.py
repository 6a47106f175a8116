"""Measure whether words name the cell types of labelled sets, and the right ones only.

    LEXICELL_TEST_DATA=... python evaluation/concepts/benchmark.py

Writes ``results/words.csv`` (one row a method and set), ``words_summary.csv`` (one row a method and half, weighted by
types) and ``words_shown.csv`` (the words shown for every type). Needs the extra `local` for the vectors of the phrases.

Candidates are all cell types of the lexicon, by name. A word and the true type are, by rule, the same (self), one above
the other (ancestor, descendant), of one lineage (relative: a common ancestor below `BROAD`) or of another lineage.

phrase_first
    Of the set's own phrases: the group that scores highest is the right one.
type_first, type_first_scaled
    Of the set's own phrases: the type's own comes first; scaled: each phrase's scores divided by their standard
    deviation over the types, so that phrases compare.
lead_sensible, lead_strict
    The first of all words shown is not of another lineage; is the type itself, an ancestor or a descendant.
other_shown
    Words of another lineage among the words shown.
with_word
    Types with any word; the others have "no clear word".

Settings were chosen on the sets of the half "choose". Controls: the scores of genes shuffled, texts and markers with
them (5 copies, mean).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _cosine import cosine_sets
from _types import SETS, Types, load

from lexicell import embedders
from lexicell.core.genes.concepts import contrast_scores
from lexicell.core.genes.retrieval import WEIGHTS, Entry, gene_sets
from lexicell.core.genes.word_selection import allowed_words, guess_tissues, select_words, word_scores
from lexicell.sources import lexicon
from lexicell.sources.annotation import human_search

OUT = Path(__file__).parent / "results"
BROAD = {
    "hematopoietic cell", "leukocyte", "neural cell", "epithelial cell", "stromal cell", "endocrine cell",
    "vascular cell",
}  # fmt: skip
METHODS = {
    "hybrid": WEIGHTS,
    "hybrid without markers": WEIGHTS | {"lexicon": 0.0},
    "markers alone": {"lexicon": 1.0},
    "words alone (TF-IDF)": {"words": 1.0},
    "meaning alone": {"meaning": 1.0},
    "annotation alone": {"annotation": 1.0},
}
COPIES = 5


def above(name: str, entries: dict[str, Entry]) -> set[str]:
    """An entry and all above it."""
    return {name}.union(*(above(parent, entries) for parent in entries[name].parents))


def relation(word: str, truth: str, entries: dict[str, Entry]) -> str:
    if word == truth:
        return "self"
    mine, true = above(word, entries), above(truth, entries)
    if word in true:
        return "ancestor"
    if truth in mine:
        return "descendant"
    return "relative" if (mine & true) - BROAD else "other"


class Candidates:
    """All cell types of the lexicon with what each part of the search gives them."""

    def __init__(self) -> None:
        self.search, self.row = human_search()
        assert self.search.lexicon is not None
        self.entries = {e.name: e for e in self.search.lexicon.entries}
        self.words = [e.name for e in self.entries.values() if e.category == "cell type"]
        self.tissues = [self.entries[w].tissues for w in self.words]
        self.vectors = embedders.embed(self.words, "local")
        found = [self.search.find(w, v) for w, v in zip(self.words, self.vectors, strict=True)]
        self.parts = {k: np.stack([f.parts[k] / WEIGHTS[k] for f in found]) for k in WEIGHTS}

    def scores(self, weights: dict[str, float]) -> np.ndarray:
        return np.asarray(sum(w * self.parts[name] for name, w in weights.items()))

    def columns(self, types: Types) -> np.ndarray:
        return np.asarray([self.row.get(g, -1) for g in types.gene_ids])


def rows_of(types: Types, found: Candidates, own: np.ndarray, shown: list[list[int]]) -> dict[str, float]:
    """Figures of one method on one set; `own` is types x all words."""
    among = own[:, [found.words.index(w) for w in types.words]]
    right = np.arange(len(types.words))
    said = [[relation(found.words[w], t, found.entries) for w in s] for s, t in zip(shown, types.words, strict=True)]
    leads = [s[0] for s in said if s]
    every = [r for s in said for r in s]
    return {
        "types": len(types.words),
        "phrase_first": float((among.argmax(axis=0) == right).mean()),
        "type_first": float((among.argmax(axis=1) == right).mean()),
        "type_first_scaled": float(((among / (among.std(axis=0) + 1e-9)).argmax(axis=1) == right).mean()),
        "with_word": len(leads) / len(said),
        "lead_sensible": float(np.mean([r != "other" for r in leads])) if leads else 0.0,
        "lead_strict": float(np.mean([r in {"self", "ancestor", "descendant"} for r in leads])) if leads else 0.0,
        "shown": len(every) / len(said),
        "other_shown": float(np.mean([r == "other" for r in every])) if every else 0.0,
    }


def hybrid(
    types: Types, found: Candidates, scores: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, list[list[int]]]:
    sets = gene_sets(scores, columns)
    own = word_scores(types.change, sets, types.expression)
    allowed = allowed_words(found.tissues, guess_tissues(own, found.tissues))
    shown = select_words(types.change, sets, types.expression, allowed=allowed)
    return own, [[s.word for s in group] for group in shown]


def today(types: Types, found: Candidates, columns: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """The method before: nearest genes by cosine, five words a group."""
    vectors = found.search.raw_vectors[columns]
    sets = cosine_sets(vectors, found.vectors, background=lexicon.load()[1])
    z = contrast_scores(types.change, sp.csr_matrix(sets), types.expression).z
    return z, [[int(w) for w in np.argsort(-line, kind="stable")[:5] if line[w] > 0] for line in z]


def main() -> None:
    found = Candidates()
    rows, table = [], []
    rng = np.random.default_rng(17)
    for name in SETS:
        types = load(name)
        columns = found.columns(types)
        known = columns >= 0
        types = Types(
            types.name, types.words, [g for g, k in zip(types.gene_ids, known, strict=True) if k],
            types.change[:, known], types.share[:, known], types.expression[known], types.half, types.tissue,
        )  # fmt: skip
        columns = columns[known]
        head = {"set": name, "half": types.half}
        for method, weights in METHODS.items():
            own, shown = hybrid(types, found, found.scores(weights), columns)
            rows.append({"method": method, **head, **rows_of(types, found, own, shown)})
            if method == "hybrid":
                table += [
                    {**head, "type": t, "words": ", ".join(found.words[w] for w in s),
                     "relations": ", ".join(relation(found.words[w], t, found.entries) for w in s)}
                    for t, s in zip(types.words, shown, strict=True)
                ]  # fmt: skip
        rows.append(
            {"method": "before (nearest by cosine)", **head, **rows_of(types, found, *today(types, found, columns))}
        )
        copies = []
        for _ in range(COPIES):
            order = rng.permutation(len(found.row))
            copies.append(rows_of(types, found, *hybrid(types, found, found.scores(WEIGHTS)[:, order], columns)))
        rows.append({"method": "hybrid, genes shuffled", **head, **pd.DataFrame(copies).mean().to_dict()})
        print(name, flush=True)
    frame = pd.DataFrame(rows)
    frame.to_csv(OUT / "words.csv", index=False, float_format="%.4f")
    pd.DataFrame(table).to_csv(OUT / "words_shown.csv", index=False)
    summary = summarize(frame)
    summary.to_csv(OUT / "words_summary.csv", index=False, float_format="%.3f")
    print(summary.to_string(index=False, float_format="%.3f"))


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over sets, weighted by types; relations of words by the number of words."""
    out = []
    for (method, half), part in frame.groupby(["method", "half"], sort=False):
        by = {"lead_sensible": part["types"] * part["with_word"], "lead_strict": part["types"] * part["with_word"]}
        by["other_shown"] = part["types"] * part["shown"]
        means = {
            column: float(np.average(part[column], weights=np.maximum(by.get(column, part["types"]), 1e-9)))
            for column in frame.columns[4:]
        }
        out.append({"method": method, "half": half, "types": int(part["types"].sum()), **means})
    return pd.DataFrame(out).sort_values(["half", "method"], kind="stable")


if __name__ == "__main__":
    main()
