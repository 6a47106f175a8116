"""stream.embed: the bits of emb.cells whatever the file and the output; and what is refused."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from tests.stream.filing import FORMATS, make, of_file, read, small_shards, tenx

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.stream import RunSettings, _job
from lexicell.stream import embed as embed_file

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*express no gene that has text:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*text dimensions are used:UserWarning"),
]

PRESETS = {
    "paper": {"top_n": 20},
    "genept-w": {"preset": "genept-w"},
    "scelmo-wa": {"preset": "scelmo-wa"},
    "scelmo-aa": {"preset": "scelmo-aa"},
    "whitened": {"preset": "whitened"},
    "whitened-5": {"preset": "whitened", "n_components": 5, "top_n": 30},
    "layer": {"layer": "logged"},
    "raw": {"use_raw": True},
    "library-size": {"library_size": "total"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    adata, genes = make()
    folder = tmp_path_factory.mktemp("data")
    adata.write_h5ad(folder / "cells.h5ad")
    return adata, genes, folder / "cells.h5ad"


def assert_equal(result, expected):
    np.testing.assert_array_equal(result.obsm["X_text"], expected.obsm["X_text"], strict=True)
    pd.testing.assert_series_equal(result.obs["text_coverage"], expected.obs["text_coverage"], check_index=False)
    assert result.obs_names.tolist() == expected.obs_names.tolist()
    assert result.var["gene_text_source"].tolist() == expected.var["gene_text_source"].tolist()


def same(a, b):
    if isinstance(b, dict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in b)
    return np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("options", PRESETS.values(), ids=PRESETS)
def test_equal_to_embedding_in_memory(data, options, tmp_path, monkeypatch):
    adata, genes, path = data
    small_shards(monkeypatch)
    expected = lx.emb.cells(adata, genes, copy=True, **options)
    embed_file(path, tmp_path / "text.zarr", genes, **of_file(options))
    result = read(tmp_path / "text.zarr")
    assert_equal(result, expected)
    assert result.X is None
    assert same(result.uns["lexicell"]["X_text"], expected.uns["lexicell"]["X_text"])
    pd.testing.assert_frame_equal(result.obs.drop(columns="text_coverage"), read(path).obs)
    assert [p.name for p in tmp_path.iterdir()] == ["text.zarr"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.filterwarnings("ignore:.*stored by genes:UserWarning")
def test_equal_over_formats(form, tmp_path, monkeypatch):
    output = "text.h5ad" if form in ("h5ad-csr", "zarr-3", "10x") else "text.zarr"
    adata, genes = make(n_cells=700)
    small_shards(monkeypatch)
    path = FORMATS[form](adata, tmp_path)
    expected = lx.emb.cells(adata, genes, copy=True)
    embed_file(path, tmp_path / output, genes)
    assert_equal(read(tmp_path / output), expected)


def test_neither_chunks_nor_threads_change_a_bit(data, tmp_path, monkeypatch):
    _, genes, path = data
    small_shards(monkeypatch, rows=2048)
    options = {"preset": "whitened", "project": 4}
    embed_file(path, tmp_path / "one.h5ad", genes, run=RunSettings(n_jobs=1), **options)
    for chunk_size, n_jobs in [(1, 1), (300, 3), (5000, 2)]:
        run = RunSettings(chunk_size=chunk_size, n_jobs=n_jobs)
        embed_file(path, tmp_path / "two.h5ad", genes, run=run, **options)
        assert_equal(read(tmp_path / "two.h5ad"), read(tmp_path / "one.h5ad"))


def test_half_precision(data, tmp_path):
    adata, genes, path = data
    expected = lx.emb.cells(adata, genes, copy=True)
    expected.obsm["X_text"] = expected.obsm["X_text"].astype("f2")
    for name in ("text.zarr", "text.h5ad"):
        embed_file(path, tmp_path / name, genes, dtype="float16")
        assert_equal(read(tmp_path / name), expected)
    big = lx.GeneEmbedding.from_vectors(genes.ids, genes.vectors * 1e6)
    with pytest.raises(InputError, match="beyond float16"):
        embed_file(path, tmp_path / "big.zarr", big, dtype="float16")


@pytest.mark.parametrize(
    "options", [{}, {"preset": "whitened"}, {"preset": "genept-w"}], ids=["paper", "whitened", "l2"]
)
def test_projection_is_the_principal_components_of_the_embedding(data, options, tmp_path, monkeypatch):
    adata, genes, path = data
    small_shards(monkeypatch)
    embed_file(path, tmp_path / "text.zarr", genes, project=4, **options)
    result = read(tmp_path / "text.zarr")
    whole = lx.emb.cells(adata, genes, copy=True, **options).obsm["X_text"].astype("f8")
    centered = whole - whole.mean(axis=0)
    _, s, Vt = np.linalg.svd(centered, full_matrices=False)
    wanted = centered @ Vt[:4].T
    got = result.obsm["X_text"]
    assert got.shape == (adata.n_obs, 4)
    signs = np.sign((got * wanted).sum(axis=0))
    np.testing.assert_allclose(got, wanted * signs, atol=2e-6 * np.abs(wanted).max())
    axes = result.uns["lexicell"]["X_text"]["projection"]
    np.testing.assert_allclose(axes["variance"], s[:4] ** 2 / (adata.n_obs - 1), rtol=1e-6)
    np.testing.assert_allclose(axes["total_variance"], (s**2).sum() / (adata.n_obs - 1), rtol=1e-6)
    np.testing.assert_allclose((whole - axes["mean"]) @ axes["V"], got, atol=1e-5 * np.abs(wanted).max())
    assert (axes["V"][np.abs(axes["V"]).argmax(axis=0), range(4)] > 0).all()


def test_a_key_of_its_own_beside_an_older_one(data, tmp_path):
    adata, genes, _ = data
    older = lx.emb.cells(adata, genes, copy=True)
    older.write_h5ad(tmp_path / "cells.h5ad")
    embed_file(tmp_path / "cells.h5ad", tmp_path / "again.zarr", genes, top_n=5)
    assert_equal(read(tmp_path / "again.zarr"), lx.emb.cells(adata, genes, top_n=5, copy=True))
    embed_file(tmp_path / "cells.h5ad", tmp_path / "two.zarr", genes, top_n=5, key_added="X_five")
    two = read(tmp_path / "two.zarr")
    assert list(two.obsm) == ["X_five"]
    assert {"text_coverage", "five_coverage"} <= set(two.obs)


def test_long_columns_are_copied_in_pieces(data, tmp_path, monkeypatch):
    _, genes, path = data
    monkeypatch.setattr("lexicell.stream._copy._PIECE", 20_000)
    for name in ("text.zarr", "text.h5ad"):
        embed_file(path, tmp_path / name, genes)
        pd.testing.assert_frame_equal(read(tmp_path / name).obs.drop(columns="text_coverage"), read(path).obs)


def test_warnings(data, tmp_path):
    adata, genes, path = data
    with pytest.warns(UserWarning, match="2 of 1500 cells express no gene"):
        embed_file(path, tmp_path / "text.zarr", genes)
    with pytest.warns(UserWarning, match=r"X is stored by genes \(CSC\).* MB of memory; .*adata.X = adata.X.tocsr\(\)"):
        embed_file(FORMATS["h5ad-csc"](adata, tmp_path), tmp_path / "text.zarr", genes)


def test_symbols_of_10x_that_stand_twice_become_unique(tmp_path):
    adata, genes = make(n_cells=300)
    adata.var_names = ["G1", *adata.var_names[1:]]
    path = tenx(adata, tmp_path)
    embed_file(path, tmp_path / "text.zarr", genes)
    result = read(tmp_path / "text.zarr")
    from lexicell._io import read_cells

    with pytest.warns(UserWarning, match=r"3 of 83 rows are not genes \(Antibody Capture\)"):
        whole = read_cells(path)
    assert result.var_names.tolist() == whole.var_names.tolist()
    assert "G1-1" in result.var_names
    pd.testing.assert_frame_equal(result.var[["gene_ids", "feature_types", "genome"]].astype(str),
                                  whole.var[["gene_ids", "feature_types", "genome"]].astype(str))  # fmt: skip
    lx.emb.cells(whole, genes)
    assert_equal(result, whole)


BAD = {
    "preset": ({"preset": "papr"}, "Did you mean 'paper'"),
    "top-n": ({"top_n": 0}, "top_n must be"),
    "dtype": ({"dtype": "float64"}, "'float16'"),
    "key": ({"key_added": "a/b"}, "key_added"),
    "normalization": ({"normalization": "log1p", "library_size": "total"}, "library sizes are of no use"),
    "components": ({"n_components": 3}, "n_components belongs"),
    "project": ({"project": 13}, "project must lie between 1 and 12, got 13"),
    "project-0": ({"project": 0}, "at least 1, got 0"),
    "layer": ({"layer": "counts"}, "no layer 'counts'"),
    "library-size": ({"library_size": "totl"}, "Did you mean 'total'"),
    "words": ({"library_size": "kind"}, "holds no numbers"),
}


@pytest.mark.parametrize(("options", "words"), BAD.values(), ids=BAD)
def test_wrong_arguments_are_refused_and_nothing_is_written(data, options, words, tmp_path):
    _, genes, path = data
    with pytest.raises((InputError, MissingKeyError), match=words):
        embed_file(path, tmp_path / "text.zarr", genes, **of_file(options))
    assert not list(tmp_path.iterdir())


def test_wrong_files_are_refused(data, tmp_path):
    _, genes, path = data
    for source, output, words in [
        (tmp_path / "no.h5ad", "text.zarr", "no file"),
        (path, "text.csv", "ends in .h5ad or .zarr"),
        (path, path, "never changed"),
    ]:
        with pytest.raises(InputError, match=words):
            embed_file(source, tmp_path / output, genes)
    (tmp_path / "broken.h5ad").write_bytes(b"these are not cells")
    with pytest.raises(InputError, match="cannot be read as"):
        embed_file(tmp_path / "broken.h5ad", tmp_path / "text.zarr", genes)
    with pytest.raises(InputError, match="must be a GeneEmbedding"):
        embed_file(path, tmp_path / "text.zarr", np.eye(3))
    zarr.open_group(str(tmp_path / "none.zarr"), mode="w")
    with pytest.raises(InputError, match="holds no cells"):
        embed_file(tmp_path / "none.zarr", tmp_path / "text.zarr", genes)


def test_a_bad_value_is_named_and_leaves_nothing_behind(data, tmp_path, monkeypatch):
    adata, genes, _ = data
    small_shards(monkeypatch)
    other = anndata.AnnData(adata.X.copy(), obs=adata.obs, var=adata.var)
    other.X.data[other.X.indptr[1200]] = np.nan
    gene = other.var_names[other.X.indices[other.X.indptr[1200]]]
    other.write_h5ad(tmp_path / "cells.h5ad")
    for options in ({}, {"preset": "whitened"}):
        with pytest.raises(InputError, match=f"cell 'cell1200', gene '{gene}': the value is NaN"):
            embed_file(tmp_path / "cells.h5ad", tmp_path / "text.zarr", genes, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["cells.h5ad"]


def test_no_room(data, tmp_path, monkeypatch):
    _, genes, path = data
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(free=1000))
    with pytest.raises(InputError, match=r"needs 0\.\d GB and .* has 0\.0 GB free"):
        embed_file(path, tmp_path / "text.zarr", genes)


def test_a_broken_chunk_is_named(data, tmp_path, monkeypatch):
    adata, genes, _ = data
    small_shards(monkeypatch)
    path = FORMATS["zarr-sharded"](adata, tmp_path)
    broken = path / "X" / "data" / "c" / "2"
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(InputError, match=r"cells.zarr' cannot be read at cells \d+ to \d+"):
        embed_file(path, tmp_path / "text.zarr", genes)


@pytest.fixture
def interrupted(data, tmp_path, monkeypatch):
    """A run that stopped after its third shard for want of room."""
    _, genes, path = data
    small_shards(monkeypatch)
    shutil.copy(path, tmp_path / "cells.h5ad")
    mark = _job.Folder.mark

    def full(folder, shard, n_empty, check):
        if shard == 3:
            raise OSError(28, "No space left on device")
        mark(folder, shard, n_empty, check)

    monkeypatch.setattr(_job.Folder, "mark", full)
    with pytest.raises(OSError, match="No space left"):
        embed_file(tmp_path / "cells.h5ad", tmp_path / "text.zarr", genes)
    monkeypatch.setattr(_job.Folder, "mark", mark)
    assert len(list((tmp_path / "text.zarr.partial" / "done").iterdir())) == 3
    assert not (tmp_path / "text.zarr").exists()
    return tmp_path / "cells.h5ad", tmp_path / "text.zarr"


def test_a_full_disk_loses_nothing(data, interrupted):
    adata, genes, _ = data
    source, output = interrupted
    embed_file(source, output, genes)
    assert_equal(read(output), lx.emb.cells(adata, genes, copy=True))
    assert sorted(p.name for p in output.parent.iterdir()) == ["cells.h5ad", "text.zarr"]


def test_an_unfinished_run_that_asked_something_else(data, interrupted):
    adata, genes, _ = data
    source, output = interrupted
    with pytest.raises(InputError, match=r"asked something else \(top_n: 1000 there, 7 now\).*resume=False"):
        embed_file(source, output, genes, top_n=7)
    other = lx.GeneEmbedding.from_vectors(genes.ids, genes.vectors + 1)
    with pytest.raises(InputError, match="other cells or gene vectors"):
        embed_file(source, output, other)
    embed_file(source, output, genes, top_n=7, run=RunSettings(resume=False))
    assert_equal(read(output), lx.emb.cells(adata, genes, top_n=7, copy=True))


def test_an_input_that_changed_under_way(data, interrupted):
    _, genes, _ = data
    source, output = interrupted
    later = (output.parent / "text.zarr.partial" / "job.json").stat().st_mtime + 5
    os.utime(source, (later, later))
    with pytest.raises(InputError, match="written to after the unfinished run"):
        embed_file(source, output, genes)
    adata, _ = make(seed=3)
    adata.write_h5ad(source)
    with pytest.raises(InputError, match="other cells or gene vectors"):
        embed_file(source, output, genes)
