"""Build the bundled Gene Ontology annotation of human genes: data/go_annotation.npz and data/go_words.tsv.gz.

    python tools/build_annotation.py [--inputs DIR]

Every direct annotation with the tier of its best evidence, every term that a gene has directly or through a
descendant, its names, and its parents by "is a" and "part of". Terms of more than `MAX_GENES` genes say little and are
dropped, and so are synonyms longer than `MAX_WORDS` words.
"""

from __future__ import annotations

import argparse
import gzip
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from gene_go import ASPECTS, DROPPED, TIER
from gene_inputs import Inputs

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "src" / "lexicell" / "data"
MAX_GENES = 2500
MAX_WORDS = 9
PARENTS = ("isa", "part of")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, default=ROOT / "build" / "gene_inputs")
    args = parser.parse_args()
    inputs = Inputs(args.inputs)
    genes, direct = annotations(inputs)
    parents = read_parents(inputs)
    terms = kept_terms(direct, parents)
    names = read_names(inputs)
    write_annotation(genes, direct, parents, terms)
    write_words(terms, names)


def annotations(inputs: Inputs) -> tuple[list[str], dict[str, dict[str, int]]]:
    """GeneIDs, and GeneID -> term -> tier of the best evidence."""
    db = inputs.sqlite("r-bioc-org.hs.eg.db")
    direct: dict[str, dict[str, int]] = defaultdict(dict)
    for aspect in ASPECTS:
        for gene_id, term, code in db.execute(
            f"select gene_id, go_id, evidence from genes join go_{aspect} using (_id)"
        ):
            if code in TIER and term not in DROPPED:
                direct[gene_id][term] = min(direct[gene_id].get(term, 9), TIER[code])
    return sorted(direct, key=int), direct


def read_parents(inputs: Inputs) -> dict[str, set[str]]:
    db = inputs.sqlite("r-bioc-go.db")
    number = dict(db.execute("select _id, go_id from go_term"))
    parents: dict[str, set[str]] = defaultdict(set)
    for aspect in ASPECTS:
        for child, parent, relation in db.execute(
            f"select _id, _parent_id, relationship_type from go_{aspect}_parents"
        ):
            if relation in PARENTS and child in number and parent in number:
                parents[number[child]].add(number[parent])
    return parents


def kept_terms(direct: dict[str, dict[str, int]], parents: dict[str, set[str]]) -> list[str]:
    """Terms with genes, their descendants' included, but not too many."""
    above: dict[str, frozenset[str]] = {}

    def lineage(term: str) -> frozenset[str]:
        if term not in above:
            above[term] = frozenset({term}).union(*(lineage(p) for p in parents[term]))
        return above[term]

    members: dict[str, set[str]] = defaultdict(set)
    for gene, terms in direct.items():
        for term in terms:
            for ancestor in lineage(term):
                members[ancestor].add(gene)
    return sorted(term for term, having in members.items() if len(having) <= MAX_GENES and term not in DROPPED)


def read_names(inputs: Inputs) -> dict[str, list[str]]:
    """Term -> its name, then its synonyms."""
    db = inputs.sqlite("r-bioc-go.db")
    names = {term: [name] for term, name in db.execute("select go_id, term from go_term order by go_id")}
    for term, synonym in db.execute(
        "select go_id, synonym from go_synonym join go_term using (_id) where like_go_id = 0"
    ):
        words = synonym.split()
        if len(words) <= MAX_WORDS and "|" not in synonym and "\t" not in synonym and synonym not in names[term]:
            names[term].append(synonym)
    return names


def write_annotation(
    genes: list[str], direct: dict[str, dict[str, int]], parents: dict[str, set[str]], terms: list[str]
) -> None:
    place = {term: i for i, term in enumerate(terms)}
    pairs = [(i, place[t], tier) for i, g in enumerate(genes) for t, tier in sorted(direct[g].items()) if t in place]
    edges = [(place[t], place[p]) for t in terms for p in sorted(parents[t]) if p in place]
    rows, columns, tiers = np.array(pairs).T
    matrix = sp.csr_matrix((tiers + 1, (rows, columns)), shape=(len(genes), len(terms)))
    np.savez_compressed(
        DATA / "go_annotation.npz",
        gene_id=np.array([int(g) for g in genes], dtype=np.int32),
        term=np.array([int(t[3:]) for t in terms], dtype=np.int32),
        indptr=matrix.indptr.astype(np.int32),
        column=matrix.indices.astype(np.uint16),
        tier=(matrix.data - 1).astype(np.uint8),
        child=np.array([c for c, _ in edges], dtype=np.uint16),
        parent=np.array([p for _, p in edges], dtype=np.uint16),
    )
    print(f"{len(genes)} genes, {len(terms)} terms, {len(pairs)} annotations, {len(edges)} edges")


def write_words(terms: list[str], names: dict[str, list[str]]) -> None:
    lines = ["go\tnames", *(f"{term}\t{'|'.join(names[term])}" for term in terms)]
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as stream:
        stream.write(("\n".join(lines) + "\n").encode())
    (DATA / "go_words.tsv.gz").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
