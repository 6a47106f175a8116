"""UniProt: what is known of the function of a gene's protein."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pandas as pd

from .._errors import InputError
from ..store import cache_dir
from ._base import GeneTexts
from ._download import fetch, locked, sha256
from ._http import Waits
from ._mapping import match
from ._ncbi_tables import write_table
from ._resolve import bundled_match
from ._species import Species, species
from ._table import GeneTable
from ._template import TextRules, informative
from ._uniprot_files import COLUMNS, Protein, from_row, read_export, to_row

__all__ = ["Proteins", "UniprotSource"]

DEFAULT_URL = "https://rest.uniprot.org"
_FIELDS = "accession,reviewed,organism_id,gene_primary,gene_synonym,protein_name,cc_function,xref_geneid,xref_ensembl"
_LICENCE = "UniProt, CC BY 4.0: name UniProt as the source"


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
            alone = len(protein.symbols) == 1
            rows.append({
                "symbol": symbol,
                "name": protein.name,
                "gene_id": protein.gene_ids[0] if alone and len(protein.gene_ids) == 1 else "",
                "synonyms": "|".join(protein.synonyms) if alone else "",
                "ensembl": "|".join(protein.ensembl) if alone else "",
                "gene_type": "protein-coding",
            })  # fmt: skip
        return GeneTable.from_rows(self.organism, rows)


class UniprotSource:
    r"""Texts from UniProt: symbol, name, and the comment FUNCTION without its evidence marks.

    Parameters
    ----------
    path
        A TSV or JSON export of UniProtKB, gzipped or not; None: UniProt's web service is asked once a species, and its
        answer kept in the cache.
    base_url
        Of the web service; None: the environment variable ``LEXICELL_UNIPROT_URL``, else UniProt's own.
    reviewed_only
        Leave out entries no person has reviewed. None: yes for the web service, where they are the bulk, no for an
        export. A reviewed entry is always preferred.
    offline, refresh
        Never reach the network; ask anew even if the cache has an answer.
    template, max_words, mask_terms
        As for :class:`~lexicell.sources.ncbi.NcbiSource`; the fields ``{summary}`` and ``{go}`` are empty here.
    timeout, waits, show_progress
        Of the download.

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
        path: str | Path | None = None,
        *,
        base_url: str | None = None,
        reviewed_only: bool | None = None,
        offline: bool = False,
        refresh: bool = False,
        template: str = "default",
        max_words: int | None = None,
        mask_terms: Sequence[str] = (),
        timeout: float = 60.0,
        waits: Waits | None = None,
        show_progress: bool | None = None,
    ) -> None:
        self.rules = TextRules(template=template, max_words=max_words, mask_terms=mask_terms)
        self.path = None if path is None else Path(path)
        if self.path is not None and not self.path.is_file():
            raise InputError(f"no file '{self.path}'; give a TSV or JSON export of UniProtKB")
        self.base_url = (base_url or os.environ.get("LEXICELL_UNIPROT_URL") or DEFAULT_URL).rstrip("/")
        self.reviewed_only = self.path is None if reviewed_only is None else reviewed_only
        self.offline, self.refresh = offline, refresh
        self.timeout, self.waits, self.show = timeout, waits or Waits(), show_progress
        self._proteins: dict[str, Proteins] = {}
        self._entries: dict[str, list[Protein]] = {}
        self._origin: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"UniprotSource({str(self.path or self.base_url)!r})"

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
        ProviderError
            If the web service fails for good.
        """
        names = [str(name) for name in names]
        kind = species(organism)
        proteins = self.proteins(kind)
        if not proteins.by_gene_id and not proteins.by_symbol:
            raise InputError(f"{self.path or self.base_url} has no entry of {kind.name} (taxon {kind.taxon})")
        own = match(names, proteins.table)
        named = _names(own, bundled_match(names, kind.name), proteins)
        texts = [self._text(one) for one in named]
        table = pd.DataFrame(
            {
                "gene_id": [one.gene_id for one in named],
                "symbol": [one.symbol for one in named],
                "name": [one.name for one in named],
                "gene_type": ["protein-coding" if one.protein else "" for one in named],
                "matched_by": [one.matched_by for one in named],
                "note": [one.note for one in named],
                "text_source": [
                    _source_of(one.protein) if text else "" for one, text in zip(named, texts, strict=True)
                ],
                "text_gene_id": [one.gene_id if text else "" for one, text in zip(named, texts, strict=True)],
                "accession": [one.protein.accession if one.protein else "" for one in named],
                "words": [len(text.split()) for text in texts],
            },
            index=pd.Index(names, dtype=object),
        )
        provenance = {
            "source": self.name,
            "organism": kind.name,
            "licence": _LICENCE,
            **self.origin(kind),
            **self.rules.provenance(),
            "id_type": str(own.attrs.get("id_type", "")),
            "texts_sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        }
        return GeneTexts(table, np.asarray(texts, dtype=object), provenance)

    def _text(self, one: _Named) -> str:
        if one.protein is None:
            return ""
        name = one.name if informative(one.name, one.symbol) else ""
        return self.rules.text({"symbol": one.symbol, "name": name, "function": one.protein.function})

    def proteins(self, kind: Species) -> Proteins:
        """The entries of one species.

        Raises
        ------
        InputError, ProviderError
            As :meth:`texts`.
        """
        if kind.taxon not in self._proteins:
            entries = self._read(kind)
            if self.reviewed_only:
                entries = [one for one in entries if one.reviewed]
            self._entries[kind.taxon] = entries
            self._proteins[kind.taxon] = Proteins(entries, kind.name)
        return self._proteins[kind.taxon]

    def origin(self, kind: Species) -> dict[str, Any]:
        """Where the entries of one species came from: strings and numbers."""
        self.proteins(kind)
        return dict(self._origin.get(kind.taxon, {}))

    def _read(self, kind: Species) -> list[Protein]:
        path = self.path or self._download(kind)
        entries = read_export(path)
        if self.path is not None:
            self._origin[kind.taxon] = {"file": self.path.name, "sha256": sha256(self.path)}
        return [one for one in entries if one.taxon in ("", kind.taxon)]

    def _download(self, kind: Species) -> Path:
        """The web service's answer for one species, from the cache or anew."""
        root = cache_dir() / "uniprot"
        name = f"{kind.taxon}{'_reviewed' if self.reviewed_only else ''}.tsv.gz"
        kept = sorted(root.glob(f"*/{name}"), reverse=True)
        if self.refresh or not kept:
            if self.offline:
                raise InputError(
                    f"there are no UniProt entries of {kind.name} in {root}, and offline forbids to download them; run "
                    "once without offline, or name an export"
                )
            today = datetime.datetime.fromtimestamp(self.waits.now(), datetime.UTC).date().isoformat()
            kept = [root / today / name]
        query = f"(organism_id:{kind.taxon})" + (" AND (reviewed:true)" if self.reviewed_only else "")
        arguments = {"query": query, "fields": _FIELDS, "format": "tsv", "compressed": "true"}
        url = f"{self.base_url}/uniprotkb/stream?{urlencode(arguments)}"
        with locked(root / ".lock"):
            if self.refresh:
                kept[0].unlink(missing_ok=True)
                self.refresh = False
            done = fetch(url, kept[0], timeout=self.timeout, waits=self.waits, show_progress=self.show)
        self._origin[kind.taxon] = {} if done is None else asdict(done)
        return kept[0]

    def freeze(self, folder: Path, kinds: Iterable[Species]) -> dict[str, Any]:
        """Write the entries of some species to ``folder/tables``; returns what :meth:`from_frozen` needs."""
        kept = {}
        for kind in kinds:
            self.proteins(kind)
            rows = [to_row(one) for one in self._entries[kind.taxon]]
            entry = write_table(folder / "tables" / f"uniprot_{kind.taxon}.tsv.gz", COLUMNS, rows)
            kept[kind.taxon] = {**entry, "origin": self.origin(kind)}
        return kept

    @classmethod
    def from_frozen(cls, folder: Path, kept: Mapping[str, Any]) -> UniprotSource:
        """Open what :meth:`freeze` wrote.

        Raises
        ------
        InputError
            If a file was changed.
        """
        source = cls(offline=True)
        for taxon, entry in kept.items():
            path = folder / "tables" / f"uniprot_{taxon}.tsv.gz"
            content = gzip.decompress(path.read_bytes())
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise InputError(f"{path} is not the file of its manifest: its hash differs; copy the folder again")
            lines = content.decode().rstrip("\n").split("\n")[1:]
            entries = [from_row(line.split("\t")) for line in lines]
            source._entries[taxon] = entries
            source._proteins[taxon] = Proteins(entries, species(taxon).name)
            source._origin[taxon] = dict(entry["origin"])
        return source


class _Named(NamedTuple):
    """One input name: the gene it stands for, and the entry of its protein."""

    gene_id: str
    symbol: str
    name: str
    matched_by: str
    note: str
    protein: Protein | None


def _names(own: pd.DataFrame, known: pd.DataFrame | None, proteins: Proteins) -> list[_Named]:
    """Which gene each name stands for: by the bundled table where the species has one, else by UniProt's own names."""
    found = []
    bundled = [None] * len(own) if known is None else known.to_dict("records")
    for mine, theirs in zip(own.to_dict("records"), bundled, strict=True):
        here = proteins.by_symbol.get(mine["symbol"]) if mine["row"] >= 0 else None
        if theirs is not None and theirs["row"] >= 0:
            protein = proteins.find(theirs["gene_id"], theirs["symbol"]) or here
            note = theirs["note"] if protein else _join(theirs["note"], "UniProt has no entry for this gene")
            name = theirs["name"] or (protein.name if protein else "")
            found.append(_Named(theirs["gene_id"], theirs["symbol"], name, theirs["matched_by"], note, protein))
        else:
            note = mine["note"] if theirs is None or here else theirs["note"]
            name = here.name if here else ""
            found.append(_Named(mine["gene_id"], mine["symbol"], name, mine["matched_by"], note, here))
    return found


def _join(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _source_of(protein: Protein | None) -> str:
    if protein is None:
        return ""
    what = "function" if protein.function else "name"
    return f"UniProt {what}" if protein.reviewed else f"UniProt {what}, unreviewed"
