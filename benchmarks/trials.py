"""Other ways to sum gene vectors, each against the kept one in the same run.

    python -m benchmarks.trials            about three minutes; --rounds and --cells for less

CPU time of the sums alone, one thread, D = 1,536, on the cells of `python -m benchmarks`. What can be asked for
(``method=``, ``precision=``) is measured whole, with its error against float64; what was left out is measured without
the merging of cells, which only its kept form does fast. Rows go to benchmarks/results/trials.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from . import _measure as m
from ._table import RESULTS, trials_table

DIM, BLOCK = 1536, 1024
TOP_N = (None, 1000, 200)
WAYS = {
    "hybrid, float32": {"method": "hybrid"},
    "sparse, half": {"precision": "half"},
    "hybrid, half": {"method": "hybrid", "precision": "half"},
}
# storage, cells at once, dimensions at a time, entries prefetched ahead, genes a segment
LEFT_OUT = {
    "one cell, 128 dimensions": ("float32", 1, 128, 8, 2048),
    "one cell, 256 dimensions, segments of 1,024 genes": ("float32", 1, 256, 8, 1024),
    "two cells, no prefetch": ("float32", 2, 128, 0, 2048),
    "two cells, prefetch 4 ahead": ("float32", 2, 128, 4, 2048),
    "two cells, prefetch 16 ahead": ("float32", 2, 128, 16, 2048),
    "two cells, segments of 1,024 genes": ("float32", 2, 128, 8, 1024),
    "two cells, segments of 4,096 genes": ("float32", 2, 128, 8, 4096),
    "three cells, 96 dimensions": ("float32", 3, 96, 8, 2048),
    "four cells, 96 dimensions": ("float32", 4, 96, 8, 2048),
    "float16, two cells, segments of 4,096 genes": ("float16", 2, 128, 8, 4096),
    "pairs of sixteen bits, two cells, segments of 4,096 genes": ("pairs", 2, 128, 8, 4096),
    "pairs of sixteen bits, one cell, 384 dimensions, segments of 1,024 genes": ("pairs", 1, 384, 8, 1024),
    "pairs of sixteen bits, lower halves read twice": ("pairs, read twice", 1, 256, 8, 2048),
    "whole numbers of sixteen bits, one cell": ("whole numbers", 1, 256, 8, 2048),
    "whole numbers of sixteen bits, two cells": ("whole numbers", 2, 128, 8, 4096),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=BLOCK, help="of one block, from 512 on")
    args = parser.parse_args()
    rows = []
    for row in measure(args.cells, args.rounds):
        rows.append(row)
        print(*row.values(), sep="\t", flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / "trials.csv", index=False, float_format="%.4g")
    print(trials_table(table).to_string(index=False))


def measure(n_cells: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows of what, N, CPU microseconds a cell, those of the kept form in the same run, and the error."""
    problem = m.Problem(n_cells, DIM)
    left_out = {name: _variant(*form) for name, form in LEFT_OUT.items()}
    for top_n in TOP_N:
        kept = problem.pooler(top_n)
        chosen = m._apart(kept._select(m.open_rows(problem.X).read(0, n_cells), np.empty(0), 0))
        poolers = {"kept": kept} | {name: _way(problem, top_n, **way) for name, way in WAYS.items()}
        runs: dict[str, Callable[[], Any]] = {}
        errors = {}
        for name, pooler in poolers.items():
            if pooler is not None:
                out = np.empty((n_cells, DIM), dtype=np.float32)
                runs[name] = lambda pooler=pooler, chosen=chosen, out=out: pooler._sum(chosen, out)
                runs[name]()
                errors[name] = _error(out, chosen, problem.V)
        runs["kept, without merging and scaling"] = _variant("float32", 2, 128, 8, 2048)(kept, chosen)
        runs |= {name: make(kept, chosen) for name, make in left_out.items()}
        for run in runs.values():
            run()
        best = m.interleaved(runs, rounds, time.process_time)
        for name, seconds in best.items():
            if not name.startswith("kept"):
                beside = "kept" if name in poolers else "kept, without merging and scaling"
                yield {
                    "what": name,
                    "top_n": m.label(top_n),
                    "us": 1e6 * seconds / n_cells,
                    "kept_us": 1e6 * best[beside] / n_cells,
                    "error": errors.get(name, np.nan),
                }


def _way(problem: m.Problem, top_n: int | None, *, method: str = "sparse", precision: str = "float32") -> Any:
    from lexicell.core._hot import SAMPLE
    from lexicell.core.pooling import has_tiles

    if method == "hybrid" and not has_tiles():
        return None
    return problem.pooler(top_n, precision=precision, sample=SAMPLE if method == "hybrid" else 0)


def _error(out: np.ndarray, chosen: Any, V: np.ndarray, n: int = 48) -> float:
    """Largest difference from float64 over a cell's largest entry."""
    worst = 0.0
    for c in range(n):
        part = slice(chosen.offsets[c], chosen.offsets[c + 1])
        weights = chosen.weights[part].astype(np.float64)
        exact = weights @ V[chosen.rows[part]].astype(np.float64) / chosen.kept[c]
        worst = max(worst, np.abs(out[c] - exact).max() / np.abs(exact).max())
    return worst


def _variant(storage: str, n_cells: int, width: int, ahead: int, segment: int) -> Callable[[Any, Any], Any]:
    """What makes a run of one form for a problem; numbers are ones, for their values cost nothing."""
    from lexicell.core._hot import aligned

    from ._variants import gather

    merge, sums_of = gather(storage, n_cells, width, ahead)

    def make(pooler: Any, chosen: Any) -> Callable[[], None]:
        n, k = len(pooler._order), int(chosen.offsets[-1])
        genes, both = np.zeros(k + 16, np.int32), np.zeros(n_cells * (k + 16), np.float32)
        groups = -(-(len(chosen.offsets) - 1) // n_cells)
        length = min(n, 8192 if 0 < pooler.top_n <= 256 else segment)
        starts = np.empty((-(-n // length), groups + 1), np.int64)
        merge(chosen.rows, chosen.weights, chosen.offsets, pooler._place, length, genes, both, starts)
        panels = aligned((n * DIM + 64,), np.float32 if storage == "float32" else np.uint16)
        panels[:] = 1 if storage == "float32" else 0x3C01
        sums = np.zeros((groups * n_cells, DIM), np.float32)
        # Those that read two bytes before their place begin a cache line later.
        base = panels.ctypes.data + (64 if storage == "pairs, read twice" else 0)

        def run() -> None:
            sums_of(base, DIM // width, n, genes, both, starts, sums)

        run.keep = panels  # type: ignore[attr-defined]
        return run

    return make


if __name__ == "__main__":
    main()
