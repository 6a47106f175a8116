"""Embed the cell types: data/cell_types.tsv -> data/cell_types_vectors.npy and its manifest.

    python tools/build_cell_types.py

Run it after an edit of cell_types.tsv. Needs the extra `local`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

import lexicell
from lexicell import embedders
from lexicell.sources import cell_types

DATA = Path(__file__).parents[1] / "src" / "lexicell" / "data"


def main() -> None:
    table = pd.read_csv(DATA / "cell_types.tsv", sep="\t", dtype=str, keep_default_na=False, quoting=3)
    if list(table.columns) != ["cell_type", "group", "description"] or table["cell_type"].duplicated().any():
        raise SystemExit("the columns are cell_type, group and description, and names are unique")
    model = embedders.get("local")
    np.save(
        DATA / "cell_types_vectors.npy",
        embedders.embed(list(table["description"]), model, store=False).astype(np.float16),
    )
    made = {
        "space": embedders.space_of(model),
        "texts": cell_types.text_hash(table),
        "cell_types": len(table),
        "built_with": f"lexicell {lexicell.__version__}",
    }
    (DATA / "cell_types_vectors.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"{len(table)} cell types in {table['group'].nunique()} groups")


if __name__ == "__main__":
    main()
