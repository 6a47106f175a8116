"""stream.embed over Dask: the bits of one process, also when a worker is killed; and lazy matrices in emb.cells."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from tests.stream.filing import make, of_file, read, small_shards

import lexicell as lx
from lexicell._errors import InputError
from lexicell.stream import RunSettings
from lexicell.stream import embed as embed_file

distributed = pytest.importorskip("distributed", reason="dask is an extra")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*express no gene that has text:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*text dimensions are used:UserWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as two:
        yield two


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    adata, genes = make(n_cells=9000)
    folder = tmp_path_factory.mktemp("data")
    adata.write_zarr(folder / "cells.zarr")
    return adata, genes, folder / "cells.zarr"


@pytest.mark.parametrize(
    "options",
    [{"top_n": 20}, {"preset": "whitened", "library_size": "total"}, {"preset": "genept-w", "project": 3}],
    ids=["paper", "whitened", "projected"],
)
def test_workers_give_the_bits_of_one_process(cluster, data, options, tmp_path, monkeypatch):
    _, genes, path = data
    small_shards(monkeypatch)
    options = of_file(options)
    embed_file(path, tmp_path / "one.zarr", genes, **options)
    embed_file(path, tmp_path / "two.zarr", genes, run=RunSettings(dask=cluster.scheduler_address), **options)
    one, two = read(tmp_path / "one.zarr"), read(tmp_path / "two.zarr")
    np.testing.assert_array_equal(two.obsm["X_text"], one.obsm["X_text"], strict=True)
    np.testing.assert_array_equal(two.obs["text_coverage"], one.obs["text_coverage"])


class Killer(threading.Thread):
    """Kills a worker as soon as some shards are done, and remembers how many were."""

    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.pid, self.folder, self.done = pid, folder, 0

    def run(self) -> None:
        while self.done < 3:
            self.done = len(list(self.folder.glob("done/*.json")))
            time.sleep(0.002)
        os.kill(self.pid, signal.SIGKILL)


def test_a_killed_worker_changes_nothing(data, tmp_path, monkeypatch):
    adata, genes, path = data
    small_shards(monkeypatch, group=256)
    expected = lx.emb.cells(adata, genes, copy=True)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        with distributed.Client(cluster) as client:
            before = client.run(os.getpid)
        killer = Killer(next(iter(before.values())), tmp_path / "text.zarr.partial")
        killer.start()
        embed_file(path, tmp_path / "text.zarr", genes, run=RunSettings(dask=cluster.scheduler_address))
        killer.join(10)
    assert 3 <= killer.done < 36, "the worker was killed too late to mean anything"
    result = read(tmp_path / "text.zarr")
    np.testing.assert_array_equal(result.obsm["X_text"], expected.obsm["X_text"], strict=True)
    assert [p.name for p in tmp_path.iterdir()] == ["text.zarr"]


def test_a_bad_value_is_named_whoever_finds_it(cluster, data, tmp_path, monkeypatch):
    adata, genes, _ = data
    small_shards(monkeypatch)
    X = adata.X.copy()
    X.data[X.indptr[8000]] = -1
    anndata.AnnData(X, obs=adata.obs, var=adata.var).write_zarr(tmp_path / "cells.zarr")
    with pytest.raises(InputError, match=r"cell 'cell8000', gene .*: the value is -1"):
        embed_file(
            tmp_path / "cells.zarr", tmp_path / "text.zarr", genes, run=RunSettings(dask=cluster.scheduler_address)
        )
    assert [p.name for p in tmp_path.iterdir()] == ["cells.zarr"]


@pytest.mark.parametrize(
    ("address", "words"),
    [("local:0", "local:N"), ("local", "local:N"), ("tcp://127.0.0.1:9", "no scheduler answers"), ("here", "no sch")],
)
def test_wrong_addresses(data, address, words, tmp_path, monkeypatch):
    _, genes, path = data
    monkeypatch.setattr("lexicell.stream._dask._PATIENCE", "1s")
    with pytest.raises(InputError, match=words):
        embed_file(path, tmp_path / "text.zarr", genes, run=RunSettings(dask=address))


def test_cells_takes_a_lazy_matrix_one_block_at_a_time(data):
    da = pytest.importorskip("dask.array")
    adata, genes, _ = data
    alive, most = [], []

    def block(part):
        alive.append(len(part))
        most.append(part.shape[0])
        return sp.csr_matrix(part)

    X = da.from_array(adata.X.toarray(), chunks=(2000, -1))
    X = X.map_blocks(block, dtype="f4", meta=sp.csr_matrix((0, 0), dtype="f4"))
    lazy = anndata.AnnData(X, obs=adata.obs, var=adata.var)
    most.clear()
    for options in ({}, {"preset": "whitened"}):
        expected = lx.emb.cells(adata, genes, copy=True, **options)
        lx.emb.cells(lazy, genes, **options)
        np.testing.assert_array_equal(lazy.obsm["X_text"], expected.obsm["X_text"])
    assert max(most) == 2000
    assert lazy.X is X or hasattr(lazy.X, "dask"), "X was loaded"
