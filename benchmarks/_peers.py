"""What others do on the same work, in the fastest plain form of their own formula. One thread each; X stays as it is.

Those that make a dense matrix of cells x genes get it a thousand cells at a time: whole, it would not fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import anndata
import numpy as np
import scanpy as sc
import scipy.sparse as sp

Run = Callable[[], Any]
_ROWS = 1000


def normalized(X: sp.csr_matrix) -> sp.csr_matrix:
    """log1p of counts per ten thousand, by scanpy, of a copy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = anndata.AnnData(X.copy())
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    return adata.X


def top_rows(L: sp.csr_matrix, top_n: int) -> sp.csr_matrix:
    """The `top_n` largest values of each row, by numpy's partition; ties as they fall."""
    keep = []
    for start, stop in zip(L.indptr[:-1], L.indptr[1:], strict=True):
        if stop - start <= top_n:
            keep.append(np.arange(start, stop))
        else:
            keep.append(start + np.argpartition(L.data[start:stop], stop - start - top_n)[stop - start - top_n :])
    places = np.concatenate(keep)
    indptr = np.concatenate([[0], np.cumsum([len(k) for k in keep])])
    return sp.csr_matrix((L.data[places], L.indices[places], indptr), shape=L.shape)


def scanpy_scipy(X: sp.csr_matrix, columns: np.ndarray, V: np.ndarray, top_n: int | None) -> np.ndarray:
    """The paper's formula: scanpy's normalization, numpy's choice of genes, scipy's product, in float32."""
    L = normalized(X)[:, columns]
    if top_n is not None:
        L = top_rows(L, top_n)
    total = np.asarray(L.sum(axis=1)).ravel()
    return (L @ V) / np.where(total > 0, total, 1)[:, None].astype(np.float32)


def genept(X: sp.csr_matrix, columns: np.ndarray, V: np.ndarray) -> np.ndarray:
    """GenePT-w as published: a dense product in float64, over the number of genes, then unit length."""
    V64 = V.astype(np.float64)
    parts = []
    for start in range(0, X.shape[0], _ROWS):
        dense = normalized(X[start : start + _ROWS])[:, columns].toarray().astype(np.float64)
        cells = dense @ V64 / X.shape[1]
        parts.append(cells / np.linalg.norm(cells, axis=1, keepdims=True))
    return np.concatenate(parts)


def scelmo(X: sp.csr_matrix, columns: np.ndarray, V: np.ndarray) -> np.ndarray:
    """The weighted average of scELMo as published: dense weights that sum to one, times the vectors, in float64."""
    V64 = V.astype(np.float64)
    parts = []
    for start in range(0, X.shape[0], _ROWS):
        dense = normalized(X[start : start + _ROWS]).toarray().astype(np.float64)
        weights = dense / dense.sum(axis=1, keepdims=True)
        parts.append(weights[:, columns] @ V64)
    return np.concatenate(parts)


def torch_products(weights: sp.csr_matrix, V: np.ndarray) -> dict[str, Run]:
    """Two sparse products by torch of weights already chosen; empty where torch is not there."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    dense = torch.from_numpy(V)
    data = torch.from_numpy(weights.data)
    offsets, indices = (torch.from_numpy(a.astype(np.int64)) for a in (weights.indptr, weights.indices))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse CSR is called a beta
        matrix = torch.sparse_csr_tensor(offsets, indices, data, size=weights.shape)

    def bag() -> Any:
        return torch.nn.functional.embedding_bag(
            indices, dense, offsets, mode="sum", per_sample_weights=data, include_last_offset=True
        )

    return {"torch.sparse.mm": lambda: torch.sparse.mm(matrix, dense), "torch embedding_bag": bag}


def versions() -> str:
    """Names and versions of what was compared."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("numpy", "scipy", "scanpy", "numba", "torch"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)
