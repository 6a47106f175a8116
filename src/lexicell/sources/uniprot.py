"""UniProt: what is known of the function of a gene's protein, from an export of UniProtKB."""

from __future__ import annotations

import csv
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._download import sha256
from .._errors import InputError, choices
from ._base import GeneTexts
from ._gene_table import GeneTable
from ._template import TextRules, informative
from .names.lookup import bundled_match
from .names.mapping import match
from .names.species import Species, species

__all__ = ["Proteins", "UniprotSource"]

_LICENCE = "UniProt, CC BY 4.0: name UniProt as the source"
_COLUMNS = [
    *("gene_id", "symbol", "name", "gene_type", "matched_by", "note"),
    *("text_source", "text_gene_id", "accession", "words"),
]
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


# What we need -> how exports of different years and routes name the column.
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


def read_export(path: Path) -> list[Protein]:
    """Read a TSV export of UniProtKB, gzipped or not.

    Raises
    ------
    InputError
        If the file is none, or has no column for the function or none that names genes.
    """
    try:
        frame: pd.DataFrame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    header = [str(column) for column in frame.columns]
    found = {}
    for field, names in _NAMES.items():
        found[field] = next((name for name in names if name in header), "")
    if not found["function"] or not (found["primary"] or found["genes"] or found["gene_ids"]):
        raise InputError(
            f"{path} has the columns {choices(header)}; needed are 'Function [CC]' and one of 'Gene Names (primary)', "
            "'Gene Names', 'GeneID': add them under 'Customize columns' and export again"
        )
    if frame.empty:
        raise InputError(f"{path} holds no UniProt entries")
    columns = {}
    for field, name in found.items():
        columns[field] = frame[name].fillna("").str.strip() if name else ""
    return [_protein(row) for row in pd.DataFrame(columns, index=frame.index).to_dict("records")]


def _protein(row: Mapping[Any, str]) -> Protein:
    groups = [group.split() for group in row["genes"].split(";") if group.split()]
    symbols = _split(row["primary"]) or [group[0] for group in groups]
    others = _split(row["synonyms"].replace(" ", ";")) + [name for group in groups for name in group]
    return Protein(
        accession=row["accession"],
        reviewed=row["reviewed"].lower() == "reviewed",
        taxon=row["taxon"],
        symbols=tuple(symbols),
        synonyms=tuple(name for name in dict.fromkeys(others) if name not in symbols),
        gene_ids=tuple(_split(row["gene_ids"])),
        ensembl=tuple(dict.fromkeys(_ENSEMBL_GENE.findall(row["ensembl"]))),
        # The recommended name is what comes before the first bracket of other names.
        name=re.split(r" [(\[]", row["name"], maxsplit=1)[0].strip(),
        function=clean_function(row["function"]),
    )


def _split(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]


class Proteins:
    """The entries of one species, found by the gene that makes the protein."""

    def __init__(self, proteins: Iterable[Protein], organism: str) -> None:
        self.organism = organism
        self.by_gene_id: dict[str, Protein] = {}
        self.by_symbol: dict[str, Protein] = {}
        # The best entry of each gene comes first and stays.
        for protein in sorted(proteins, key=lambda one: one.rank):
            for gene_id in protein.gene_ids:
                self.by_gene_id.setdefault(gene_id, protein)
            for symbol in protein.symbols:
                self.by_symbol.setdefault(symbol, protein)

    def find(self, gene_id: str, symbol: str) -> Protein | None:
        """The best entry of a gene, by GeneID, else by symbol."""
        return self.by_gene_id.get(gene_id) or self.by_symbol.get(symbol)

    def function(self, gene_id: str, symbol: str) -> str:
        """Function of a gene's protein; empty where nothing is known."""
        found = self.find(gene_id, symbol)
        return found.function if found else ""

    @cached_property
    def table(self) -> GeneTable:
        """The genes as UniProt names them, for species the package has no table of."""
        rows = []
        for symbol, protein in self.by_symbol.items():
            row = {"symbol": symbol, "name": protein.name, "gene_type": "protein-coding"}
            # Which of several genes an id or another name belongs to is not told.
            if len(protein.symbols) == 1:
                row["synonyms"] = "|".join(protein.synonyms)
                row["ensembl"] = "|".join(protein.ensembl)
                if len(protein.gene_ids) == 1:
                    row["gene_id"] = protein.gene_ids[0]
            rows.append(row)
        return GeneTable.from_rows(self.organism, rows)


class UniprotSource:
    r"""Texts from UniProt: symbol, name, and the comment FUNCTION without its evidence marks.

    Parameters
    ----------
    path
        A TSV export of UniProtKB, gzipped or not, with the columns "Function [CC]" and "Gene Names (primary)",
        "Gene Names" or "GeneID".
    reviewed_only
        Leave out entries no person has reviewed. A reviewed entry is always preferred.
    template, max_words, mask_terms
        As for :class:`~lexicell.sources.ncbi.NcbiSource`; the fields ``{summary}`` and ``{go}`` are empty here.

    Raises
    ------
    InputError
        If an option cannot be used.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from lexicell.sources.uniprot import UniprotSource
    >>> lines = ["Entry\tReviewed\tGene Names\tFunction [CC]",
    ...          "X1\treviewed\tGENE1 G1\tFUNCTION: Moves cargo (PubMed:1). {ECO:0000269|PubMed:1}."]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "export.tsv")
    ...     _ = file.write_text("\n".join(lines))
    ...     UniprotSource(file, template="{symbol}: {function}").texts(["GENE1"], organism="pig").texts.tolist()
    ['GENE1: Moves cargo.']
    """

    name = "uniprot"

    def __init__(
        self,
        path: str | Path,
        *,
        reviewed_only: bool = False,
        template: str = "default",
        max_words: int | None = None,
        mask_terms: Sequence[str] = (),
    ) -> None:
        self.rules = TextRules(template=template, max_words=max_words, mask_terms=mask_terms)
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"no file '{self.path}'; give a TSV export of UniProtKB")
        self.reviewed_only = reviewed_only
        self._proteins: dict[str, Proteins] = {}

    def __repr__(self) -> str:
        return f"UniprotSource({str(self.path)!r})"

    def texts(self, names: Sequence[str], *, organism: str) -> GeneTexts:
        """Find the text of each name.

        Parameters
        ----------
        names
            Symbols, Ensembl ids or NCBI GeneIDs.
        organism
            Common name, Latin name or NCBI taxon number.

        Returns
        -------
        GeneTexts
            ``table`` has, beside the usual columns, ``accession`` (the entry) and ``words``; ``text_source`` says
            whether the entry was reviewed.

        Raises
        ------
        InputError
            If the export cannot be read or has no entry of the species.
        """
        names = [str(name) for name in names]
        kind = species(organism)
        proteins = self.proteins(kind)
        if not proteins.by_gene_id and not proteins.by_symbol:
            raise InputError(f"{self.path} has no entry of {kind.name} (taxon {kind.taxon})")
        own = match(names, proteins.table)
        known = bundled_match(names, kind.name)
        bundled = [None] * len(own) if known is None else known.to_dict("records")
        rows, texts = [], []
        for mine, theirs in zip(own.to_dict("records"), bundled, strict=True):
            row, protein = _find(mine, theirs, proteins)
            text = self._text(row, protein)
            row["text_source"] = _source_of(protein) if text else ""
            row["text_gene_id"] = row["gene_id"] if text else ""
            row["words"] = len(text.split())
            rows.append(row)
            texts.append(text)
        provenance = {
            "source": self.name,
            "organism": kind.name,
            "licence": _LICENCE,
            **self.origin(),
            **self.rules.provenance(),
            "id_type": str(own.attrs.get("id_type", "")),
            "texts_sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        }
        table = pd.DataFrame(rows, index=pd.Index(names, dtype=object), columns=_COLUMNS)
        return GeneTexts(table, np.asarray(texts, dtype=object), provenance)

    def _text(self, row: Mapping[str, Any], protein: Protein | None) -> str:
        if protein is None:
            return ""
        name = row["name"] if informative(row["name"], row["symbol"]) else ""
        return self.rules.text({"symbol": row["symbol"], "name": name, "function": protein.function})

    @cached_property
    def _entries(self) -> list[Protein]:
        entries = read_export(self.path)
        if self.reviewed_only:
            entries = [one for one in entries if one.reviewed]
        return entries

    @cached_property
    def _sha256(self) -> str:
        return sha256(self.path)

    def proteins(self, kind: Species) -> Proteins:
        """The entries of one species.

        Raises
        ------
        InputError
            If the export cannot be read.
        """
        if kind.taxon not in self._proteins:
            entries = [one for one in self._entries if one.taxon in ("", kind.taxon)]
            self._proteins[kind.taxon] = Proteins(entries, kind.name)
        return self._proteins[kind.taxon]

    def origin(self) -> dict[str, Any]:
        """Name and hash of the export."""
        return {"file": self.path.name, "sha256": self._sha256}


def _find(
    mine: Mapping[Any, Any], theirs: Mapping[Any, Any] | None, proteins: Proteins
) -> tuple[dict[str, Any], Protein | None]:
    """Which gene a name means, and its protein: by the bundled table if it knows the name, else by UniProt's names."""
    protein = proteins.by_symbol.get(mine["symbol"]) if mine["row"] >= 0 else None
    source, note, name = mine, mine["note"], ""
    if theirs is not None and theirs["row"] >= 0:
        protein = proteins.find(theirs["gene_id"], theirs["symbol"]) or protein
        source, note, name = theirs, theirs["note"], theirs["name"]
        if protein is None:
            note = "; ".join(filter(None, (note, "UniProt has no entry for this gene")))
    elif theirs is not None and protein is None:
        note = theirs["note"]
    row = {column: source[column] for column in ("gene_id", "symbol", "matched_by")}
    row.update(note=note, name=name, gene_type="", accession="")
    if protein is not None:
        row.update(name=name or protein.name, gene_type="protein-coding", accession=protein.accession)
    return row, protein


def _source_of(protein: Protein | None) -> str:
    if protein is None:
        return ""
    source = "UniProt function" if protein.function else "UniProt name"
    return source if protein.reviewed else f"{source}, unreviewed"
