"""Large files: streamed to disk, resumed after a break, checked, and only then given their name.

While a file comes in it is called ``NAME.part``, beside ``NAME.part.json``, which says which version of it the server
was sending. A later call, in this process or another, goes on where the last one stopped if the server still has that
version. A lock file keeps two processes from writing one part; the second waits and finds the file.

pooch was considered for this: it streams, compares a hash and renames, but deletes what had arrived when a connection
breaks, asks for no ranges and does not read ``Retry-After``; and NCBI publishes no hashes to compare with.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ._errors import InputError, ProviderError
from ._files import write_file
from ._progress import progress

if TYPE_CHECKING:
    import httpx

__all__ = ["Fetched", "Waits", "asked_wait", "fetch", "locked", "sha256", "shown"]

_CHUNK = 1 << 18
_DAMAGED_TRIES = 2  # a damaged file is fetched once more from the start, then the server is to blame
_MEGABYTE = 1_000_000
_LARGEST = 32 << 30  # bytes; the largest file of weights that anyone uses has 10 GB
# Too early, too many requests, and servers that are overloaded or restarting.
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_SECRET = frozenset({"api_key", "api-key", "apikey", "key", "token", "access_token"})
# The Hugging Face hub answers with the address of a file in its storage, under these names.
_STORAGE_HOSTS = ("huggingface.co", "hf.co")
_HINTS = {
    401: "the server asks for a login: check the base URL",
    403: "the server refuses: check the base URL, or whether a proxy is in between",
    404: "the server has no such file: check the base URL",
}


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


@dataclass(frozen=True)
class Waits:
    """How long to wait before the next try: doubling, but never less than the server asks for.

    Attributes
    ----------
    tries
        How often a request is repeated without any progress before it is given up.
    first, longest
        Seconds before the first repetition, and the most it grows to.
    patience
        The longest wait a server may ask for by ``Retry-After``; beyond it the request is given up at once.
    sleep, now
        Replaced in tests; `now` is Unix time.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0
    patience: float = 300.0
    sleep: Callable[[float], object] = time.sleep
    now: Callable[[], float] = time.time

    def wait(self, failures: int, url: str, error: _TryAgainError) -> None:
        """Sleep before the next try, or raise a `ProviderError` when enough is enough."""
        reason = ""
        if failures > self.tries:
            reason = f"{error}, {failures} times in a row"
        seconds = min(self.first * 2.0 ** (failures - 1), self.longest)
        seconds = max(seconds, asked_wait(error.headers, self.now()) or 0.0)
        if seconds > self.patience:
            reason = f"{error}, and the server asks to wait {seconds / 60:.0f} minutes"
        if reason:
            raise ProviderError(
                f"{shown(url)}: {reason}. Check the connection and try again later; what has arrived is kept"
            )
        self.sleep(seconds)


class _TryAgainError(Exception):
    """One try failed; another may end better."""

    def __init__(self, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.headers = headers or {}


class _MissingError(ProviderError):
    """The server has no such file."""


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the server wants the next try: ``retry-after-ms``, or ``retry-after`` in seconds or as a date."""
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        if seconds >= 0:
            return seconds
        return None  # negative or NaN
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, date.timestamp() - now)


def shown(url: str) -> str:
    """The address without login and without keys, fit for a message."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = [(name, "..." if name.lower() in _SECRET else value) for name, value in parse_qsl(parts.query)]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query, safe=".,:/[]()"), ""))


def fetch(
    url: str,
    path: Path,
    *,
    timeout: float = 60.0,
    waits: Waits | None = None,
    show_progress: bool | None = None,
    missing_ok: bool = False,
) -> Fetched | None:
    """Download `url` to `path`, unless it is there; a broken download is taken up where it stopped.

    Parameters
    ----------
    url
        An http(s) address. Redirects are followed within its host, and to the storage of the Hugging Face hub.
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
        If the server refuses, keeps failing, points to another host, or sends a damaged file twice.
    InputError
        If the address or the folder cannot be used.
    """
    note = path.with_name(f"{path.name}.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            known = _noted(path, note)
            if known is not None:
                return known
            return _Download(url, path, timeout, waits or Waits(), show_progress).run(note)
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
        headers = {
            # Servers ask who calls, so that they can reach whoever overburdens them.
            "User-Agent": f"lexicell/{metadata.version('lexicell')} (https://lexicell.readthedocs.io)",
            # A server that compresses on the way would make sizes and ranges mean something else.
            "Accept-Encoding": "identity",
        }
        hooks = {"response": [_check_redirect]}
        with httpx.Client(timeout=limits, headers=headers, follow_redirects=True, event_hooks=hooks) as client:
            for _ in range(_DAMAGED_TRIES):
                version = self._receive(client)
                problem = _gzip_problem(self.part) if self.path.suffix == ".gz" else ""
                if not problem:
                    return self._keep(version, note)
                self._forget()
        raise ProviderError(
            f"{shown(self.url)} came damaged {_DAMAGED_TRIES} times ({problem}); nothing was kept. "
            "Try again later, or from another network: something on the way may alter files"
        )

    def _receive(self, client: httpx.Client) -> dict[str, Any]:
        """Bring the part to its full length; returns what the server said of the version."""
        failures = 0
        reached = self._length()
        while True:
            try:
                return self._request(client)
            except _TryAgainError as error:
                failures += 1
                # Progress counts only beyond what was ever reached: a server that cannot resume starts over each time.
                if self._length() > reached:
                    failures = 1
                    reached = self._length()
                self.waits.wait(failures, self.url, error)

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
                _check_status(self.url, answer)
                if answer.status_code != 206:
                    # The part goes before the note of the new version comes: a kill in between must not mix the two.
                    self.part.unlink(missing_ok=True)
                    have, version = 0, _version_of(self.url, answer)
                    _write(self.state, version)
                elif not _continues(answer, version, have):
                    self._forget()
                    raise _TryAgainError("the server sent another part of the file than asked for")
                if int(version["size"]) <= _LARGEST:
                    self._append(answer, have, int(version["size"]))
                if max(self._length(), int(version["size"])) > _LARGEST:
                    self._forget()
                    raise ProviderError(f"{shown(self.url)} is larger than {_LARGEST:,} bytes; it was not kept")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _TryAgainError(_failure(self.url, error)) from None
        self._check_size(int(version["size"]))
        return version

    def _append(self, answer: httpx.Response, have: int, total: int) -> None:
        name = f"downloading {self.path.name} (MB)"
        mode = "ab" if have else "wb"
        with self.part.open(mode) as file, progress(name, _megabytes(total), show=self.show) as advance:
            drawn = _megabytes(have)
            advance(drawn)
            # No chunk size: httpx would hold back what has not filled a chunk, and a break would lose it.
            for chunk in answer.iter_raw():
                file.write(chunk)
                have += len(chunk)
                if have > _LARGEST:
                    break
                advance(_megabytes(have) - drawn)
                drawn = _megabytes(have)

    def _check_size(self, expected: int) -> None:
        have = self._length()
        if have < expected:
            raise _TryAgainError(f"the connection broke at {have:,} of {expected:,} bytes")
        if have > expected >= 0:
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
        done = Fetched(
            url=shown(self.url),
            retrieved=datetime.datetime.fromtimestamp(self.waits.now(), datetime.UTC).date().isoformat(),
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


def _check_redirect(answer: httpx.Response) -> None:
    """Refuse to follow an answer to another host, or from https to http."""
    if not answer.has_redirect_location:
        return
    target = answer.url.join(answer.headers["location"])
    same = target.host == answer.url.host
    listed = target.scheme == "https" and any(f".{target.host}".endswith(f".{host}") for host in _STORAGE_HOSTS)
    if not (same or listed) or (answer.url.scheme == "https" and target.scheme != "https"):
        raise ProviderError(
            f"{shown(str(answer.url))} points to {target.scheme}://{target.host}, which is not followed; "
            "if you trust that address, name it as the base URL"
        )


def _check_status(url: str, answer: httpx.Response) -> None:
    """Raise for an answer that holds no file."""
    status = answer.status_code
    if status in _RETRIED:
        raise _TryAgainError(f"HTTP status {status}", answer.headers)
    if status >= 400:
        kind = _MissingError if status == 404 else ProviderError
        hint = _HINTS.get(status, "the request cannot be answered")
        raise kind(f"{shown(url)}: HTTP status {status}; {hint}")


def _failure(url: str, error: Exception) -> str:
    """Name an httpx error in words that hold no key; raise an `InputError` where the address itself is wrong."""
    import httpx

    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        raise InputError(
            f"{shown(url)} is not an address that can be fetched; give one that starts with https://"
        ) from None
    if isinstance(error, httpx.TimeoutException):
        return "the server stopped answering"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the connection broke"
    # The text of an httpx error may quote the whole address, key included: its kind must do.
    return f"no connection ({type(error).__name__})"


def _version_of(url: str, answer: httpx.Response) -> dict[str, Any]:
    etag = answer.headers.get("etag", "")
    last_modified = answer.headers.get("last-modified", "")
    validator = etag
    # A weak ETag promises the same meaning, not the same bytes: it cannot vouch for a range (RFC 9110, 13.1.5).
    if not etag or etag.startswith("W/"):
        validator = last_modified
    size = int(answer.headers.get("content-length", -1))
    return {"url": shown(url), "size": size, "etag": etag, "last_modified": last_modified, "validator": validator}


def _continues(answer: httpx.Response, version: dict[str, Any], have: int) -> bool:
    """Whether a partial answer starts where the part ends, and belongs to a file of the same size."""
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
    return sent is not None and int(sent[1]) == have and sent[2] in ("*", str(version["size"]))


def _megabytes(size: int) -> int:
    return max(0, -(-size // _MEGABYTE))


def _gzip_problem(path: Path) -> str:
    """What is wrong with a gzip file, or an empty string; every byte is read and every checksum compared."""
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    members, started = 0, False
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                while chunk:
                    started = True
                    # The limit keeps memory small whatever a block of zeros inflates to.
                    inflate.decompress(chunk, _CHUNK)
                    chunk = inflate.unconsumed_tail or inflate.unused_data
                    if inflate.eof:
                        members, started = members + 1, False
                        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    except zlib.error as error:
        return f"not a whole gzip file: {error}"
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
    write_file(path, lambda aside: aside.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n"))


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
