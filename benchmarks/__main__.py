"""Measure, print the table of ratios, and write CSV, figure and page.

    python -m benchmarks                 everything, about ten minutes on a quiet machine
    python -m benchmarks --quick         everything on few cells, into a table on the screen only
    python -m benchmarks --part cells --dim 1536      one piece; the other rows of the CSV stay
    python -m benchmarks --page          only write the figure and docs/performance.md from the CSV

The parts are cells, profile, error, threads, memory, cold and machine. torch's products are measured where it is there.
Variables that make OpenBLAS think it runs elsewhere (OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE) are taken out of the
environment first, for the sake of the peers. Memory is kept and used again by all alike, not given back after each
call: a fresh page can cost more than the work on it where memory is lent to several machines.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

PARTS = ("cells", "profile", "error", "threads", "memory", "cold", "machine")
MISLEADING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
WANTED = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_MMAP_MAX_": "0",  # glibc
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--dim", type=int, choices=(384, 1536, 3072), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    from ._table import PAGE, figure, load, page

    if not args.page:
        _clean_environment()
        measure(args)
    if args.page or not args.quick:
        figure(load())
        PAGE.write_text(page(), encoding="utf-8")


def _clean_environment() -> None:
    """Start this command again with the right variables: they are read at the start."""
    if any(name in os.environ for name in MISLEADING) or any(os.environ.get(n) != v for n, v in WANTED.items()):
        kept = {k: v for k, v in os.environ.items() if k not in MISLEADING}
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        os.execve(sys.executable, command, kept | WANTED)


def measure(args: argparse.Namespace) -> None:
    import pandas as pd

    from . import _measure, _table

    _measure.quiet_warnings()
    rows: list[Any] = []
    path = _table.RESULTS / "speed.csv"
    table = pd.DataFrame(columns=[*_table.KEY, "value"])
    for row in _rows(args):
        rows.append(row)
        print(f"{row.part:8} D {row.dim:4} N {row.top_n:4} {row.what:36} {row.value:12.5g} {row.unit}", flush=True)
        table = pd.DataFrame(rows)
        if not args.quick:
            # At once: an interrupted run keeps what it has.
            table = _table.save(table, _table.load() if path.exists() else None)
    if not args.quick:
        (_table.RESULTS / "about.txt").write_text(_about() + "\n", encoding="utf-8")
    print(_table.ratios(table).to_string(index=False))


def _rows(args: argparse.Namespace) -> Iterator[Any]:
    from . import _measure as m

    parts = args.part or PARTS
    dims = args.dim or ((1536,) if args.quick else (384, 1536, 3072))
    n, n_peers, rounds = (3000, 300, 1) if args.quick else (20_000, 1024, args.rounds)
    for dim in dims:
        if "cells" in parts:
            problem = m.Problem(n, dim)
            for top_n in (50, 200, 1000, None):
                yield from m.cells(problem, top_n, n_peers, rounds)
    problem = m.Problem(n, 1536)
    if "profile" in parts:
        for top_n in (50, 200, 1000, None):
            yield from m.profile(problem, top_n, n_peers, rounds)
    if "error" in parts:
        yield from m.errors(problem, 200)
    if "threads" in parts:
        yield from m.threads(problem, None, rounds)
        yield from m.threads(problem, 200, rounds)
    del problem
    if "memory" in parts:
        yield from m.memory(n, 1536)
    if "cold" in parts:
        yield from m.cold(rounds)
    if "machine" in parts:
        yield from m.machine()


def _about() -> str:
    from threadpoolctl import threadpool_info

    from . import _machine, _peers

    blas = next((p for p in threadpool_info() if p["user_api"] == "blas"), {})
    day = time.strftime("%Y-%m-%d", time.gmtime())
    cache = _machine.second_level_cache() >> 10
    return (
        f"{_machine.name()}, {cache} kB of second-level cache; Python {sys.version.split()[0]}, {_peers.versions()}, "
        f"OpenBLAS {blas.get('version')} for {blas.get('architecture')}; {day}."
    )


if __name__ == "__main__":
    main()
