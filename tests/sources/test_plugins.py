"""Sources of other packages, found by entry point: a tiny package as an installer leaves it behind."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import lexicell as lx
from lexicell import sources
from lexicell._errors import InputError

DOCS = Path(__file__).parents[2] / "docs" / "gene_texts.md"


def install(site: Path, module: str, entries: str) -> None:
    """What an installer leaves behind of a package: its module, and the folder that declares its entry points."""
    (site / "lexicell_lab_notes.py").write_text(module)
    info = site / "lexicell_lab_notes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lexicell-lab-notes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lexicell.sources]\n{entries}\n")


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("lexicell_lab_notes", None)


def example(name: str) -> str:
    """The block of the docs that begins with a comment naming the file `name`."""
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    return next(block for block in blocks if block.startswith(f"# {name}\n"))


class Lengths:
    """An embedder for the test: length of the text, and one."""

    name, revision, dim, leaves_machine = "lengths", "1", 2, False

    def embed(self, texts):
        return np.asarray([[len(text), 1] for text in texts], dtype=np.float32)


def test_the_example_of_the_docs_works_from_name_to_gene_embedding(site) -> None:
    assert 'notes = "lexicell_lab_notes:Notes"' in example("pyproject.toml")
    install(site, example("lexicell_lab_notes.py"), "notes = lexicell_lab_notes:Notes")
    assert sources.list()["name"].iloc[-1] == "notes"
    found = sources.get("notes").texts(["SOD1", "NONE1"], organism="human")
    assert found.texts.tolist() == ["SOD1: removes superoxide.", ""]
    genes = lx.emb.genes(["SOD1", "NONE1"], organism="human", source="notes", embedder=Lengths())
    assert list(genes.ids) == ["SOD1"]
    np.testing.assert_array_equal(genes.vectors, [[len("SOD1: removes superoxide."), 1]])
    assert genes.provenance["source"] == "notes"


MODULE = """
class Source:
    name = "lab"
    def __init__(self, place="nowhere", *, deep=False):
        self.place, self.deep = place, deep
    def texts(self, names, *, organism):
        raise NotImplementedError
"""


def test_options_and_what_follows_the_colon_reach_the_plugin(site) -> None:
    install(site, MODULE, "lab = lexicell_lab_notes:Source")
    assert sources.get("lab").place == "nowhere"
    assert sources.get("lab:a/b.txt", deep=True).place == "a/b.txt"
    assert sources.get("lab", deep=True).deep
    with pytest.raises(InputError, match="does not take these options"):
        sources.get("lab", depth=3)
    with pytest.raises(InputError, match="'lab'"):
        sources.get("lap")


def test_a_plugin_cannot_take_the_name_of_a_built_in(site) -> None:
    install(site, MODULE, "bundled = lexicell_lab_notes:Source")
    assert type(sources.get("bundled")).__name__ == "BundledSource"
    assert sources.list()["name"].tolist().count("bundled") == 1


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("import no_such_module", "which cannot be imported: .*no_such_module"),
        ("Source = dict", "which returned dict, not a source with a method 'texts'"),
    ],
)
def test_a_broken_plugin_is_named_and_hides_nothing(site, module, message) -> None:
    install(site, module, "lab = lexicell_lab_notes:Source")
    with pytest.raises(InputError, match=f"comes from plugin 'lexicell_lab_notes:Source', {message}"):
        sources.get("lab")
    assert sources.get("bundled").name == "bundled"
