"""Row blocks say the same whatever the matrix is made of."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from lexicell._errors import InputError
from lexicell.core.expression.rows import Sparse, block_rows, open_rows


def counts(rng, n_cells=30, n_genes=12):
    return sp.csr_matrix(
        np.where(rng.random((n_cells, n_genes)) < 0.4, rng.integers(1, 9, (n_cells, n_genes)), 0), dtype="f4"
    )


def dense(block, n_columns):
    if isinstance(block, Sparse):
        return sp.csr_matrix(
            (block.data, block.indices, block.indptr), shape=(len(block.indptr) - 1, n_columns)
        ).toarray()
    return block.values


def stored(adata, path, kind):
    if kind == "h5ad":
        adata.write_h5ad(path / "x.h5ad")
        return anndata.read_h5ad(path / "x.h5ad", backed="r").X
    adata.write_zarr(path / "x.zarr")
    group = zarr.open(path / "x.zarr", mode="r")["X"]
    return anndata.io.sparse_dataset(group) if isinstance(group, zarr.Group) else group


FORMS = {
    "array": lambda X, path: X.toarray(),
    "csr": lambda X, path: X,
    "csc": lambda X, path: X.tocsc(),
    "csr array": lambda X, path: sp.csr_array(X),
    "lil": lambda X, path: X.tolil(),
    "h5ad csr": lambda X, path: stored(anndata.AnnData(X), path, "h5ad"),
    "h5ad csc": lambda X, path: stored(anndata.AnnData(X.tocsc()), path, "h5ad"),
    "h5ad dense": lambda X, path: stored(anndata.AnnData(X.toarray()), path, "h5ad"),
    "zarr csr": lambda X, path: stored(anndata.AnnData(X), path, "zarr"),
    "zarr csc": lambda X, path: stored(anndata.AnnData(X.tocsc()), path, "zarr"),
    "zarr dense": lambda X, path: stored(anndata.AnnData(X.toarray()), path, "zarr"),
    "hdf5 dataset": lambda X, path: h5py.File(path / "x.h5", "w").create_dataset("x", data=X.toarray()),
}


@pytest.mark.parametrize("form", FORMS)
def test_blocks_join_to_the_matrix(rng, tmp_path, form):
    X = counts(rng)
    rows = open_rows(FORMS[form](X, tmp_path))
    assert rows.shape == X.shape
    for size in (1, 7, 30, 100):
        parts = [dense(rows.read(a, b), 12) for a, b in block_rows(rows, size)]
        np.testing.assert_array_equal(np.vstack(parts), X.toarray())


def test_dask(rng):
    da = pytest.importorskip("dask.array", reason="dask is an extra")
    X = counts(rng)
    for matrix in (
        da.from_array(X.toarray(), chunks=(7, 5)),
        da.from_array(X.toarray(), chunks=(7, 12)).map_blocks(sp.csr_matrix),
    ):
        rows = open_rows(matrix)
        np.testing.assert_array_equal(
            np.vstack([dense(rows.read(a, b), 12) for a, b in block_rows(rows, 11)]), X.toarray()
        )


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_a_block_of_dask_is_computed_once_however_many_reads_fall_into_it(rng, form):
    da = pytest.importorskip("dask.array", reason="dask is an extra")
    X = counts(rng)
    computed = []

    def block(part):
        computed.append(len(part))
        return part if form == "dense" else sp.csr_matrix(part)

    meta = np.empty((0, 0), "f4") if form == "dense" else sp.csr_matrix((0, 0), dtype="f4")
    rows = open_rows(da.from_array(X.toarray(), chunks=(13, 12)).map_blocks(block, dtype="f4", meta=meta))
    computed.clear()
    for start in range(0, 30, 4):
        stop = min(30, start + 4)
        np.testing.assert_array_equal(dense(rows.read(start, stop), 12), X[start:stop].toarray())
    assert computed == [13, 13, 4]


def test_a_dask_array_of_unknown_length_is_refused(rng):
    da = pytest.importorskip("dask.array", reason="dask is an extra")
    X = da.from_array(counts(rng).toarray(), chunks=(13, 12))
    with pytest.raises(InputError, match="compute_chunk_sizes"):
        open_rows(X[X.sum(axis=1) > 3])


def test_rows_are_given_back(rng):
    rows = open_rows(counts(rng))
    assert open_rows(rows) is rows


def test_memory_is_not_copied(rng):
    X = counts(rng)
    block = open_rows(X).read(3, 9)
    assert np.shares_memory(block.data, X.data)
    assert np.shares_memory(block.indices, X.indices)
    table = X.toarray()
    assert np.shares_memory(open_rows(table).read(3, 9).values, table)


def test_blocks_hold_a_few_megabytes(rng):
    assert list(block_rows(open_rows(np.zeros((10, 3))), None)) == [(0, 10)]
    wide = open_rows(np.broadcast_to(np.float32(0), (5000, 40_000)))
    sizes = {b - a for a, b in block_rows(wide, None)}
    assert max(sizes) == 100
    assert sum(b - a for a, b in block_rows(wide, None)) == 5000


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (np.ones(3), "cells x genes is needed"),
        (3, "cells x genes is needed, got int"),
        (np.array([["a"]]), "real numbers"),
        (np.ones((2, 2), dtype=complex), "real numbers"),
        (np.ma.masked_array(np.ones((2, 2)), mask=False), "masked array"),
    ],
    ids=["vector", "number", "words", "complex", "masked"],
)
def test_what_is_no_matrix(matrix, says):
    with pytest.raises(InputError, match=says):
        open_rows(matrix)
