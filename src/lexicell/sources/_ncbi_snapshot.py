"""Dated snapshots of NCBI Gene: downloaded once, reduced to small tables, hashed, and copied out to be kept.

A snapshot is a folder ``ncbi/DATE`` in the cache. NCBI's own files lie in it as they came; ``tables`` holds what
lexicell needs of them, one set a species, small enough to be read in a second; ``manifest.json`` says where each file
came from and which hash each table has. A frozen snapshot is such a folder without NCBI's own files.

Hashes of tables are taken over what is in them, not over the compressed bytes, which differ between machines.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._errors import InputError, choices
from .._progress import progress
from ..store import cache_dir
from . import _ncbi_files as files
from ._download import Fetched, fetch, locked
from ._http import Waits
from ._ncbi_tables import make_tables, write_table
from ._species import HUMAN, Species
from ._table import GeneTable

__all__ = ["DEFAULT_URL", "Snapshot", "Snapshots", "open_frozen"]

DEFAULT_URL = "https://ftp.ncbi.nlm.nih.gov/gene/DATA"
_LAYOUT = 1  # raise it when the tables change: older ones are then made anew from the files beside them
_MANIFEST = "manifest.json"
_SHARED = ("gene_summary.gz", "gene_history.gz", "gene2ensembl.gz")


class Snapshot:
    """The tables of one snapshot.

    Parameters
    ----------
    folder
        Where ``manifest.json`` lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder)
        self._genes: dict[str, GeneTable] = {}
        self._history: dict[str, dict[str, str]] = {}

    @property
    def name(self) -> str:
        """Date of the snapshot, with a number where there are several of one day."""
        return str(self.manifest["snapshot"])

    def has(self, taxon: str, *, go: bool = False) -> bool:
        """Whether the tables of a species are here."""
        names = [f"genes_{taxon}", f"history_{taxon}"] + ([f"go_{taxon}", f"go_terms_{taxon}"] if go else [])
        return self.manifest["layout"] == _LAYOUT and all(name in self.manifest["tables"] for name in names)

    def taxa(self) -> list[str]:
        """Species whose tables are here."""
        return sorted(name.partition("_")[2] for name in self.manifest["tables"] if name.startswith("genes_"))

    def genes(self, kind: Species) -> GeneTable:
        """The genes of a species, with columns ``summary``, ``summary_source`` and ``summary_credit``."""
        if kind.taxon not in self._genes:
            self._genes[kind.taxon] = GeneTable.from_columns(kind.name, self._columns(f"genes_{kind.taxon}"))
        return self._genes[kind.taxon]

    def history(self, kind: Species) -> dict[str, str]:
        """Discontinued GeneID -> successor; empty where there is none."""
        if kind.taxon not in self._history:
            columns = self._columns(f"history_{kind.taxon}")
            self._history[kind.taxon] = dict(zip(columns["discontinued"], columns["gene_id"], strict=True))
        return self._history[kind.taxon]

    def gene_ontology(self, kind: Species) -> dict[str, list[str]]:
        """GeneID -> names of its GO terms, in their fixed order."""
        terms = self._columns(f"go_terms_{kind.taxon}")
        names = dict(zip(terms["go"], terms["name"], strict=True))
        columns = self._columns(f"go_{kind.taxon}")
        pairs = zip(columns["gene_id"], columns["go"], strict=True)
        return {gene_id: [names[term] for term in ids.split("|")] for gene_id, ids in pairs}

    def _columns(self, table: str) -> dict[str, list[str]]:
        path = self.folder / "tables" / f"{table}.tsv.gz"
        expected = self.manifest["tables"][table]["sha256"]
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} cannot be read ({error}); {_remedy(self.manifest)}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise InputError(f"{path} is not the file of its manifest: its hash differs; {_remedy(self.manifest)}")
        header, *lines = content.decode().rstrip("\n").split("\n")
        names = header.split("\t")
        columns = zip(*(line.split("\t") for line in lines), strict=True) if lines else ([] for _ in names)
        return {name: list(column) for name, column in zip(names, columns, strict=True)}

    def provenance(self, taxa: Iterable[str]) -> dict[str, Any]:
        """What the texts of these species rest on: strings, numbers and dicts."""
        tables, origins = self._of(taxa)
        return {
            "snapshot": self.name,
            "base_url": self.manifest["base_url"],
            "files": origins,
            "tables": {name: entry["sha256"] for name, entry in tables.items()},
        }

    def _of(self, taxa: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Entries of the tables of some species, and of the files these were made from."""
        wanted = set(taxa)
        tables = {k: v for k, v in self.manifest["tables"].items() if k.rpartition("_")[2] in wanted}
        origins = {name for entry in tables.values() for name in entry["from"]}
        return tables, {k: dict(v) for k, v in self.manifest["files"].items() if k in origins}

    def freeze(self, folder: Path, taxa: Iterable[str], options: Mapping[str, Any]) -> None:
        """Copy the tables of some species to `folder`, with a manifest of them and of the options."""
        if (folder / _MANIFEST).exists() and not _read_manifest(folder).get("frozen"):
            raise InputError(f"{folder} holds a manifest of something else; name an empty folder to freeze into")
        tables, origins = self._of(taxa)
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        for name in tables:
            self._columns(name)  # refuses a damaged table
            source = self.folder / "tables" / f"{name}.tsv.gz"
            (folder / "tables" / source.name).write_bytes(source.read_bytes())
        frozen = {"tables": tables, "files": origins, "frozen": True, "options": dict(options)}
        _write_manifest(folder, {**self.manifest, **frozen})


def _remedy(manifest: Mapping[str, Any]) -> str:
    if manifest.get("frozen"):
        return "copy the frozen folder again from where it was made"
    return "pass refresh=True (--refresh) to make a new snapshot"


def open_frozen(folder: Path) -> Snapshot:
    """Open a folder written by ``freeze`` and check every table in it.

    Raises
    ------
    InputError
        If it is no such folder, or a file in it was changed.
    """
    if not (folder / _MANIFEST).is_file():
        raise InputError(f"{folder} holds no {_MANIFEST}; name a folder that was written with --freeze")
    found = Snapshot(folder)
    if not found.manifest.get("frozen") or found.manifest["layout"] != _LAYOUT:
        raise InputError(f"{folder} is not a frozen snapshot this version of lexicell can read")
    seal = found.manifest.pop("seal", "")
    if seal != _seal(found.manifest):
        raise InputError(f"{folder / _MANIFEST} was changed after it was written; {_remedy(found.manifest)}")
    for table in found.manifest["tables"]:
        found._columns(table)
    return found


class Snapshots:
    """The snapshots in the cache: picks one, downloads what it lacks.

    Parameters
    ----------
    base_url
        Folder of NCBI's files; None: any snapshot serves, a new one comes from NCBI.
    pinned
        Name of the one snapshot to use; empty: the newest that has what is needed.
    refresh
        Make a new snapshot.
    offline
        Download nothing.
    timeout, waits, show_progress
        Passed on to the download.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        pinned: str = "",
        refresh: bool = False,
        offline: bool = False,
        timeout: float = 60.0,
        waits: Waits | None = None,
        show_progress: bool | None = None,
    ) -> None:
        if refresh and (offline or pinned):
            raise InputError("refresh downloads a new snapshot: it cannot go with offline or a pinned snapshot")
        self.root = cache_dir() / "ncbi"
        self.base_url = base_url.rstrip("/") if base_url else None
        self.pinned, self.refresh, self.offline = pinned, refresh, offline
        self.timeout, self.waits, self.show = timeout, waits or Waits(), show_progress
        self._current: Snapshot | None = None

    def open(self, kinds: Sequence[Species], *, go: bool = False) -> Snapshot:
        """A snapshot that has the tables of all these species.

        Raises
        ------
        InputError
            If nothing may be downloaded and there is none.
        ProviderError
            If a download fails for good.
        """
        current = self._current
        if current is not None and all(current.has(kind.taxon, go=go) for kind in kinds):
            return current
        ready = self._ready(kinds, go)
        if ready is not None:
            self._current = ready
            return ready
        with locked(self.root / ".lock"):
            # Another process may have finished it while this one waited for the lock.
            found = self._ready(kinds, go) or self._complete(kinds, go)
        self._current = found
        return found

    def _ready(self, kinds: Sequence[Species], go: bool) -> Snapshot | None:
        if self.refresh and self._current is None:
            return None
        held = [self._current] if self._current is not None else self._existing()
        return next((one for one in held if all(one.has(kind.taxon, go=go) for kind in kinds)), None)

    def _existing(self) -> list[Snapshot]:
        """Snapshots in the cache that may be used, the newest first."""
        folders = [path.parent for path in self.root.glob(f"*/{_MANIFEST}")]
        folders.sort(key=lambda folder: _order(folder.name), reverse=True)
        found = [Snapshot(folder) for folder in folders]
        if self.base_url:
            found = [one for one in found if one.manifest["base_url"] == self.base_url]
        if self.pinned:
            names = [one.name for one in found]
            found = [one for one in found if one.name == self.pinned]
            if not found:
                raise InputError(f"no snapshot '{self.pinned}' of NCBI Gene in {self.root}; there is {choices(names)}")
        return found

    def _complete(self, kinds: Sequence[Species], go: bool) -> Snapshot:
        """Bring a snapshot to where it has what is needed."""
        existing = [self._current] if self._current is not None else self._existing()
        target = self._target(existing)
        for kind in kinds:
            if not target.has(kind.taxon, go=go):
                self._build(target, kind, go)
        return target

    def _target(self, existing: list[Snapshot]) -> Snapshot:
        newest = existing[0] if existing else None
        begun = newest is not None and not newest.manifest["tables"]
        if newest is not None and (not self.refresh or self._current is not None or begun):
            return newest
        if self.offline:
            raise InputError(
                f"there is no snapshot of NCBI Gene in {self.root}, and offline forbids to download one; run once "
                "without offline, or use a frozen folder (--freeze)"
            )
        today = datetime.datetime.fromtimestamp(self.waits.now(), datetime.UTC).date().isoformat()
        name, number = today, 1
        while (self.root / name).exists():
            number += 1
            name = f"{today}.{number}"
        (self.root / name).mkdir(parents=True)
        base_url = self.base_url or DEFAULT_URL
        manifest = {"layout": _LAYOUT, "snapshot": name, "base_url": base_url, "files": {}, "tables": {}}
        _write_manifest(self.root / name, manifest)
        return Snapshot(self.root / name)

    def _build(self, target: Snapshot, kind: Species, go: bool) -> None:
        """Download what is missing for one species and write its tables."""
        if target.manifest["layout"] != _LAYOUT:
            target.manifest.update(layout=_LAYOUT, tables={})
        paths = {name: self._file(target, name) for name in _SHARED}
        if kind != HUMAN:
            paths["gene_orthologs.gz"] = self._file(target, "gene_orthologs.gz")
        if go:
            paths["gene2go.gz"] = self._file(target, "gene2go.gz")
        paths["gene_info"], genes = self._gene_info(target, kind)
        humans = dict(zip(*_symbols(target), strict=True)) if kind != HUMAN and target.has(HUMAN.taxon) else {}
        with progress(f"reading NCBI's files for {kind.name}", len(paths), show=self.show) as advance:
            tables = make_tables(kind, genes, paths, humans, advance)
        for name, (header, rows) in tables.items():
            entry = write_table(target.folder / "tables" / f"{name}.tsv.gz", header, rows)
            target.manifest["tables"][name] = {**entry, "from": sorted(path.name for path in paths.values())}
        _write_manifest(target.folder, target.manifest)

    def _gene_info(self, target: Snapshot, kind: Species) -> tuple[Path, dict[str, files.Gene]]:
        """The genes of a species from its own file, else from that of all species; and which file it was."""
        path = self._file(target, kind.gene_info, missing_ok=True) or self._file(target, "gene_info.gz")
        found = files.genes(path, kind.taxon)
        if not found:
            raise InputError(
                f"NCBI Gene has no genes of taxon {kind.taxon}; give the number of the species or strain that NCBI "
                "annotates (its gene pages name it)"
            )
        return path, found

    def _file(self, target: Snapshot, name: str, *, missing_ok: bool = False) -> Any:
        """Path of one of NCBI's files, downloaded if it is not here; None where the server has none."""
        path = target.folder / Path(name).name
        known = target.manifest["files"].get(path.name)
        if known and path.is_file() and path.stat().st_size == known["size"]:
            return path
        if self.offline:
            raise InputError(
                f"the snapshot {target.name} has no {path.name}, and offline forbids to download it; run once without "
                "offline"
            )
        url = f"{target.manifest['base_url']}/{name}"
        done: Fetched | None = fetch(
            url, path, timeout=self.timeout, waits=self.waits, show_progress=self.show, missing_ok=missing_ok
        )
        if done is None:
            return None
        target.manifest["files"][path.name] = asdict(done)
        _write_manifest(target.folder, target.manifest)
        return path


def _order(name: str) -> tuple[str, int]:
    date, _, number = name.partition(".")
    return date, int(number or 1) if re.fullmatch(r"\d*", number) else 0


def _symbols(target: Snapshot) -> tuple[list[str], list[str]]:
    human = target.genes(HUMAN)
    return human.gene_id, human.symbol


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    written = {**manifest, "seal": _seal(manifest)} if manifest.get("frozen") else manifest
    aside = folder / f"{_MANIFEST}.{os.getpid()}.tmp"
    aside.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
    aside.replace(folder / _MANIFEST)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        if not {"layout", "snapshot", "base_url", "files", "tables"} <= set(manifest):
            raise ValueError("it lacks an entry")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a manifest ({error}); delete its folder and try again") from error
    return manifest
