"""NCBI Gene's files, as they are: which there are, what their columns say, and the rows of one species.

All are tab-separated and gzipped, with a header line that starts with ``#``; ``-`` means nothing and ``|`` joins
lists. Those of all species are hundreds of megabytes: they are read in blocks, and a block without a row of the
species asked for is skipped whole.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..._errors import InputError
from ..names.species import HUMAN

__all__ = ["Gene", "Summary", "ensembl", "gene_ontology", "genes", "history", "orthologues", "summaries"]

_BLOCK = 1 << 22
_NULL = "-"
# Who wrote a summary and when: [provided by RefSeq, Jul 2008], (supplied by OMIM), [RGD, Feb 2006]. Only such forms
# are taken off: other brackets belong to the text.
_CREDIT = re.compile(
    r"\s*(?:\[(?:provided|supplied) by (?P<a>[^\]]{2,120})\]|\((?:provided|supplied) by (?P<b>[^)]{2,120})\)"
    r"|\[from (?P<c>OMIM)\]|\[(?P<d>[A-Z][A-Za-z]+, [A-Z][a-z]{2} \d{4})\])\.?"
)
_PAPER = re.compile(r"\s*\[PubMed:? ?\d+\]")
_CATEGORIES = ("Process", "Function", "Component")


@dataclass
class Gene:
    """What ``gene_info`` says of one gene."""

    gene_id: str
    symbol: str
    name: str
    gene_type: str
    synonyms: list[str]
    ensembl: list[str]
    accession: str


@dataclass(frozen=True)
class Summary:
    """A summary text; `credit` is what its end had in brackets: ``RefSeq, Jul 2008``."""

    text: str
    source: str
    credit: str


def _blocks(path: Path) -> Iterator[bytes]:
    """The decompressed file in blocks of whole lines."""
    rest = b""
    try:
        with gzip.open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                cut = block.rfind(b"\n") + 1
                if not cut:
                    rest += block
                    continue
                yield rest + block[:cut]
                rest = block[cut:]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, so that it is downloaded again") from error
    if rest:
        yield rest + b"\n"


def _rows(path: Path, taxa: Iterable[str], *, columns: Iterable[str]) -> Iterator[list[str]]:
    """Rows of some species, reduced to the columns asked for, in that order; a file's first column is the taxon."""
    starts = tuple(f"{taxon}\t".encode() for taxon in taxa)
    within = tuple(b"\n" + start for start in starts)
    places: list[int] = []
    for block in _blocks(path):
        if not places:
            places = _places(path, block, columns)
        if not block.startswith(starts) and not any(start in block for start in within):
            continue
        for line in block.split(b"\n"):
            if line.startswith(starts):
                cells = line.decode("utf-8", "replace").rstrip("\r").split("\t")
                if len(cells) > max(places):
                    yield [cells[place] for place in places]


def _places(path: Path, block: bytes, columns: Iterable[str]) -> list[int]:
    """Positions of the columns, by the header: NCBI has appended columns over the years."""
    first = block.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    header = first.lstrip("#").removeprefix("Format:").strip().split("\t")
    missing = [column for column in columns if column not in header]
    if missing or not first.startswith("#"):
        raise InputError(
            f"{path} is not the NCBI file it should be: its first line is '{first[:120]}', without "
            f"{', '.join(missing) or 'the sign #'}; check the base URL, delete the file and try again"
        )
    return [header.index(column) for column in columns]


def _list(cell: str) -> list[str]:
    return [part for part in cell.split("|") if part not in {"", _NULL}]


def genes(path: Path, taxon: str) -> dict[str, Gene]:
    """GeneID -> gene, from ``gene_info``; regulatory regions and placeholder records are no genes and are left out."""
    columns = (
        *("GeneID", "Symbol", "LocusTag", "Synonyms", "dbXrefs", "description", "type_of_gene"),
        *("Symbol_from_nomenclature_authority", "Full_name_from_nomenclature_authority"),
    )
    found = {}
    for gene_id, symbol, tag, synonyms, xrefs, text, kind, official, full in _rows(path, [taxon], columns=columns):
        if kind == "biological-region" or symbol == "NEWENTRY":
            continue
        best = symbol if official == _NULL else official
        # A locus tag such as Dmel_CG1234 is known as CG1234.
        others = dict.fromkeys((symbol, *_list(synonyms), tag, tag.rpartition("_")[2]))
        gene = Gene(
            gene_id=gene_id,
            symbol=best,
            name=_line(text if full == _NULL else full),
            gene_type=kind,
            synonyms=[name for name in others if name not in {best, _NULL, ""}],
            ensembl=[],
            accession="",
        )
        for reference in _list(xrefs):
            database, _, value = reference.partition(":")
            if database == "Ensembl":
                gene.ensembl.append(value)
            elif database in {"HGNC", "MGI", "RGD"} and not gene.accession:
                gene.accession = value
        found[gene_id] = gene
    return found


def _line(text: str) -> str:
    """One line without a full stop at its end: templates write their own."""
    if text == _NULL:
        return ""
    return " ".join(text.split()).rstrip(".")


def summaries(path: Path, taxa: Iterable[str]) -> dict[str, Summary]:
    """GeneID -> its best summary, from ``gene_summary``: RefSeq's, then the Alliance's, then any other's."""
    found: dict[str, Summary] = {}
    for gene_id, source, text in _rows(path, taxa, columns=("GeneID", "Source", "Summary")):
        body, credit = split_credit(text)
        if body and body != _NULL and (gene_id not in found or rank(source) < rank(found[gene_id].source)):
            found[gene_id] = Summary(body, source, credit)
    return found


def rank(source: str) -> int:
    """0 for RefSeq, written by people about this gene; 1 for the Alliance, composed from annotations; 2 for others."""
    if source.startswith("RefSeq"):
        return 0
    return 1 if source.startswith("Alliance") else 2


def split_credit(text: str) -> tuple[str, str]:
    """Take credits and PubMed numbers off a summary; returns the text and the credits.

    Examples
    --------
    >>> split_credit("Binds copper and zinc ions. [provided by RefSeq, Jul 2008].")
    ('Binds copper and zinc ions.', 'RefSeq, Jul 2008')
    """
    given = [" ".join(found[found.lastgroup or 0].split()) for found in _CREDIT.finditer(text)]
    body = " ".join(_PAPER.sub("", _CREDIT.sub(" ", text)).split())
    return body, "; ".join(dict.fromkeys(given))


def history(path: Path, taxon: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Discontinued GeneID -> successor (empty: none), and GeneID -> symbols of what was merged into it."""
    successors: dict[str, str] = {}
    symbols: dict[str, list[str]] = defaultdict(list)
    for now, old, symbol in _rows(path, [taxon], columns=("GeneID", "Discontinued_GeneID", "Discontinued_Symbol")):
        successors[old] = "" if now == _NULL else now
        if now != _NULL and symbol not in {_NULL, "", "NEWENTRY"}:
            symbols[now].append(symbol)
    return successors, dict(symbols)


def ensembl(path: Path, taxon: str) -> dict[str, list[str]]:
    """GeneID -> Ensembl gene ids without version, from ``gene2ensembl``, which has one row per transcript."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for gene_id, identifier in _rows(path, [taxon], columns=("GeneID", "Ensembl_gene_identifier")):
        if identifier != _NULL:
            found[gene_id][identifier.partition(".")[0]] = None
    return {gene_id: list(ids) for gene_id, ids in found.items()}


def orthologues(path: Path, taxon: str) -> dict[str, list[str]]:
    """GeneID of a species -> GeneIDs of its human orthologues, ascending.

    In ``gene_orthologs`` human is on the left, so rows of human are read for those with the species on the right;
    rows the other way round are taken as well.
    """
    found: dict[str, set[str]] = defaultdict(set)
    columns = ("tax_id", "GeneID", "relationship", "Other_tax_id", "Other_GeneID")
    for left, gene_id, relation, right, other in _rows(path, [HUMAN.taxon, taxon], columns=columns):
        if relation != "Ortholog":
            continue
        if left == HUMAN.taxon and right == taxon:
            found[other].add(gene_id)
        elif left == taxon and right == HUMAN.taxon:
            found[gene_id].add(other)
    return {gene_id: sorted(humans, key=int) for gene_id, humans in found.items()}


def gene_ontology(path: Path, taxon: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """GeneID -> ids of its GO terms, and id -> name, from ``gene2go``.

    Annotations with a NOT say what a gene does not do, and those with evidence ND that nothing is known: both are
    dropped. Order: process, function, component, and by name within each.
    """
    columns = ("GeneID", "GO_ID", "Evidence", "Qualifier", "GO_term", "Category")
    names: dict[str, str] = {}
    ranks: dict[str, tuple[int, str]] = {}
    found: dict[str, set[str]] = defaultdict(set)
    for gene_id, term, evidence, qualifier, name, category in _rows(path, [taxon], columns=columns):
        if evidence == "ND" or "NOT" in re.split(r"[\s|]+", qualifier):
            continue
        names[term] = name
        ranks[term] = (_CATEGORIES.index(category) if category in _CATEGORIES else len(_CATEGORIES), name)
        found[gene_id].add(term)
    return {gene_id: sorted(terms, key=ranks.__getitem__) for gene_id, terms in found.items()}, names


def assign_ensembl(found: Mapping[str, Gene], more: Mapping[str, list[str]]) -> None:
    """Add Ensembl ids to genes; one that ``gene_info`` gives to some gene is not given to another as well."""
    taken = {identifier for gene in found.values() for identifier in gene.ensembl}
    for gene_id, identifiers in more.items():
        if gene_id in found:
            gene = found[gene_id]
            gene.ensembl += [one for one in identifiers if one not in taken and one not in gene.ensembl]
