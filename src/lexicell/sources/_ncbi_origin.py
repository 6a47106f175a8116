"""Where facts about NCBI's genes are read: downloaded files, a frozen folder, or (in `_ncbi_web`) the web service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .._errors import InputError
from ._ncbi_snapshot import Snapshot, Snapshots, open_frozen
from ._species import HUMAN, Species, species
from ._table import GeneTable

__all__ = ["Facts", "FilesOrigin", "FrozenOrigin", "Origin"]


@dataclass
class Facts:
    """What is known of the genes of one species, wherever it was read.

    Attributes
    ----------
    own
        The genes of the species; with columns ``summary``, ``summary_source``, ``summary_credit``.
    human
        The human genes; `own` itself for human.
    history
        Discontinued GeneID -> successor.
    go
        GeneID (of either species) -> names of GO terms.
    provenance
        Where all of it came from.
    """

    own: GeneTable
    human: GeneTable
    history: Mapping[str, str] = field(default_factory=dict)
    go: Mapping[str, Sequence[str]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


class Origin(Protocol):
    """Where the facts are read: downloaded files, a frozen folder, the web service."""

    def facts(self, names: Sequence[str], kind: Species, *, go: bool) -> Facts:
        """Facts about the genes behind `names`, or about all genes of the species."""
        ...


class FilesOrigin:
    """Facts from a snapshot of NCBI's files."""

    def __init__(self, snapshots: Snapshots) -> None:
        self.snapshots = snapshots

    def facts(self, names: Sequence[str], kind: Species, *, go: bool) -> Facts:
        """Facts about all genes of the species; `names` are not looked at."""
        kinds = [HUMAN] if kind == HUMAN else [HUMAN, kind]
        return _facts(self.snapshots.open(kinds, go=go), kind, kinds, go)


class FrozenOrigin:
    """Facts from a folder written by `NcbiSource.freeze`."""

    def __init__(self, folder: Path) -> None:
        self.snapshot = open_frozen(folder)

    def facts(self, names: Sequence[str], kind: Species, *, go: bool) -> Facts:
        """Facts about all genes of the species; `names` are not looked at."""
        kinds = [HUMAN] if kind == HUMAN else [HUMAN, kind]
        if not all(self.snapshot.has(one.taxon, go=go) for one in kinds):
            held = ", ".join(species(taxon).name for taxon in self.snapshot.taxa())
            what = f"{kind.name} with GO terms" if go else kind.name
            raise InputError(f"{self.snapshot.folder} was frozen for {held}, not for {what}; freeze it again")
        return _facts(self.snapshot, kind, kinds, go)


def _facts(snapshot: Snapshot, kind: Species, kinds: Sequence[Species], go: bool) -> Facts:
    terms: dict[str, list[str]] = {}
    for one in kinds if go else ():
        terms.update(snapshot.gene_ontology(one))
    return Facts(
        own=snapshot.genes(kind),
        human=snapshot.genes(HUMAN),
        history=snapshot.history(kind),
        go=terms,
        provenance=snapshot.provenance(one.taxon for one in kinds),
    )
