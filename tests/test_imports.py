"""What `import lexicell` brings in, what it exposes, and how long the first help page takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lexicell

HEAVY = [
    "anndata", "scanpy", "numba", "pandas", "sklearn", "scipy", "matplotlib", "igraph", "h5py", "zarr", "rich", "httpx",
    "torch", "jax", "tensorflow", "openai", "transformers",
]  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import lexicell", id="import"),
        pytest.param("from lexicell.cli import main; main(['--help'])", id="help"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(code: str) -> None:
    out = run(f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('MODULES', *sys.modules)")
    loaded = set(out.split("MODULES", 1)[1].split())
    assert loaded.isdisjoint(HEAVY), sorted(loaded & set(HEAVY))


def test_public_surface() -> None:
    assert sorted(lexicell.__all__) == sorted(set(dir(lexicell)) - {"__version__"})
    for name in lexicell.__all__:
        assert getattr(lexicell, name) is not None


def test_functions_stay_functions_when_their_modules_are_imported() -> None:
    assert run("import lexicell as lx, lexicell._report; print(callable(lx.report))").strip() == "True"


def test_unknown_names_raise_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lexicell.nothing
