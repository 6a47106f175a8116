"""Killed at any moment and run again: no text is sent again once its vector was stored."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import lexicell as lx
from lexicell._keys import space_of
from lexicell.store import Store

pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="runs are forked from one process that has imported all"
)

TEXTS = [f"gene number {i:03d} carries cargo along the axon" for i in range(160)]
KILLS = 10
SEED = 20250507

# Imports once, then forks a run for each line it reads. In the run, a moment passes before each batch is stored, as on
# a slow disk, so that a kill can fall there.
DRIVER = """
import os, random, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have been told to ignore it
import numpy as np
import openai, lexicell as lx
from lexicell.store import Store

put_many = Store.put_many
def slow(self, space, texts, vectors):
    time.sleep(random.uniform(0, 0.03))
    put_many(self, space, texts, vectors)
Store.put_many = slow

texts = [f"gene number {i:03d} carries cargo along the axon" for i in range(160)]
model = lx.embedders.get(sys.argv[1], dim=8, batch_size=4, concurrency=3)
model._connection.client()  # takes longer than a run; holds no connection yet
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            lx.embedders.embed(texts, model, show_progress=False)
        except KeyboardInterrupt:
            os._exit(130)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def run(server) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    command = [sys.executable, "-c", DRIVER, f"{server.url}#toy"]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout.readline() == "ready\n"
        yield driver
        driver.stdin.close()


def stored(space: str) -> dict[str, np.ndarray]:
    with Store() as store:
        return store.get_many(space, TEXTS)


def test_nothing_that_was_stored_is_sent_again(server, faults, run) -> None:
    server.latency = 0.005
    space = space_of(lx.embedders.get(f"{server.url}#toy", dim=8))
    rng = np.random.default_rng(SEED)
    log, lost_texts, between = [], 0, 0
    for turn in range(KILLS + 1):
        before = set(stored(space))
        sent, answered = len(server.requests), len(server.answered)
        left = (len(TEXTS) - len(before)) // 4
        after = int(rng.integers(0, max(1, min(left, 6)))) if turn < KILLS else None
        delay = float(rng.uniform(0, 0.03))
        kind = signal.SIGKILL if rng.random() < 0.7 else signal.SIGINT
        run.stdin.write("run\n")
        run.stdin.flush()
        pid = int(run.stdout.readline())
        killed = None
        if after is not None:
            wait_for(lambda: len(server.answered) >= answered + after)  # noqa: B023
            time.sleep(delay)
            killed = time.monotonic()
            with contextlib.suppress(ProcessLookupError):  # a run may end before
                os.kill(pid, kind)
        code = int(run.stdout.readline())
        wait_for(lambda: server.together == 0)

        now = set(stored(space))
        resent = {text for body in server.requests[sent:] for text in body["input"]} & before
        assert not resent, f"sent again although stored: {sorted(resent)[:3]}; {log}"
        lost = [
            moment
            for batch, moment in zip(server.answered[answered:], server.answer_times[answered:], strict=True)
            if not set(batch) <= now
        ]
        lost_texts += 4 * len(lost)
        between += any(killed is not None and moment < killed for moment in lost)
        log.append(
            f"run {turn}: {kind.name if killed else 'no kill'} {delay * 1e3:.0f} ms after answer {after}, exit {code}, "
            f"{len(server.answered) - answered} batches answered, {len(now) - len(before)} texts stored, "
            f"{len(lost)} batches answered and not stored"
        )
        if killed is not None and kind is signal.SIGINT:
            # On a busy machine a run may be through before the signal reaches it: then everything must be stored.
            assert code in (130, -signal.SIGINT) or (code == 0 and len(now) == len(TEXTS))
            assert not lost, f"an interrupted run lost what was answered: {log}"
    print("\n".join(log))
    assert code == 0
    assert between, f"no kill fell between an answer and its way into the store: {log}"
    assert sum(map(len, server.answered)) == len(TEXTS) + lost_texts
    vectors = stored(space)
    for text in TEXTS:
        np.testing.assert_array_equal(vectors[text], faults.vector(text, 8))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)
