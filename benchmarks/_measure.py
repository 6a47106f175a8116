"""The measurements: each gives rows of (part, dim, top_n, what, value, unit).

CPU time is that of the process, one thread. Whatever is compared is run in turn, round after round, and the least of
the rounds counts for each: a shared machine slows all of them, and the least is what the work itself takes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import lexicell as lx
from lexicell.core.expression.rows import open_rows
from lexicell.core.pooling.pooler import Pooler, expressed
from lexicell.core.pooling.presets import PRESETS
from lexicell.core.pooling.tiebreak import tie_ranks

from . import _data, _machine, _peers

os.environ["NUMBA_NUM_THREADS"] = "1"  # one thread, unless a measurement says otherwise

BLOCK = 2048
PANEL = 2048 * 512  # bytes of the vectors that serve all cells of a block: 2,048 genes, 128 dimensions


class Row(NamedTuple):
    """One figure."""

    part: str
    dim: int
    top_n: str
    what: str
    value: float
    unit: str


class Problem:
    """Synthetic cells and gene vectors of one width, in every form that is needed."""

    def __init__(self, n_cells: int, dim: int) -> None:
        self.X = _data.counts(n_cells)
        self.columns, self.V = _data.with_text(), _data.vectors(dim)
        self.dim = dim

    def part(self, n: int) -> sp.csr_matrix:
        """The first n cells."""
        return self.X[:n]

    @cached_property
    def genes(self) -> lx.GeneEmbedding:
        """The gene vectors with names."""
        return lx.GeneEmbedding.from_vectors(_data.names()[self.columns], self.V)

    def adata(self, n: int) -> anndata.AnnData:
        """The first n cells with names."""
        return anndata.AnnData(self.part(n), var=pd.DataFrame(index=_data.names()))

    def pooler(self, top_n: int | None) -> Any:
        """What `emb.cells` builds inside, vectors packed."""
        rows = open_rows(self.X)
        seen = expressed(rows.read(0, min(128, self.X.shape[0])), self.columns)
        ranks = tie_ranks(self.genes.ids)
        pooler = Pooler(self.X.shape[1], self.columns, PRESETS["paper"], top_n=top_n, ranks=ranks, seen=seen)
        pooler.set_vectors(self.V)
        return pooler


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Least seconds of each run over the rounds."""
    best = dict.fromkeys(runs, np.inf)
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
    return best


def label(top_n: int | None) -> str:
    """`top_n` as it stands in the table."""
    return "all" if top_n is None else str(top_n)


def cells(problem: Problem, top_n: int | None, n_peers: int, rounds: int) -> Iterator[Row]:
    """CPU time of the public call, and of its peers on the first `n_peers` cells."""
    n = problem.X.shape[0]
    adata, genes, some = problem.adata(n), problem.genes, problem.part(n_peers)
    weights = _weights(some, problem.columns, top_n)
    _warm(problem, top_n)
    runs: dict[str, Callable[[], Any]] = {
        "emb.cells": lambda: lx.emb.cells(adata, genes, top_n=top_n),
        "scanpy + scipy": lambda: _peers.scanpy_scipy(some, problem.columns, problem.V, top_n),
        "scipy product alone": lambda: weights @ problem.V,
        **_peers.torch_products(weights, problem.V),
    }
    if top_n is None:
        runs["emb.cells, genept-w"] = lambda: lx.emb.cells(adata, genes, preset="genept-w")
        runs["emb.cells, scelmo-wa"] = lambda: lx.emb.cells(adata, genes, preset="scelmo-wa")
        runs["GenePT dense"] = lambda: _peers.genept(some, problem.columns, problem.V)
        runs["scELMo dense"] = lambda: _peers.scelmo(some, problem.columns, problem.V)
    selection, gather = _kernel(problem, top_n, n_peers)
    runs["selection"], runs["gather"] = selection, gather
    best = interleaved(runs, rounds, time.process_time)
    for name, seconds in best.items():
        size = n if name.startswith("emb.cells") else n_peers
        yield Row("cells", problem.dim, label(top_n), name, 1e6 * seconds / size, "CPU us a cell")
    yield Row("cells", problem.dim, label(top_n), "selection", 1e9 * best["selection"] / some.nnz, "ns a nonzero")
    bytes_asked = weights.nnz * problem.dim * 4
    yield Row("cells", problem.dim, label(top_n), "gather", bytes_asked / best["gather"] / 1e9, "GB/s")
    rate = _machine.read_rate(PANEL)
    yield Row("cells", problem.dim, label(top_n), "cache-resident read", rate / 1e9, "GB/s")


def _weights(X: sp.csr_matrix, columns: np.ndarray, top_n: int | None) -> sp.csr_matrix:
    L = _peers.normalized(X)[:, columns]
    return L if top_n is None else _peers.top_rows(L, top_n)


def _warm(problem: Problem, top_n: int | None) -> None:
    few = problem.adata(64)
    for preset in ("paper", "genept-w", "scelmo-wa"):
        lx.emb.cells(few, problem.genes, preset=preset, top_n=top_n)


def _kernel(problem: Problem, top_n: int | None, n: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """The two halves of the compiled part on their own: the choice of genes, and the sums of what was chosen."""
    pooler, rows = problem.pooler(top_n), open_rows(problem.part(n))
    out, none = np.empty((n, problem.dim), dtype=np.float32), np.empty(0)
    ranges = [(start, min(n, start + BLOCK)) for start in range(0, n, BLOCK)]
    chosen = [_apart(pooler._select(rows.read(*r), none, 0)) for r in ranges]

    def selection() -> None:
        for start, stop in ranges:
            pooler._select(rows.read(start, stop), none, start)

    def gather() -> None:
        for (start, stop), selected in zip(ranges, chosen, strict=True):
            pooler._sum(selected, out[start:stop])

    gather()
    return selection, gather


def profile(problem: Problem, top_n: int | None, n_part: int, rounds: int) -> Iterator[Row]:
    """Where the public call spends its CPU time: each step on its own, and what is left."""
    from lexicell.core.compiled import gather as _gather
    from lexicell.core.pooling import pooler as _pooler

    adata, genes, none = problem.adata(problem.X.shape[0]), problem.genes, np.empty(0)
    pooler, rows = problem.pooler(top_n), open_rows(problem.part(n_part))
    block = rows.read(0, n_part)
    chosen = _apart(pooler._select(block, none, 0))
    out = np.empty((n_part, problem.dim), dtype=np.float32)
    n_vectors = len(problem.columns)
    segment = min(pooler._segment, n_vectors)

    def merge() -> None:
        buffers = pooler._buffers(len(chosen.rows), len(chosen.offsets))
        at, starts = chosen.offsets[:-1].copy(), np.empty((n_part + 1) // 2 + 1, dtype=np.int64)
        for first in range(0, n_vectors, segment):
            _gather.merge_cells(chosen.rows, chosen.weights, chosen.offsets, at, first + segment, pooler._place,
                                buffers.genes, buffers.both, starts)  # fmt: skip

    def finish() -> None:
        buffers = pooler._buffers(len(chosen.rows), len(chosen.offsets))
        _gather.finish(
            buffers.sums,
            chosen.offsets,
            pooler.preset.scale(chosen.kept, chosen.everything, pooler.n_columns),
            pooler._shift,
            False,
            out,
        )

    _warm(problem, top_n)
    once = {
        "ranks of gene names": lambda: tie_ranks(genes.ids),
        "packing vectors": lambda: pooler.set_vectors(problem.V),
    }
    each = {
        "checking rows": lambda: _pooler.canonical(block, problem.X.shape[1]),
        "selection": lambda: pooler._select(block, none, 0),
        "merging pairs": merge,
        "sums": lambda: pooler._sum(chosen, out),
        "scaling": finish,
    }
    total = {"total": lambda: lx.emb.cells(adata, genes, top_n=top_n)}
    for run in each.values():
        run()
    best = interleaved({**total, **once, **each}, rounds, time.process_time)
    cost = {k: 1e6 * v / (n_part if k in each else adata.n_obs) for k, v in best.items()}
    cost["selection"] -= cost["checking rows"]
    cost["sums"] -= cost["merging pairs"] + cost["scaling"]
    # The result's fresh memory, joining names, coverage, writing keys; and rows and vectors that left the caches.
    cost["the rest"] = 2 * cost["total"] - sum(cost.values())
    for what, value in cost.items():
        yield Row("profile", problem.dim, label(top_n), what, value, "CPU us a cell")


def _apart(selected: Any) -> Any:
    """Copies: scratch memory is used again by the next block."""
    return type(selected)(*(np.array(getattr(selected, name)) for name in selected.__annotations__))


def errors(problem: Problem, n: int) -> Iterator[Row]:
    """Largest difference from float64 over a cell's largest entry, over n cells."""
    from scipy import stats

    X = problem.part(n)
    V = problem.V.astype(np.float64)
    for top_n in (50, 200, 1000, None):
        ranks = tie_ranks(problem.genes.ids)
        adata = problem.adata(n)
        lx.emb.cells(adata, problem.genes, top_n=top_n)
        dense = X.astype(np.float64).toarray()
        logs = np.log1p(1e4 * dense / dense.sum(axis=1, keepdims=True))[:, problem.columns]
        if top_n is not None:
            for row in logs:
                place = stats.rankdata(-row, method="min") * 1e6 + ranks
                row[np.argsort(place)[top_n:]] = 0
        exact = logs @ V / logs.sum(axis=1, keepdims=True)
        worst = (np.abs(adata.obsm["X_text"] - exact).max(axis=1) / np.abs(exact).max(axis=1)).max()
        yield Row("error", problem.dim, label(top_n), "emb.cells", float(worst), "relative to float64")


def threads(problem: Problem, top_n: int | None, rounds: int) -> Iterator[Row]:
    """Wall time with one and two threads."""
    adata = problem.adata(problem.X.shape[0])
    _warm(problem, top_n)

    def run(n: int) -> None:
        os.environ["NUMBA_NUM_THREADS"] = str(n)
        lx.emb.cells(adata, problem.genes, top_n=top_n)

    best = interleaved({"1": lambda: run(1), "2": lambda: run(2)}, rounds, time.perf_counter)
    os.environ["NUMBA_NUM_THREADS"] = "1"
    for name, seconds in best.items():
        value = 1e6 * seconds / adata.n_obs
        yield Row("threads", problem.dim, label(top_n), f"{name} threads", value, "wall us a cell")


MEMORY = ("emb.cells", "scanpy + scipy", "GenePT dense")


def memory(n_cells: int, dim: int) -> Iterator[Row]:
    """Peak memory above what stood there before the call, each in a process of its own."""
    problem = Problem(n_cells, dim)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        np.savez(path, data=problem.X.data, indices=problem.X.indices, indptr=problem.X.indptr, V=problem.V)
        for what in MEMORY:
            printed = _child(f"from benchmarks._measure import peak; peak({str(path)!r}, {what!r})")
            yield Row("memory", dim, "all", what, float(printed) / 1e6, "MB above the data")
    yield Row("memory", dim, "all", "result", n_cells * dim * 4 / 1e6, "MB above the data")


def peak(path: str, what: str) -> None:
    """Print the bytes that one call needed above what stood there before; for a process of its own."""
    with np.load(path) as file:
        n = len(file["indptr"]) - 1
        X = sp.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=(n, _data.N_GENES))
        V = file["V"]
    columns = _data.with_text()
    adata = anndata.AnnData(X, var=pd.DataFrame(index=_data.names()))
    genes = lx.GeneEmbedding.from_vectors(_data.names()[columns], V)
    runs = {
        "emb.cells": lambda: lx.emb.cells(adata, genes, top_n=None),
        "scanpy + scipy": lambda: _peers.scanpy_scipy(X, columns, V, None),
        "GenePT dense": lambda: _peers.genept(X, columns, V),
    }
    lx.emb.cells(adata[:10].copy(), genes, top_n=None)
    _peers.scanpy_scipy(X[:10], columns, V, None)
    # Linux: the high-water mark starts anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _high_water()
    runs[what]()
    print(_high_water() - before)


def _high_water() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


COLD = """
import json, time
start = time.process_time(); import numba, scipy.sparse, anndata; numba_time = time.process_time() - start
import numpy as np
from lexicell.core.pooling.pool import pool
X, V = scipy.sparse.random(40, 50, .5, "csr", dtype="f4", rng=np.random.default_rng(0)), np.eye(50, dtype="f4")
def run():
    start = time.process_time(); pool(X, V, np.arange(50), top_n=5, n_jobs=1); return time.process_time() - start
first, second = run(), run()
print(json.dumps([first - second, numba_time]))
"""


def cold(rounds: int) -> Iterator[Row]:
    """What a new process waits for: imports, the command line's help, and the compiled loops from their cache."""
    _child(COLD)
    runs = {
        "python": [sys.executable, "-c", "pass"],
        "import lexicell": [sys.executable, "-c", "import lexicell"],
        "lexicell --help": [sys.executable, "-m", "lexicell", "--help"],
    }
    for what, command in runs.items():
        best = min(_cpu_of(command) for _ in range(rounds))
        yield Row("cold", 0, "", what, best, "CPU s")
    kernels = min(json.loads(_child(COLD))[0] for _ in range(rounds))
    yield Row("cold", 0, "", "compiled loops from cache", kernels, "CPU s")


def _cpu_of(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _child(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def machine() -> Iterator[Row]:
    """Read rates of memory of several sizes."""
    for kb in (16, 256, 1024, 4096, 65536):
        yield Row("machine", 0, "", f"read again and again, {kb} kB", _machine.read_rate(kb << 10) / 1e9, "GB/s")


def quiet_warnings() -> None:
    """Peers warn of their own; ours would be seen in the tests."""
    warnings.simplefilter("ignore")
