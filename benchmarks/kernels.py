"""The compiled loops of the cell embedding against those of an earlier commit, in one process.

    python -m benchmarks.kernels                                   synthetic cells only, about three minutes
    python -m benchmarks.kernels --file kang_pbmc.h5ad --layer counts        and the cells of a file

CPU time of one thread, run in turn, the least of the rounds; bits of both embeddings are compared. Rows go to
benchmarks/results/kernels.csv. Needs the repository with its history.
"""

from __future__ import annotations

import argparse
import importlib
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lexicell.core.expression.rows import open_rows
from lexicell.core.pooling.pool import pool
from lexicell.core.pooling.pooler import Pooler, expressed
from lexicell.core.pooling.presets import PRESETS

from . import _data
from ._table import RESULTS, kernels_table

MACHINE_CODE = "6c72c73"
"""The last commit with sums and selection in 512-bit machine code of their own."""

OLD = "lexicell_before"
BLOCK = 2048
DIMS = (384, 1536)
TOP_N = (1000, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=MACHINE_CODE, help="Commit to compare with.")
    parser.add_argument("--file", type=Path, help="h5ad file of counts.")
    parser.add_argument("--layer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=2 * BLOCK)
    args = parser.parse_args()
    matrices = {"synthetic": _data.counts(args.cells)}
    if args.file is not None:
        matrices[args.file.stem] = _counts_of(args.file, args.layer, args.cells)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        _unpack(args.against, Path(folder))
        for name, X in matrices.items():
            for row in measure(X, args.rounds):
                rows.append({"cells": name, **row})
                print(*rows[-1].values(), sep="\t", flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / "kernels.csv", index=False, float_format="%.4g")
    print(kernels_table(table).to_string(index=False))


def _counts_of(path: Path, layer: str | None, n: int) -> sp.csr_matrix:
    adata = anndata.read_h5ad(path)
    values = adata.X if layer is None else adata.layers[layer]
    X = sp.csr_matrix(values[:n], dtype=np.float32)
    X.sort_indices()
    return X


def _unpack(commit: str, folder: Path) -> None:
    """The package as of a commit, under another name; its imports are relative."""
    archive = subprocess.run(["git", "archive", commit, "src/lexicell"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    (folder / "src" / "lexicell").rename(folder / OLD)
    sys.path.insert(0, str(folder))


def measure(X: sp.csr_matrix, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows of D, N, genes per cell, step, CPU microseconds per cell before and now, and whether bits are the same."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.permutation(X.shape[1])[: int(0.9 * X.shape[1])])
    for dim in DIMS:
        V = _data.vectors(dim)
        V = V[rng.integers(len(V), size=len(columns))]
        for top_n in TOP_N:
            before = _steps(OLD, X, columns, V, top_n)
            now = _steps("lexicell", X, columns, V, top_n)
            same = np.array_equal(before["whole call"](), now["whole call"]())
            for step in before:
                old_us, new_us = _least(before[step], now[step], rounds)
                n = X.shape[0] if step == "whole call" else min(BLOCK, X.shape[0])
                yield {
                    "dim": dim,
                    "top_n": "all" if top_n is None else str(top_n),
                    "step": step,
                    "before_us": 1e6 * old_us / n,
                    "now_us": 1e6 * new_us / n,
                    "same_bits": same,
                }


def _steps(
    package: str, X: sp.csr_matrix, columns: np.ndarray, V: np.ndarray, top_n: int | None
) -> dict[str, Callable[[], Any]]:
    """Selection and sums of one block, and the call from arrays to array; all have run once."""
    rows = open_rows(X)
    seen = expressed(rows.read(0, min(128, X.shape[0])), columns)
    if package == OLD:  # as the package was laid out then
        pooling = importlib.import_module(f"{package}.core.pooling")
        old = {"preset": "paper", "top_n": top_n, "l2": None, "logged": False, "ranks": None, "seen": seen}
        rows = importlib.import_module(f"{package}._matrix").open_rows(X)
        pooler, embed = pooling.make_pooler(X.shape[1], columns, **old), pooling.embed_cells
    else:
        pooler = Pooler(X.shape[1], columns, PRESETS["paper"], top_n=top_n, seen=seen)

        def embed(*args: Any, **options: Any) -> np.ndarray:
            return pool(*args, **options).embedding

    pooler.set_vectors(V)
    block = rows.read(0, min(BLOCK, X.shape[0]))
    selected = pooler._select(block, np.empty(0), 0)
    # Copies: scratch memory is used again by the next block.
    chosen = type(selected)(*(np.array(getattr(selected, name)) for name in selected.__annotations__))
    out = np.empty((len(chosen.kept), V.shape[1]), dtype=np.float32)
    steps = {
        "selection": lambda: pooler._select(block, np.empty(0), 0),
        "sums": lambda: pooler._sum(chosen, out),
        "whole call": lambda: embed(X, V, columns, top_n=top_n, n_jobs=1),
    }
    for step in steps.values():
        step()
    return steps


def _least(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float]:
    best = [np.inf, np.inf]
    for _ in range(rounds):
        for i, run in enumerate((one, other)):
            start = time.process_time()
            run()
            best[i] = min(best[i], time.process_time() - start)
    return best[0], best[1]


if __name__ == "__main__":
    main()
