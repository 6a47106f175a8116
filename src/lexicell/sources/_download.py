"""Large files: streamed to disk, resumed after a break, checked, and only then given their name.

While a file comes in, it stands beside its place as ``NAME.part``, with ``NAME.part.json`` that says which version of
it the server was sending. A later call, in this process or another, goes on where the last one stopped if the server
still has that version. A lock file keeps two processes from writing one part; the second waits and finds the file.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .._errors import InputError, ProviderError
from .._progress import progress
from ._http import Waits, agent, check_status, failure, shown, worth_retrying

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetched", "fetch", "locked", "sha256"]

_CHUNK = 1 << 18
_DAMAGED_TRIES = 2  # a damaged file is fetched once more from the start, then the server is to blame
_READ_SECONDS = 60.0
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Fetched:
    """What is known of a downloaded file: the entry of a manifest.

    Attributes
    ----------
    url
        Where it came from, without any key.
    retrieved
        Day it was fetched, in UTC: ``2025-01-31``.
    last_modified, etag
        What the server says of its version; empty where it says nothing.
    size
        Bytes.
    sha256
        Of those bytes, in hex.
    """

    url: str
    retrieved: str
    last_modified: str
    etag: str
    size: int
    sha256: str


class _TryAgainError(Exception):
    """One try failed; another may end better."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


class _MissingError(ProviderError):
    """The server has no such file."""


def fetch(
    url: str,
    path: Path,
    *,
    timeout: float = _READ_SECONDS,
    waits: Waits | None = None,
    show_progress: bool | None = None,
    missing_ok: bool = False,
) -> Fetched | None:
    """Download `url` to `path`, unless it is there; a broken download is taken up where it stopped.

    Parameters
    ----------
    url
        An http(s) address.
    path
        Where the file goes; missing folders are made. If the name ends in ``.gz``, the whole gzip stream is checked.
    timeout
        Seconds without a single byte after which the server counts as stalled.
    waits
        How often and after how long a failed try is repeated.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.
    missing_ok
        Return None for HTTP status 404 instead of raising.

    Raises
    ------
    ProviderError
        If the server refuses, keeps failing, or sends a damaged file twice.
    InputError
        If the address or the folder cannot be used.
    """
    note = path.with_name(f"{path.name}.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            here = _noted(path, note)
            return here or _Download(url, path, timeout, waits or Waits(), show_progress).run(note)
    except _MissingError:
        if missing_ok:
            return None
        raise
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be written: {error.strerror or error}. "
            "Free some space, or set LEXICELL_CACHE_DIR to another folder"
        ) from error


class _Download:
    """One download of one file, over as many requests as it takes."""

    def __init__(self, url: str, path: Path, timeout: float, waits: Waits, show: bool | None) -> None:
        self.url, self.path, self.timeout, self.waits, self.show = url, path, timeout, waits, show
        self.part = path.with_name(f"{path.name}.part")
        self.state = path.with_name(f"{path.name}.part.json")

    def run(self, note: Path) -> Fetched:
        import httpx

        limits = httpx.Timeout(self.timeout, connect=min(self.timeout, 30.0))
        # identity: a server that compresses on the way would make sizes and ranges mean something else.
        headers = {"User-Agent": agent(), "Accept-Encoding": "identity"}
        with httpx.Client(timeout=limits, headers=headers, follow_redirects=True) as client:
            for attempt in range(1, _DAMAGED_TRIES + 1):
                version = self._receive(client)
                problem = _gzip_problem(self.part) if self.path.suffix == ".gz" else ""
                if not problem:
                    return self._keep(version, note)
                self._forget()
                if attempt == _DAMAGED_TRIES:
                    raise ProviderError(
                        f"{shown(self.url)} came damaged {attempt} times ({problem}); nothing was kept. "
                        "Try again later, or from another network: something on the way may alter files"
                    )
        raise AssertionError("unreachable")

    def _receive(self, client: httpx.Client) -> dict[str, Any]:
        """Bring the part to its full length; returns what the server said of the version."""
        failures, reached = 0, self._length()
        while True:
            try:
                return self._request(client)
            except _TryAgainError as again:
                # Progress counts only beyond what was ever reached: a server that cannot resume starts over each time.
                failures = 1 if self._length() > reached else failures + 1
                reached = max(reached, self._length())
                self.waits.wait(failures, self.url, again.reason, again.retry_after)

    def _request(self, client: httpx.Client) -> dict[str, Any]:
        import httpx

        version, have = self._version(), self._length()
        headers = {}
        if have and version.get("validator"):
            headers = {"Range": f"bytes={have}-", "If-Range": str(version["validator"])}
        try:
            with client.stream("GET", self.url, headers=headers) as answer:
                if answer.status_code == 416 and headers:
                    return self._refused_range(answer, version, have)
                if worth_retrying(answer.status_code):
                    raise _TryAgainError(f"HTTP status {answer.status_code}", answer.headers.get("retry-after"))
                if answer.status_code == 404:
                    raise _MissingError(
                        f"{shown(self.url)}: HTTP status 404; the server has no such file: check the base URL"
                    )
                check_status(self.url, answer.status_code)
                if answer.status_code != 206:
                    # The part goes before the note of the new version comes: a kill in between must not mix the two.
                    self.part.unlink(missing_ok=True)
                    have, version = 0, _version_of(self.url, answer)
                    _write(self.state, version)
                elif not _continues(answer, version, have):
                    self._forget()
                    raise _TryAgainError("the server sent another part of the file than asked for")
                self._append(answer, have, version)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _TryAgainError(failure(self.url, error)) from None
        self._check_size(version)
        return version

    def _append(self, answer: httpx.Response, have: int, version: dict[str, Any]) -> None:
        total = int(version["size"])
        name = f"downloading {self.path.name} (MB)"
        with (
            self.part.open("ab" if have else "wb") as file,
            progress(name, _megabytes(total), show=self.show) as advance,
        ):
            drawn = _megabytes(have)
            advance(drawn)
            # No chunk size: httpx would hold back what has not filled a chunk, and a break would lose it.
            for chunk in answer.iter_raw():
                file.write(chunk)
                have += len(chunk)
                advance(_megabytes(have) - drawn)
                drawn = _megabytes(have)

    def _check_size(self, version: dict[str, Any]) -> None:
        expected, have = int(version["size"]), self._length()
        if expected >= 0 and have < expected:
            raise _TryAgainError(f"the connection broke at {have:,} of {expected:,} bytes")
        if expected >= 0 and have > expected:
            self._forget()
            raise _TryAgainError(f"the server sent {have:,} bytes where it announced {expected:,}")

    def _refused_range(self, answer: httpx.Response, version: dict[str, Any], have: int) -> dict[str, Any]:
        """Status 416: either the part is whole already, or it is longer than what the server has now."""
        whole = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("content-range", ""))
        if whole and int(whole[1]) == have == int(version["size"]):
            return version
        self._forget()
        raise _TryAgainError("the server's file is shorter than the part already here")

    def _keep(self, version: dict[str, Any], note: Path) -> Fetched:
        with self.part.open("rb+") as file:
            os.fsync(file.fileno())
        today = datetime.datetime.fromtimestamp(self.waits.now(), datetime.UTC).date().isoformat()
        done = Fetched(
            url=shown(self.url),
            retrieved=today,
            last_modified=str(version["last_modified"]),
            etag=str(version["etag"]),
            size=self._length(),
            sha256=sha256(self.part),
        )
        _write(note, asdict(done))
        self.part.replace(self.path)
        self.state.unlink(missing_ok=True)
        return done

    def _length(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _version(self) -> dict[str, Any]:
        """What the server said when the part was begun; empty if the part belongs to another address."""
        try:
            version: dict[str, Any] = json.loads(self.state.read_text())
        except (OSError, ValueError):
            return {}
        return version if version.get("url") == shown(self.url) else {}

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)


def _version_of(url: str, answer: httpx.Response) -> dict[str, Any]:
    etag = answer.headers.get("etag", "")
    last_modified = answer.headers.get("last-modified", "")
    # A weak ETag promises the same meaning, not the same bytes: it cannot vouch for a range (RFC 9110, 13.1.5).
    strong = etag if etag and not etag.startswith("W/") else ""
    return {
        "url": shown(url),
        "size": int(answer.headers.get("content-length", -1)),
        "etag": etag,
        "last_modified": last_modified,
        "validator": strong or last_modified,
    }


def _continues(answer: httpx.Response, version: dict[str, Any], have: int) -> bool:
    """Whether a partial answer starts where the part ends, and belongs to a file of the same size."""
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
    return sent is not None and int(sent[1]) == have and sent[2] in ("*", str(version["size"]))


def _megabytes(size: int) -> int:
    return max(0, -(-size // _MEGABYTE))


def _gzip_problem(path: Path) -> str:
    """What is wrong with a gzip file, or an empty string; every byte is read and every checksum compared."""
    try:
        with path.open("rb") as file:
            return _read_members(file)
    except zlib.error as error:
        return f"not a whole gzip file: {error}"


def _read_members(file: BinaryIO) -> str:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    members, started = 0, False
    while chunk := file.read(_CHUNK):
        while chunk:
            started = True
            # The limit keeps memory small whatever a block of zeros inflates to.
            inflate.decompress(chunk, _CHUNK)
            chunk = inflate.unconsumed_tail or inflate.unused_data
            if inflate.eof:
                members, started = members + 1, False
                inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    if started or not members:
        return "the gzip stream ends too early"
    return ""


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noted(path: Path, note: Path) -> Fetched | None:
    """The manifest entry of a file already here; None if the file or its entry is missing or does not fit."""
    try:
        known = Fetched(**json.loads(note.read_text()))
        return known if path.stat().st_size == known.size else None
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, values: dict[str, Any]) -> None:
    """Write JSON aside and rename it."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
    aside.replace(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; another process or thread that asks for it waits.

    The system releases the lock when the process ends, however it ends. Where the file system has no locks, none is
    held.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        with contextlib.suppress(OSError):
            _lock(file)
        yield


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":  # pragma: no cover
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        # Closing the file releases it.
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
