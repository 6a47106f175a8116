"""Nothing is lost: chunks that vanish, outputs that are replaced, two processes at once, kills in between."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from tests.stream.filing import make, read, small_shards
from tests.stream.killing import Process

import lexicell as lx
from lexicell._errors import InputError
from lexicell.stream import RunSettings, _chunks, _job
from lexicell.stream import embed as embed_file

pytestmark = pytest.mark.filterwarnings("ignore:.*express no gene that has text:UserWarning")
posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are of POSIX")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    adata, genes = make()
    folder = tmp_path_factory.mktemp("data")
    adata.write_h5ad(folder / "cells.h5ad")
    genes.save(folder / "genes.h5ad")
    return folder / "cells.h5ad", genes, lx.emb.cells(adata, genes, copy=True).obsm["X_text"]


def chunk(store: Path, name: str, number: int) -> Path:
    """File of a chunk of an array in a zarr folder."""
    array = zarr.open_group(str(store), mode="r")[name]
    return _chunks.chunk_path(store, array, (number, *[0] * (array.ndim - 1)))


@pytest.fixture
def interrupted(data, tmp_path, monkeypatch):
    """A run of six shards that stopped after four."""
    path, genes, _ = data
    small_shards(monkeypatch)
    mark = _job.Folder.mark

    def full(folder, shard, *rest):
        if shard == 4:
            raise OSError(28, "No space left on device")
        mark(folder, shard, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_job.Folder, "mark", full)
        with pytest.raises(OSError, match="No space left"):
            embed_file(path, tmp_path / "text.zarr", genes)
    return tmp_path / "text.zarr"


def lose(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("array", ["obsm/X_text", "obs/text_coverage"])
@pytest.mark.parametrize("harm", [lose, flip], ids=["lost", "flipped"])
def test_finished_shards_that_were_harmed_are_computed_again(data, interrupted, array, harm):
    path, genes, expected = data
    harm(chunk(interrupted.with_name("text.zarr.partial") / "store.zarr", array, 1))
    with pytest.warns(UserWarning, match="1 of 6 shards in .* are damaged or lost"):
        embed_file(path, interrupted, genes)
    result = read(interrupted)
    np.testing.assert_array_equal(result.obsm["X_text"], expected)
    assert result.obs["text_coverage"].notna().all()


@pytest.mark.parametrize("harm", [cut, lambda p: p.write_text('{"empty": 0}')], ids=["empty", "of an older version"])
def test_a_mark_that_cannot_be_read_marks_nothing(data, interrupted, harm):
    path, genes, expected = data
    harm(interrupted.with_name("text.zarr.partial") / "done" / "000002.json")
    with pytest.warns(UserWarning, match="1 of 6 shards"):
        embed_file(path, interrupted, genes)
    np.testing.assert_array_equal(read(interrupted).obsm["X_text"], expected)


@pytest.mark.parametrize("name", ["text.zarr", "text.h5ad"])
def test_a_chunk_lost_before_delivery_is_not_delivered(data, name, tmp_path, monkeypatch):
    path, genes, expected = data
    small_shards(monkeypatch)
    mark = _job.Folder.mark

    def losing(folder, shard, *rest):
        mark(folder, shard, *rest)
        if shard == 5:
            chunk(folder.store, "obsm/X_text", 2).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(_job.Folder, "mark", losing)
        with pytest.raises(InputError, match=r"X_text/.*was written and is gone \(1 chunks .*same command again"):
            embed_file(path, tmp_path / name, genes)
    assert not (tmp_path / name).exists()
    with pytest.warns(UserWarning, match="1 of 6 shards"):
        embed_file(path, tmp_path / name, genes)
    np.testing.assert_array_equal(read(tmp_path / name).obsm["X_text"], expected)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc")
def test_data_is_on_the_disk_before_its_mark(data, tmp_path, monkeypatch):
    path, genes, _ = data
    small_shards(monkeypatch)
    synced, early, fsync, mark = set(), [], os.fsync, _job.Folder.mark

    def watched(descriptor):
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def checked(folder, shard, *rest):
        for array in ("obsm/X_text", "obs/text_coverage"):
            file = chunk(folder.store, array, shard)
            early.extend(str(p) for p in (file, file.parent) if str(p.resolve()) not in synced)
        mark(folder, shard, *rest)
        early.extend([] if any(f"/done/.{shard:06d}.json." in name for name in synced) else [f"mark {shard}"])

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(_job.Folder, "mark", checked)
    embed_file(path, tmp_path / "text.zarr", genes)
    assert not early


def test_chunks_of_zeros_are_written(data, tmp_path, monkeypatch):
    adata, genes = make()
    small_shards(monkeypatch)
    adata.X.data[adata.X.indptr[256] : adata.X.indptr[512]] = 0
    adata.X.eliminate_zeros()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    embed_file(tmp_path / "cells.h5ad", tmp_path / "text.zarr", genes)
    assert chunk(tmp_path / "text.zarr", "obsm/X_text", 1).stat().st_size == 256 * 12 * 4
    result = read(tmp_path / "text.zarr").obsm["X_text"]
    np.testing.assert_array_equal(result, lx.emb.cells(adata, genes, copy=True).obsm["X_text"])
    chunk(tmp_path / "text.zarr", "obsm/X_text", 3).unlink()
    assert np.isnan(read(tmp_path / "text.zarr").obsm["X_text"][768:1024]).all(), "what is lost later is seen"


def test_a_folder_of_others_is_left_alone(data, tmp_path):
    path, genes, _ = data
    (tmp_path / "text.zarr.partial").mkdir()
    (tmp_path / "text.zarr.partial" / "thesis.txt").write_text("years")
    for resume in (True, False):
        with pytest.raises(InputError, match="something else is there"):
            embed_file(path, tmp_path / "text.zarr", genes, run=RunSettings(resume=resume))
    assert (tmp_path / "text.zarr.partial" / "thesis.txt").read_text() == "years"
    assert [p.name for p in tmp_path.iterdir()] == ["text.zarr.partial"]


@pytest.fixture(scope="module")
def process():
    warm = Process(shard_rows=256, group_rows=256)
    yield warm
    warm.close()


@pytest.fixture
def job(data, tmp_path):
    path, _, _ = data
    return {"input": str(path), "genes": str(path.with_name("genes.h5ad")), "output": str(tmp_path / "text.zarr")}


def kill_at(process, job, phase, nth=1):
    pid = process.start(job, phase=phase, nth=nth, pause=30)
    assert process.until(f"{phase} {nth}") == f"{phase} {nth}", f"{phase} was not reached"
    os.kill(pid, signal.SIGKILL)
    assert process.until("") == "end -9"


def complete(process, job):
    process.start(job)
    assert process.until("") == "end 0"


@posix
def test_killed_after_delivery_and_moved_is_written_again(data, process, job, tmp_path):
    output = Path(job["output"])
    kill_at(process, job, "delivery")
    output.rename(tmp_path / "moved.zarr")
    complete(process, job)
    for path in (output, tmp_path / "moved.zarr"):
        np.testing.assert_array_equal(read(path).obsm["X_text"], data[2])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["moved.zarr", "text.zarr"]


@posix
def test_killed_after_delivery_and_put_elsewhere_by_another_is_written_again(data, process, job, tmp_path):
    output = Path(job["output"])
    kill_at(process, job, "delivery")
    output.rename(tmp_path / "moved.zarr")
    make(n_cells=9)[0].write_zarr(output)
    complete(process, job)
    np.testing.assert_array_equal(read(output).obsm["X_text"], data[2])


@posix
def test_killed_after_delivery_is_not_done_again(process, job, tmp_path):
    output = Path(job["output"])
    kill_at(process, job, "delivery")
    before = output.stat().st_ino
    complete(process, job)
    assert output.stat().st_ino == before
    assert [p.name for p in tmp_path.iterdir()] == ["text.zarr"]


@pytest.fixture
def old(job):
    """An earlier output of three cells."""
    adata, _ = make(n_cells=9)
    adata.write_zarr(job["output"])
    return adata.obs_names.tolist()


@posix
@pytest.mark.parametrize("phase", ["tables", "unmarked", "aside", "swap", "delivery"])
def test_an_earlier_output_survives_its_replacement(data, process, job, old, phase, tmp_path):
    output = Path(job["output"])
    kill_at(process, job, phase)
    if phase not in ("swap", "delivery"):
        assert read(output).obs_names.tolist() == old
    path, genes, expected = data
    if phase != "delivery":
        # Another question does not go on with the run, but finds the earlier output.
        with pytest.raises(InputError, match="asked something else"):
            embed_file(path, output, genes, top_n=3)
        assert read(output).obs_names.tolist() == old
    complete(process, job)
    np.testing.assert_array_equal(read(output).obsm["X_text"], expected)
    assert [p.name for p in tmp_path.iterdir()] == ["text.zarr"]


@posix
def test_starting_anew_after_half_a_swap_keeps_the_earlier_output(data, process, job, old):
    path, genes, _ = data
    output = Path(job["output"])
    kill_at(process, job, "swap")
    assert not output.exists()
    with pytest.raises(InputError, match="project must lie between"):
        embed_file(path, output, genes, project=13, run=RunSettings(resume=False))
    assert read(output).obs_names.tolist() == old


@posix
@pytest.mark.parametrize("suffix", [".zarr", ".h5ad"])
def test_two_processes_do_not_write_one_output(data, process, job, suffix, tmp_path):
    path, genes, expected = data
    output = Path(job["output"]).with_suffix(suffix)
    pid = process.start({**job, "output": str(output)}, phase="unmarked", nth=2, pause=60)
    assert process.until("unmarked 2") == "unmarked 2"
    for resume in (True, False):
        with pytest.raises(InputError, match=r"another process is writing in .*text.*partial"):
            embed_file(path, output, genes, run=RunSettings(resume=resume))
    assert len(list((tmp_path / f"{output.name}.partial" / "done").iterdir())) == 1, "the other run was touched"
    os.kill(pid, signal.SIGKILL)
    assert process.until("") == "end -9"
    complete(process, {**job, "output": str(output)})
    np.testing.assert_array_equal(read(output).obsm["X_text"], expected)
    assert [p.name for p in tmp_path.iterdir()] == [output.name]


def split(path: Path, name: str, size: int) -> None:
    """Store an array of a zarr folder again in chunks of `size`; chunks of zeros are left out, as by default."""
    root = zarr.open_group(str(path), mode="r+")
    values, attrs = root[name][:], dict(root[name].attrs)
    del root[name]
    group, _, leaf = name.rpartition("/")
    group = root[group] if group else root
    chunks = (size, *values.shape[1:])
    array = group.create_array(leaf, shape=values.shape, chunks=chunks, dtype=values.dtype, fill_value=0)
    array[:] = values
    array.attrs.update(attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not in the specification of zarr 3
        zarr.consolidate_metadata(str(path))


@pytest.mark.parametrize("matrix", ["X", "layers/logged", "raw/X"])
@pytest.mark.parametrize(("part", "number"), [("data", 3), ("indices", 2), ("indptr", 0), ("indptr", 2), ("indptr", 3)])
def test_an_input_that_lost_a_chunk_is_refused(matrix, part, number, tmp_path):
    adata, genes = make()
    path = tmp_path / "cells.zarr"
    adata.write_zarr(path)
    split(path, f"{matrix}/{part}", 400 if part == "indptr" else 4000)
    asked = lx.Expression(layer="logged" if "layers" in matrix else None, use_raw=matrix == "raw/X")
    embed_file(path, tmp_path / "text.zarr", genes, expression=asked)
    lost = chunk(path, f"{matrix}/{part}", number)
    lost.unlink()
    with pytest.raises(InputError, match=rf"{part}' has lost a chunk.*no file '{lost}'"):
        embed_file(path, tmp_path / "again.zarr", genes, expression=asked)
    queries = {"queries": {"a": np.ones(12)}, "expression": asked}
    with pytest.raises(InputError, match="has lost a chunk"):
        lx.stream.concepts(path, tmp_path / "again.zarr", genes, **queries)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.zarr", "text.zarr"]


def test_chunks_of_zeros_that_make_sense_are_read(tmp_path):
    _, genes = make()
    rng = np.random.default_rng(0)
    X = np.zeros((1200, 80), "f4")
    X[500:800, 0] = 3  # 300 cells with the first gene alone
    X[800:] = rng.poisson(1.0, (400, 80))
    adata = anndata.AnnData(sp.csr_matrix(X), var=pd.DataFrame(index=[f"G{i}" for i in range(80)]))
    path = tmp_path / "cells.zarr"
    adata.write_zarr(path)
    split(path, "X/indptr", 100)
    split(path, "X/indices", 150)
    assert not chunk(path, "X/indptr", 2).exists()
    assert not chunk(path, "X/indices", 1).exists()
    embed_file(path, tmp_path / "text.zarr", genes)
    result = read(tmp_path / "text.zarr").obsm["X_text"]
    np.testing.assert_array_equal(result, lx.emb.cells(adata, genes, copy=True).obsm["X_text"])


def test_dense_chunks(tmp_path):
    adata, genes = make()
    path = tmp_path / "cells.zarr"
    other = anndata.AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var)
    other.write_zarr(path)
    root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    # Two chunks across, whatever this version of anndata would choose.
    labels = dict(root["X"].attrs)
    del root["X"]
    matrix = root.create_array("X", shape=other.shape, chunks=(500, 40), dtype=other.X.dtype)
    matrix[:] = other.X
    matrix.attrs.update(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr, on its format 3
        zarr.consolidate_metadata(str(path))
    shutil.move(_chunks.chunk_path(path, root["X"], (1, 0)), tmp_path / "kept")
    with pytest.warns(UserWarning, match="1 chunks of .* are not stored and are read as zeros"):
        embed_file(path, tmp_path / "text.zarr", genes)
    _chunks.chunk_path(path, root["X"], (1, 1)).unlink()
    with pytest.raises(InputError, match="X' has lost a chunk"):
        embed_file(path, tmp_path / "again.zarr", genes)


def test_lost_names_of_cells(tmp_path):
    adata, genes = make()
    path = tmp_path / "cells.zarr"
    adata.write_zarr(path)
    # With pandas 3, names are a group: values, and which of them are missing.
    names = zarr.open_group(str(path), mode="r")["obs/_index"]
    chunk(path, "obs/_index/values" if hasattr(names, "keys") else "obs/_index", 0).unlink()
    with pytest.raises(InputError, match=r"obs/_index.* has lost a chunk"):
        embed_file(path, tmp_path / "text.zarr", genes)
