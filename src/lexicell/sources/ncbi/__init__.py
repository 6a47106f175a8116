"""NCBI Gene, the source of the paper's texts: symbol, full name and summary, from NCBI's own files.

    source = lexicell.sources.get("ncbi")                  # downloads a dated snapshot at first use
    genes = lexicell.emb.genes(adata, source=source, embedder="local")

Text of a gene, by the default template: ``SYMBOL: full name. Summary.`` Of several summaries RefSeq's is taken before
that of the Alliance of Genome Resources, which is composed from annotations; ``summary_source`` says which it was.
A gene of another species whose own summary is not RefSeq's gets the text of its human orthologue if that has one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..._download import Waits
from .._base import GeneTexts
from .._gene_table import GeneTable
from .._template import TextRules, informative
from ..names.lookup import find_rows
from ..names.species import HUMAN, Species, species
from ..uniprot import Proteins, UniprotSource
from .files import rank
from .snapshot import Snapshot, Snapshots

__all__ = ["NcbiSource"]

_LICENCE = "NCBI places no restrictions on the use of these data; submitters may hold rights in parts of them"
_COLUMNS = (
    "gene_id",
    "symbol",
    "name",
    "gene_type",
    "matched_by",
    "note",
    "text_source",
    "text_gene_id",
    "summary_source",
    "summary_credit",
)
_MATCHED = ("gene_id", "symbol", "matched_by")


class NcbiSource:
    """Texts from NCBI Gene.

    Parameters
    ----------
    base_url
        Folder of NCBI's files, e.g. of a mirror; None: the environment variable ``LEXICELL_NCBI_URL``, else NCBI's own.
    refresh
        Download a new snapshot, even if the cache has one.
    offline
        Never reach the network: use what the cache has.
    snapshot
        Name of a snapshot in the cache (its date); empty: the newest that has the species.
    template
        ``"default"``, ``"summary"``, ``"name"``, ``"genept"``, or a text with fields ``{symbol}``, ``{name}``,
        ``{summary}``, ``{go}``, ``{function}``, ``{gene_type}``, ``{synonyms}``; a part in square brackets is left out
        where a field in it is empty.
    max_words
        Texts end after so many words; None: no limit. Embedders have limits of their own.
    mask_terms
        Words taken out of every text, for evaluations in which they would give the answer away.
    include_go
        Add the names of the gene's GO terms. Off, because GO is a common answer key, and ``gene2go`` is a large file.
    uniprot
        Add what UniProt says of the protein's function: the path of an export, or a
        :class:`~lexicell.sources.uniprot.UniprotSource`.
    timeout
        Seconds without an answer after which a server counts as stalled.
    show_progress
        Whether to draw progress bars; None: where stderr is a terminal.
    waits
        How failed requests are repeated.

    Raises
    ------
    InputError
        If an option cannot be used.

    Examples
    --------
    >>> from lexicell.sources.ncbi import NcbiSource
    >>> source = NcbiSource(template="summary", max_words=100)  # nothing is downloaded before the first use
    >>> source.rules.template, source.rules.max_words
    ('{summary}', 100)
    """

    name = "ncbi"

    def __init__(
        self,
        *,
        base_url: str | None = None,
        refresh: bool = False,
        offline: bool = False,
        snapshot: str = "",
        template: str = "default",
        max_words: int | None = None,
        mask_terms: Sequence[str] = (),
        include_go: bool = False,
        uniprot: UniprotSource | str | Path | None = None,
        timeout: float = 60.0,
        show_progress: bool | None = None,
        waits: Waits | None = None,
    ) -> None:
        self.rules = TextRules(template=template, max_words=max_words, mask_terms=mask_terms)
        self.include_go = include_go
        if uniprot is None or isinstance(uniprot, UniprotSource):
            self.uniprot = uniprot
        else:
            self.uniprot = UniprotSource(uniprot)
        self._go = include_go and "go" in self.rules.fields
        self._snapshots = Snapshots(
            base_url=base_url or os.environ.get("LEXICELL_NCBI_URL") or None,
            pinned=snapshot,
            refresh=refresh,
            offline=offline,
            timeout=timeout,
            waits=waits,
            show_progress=show_progress,
        )

    def __repr__(self) -> str:
        return f"NcbiSource(template={self.rules.template!r})"

    def texts(self, names: Sequence[str], *, organism: str) -> GeneTexts:
        """Find the text of each name.

        Parameters
        ----------
        names
            Symbols, Ensembl ids with or without version, or NCBI GeneIDs.
        organism
            Common name, Latin name or NCBI taxon number.

        Returns
        -------
        GeneTexts
            ``table`` has, beside the usual columns: ``summary_source`` (``RefSeq`` ...), ``summary_credit`` (who wrote
            the summary and when, as NCBI states it), ``snapshot``, ``words``. ``text_source`` is ``RefSeq summary``,
            ``Alliance summary``, ``name``, ``human orthologue: RefSeq summary`` ...

        Raises
        ------
        ProviderError
            If a download fails for good.
        InputError
            If the species is not known, or `offline` leaves nothing to read.
        """
        names = [str(name) for name in names]
        kind = species(organism)
        kinds = [HUMAN] if kind == HUMAN else [HUMAN, kind]
        snapshot = self._snapshots.open(kinds, go=self._go)
        found = find_rows(names, snapshot.genes(kind), history=snapshot.history(kind))
        writer = _Writer(snapshot, kinds, self._go, self.rules, self._proteins(kinds))
        told = {row: writer.row(row) for row in set(found["row"]) if row >= 0}
        nothing = _Told("", dict.fromkeys(_COLUMNS, ""), "")
        texts, lines = [], []
        for match in found.to_dict("records"):
            one = told.get(match["row"], nothing)
            note = "; ".join(filter(None, (match["note"], one.note)))
            texts.append(one.text)
            lines.append(one.columns | {c: match[c] for c in _MATCHED} | {"note": note})
        table = pd.DataFrame(lines, index=found.index, columns=list(_COLUMNS))
        table["snapshot"] = snapshot.name
        table["words"] = [len(text.split()) for text in texts]
        provenance = {
            "source": self.name,
            "organism": kind.name,
            "taxon": kind.taxon,
            "licence": _LICENCE,
            **snapshot.provenance(kinds),
            **self.rules.provenance(),
            "include_go": self.include_go,
            "uniprot": "",
            "id_type": found.attrs.get("id_type", ""),
            "texts_sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        }
        if self.uniprot is not None and "function" in self.rules.fields:
            provenance["uniprot"] = self.uniprot.origin()
        return GeneTexts(table, np.asarray(texts, dtype=object), provenance)

    def _proteins(self, kinds: Sequence[Species]) -> dict[str, Proteins]:
        """Proteins by the name of the species; empty where no text asks for them."""
        if self.uniprot is None or "function" not in self.rules.fields:
            return {}
        return {kind.name: self.uniprot.proteins(kind) for kind in kinds}


@dataclass(frozen=True)
class _Told:
    text: str
    columns: dict[str, str]
    note: str


class _Writer:
    """Writes the text of each gene of one species."""

    def __init__(
        self,
        snapshot: Snapshot,
        kinds: Sequence[Species],
        go: bool,
        rules: TextRules,
        proteins: Mapping[str, Proteins],
    ) -> None:
        self.human, self.own = snapshot.genes(HUMAN), snapshot.genes(kinds[-1])
        self.rules, self.proteins = rules, proteins
        self.terms: dict[str, list[str]] = {}
        if go:
            for kind in kinds:
                self.terms.update(snapshot.gene_ontology(kind))

    def row(self, row: int) -> _Told:
        """Text and columns of one gene of the species."""
        table, told, note = self._speaker(row)
        values = self._values(table, told)
        text = self.rules.text(values)
        columns = {"name": self.own.name[row], "gene_type": self.own.gene_type[row]}
        columns.update(dict.fromkeys(("text_source", "text_gene_id", "summary_source", "summary_credit"), ""))
        if not text:
            return _Told(text, columns, "NCBI Gene has no text for this gene")
        used = {name for name in self.rules.fields if values[name]}
        source = table.column("summary_source")[told]
        columns["text_source"] = _kind_of_text(used, source)
        columns["text_gene_id"] = table.gene_id[told]
        if table is not self.own:
            columns["text_source"] = f"human orthologue: {columns['text_source']}"
        if "summary" in used:
            columns["summary_source"] = source
            columns["summary_credit"] = table.column("summary_credit")[told]
        return _Told(text, columns, note)

    def _speaker(self, row: int) -> tuple[GeneTable, int, str]:
        """Whose facts make the text: the gene's own, or its human orthologue's; with a note on the latter."""
        own, human = self.own, self.human
        other = -1
        if own is not human:
            other = human.row_of_gene_id.get(own.human_gene_id[row], -1)
        if other < 0 or self._weight(own, row) <= self._weight(human, other):
            return own, row, ""
        note = f"text of the human orthologue {human.symbol[other]} (GeneID {human.gene_id[other]})"
        several = own.column("human_orthologues")[row].count("|")
        if several:
            note += f", one of {several + 1}"
        return human, other, note

    def _weight(self, table: GeneTable, row: int) -> int:
        """How thin a gene's facts are: 0 with a RefSeq summary, 1 or 2 with another, 3 with a name, 4 without."""
        if table.column("summary")[row] and "summary" in self.rules.fields:
            return rank(table.column("summary_source")[row])
        return 3 if informative(table.name[row], table.symbol[row]) else 4

    def _values(self, table: GeneTable, row: int) -> dict[str, str]:
        symbol, name, gene_id = table.symbol[row], table.name[row], table.gene_id[row]
        values = {
            "symbol": symbol,
            "name": name if informative(name, symbol) else "",
            "summary": table.column("summary")[row],
            "go": "",
            "function": "",
            "gene_type": table.gene_type[row],
            "synonyms": table.synonyms[row].replace("|", ", "),
        }
        if gene_id in self.terms:
            values["go"] = "; ".join(self.terms[gene_id]) + "."
        if self.proteins:
            values["function"] = self.proteins[table.organism].function(gene_id, symbol)
        return values


def _kind_of_text(used: set[str], summary_source: str) -> str:
    """What a text is made of, in words: 'RefSeq summary', 'name and GO terms'."""
    parts = []
    if "summary" in used:
        parts.append(f"{summary_source.split()[0]} summary")
    elif "name" in used:
        parts.append("name")
    if "go" in used:
        parts.append("GO terms")
    if "function" in used:
        parts.append("UniProt function")
    return " and ".join(parts)
