"""The Batch API: a job outlives the process that submitted it, and no text is submitted twice."""

from __future__ import annotations

import functools
import json
import threading
import warnings

import numpy as np
import pytest

import lexicell as lx
from lexicell._errors import ProviderError
from lexicell.embedders import _openai_batch
from lexicell.store import Store

pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
pytestmark = pytest.mark.filterwarnings("ignore:.*may take up to a day:UserWarning")

TEXTS = [f"gene number {i} carries cargo along the axon" for i in range(60)]


def ask(server, **options):
    settings = {"base_url": server.url, "api_key": "k", "dimensions": 8, "batch_api": True, "poll_seconds": 0.01}
    return lx.embedders.get("openai:text-embedding-3-small", **(settings | options))


def expected(faults, texts):
    return np.stack([faults.vector(text, 8) for text in texts])


def submitted(server) -> list[str]:
    """Every text of every file that became a job."""
    texts = []
    for batch in server.batches.values():
        for line in server.files[batch["input_file_id"]].decode().splitlines():
            texts += json.loads(line)["body"]["input"]
    return texts


def test_a_job_from_start_to_end(server, faults) -> None:
    server.batch_script = functools.partial(faults.finish, server)
    with pytest.warns(UserWarning, match="60 texts are in job batch-0, which may take up to a day"):
        vectors = lx.embedders.embed(TEXTS, ask(server))
    np.testing.assert_array_equal(vectors, expected(faults, TEXTS))
    assert submitted(server) == TEXTS
    assert server.requests == []  # nothing went to the dearer endpoint
    line = json.loads(server.files["file-0"].decode().splitlines()[0])
    assert (line["method"], line["url"], line["body"]["model"]) == ("POST", "/v1/embeddings", "text-embedding-3-small")
    assert line["body"]["dimensions"] == 8


def test_the_same_store_serves_both_ways(server, faults) -> None:
    server.batch_script = functools.partial(faults.finish, server)
    vectors = lx.embedders.embed(TEXTS, ask(server))
    again = lx.embedders.embed(TEXTS, ask(server, batch_api=False))
    np.testing.assert_array_equal(again, vectors)
    assert server.requests == []


def test_long_jobs_have_several_lines(server, faults, monkeypatch) -> None:
    monkeypatch.setattr(_openai_batch, "_LINE_TEXTS", 7)
    server.batch_script = functools.partial(faults.finish, server)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS, ask(server)), expected(faults, TEXTS))
    assert len(server.files["file-0"].splitlines()) == 9


def test_many_texts_become_several_jobs(server, faults, monkeypatch) -> None:
    monkeypatch.setattr(_openai_batch, "_JOB_TEXTS", 25)
    server.batch_script = functools.partial(faults.finish, server)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS, ask(server)), expected(faults, TEXTS))
    assert len(server.batches) == 3
    assert submitted(server) == TEXTS


def test_an_interrupted_run_takes_up_its_job(server, faults) -> None:
    model = ask(server)
    polled = threading.Event()
    server.batch_script = lambda batch: polled.set()

    def interrupt() -> None:
        polled.wait(10)
        model.cancel()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(ProviderError, match="stopped waiting for job batch-0"):
        lx.embedders.embed(TEXTS, model)
    thread.join()
    server.batch_script = functools.partial(faults.finish, server)
    more = ["a text that is new", *TEXTS[10:], *TEXTS[:5]]  # asked for together with others, in another order
    np.testing.assert_array_equal(lx.embedders.embed(more, ask(server)), expected(faults, more))
    assert submitted(server) == [*TEXTS, "a text that is new"]


def test_a_job_that_was_not_written_down_is_found_by_its_mark(server, faults, monkeypatch) -> None:
    # As if the process had been killed between the submission and the record of it.
    def killed(self, jobs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_openai_batch.BatchOpenAI, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        lx.embedders.embed(TEXTS, ask(server))
    monkeypatch.undo()
    server.batch_script = functools.partial(faults.finish, server)
    with Store() as store:
        assert store.get_record("openai-batch", ask(server)._record) is None
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS, ask(server)), expected(faults, TEXTS))
    assert len(server.batches) == 1


def test_lines_that_failed_are_submitted_again_and_the_others_kept(server, faults, monkeypatch) -> None:
    monkeypatch.setattr(_openai_batch, "_LINE_TEXTS", 10)
    server.batch_script = functools.partial(faults.finish, server, drop=lambda text: text == TEXTS[15])
    with pytest.raises(ProviderError, match="job batch-0 gave no vector for 10 of 60 texts"):
        lx.embedders.embed(TEXTS, ask(server))
    server.batch_script = functools.partial(faults.finish, server)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS, ask(server)), expected(faults, TEXTS))
    assert submitted(server) == TEXTS + TEXTS[10:20]


def test_a_job_without_any_vector_is_not_taken_up_again(server, faults) -> None:
    server.batch_script = functools.partial(faults.finish, server, drop=lambda text: True)
    with pytest.raises(ProviderError, match="gave no vector for 60 of 60"):
        lx.embedders.embed(TEXTS, ask(server))
    server.batch_script = functools.partial(faults.finish, server)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS, ask(server)), expected(faults, TEXTS))
    assert len(server.batches) == 2


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_a_job_that_ended_badly_is_told_and_submitted_anew(server, faults, status) -> None:
    def fail(batch):
        errors = {"object": "list", "data": [{"code": "x", "message": "the file is empty", "line": 1, "param": None}]}
        batch.update(status=status, errors=errors)

    server.batch_script = fail
    with pytest.raises(ProviderError, match=f"job batch-0 {status}: the file is empty. Run again to submit it anew"):
        lx.embedders.embed(TEXTS, ask(server))
    server.batch_script = functools.partial(faults.finish, server)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS, ask(server)), expected(faults, TEXTS))


def test_wrong_vectors_of_a_job_are_refused(server, faults) -> None:
    server.batch_script = functools.partial(faults.finish, server)
    lx.embedders.embed(TEXTS, ask(server))
    name = server.batches["batch-0"]["output_file_id"]
    server.files[name] = server.files[name].replace(b'"index": 3', b'"index": 4')
    with pytest.raises(ProviderError, match="does not name each text once"):
        lx.embedders.embed(TEXTS, ask(server), store=False)


def test_the_estimate_has_the_price_of_a_job(server) -> None:
    model = ask(server)
    told = lx.embedders.estimate_cost(TEXTS * 1000, model)
    assert told.requests == 1
    assert told.money == pytest.approx(told.tokens * 0.01 / 1e6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lx.embedders.estimate_cost(TEXTS, ask(server, batch_api=False)).money == pytest.approx(2 * told.money)
    assert server.batches == {}
