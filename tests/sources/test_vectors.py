"""Published gene vectors: every format gives the same numbers, and no pickle runs anything."""

from __future__ import annotations

import collections
import contextlib
import copyreg
import functools
import gzip
import io
import os
import pickle
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexicell import GeneEmbedding
from lexicell._errors import InputError
from lexicell.sources._unpickle import RefusedError, load
from lexicell.sources.vectors import read_vectors

IDS = ["SOD1", "TARDBP", "FUS"]
VECTORS = np.array([[0.25, -1.5, 3.0], [1.0, 2.0, 0.5], [0.0, 0.0, -2.0]], dtype=np.float32)


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def text(header: bool, separator: str = " ") -> bytes:
    lines = [f"{len(IDS)} {VECTORS.shape[1]}"] if header else []
    lines += [separator.join([gene, *map(str, row)]) for gene, row in zip(IDS, VECTORS, strict=True)]
    return ("\n".join(lines) + "\n").encode()


def frame(separator: str, header: str) -> bytes:
    return "\n".join(
        [separator.join([header, "d0", "d1", "d2"]), *text(False, separator).decode().splitlines()]
    ).encode()


FILES: dict[str, bytes] = {
    "arrays.pickle": pickle.dumps(dict(zip(IDS, VECTORS, strict=True))),
    "lists.pkl": pickle.dumps({g: v.tolist() for g, v in zip(IDS, VECTORS, strict=True)}),
    "tuples.pkl": pickle.dumps({g: tuple(v.tolist()) for g, v in zip(IDS, VECTORS, strict=True)}),
    "ordered.pkl": pickle.dumps(collections.OrderedDict(zip(IDS, VECTORS, strict=True))),
    "pair.pkl": pickle.dumps({"genes": IDS, "embeddings": VECTORS}),
    "tuple.pkl": pickle.dumps((np.array(IDS), VECTORS)),
    "rows.pkl": pickle.dumps({g: v[None, :] for g, v in zip(IDS, VECTORS, strict=True)}),
    "pair.npz": npz(ids=np.array(IDS), vectors=VECTORS),
    "odd_names.npz": npz(a=np.array(IDS), b=VECTORS),
    "one_a_gene.npz": npz(**dict(zip(IDS, VECTORS, strict=True))),
    "word2vec.txt": text(True),
    "glove.vec": text(False),
    "tabs.txt": text(True, "\t"),
    "table.csv": frame(",", ""),
    "table.tsv": frame("\t", "gene"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_vectors(tmp_path, name, packed):
    path = write(tmp_path, name + ".gz" * packed, gzip.compress(FILES[name]) if packed else FILES[name])
    genes = read_vectors(path)
    assert list(genes.ids) == IDS
    np.testing.assert_array_equal(genes.vectors, VECTORS)
    assert genes.vectors.dtype == np.float32
    assert genes.provenance["source"] == path.name
    assert len(genes.provenance["sha256"]) == 64


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8"])
def test_arrays_of_every_protocol(tmp_path, protocol, order, dtype):
    matrix = np.asarray(VECTORS.round(), dtype=dtype, order=order)
    path = write(tmp_path, "x.pickle", pickle.dumps({"ids": IDS, "vectors": matrix}, protocol=protocol))
    np.testing.assert_array_equal(read_vectors(path).vectors, matrix.astype(np.float32))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numpy_scalars_and_strings(protocol):
    content = {"a": np.float32(1.5), "b": np.array(["x", "yz"]), "c": [np.int64(3), np.bool_(True)], "d": b"raw"}
    back = load(io.BytesIO(pickle.dumps(content, protocol=protocol)))
    assert back["a"] == np.float32(1.5)
    assert back["a"].dtype == np.float32
    assert back["b"].tolist() == ["x", "yz"]
    assert back["c"] == [3, True]
    assert back["d"] == b"raw"


def test_a_pickle_written_with_numpy_1():
    """Numpy 1 names its functions numpy.core; numpy 2 names them numpy._core."""
    raw = pickle.dumps(VECTORS, protocol=2)
    old = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    new = raw.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    for form in (old, new):
        np.testing.assert_array_equal(load(io.BytesIO(form)), VECTORS)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pandas as pd

    wide = pd.DataFrame(VECTORS, index=pd.Index(IDS, name="gene"), columns=["a", "b", "c"])
    wide.to_parquet(tmp_path / "index.parquet")
    wide.reset_index().to_parquet(tmp_path / "column.parquet")
    pd.DataFrame({"gene": IDS, "embedding": list(VECTORS)}).to_parquet(tmp_path / "lists.parquet")
    for name in ("index", "column", "lists"):
        genes = read_vectors(tmp_path / f"{name}.parquet")
        assert list(genes.ids) == IDS
        np.testing.assert_array_equal(genes.vectors, VECTORS)


def test_h5ad(tmp_path):
    GeneEmbedding.from_vectors(IDS, VECTORS, provenance={"source": "x"}).save(tmp_path / "x.h5ad")
    genes = read_vectors(tmp_path / "x.h5ad")
    assert list(genes.ids) == IDS
    assert genes.provenance["source"] == "x"


class TestNames:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return write(tmp_path, "x.pickle", FILES["arrays.pickle"])

    def test_ensembl_ids_of_the_data(self, path):
        names = ["ENSG00000120948.18", "nothing", "ENSG00000142168"]
        genes = read_vectors(path, names=names, organism="human")
        assert list(genes.ids) == ["ENSG00000120948.18", "ENSG00000142168"]
        np.testing.assert_array_equal(genes.vectors, VECTORS[[1, 0]])
        assert list(genes.coverage.index) == names
        assert list(genes.coverage["text_source"]) == ["file", "", "file"]
        assert list(genes.table["key"]) == ["TARDBP", "SOD1"]

    def test_mouse_genes_through_their_orthologues(self, path):
        genes = read_vectors(path, names=["Fus", "Sod1"], organism="mouse")
        np.testing.assert_array_equal(genes.vectors, VECTORS[[2, 0]])
        assert list(genes.table["text_source"]) == ["human orthologue: file"] * 2

    def test_none_of_the_names(self, path):
        with pytest.raises(InputError, match=r"none of the 2 gene names.*'A', 'B'.*'SOD1'.*file_organism="):
            read_vectors(path, names=["A", "B"], organism="human")

    def test_names_without_a_species(self, path):
        with pytest.raises(InputError, match="names need organism="):
            read_vectors(path, names=["SOD1"])


class TestTrouble:
    def test_vectors_that_are_not_finite_and_repeated_genes(self, tmp_path):
        path = write(tmp_path, "x.txt", b"A 1 2\nB nan 1\nA 3 4\nC 0 0\n")
        with pytest.warns(UserWarning, match="in ") as caught:
            genes = read_vectors(path)
        assert list(genes.ids) == ["A"]
        assert list(genes.vectors[0]) == [1, 2]
        assert any("NaN or infinity and are left out: 'B'" in str(w.message) for w in caught)
        assert any("more than once" in str(w.message) and "'A'" in str(w.message) for w in caught)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.pickle", b"", "cannot be read as .pickle"),
            ("x.pickle", pickle.dumps({"A": [1, 2]})[:-3], "cannot be read as .pickle"),
            ("x.pickle", pickle.dumps({"A": [1, 2], "B": [1]}), r"different lengths: \[1, 2\]"),
            ("x.pickle", pickle.dumps({"A": "text"}), "other than numbers"),
            ("x.pickle", pickle.dumps([1, 2, 3]), "a dict of gene -> vector"),
            ("x.pickle", pickle.dumps({}), "a dict of gene -> vector"),
            ("x.pickle", pickle.dumps({"ids": ["A"], "vectors": np.ones((2, 2))}), "1 ids do not fit"),
            ("x.pickle", pickle.dumps({"A": [0.0, 0.0]}), "no vector that could be used"),
            ("x.npz", b"PK\x03\x04", "cannot be read as .npz"),
            ("x.npz", npz(ids=np.array(IDS, dtype=object), vectors=VECTORS), "cannot be read as .npz: Object arrays"),
            ("x.txt", b"2 3\nA 1 2 3\n", "announces 2 vectors, there are 1"),
            ("x.txt", b"A 1 x\n", "line 1 holds something other than numbers"),
            ("x.txt", b"\n", "holds no vectors"),
            ("x.csv", b"gene,a\nA,x\n", "a column that holds no numbers"),
            ("x.pickle.gz", b"x", "cannot be read as .pickle"),
            ("x.docx", b"", "not a file of vectors that can be read; give one of .pickle"),
        ],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path, name, content, message):
        with pytest.raises(InputError, match=message):
            read_vectors(write(tmp_path, name, content))

    def test_no_file(self):
        with pytest.raises(InputError, match=r"no file 'nowhere.npz'"):
            read_vectors("nowhere.npz")


# --- pickles that mean harm -----------------------------------------------------------------------------------------

TOUCHED = "touched-by-a-pickle"


class Run:
    """Pickles into a call of any function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self) -> Any:
        return (self.function, self.arguments) if self.state is None else (self.function, self.arguments, self.state)


class Plain:
    pass


def stack_global(module: str, name: str, arguments: bytes = b")") -> bytes:
    """A pickle that calls module.name with a tuple given in opcodes, written by hand."""
    parts = [module.encode(), name.encode()]
    named = b"".join(b"\x8c" + bytes([len(part)]) + part for part in parts)
    return b"\x80\x04" + named + b"\x93" + arguments + b"R."


def reconstruct(dtype: Any, state: Any) -> bytes:
    """An array with a crafted state."""
    array = np.zeros(2)
    function, arguments, _ = array.__reduce__()
    return pickle.dumps(Run(function, *arguments, state=state if state is not None else (1, (2,), dtype, False, b"")))


MALICIOUS: dict[str, tuple[bytes, str]] = {
    "os.system": (pickle.dumps(Run(os.system, f"touch {TOUCHED}")), r"(posix|nt)\.system"),
    "subprocess": (pickle.dumps(Run(subprocess.Popen, ["touch", TOUCHED])), r"subprocess\.Popen"),
    "eval": (pickle.dumps(Run(eval, f"open({TOUCHED!r}, 'w')")), r"builtins\.eval"),
    "exec": (pickle.dumps(Run(exec, f"open({TOUCHED!r}, 'w')")), r"builtins\.exec"),
    "getattr": (pickle.dumps(Run(getattr, "", "join")), r"builtins\.getattr"),
    "import": (pickle.dumps(Run(__import__, "os")), r"builtins\.__import__"),
    "open": (pickle.dumps(Run(io.open, TOUCHED, "w")), r"(io|_io)\.open"),
    "partial": (pickle.dumps(functools.partial(os.system, "true")), r"functools\.partial"),
    "numpy-load": (pickle.dumps(Run(np.load, TOUCHED)), r"numpy\.load"),
    "numpy-fromfile": (stack_global("numpy", "fromfile"), r"numpy\.fromfile"),
    "numpy-eval": (stack_global("numpy.testing._private.utils", "runstring"), "runstring"),
    "numpy-ufunc": (pickle.dumps(np.add), r"numpy.*_ufunc_reconstruct|numpy.*add"),
    "numpy-random": (pickle.dumps(np.random.default_rng(0)), r"numpy\.random"),
    "numpy-object-array": (pickle.dumps(np.array([1, "a", None], dtype=object)), "array of objects"),
    "numpy-object-array-with-call": (
        pickle.dumps(np.array([Run(os.system, f"touch {TOUCHED}")], dtype=object)),
        r"(posix|nt)\.system|array of objects",
    ),
    "numpy-object-scalar": (pickle.dumps(Run(np.float64(1).__reduce__()[0], np.dtype("O"), b"x")), "array of objects"),
    "numpy-structured": (pickle.dumps(np.zeros(2, dtype=[("a", "f4")])), "structured numpy dtype|numpy dtype 'V4'"),
    "numpy-datetime": (pickle.dumps(np.zeros(2, dtype="M8[s]")), "numpy dtype|structured"),
    "numpy-void": (pickle.dumps(np.zeros(2, dtype="V8")), "numpy dtype 'V8'"),
    "numpy-size-does-not-fit": (reconstruct(np.dtype("f8"), None), "size does not fit"),
    "numpy-negative-shape": (reconstruct(None, (1, (-1, -2), np.dtype("f8"), False, b"x" * 16)), "size does not fit"),
    "numpy-huge-shape": (reconstruct(None, (1, (2**40, 2**40), np.dtype("f8"), False, b"")), "size does not fit"),
    "numpy-wrong-state": (reconstruct(None, (1, 2)), "unknown form"),
    "numpy-list-as-content": (reconstruct(None, (1, (2,), np.dtype("O"), False, [1, 2])), "array of objects"),
    "subclass-of-array": (pickle.dumps(np.ma.masked_array([1.0])), r"numpy\.ma"),
    "matrix-class": (pickle.dumps(Run(np.zeros(1).__reduce__()[0], dict, (0,), b"b")), r"builtins\.dict"),
    "pandas": (pickle.dumps(__import__("pandas").DataFrame({"a": [1]})), r"pandas"),
    "decimal": (pickle.dumps(Decimal("1")), r"decimal\.Decimal"),
    "class-of-ours": (pickle.dumps(Plain()), r"Plain"),
    "copyreg": (pickle.dumps(Run(copyreg._reconstructor, object, object, None)), r"copyreg\._reconstructor"),
    "codecs-decode": (stack_global("_codecs", "decode"), r"_codecs\.decode"),
    "codecs-other-encoding": (
        stack_global("_codecs", "encode", b"\x8c\x01a\x8c\x03hex\x86"), "something else than latin1",
    ),
    "dunder-path": (stack_global("numpy", "ndarray.__class__"), r"numpy\.ndarray\.__class__"),
    "ordered-dict-arguments": (stack_global("collections", "OrderedDict", b"]\x85"), "with arguments"),
    "defaultdict": (pickle.dumps(collections.defaultdict(list)), r"collections\.defaultdict"),
    "persistent-id": (b"\x80\x04\x8c\x01xQ.", "persistent reference"),
    "old-persistent-id": (b"Px\n.", "persistent reference"),
    "old-instance": (b"(S'touch x'\nios\nsystem\n.", r"os\.system"),
    "change-of-a-function": (
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93}\x8c\x08__code__\x8c\x01xsb.", "a change of dtype",
    ),
    "change-of-a-type": (
        b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93}\x8c\x01a\x8c\x01bsb.", "a change of numpy.ndarray",
    ),
    "function-as-content": (b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93.", "an object of Call"),
    "array-without-content": (
        b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x0c_reconstruct\x93\x8c\x05numpy\x8c\x07ndarray\x93K\x00\x85C\x01b\x87R.",
        "an array without content",
    ),
    "self-containing": (b"\x80\x04]\x94h\x00a.", "a container that holds itself"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALICIOUS)
def test_what_is_not_data_is_refused_by_name_and_not_run(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    raw, named = MALICIOUS[case]
    before = set(sys.modules)
    with pytest.raises(RefusedError, match=named):
        load(io.BytesIO(raw))
    path = write(tmp_path, "x.pickle", raw)
    with pytest.raises(InputError, match=rf"(?s)was refused: it holds .*({named}).*numpy\.savez"):
        read_vectors(path)
    assert not (tmp_path / TOUCHED).exists()
    assert not {m for m in set(sys.modules) - before if m.startswith(("subprocess", "runpy"))}


@pytest.mark.parametrize("case", [case for case, (raw, _) in MALICIOUS.items() if raw.startswith(b"\x80\x04")])
def test_harm_hidden_in_a_dict_of_vectors_is_refused_too(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    raw, _ = MALICIOUS[case]
    body = raw[2:-1]
    if body[:1] == b"\x95":
        body = body[9:]  # the length of a frame
    hidden = b"\x80\x04}(\x8c\x04SOD1" + body + b"u."
    with pytest.raises((RefusedError, pickle.UnpicklingError)):
        load(io.BytesIO(hidden))
    assert not (tmp_path / TOUCHED).exists()


def test_a_registered_extension_is_refused():
    copyreg.add_extension("os", "system", 0xF0F0)
    try:
        raw = pickle.dumps(Run(os.system, "true"), protocol=2)
        raw = b"\x80\x02\x83\xf0\xf0U\x04true\x85R." if b"posix" in raw else raw
        with pytest.raises(RefusedError, match=r"os\.system"):
            load(io.BytesIO(raw))
    finally:
        copyreg.remove_extension("os", "system", 0xF0F0)


def test_random_bytes_never_do_anything_but_fail(rng):
    seed = pickle.dumps({"SOD1": VECTORS, "ids": IDS, "x": np.float64(2)})
    for _ in range(300):
        raw = bytearray(seed)
        for place in rng.integers(0, len(raw), size=rng.integers(1, 6)):
            # "r" would ask Python for a memo of up to 32 GB, which costs time and says nothing.
            raw[place] = rng.choice([byte for byte in range(256) if byte != ord("r")])
        with contextlib.suppress(RefusedError, pickle.UnpicklingError):
            load(io.BytesIO(bytes(raw)))
