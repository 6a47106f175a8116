"""Dated snapshots of NCBI Gene: downloaded once, reduced to small tables, hashed.

A snapshot is a folder ``ncbi/DATE`` in the cache. NCBI's own files lie in it as they came; ``tables`` holds what
lexicell needs of them, one set per species, small enough to be read in a second; ``manifest.json`` says where each file
came from and which hash each table has. The folder may be copied to another machine, with or without NCBI's own files.

Hashes of tables are taken over what is in them, not over the compressed bytes, which differ between machines.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..._download import Waits, fetch, locked
from ..._errors import InputError, choices
from ..._files import write_file
from ..._progress import progress
from ...store import cache_dir
from .._gene_table import GeneTable, read_columns
from ..names.species import HUMAN, Species
from . import files
from .tables import make_tables, write_table

__all__ = ["DEFAULT_URL", "Snapshot", "Snapshots"]

DEFAULT_URL = "https://ftp.ncbi.nlm.nih.gov/gene/DATA"
_LAYOUT = 1  # raise it when the tables change: older ones are then made again from the files beside them
_MANIFEST = "manifest.json"
_REMEDY = "pass refresh=True to make a new snapshot, or copy the folder again if it came from another machine"
_SHARED = ("gene_summary.gz", "gene_history.gz", "gene2ensembl.gz")


class Snapshot:
    """The tables of one snapshot.

    Parameters
    ----------
    folder
        Where ``manifest.json`` is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder)
        self._genes: dict[str, GeneTable] = {}

    @property
    def name(self) -> str:
        """Date of the snapshot, with a number where there are several of one day."""
        return str(self.manifest["snapshot"])

    def has(self, kind: Species, *, go: bool = False) -> bool:
        """Whether the tables of a species are here."""
        names = [f"genes_{kind.taxon}", f"history_{kind.taxon}"]
        if go:
            names += [f"go_{kind.taxon}", f"go_terms_{kind.taxon}"]
        return self.manifest["layout"] == _LAYOUT and set(names) <= set(self.manifest["tables"])

    def genes(self, kind: Species) -> GeneTable:
        """The genes of a species, with columns ``summary``, ``summary_source`` and ``summary_credit``."""
        if kind.taxon not in self._genes:
            self._genes[kind.taxon] = GeneTable.from_columns(kind.name, self._columns(f"genes_{kind.taxon}"))
        return self._genes[kind.taxon]

    def history(self, kind: Species) -> dict[str, str]:
        """Discontinued GeneID -> successor; empty where there is none."""
        columns = self._columns(f"history_{kind.taxon}")
        return dict(zip(columns["discontinued"], columns["gene_id"], strict=True))

    def gene_ontology(self, kind: Species) -> dict[str, list[str]]:
        """GeneID -> names of its GO terms, in their fixed order."""
        terms = self._columns(f"go_terms_{kind.taxon}")
        names = dict(zip(terms["go"], terms["name"], strict=True))
        columns = self._columns(f"go_{kind.taxon}")
        found = {}
        for gene_id, ids in zip(columns["gene_id"], columns["go"], strict=True):
            found[gene_id] = [names[term] for term in ids.split("|")]
        return found

    def _columns(self, table: str) -> dict[str, list[str]]:
        path = self.folder / "tables" / f"{table}.tsv.gz"
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} cannot be read ({error}); {_REMEDY}") from error
        if hashlib.sha256(content).hexdigest() != self.manifest["tables"][table]["sha256"]:
            raise InputError(f"{path} is not the file of its manifest: its hash differs; {_REMEDY}")
        return read_columns(content.decode(), path)

    def provenance(self, kinds: Iterable[Species]) -> dict[str, Any]:
        """What the texts of these species rest on: strings, numbers and dicts."""
        tables, origins = self._of(kinds)
        return {
            "snapshot": self.name,
            "base_url": self.manifest["base_url"],
            "files": origins,
            "tables": {name: entry["sha256"] for name, entry in tables.items()},
        }

    def _of(self, kinds: Iterable[Species]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Entries of the tables of some species, and of the files these were made from."""
        taxa = {kind.taxon for kind in kinds}
        tables, origins = {}, {}
        for name, entry in self.manifest["tables"].items():
            if name.rpartition("_")[2] in taxa:
                tables[name] = entry
                origins.update({file: dict(self.manifest["files"][file]) for file in entry["from"]})
        return tables, dict(sorted(origins.items()))


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
        found = self._ready(kinds, go)
        if found is None:
            with locked(self.root / ".lock"):
                # Another process may have finished it while this one waited for the lock.
                found = self._ready(kinds, go) or self._complete(kinds, go)
        self._current = found
        return found

    def _ready(self, kinds: Sequence[Species], go: bool) -> Snapshot | None:
        """The snapshot in use, else the newest in the cache, that has what is needed."""
        if self._current is not None:
            candidates = [self._current]
        elif self.refresh:
            candidates = []
        else:
            candidates = self._existing()
        for one in candidates:
            if all(one.has(kind, go=go) for kind in kinds):
                return one
        return None

    def _existing(self) -> list[Snapshot]:
        """Snapshots in the cache that may be used, the newest first."""
        folders = [path.parent for path in self.root.glob(f"*/{_MANIFEST}")]
        folders.sort(key=lambda folder: _order(folder.name), reverse=True)
        found = [Snapshot(folder) for folder in folders]
        if self.base_url:
            found = [one for one in found if one.manifest["base_url"] == self.base_url]
        if not self.pinned:
            return found
        names = [one.name for one in found]
        if self.pinned not in names:
            raise InputError(f"no snapshot '{self.pinned}' of NCBI Gene in {self.root}; there is {choices(names)}")
        return [one for one in found if one.name == self.pinned]

    def _complete(self, kinds: Sequence[Species], go: bool) -> Snapshot:
        """Bring a snapshot to where it has what is needed."""
        target = self._current or self._target()
        for kind in kinds:
            if not target.has(kind, go=go):
                self._build(target, kind, go)
        return target

    def _target(self) -> Snapshot:
        """The newest snapshot, or a new one where there is none or `refresh` asks for it."""
        existing = self._existing()
        # A snapshot without tables was begun and interrupted: a refresh goes on with it.
        if existing and (not self.refresh or not existing[0].manifest["tables"]):
            return existing[0]
        if self.offline:
            raise InputError(
                f"there is no snapshot of NCBI Gene in {self.root}, and offline forbids to download one; run once "
                "without offline, or copy ncbi/DATE from another cache folder"
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
        names = list(_SHARED)
        human_symbols: dict[str, str] = {}
        if kind != HUMAN:
            names.append("gene_orthologs.gz")
            if target.has(HUMAN):
                human = target.genes(HUMAN)
                human_symbols = dict(zip(human.gene_id, human.symbol, strict=True))
        if go:
            names.append("gene2go.gz")
        paths = {name: self._file(target, name) for name in names}
        paths["gene_info"], genes = self._gene_info(target, kind)
        with progress(f"reading NCBI's files for {kind.name}", len(paths), show=self.show) as advance:
            tables = make_tables(kind, genes, paths, human_symbols, advance)
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
        done = fetch(url, path, timeout=self.timeout, waits=self.waits, show_progress=self.show, missing_ok=missing_ok)
        if done is None:
            return None
        target.manifest["files"][path.name] = asdict(done)
        _write_manifest(target.folder, target.manifest)
        return path


def _order(name: str) -> tuple[str, int]:
    """Sorts 2025-01-31.10 after 2025-01-31.9."""
    date, _, number = name.partition(".")
    return date, int(number) if number.isdigit() else 1


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    content = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_file(folder / _MANIFEST, lambda aside: aside.write_text(content))


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        if not {"layout", "snapshot", "base_url", "files", "tables"} <= set(manifest):
            raise ValueError("it lacks an entry")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a manifest ({error}); delete its folder and try again") from error
    return manifest
