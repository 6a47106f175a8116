"""What a user waits for: ``lexicell run`` beside scanpy's tutorial pipeline, on the same file.

    python -m benchmarks.pipeline kang_pbmc.h5ad --folder FOLDER [--cells 10000 100000] [--rounds 1] [--only lexicell]

Cells are made by `benchmarks._mixtures` from the file named. Each pipeline runs in a process of its own, in turn, with
everything it reads and writes: CPU time of all its threads, wall time and the largest memory. ``lexicell run`` does
what it does by default, and the comparison of conditions with its controls. scanpy ranks genes by its default, the
t-test. Rows go to benchmarks/results/pipeline.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ._mixtures import make

RESULTS = Path(__file__).parent / "results" / "pipeline.csv"
STUDY = ("--cell-type", "cell_type", "--condition", "condition", "--reference", "ctrl", "--donor", "donor")


def scanpy_pipeline(source: str, output: str) -> list[dict[str, Any]]:
    """The steps of scanpy's tutorial, each with its time; run in a process of its own."""
    import anndata
    import scanpy as sc

    state: dict[str, Any] = {}
    _accept_sparse_arrays()

    def prepare() -> None:
        state["a"].layers["counts"] = state["a"].X.copy()
        sc.pp.normalize_total(state["a"])
        sc.pp.log1p(state["a"])
        sc.pp.highly_variable_genes(state["a"], n_top_genes=2000)

    steps: dict[str, Callable[[], Any]] = {
        "read": lambda: state.update(a=anndata.read_h5ad(source)),
        "normalize, variable genes": prepare,
        "components": lambda: sc.tl.pca(state["a"]),
        "neighbors": lambda: sc.pp.neighbors(state["a"]),
        "clusters": lambda: sc.tl.leiden(state["a"], flavor="igraph", n_iterations=2, directed=False),
        "map": lambda: sc.tl.umap(state["a"]),
        "markers": lambda: sc.tl.rank_genes_groups(state["a"], groupby="leiden"),
        "write": lambda: state["a"].write_h5ad(output, compression="gzip"),
    }
    rows = []
    for name, step in steps.items():
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        rows.append(
            {
                "step": name,
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
                "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            }
        )
    return rows


def _accept_sparse_arrays() -> None:
    """Let scanpy 1.11 work with pynndescent 0.7, whose sparse arrays have no ``getnnz``."""
    import scipy.sparse as sp
    from pynndescent import PyNNDescentTransformer

    search = PyNNDescentTransformer.fit_transform
    PyNNDescentTransformer.fit_transform = lambda self, *given, **named: sp.csr_matrix(search(self, *given, **named))


def _process(command: list[str], log: Path) -> dict[str, float]:
    """Run a command; its wall and CPU time and largest memory, as the system counts them."""
    wall = time.perf_counter()
    with log.open("w") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_gb": used.ru_maxrss / 2**20,
    }


def _lexicell(source: Path, folder: Path) -> list[dict[str, Any]]:
    output = folder / f"{source.stem}_run"
    total = _process(
        [sys.executable, "-m", "lexicell", "run", str(source), "-o", str(output), *STUDY], folder / "lexicell.log"
    )
    steps = pd.read_csv(output / "steps.tsv", sep="\t").to_dict("records")
    return [*steps, {"step": "total", **total}]


def _scanpy(source: Path, folder: Path) -> list[dict[str, Any]]:
    log = folder / "scanpy.log"
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.pipeline", str(source), "--folder", str(folder)]
    total = _process([*command, "--child"], log)
    return [*json.loads(log.read_text().splitlines()[-1]), {"step": "total", **total}]


TOOLS = {"lexicell run": _lexicell, "scanpy": _scanpy}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for n_cells in args.cells:
        source = make(args.source, args.folder / f"cells{n_cells}.h5ad", n_cells)
        for number in range(args.rounds):
            for tool, run in TOOLS.items():
                if args.only in (None, tool.split()[0]):
                    load = round(os.getloadavg()[0], 1)
                    for row in run(source, args.folder):
                        yield {"tool": tool, "cells": n_cells, **row, "round": number, "load": load}


def save(rows: list[dict[str, Any]]) -> None:
    """Keep of each pipeline the round of least CPU time, in the place of what was measured of it before."""
    table = pd.DataFrame(rows)
    totals = table[table["step"] == "total"].sort_values("cpu_seconds").drop_duplicates(["tool", "cells"])
    table = table.merge(totals[["tool", "cells", "round"]]).drop(columns="round")
    if RESULTS.exists():
        old = pd.read_csv(RESULTS)
        fresh = set(zip(table["tool"], table["cells"], strict=True))
        stays = [key not in fresh for key in zip(old["tool"], old["cells"], strict=True)]
        table = pd.concat([old[stays], table])
    table.sort_values(["cells", "tool"], kind="stable").to_csv(RESULTS, index=False, float_format="%.3f")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=["lexicell", "scanpy"])
    parser.add_argument("--dry", action="store_true", help="print, but leave the CSV as it is")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(scanpy_pipeline(str(args.source), str(args.folder / "scanpy.h5ad"))))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in measure(args):
        print(row, flush=True)
        rows.append(row)
    if not args.dry:
        save(rows)


if __name__ == "__main__":
    main()
