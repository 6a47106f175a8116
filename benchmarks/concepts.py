"""Time and peak memory of 200 phrases over many cells: in memory, and from file to file.

    python -m benchmarks.concepts --folder /scratch/concepts [--cells 400000]

The cells are those of `benchmarks.streaming` (20,000 genes, about 1,763 nonzeros per cell), with groups. Gene vectors
and phrases are random, so that no model runs. Each run is a process of its own: a quarter of the cells in memory and
from file to file, then all of them from file to file. Rows go to benchmarks/results/concepts.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
import zarr

from .streaming import DIM, genes, make_zarr

RESULTS = Path(__file__).parent / "results" / "concepts.csv"
QUERIES = 200

CHILD = """
import json, sys, time, anndata, numpy as np, lexicell as lx
how, source, output, genes = json.loads(sys.argv[1])
def peak():
    line = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
known = lx.GeneEmbedding.load(genes)
vectors = np.random.default_rng(2).normal(size=(%d, %d)).astype("f4")
names = {f"phrase {i}": vector for i, vector in enumerate(vectors)}
asked = {"groupby": "kind"}
said = {}
if how == "memory":
    adata = anndata.read_zarr(source)
    lx.tl.concepts(adata[:2000].copy(), names, genes=known, **asked)  # compiles
    said["before"] = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    lx.tl.concepts(adata, names, genes=known, **asked)
else:
    lx.tl.concepts(anndata.read_zarr(source + ".few"), names, genes=known, **asked)
    wall, cpu = time.perf_counter(), time.process_time()
    lx.stream.concepts(source, output, known, names, run=lx.stream.RunSettings(show_progress=False), **asked)
said |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": peak()}
print(json.dumps(said))
""" % (QUERIES, DIM)  # noqa: UP031


def cells(folder: Path, n: int) -> Path:
    """A store of cells with a column of groups, and a small one beside it to compile with."""
    path = make_zarr(folder / f"cells{n}.zarr", n)
    root = zarr.open_group(str(path))
    if "kind" not in root["obs"]:
        obs = pd.DataFrame(
            {"kind": pd.Categorical([f"k{i % 30}" for i in range(n)])}, index=[f"cell{i}" for i in range(n)]
        )
        shutil.rmtree(path / "obs")
        anndata.io.write_elem(root, "obs", obs)
    few = Path(f"{path}.few")
    if not few.exists():
        small = make_zarr(folder / "few.zarr", 2000)
        adata = anndata.read_zarr(small)
        adata.obs["kind"] = pd.Categorical([f"k{i % 30}" for i in range(2000)])
        adata.write_zarr(few)
    return path


def measured(folder: Path, how: str, n: int) -> list[dict[str, Any]]:
    """One run in a process of its own."""
    words = json.dumps([how, str(cells(folder, n)), str(folder / "out.zarr"), str(genes(folder))])
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CHILD, words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    rows = [("wall time", said["wall"], "s"), ("CPU time", said["cpu"], "s"), ("peak memory", said["peak"] / 1e6, "MB")]
    if "before" in said:
        rows.append(("peak memory with the cells loaded, before", said["before"] / 1e6, "MB"))
    same = {"route": how, "cells": n, "phrases": QUERIES, "note": f"load {os.getloadavg()[0]:.1f}"}
    return [{**same, "what": what, "value": round(value, 2), "unit": unit} for what, value, unit in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=400_000, help="of the largest file; the others have a quarter")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for how, n in (("memory", args.cells // 4), ("file", args.cells // 4), ("file", args.cells)):
        rows += measured(args.folder, how, n)
        print(pd.DataFrame(rows).tail(4).to_string(index=False), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(RESULTS, index=False)


if __name__ == "__main__":
    main()
