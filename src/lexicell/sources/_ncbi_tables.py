"""The small tables of one species, made from NCBI's files of all species."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._progress import Advance
from . import _ncbi_files as files
from ._species import Species

__all__ = ["make_tables", "write_table"]

_Table = tuple[Sequence[str], list[Sequence[str]]]


def make_tables(
    kind: Species,
    found: dict[str, files.Gene],
    paths: Mapping[str, Path],
    human_symbols: Mapping[str, str],
    advance: Advance,
) -> dict[str, _Table]:
    """Read one species out of NCBI's files: table name -> (header, rows)."""
    taxon = kind.taxon
    said = files.summaries(paths["gene_summary.gz"], [taxon])
    advance(1)
    successors, merged = files.history(paths["gene_history.gz"], taxon)
    advance(1)
    files.assign_ensembl(found, files.ensembl(paths["gene2ensembl.gz"], taxon))
    advance(1)
    for gene_id, symbols in merged.items():
        if gene_id in found:
            gene = found[gene_id]
            gene.previous = [s for s in dict.fromkeys(symbols) if s not in {gene.symbol, *gene.synonyms}]
    humans: dict[str, list[str]] = {}
    if "gene_orthologs.gz" in paths:
        humans = files.orthologues(paths["gene_orthologs.gz"], taxon)
        advance(1)
    header = (
        "gene_id", "symbol", "name", "gene_type", "synonyms", "previous", "ensembl", "human_gene_id",
        "human_orthologues", "accession", "summary", "summary_source", "summary_credit",
    )  # fmt: skip
    empty = files.Summary("", "", "")
    rows: list[Sequence[str]] = []
    for gene_id in sorted(found, key=int):
        gene, summary = found[gene_id], said.get(gene_id, empty)
        orthologues = humans.get(gene_id, [])
        rows.append((
            gene_id, gene.symbol, gene.name, gene.gene_type, "|".join(gene.synonyms), "|".join(gene.previous),
            "|".join(gene.ensembl), _nearest(gene.symbol, orthologues, human_symbols), "|".join(orthologues),
            gene.accession, summary.text, summary.source, summary.credit,
        ))  # fmt: skip
    tables: dict[str, _Table] = {
        f"genes_{taxon}": (header, rows),
        f"history_{taxon}": (
            ("discontinued", "gene_id"),
            [(old, successors[old]) for old in sorted(successors, key=int)],
        ),
    }
    if "gene2go.gz" in paths:
        terms, names = files.gene_ontology(paths["gene2go.gz"], taxon)
        tables[f"go_{taxon}"] = (("gene_id", "go"), [(g, "|".join(terms[g])) for g in sorted(terms, key=int)])
        tables[f"go_terms_{taxon}"] = (("go", "name"), [(term, names[term]) for term in sorted(names)])
        advance(1)
    return tables


def _nearest(symbol: str, orthologues: Sequence[str], human_symbols: Mapping[str, str]) -> str:
    """Of several human orthologues the one of the same symbol, else the one with the lowest GeneID."""
    same = [one for one in orthologues if human_symbols.get(one, "").casefold() == symbol.casefold()]
    return next(iter(same or orthologues), "")


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Write rows as tab-separated text, gzipped, aside and renamed; returns the hash of the text and the row count."""
    content = ("\n".join("\t".join(row) for row in (header, *rows)) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.write_bytes(gzip.compress(content, 6, mtime=0))
    aside.replace(path)
    return {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows)}
