"""The store as an HDF5 file that any program can read: written and read back in blocks, so memory stays small."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import InputError

_FORMAT = "lexicell store 1"
_BLOCK = 4096  # rows in memory at once

Block = tuple[str, list[str], NDArray[Any]]


def write(db: sqlite3.Connection | None, path: Path) -> int:
    """Write everything behind the connection to `path`; returns the number of vectors."""
    import h5py

    aside = path.with_name(f".{path.name}.part")
    count = 0
    try:
        with h5py.File(aside, "w") as file:
            file.attrs["format"] = _FORMAT
            vectors, records = file.create_group("vectors"), file.create_group("records")
            if db is not None:
                # One snapshot: rows that other processes add meanwhile wait for the next export.
                db.execute("BEGIN")
                try:
                    count = _write_vectors(db, vectors)
                    rows = db.execute("SELECT kind, key, payload FROM records ORDER BY kind, key")
                    for i, (kind, key, payload) in enumerate(rows):
                        group = records.create_group(str(i))
                        group.attrs["kind"], group.attrs["key"] = kind, key
                        group["payload"] = np.frombuffer(payload, dtype=np.uint8)
                finally:
                    db.execute("COMMIT")
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return count


def read_vectors(path: Path) -> Iterator[Block]:
    """Yield (space, texts, vectors) in blocks."""
    with _opened(path) as file:
        for group in file["vectors"].values():
            texts, vectors = group["text"].asstr(), group["vectors"]
            for start in range(0, len(vectors), _BLOCK):
                part = slice(start, start + _BLOCK)
                yield str(group.attrs["space"]), list(texts[part]), vectors[part]


def read_records(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (kind, key, payload)."""
    with _opened(path) as file:
        for group in file["records"].values():
            yield str(group.attrs["kind"]), str(group.attrs["key"]), group["payload"][()].tobytes()


def _opened(path: Path) -> Any:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as an exported store: {error}") from error
    if file.attrs.get("format") != _FORMAT:
        file.close()
        raise InputError(f"{path} is not an exported store of lexicell (its attribute 'format' is not '{_FORMAT}')")
    return file


def _write_vectors(db: sqlite3.Connection, parent: Any) -> int:
    import h5py

    kinds = db.execute("SELECT DISTINCT s.id, s.name, s.dim, v.dtype FROM spaces s JOIN vectors v ON v.space = s.id "
                       "ORDER BY s.name, v.dtype").fetchall()  # fmt: skip
    total = 0
    for i, (number, space, dim, dtype) in enumerate(kinds):
        group = parent.create_group(str(i))
        group.attrs["space"] = space
        chunk = max(1, min(_BLOCK, 2**20 // (8 * dim)))
        text = group.create_dataset("text", (0,), maxshape=(None,), chunks=(chunk,), dtype=h5py.string_dtype())
        vectors = group.create_dataset(
            "vectors", (0, dim), maxshape=(None, dim), chunks=(chunk, dim), dtype=f"<{dtype}"
        )
        rows = db.execute(
            "SELECT text, vector FROM vectors WHERE space = ? AND dtype = ? ORDER BY key", (number, dtype)
        )
        while block := rows.fetchmany(_BLOCK):
            start, end = len(vectors), len(vectors) + len(block)
            text.resize(end, axis=0)
            vectors.resize(end, axis=0)
            text[start:end] = [words for words, _ in block]
            vectors[start:end] = np.stack([np.frombuffer(blob, dtype=f"<{dtype}") for _, blob in block])
            total += len(block)
    return total
