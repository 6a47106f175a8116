"""Vectors already computed: one SQLite file, keyed by content.

The key of a vector is a hash of its space (embedder, revision, dimensions) and its text. Which gene has which text is
kept elsewhere, so two genes that share a text share one row and neither is lost. Documents (whole gene embeddings)
are kept beside the vectors under a kind and a key.

Several processes may read and write at once: SQLite's write-ahead log, a long busy time-out, and one short
transaction per batch. What `put_many` has returned from is on disk; a process killed in the middle of it leaves the
file as it was before.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._errors import InputError, check_key
from ._files import check_file, write_file

__all__ = ["Store"]

_APPLICATION_ID = 0x6C786331  # "lxc1": tells our files from other SQLite files
_SCHEMA = 1
_BUSY_SECONDS = 120.0
_ASKED_AT_ONCE = 500  # below the 999 variables a statement may have in old builds of SQLite
_DTYPES = {"f2": "<f2", "f4": "<f4", "f8": "<f8"}

_inherited: list[sqlite3.Connection | None] = []

_TABLES = """
CREATE TABLE IF NOT EXISTS spaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, dim INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, space INTEGER NOT NULL REFERENCES spaces(id),
    key BLOB NOT NULL, dtype TEXT NOT NULL, vector BLOB NOT NULL, text TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS vectors_by_key ON vectors (space, key);
CREATE TABLE IF NOT EXISTS records (kind TEXT NOT NULL, key TEXT NOT NULL, payload BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS records_by_key ON records (kind, key);
"""


def cache_dir() -> Path:
    """Folder of everything lexicell keeps for the user: ``LEXICELL_CACHE_DIR`` if set, else the system's cache folder.

    The folder is not made here.
    """
    named = os.environ.get("LEXICELL_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("lexicell"))


def _key(space: str, text: str) -> bytes:
    return hashlib.blake2b(f"{space}\0{text}".encode(), digest_size=20).digest()


def _vector(dtype: str, blob: bytes, dim: int) -> NDArray[Any] | None:
    """A stored vector; None if it has another length than its space or is not finite."""
    if dtype not in _DTYPES or len(blob) != dim * int(dtype[1]):
        return None
    vector = np.frombuffer(blob, dtype=_DTYPES[dtype])
    return vector if np.isfinite(vector).all() else None


class Store:
    """Vectors and documents that must not be computed, or paid for, twice.

    Nothing is opened or made before the first use. An object may be shared between threads, and survives a fork: each
    process opens a connection of its own.

    Parameters
    ----------
    path
        The file; None is ``store.sqlite`` in :func:`cache_dir`. Missing folders are made.
    read_only
        Never write, not even to make the file.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from lexicell.store import Store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Store(f"{folder}/store.sqlite") as store:
    ...         store.put_many("toy@1/2", ["SOD1"], np.array([[1.0, 0.0]], dtype=np.float32))
    ...         store.get_many("toy@1/2", ["SOD1", "TARDBP"])
    {'SOD1': array([1., 0.], dtype=float32)}
    """

    def __init__(self, path: str | Path | None = None, *, read_only: bool = False) -> None:
        self.path = (cache_dir() / "store.sqlite") if path is None else Path(path).expanduser()
        self.read_only = read_only
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._writable = not read_only

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}{', read_only=True' if self.read_only else ''})"

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            if self._pid != os.getpid():
                _inherited.append(self._connection)
            elif self._connection is not None:
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        # Python 3.13 warns about connections that are dropped unclosed.
        if getattr(self, "_connection", None) is not None:
            self.close()

    def get_many(self, space: str, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Look up the vectors of texts.

        Parameters
        ----------
        space
            Name of the vector space: ``embedder@revision/dim``.
        texts
            Any strings; repeats count once.

        Returns
        -------
        Text -> vector ``(dim,)`` in the dtype it was stored with, read-only; texts that are not stored are left out.

        Warns
        -----
        UserWarning
            If a stored vector has the wrong length or holds NaN: it is left out, and set aside among the documents.
        """
        wanted = {_key(space, text): text for text in texts}
        found: dict[str, NDArray[Any]] = {}
        damaged: list[bytes] = []
        with self._reading() as db:
            row = None
            if db is not None:
                row = db.execute("SELECT id, dim FROM spaces WHERE name = ?", (space,)).fetchone()
            if db is None or row is None:
                return found
            number, dim = row
            keys = list(wanted)
            for start in range(0, len(keys), _ASKED_AT_ONCE):
                part = keys[start : start + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(part))
                statement = f"SELECT key, dtype, vector FROM vectors WHERE space = ? AND key IN ({marks})"
                for key, dtype, blob in db.execute(statement, (number, *part)):
                    vector = _vector(dtype, blob, dim)
                    if vector is None:
                        damaged.append(key)
                    else:
                        found[wanted[key]] = vector
        if damaged:
            self._set_vectors_aside(space, number, damaged, wanted[damaged[0]])
        return found

    def put_many(self, space: str, texts: Sequence[str], vectors: ArrayLike) -> None:
        """Store the vectors of texts in one transaction; what is there already stays.

        Parameters
        ----------
        space
            Name of the vector space.
        texts
            One text per row of `vectors`.
        vectors
            ``(len(texts), dim)`` float16, float32 or float64, kept in that dtype; finite.

        Raises
        ------
        InputError
            If shapes disagree, a value is not finite, the space holds vectors of another length, or the store cannot be
            written.
        """
        matrix = np.asarray(vectors)
        if matrix.ndim != 2 or len(matrix) != len(texts):
            raise InputError(f"vectors of shape {matrix.shape} do not fit {len(texts)} texts: one row per text")
        code = matrix.dtype.str[1:]
        if code not in _DTYPES:
            raise InputError(f"vectors of dtype {matrix.dtype} cannot be stored; give float16, float32 or float64")
        if not np.isfinite(matrix).all():
            raise InputError("vectors hold NaN or infinity and were not stored")
        if any("\0" in text for text in texts):
            raise InputError("a text holds a NUL character; remove it")
        if not len(texts):
            return
        matrix = np.ascontiguousarray(matrix, dtype=_DTYPES[code])
        rows = [(_key(space, text), code, row.tobytes(), text) for text, row in zip(texts, matrix, strict=True)]
        self._insert(space, matrix.shape[1], rows)

    def put_record(self, kind: str, key: str, payload: bytes) -> None:
        """Store a document; one of the same kind and key is replaced."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO records (kind, key, payload) VALUES (?, ?, ?)", (kind, key, payload))

    def get_record(self, kind: str, key: str) -> bytes | None:
        """Return a document, or None."""
        with self._reading() as db:
            statement = "SELECT payload FROM records WHERE kind = ? AND key = ?"
            row = None if db is None else db.execute(statement, (kind, key)).fetchone()
        return None if row is None else bytes(row[0])

    def check_writable(self) -> None:
        """Raise an `InputError` that says why, if the store cannot be written."""
        with self._writing():
            pass

    def info(self) -> dict[str, Any]:
        """Describe the store.

        Returns
        -------
        ``path``, ``bytes`` on disk (0 where there is no file yet), ``writable``, ``vectors`` (their number in each
        space) and ``records`` (their number of each kind).
        """
        vectors: dict[str, int] = {}
        records: dict[str, int] = {}
        with self._reading() as db:
            if db is not None:
                statement = (
                    "SELECT s.name, count(v.space) FROM spaces s LEFT JOIN vectors v ON v.space = s.id "
                    "GROUP BY s.id ORDER BY s.name"
                )
                vectors = dict(db.execute(statement).fetchall())
                records = dict(db.execute("SELECT kind, count(*) FROM records GROUP BY kind ORDER BY kind").fetchall())
        size = sum(file.stat().st_size for file in self.files() if file.exists())
        found = {"path": str(self.path), "bytes": size, "writable": self._can_write()}
        return {**found, "vectors": vectors, "records": records}

    def clear(self, space: str | None = None) -> int:
        """Remove the vectors of one space, or everything, records included; returns how many vectors there were.

        A damaged file is renamed, not deleted, so that what is in it can still be rescued.

        Raises
        ------
        MissingKeyError
            If there is no such space.
        """
        try:
            with self._writing() as db:
                spaces = dict(db.execute("SELECT name, id FROM spaces").fetchall())
                if space is None:
                    count = db.execute("SELECT count(*) FROM vectors").fetchone()[0]
                    for table in ("vectors", "spaces", "records"):
                        db.execute(f"DELETE FROM {table}")
                else:
                    number = spaces[check_key(space, spaces, "space in the store")]
                    count = db.execute("DELETE FROM vectors WHERE space = ?", (number,)).rowcount
                    db.execute("DELETE FROM spaces WHERE id = ?", (number,))
        except InputError as error:
            if space is not None or not _is_damage(error.__cause__):
                raise
            self.close()
            self._set_aside()
            return 0
        with self._lock, self._explained("written"):
            # Give the disk space back; where another process is reading, SQLite does so later.
            self._open().execute("VACUUM")
            self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(count)

    def export(self, path: str | Path) -> int:
        """Write a compact copy of the store that can be kept, or imported elsewhere; returns the number of vectors.

        The copy is an SQLite file with the tables ``spaces``, ``vectors`` (``text``, and ``vector`` as little-endian
        numbers of ``dtype``) and ``records``. It is written aside and renamed. :meth:`import_file` reads it back.

        Raises
        ------
        InputError
            If `path` cannot be written, its folder is missing, or it is the store itself.
        """
        path = check_file(path, inputs=self.files())
        if not path.parent.exists():
            raise InputError(f"'{path}' cannot be written: there is no folder '{path.parent}'; make it first")
        with self._reading() as db:
            if db is None:
                with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/store.sqlite") as empty:
                    empty.check_writable()
                    return empty.export(path)
            # One snapshot: rows that other processes add meanwhile wait for the next export.
            write_file(path, lambda aside: db.execute("VACUUM INTO ?", (str(aside),)))
            return int(db.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def import_file(self, path: str | Path) -> int:
        """Add what an exported file holds, e.g. from another machine; returns the number of vectors read.

        What the store holds already stays as it is.

        Raises
        ------
        InputError
            If the file is missing, was not written by :meth:`export`, or has vectors of another length in a space.
        """
        given = Store(path, read_only=True)
        if not given.path.is_file():
            raise InputError(f"there is no file '{given.path}' to import")
        with given, given._reading() as source:
            assert source is not None
            spaces = source.execute("SELECT id, name, dim FROM spaces").fetchall()
            records = source.execute("SELECT kind, key, payload FROM records").fetchall()
            count = 0
            for number, space, dim in spaces:
                rows = source.execute("SELECT key, dtype, vector, text FROM vectors WHERE space = ?", (number,))
                while block := rows.fetchmany(_ASKED_AT_ONCE):
                    self._insert(space, dim, block)
                    count += len(block)
        for kind, key, payload in records:
            self.put_record(kind, key, payload)
        return count

    def _insert(self, space: str, dim: int, rows: Sequence[tuple[bytes, str, bytes, str]]) -> None:
        """Add rows of (key, dtype, vector, text); those that are there already stay."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO spaces (name, dim) VALUES (?, ?)", (space, dim))
            number, known = db.execute("SELECT id, dim FROM spaces WHERE name = ?", (space,)).fetchone()
            if known != dim:
                raise InputError(f"space '{space}' holds vectors of length {known}; these have length {dim}")
            statement = f"INSERT OR IGNORE INTO vectors (space, key, dtype, vector, text) VALUES ({number}, ?, ?, ?, ?)"
            db.executemany(statement, rows)

    def _set_vectors_aside(self, space: str, number: int, keys: Sequence[bytes], text: str) -> None:
        """Take damaged vectors out of use, keep what is left of them as documents, and warn."""
        done = "they are not used"
        if self._can_write():
            done = "they are set aside as records of kind 'damaged vector' and will be computed again"
            with self._writing() as db:
                for key in keys:
                    where = (number, key)
                    row = db.execute("SELECT vector FROM vectors WHERE space = ? AND key = ?", where).fetchone()
                    if row is not None:
                        values = ("damaged vector", f"{space} {key.hex()}", row[0])
                        db.execute("INSERT OR REPLACE INTO records (kind, key, payload) VALUES (?, ?, ?)", values)
                        db.execute("DELETE FROM vectors WHERE space = ? AND key = ?", where)
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        warnings.warn(
            f"{len(keys)} vectors of '{space}' in the store {self.path} are damaged (wrong length, NaN or infinity), "
            f"first that of '{shown}'; {done}",
            UserWarning,
            stacklevel=3,
        )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """The connection, or None where there is no file yet."""
        with self._lock, self._explained("read"):
            if self._connection is None and not self.path.exists():
                yield None
            else:
                yield self._open()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained("written"):
            if self.read_only:
                raise InputError(f"the store {self.path} was opened read-only")
            db = self._open()
            if not self._writable:
                raise InputError(f"the store {self.path} cannot be written: permission denied. {_ELSEWHERE}")
            # IMMEDIATE takes the write lock at once: a transaction that starts by reading could fail when it upgrades.
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.rollback()
                raise
            db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            # A connection from before a fork must be neither used nor closed: closing would disturb the parent's locks.
            _inherited.append(self._connection)
            self._connection = None
        if self._connection is None:
            self._connection = self._connect()
            self._pid = os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writable = self._can_write()
        if self._writable:
            return self._prepared("mode=rwc")
        try:
            return self._prepared("mode=ro")
        except sqlite3.OperationalError:
            # The write-ahead log needs a writable folder even for reading, unless nobody else can be writing.
            return self._prepared("mode=ro&immutable=1")

    def _prepared(self, query: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{query}"
        db = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        # One snapshot: another process may be making the file at this very moment.
        db.execute("BEGIN")
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        db.execute("COMMIT")
        if tables and application != _APPLICATION_ID:
            raise InputError(
                f"{self.path} is a database of another program, not a store of lexicell; name another file"
            )
        if version > _SCHEMA:
            raise InputError(
                f"the store {self.path} was written by a newer lexicell (layout {version}; this one reads {_SCHEMA}). "
                "Update lexicell, or set LEXICELL_CACHE_DIR to another folder"
            )
        if not self._writable:
            return
        _patiently(lambda: db.execute("PRAGMA journal_mode = WAL"))
        db.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        # A power cut must not lose what was paid for; one sync a batch is cheap beside computing it.
        db.execute("PRAGMA synchronous = FULL")
        if not tables:
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_SCHEMA}")
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute("COMMIT")

    def _can_write(self) -> bool:
        """Whether file and folder allow writing; where they do not exist yet, the nearest folder that does decides."""
        folder = next((place for place in self.path.parents if place.exists()), self.path.parent)
        return not self.read_only and all(
            os.access(p, os.W_OK) for p in (folder, self.path) if p is folder or p.exists()
        )

    def files(self) -> list[Path]:
        """The database and the two files that SQLite keeps beside it while it is open."""
        return [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", "-shm")]

    def _set_aside(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        with self._explained("renamed"):
            for file in self.files():
                if file.exists():
                    file.rename(file.with_name(f"{file.name}.damaged-{stamp}"))

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"the store {self.path} cannot be {done}: {error}. {_advice(error)}") from error


_ELSEWHERE = "Set LEXICELL_CACHE_DIR to a folder that can be written"


def _is_damage(error: BaseException | None) -> bool:
    text = str(error).lower()
    return isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text)


def _advice(error: Exception) -> str:
    text = str(error).lower()
    if _is_damage(error):
        return (
            "The file is damaged: run `lexicell cache clear`, which renames it, and lexicell starts a new one; "
            "vectors are then computed, or paid for, again"
        )
    if "locked" in text or "busy" in text:
        return f"Another process has held it for over {_BUSY_SECONDS:.0f} seconds; end that process and try again"
    if "full" in text:
        return "Free some space, or set LEXICELL_CACHE_DIR to a folder on another disk"
    return _ELSEWHERE


def _patiently(action: Any) -> None:
    """Retry while another process makes the file: changing the journal mode ignores SQLite's own busy time-out."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
