"""Downloads from a server that breaks off, stalls, lies about sizes or sends damaged files."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexicell._download import Fetched, Waits, _check_redirect, fetch, locked, shown
from lexicell._errors import InputError, ProviderError

BODY = gzip.compress(random.Random(0).randbytes(300_000))
PATH = "/DATA/file.gz"


@pytest.fixture
def get(server: Any, tmp_path: Path, clock: Any) -> Any:
    server.files[PATH] = BODY
    options: dict[str, Any] = {"waits": Waits(sleep=clock.sleep, now=clock), "timeout": 5}

    def call(**changed: Any) -> Fetched | None:
        return fetch(server.url + PATH, tmp_path / "file.gz", **{**options, **changed})

    call.path = tmp_path / "file.gz"  # type: ignore[attr-defined]
    return call


def test_a_whole_file_arrives_with_its_manifest_entry(get, server):
    done = get()
    assert get.path.read_bytes() == BODY
    assert done.size == len(BODY)
    assert done.sha256 == hashlib.sha256(BODY).hexdigest()
    assert done.url == server.url + PATH
    assert done.retrieved == "2025-01-06"
    assert done.last_modified == server.last_modified
    assert sorted(p.name for p in get.path.parent.iterdir()) == [".file.gz.lock", "file.gz", "file.gz.json"]


def test_a_file_that_is_there_is_not_asked_for_again(get, server):
    first = get()
    assert get() == first
    assert len(server.seen) == 1


def test_a_file_of_another_length_than_noted_is_fetched_again(get, server):
    get()
    get.path.write_bytes(BODY[:-1])
    get()
    assert get.path.read_bytes() == BODY
    assert len(server.seen) == 2


def test_a_cut_connection_is_resumed_where_it_broke(get, server, sample, clock):
    server.fault(PATH, sample.Fault(cut_at=100_000, length=len(BODY)))
    get()
    assert get.path.read_bytes() == BODY
    first, second = server.seen
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=100000-"
    assert second.headers["if-range"] == server.etag(PATH, BODY)
    assert clock.slept == [1.0]


def test_progress_between_breaks_keeps_the_download_alive_beyond_the_number_of_tries(get, server, sample):
    # Each answer is cut 20,000 bytes after the place where it began, ten times over: more often than there are tries.
    server.fault(PATH, *[sample.Fault(cut_at=20_000)] * 10)
    get(waits=Waits(tries=2, sleep=lambda s: None))
    assert get.path.read_bytes() == BODY
    assert [s.headers.get("range") for s in server.seen] == [None] + [f"bytes={20_000 * i}-" for i in range(1, 11)]


def test_breaks_without_progress_end_in_an_error_that_keeps_the_part(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=50_000), *[sample.Fault(cut_at=0)] * 10)
    with pytest.raises(ProviderError, match=r"file\.gz: the connection broke.*, 4 times in a row.*is kept"):
        get(waits=Waits(tries=3, sleep=lambda s: None))
    assert not get.path.exists()
    assert get.path.with_name("file.gz.part").read_bytes() == BODY[:50_000]
    server.faults.clear()
    get()
    assert get.path.read_bytes() == BODY
    assert server.seen[-1].headers["range"] == "bytes=50000-"


def test_a_server_without_ranges_starts_over(get, server, sample):
    server.ranges = False
    server.fault(PATH, sample.Fault(cut_at=100_000))
    get()
    assert get.path.read_bytes() == BODY


def test_a_server_without_ranges_that_always_breaks_is_given_up(get, server, sample):
    server.ranges = False
    server.fault(PATH, *[sample.Fault(cut_at=100_000)] * 30)
    with pytest.raises(ProviderError, match="the connection broke"):
        get(waits=Waits(tries=3, sleep=lambda s: None))
    assert len(server.seen) == 4


def test_a_file_that_changed_in_between_is_fetched_from_the_start(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=100_000), *[sample.Fault(cut_at=0)] * 2)
    with pytest.raises(ProviderError):
        get(waits=Waits(tries=1, sleep=lambda s: None))
    newer = gzip.compress(random.Random(1).randbytes(200_000))
    server.faults.clear()
    server.files[PATH] = newer
    get()
    assert server.seen[-1].headers["range"] == "bytes=100000-"
    assert get.path.read_bytes() == newer


@pytest.mark.parametrize(("etag", "modified"), [('W/"weak"', None), ("", None)], ids=["weak-etag", "no-validator"])
def test_nothing_vouches_for_the_version_so_no_range_is_asked_for(get, server, sample, etag, modified):
    server.etags[PATH], server.last_modified = etag, modified
    server.fault(PATH, sample.Fault(cut_at=100_000))
    get()
    assert [s.headers.get("range") for s in server.seen] == [None, None]
    assert get.path.read_bytes() == BODY


def test_last_modified_vouches_where_there_is_no_etag(get, server, sample):
    server.etags[PATH] = ""
    server.fault(PATH, sample.Fault(cut_at=100_000))
    get()
    assert server.seen[1].headers["if-range"] == server.last_modified


def test_the_part_of_another_address_is_not_continued(get, server, sample, tmp_path):
    server.fault(PATH, sample.Fault(cut_at=100_000), sample.Fault(cut_at=0), sample.Fault(cut_at=0))
    with pytest.raises(ProviderError):
        get(waits=Waits(tries=1, sleep=lambda s: None))
    other = gzip.compress(b"another file")
    server.files["/other.gz"] = other
    fetch(server.url + "/other.gz", tmp_path / "file.gz", waits=Waits(sleep=lambda s: None))
    assert "range" not in server.seen[-1].headers
    assert get.path.read_bytes() == other


def test_a_whole_part_is_recognized_by_status_416(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=len(BODY) - 1), *[sample.Fault(cut_at=0)] * 2)
    with pytest.raises(ProviderError):
        get(waits=Waits(tries=1, sleep=lambda s: None))
    get.path.with_name("file.gz.part").write_bytes(BODY)  # the last byte came, but the process died before the rename
    server.faults.clear()
    get()
    assert get.path.read_bytes() == BODY


def test_a_part_longer_than_the_file_starts_over(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=1000), *[sample.Fault(cut_at=0)] * 2)
    with pytest.raises(ProviderError):
        get(waits=Waits(tries=1, sleep=lambda s: None))
    get.path.with_name("file.gz.part").write_bytes(BODY + b"more")
    server.faults.clear()
    get()
    assert get.path.read_bytes() == BODY


@pytest.mark.parametrize("length", [len(BODY) + 5000, len(BODY) - 5000], ids=["too-large", "too-small"])
def test_a_content_length_that_lies_is_found_out(get, server, sample, length):
    server.fault(PATH, *[sample.Fault(length=length, no_range=True)] * 30)
    with pytest.raises(ProviderError, match=r"the connection broke|came damaged 2 times"):
        get(waits=Waits(tries=2, sleep=lambda s: None))
    assert not get.path.exists()


def test_one_lie_about_the_length_is_survived(get, server, sample):
    server.fault(PATH, sample.Fault(length=len(BODY) - 5000))
    get()
    assert get.path.read_bytes() == BODY


@pytest.mark.parametrize(
    "damaged",
    [
        BODY[:1000] + bytes([BODY[1000] ^ 1]) + BODY[1001:],
        BODY[:-10],
        b"<html>please log in</html>",
        BODY + b"trailing",
        b"",
        gzip.compress(b"one") + gzip.compress(b"two")[:-3],
    ],
    ids=["flipped-bit", "cut-short", "html", "trailing-bytes", "empty", "second-member-cut"],
)
def test_a_damaged_gzip_file_is_fetched_once_more_then_refused(get, server, sample, damaged):
    server.fault(PATH, sample.Fault(body=damaged))
    get()
    assert get.path.read_bytes() == BODY
    get.path.unlink()
    server.files[PATH] = damaged
    with pytest.raises(ProviderError, match=r"came damaged 2 times .*nothing was kept"):
        get()
    left = {p.name for p in get.path.parent.iterdir()}
    assert not left & {"file.gz", "file.gz.part", "file.gz.part.json"}


def test_gzip_files_of_several_members_are_whole(get, server):
    server.files[PATH] = gzip.compress(b"one") + gzip.compress(b"two")
    get()
    assert gzip.decompress(get.path.read_bytes()) == b"onetwo"


def test_a_gzip_file_that_a_server_calls_content_encoding_is_kept_as_it_is(get, server, sample):
    server.fault(PATH, sample.Fault(headers={"Content-Encoding": "gzip"}))
    get()
    assert get.path.read_bytes() == BODY
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_trouble_is_waited_out_longer_each_time(get, server, sample, clock, status):
    server.fault(PATH, *[sample.Fault(status=status)] * 4)
    get()
    assert get.path.read_bytes() == BODY
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]


def test_retry_after_in_seconds_is_honored(get, server, sample, clock):
    server.fault(PATH, sample.Fault(status=429, headers={"Retry-After": "17"}))
    get()
    assert clock.slept == [17.0]


def test_retry_after_as_a_date_is_honored(get, server, sample, clock):
    when = datetime.datetime.fromtimestamp(clock.now + 42, datetime.UTC)
    server.fault(PATH, sample.Fault(status=503, headers={"Retry-After": when.strftime("%a, %d %b %Y %H:%M:%S GMT")}))
    get()
    assert clock.slept == [42.0]


@pytest.mark.parametrize("header", ["soon", "-5", ""])
def test_a_retry_after_without_sense_falls_back_to_doubling(get, server, sample, clock, header):
    server.fault(PATH, sample.Fault(status=503, headers={"Retry-After": header}))
    get()
    assert clock.slept == [1.0]


def test_a_server_that_asks_for_an_hour_is_given_up_at_once(get, server, sample, clock):
    server.fault(PATH, sample.Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ProviderError, match="the server asks to wait 60 minutes"):
        get()
    assert clock.slept == []


def test_trouble_that_does_not_pass_ends_in_an_error(get, server, sample):
    server.fault(PATH, *[sample.Fault(status=503)] * 30)
    with pytest.raises(ProviderError, match=r"HTTP status 503, 3 times in a row\. Check the connection"):
        get(waits=Waits(tries=2, sleep=lambda s: None))
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "login"), (403, "refuses"), (404, "no such file"), (400, "cannot be answered")]
)
def test_a_refusal_is_not_repeated(get, server, sample, status, hint):
    server.fault(PATH, sample.Fault(status=status))
    with pytest.raises(ProviderError, match=f"HTTP status {status}; |HTTP status {status}: ") as caught:
        get()
    assert hint in str(caught.value)
    assert len(server.seen) == 1


def test_a_missing_file_may_be_allowed(get, server, sample):
    server.fault(PATH, sample.Fault(status=404))
    assert get(missing_ok=True) is None


def test_a_stalling_server_times_out_and_is_asked_for_the_rest(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=100_000, length=len(BODY), stall=20))
    start = time.monotonic()
    get(timeout=0.3)
    assert time.monotonic() - start < 15
    assert get.path.read_bytes() == BODY
    assert server.seen[1].headers["range"] == "bytes=100000-"


def test_nobody_at_the_address(tmp_path):
    with pytest.raises(ProviderError, match=r"127\.0\.0\.1:9/x\.gz: no connection \(ConnectError\), 2 times in a row"):
        fetch("http://127.0.0.1:9/x.gz", tmp_path / "x.gz", waits=Waits(tries=1, sleep=lambda s: None))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x.gz", "file:///etc/passwd", "x.gz", "http://"])
def test_an_address_that_cannot_be_fetched(tmp_path, url):
    with pytest.raises(InputError, match="not an address that can be fetched"):
        fetch(url, tmp_path / "x.gz", waits=Waits(tries=1, sleep=lambda s: None))


def test_a_folder_that_cannot_be_written(get, tmp_path, server):
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"cannot be written.*LEXICELL_CACHE_DIR"):
        fetch(server.url + PATH, tmp_path / "file" / "x.gz")


@pytest.mark.parametrize("target", ["http://localhost:9/file.gz", "http://example.org/file.gz"])
def test_a_redirect_to_another_host_is_not_followed(get, server, sample, target):
    server.fault(PATH, sample.Fault(status=302, headers={"Location": target}))
    with pytest.raises(ProviderError, match=r"points to http://(localhost|example\.org), which is not followed"):
        get()
    assert len(server.seen) == 1
    assert not get.path.exists()


def test_a_redirect_within_the_host_is_followed(get, server, sample):
    server.files["/moved.gz"] = BODY
    server.fault(PATH, sample.Fault(status=302, headers={"Location": "/moved.gz"}))
    get()
    assert get.path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("start", "target", "followed"),
    [
        ("https://huggingface.co/a", "https://cas-bridge.xethub.hf.co/b", True),
        ("https://mirror.org/a", "https://cdn-lfs.huggingface.co/b", True),
        ("https://huggingface.co/a", "http://cas-bridge.xethub.hf.co/b", False),
        ("https://huggingface.co/a", "https://nothf.co/b", False),
        ("https://huggingface.co/a", "https://hf.co.evil.org/b", False),
        ("https://host.org/a", "http://host.org/b", False),
        ("https://host.org/a", "https://host.org/b", True),
    ],
)
def test_redirects_lead_to_the_same_host_or_the_hubs_storage(start, target, followed):
    answer = httpx.Response(302, headers={"Location": target}, request=httpx.Request("GET", start))
    with contextlib.nullcontext() if followed else pytest.raises(ProviderError, match="is not followed"):
        _check_redirect(answer)


def test_logins_and_keys_are_not_shown():
    hidden = shown("https://me:secret@host.org/a/b?db=gene&api_key=0123456789abcdef&id=1,2#part")
    assert hidden == "https://host.org/a/b?db=gene&api_key=...&id=1,2"


def _fetch_in_child(url: str, path: str, ready: Any) -> None:
    os.environ["NO_PROXY"] = "*"
    ready.set()
    fetch(url, Path(path), timeout=30)


def test_a_killed_download_goes_on_where_it_was(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=150_000, length=len(BODY), stall=20))
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_fetch_in_child, args=(server.url + PATH, str(get.path), ready))
    child.start()
    part = get.path.with_name("file.gz.part")
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    have = part.stat().st_size
    assert 0 < have <= 150_000
    assert not get.path.exists()
    get()
    assert get.path.read_bytes() == BODY
    assert server.seen[-1].headers["range"] == f"bytes={have}-"


def test_two_at_once_download_one_file_once(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=50_000, length=len(BODY), stall=0.2))
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(get())) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(results) == 4
    assert len(set(results)) == 1
    assert len(server.seen) == 2  # the broken request and the one that finished it
    assert get.path.read_bytes() == BODY


def _hold(path: str, ready: Any, release: Any) -> None:
    with locked(Path(path)):
        ready.set()
        release.wait(30)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_lock_is_waited_for_and_dies_with_its_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(str(tmp_path / "lock"), ready, release))
    child.start()
    assert ready.wait(60)
    got = threading.Event()

    def take() -> None:
        with locked(tmp_path / "lock"):
            got.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not got.wait(0.2)
    child.kill()
    child.join()
    assert got.wait(10)
    waiting.join()


def test_a_damaged_note_of_a_part_means_starting_over(get, server, sample):
    server.fault(PATH, sample.Fault(cut_at=1000), *[sample.Fault(cut_at=0)] * 2)
    with pytest.raises(ProviderError):
        get(waits=Waits(tries=1, sleep=lambda s: None))
    note = get.path.with_name("file.gz.part.json")
    assert json.loads(note.read_text())["size"] == len(BODY)
    note.write_text("{")
    server.faults.clear()
    get()
    assert "range" not in server.seen[-1].headers
    assert get.path.read_bytes() == BODY


def test_progress_counts_megabytes_and_starts_where_a_resumed_file_stands(get, server, sample, monkeypatch):
    body = gzip.compress(random.Random(2).randbytes(3_000_000))
    server.files[PATH] = body
    server.fault(PATH, sample.Fault(cut_at=2_000_000))
    bars: list[tuple[str, int, list[int]]] = []

    @contextlib.contextmanager
    def record(what: str, total: int, *, show: bool | None = None) -> Any:
        bars.append((what, total, []))
        yield lambda amount=1: bars[-1][2].append(amount)

    monkeypatch.setattr("lexicell._download.progress", record)
    get()
    first, second = bars
    assert first[:2] == second[:2] == ("downloading file.gz (MB)", 4)
    assert sum(first[2]) == 2
    assert second[2][0] == 2
    assert sum(second[2]) == 4
