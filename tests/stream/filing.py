"""Small files of cells for the tests of streaming, in every format that is read."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
import zarr

import lexicell as lx
from lexicell.stream import _job


def small_shards(monkeypatch, rows=256, group=512):
    """Many shards although there are few cells."""
    monkeypatch.setattr("lexicell.stream._embed.shard_rows", lambda dim, dtype: rows)
    monkeypatch.setattr(_job, "_GROUP_ROWS", group)


def of_file(options):
    """Arguments of embed_file for those of emb.cells."""
    asked = {name: options[name] for name in ("layer", "use_raw", "normalization", "library_size") if name in options}
    others = {name: value for name, value in options.items() if name not in asked}
    return {**others, "expression": lx.Expression(**asked)}


def make(n_cells=1500, n_genes=80, n_text=60, dim=12, seed=0):
    """Cells with an empty one and one without text, metadata of every kind, and gene vectors."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n_cells, n_genes)) < 0.4, rng.integers(1, 9, (n_cells, n_genes)), 0).astype("f4")
    names = np.array([f"G{i}" for i in range(n_genes)])
    known = rng.permutation(names)[:n_text]
    X[3] = 0
    X[5, np.isin(names, known)] = 0
    X[5, ~np.isin(names, known)] = 2
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice(["a", "b"], n_cells)),
            "total": X.sum(axis=1) + 5.0,
            "flag": rng.random(n_cells) < 0.5,
            "note": [f"note {i}" for i in range(n_cells)],
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )
    adata = anndata.AnnData(sp.csr_matrix(X), obs=obs, var=pd.DataFrame({"n": np.arange(n_genes)}, index=names))
    adata.layers["logged"] = sp.csr_matrix(np.log1p(X / np.maximum(X.sum(axis=1, keepdims=True), 1) * 1e4))
    adata.raw = adata.copy()
    genes = lx.GeneEmbedding.from_vectors(known, rng.normal(size=(n_text, dim)) + 0.4)
    return adata, genes


def _h5ad(adata, folder):
    adata.write_h5ad(folder / "cells.h5ad", compression="gzip")
    return folder / "cells.h5ad"


def _zarr(adata, folder, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata announces other defaults
        before = anndata.settings.zarr_write_format
        anndata.settings.zarr_write_format = version
        try:
            adata.write_zarr(folder / "cells.zarr")
        finally:
            anndata.settings.zarr_write_format = before
    return folder / "cells.zarr"


def _sharded(adata, folder):
    path = _zarr(adata, folder, 3)
    root = zarr.open_group(str(path), mode="r+")
    for name in ("data", "indices"):
        values, attrs = root["X"][name][:], dict(root["X"][name].attrs)
        del root["X"][name]
        array = root["X"].create_array(name, shape=values.shape, dtype=values.dtype, chunks=(700,), shards=(7000,))
        array[:] = values
        array.attrs.update(attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not in the specification of zarr 3
        zarr.consolidate_metadata(str(path))
    return path


def _with(X):
    def change(adata, folder):
        other = anndata.AnnData(X(adata.X), obs=adata.obs, var=adata.var)
        return _h5ad(other, folder)

    return change


def tenx(adata, folder, antibodies=3):
    """As Cell Ranger 3 writes counts, some antibodies among them."""
    X = sp.hstack([adata.X, sp.csr_matrix(np.full((adata.n_obs, antibodies), 7, "f4"))]).tocsr().astype("i4")
    names = [*adata.var_names, *(f"AB{i}" for i in range(antibodies))]
    kinds = ["Gene Expression"] * adata.n_vars + ["Antibody Capture"] * antibodies
    with h5py.File(folder / "cells.h5", "w") as file:
        group = file.create_group("matrix")
        for key, values in {"data": X.data, "indices": X.indices, "indptr": X.indptr, "shape": X.shape[::-1]}.items():
            group[key] = np.asarray(values)
        group["barcodes"] = np.array([n.encode() for n in adata.obs_names])
        features = group.create_group("features")
        for key, words in {
            "id": [f"ENSG{i}" for i in range(len(names))],
            "name": names,
            "feature_type": kinds,
            "genome": ["GRCh38"] * len(names),
        }.items():
            features[key] = np.array([w.encode() for w in words])
    return folder / "cells.h5"


FORMATS = {
    "h5ad-csr": _h5ad,
    "h5ad-csc": _with(sp.csc_matrix),
    "h5ad-dense": _with(lambda X: X.toarray()),
    "h5ad-int64": _with(lambda X: X.astype("i8")),
    "zarr-2": lambda adata, folder: _zarr(adata, folder, 2),
    "zarr-3": lambda adata, folder: _zarr(adata, folder, 3),
    "zarr-sharded": _sharded,
    "10x": tenx,
}


def read(path: Path) -> anndata.AnnData:
    return anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)
