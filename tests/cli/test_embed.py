"""`lexicell embed` from file to file."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
import pytest
from tests.cli.test_cli import SYMBOLS
from tests.stream.filing import make, small_shards, tenx

import lexicell as lx

pytestmark = pytest.mark.filterwarnings("ignore:.*express no gene that has text:UserWarning")


@pytest.fixture
def cells(tmp_path):
    adata, _ = make(n_cells=600, n_genes=len(SYMBOLS))
    adata.var_names = SYMBOLS
    del adata.raw, adata.layers["logged"]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_streaming_gives_what_memory_gives(cells, tmp_path, lexicell, monkeypatch):
    small_shards(monkeypatch)
    assert lexicell("genes", cells, "-o", tmp_path / "genes.h5ad")[0] == 0
    genes = ["--genes", tmp_path / "genes.h5ad", "--top-n", "30"]
    assert lexicell("embed", cells, *genes, "-o", tmp_path / "memory.h5ad")[0] == 0
    code, said = lexicell("embed", cells, *genes, "--stream", "-o", tmp_path / "text.zarr")
    assert (code, "600 cells in obsm['X_text']" in said) == (0, True), said
    expected = anndata.read_h5ad(tmp_path / "memory.h5ad").obsm["X_text"]
    result = anndata.read_zarr(tmp_path / "text.zarr")
    np.testing.assert_array_equal(result.obsm["X_text"], expected)
    assert result.X is None


def test_genes_are_found_in_the_file_alone(cells, tmp_path, lexicell):
    code, said = lexicell("embed", cells, "--project", "5", "--dtype", "float16", "-o", tmp_path / "text.h5ad")
    assert code == 0, said
    result = anndata.read_h5ad(tmp_path / "text.h5ad").obsm["X_text"]
    assert (result.shape, result.dtype) == ((600, 5), np.float16)


def test_counts_of_10x(cells, tmp_path, lexicell):
    path = tenx(anndata.read_h5ad(cells), tmp_path)
    code, said = lexicell("embed", path, "--stream", "-o", tmp_path / "text1.h5ad")
    assert code == 0, said
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        code, said = lexicell("embed", path, "-o", tmp_path / "text0.h5ad")
    assert code == 0, said
    assert "3 of 82 rows are not genes (Antibody Capture)" in said
    one, two = (anndata.read_h5ad(tmp_path / f"text{i}.h5ad") for i in (0, 1))
    np.testing.assert_array_equal(one.obsm["X_text"], two.obsm["X_text"])


@pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["memory", "stream"])
def test_genes_of_raw_are_looked_up_where_raw_is_read(stream, cells, tmp_path, lexicell):
    whole = anndata.read_h5ad(cells)
    some = whole[:, :5].copy()
    some.raw = whole
    some.write_h5ad(tmp_path / "raw.h5ad")
    code, said = lexicell("embed", tmp_path / "raw.h5ad", "--use-raw", *stream, "-o", tmp_path / "text.h5ad")
    assert code == 0, said
    assert "organism    human (guessed:" in said
    used = anndata.read_h5ad(tmp_path / "text.h5ad").uns["lexicell"]["X_text"]["genes"]
    assert list(used) == SYMBOLS


def test_a_wrong_species_is_refused_and_the_right_one_named(tmp_path, lexicell):
    lx.datasets.pbmc68k_counts().write_h5ad(tmp_path / "human.h5ad")
    code, said = lexicell("embed", tmp_path / "human.h5ad", "--organism", "mouse", "-o", tmp_path / "text.h5ad")
    assert code == 2
    assert "of the 765 gene names" in said
    assert "look like human genes" in said
    assert not (tmp_path / "text.h5ad").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--stream", "--preset", "genept-s"], "not streamed", id="sentences"),
        pytest.param(["--stream", "--layer", "counts"], "no layer 'counts'", id="layer"),
        pytest.param(["--project", "0"], "at least 1", id="project"),
        pytest.param(["--dtype", "float64"], "float16", id="dtype"),
        pytest.param(["--stream", "--library-size", "tota"], "Did you mean 'total'?", id="library-size"),
    ],
)
def test_mistakes_are_one_line(options, words, cells, tmp_path, lexicell):
    before = set(tmp_path.rglob("*"))
    code, said = lexicell("embed", cells, *options, "-o", tmp_path / "text.zarr")
    assert code == 2, said
    assert len(said.strip().splitlines()) == 1, said
    assert said.startswith("lexicell: error: ")
    assert words in said
    assert set(tmp_path.rglob("*")) == before


def test_a_large_file_is_pointed_to_streaming(cells, tmp_path, lexicell, monkeypatch):
    monkeypatch.setattr("lexicell.cli._embed._LARGE", 0.0)
    code, said = lexicell("embed", cells, "-o", tmp_path / "text.h5ad")
    assert code == 0
    assert "--stream embeds it from file to file" in said


def test_empty_cells_are_told_of(cells, tmp_path, lexicell):
    for options in ([], ["--stream"]):
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            _, said = lexicell("embed", cells, *options, "-o", tmp_path / "text.h5ad")
        assert "lexicell: warning: 1 of 600 cells express no gene that has text" in said
