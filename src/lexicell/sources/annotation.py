"""What is curated about genes and words: Gene Ontology annotation with ancestors, and the facts of the lexicon."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.genes.retrieval import EVIDENCE, Entry, Lexicon, PhraseSearch, Terms, close_over_parents
from ..core.genes.words import WordCounts
from ._compose import full_text
from .bundled import load_table, load_vectors
from .bundled import load_terms as load_terms_names
from .names.mapping import match

__all__ = [
    "gene_aliases",
    "gene_rows",
    "human_ids",
    "human_search",
    "load_lexicon",
    "load_terms",
    "read_scores",
    "terms_of",
]


@lru_cache(maxsize=1)
def load_terms() -> Terms:
    """Gene Ontology terms of all annotated human genes."""
    folder = files("lexicell.data")
    with (folder / "go_annotation.npz").open("rb") as file, np.load(file) as stored:
        parts = {name: stored[name] for name in stored.files}
    lines = gzip.decompress((folder / "go_words.tsv.gz").read_bytes()).decode().split("\n")[1:]
    ids, names = zip(*(line.split("\t") for line in lines if line), strict=True)
    shape = (len(parts["gene_id"]), len(ids))
    direct = sp.csr_matrix((EVIDENCE[parts["tier"]], parts["column"].astype(np.int32), parts["indptr"]), shape=shape)
    closed = close_over_parents(direct, parts["child"].astype(np.int64), parts["parent"].astype(np.int64))
    return Terms(ids, tuple(tuple(n.split("|")) for n in names), closed, counts=read_counts("terms"))


def read_counts(which: str) -> WordCounts | None:
    """Words of the names of all terms, or of the texts of all searched genes; None where they were not stored."""
    file = files("lexicell.data") / "search_index.npz"
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream) as stored:
        grams = bytes(stored[f"{which}_grams"]).decode().split("\n")
        indptr, columns, counts = (stored[f"{which}_{part}"] for part in ("indptr", "columns", "counts"))
    shape = (len(indptr) - 1, len(grams))
    matrix = sp.csr_matrix((counts.astype(np.int32), columns.astype(np.int32), indptr), shape=shape)
    return WordCounts(tuple(grams), matrix)


def read_scores() -> sp.csr_matrix | None:
    """What every phrase of the lexicon finds among all searched genes; None where it was not stored."""
    file = files("lexicell.data") / "search_index.npz"
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream) as stored:
        indptr, columns, scores = (stored[f"lexicon_{part}"] for part in ("indptr", "columns", "scores"))
        shape = (len(indptr) - 1, len(stored["genes_indptr"]) - 1)
    return sp.csr_matrix((scores.astype(np.float64), columns, indptr), shape=shape)


@lru_cache(maxsize=1)
def _gene_ids() -> dict[str, int]:
    with (files("lexicell.data") / "go_annotation.npz").open("rb") as file, np.load(file) as stored:
        return {str(gene): row for row, gene in enumerate(stored["gene_id"])}


def gene_rows(gene_ids: Sequence[str]) -> NDArray[np.int64]:
    """Row of the annotation of each human NCBI GeneID, -1 for others."""
    known = _gene_ids()
    return np.asarray([known.get(str(g), -1) for g in gene_ids], dtype=np.int64)


def terms_of(gene_ids: Sequence[str]) -> Terms:
    """Terms with one row for each human NCBI GeneID."""
    return load_terms().of_genes(gene_rows(gene_ids))


@lru_cache(maxsize=3)
def gene_aliases(organism: str) -> dict[str, str]:
    """Other name, in upper case, of each gene -> its symbol; names that two genes share are left out."""
    table = load_table(organism)
    owners: dict[str, set[str]] = {}
    for symbol, synonyms, previous in zip(table.symbol, table.synonyms, table.previous, strict=True):
        for name in filter(None, f"{synonyms}|{previous}".split("|")):
            owners.setdefault(name.upper(), set()).add(symbol)
    return {name: next(iter(symbols)) for name, symbols in owners.items() if len(symbols) == 1}


@lru_cache(maxsize=1)
def load_lexicon() -> Lexicon:
    """The curated facts of the lexicon."""
    with (files("lexicell.data") / "lexicon_facts.tsv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    return Lexicon([_entry(dict(zip(table.columns, row, strict=True))) for row in table.itertuples(index=False)])


def _entry(row: dict[str, str]) -> Entry:
    def listed(column: str) -> tuple[str, ...]:
        return tuple(filter(None, row[column].split("|")))

    return Entry(
        row["name"],
        row["category"],
        row["id"],
        parents=listed("parent"),
        tissues=listed("tissue"),
        synonyms=listed("synonyms"),
        genes=listed("markers"),
    )


@lru_cache(maxsize=1)
def human_search() -> tuple[PhraseSearch, dict[str, int]]:
    """A search over the bundled texts of human genes, and the row of each NCBI GeneID.

    Over all genes rather than those of one data set, so that a word is as rare in a panel of thirty genes as elsewhere.
    """
    from . import lexicon

    table = load_table("human")
    curated, listed = _gene_ids(), {g for entry in load_lexicon().entries for g in entry.genes}
    rows = [
        row
        for row in range(len(table))
        if table.gene_type[row] == "protein-coding"
        or table.symbol[row] in listed
        # Annotation of microRNAs, which are in hardly any expression matrix, would fill the first ranks.
        or (table.gene_id[row] in curated and not table.symbol[row].startswith("MIR"))
    ]
    text_rows = [int(table.extra["text_row"][row]) for row in rows]
    has_text = np.asarray(text_rows) >= 0
    vectors = np.zeros((len(rows), load_vectors().shape[1]), dtype=np.float32)
    vectors[has_text] = load_vectors()[np.asarray(text_rows)[has_text]]
    terms = load_terms_names()
    gene_ids = [table.gene_id[row] for row in rows]
    search = PhraseSearch(
        [table.symbol[row] for row in rows],
        [full_text(table, row, terms) for row in rows],
        vectors=vectors,
        terms=terms_of(gene_ids),
        lexicon=load_lexicon(),
        background=lexicon.load()[1],
        aliases=gene_aliases("human"),
        counts=read_counts("genes"),
    )
    return search, {gene: row for row, gene in enumerate(gene_ids)}


def human_ids(names: Sequence[str], organism: str) -> list[str]:
    """NCBI GeneID of the human gene, or human orthologue, that each name means; empty where there is none."""
    table = load_table(organism)
    found = match(names, table)["row"]
    ids = table.gene_id if organism == "human" else table.human_gene_id
    return [ids[row] if row >= 0 else "" for row in found]
