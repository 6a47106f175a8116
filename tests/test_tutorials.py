"""The code of every tutorial runs, from top to bottom, as a reader would run it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
# Blocks to read and not to run, because they need data that the reader downloads, stand after this comment.
BLOCK = re.compile(
    r"(?P<skip><!-- not run -->\n)?^```(?:python|\{code-cell\}[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
OPTIONS = re.compile(r"^:[a-z-]+:[^\n]*\n|^---\n.*?^---\n", re.DOTALL | re.MULTILINE)


def code_of(text: str) -> str:
    """The blocks of Python in a page, one after the other, without the options of cells."""
    blocks = (OPTIONS.sub("", m["code"]) for m in BLOCK.finditer(text) if not m["skip"])
    return "\n".join(blocks)


def test_blocks_are_found_and_marked_ones_left_out() -> None:
    page = (
        "Say\n```python\na = 1\n```\n<!-- not run -->\n```python\nb = 2\n```\n"
        "```{code-cell} ipython3\n:tags: [x]\nc = 3\n```\n"
    )
    assert code_of(page).split("\n") == ["a = 1", "", "c = 3", ""]


@pytest.mark.parametrize("page", sorted(p.name for p in FOLDER.glob("*.md") if p.name != "index.md"))
def test_the_code_of(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers", reason="tutorials embed phrases; needs the extra 'local'")
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    code = code_of((FOLDER / page).read_text(encoding="utf-8"))
    assert code.strip(), f"{page} shows no code"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, page, "exec"), {"__name__": "__main__"})
    plt.close("all")
