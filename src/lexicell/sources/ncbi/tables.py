"""The small tables of one species, made from NCBI's files of all species."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._files import write_file
from ..._progress import Advance
from ..names.species import Species
from . import files

__all__ = ["make_tables", "write_table"]

_Table = tuple[Sequence[str], Sequence[Sequence[str]]]
_GENES = (
    *("gene_id", "symbol", "name", "gene_type", "synonyms", "previous", "ensembl", "human_gene_id"),
    *("human_orthologues", "accession", "summary", "summary_source", "summary_credit"),
)


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
    humans: dict[str, list[str]] = {}
    if "gene_orthologs.gz" in paths:
        humans = files.orthologues(paths["gene_orthologs.gz"], taxon)
        advance(1)
    rows: list[Sequence[str]] = []
    for gene_id in sorted(found, key=int):
        gene = found[gene_id]
        summary = said.get(gene_id, files.Summary("", "", ""))
        orthologues = humans.get(gene_id, [])
        current = {gene.symbol, *gene.synonyms}
        previous = [symbol for symbol in dict.fromkeys(merged.get(gene_id, ())) if symbol not in current]
        row = {
            "gene_id": gene_id,
            "symbol": gene.symbol,
            "name": gene.name,
            "gene_type": gene.gene_type,
            "synonyms": "|".join(gene.synonyms),
            "previous": "|".join(previous),
            "ensembl": "|".join(gene.ensembl),
            "human_gene_id": _nearest(gene.symbol, orthologues, human_symbols),
            "human_orthologues": "|".join(orthologues),
            "accession": gene.accession,
            "summary": summary.text,
            "summary_source": summary.source,
            "summary_credit": summary.credit,
        }
        rows.append([row[column] for column in _GENES])
    history = [(old, successors[old]) for old in sorted(successors, key=int)]
    tables: dict[str, _Table] = {
        f"genes_{taxon}": (_GENES, rows),
        f"history_{taxon}": (("discontinued", "gene_id"), history),
    }
    if "gene2go.gz" in paths:
        terms, names = files.gene_ontology(paths["gene2go.gz"], taxon)
        genes = [(gene_id, "|".join(terms[gene_id])) for gene_id in sorted(terms, key=int)]
        tables[f"go_{taxon}"] = (("gene_id", "go"), genes)
        tables[f"go_terms_{taxon}"] = (("go", "name"), sorted(names.items()))
        advance(1)
    return tables


def _nearest(symbol: str, orthologues: Sequence[str], human_symbols: Mapping[str, str]) -> str:
    """Of several human orthologues the one of the same symbol, else the one with the lowest GeneID."""
    same = [one for one in orthologues if human_symbols.get(one, "").casefold() == symbol.casefold()]
    return next(iter(same or orthologues), "")


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Write rows as tab-separated text, gzipped, aside and renamed; returns the hash of the text and the row count."""
    content = ("\n".join("\t".join(row) for row in (header, *rows)) + "\n").encode()
    write_file(path, lambda aside: aside.write_bytes(gzip.compress(content, 6, mtime=0)))
    return {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows)}
