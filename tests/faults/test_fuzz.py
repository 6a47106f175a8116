"""Readers of files from elsewhere, given anything: a result, or one of our own errors, and nothing is run.

`LEXICELL_FAULTS=long` draws 2,000 examples for each reader instead of 60.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lexicell as lx
from lexicell._errors import LexicellError
from lexicell._saved import read_json, unpack_gzip
from lexicell.sources.vectors import read_vectors

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES = 2000 if os.environ.get("LEXICELL_FAULTS") == "long" else 60
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, ids=np.array(["SOD1", "FUS"]), vectors=np.eye(2))
    return file.getvalue()


WHOLE = {
    ".tsv": b"gene\ta\tb\nSOD1\t1\t2\nFUS\t3\t4\n",
    ".csv": b'gene,text\nSOD1,"one, two"\nFUS,three\n',
    ".txt": b"2 2\nSOD1 1 2\nFUS 3 4\n",
    ".vec": b"SOD1 1 2\nFUS 3 4\n",
    ".json": b'{"SOD1": "a text", "FUS": "another"}',
    ".jsonl": b'{"gene": "SOD1", "text": "a"}\n{"gene": "FUS", "text": "b"}\n',
    ".pickle": pickle.dumps({"SOD1": [1.0, 2.0], "FUS": [3.0, 4.0]}),
    ".npz": _npz(),
    ".h5ad": b"\x89HDF\r\n\x1a\n" + bytes(200),
}
WHOLE |= {
    f"{kind}.gz": gzip.compress(content) for kind, content in WHOLE.items() if kind in (".tsv", ".csv", ".pickle")
}


@st.composite
def broken(draw: Any, whole: bytes) -> bytes:
    """A file with bytes changed, cut out or put in; or anything."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        if draw(st.booleans()):
            content[at:at] = draw(st.binary(min_size=1, max_size=8))
        else:
            del content[at : at + draw(st.integers(1, 20))]
    return bytes(content)


def _only_ours(read: Callable[[Path], object], content: bytes, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{kind}")
        path.write_bytes(content)
        with contextlib.suppress(LexicellError):
            read(path)


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if "json" not in kind])
def test_gene_vectors(kind: str) -> None:
    @fuzz
    @given(broken(WHOLE[kind]))
    def run(content: bytes) -> None:
        _only_ours(read_vectors, content, kind)

    run()


@pytest.mark.parametrize("kind", [".tsv", ".csv", ".json", ".jsonl", ".tsv.gz"])
def test_tables_of_texts(kind: str) -> None:
    @fuzz
    @given(broken(WHOLE[kind]))
    def run(content: bytes) -> None:
        def read(path: Path) -> object:
            return lx.sources.get(f"table:{path}").texts(["SOD1", "FUS"], organism="human")

        _only_ours(read, content, kind)

    run()


@fuzz
@given(broken(b'{"coef": [1.0, null], "classes": ["a", "b"]}'))
def test_json(content: bytes) -> None:
    _only_ours(lambda path: read_json(path, "a classifier"), content, ".json")


def test_json_that_is_nested_deeply() -> None:
    _only_ours(lambda path: read_json(path, "a classifier"), b"[" * 200_000, ".json")
    _only_ours(lambda path: lx.sources.get(f"table:{path}").texts(["SOD1"], organism="human"), b"[" * 200_000, ".json")


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_runs(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "genes.pickle").write_bytes(pickle.dumps({"SOD1": _Runs(tmp_path / "made")}, protocol=protocol))
    with pytest.raises(LexicellError, match="refused"):
        read_vectors(tmp_path / "genes.pickle")
    assert not (tmp_path / "made").exists()


def test_what_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexicell._saved._HARMLESS", 1 << 20)
    with pytest.raises(LexicellError, match="no real file does"):
        unpack_gzip(gzip.compress(bytes(4 << 20)))
    file = io.BytesIO()
    np.savez_compressed(file, ids=np.array(["SOD1", "FUS"]), vectors=np.zeros((2, 1 << 18)))
    (tmp_path / "genes.npz").write_bytes(file.getvalue())
    with pytest.raises(LexicellError, match="no real file does"):
        read_vectors(tmp_path / "genes.npz")
