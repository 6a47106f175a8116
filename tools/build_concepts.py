"""Embed the lexicon: data/concepts.tsv -> data/concepts_vectors.npy and its manifest.

    python tools/build_concepts.py

Run it after an edit of concepts.tsv. Needs the extra `local`. The table is checked first: unique names, known columns,
one sentence each, sorted into runs of one category.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

import lexicell
from lexicell import embedders
from lexicell._keys import space_of
from lexicell.sources import lexicon

DATA = Path(__file__).parents[1] / "src" / "lexicell" / "data"


def check(table: pd.DataFrame) -> None:
    """Stop at the first flaw of the table."""
    if list(table.columns) != ["concept", "category", "description"]:
        raise SystemExit(f"columns are {list(table.columns)}")
    for column in table:
        flawed = table[column].str.strip().ne(table[column]) | table[column].eq("")
        if flawed.any():
            raise SystemExit(f"empty or padded {column}: {table[flawed].iloc[0].to_dict()}")
    twice = table["concept"].str.casefold().duplicated()
    if twice.any():
        raise SystemExit(f"named twice: {list(table['concept'][twice])}")
    unfinished = ~table["description"].str.endswith(".")
    if unfinished.any():
        raise SystemExit(f"no full stop: {list(table['concept'][unfinished])}")
    runs = [name for name, _ in groupby(table["category"])]
    if len(runs) != len(set(runs)):
        raise SystemExit(f"a category stands in two places: {runs}")


def main() -> None:
    table = pd.read_csv(DATA / "concepts.tsv", sep="\t", dtype=str, keep_default_na=False, quoting=3)
    check(table)
    model = embedders.get("local")
    vectors = embedders.embed(lexicon.texts(table), model, store=False)
    np.save(DATA / "concepts_vectors.npy", vectors.astype(np.float16))
    made = {
        "space": space_of(model),
        "texts": lexicon.text_hash(table),
        "concepts": len(table),
        "built_with": f"lexicell {lexicell.__version__}",
    }
    (DATA / "concepts_vectors.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"{len(table)} concepts in {table['category'].nunique()} categories")


if __name__ == "__main__":
    main()
