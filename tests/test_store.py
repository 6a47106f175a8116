"""The store: content-addressed, safe with several processes, readable after a kill."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lexicell._errors import InputError, MissingKeyError
from lexicell.store import Store, cache_dir

SPACE = "toy@1/3"


def vectors_of(texts, dim=3, dtype=np.float32):
    """A vector that can be told from the text alone, so that any reader can check any row."""
    return np.array([[len(t), sum(t.encode()), *([1.0] * (dim - 2))] for t in texts], dtype=dtype)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "sub" / "store.sqlite") as made:
        yield made


def run_script(script, *args, **options):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), *map(str, args)], text=True, **options)


def test_what_is_put_is_got_and_the_rest_is_left_out(store):
    texts = ["SOD1", "TARDBP: TAR DNA binding protein", "naïve 运动"]
    store.put_many(SPACE, texts, vectors_of(texts))
    found = store.get_many(SPACE, [*texts, "unknown"])
    assert list(found) == texts
    np.testing.assert_array_equal(np.stack(list(found.values())), vectors_of(texts))
    assert found["SOD1"].dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        found["SOD1"][0] = 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_is_kept(store, dtype):
    store.put_many(SPACE, ["a"], np.array([[1 / 3, 2 / 3, 1]], dtype=dtype))
    (vector,) = store.get_many(SPACE, ["a"]).values()
    assert vector.dtype == dtype
    np.testing.assert_array_equal(vector, np.array([1 / 3, 2 / 3, 1], dtype=dtype))


def test_columns_and_big_endian_arrays_are_stored_by_value(store):
    matrix = np.asfortranarray(np.arange(6).reshape(2, 3).astype(">f4"))
    store.put_many(SPACE, ["a", "b"], matrix)
    np.testing.assert_array_equal(np.stack(list(store.get_many(SPACE, ["a", "b"]).values())), [[0, 1, 2], [3, 4, 5]])


def test_a_text_stored_twice_keeps_its_first_vector_and_loses_no_neighbor(store):
    store.put_many(SPACE, ["a", "b"], [[1.0, 1, 1], [2.0, 2, 2]])
    store.put_many(SPACE, ["b", "c", "c"], [[9.0, 9, 9], [3.0, 3, 3], [3.0, 3, 3]])
    found = {text: vector[0] for text, vector in store.get_many(SPACE, ["a", "b", "c", "c"]).items()}
    assert found == {"a": 1, "b": 2, "c": 3}


def test_spaces_do_not_mix(store):
    store.put_many("one@1/3", ["a"], [[1.0, 0, 0]])
    store.put_many("two@1/2", ["a"], [[2.0, 0]])
    assert store.get_many("one@1/3", ["a"])["a"].tolist() == [1, 0, 0]
    assert store.get_many("two@1/2", ["a"])["a"].tolist() == [2, 0]
    assert store.get_many("three@1/2", ["a"]) == {}


@pytest.mark.parametrize(
    ("texts", "vectors", "message"),
    [
        (["a"], np.ones((2, 3)), "one row per text"),
        (["a"], np.ones(3), "one row per text"),
        (["a"], np.array([[1, np.nan, 1]]), "NaN"),
        (["a"], np.ones((1, 3), dtype=int), "dtype int64"),
        (["a\0b"], np.ones((1, 3)), "NUL"),
        (["b"], np.ones((1, 2)), "holds vectors of length 3"),
    ],
    ids=["count", "one-dimensional", "nan", "integers", "nul", "length"],
)
def test_wrong_vectors_are_refused_and_nothing_is_stored(store, texts, vectors, message):
    store.put_many(SPACE, ["first"], np.ones((1, 3)))
    with pytest.raises(InputError, match=message):
        store.put_many(SPACE, texts, vectors)
    assert store.info()["vectors"] == {SPACE: 1}


def test_reading_makes_no_file(tmp_path):
    store = Store(tmp_path / "none" / "store.sqlite")
    assert store.get_many(SPACE, ["a"]) == {}
    assert store.get_record("kind", "key") is None
    assert store.info() == {"path": str(store.path), "bytes": 0, "writable": True, "vectors": {}, "records": {}}
    assert not store.path.parent.exists()


def test_records_are_replaced_and_kept_apart_by_kind(store):
    store.put_record("genes", "k", b"one")
    store.put_record("genes", "k", b"two\0\xff")
    store.put_record("cells", "k", b"three")
    assert store.get_record("genes", "k") == b"two\0\xff"
    assert store.get_record("cells", "k") == b"three"
    assert store.get_record("genes", "other") is None
    assert store.info()["records"] == {"cells": 1, "genes": 1}


def test_clear_one_space_or_all(store):
    store.put_many("one@1/3", ["a", "b"], np.ones((2, 3)))
    store.put_many("two@1/3", ["a"], np.ones((1, 3)))
    store.put_record("genes", "k", b"one")
    with pytest.raises(MissingKeyError, match="'one@1/3', 'two@1/3'"):
        store.clear("three")
    assert store.clear("one@1/3") == 2
    assert store.info()["vectors"] == {"two@1/3": 1}
    assert store.get_record("genes", "k") == b"one"
    assert store.clear() == 1
    assert (store.info()["vectors"], store.info()["records"]) == ({}, {})
    store.put_many("one@1/2", ["a"], np.ones((1, 2)))
    assert list(store.get_many("one@1/2", ["a"])) == ["a"]


def test_clear_gives_the_disk_space_back(store):
    texts = [f"text {i}" for i in range(2000)]
    store.put_many("big@1/384", texts, np.ones((2000, 384)))
    before = store.info()["bytes"]
    store.clear()
    assert store.info()["bytes"] < before / 10


def test_export_is_plain_sqlite_and_comes_back(store, tmp_path):
    texts = [f"text {i} é" for i in range(5000)]
    store.put_many(SPACE, texts, vectors_of(texts))
    store.put_many(SPACE, ["half"], vectors_of(["half"], dtype=np.float16))
    store.put_record("genes", "k", b"pay\0load")
    store.put_record("genes", "empty", b"")
    assert store.export(tmp_path / "out.sqlite") == 5001
    with contextlib.closing(sqlite3.connect(tmp_path / "out.sqlite")) as file:
        rows = {
            text: np.frombuffer(vector, f"<{dtype}").tolist()
            for text, dtype, vector in file.execute("SELECT text, dtype, vector FROM vectors")
        }
    assert rows == dict(zip([*texts, "half"], vectors_of([*texts, "half"]).tolist(), strict=True))
    with Store(tmp_path / "other.sqlite") as other:
        assert other.import_file(tmp_path / "out.sqlite") == 5001
        found = other.get_many(SPACE, [*texts, "half"])
        np.testing.assert_array_equal(np.stack([found[t] for t in texts]), vectors_of(texts))
        assert found["half"].dtype == np.float16
        assert other.get_record("genes", "k") == b"pay\0load"
        assert other.get_record("genes", "empty") == b""
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_import_refuses_other_files(store, tmp_path):
    (tmp_path / "text.sqlite").write_text("no")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE x (y)")
    wanted = {"text": "cannot be read", "other": "not a store of lexicell", "none": "there is no file"}
    for name, message in wanted.items():
        with pytest.raises(InputError, match=message):
            store.import_file(tmp_path / f"{name}.sqlite")


def test_an_empty_store_is_exported_too(tmp_path):
    assert Store(tmp_path / "none.sqlite").export(tmp_path / "out.sqlite") == 0
    assert not (tmp_path / "none.sqlite").exists()
    with Store(tmp_path / "other.sqlite") as other:
        assert other.import_file(tmp_path / "out.sqlite") == 0


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(np.array([1, np.nan, 0], "<f4").tobytes(), id="nan"),
        pytest.param(np.array([1, np.inf, 0], "<f4").tobytes(), id="infinite"),
        pytest.param(np.ones(2, "<f4").tobytes(), id="too short"),
        pytest.param(np.ones(4, "<f4").tobytes(), id="too long"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_damaged_vector_is_named_set_aside_and_stored_anew(store, blob):
    store.put_many(SPACE, ["SOD1", "TARDBP"], vectors_of(["SOD1", "TARDBP"]))
    with contextlib.closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE vectors SET vector = ? WHERE text = 'SOD1'", (blob,))
    with Store(store.path, read_only=True) as reader, pytest.warns(UserWarning, match=r"'SOD1'; they are not used"):
        assert list(reader.get_many(SPACE, ["SOD1", "TARDBP"])) == ["TARDBP"]
    with pytest.warns(UserWarning, match=r"1 vectors of 'toy@1/3' .* damaged .* 'SOD1'; they are set aside"):
        assert list(store.get_many(SPACE, ["SOD1", "TARDBP"])) == ["TARDBP"]
    assert store.info()["records"] == {"damaged vector": 1}
    store.put_many(SPACE, ["SOD1"], vectors_of(["SOD1"]))
    np.testing.assert_array_equal(store.get_many(SPACE, ["SOD1"])["SOD1"], vectors_of(["SOD1"])[0])


def test_export_to_a_folder_that_does_not_exist_says_so(store, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        store.export(tmp_path / "none" / "out.sqlite")


def test_twenty_thousand_texts_in_seconds(store):
    texts = [f"text {i} " * 80 for i in range(20_000)]
    store.put_many("big@1/384", texts, np.ones((20_000, 384), dtype=np.float32))
    start = time.process_time()
    found = store.get_many("big@1/384", texts)
    assert time.process_time() - start < 4  # well under one on an idle machine; a query a text would take longer
    assert len(found) == 20_000


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LEXICELL_CACHE_DIR", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    assert Store().path == tmp_path / "here" / "store.sqlite"
    monkeypatch.delenv("LEXICELL_CACHE_DIR")
    assert cache_dir().name == "lexicell"


def test_threads_share_one_store(store):
    def work(number):
        for i in range(20):
            texts = [f"{(number + i) % 30}-{j}" for j in range(5)]
            store.put_many(SPACE, texts, vectors_of(texts))
            assert len(store.get_many(SPACE, texts)) == 5

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [f"{i}-{j}" for i in range(27) for j in range(5)]
    found = store.get_many(SPACE, texts)
    np.testing.assert_array_equal(np.stack([found[t] for t in texts]), vectors_of(texts))


WRITER = """
import sys
import numpy as np
from lexicell.store import Store
store, number = Store(sys.argv[1]), int(sys.argv[2])
for batch in range(int(sys.argv[3])):
    # Half of the texts are every writer's, half are its own.
    texts = [f"all-{batch}-{j}" for j in range(8)] + [f"{number}-{batch}-{j}" for j in range(8)]
    vectors = np.array([[len(t), sum(t.encode()), 1.0] for t in texts], dtype=np.float32)
    store.put_many("toy@1/3", texts, vectors)
    assert len(store.get_many("toy@1/3", texts)) == 16
    print(batch, flush=True)
"""


def test_processes_write_at_once_from_the_first_moment(tmp_path):
    path = tmp_path / "store.sqlite"  # not there yet: they also race to make it
    children = [run_script(WRITER, path, n, 30, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(4)]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
    texts = [f"{who}-{b}-{j}" for who in ("all", 0, 1, 2, 3) for b in range(30) for j in range(8)]
    with Store(path) as store:
        found = store.get_many(SPACE, texts)
        np.testing.assert_array_equal(np.stack([found[t] for t in texts]), vectors_of(texts))
        assert store.info()["vectors"] == {SPACE: len(texts)}


def test_a_kill_at_any_moment_loses_nothing_acknowledged(tmp_path):
    moments = random.Random(0)
    inside = 0
    for attempt in range(12):
        path = tmp_path / f"{attempt}.sqlite"
        child = run_script(WRITER, path, 0, 100_000, stdout=subprocess.PIPE)
        child.stdout.readline()  # started
        time.sleep(moments.uniform(0, 0.25))
        child.send_signal(signal.SIGKILL)
        lines = child.communicate(timeout=60)[0].split()
        last = int(lines[-1]) if lines else 0
        with Store(path) as store:
            done = {}
            for batch in range(last + 3):
                texts = [f"all-{batch}-{j}" for j in range(8)] + [f"0-{batch}-{j}" for j in range(8)]
                found = store.get_many(SPACE, texts)
                assert len(found) in (0, 16)  # a batch is there whole, or not at all
                done[batch] = bool(found)
                if found:
                    np.testing.assert_array_equal(np.stack([found[t] for t in texts]), vectors_of(texts))
            assert all(done[batch] for batch in range(last + 1))
            store.put_many(SPACE, ["after"], np.ones((1, 3)))
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        inside += last > 0
    assert inside >= 6  # most kills fell into the run, not before its second batch


def test_a_fork_opens_its_own_connection(tmp_path):
    # In a process of its own: forking pytest's would warn about its threads.
    script = """
        import os, sys
        import numpy as np
        from lexicell.store import Store
        store = Store(sys.argv[1])
        store.put_many("toy@1/3", ["parent"], np.ones((1, 3)))
        child = os.fork()
        if child == 0:
            store.put_many("toy@1/3", ["child"], np.ones((1, 3)))
            store.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.put_many("toy@1/3", ["parent again"], np.ones((1, 3)))
        print(sorted(store.get_many("toy@1/3", ["parent", "child", "parent again"])))
    """
    out, _ = run_script(script, tmp_path / "store.sqlite", stdout=subprocess.PIPE).communicate(timeout=60)
    assert out.strip() == "['child', 'parent', 'parent again']"


def test_a_damaged_file_is_named_and_set_aside_not_deleted(tmp_path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"this is no database" * 100)
    store = Store(path)
    for use in (
        lambda: store.get_many(SPACE, ["a"]),
        lambda: store.put_many(SPACE, ["a"], np.ones((1, 3))),
        store.info,
    ):
        with pytest.raises(InputError, match=r"store\.sqlite cannot be .*damaged: run `lexicell cache clear`"):
            use()
    assert store.clear() == 0
    (aside,) = tmp_path.glob("store.sqlite.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    store.put_many(SPACE, ["a"], np.ones((1, 3)))
    assert list(store.get_many(SPACE, ["a"])) == ["a"]
    store.close()


def test_damage_inside_the_file_is_named(tmp_path):
    path = tmp_path / "store.sqlite"
    texts = [f"text {i}" for i in range(3000)]
    with Store(path) as store:
        store.put_many(SPACE, texts, vectors_of(texts))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with Store(path) as store, pytest.raises(InputError, match="damaged"):
        store.get_many(SPACE, texts)


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    before = path.read_bytes()
    store = Store(path)
    for use in (
        lambda: store.get_many(SPACE, ["a"]),
        lambda: store.put_many(SPACE, ["a"], np.ones((1, 3))),
        store.clear,
    ):
        with pytest.raises(InputError, match="database of another program"):
            use()
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_left_alone(store):
    store.put_many(SPACE, ["a"], np.ones((1, 3)))
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="newer lexicell"):
        store.get_many(SPACE, ["a"])


def test_read_only_reads_and_never_writes(store):
    store.put_many(SPACE, ["a"], np.ones((1, 3)))
    with Store(store.path, read_only=True) as reader:
        assert list(reader.get_many(SPACE, ["a"])) == ["a"]
        assert reader.info()["writable"] is False
        with pytest.raises(InputError, match="opened read-only"):
            reader.put_many(SPACE, ["b"], np.ones((1, 3)))


def test_a_folder_without_permission_can_still_be_read(store, monkeypatch):
    store.put_many(SPACE, ["a"], np.ones((1, 3)))
    store.close()
    # The tests may run as root, whom permission bits do not stop.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with Store(store.path) as other:
        assert list(other.get_many(SPACE, ["a"])) == ["a"]
        with pytest.raises(InputError, match=r"permission denied.*LEXICELL_CACHE_DIR"):
            other.put_many(SPACE, ["b"], np.ones((1, 3)))


def test_a_place_that_cannot_hold_a_store_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "store.sqlite", tmp_path):
        with pytest.raises(InputError, match=r"cannot be written.*LEXICELL_CACHE_DIR"):
            Store(path).check_writable()


def test_repr_and_paths_are_plain(tmp_path):
    store = Store(tmp_path / "sp ace#?%" / "store.sqlite")
    store.put_many(SPACE, ["a"], np.ones((1, 3)))
    assert (tmp_path / "sp ace#?%" / "store.sqlite").is_file()
    assert repr(store) == f"Store({str(Path(store.path))!r})"
    store.close()
