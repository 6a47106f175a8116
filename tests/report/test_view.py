"""The report served live: any phrase scored with the bits of `tl.concepts`, for one reader alone."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys

import httpx
import numpy as np
import pytest

import lexicell as lx
from lexicell._errors import InputError
from lexicell._view._scorer import PhraseScorer

PHRASE = "T cell cytotoxicity"


@pytest.fixture(scope="module")
def cells():
    adata = lx.datasets.pbmc68k_counts()
    lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    adata.obsm["X_text_umap"] = adata.obsm["X_text"][:, :2]
    return adata


# A background job may have been told to ignore interruptions.
_VIEW = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from lexicell.cli import main
main(["view", sys.argv[1], "--color", "cell_type"])
"""


@pytest.fixture(scope="module")
def served(cells, tmp_path_factory):
    """Address of a server, as the command prints it."""
    folder = tmp_path_factory.mktemp("run")
    cells.write_h5ad(folder / "cells.h5ad")
    command = [sys.executable, "-c", _VIEW, str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "500"}) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/[\w-]{30,}/", line):
                break
        else:
            pytest.fail(f"no address was printed: {''.join(lines)}")
        yield found.group()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_scores_are_those_of_concepts(cells):
    asked = cells.copy()
    lx.tl.concepts(asked, [PHRASE, "B cell"])
    rows = np.arange(0, cells.n_obs, 3)
    scorer = PhraseScorer(cells, rows, "X_text")
    for column, phrase in enumerate([PHRASE, "B cell"]):
        scores, genes, _ = scorer.score(phrase)
        np.testing.assert_array_equal(scores, asked.obsm["text_concepts"].iloc[rows, column])
        told = asked.uns["lexicell"]["X_text"]["concepts"]["genes"]
        told = told[told["concept"] == phrase].head(20)
        assert genes == list(zip(told["gene"], told["reason"], strict=True))


def test_the_answer_is_read_from_bytes(served, cells):
    told = httpx.get(served + "score", params={"phrase": f"  {PHRASE} "}).json()
    scores = PhraseScorer(cells, np.arange(cells.n_obs), "X_text").score(PHRASE)[0]
    codes = np.frombuffer(base64.b64decode(told["codes"]), dtype=np.uint8)
    step = (told["hi"] - told["lo"]) / 254
    np.testing.assert_allclose(told["lo"] + codes * step, scores, atol=step)
    assert told["name"] == PHRASE
    assert told["python"] == f"lx.tl.concepts(adata, ['{PHRASE}'])"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("", {}, 200),
        ("score?phrase=B%20cell", {"Origin": "own"}, 200),
        ("score?phrase=", {}, 400),
        ("elsewhere", {}, 403),
        ("score?phrase=B%20cell", {"Origin": "http://example.org"}, 403),
        ("score?phrase=B%20cell", {"Origin": "null"}, 403),
        ("", {"Host": "example.org"}, 403),
        ("", {"Host": "127.0.0.1:1"}, 403),
    ],
    ids=[
        "page",
        "own-origin",
        "no-phrase",
        "no-such-page",
        "foreign-origin",
        "no-origin",
        "foreign-host",
        "other-port",
    ],
)
def test_only_the_page_itself_is_answered(served, path, headers, status):
    own = served.split("/")[2]
    headers = {name: f"http://{own}" if value == "own" else value for name, value in headers.items()}
    answer = httpx.get(served + path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("change", [lambda t: "", lambda t: t[:-1], lambda t: t[:-1] + "!", lambda t: "x" * 32])
def test_without_the_secret_nothing_is_answered(served, change):
    start, token = served.rstrip("/").rsplit("/", 1)
    answer = httpx.get(f"{start}/{change(token)}/score", params={"phrase": "B cell"})
    assert answer.status_code == 403
    assert "codes" not in answer.text


def test_what_is_typed_is_scored_on_the_map(served, cells, browser):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served)
    page.wait_for_function("document.documentElement.dataset.ready")
    page.locator("#search").press_sequentially("T cell cytotoxic", delay=20)
    page.wait_for_function("document.getElementById('map').dataset.color === 'T cell cytotoxic'", timeout=20_000)
    legend = page.inner_text("#legend")
    for gene, reason in PhraseScorer(cells, np.arange(9), "X_text").score("T cell cytotoxic")[1][:5]:
        assert re.search(rf"{gene}\s+{re.escape(reason)}", legend)
    assert "lx.tl.concepts(adata, ['T cell cytotoxic'])" in legend
    page.press("#search", "Enter")
    page.wait_for_function("lexicell.kept === lexicell.things.length")
    assert "T cell cytotoxic" in page.locator("#color option").all_inner_texts()
    page.fill("#search", "?!")
    page.wait_for_function("document.getElementById('options').innerText.includes('holds no word')", timeout=20_000)
    assert all(url.startswith((served, "blob:", "data:")) for url in asked)
    page.close()


def test_an_object_without_text_is_refused(cells):
    from lexicell._view import view

    plain = cells[:, :50].copy()
    plain.uns["lexicell"] = {"planted": {"target": "x"}}
    with pytest.raises(InputError, match="no text embedding"):
        view(plain)
