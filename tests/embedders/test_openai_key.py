"""The key appears in no log, exception, report, cache file or provenance: all that a run leaves is searched for it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from lexicell.embedders._client import Key

pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")

KEY = "sk-proj-Zq7/very+secret=Key"

# Everything that prints, in one process that logs as much as it can.
SCRIPT = """
import gc, json, logging, os, pickle, sys, traceback, warnings
logging.basicConfig(level=logging.NOTSET, stream=sys.stdout)
warnings.simplefilter("always")
import numpy as np
import lexicell as lx
from lexicell.embedders import _retry
_retry.FIRST_WAIT = 0.01
url, way = sys.argv[1:]
options = {"max_retries": 1, "dim": 8, "timeout": 0.5}
if way == "argument":
    options["api_key"] = os.environ.pop("KEY_OF_THIS_TEST")

def show(error, with_locals=True):
    while error is not None:
        print(repr(error), str(error), vars(error))
        for line in traceback.TracebackException.from_exception(error, capture_locals=with_locals).format():
            print(line)
        error = error.__cause__ or error.__context__

def attempt(texts, name="openai:toy", **more):
    try:
        base = {"base_url": url} if name.startswith("openai:") else {}
        model = lx.embedders.get(name, **(options | base | more))
    except Exception as error:
        # The caller's own argument stands in the frames of the call itself, so these are shown without them.
        return show(error, with_locals=False)
    try:
        print(repr(model), str(model), vars(model), repr(model._connection), vars(model._connection))
        vectors = lx.embedders.embed(texts, model)
        genes = lx.GeneEmbedding.from_vectors(texts, vectors, texts=texts,
                                              provenance={"embedder": model.name, "revision": model.revision})
        genes.save(os.path.join(os.environ["LEXICELL_CACHE_DIR"], "genes.h5ad"))
        print("embedded", len(vectors))
    except BaseException as error:
        show(error)

attempt(["right answer a", "right answer b"])
for fault in ["echo", "401", "400", "429", "500", "drop", "truncated", "hang", "count", "nan", "307"]:
    attempt([f"fault {fault}"])
attempt(["right at another server"], name=f"{url}#toy")
attempt(["fault echo at another server"], name=f"{url}#toy")
attempt(["nobody listens"], base_url="http://127.0.0.1:9/v1")
attempt(["address with the key"], base_url=f"http://:{os.environ['KEY_OF_URL']}@127.0.0.1:9/v1")
attempt(["azure"], api_version="2024-10-21")
print(lx.embedders.estimate_cost(["a"], "openai:text-embedding-3-small", base_url=url))
print(lx.embedders.list().to_string())
try:
    pickle.dumps(lx.embedders.get("openai:toy", base_url=url, **options))
except Exception as error:
    show(error, with_locals=False)
print("end of the script")
"""


def meet(body, headers):
    """The fault a text asks for by its name."""
    text = body["input"][0]
    word = text.partition("fault ")[2].partition(" ")[0]
    sent = headers.get("authorization", "") or headers.get("api-key", "")
    status = {"401": 401, "400": 400, "429": 429, "500": 500}
    if word == "echo":
        return ("status", 401, {}, {"message": f"Incorrect API key provided: {sent}.", "code": sent})
    if word in status:
        return ("status", status[word], {}, {"message": f"no, {sent} does not do"})
    if word == "307":
        return ("status", 307, {"location": "http://127.0.0.1:9/"}, {})
    return {"drop": ("drop",), "truncated": ("truncated",), "hang": ("hang", 0.7), "count": ("count",),
            "nan": ("value", float("nan"))}.get(word)  # fmt: skip


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_the_key_is_nowhere(server, tmp_path: Path, way) -> None:
    server.always = lambda body: meet(body, server.headers[-1])
    environment = os.environ | {
        "OPENAI_LOG": "debug",
        "HOME": str(tmp_path),
        "LEXICELL_CACHE_DIR": str(tmp_path / "cache"),
        "KEY_OF_THIS_TEST": KEY,
        "KEY_OF_URL": f"not-{KEY}",
    }
    if way == "environment":
        environment |= {"OPENAI_API_KEY": KEY, "AZURE_OPENAI_API_KEY": KEY, "LEXICELL_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, server.url, way],
        capture_output=True, env=environment, cwd=tmp_path, timeout=120, check=False)  # fmt: skip
    printed = done.stdout.decode() + done.stderr.decode()
    assert "end of the script" in printed, printed[-3000:]
    # The scenes took place: the key traveled, the server's echo of it came back, the logs were on.
    assert sum(KEY in h.get("authorization", "") or KEY in h.get("api-key", "") for h in server.headers) > 15
    assert printed.count("embedded ") == 3
    assert "Incorrect API key provided: Bearer [key]" in printed
    assert "DEBUG:openai" in printed
    left = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any("store.sqlite" in name for name in left)
    assert any("genes.h5ad" in name for name in left)
    spellings = {KEY, urllib.parse.quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode(), KEY[8:]}
    for line in printed.splitlines():
        assert not any(spelling in line for spelling in spellings), line
    for name, content in left.items():
        assert not any(spelling.encode() in content for spelling in spellings), name


def test_a_key_does_not_print_or_pickle() -> None:
    key = Key(" sk-abc\n")
    assert key.value == "sk-abc"
    assert "sk-abc" not in f"{key!r} {key} {[key]}"
    assert key.hide("Bearer sk-abc!") == "Bearer [key]!"
    assert not Key("")
    with pytest.raises(TypeError):
        key.__reduce__()
