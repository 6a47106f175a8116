"""A run that is killed again and again, in every phase of its work, ends with the bits of one that was not."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import h5py
import numpy as np
import pytest
from tests.stream.filing import make
from tests.stream.killing import PHASES, Process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are of POSIX")


def tree(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def elements(path):
    """Every array of an HDF5 file; the bytes around them know the order in which they were written."""
    found = {}

    def visit(name, node):
        if hasattr(node, "shape"):
            words = h5py.check_string_dtype(node.dtype) is not None
            found[name] = str(node.asstr()[()]) if words else np.asarray(node[()]).tobytes()

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.fixture(scope="module")
def process():
    warm = Process(shard_rows=256, group_rows=256)
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    adata, genes = make(n_cells=6000)
    folder = tmp_path_factory.mktemp("data")
    adata.write_zarr(folder / "cells.zarr")
    genes.save(folder / "genes.h5ad")
    return {"input": str(folder / "cells.zarr"), "genes": str(folder / "genes.h5ad"), "preset": "whitened", "n_jobs": 2}


@pytest.mark.parametrize("suffix", [".zarr", ".h5ad"])
def test_killed_in_every_phase(process, job, suffix, tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    rng = random.Random(seed)
    whole, text = tmp_path / f"whole{suffix}", tmp_path / f"text{suffix}"
    process.start({**job, "output": str(whole)})
    assert process.until("") == "end 0"
    middle = [*PHASES[2:-1], *rng.sample(PHASES[2:-1], 2)]
    rng.shuffle(middle)
    landed = []
    print(f"seed {seed}")
    for phase in [*PHASES[:2], *middle, PHASES[-1]]:
        nth = 1 if phase == "delivery" else rng.randint(1, 2 if phase in PHASES[:2] else 3)
        pid = process.start({**job, "output": str(text)}, phase=phase, nth=nth, pause=30, torn=rng.random() < 0.7)
        assert process.until(f"{phase} {nth}") == f"{phase} {nth}", f"{phase} was not reached, seed {seed}"
        delay = rng.uniform(0, 0.05)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        assert process.until("") == "end -9"
        landed.append(phase)
        done = len(list(tmp_path.glob("text*.partial/done/*.json")))
        print(f"killed {delay * 1000:.0f} ms into '{phase}' {nth}; {done} of 24 shards are done")
    assert set(landed) == set(PHASES)
    process.start({**job, "output": str(text)})
    assert process.until("") == "end 0"
    assert sorted(p.name for p in tmp_path.iterdir()) == [text.name, whole.name]
    if suffix == ".zarr":
        assert tree(text) == tree(whole)
    else:
        assert elements(text) == elements(whole)


def test_what_is_done_is_not_done_again(process, job, tmp_path):
    output = {**job, "output": str(tmp_path / "text.zarr")}
    pid = process.start(output, phase="unmarked", nth=15, pause=30)
    assert process.until("unmarked 15") == "unmarked 15"
    os.kill(pid, signal.SIGKILL)
    process.until("")
    marks = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "text.zarr.partial" / "done").glob("*.json")}
    assert len(marks) == 14
    process.start(output)
    said = []
    while not (line := process.line()).startswith("end "):
        said.append(line)
    assert line == "end 0"
    assert sum(s.startswith("mark ") for s in said) == 10
    assert not any(s.startswith("first pass") for s in said)
