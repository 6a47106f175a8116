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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import InputError, check_choice
from ._base import GeneTexts
from ._http import Waits
from ._ncbi_files import rank
from ._ncbi_origin import Facts, FilesOrigin, FrozenOrigin, Origin
from ._ncbi_snapshot import Snapshots
from ._resolve import find_rows
from ._species import HUMAN, Species, species
from ._table import GeneTable
from ._template import TextRules, informative
from .uniprot import UniprotSource

__all__ = ["NcbiSource"]

_LICENCE = "NCBI places no restrictions on the use of these data; submitters may hold rights in parts of them"
_COLUMNS = ("name", "gene_type", "text_source", "text_gene_id", "summary_source", "summary_credit")
_PLACES = (2, 3, 6, 7, 8, 9)  # after gene_id and symbol come name and gene_type, then matched_by and note


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
        Add what UniProt says of the protein's function: a :class:`~lexicell.sources.uniprot.UniprotSource`, the path
        of an export, or True for UniProt's web service.
    via
        ``"files"`` for whole data sets; ``"web"`` for a few genes, looked up one by one at NCBI's web service.
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
        uniprot: UniprotSource | str | Path | bool | None = None,
        via: str = "files",
        timeout: float = 60.0,
        show_progress: bool | None = None,
        waits: Waits | None = None,
        _origin: Origin | None = None,
    ) -> None:
        self.rules = TextRules(template=template, max_words=max_words, mask_terms=mask_terms)
        self.include_go = include_go
        self.uniprot = _uniprot(uniprot, offline)
        check_choice(via, ["files", "web"], "way to reach NCBI (via)")
        self._used: dict[str, Species] = {}
        if _origin is not None:
            self._origin = _origin
        elif via == "web":
            if offline or refresh or snapshot or include_go:
                raise InputError("via='web' asks NCBI anew: offline, refresh, snapshot and include_go need via='files'")
            from ._ncbi_web import WebOrigin

            self._origin = WebOrigin(timeout=timeout, waits=waits)
        else:
            self._origin = FilesOrigin(
                Snapshots(
                    base_url=base_url or os.environ.get("LEXICELL_NCBI_URL") or None,
                    pinned=snapshot,
                    refresh=refresh,
                    offline=offline,
                    timeout=timeout,
                    waits=waits,
                    show_progress=show_progress,
                )
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
        facts = self._origin.facts(names, kind, go=self.include_go and "go" in self.rules.fields)
        self._used[kind.taxon] = kind
        found = find_rows(names, facts.own, history=facts.history)
        writer = _Writer(facts, kind, self.rules, self._functions(kind))
        told = {row: writer.row(row) for row in set(found["row"]) if row >= 0}
        nothing = _Told("", dict.fromkeys(_COLUMNS, ""), "")
        each = [told.get(row, nothing) for row in found["row"]]
        table = found[["gene_id", "symbol", "matched_by", "note"]].copy()
        for place, column in enumerate(_COLUMNS):
            table.insert(_PLACES[place], column, [one.columns[column] for one in each])
        table["note"] = ["; ".join(filter(None, (n, one.note))) for n, one in zip(found["note"], each, strict=True)]
        table["snapshot"] = str(facts.provenance.get("snapshot", ""))
        texts = [one.text for one in each]
        table["words"] = [len(text.split()) for text in texts]
        return GeneTexts(
            table, np.asarray(texts, dtype=object), self._provenance(facts, kind, texts, found.attrs.get("id_type", ""))
        )

    def _functions(self, kind: Species) -> Callable[[str, str, str], str]:
        """Function text by (species, GeneID, symbol)."""
        if self.uniprot is None or "function" not in self.rules.fields:
            return lambda name, gene_id, symbol: ""
        by_species = {one.name: self.uniprot.proteins(one) for one in {HUMAN, kind}}
        return lambda name, gene_id, symbol: by_species[name].function(gene_id, symbol)

    def _provenance(self, facts: Facts, kind: Species, texts: Sequence[str], seen: str) -> dict[str, Any]:
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        used = self.uniprot is not None and "function" in self.rules.fields
        return {
            "source": self.name,
            "organism": kind.name,
            "taxon": kind.taxon,
            "licence": _LICENCE,
            **facts.provenance,
            **self.rules.provenance(),
            "include_go": self.include_go,
            "uniprot": self.uniprot.origin(kind) if used and self.uniprot else "",
            "id_type": seen,
            "texts_sha256": digest,
        }

    def freeze(self, folder: str | Path, *, organism: str | None = None) -> None:
        """Write a folder from which the same texts come again, offline and on any machine.

        Tables are tab-separated and gzipped; ``manifest.json`` has their hashes, the origin of each file, and the
        options of this source.

        Parameters
        ----------
        folder
            Where to write.
        organism
            The species to keep; None: those this source has been asked for.

        Raises
        ------
        InputError
            If no species was asked for yet, or the source does not read files.
        """
        folder = Path(folder)
        kinds = [species(organism)] if organism is not None else list(self._used.values())
        if not kinds:
            raise InputError("nothing to freeze yet: name the organism, or look up genes first")
        if not isinstance(self._origin, FilesOrigin | FrozenOrigin):
            raise InputError("only texts from NCBI's files can be frozen; use via='files'")
        wanted = {HUMAN.taxon, *(kind.taxon for kind in kinds)}
        go = self.include_go and "go" in self.rules.fields
        for kind in kinds:
            self._origin.facts([], kind, go=go)
        if isinstance(self._origin, FrozenOrigin):
            snapshot = self._origin.snapshot
        else:
            snapshot = self._origin.snapshots.open([species(taxon) for taxon in sorted(wanted)], go=go)
        folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {
            "template": self.rules.template,
            "max_words": self.rules.max_words,
            "mask_terms": list(self.rules.mask_terms),
            "include_go": self.include_go,
        }
        if self.uniprot is not None:
            options["uniprot"] = self.uniprot.freeze(folder, [species(taxon) for taxon in sorted(wanted)])
        snapshot.freeze(folder, wanted, options)

    @classmethod
    def from_frozen(cls, folder: str | Path, **options: Any) -> NcbiSource:
        """Open a folder written by :meth:`freeze`; its template and limits apply unless `options` say otherwise.

        Raises
        ------
        InputError
            If it is no such folder, or a file in it was changed.
        """
        folder = Path(folder)
        origin = FrozenOrigin(folder)
        kept = dict(origin.snapshot.manifest.get("options", {}))
        proteins = kept.pop("uniprot", None)
        if proteins:
            kept["uniprot"] = UniprotSource.from_frozen(folder, proteins)
        return cls(**{**kept, **options}, _origin=origin)


def _uniprot(given: UniprotSource | str | Path | bool | None, offline: bool) -> UniprotSource | None:
    if given is None or given is False:
        return None
    if isinstance(given, UniprotSource):
        return given
    return UniprotSource(offline=offline) if given is True else UniprotSource(given)


@dataclass(frozen=True)
class _Told:
    text: str
    columns: dict[str, str]
    note: str


class _Writer:
    """Writes the text of each gene of one species."""

    def __init__(
        self, facts: Facts, kind: Species, rules: TextRules, functions: Callable[[str, str, str], str]
    ) -> None:
        self.facts, self.kind, self.rules, self.functions = facts, kind, rules, functions

    def row(self, row: int) -> _Told:
        """Text and columns of one gene of the species."""
        own = self.facts.own
        table, told, note = self._teller(row)
        summary_source = table.column("summary_source")[told]
        values = self._values(table, told)
        text = self.rules.text(values)
        used = {name for name, value in values.items() if value} & self.rules.fields if text else set()
        columns = {
            "name": own.name[row],
            "gene_type": own.gene_type[row],
            "text_source": _kind_of_text(used, summary_source, orthologue=table is not own) if text else "",
            "text_gene_id": table.gene_id[told] if text else "",
            "summary_source": summary_source if "summary" in used else "",
            "summary_credit": table.column("summary_credit")[told] if "summary" in used else "",
        }
        return _Told(text, columns, note if text else "NCBI Gene has no text for this gene")

    def _teller(self, row: int) -> tuple[GeneTable, int, str]:
        """Whose facts make the text: the gene's own, or its human orthologue's."""
        own, human = self.facts.own, self.facts.human
        other = -1 if own is human else human.row_of_gene_id.get(own.human_gene_id[row], -1)
        if other < 0 or self._weight(own, row) <= self._weight(human, other):
            return own, row, ""
        note = f"text of the human orthologue {human.symbol[other]} (GeneID {human.gene_id[other]})"
        several = own.column("human_orthologues")[row].count("|") if "human_orthologues" in own.extra else 0
        return human, other, f"{note}, one of {several + 1}" if several else note

    def _weight(self, table: GeneTable, row: int) -> int:
        """How thin a gene's facts are: 0 with a RefSeq summary, 1 or 2 with another, 3 with a name, 4 without."""
        if table.column("summary")[row] and "summary" in self.rules.fields:
            return rank(table.column("summary_source")[row])
        return 3 if informative(table.name[row], table.symbol[row]) else 4

    def _values(self, table: GeneTable, row: int) -> dict[str, str]:
        symbol, name, gene_id = table.symbol[row], table.name[row], table.gene_id[row]
        terms = self.facts.go.get(gene_id, ())
        return {
            "symbol": symbol,
            "name": name if informative(name, symbol) else "",
            "summary": table.column("summary")[row],
            "go": f"{'; '.join(terms)}." if terms else "",
            "function": self.functions(table.organism, gene_id, symbol),
            "gene_type": table.gene_type[row],
            "synonyms": table.synonyms[row].replace("|", ", "),
        }


def _kind_of_text(used: set[str], summary_source: str, *, orthologue: bool) -> str:
    """What a text is made of, in words: 'RefSeq summary', 'name and GO terms', 'human orthologue: RefSeq summary'."""
    parts = []
    if "summary" in used:
        parts.append(f"{summary_source.split()[0]} summary")
    elif "name" in used:
        parts.append("name")
    parts += [label for key, label in (("go", "GO terms"), ("function", "UniProt function")) if key in used]
    return ("human orthologue: " if orthologue else "") + " and ".join(parts)
