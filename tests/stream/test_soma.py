"""stream.embed on a TileDB-SOMA experiment: the bits of emb.cells on the AnnData that it was made from."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
from tests.stream.filing import make, of_file, read, small_shards

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.stream import embed as embed_file

tiledbsoma = pytest.importorskip("tiledbsoma", reason="soma is an extra")
io = pytest.importorskip("tiledbsoma.io", reason="soma is an extra")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*express no gene that has text:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*text dimensions are used:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    adata, genes = make(n_cells=900)
    adata = anndata.AnnData(adata.X, obs=adata.obs, var=adata.var)
    folder = tmp_path_factory.mktemp("soma")
    io.from_anndata(str(folder / "cells"), adata, measurement_name="RNA")
    return adata, genes, folder / "cells"


@pytest.mark.parametrize("options", [{}, {"preset": "whitened", "library_size": "total"}], ids=["paper", "whitened"])
@pytest.mark.parametrize("address", [str, lambda path: path, lambda path: path.as_uri()], ids=["str", "path", "uri"])
def test_equal_to_embedding_in_memory(experiment, options, address, tmp_path, monkeypatch):
    adata, genes, path = experiment
    small_shards(monkeypatch)
    expected = lx.emb.cells(adata, genes, copy=True, **options)
    embed_file(address(path), tmp_path / "text.zarr", genes, **of_file(options))
    result = read(tmp_path / "text.zarr")
    np.testing.assert_array_equal(result.obsm["X_text"], expected.obsm["X_text"], strict=True)
    assert result.obs_names.tolist() == adata.obs_names.tolist()
    assert result.var_names.tolist() == adata.var_names.tolist()
    for name in adata.obs:
        assert result.obs[name].tolist() == adata.obs[name].tolist()


def test_what_is_not_there_is_named(experiment, tmp_path):
    _, genes, path = experiment
    with pytest.raises(MissingKeyError, match="no layer 'counts'; there is 'data'"):
        embed_file(path, tmp_path / "text.zarr", genes, expression=lx.Expression(layer="counts"))
    with pytest.raises(MissingKeyError, match="no column in obs 'totl'"):
        embed_file(path, tmp_path / "text.zarr", genes, expression=lx.Expression(library_size="totl"))
    with pytest.raises(InputError, match="holds no numbers"):
        embed_file(path, tmp_path / "text.zarr", genes, expression=lx.Expression(library_size="kind"))
    (tmp_path / "broken" / "__group").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be read"):
        embed_file(tmp_path / "broken", tmp_path / "text.zarr", genes)
