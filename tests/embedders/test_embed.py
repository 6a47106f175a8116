"""`embed`: distinct texts once, every finished batch stored, every answer checked."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from lexicell._errors import InputError, ProviderError
from lexicell._keys import space_of
from lexicell.embedders import embed
from lexicell.store import Store


def vectors_of(texts, dim=4):
    return np.array([[len(t), sum(t.encode()), *([1.0] * (dim - 2))] for t in texts], dtype=np.float32)


class Fake:
    """A deterministic embedder that keeps what it was sent."""

    name, revision, dim, leaves_machine = "fake", "1", 4, False
    batch_size = 3

    def __init__(self, **changes):
        self.sent = []
        self._lock = threading.Lock()
        for key, value in changes.items():
            setattr(self, key, value)

    def embed(self, texts):
        with self._lock:
            self.sent.append(list(texts))
        return self.answer(list(texts))

    def answer(self, texts):
        return vectors_of(texts, self.dim)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.sqlite") as made:
        yield made


TEXTS = [f"text {'x' * i}" for i in range(10)]


def test_each_distinct_text_is_sent_once_and_rows_follow_the_texts(store):
    model = Fake()
    texts = ["b", "a", "b", "c", "a"]
    out = embed(texts, model, store=store)
    assert (out.dtype, out.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(out, vectors_of(texts))
    assert model.sent == [["b", "a", "c"]]


def test_only_what_is_not_stored_is_sent(store):
    embed(["a", "b"], Fake(), store=store)
    model = Fake()
    np.testing.assert_array_equal(embed(["c", "b", "a"], model, store=store), vectors_of(["c", "b", "a"]))
    assert model.sent == [["c"]]


def test_another_revision_or_dimension_is_another_space(store):
    embed(["a"], Fake(), store=store)
    for model in (Fake(revision="2"), Fake(dim=5), Fake(name="other")):
        embed(["a"], model, store=store)
        assert model.sent == [["a"]]
    assert set(store.info()["vectors"]) == {"fake@1/4", "fake@2/4", "fake@1/5", "other@1/4"}


def test_the_default_store_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("LEXICELL_CACHE_DIR", str(tmp_path / "mine"))
    embed(["a"], Fake())
    assert list(Store().get_many(space_of(Fake()), ["a"])) == ["a"]
    again = Fake()
    embed(["a"], again)
    assert again.sent == []


def test_store_false_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("LEXICELL_CACHE_DIR", str(tmp_path / "mine"))
    embed(["a"], Fake(), store=False)
    assert not (tmp_path / "mine").exists()


def test_no_texts_give_no_rows(store):
    assert embed([], Fake(), store=store).shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "batch_size", "sizes"),
    [
        ({}, None, [3, 3, 3, 1]),
        ({}, 4, [3, 3, 3, 1]),
        ({}, 2, [2, 1, 2, 1, 2, 1, 1]),
        ({"plan": lambda texts: [[9, 0], range(1, 9)]}, None, [2, 8]),
        ({"plan": lambda texts: [[9, 0], range(1, 9)]}, 5, [2, 5, 3]),
    ],
    ids=["own size", "larger cap", "smaller cap", "plan", "plan with cap"],
)
def test_batches(store, changes, batch_size, sizes):
    model = Fake(**changes)
    out = embed(TEXTS, model, store=store, batch_size=batch_size)
    assert [len(batch) for batch in model.sent] == sizes
    np.testing.assert_array_equal(out, vectors_of(TEXTS))


@pytest.mark.parametrize("plan", [[[0, 1]], [[0, 1, 2], [2]], [[0, 1, 2, 3]]], ids=["lost", "twice", "beyond"])
def test_a_plan_that_does_not_hold_each_text_once_is_refused(store, plan):
    model = Fake(plan=lambda texts: plan)
    with pytest.raises(ProviderError, match="each text exactly once"):
        embed(["a", "b", "c"], model, store=store)
    assert model.sent == []


def _put(value, row=1):
    def change(texts):
        out = vectors_of(texts)
        out[row] = value
        return out

    return change


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: vectors_of(texts)[:-1], r"2 vectors .* for 3 texts"),
        (lambda texts: vectors_of([*texts, "more"]), r"4 vectors .* for 3 texts"),
        (lambda texts: vectors_of(texts, 6), "length 6, not 4"),
        (lambda texts: vectors_of(texts)[0], "for 3 texts"),
        (_put(np.nan), "NaN or infinity for 1 of 3 texts, first 'bb'"),
        (_put(np.inf), "NaN or infinity"),
        (_put(0.0), "zero vector for 1 of 3 texts, first 'bb'"),
        (lambda texts: [[1.0], [1.0, 2.0], [3.0]], "no matrix"),
        (lambda texts: "sorry", "no matrix"),
        (lambda texts: None, "for 3 texts|no matrix"),
    ],
    ids=["too few", "too many", "dimension", "one vector", "nan", "inf", "zero", "ragged", "words", "nothing"],
)
def test_a_wrong_answer_is_an_error_and_is_not_stored(store, answer, message):
    right_first = Fake(batch_size=1)
    embed(["first"], right_first, store=store)
    with pytest.raises(ProviderError, match=message):
        embed(["a", "bb", "ccc"], Fake(answer=answer), store=store)
    assert store.info()["vectors"] == {"fake@1/4": 1}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("motor neuron", "not one string"),
        (["a", ""], "text 1 is empty"),
        (["  \n"], "text 0 is empty"),
        (["a", None], "text 1 is NoneType"),
        ([float("nan")], "text 0 is float"),
        (["a\0b"], "NUL"),
        (["\ud800"], "lone surrogate"),
    ],
    ids=["one string", "empty", "blank", "none", "nan", "nul", "surrogate"],
)
def test_texts_are_checked_before_anything_is_sent(store, texts, message):
    model = Fake()
    with pytest.raises(InputError, match=message):
        embed(texts, model, store=store)
    assert model.sent == []


def test_numpy_strings_are_texts(store):
    out = embed(np.array(["a", "bb"]), Fake(), store=store)
    np.testing.assert_array_equal(out, vectors_of(["a", "bb"]))


def test_batch_size_below_one_is_refused(store):
    with pytest.raises(InputError, match="at least 1"):
        embed(["a"], Fake(), store=store, batch_size=0)


def test_long_texts_are_reported(store):
    model = Fake(truncated=lambda texts: [i for i, text in enumerate(texts) if len(text) > 5])
    with pytest.warns(UserWarning, match="longer than embedder 'fake' reads.*1 of 2 texts, first 'longest'"):
        embed(["short", "longest"], model, store=store)


@pytest.mark.parametrize("workers", [2, 5], ids="{} at once".format)
def test_calls_run_at_once_but_never_more_than_allowed(store, workers):
    running, most = 0, 0
    lock = threading.Lock()
    together = threading.Barrier(workers, timeout=20)

    def answer(texts):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if len(texts[0]) < workers + 5:  # the first `workers` batches wait for each other
            together.wait()
        with lock:
            running -= 1
        return vectors_of(texts)

    texts = ["x" * (i + 5) for i in range(20)]
    out = embed(texts, Fake(answer=answer, concurrency=workers, batch_size=1, leaves_machine=True), store=store)
    assert most == workers
    np.testing.assert_array_equal(out, vectors_of(texts))


def test_what_was_answered_beside_a_failure_is_kept(store):
    """One batch fails while others are in flight: theirs are stored, those not begun are not sent."""
    failed, canceled = threading.Event(), []

    def answer(texts):
        if texts == ["bad"]:
            failed.set()
            raise ProviderError("no")
        failed.wait(20)
        time.sleep(0.1)
        return vectors_of(texts)

    model = Fake(answer=answer, concurrency=3, batch_size=1, leaves_machine=True, cancel=lambda: canceled.append(1))
    texts = ["a", "b", "bad", *(f"later {i}" for i in range(50))]
    with pytest.raises(ProviderError, match="no"):
        embed(texts, model, store=store)
    sent = {text for batch in model.sent for text in batch}
    stored = set(store.get_many("fake@1/4", texts))
    assert {"a", "b"} <= stored
    assert stored == sent - {"bad"}
    assert len(sent) < 10
    assert canceled == [1]
    again = Fake()
    embed([t for t in texts if t != "bad"], again, store=store)
    assert not stored & {text for batch in again.sent for text in batch}


def test_an_unusable_store_is_a_warning_for_a_local_model_and_stops_a_paid_one(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEXICELL_CACHE_DIR", str(tmp_path / "file"))
    local, paid = Fake(), Fake(leaves_machine=True)
    with pytest.warns(UserWarning, match="cannot be written.*not kept"):
        np.testing.assert_array_equal(embed(["a"], local), vectors_of(["a"]))
    with pytest.raises(InputError, match="nothing was sent"):
        embed(["a"], paid)
    assert paid.sent == []
    np.testing.assert_array_equal(embed(["a"], paid, store=False), vectors_of(["a"]))


def test_a_store_the_user_names_must_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        embed(["a"], Fake(), store=Store(tmp_path / "file" / "store.sqlite"))


INTERRUPTED = """
import signal, sys, time
import numpy as np
from lexicell.embedders import embed
from lexicell.store import Store

class Paid:
    name, revision, dim, leaves_machine, concurrency, batch_size = "paid", "1", 4, True, int(sys.argv[3]), 2
    def embed(self, texts):
        time.sleep(0.004)
        with open(sys.argv[2], "a") as log:  # the provider's books: what was answered was paid for
            log.write("".join(t + "\\n" for t in texts))
        time.sleep(0.002)
        return np.array([[len(t), sum(t.encode()), 1, 1] for t in texts], dtype=np.float32)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have been told to ignore it
print("start", flush=True)
try:
    embed([f"text {i}" for i in range(400)], Paid(), store=Store(sys.argv[1]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("concurrency", [1, 4], ids="{} at once".format)
def test_nothing_answered_is_sent_again_after_ctrl_c(tmp_path, concurrency):
    moments, path, books = random.Random(concurrency), tmp_path / "store.sqlite", tmp_path / "books"
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), path, books, str(concurrency)]
    counts = [0]
    for _ in range(5):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        time.sleep(moments.uniform(0.05, 0.25))
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        counts.append(len(books.read_text().splitlines()) if books.exists() else 0)
    assert sum(0 < n < 400 for n in set(counts)) >= 2, counts  # interruptions fell into the run
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=120)
    answered = books.read_text().splitlines()
    assert sorted(answered) == sorted(f"text {i}" for i in range(400))  # each exactly once over all runs
