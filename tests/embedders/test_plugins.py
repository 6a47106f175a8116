"""Embedders of other packages, found by entry point: a tiny package is made here and really installed."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lexicell as lx
from lexicell._errors import InputError

DOCS = Path(__file__).parents[2] / "docs" / "embedders.md"


def example(name: str) -> str:
    """The block of the docs that begins with a comment naming the file `name`."""
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    return next(block for block in blocks if block.startswith(f"# {name}\n"))


def install(site: Path, files: dict[str, str], entries: str, *, name: str = "lexicell-letters") -> None:
    """What an installer leaves behind of a package: its modules, and the folder that declares its entry points."""
    for file, text in files.items():
        (site / file).write_text(text)
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lexicell.embedders]\n{entries}\n")


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.startswith("lexicell_letters")]:
        del sys.modules[name]


def wanted(texts) -> np.ndarray:
    rows = [[1 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]
    return np.asarray(rows, dtype=np.float32)


def test_the_example_of_the_docs_installed_by_pip_works(tmp_path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed, which builds the tiny package")
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(example("pyproject.toml"))
    (package / "lexicell_letters.py").write_text(example("lexicell_letters.py"))
    target = tmp_path / "target"
    # No network and nothing but this package: hatchling, the builder, is there already.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
               "--disable-pip-version-check", "--target", str(target), str(package)]  # fmt: skip
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import lexicell as lx; "
        "row = lx.embedders.list().set_index('name').loc['letters']; "
        "print(json.dumps([lx.embedders.embed(['Cab', 'b'], 'letters').tolist(), int(row.dim), bool(row.available)]))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=True, timeout=120, capture_output=True)
    vectors, dim, available = json.loads(done.stdout)
    np.testing.assert_array_equal(vectors, wanted(["Cab", "b"]))
    assert (dim, available) == (26, True)


def test_a_plugin_is_listed_made_with_options_and_stored(site) -> None:
    install(site, {"lexicell_letters.py": example("lexicell_letters.py")}, "letters = lexicell_letters:Letters")
    assert "letters" in lx.embedders.list()["name"].tolist()
    model = lx.embedders.get("letters")
    assert isinstance(model, lx.embedders.Embedder)
    np.testing.assert_array_equal(lx.embedders.embed(["abba"], model), wanted(["abba"]))
    calls = []
    model.embed = lambda texts: calls.append(texts)
    lx.embedders.embed(["abba"], model)
    assert calls == []
    with pytest.raises(InputError, match=r"'sapbert', .*'letters'"):
        lx.embedders.get("leters")


MODULE = """
import numpy as np

class Model:
    revision, leaves_machine = "1", False
    def __init__(self, size="large"):
        self.dim = {"large": 4, "small": 2}[size]
        self.name = f"sized:{size}"
    def embed(self, texts):
        return np.ones((len(texts), self.dim), dtype=np.float32)
"""


def test_what_stands_after_the_colon_reaches_the_plugin(site) -> None:
    install(site, {"lexicell_letters_sized.py": MODULE}, "sized = lexicell_letters_sized:Model")
    assert lx.embedders.get("sized").dim == 4
    assert lx.embedders.embed(["a"], "sized:small").shape == (1, 2)
    assert lx.embedders.get("sized", size="small").dim == 2


def test_a_plugin_cannot_take_the_name_of_a_built_in(site) -> None:
    install(site, {"lexicell_letters_bad.py": MODULE}, "local = lexicell_letters_bad:Model")
    assert lx.embedders.get("local").dim == 384


def test_a_broken_plugin_is_named_and_hides_nothing(site) -> None:
    install(site, {"lexicell_letters_broken.py": "import no_such_module"}, "broken = lexicell_letters_broken:Model")
    with pytest.raises(InputError, match="comes from plugin 'lexicell_letters_broken:Model', which cannot be imported"):
        lx.embedders.get("broken")
    rows = lx.embedders.list().set_index("name")
    assert not rows.loc["broken", "available"]
    assert "no_such_module" in rows.loc["broken", "needs"]
    assert "local" in rows.index
