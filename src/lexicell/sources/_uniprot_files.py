"""UniProt's exports, TSV and JSON: what they say of the function of each protein, without the evidence marks."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import InputError, choices

__all__ = ["COLUMNS", "Protein", "clean_function", "from_row", "read_export", "to_row"]

COLUMNS = ("accession", "reviewed", "taxon", "symbols", "synonyms", "gene_ids", "ensembl", "name", "function")
_EVIDENCE = re.compile(r"\s*\{ECO:[^{}]*\}")
_PAPERS = re.compile(r"\s*\((?:(?:PubMed:\s?\d+|Ref\.\s?\d+|By similarity|Probable|Potential)(?:,\s*|;\s*)?)+\)")
_MOLECULE = re.compile(r"^\[(?P<molecule>[^\]]+)\]:\s*")
_ENSEMBL_GENE = re.compile(r"ENS[A-Z]*G\d{11}")


@dataclass(frozen=True)
class Protein:
    """One entry.

    Attributes
    ----------
    accession
        ``P00441``.
    reviewed
        Whether it is of Swiss-Prot, written by people.
    taxon
        NCBI taxon number; empty where the export does not tell.
    symbols
        Primary gene names; several where one protein is made from several genes.
    synonyms, gene_ids, ensembl
        Other gene names, NCBI GeneIDs, Ensembl gene ids.
    name
        Recommended protein name.
    function
        Plain text; empty where there is none.
    """

    accession: str
    reviewed: bool
    taxon: str
    symbols: tuple[str, ...]
    synonyms: tuple[str, ...]
    gene_ids: tuple[str, ...]
    ensembl: tuple[str, ...]
    name: str
    function: str

    @property
    def rank(self) -> tuple[bool, bool, bool, str]:
        """Order in which entries of one gene are preferred: reviewed, with a function, canonical, by accession."""
        return (not self.reviewed, not self.function, "-" in self.accession, self.accession)


def clean_function(text: str) -> str:
    """Take evidence codes, literature references and the word FUNCTION out of a comment.

    Examples
    --------
    >>> clean_function("FUNCTION: Destroys radicals (PubMed:24140062). {ECO:0000269|PubMed:24140062}.")
    'Destroys radicals.'
    """
    parts = [part for part in re.split(r"(?:^|;\s+)FUNCTION:\s*", text.strip()) if part.strip()]
    said = [_plain(part) for part in parts]
    # What is said of one isoform or chain only comes after what is said of the protein.
    said.sort(key=lambda part: part[0])
    return " ".join(text for _, text in said if text)


def _plain(text: str) -> tuple[bool, str]:
    text = _PAPERS.sub("", _EVIDENCE.sub("", text))
    label = _MOLECULE.match(text.strip())
    if label:
        text = f"{label['molecule']}: {text.strip()[label.end() :]}"
    text = re.sub(r"\s+([.,;:])", r"\1", " ".join(text.split()))
    text = re.sub(r"([.;])[.;]+", r"\1", text).strip(" ;")
    return label is not None, text


def read_export(path: Path) -> list[Protein]:
    """Read a TSV or JSON export of UniProtKB, gzipped or not.

    Raises
    ------
    InputError
        If the file is none, or has no column for the function or none that names genes.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    found = list(_from_json(path, text) if text.lstrip()[:1] in ("{", "[") else _from_tsv(path, text))
    if not found:
        raise InputError(f"{path} holds no UniProt entries")
    return found


_NAMES = {
    "accession": ("Entry", "accession"),
    "reviewed": ("Reviewed", "Status"),
    "taxon": ("Organism (ID)", "Organism ID", "organism_id"),
    "primary": ("Gene Names (primary)", "Gene names  (primary )", "gene_primary"),
    "synonyms": ("Gene Names (synonym)", "Gene names  (synonym )", "gene_synonym"),
    "genes": ("Gene Names", "Gene names", "gene_names"),
    "gene_ids": ("GeneID", "Cross-reference (GeneID)", "xref_geneid"),
    "ensembl": ("Ensembl", "Cross-reference (Ensembl)", "Ensembl transcript", "xref_ensembl"),
    "name": ("Protein names", "protein_name"),
    "function": ("Function [CC]", "cc_function", "Function"),
}


def _from_tsv(path: Path, text: str) -> Iterator[Protein]:
    csv.field_size_limit(1 << 24)
    lines = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    header = list(lines.fieldnames or ())
    place = {field: next((n for n in names if n in header), "") for field, names in _NAMES.items()}
    if not place["function"] or not (place["primary"] or place["genes"] or place["gene_ids"]):
        raise InputError(
            f"{path} has the columns {choices(header)}; needed are 'Function [CC]' and one of 'Gene Names (primary)', "
            "'Gene Names', 'GeneID': add them under 'Customize columns' and export again"
        )
    for line in lines:
        cell = {field: (line.get(name) or "").strip() if name else "" for field, name in place.items()}
        groups = [group.split() for group in cell["genes"].split(";") if group.split()]
        symbols = _split(cell["primary"]) or [group[0] for group in groups]
        others = _split(cell["synonyms"].replace(" ", ";")) + [name for group in groups for name in group]
        yield Protein(
            accession=cell["accession"],
            reviewed=cell["reviewed"].lower() == "reviewed",
            taxon=cell["taxon"],
            symbols=tuple(symbols),
            synonyms=tuple(name for name in dict.fromkeys(others) if name not in symbols),
            gene_ids=tuple(_split(cell["gene_ids"])),
            ensembl=tuple(dict.fromkeys(_ENSEMBL_GENE.findall(cell["ensembl"]))),
            name=_protein_name(cell["name"]),
            function=clean_function(cell["function"]),
        )


def _split(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]


def _protein_name(cell: str) -> str:
    """The recommended name: what stands before the first bracket of other names."""
    return re.split(r" [(\[]", cell, maxsplit=1)[0].strip()


def _from_json(path: Path, text: str) -> Iterator[Protein]:
    try:
        content = json.loads(text)
        entries = content["results"] if isinstance(content, Mapping) and "results" in content else content
        for entry in [entries] if isinstance(entries, Mapping) else entries:
            yield _from_entry(entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a JSON export of UniProtKB: {type(error).__name__} {error}") from error


def _from_entry(entry: Mapping[str, Any]) -> Protein:
    genes = entry.get("genes", [])
    references = entry.get("uniProtKBCrossReferences", [])
    # An entry refers to transcripts; the gene stands among the properties of each reference.
    transcripts = [reference for reference in references if reference.get("database") == "Ensembl"]
    comments = [comment for comment in entry.get("comments", []) if comment.get("commentType") == "FUNCTION"]
    said = [
        (f"[{comment['molecule']}]: " if comment.get("molecule") else "")
        + " ".join(t["value"] for t in comment["texts"])
        for comment in comments
        if comment.get("texts")
    ]
    description = entry.get("proteinDescription", {})
    named: Mapping[str, Any] = description.get("recommendedName") or next(
        iter(description.get("submissionNames", [])), {}
    )
    return Protein(
        accession=str(entry["primaryAccession"]),
        reviewed="Swiss-Prot" in str(entry.get("entryType", "")),
        taxon=str(entry.get("organism", {}).get("taxonId", "")),
        symbols=tuple(gene["geneName"]["value"] for gene in genes if "geneName" in gene),
        synonyms=tuple(_values(genes, ("synonyms", "orfNames", "orderedLocusNames"))),
        gene_ids=tuple(str(r["id"]) for r in references if r.get("database") == "GeneID"),
        ensembl=tuple(dict.fromkeys(_ENSEMBL_GENE.findall(json.dumps(transcripts)))),
        name=str(named.get("fullName", {}).get("value", "")),
        function=clean_function("; ".join(f"FUNCTION: {text}" for text in said)),
    )


def _values(genes: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> Iterator[str]:
    for gene in genes:
        for key in keys:
            yield from (item["value"] for item in gene.get(key, []))


def to_row(protein: Protein) -> tuple[str, ...]:
    """One line of the table that a frozen folder keeps."""
    return (
        protein.accession, "1" if protein.reviewed else "", protein.taxon, "|".join(protein.symbols),
        "|".join(protein.synonyms), "|".join(protein.gene_ids), "|".join(protein.ensembl), protein.name,
        protein.function,
    )  # fmt: skip


def from_row(row: Sequence[str]) -> Protein:
    """The reverse of `to_row`."""
    lists = [tuple(cell.split("|")) if cell else () for cell in row[3:7]]
    return Protein(row[0], bool(row[1]), row[2], lists[0], lists[1], lists[2], lists[3], row[7], row[8])
