"""Score the search on phrases that were written, with genes that must and must not lead, before any was searched for.

    python evaluation/concepts/phrases.py

Writes ``results/phrases.csv`` (one row a method) and ``results/phrases_found.csv`` (one row a phrase, the default). The
list is tests/core/genes/phrases.tsv: a phrase is right if enough of its genes are among the first 20 of all human genes
and none of those that only sound alike. `others` are the phrases that are no name or synonym of the lexicon.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _cosine import cosine_sets

from lexicell.core.genes.retrieval import WEIGHTS, PhraseSearch
from lexicell.sources import lexicon
from lexicell.sources.annotation import human_search, load_lexicon

OUT = Path(__file__).parent / "results"
LIST = Path(__file__).parents[2] / "tests" / "core" / "genes"
METHODS = {
    "default": {},
    "without markers": {"lexicon": 0.0},
    "without meaning": {"meaning": 0.0},
    "without words": {"words": 0.0},
    "without annotation": {"annotation": 0.0},
    "words alone (BM25)": {"lexicon": 0.0, "meaning": 0.0, "annotation": 0.0},
    "meaning alone": {"lexicon": 0.0, "words": 0.0, "annotation": 0.0},
    "annotation alone": {"lexicon": 0.0, "meaning": 0.0, "words": 0.0},
}


def is_right(scores: np.ndarray, search: PhraseSearch, row: pd.Series) -> bool:
    first = np.argsort(-scores, kind="stable")[:20]
    top = {search.symbols[g] for g in first if scores[g] > 0}
    return len(top & set(row["lead"].split())) >= row["needed"] and not top & set(row["not"].split())


def main() -> None:
    table = pd.read_csv(LIST / "phrases.tsv", sep="\t").fillna("")
    vectors = np.load(LIST / "phrases_vectors.npy").astype(np.float32)
    search, _ = human_search()
    entries = [load_lexicon().find(phrase) for phrase in table["phrase"]]
    named = np.array([bool(found) and found[0][1] == 1.0 for found in entries])
    named |= lexicon.rows(list(table["phrase"])) >= 0
    rows = []
    for method, changes in METHODS.items():
        search.weights = WEIGHTS | changes
        found = [search.find(p, v) for p, v in zip(table["phrase"], vectors, strict=True)]
        right = np.array([is_right(f.score, search, row) for f, (_, row) in zip(found, table.iterrows(), strict=True)])
        rows.append((method, right))
        if method == "default":
            leading = [np.argsort(-f.score, kind="stable")[:20] for f in found]
            shown = table[["phrase", "kind"]].assign(right=right, named=named)
            shown["genes"] = [", ".join(search.symbols[g] for g in first) for first in leading]
            shown["why first"] = [search.reason(f, int(first[0])) for f, first in zip(found, leading, strict=True)]
            shown.to_csv(OUT / "phrases_found.csv", index=False)
    search.weights = dict(WEIGHTS)
    before = cosine_sets(search.raw_vectors, vectors, background=lexicon.load()[1]).toarray()
    right = [is_right(line, search, row) for line, (_, row) in zip(before, table.iterrows(), strict=True)]
    rows.append(("before (nearest by cosine)", np.array(right)))
    frame = pd.DataFrame(
        [
            {
                "method": method,
                "right": int(right.sum()),
                "of": len(right),
                "others_right": int(right[~named].sum()),
                "others": int((~named).sum()),
                **{kind: int(right[table["kind"] == kind].sum()) for kind in table["kind"].unique()},
            }
            for method, right in rows
        ]
    )
    frame.to_csv(OUT / "phrases.csv", index=False)
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
