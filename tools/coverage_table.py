"""How many genes of real data sets are found, how, and how much of the counts has a text.

    python tools/coverage_table.py DATA_FOLDER

writes evaluation/coverage/coverage.csv and the table in docs/gene_texts.md. DATA_FOLDER holds the .h5ad files named
below and the RefSeq summaries gene_summaries_*.tsv.gz; a file that is not there is left out and named.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData, read_h5ad

from lexicell.datasets import pbmc68k_counts
from lexicell.sources import get
from lexicell.sources.names.patterns import ENSEMBL, is_clone_like
from lexicell.sources.table import TableSource

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "evaluation" / "coverage" / "coverage.csv"
PAGE = ROOT / "docs" / "gene_texts.md"
BEGIN, END = "<!-- coverage: written by tools/coverage_table.py -->", "<!-- end of coverage -->"
SETS = {
    "kang_pbmc": "human",
    "kang_donors": "human",
    "hsmm": "human",
    "mixology_celseq2_3cl": "human",
    "mixology_dropseq_3cl": "human",
    "m1_patchseq": "mouse",
}
COLUMNS = (
    "data set", "species", "names", "clone-like", "found", "found of others (%)", "unknown Ensembl ids",
    "found of the rest (%)", "symbol", "previous", "synonym",
    "ensembl", "case", "ambiguous", "bundled: name and GO", "bundled: name", "bundled: orthologue",
    "bundled: counts (%)", "summary: own", "summary: orthologue", "summary: counts (%)",
)  # fmt: skip


def data_sets(folder: Path) -> Iterator[tuple[str, str, AnnData]]:
    for name, species in SETS.items():
        path = folder / f"{name}.h5ad"
        if path.is_file():
            yield name, species, read_h5ad(path)
        else:
            print(f"left out: {path} is not there")
    yield "pbmc68k (765 genes)", "human", pbmc68k_counts()


def describe(name: str, species: str, adata: AnnData, folder: Path) -> dict[str, Any]:
    """One line of the table."""
    names = [str(gene) for gene in adata.var_names]
    counts = adata.layers.get("counts", adata.X)
    totals = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
    table = get("bundled").texts(names, organism=species).table
    found = (table["matched_by"] != "").to_numpy()
    clones = np.array([is_clone_like(gene) for gene in names])
    # A matrix may list a locus that nobody has named by its Ensembl id, where another has a clone name.
    unnamed = np.array([gene.startswith("ENS") and ENSEMBL.match(gene) is not None for gene in names]) & ~found
    rest = ~clones & ~unnamed
    kinds = table["text_source"]
    told = (kinds != "").to_numpy()
    own, other = summaries(names, species, folder)
    by = table["matched_by"].value_counts()
    return {
        "data set": name,
        "species": species,
        "names": len(names),
        "clone-like": int(clones.sum()),
        "found": int(found.sum()),
        "found of others (%)": percent(found[~clones].sum(), (~clones).sum()),
        "unknown Ensembl ids": int(unnamed.sum()),
        "found of the rest (%)": percent(found[rest].sum(), rest.sum()),
        **{way: int(by.get(way, 0)) for way in ("symbol", "previous", "synonym", "ensembl", "case")},
        "ambiguous": int(table["note"].str.startswith("ambiguous").sum()),
        "bundled: name and GO": int((kinds == "name and GO terms").sum()),
        "bundled: name": int((kinds == "name").sum()),
        "bundled: orthologue": int((kinds == "human orthologue").sum()),
        "bundled: counts (%)": percent(totals[told].sum(), totals.sum()),
        "summary: own": int(own.sum()),
        "summary: orthologue": int((other & ~own).sum()),
        "summary: counts (%)": percent(totals[own | other].sum(), totals.sum()),
    }


def summaries(names: Sequence[str], species: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Which genes have a RefSeq summary of their own, and which through their human orthologue."""

    def have(of: str, gene: str, text: str) -> np.ndarray:
        path = folder / f"gene_summaries_{of}.tsv.gz"
        source = TableSource(path, gene_column=gene, text_column=text, organism=of)
        return np.array([bool(one) for one in source.texts(names, organism=species).texts])

    human = have("human", "ncbi_gene_id", "summary")
    if species == "human":
        return human, np.zeros(len(names), dtype=bool)
    return have(species, "Gene_ID", "Gene_summary"), human


def percent(part: float, whole: float) -> float:
    return round(100 * float(part) / float(whole), 1)


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table of the page: a column a data set, since there are more facts than data sets."""
    names = [f"`{row['data set']}`" if "(" not in row["data set"] else row["data set"] for row in rows]
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(rows)]
    for column in COLUMNS[1:]:
        cells = [f"{int(row[column]):,}" if str(row[column]).isdigit() else str(row[column]) for row in rows]
        lines.append(f"| {column} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read_csv(path: Path = OUTPUT) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_page(rows: Sequence[dict[str, Any]], page: Path = PAGE) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{as_markdown(rows)}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rows = [describe(name, species, adata, folder) for name, species, adata in data_sets(folder)]
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with OUTPUT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_page(read_csv())
    print(as_markdown(read_csv()))


if __name__ == "__main__":
    main()
