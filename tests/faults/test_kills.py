"""Commands killed at any moment: the earlier output or the new one is whole, inputs are as they were, nothing is left.

Three kills of each command; `LEXICELL_FAULTS=long` makes it forty.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

KILLS = 40 if os.environ.get("LEXICELL_FAULTS") == "long" else 3
COMMANDS = {
    "embed": (["embed", "cells.h5ad", "--genes", "genes.h5ad"], "out.h5ad"),
    "embed-zarr": (["embed", "cells.h5ad", "--genes", "genes.h5ad"], "out.zarr"),
    "embed-stream": (["embed", "cells.h5ad", "--genes", "genes.h5ad", "--stream"], "out.h5ad"),
    "coverage": (["coverage", "cells.h5ad", "--genes", "genes.h5ad"], "out.tsv"),
}


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    names = [f"G{i}" for i in range(300)]
    counts = sp.csr_matrix(rng.poisson(0.7, (3000, 300)).astype(np.float32))
    adata = anndata.AnnData(counts, var=pd.DataFrame(index=names))
    adata.obs_names = [f"c{i}" for i in range(3000)]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    lx.GeneEmbedding.from_vectors(names, rng.normal(size=(300, 64))).save(tmp_path / "genes.h5ad")
    return tmp_path


def _start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "lexicell", *words], cwd=folder, stderr=subprocess.PIPE)


def _content(path: Path) -> object:
    """What an output holds, to be compared: bytes of tables, arrays of cells."""
    if path.suffix == ".tsv":
        return path.read_bytes()
    adata = anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)
    return adata.obsm["X_text"].tobytes(), adata.obs_names.tolist()


@pytest.mark.timeout(1800 if KILLS > 3 else 300)
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_moment(command: str, inputs: Path) -> None:
    words, name = COMMANDS[command]
    words = [*words, "-o", name]
    output = inputs / name
    begun = time.perf_counter()
    process = _start(words, inputs)
    _, said = process.communicate()
    assert process.returncode == 0, said
    took = time.perf_counter() - begun
    whole = _content(output)
    before = {p.name: p.read_bytes() for p in inputs.iterdir() if p.is_file() and p != output}
    rng = np.random.default_rng(1)
    for _ in range(KILLS):
        process = _start(words, inputs)
        time.sleep(took * rng.uniform(0.3, 1.0))
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        process.communicate()
        assert process.returncode in (0, 143, -signal.SIGKILL, -signal.SIGTERM)
        assert _content(output) == whole
        assert {n: (inputs / n).read_bytes() for n in before} == before
    process = _start(words, inputs)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert _content(output) == whole
    assert {p.name for p in inputs.iterdir()} == {*before, name}
