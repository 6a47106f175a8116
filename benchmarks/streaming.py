"""Cells from file to file: peak memory, kills, what streaming costs beside reading and the kernel, and Dask.

    python -m benchmarks.streaming --folder /scratch/stream [--cells 1000000] [--part memory --part kills ...]

Makes a million synthetic cells in blocks (20,000 genes, some 1,763 nonzeros a cell; 65,536 different ones, shuffled
each time they come round), a zarr store of 5 GB, and embeds it at N = 200 into 384 dimensions. Rows go to
benchmarks/results/streaming.csv; rows of other parts stay. The kills are drawn at random and logged; the command fails
if one of the phases was not hit or a bit differs. Needs some 10 GB in the folder, which it empties at the end, and
about ten minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
import zarr

import lexicell as lx

from ._data import N_GENES, N_TEXT, counts

RESULTS = Path(__file__).parent / "results" / "streaming.csv"
PARTS = ("memory", "kills", "stores", "dask")
ONE = lx.stream.RunSettings(n_jobs=1, show_progress=False)
N_CELLS, DIM, TOP_N = 1_000_000, 384, 200
BLOCK, DIFFERENT = 16_384, 4  # cells made at a time; blocks of different cells, for making them costs more than reading
FEW, MORE = 20_000, 100_000  # cells of the files for the ratio: the difference leaves out what every run costs once
Row = dict[str, Any]


def genes(folder: Path) -> Path:
    """Vectors of 18,000 of the 20,000 genes."""
    path = folder / "genes.h5ad"
    if not path.exists():
        rng = np.random.default_rng(1)
        names = [f"g{i}" for i in rng.permutation(N_GENES)[:N_TEXT]]
        lx.GeneEmbedding.from_vectors(names, rng.normal(size=(N_TEXT, DIM)).astype("f4") + 0.3).save(path)
    return path


def make_zarr(path: Path, n_cells: int, *, compressed: bool = True) -> Path:
    """An AnnData as a zarr v3 store with shards, written block by block."""
    if (path / "finished").exists():
        return path
    shutil.rmtree(path, ignore_errors=True)
    root = zarr.open_group(str(path), mode="w", zarr_format=3)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    var = pd.DataFrame(index=[f"g{i}" for i in range(N_GENES)])
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    anndata.io.write_elem(root, "obs", obs)
    anndata.io.write_elem(root, "var", var)
    for part in ("obsm", "varm", "obsp", "varp", "layers", "uns"):
        anndata.io.write_elem(root, part, {})
    matrix = root.create_group("X")
    matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, N_GENES]})
    codec = zarr.codecs.BloscCodec(cname="lz4", clevel=3, shuffle="shuffle") if compressed else None
    shard = 16 << 20
    arrays = {
        name: matrix.create_array(name, shape=(0,), dtype=kind, chunks=(1 << 20,), shards=(shard,), compressors=codec)
        for name, kind in (("data", "f4"), ("indices", "i4"))
    }
    indptr, waiting, n = [np.zeros(1, np.int64)], {"data": [], "indices": []}, 0

    def flush(least: int) -> None:
        for name, parts in waiting.items():
            values = np.concatenate(parts) if parts else np.empty(0)
            k = len(values) // least * least if least > 1 else len(values)
            if k:
                array, before = arrays[name], arrays[name].shape[0]
                array.resize((before + k,))
                array[before : before + k] = values[:k]
            waiting[name] = [values[k:]]

    for start in range(0, n_cells, BLOCK):
        block = _block(start // BLOCK)[: min(BLOCK, n_cells - start)]
        for name in arrays:
            waiting[name].append(getattr(block, name))
        indptr.append(block.indptr[1:].astype(np.int64) + n)
        n += block.nnz
        flush(shard)
    flush(1)
    matrix.create_array("indptr", data=np.concatenate(indptr))
    (path / "finished").touch()
    return path


@lru_cache(maxsize=1)
def _pool() -> list[sp.csr_matrix]:
    return [counts(BLOCK, seed=seed) for seed in range(DIFFERENT)]


def _block(i: int) -> sp.csr_matrix:
    """Block i: cells drawn once, in another order each time they come round."""
    return _pool()[i % DIFFERENT][np.random.default_rng(i).permutation(BLOCK)]


def memory(folder: Path, n_cells: int) -> Iterator[Row]:
    """Peak memory of a new process that embeds the file, at a quarter of the cells and at all."""
    for n in (n_cells // 4, n_cells):
        source = make_zarr(folder / f"cells{n}.zarr", n)
        said = _embed_apart(folder, source, folder / f"whole{n}.zarr")
        yield _row("memory", "peak memory", n, said["peak"] / 1e6, "MB", "zarr to zarr")
        yield _row("memory", "CPU time", n, said["cpu"], "s", f"{n / said['cpu']:,.0f} cells a CPU second")


CHILD = """
import json, sys, time, lexicell as lx
source, output, genes, top_n, options = json.loads(sys.argv[1])
run = lx.stream.RunSettings(show_progress=False)
lx.stream.embed(source, output, lx.GeneEmbedding.load(genes), top_n=top_n, run=run, **options)
peak = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps({"peak": int(peak.split()[1]) * 1024, "cpu": time.process_time()}))
"""


def _embed_apart(folder: Path, source: Path, output: Path, **options: Any) -> dict[str, float]:
    words = json.dumps([str(source), str(output), str(genes(folder)), TOP_N, options])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, words], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def kills(folder: Path, n_cells: int) -> Iterator[Row]:
    """Five kills at random moments of the run, and one in each phase that is too short for those."""
    from tests.emb.killing import Process

    source, whole = make_zarr(folder / f"cells{n_cells}.zarr", n_cells), folder / f"whole{n_cells}.zarr"
    if not whole.exists():
        _embed_apart(folder, source, whole)
    seed = random.SystemRandom().randrange(2**32)
    rng, text = random.Random(seed), folder / "text.zarr"
    n_shards = zarr.open_group(str(whole), mode="r")["obsm"]["X_text"].nchunks
    print(f"kills: seed {seed}, {n_shards} shards", flush=True)
    job = {"input": str(source), "output": str(text), "genes": str(genes(folder)), "top_n": TOP_N}
    plan = [(rng.uniform(0, n_shards - 1), "random") for _ in range(5)]
    plan += [(rng.uniform(0, n_shards - 3), phase) for phase in ("chunk", "unmarked", "mark")]
    plan = [(0.0, "tables"), *sorted(plan), (float(n_shards), "delivery")]
    process, landed = Process(), []
    for at, phase in plan:
        landed.append(_kill(process, job, text, at, phase, rng, n_shards))
        yield _row(
            "kills", f"killed in '{landed[-1]}'", n_cells, _done(text), "shards done", f"planned: {phase}, seed {seed}"
        )
    process.start(job)
    assert process.until("") == "end 0"
    process.close()
    missed = {"tables", "embedding", "chunk", "unmarked", "mark", "delivery"} - set(landed)
    assert not missed, f"no kill landed in {missed}"
    equal = _equal(text, whole)
    yield _row("kills", "equal to the undisturbed run", n_cells, float(equal), "1 = every byte", f"{len(landed)} kills")
    assert equal
    shutil.rmtree(text)


def _kill(process: Any, job: Row, text: Path, at: float, phase: str, rng: random.Random, n_shards: int) -> str:
    """Kill at shard `at` of the run: anywhere, or within a phase; gives the phase that the process spoke of last."""
    while True:
        done = _done(text)
        nth = 1 if phase in ("tables", "delivery") else max(1, int(at) - done)
        # A chunk of 16 MB takes long enough; the others last microseconds.
        pause = 0.0 if phase in ("random", "chunk") else 30.0
        pid = process.start(job, phase=phase, nth=nth, pause=pause, torn=False)
        said = process.until(f"unmarked {nth}" if phase == "random" else f"{phase} {nth}")
        assert not said.startswith("end"), f"the run ended before {phase} {nth}"
        time.sleep(rng.uniform(0, 0.3 if phase == "random" else 0.01))
        os.kill(pid, signal.SIGKILL)
        last = said
        while not (line := process.line()).startswith("end "):
            last = line
        assert line == "end -9", line
        hit = last.rsplit(" ", 1)[0] if last != "chunk written" else "embedding"
        print(f"killed in '{hit}' (planned: {phase}); {_done(text)} of {n_shards} shards are done", flush=True)
        if phase in ("random", hit):
            return hit


def _done(text: Path) -> int:
    folder = text.with_name(text.name + ".partial") / "done"
    return len(list(folder.glob("*.json"))) if folder.exists() else 0


def _equal(a: Path, b: Path) -> bool:
    names = [sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) for root in (a, b)]
    return names[0] == names[1] and all((a / n).read_bytes() == (b / n).read_bytes() for n in names[0])


def stores(folder: Path, n_cells: int) -> Iterator[Row]:
    """CPU time of reading alone, of the kernel alone, and of both through `embed_file`, for each store."""
    from lexicell.stream._open_cells import open_cells

    known = lx.GeneEmbedding.load(genes(folder))
    for name, make in _stores(folder).items():
        spent: dict[str, list[float]] = {}
        for n in (FEW, MORE):
            path = make(n)
            kernel = _kernel(path, known)

            def reading(path: Path = path) -> None:
                with open_cells(path) as source:
                    for start in range(0, source.n_obs, 2048):
                        source.X.read(start, min(source.n_obs, start + 2048))

            def whole(path: Path = path) -> None:
                lx.stream.embed(path, folder / "out.zarr", known, top_n=TOP_N, run=ONE)

            for what, work in {"read": reading, "kernel": kernel, "embed_file": whole}.items():
                work()  # compiled, and in the page cache
                spent.setdefault(what, []).append(min(_cpu(work) for _ in range(2)))
        cost = {what: b - a for what, (a, b) in spent.items()}
        for what, seconds in cost.items():
            yield _row("stores", f"{name}: {what}", MORE - FEW, seconds / (MORE - FEW) * 1e6, "us a cell", "CPU time")
        ratio = cost["embed_file"] / (cost["read"] + cost["kernel"])
        yield _row("stores", f"{name}: embed_file over read + kernel", MORE - FEW, ratio, "ratio", "writing included")


def _stores(folder: Path) -> dict[str, Callable[[int], Path]]:
    def h5ad(n: int, compression: str | None) -> Path:
        path = folder / f"{compression}{n}.h5ad"
        if not path.exists():
            adata = anndata.read_zarr(make_zarr(folder / f"few{n}.zarr", n))
            adata.write_h5ad(path, compression=compression)
        return path

    return {
        "h5ad gzip": lambda n: h5ad(n, "gzip"),
        "h5ad plain": lambda n: h5ad(n, None),
        "zarr 3 sharded, lz4": lambda n: make_zarr(folder / f"few{n}.zarr", n),
        "zarr 3 sharded, plain": lambda n: make_zarr(folder / f"plain{n}.zarr", n, compressed=False),
    }


def _kernel(path: Path, known: lx.GeneEmbedding) -> Callable[[], None]:
    from lexicell.core.pooling.pooler import Pooler, expressed
    from lexicell.core.pooling.presets import PRESETS
    from lexicell.core.pooling.tiebreak import tie_ranks
    from lexicell.stream import open_cells

    with open_cells(path) as source:
        blocks = [source.X.read(a, min(source.n_obs, a + 1024)) for a in range(0, min(FEW, source.n_obs), 1024)]
        names, n_cells = source.var_names, source.n_obs
    rows = known.rows(names)
    columns = np.flatnonzero(rows >= 0)
    ranks = tie_ranks(known.ids[rows[columns]])
    seen = expressed(blocks[0], columns)
    pooler = Pooler(len(names), columns, PRESETS["paper"], top_n=TOP_N, ranks=ranks, seen=seen)
    pooler.set_vectors(np.asarray(known.vectors), rows[columns])
    out = np.empty((1024, DIM), np.float32)

    def run() -> None:
        for i in range(-(-n_cells // 1024)):
            block = blocks[i % len(blocks)]
            pooler.run(block, np.empty(0), out[: len(block.indptr) - 1])

    return run


def dask(folder: Path, n_cells: int) -> Iterator[Row]:
    """What a task costs beyond its work, and a worker killed on the way, over a quarter of the cells."""
    import distributed

    n_cells //= 4
    source = make_zarr(folder / f"cells{n_cells}.zarr", n_cells)
    known, text, whole = lx.GeneEmbedding.load(genes(folder)), folder / "dask.zarr", folder / f"whole{n_cells}.zarr"
    if not whole.exists():
        _embed_apart(folder, source, whole)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        workers = lx.stream.RunSettings(dask=cluster.scheduler_address, show_progress=False)
        with distributed.Client(cluster, set_as_default=False) as client:

            def everything() -> None:
                before = client.run(time.process_time)
                mine = time.process_time()
                lx.stream.embed(source, text, known, top_n=TOP_N, run=workers)
                after = client.run(time.process_time)
                spent.append(time.process_time() - mine + sum(after[k] - before[k] for k in before))

            spent: list[float] = []
            for _ in range(2):  # the first compiles, opens and packs in each worker
                everything()
            one: list[float] = []
            for _ in range(2):
                start = time.process_time()
                lx.stream.embed(source, folder / "one.zarr", known, top_n=TOP_N, run=ONE)
                one.append(time.process_time() - start)
            tasks = -(-n_cells // 32_768)
            extra = (min(spent) - min(one)) / tasks
            yield _row(
                "dask", "CPU time beyond one process, a task", n_cells, extra * 1e3, "ms", f"{tasks} tasks, 2 workers"
            )
            yield _row("dask", "the same, of the work", n_cells, (min(spent) / min(one) - 1) * 100, "%", "")
            start = time.perf_counter()
            nothing = [client.submit(int, i, pure=False) for i in range(500)]
            client.gather(nothing)
            yield _row(
                "dask", "an empty task, wall", n_cells, (time.perf_counter() - start) / 500 * 1e3, "ms", "500 tasks"
            )
            pid = next(iter(client.run(os.getpid).values()))
        done: list[int] = []

        def kill() -> None:
            while _done(text) < 8:
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            done.append(_done(text))

        killer = threading.Thread(target=kill)
        killer.start()
        lx.stream.embed(source, text, known, top_n=TOP_N, run=workers)
        killer.join()
    equal = _equal(text, whole)
    yield _row(
        "dask",
        "one of two workers killed: equal bits",
        n_cells,
        float(equal),
        "1 = every byte",
        f"{done[0]} shards done",
    )
    assert equal


def _cpu(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _row(part: str, what: str, n_cells: int, value: float, unit: str, note: str) -> Row:
    return {"part": part, "what": what, "cells": n_cells, "value": round(value, 4), "unit": unit, "note": note}


def run(folder: Path, parts: tuple[str, ...] = PARTS, n_cells: int = N_CELLS) -> list[Row]:
    """Measure; rows as they stand in the CSV."""
    warnings.simplefilter("ignore")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for part in parts:
        for row in globals()[part](folder, n_cells):
            print(*row.values(), sep="\t", flush=True)
            rows.append(row)
    return rows


def save(rows: list[Row]) -> None:
    """Write rows, in the place of those of the same parts."""
    table = pd.DataFrame(rows)
    if RESULTS.exists():
        before = pd.read_csv(RESULTS)
        table = pd.concat([before[~before["part"].isin(table["part"])], table])
    RESULTS.parent.mkdir(exist_ok=True)
    order = {part: i for i, part in enumerate(PARTS)}
    table.sort_values("part", key=lambda column: column.map(order), kind="stable").to_csv(RESULTS, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--cells", type=int, default=N_CELLS, help="of the larger file; the smaller has a quarter")
    parser.add_argument("--keep", action="store_true", help="keep the files that were made")
    args = parser.parse_args()
    save(run(args.folder, tuple(args.part or PARTS), args.cells))
    if not args.keep:
        shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
