"""What the evaluations of label transfer share: some of the cells, one scored run, a table that grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

import lexicell as lx

HERE = Path(__file__).parent
Row = dict[str, Any]


def some(adata: anndata.AnnData, rng: np.random.Generator, n: int) -> anndata.AnnData:
    """At most `n` cells, in their order."""
    return adata[np.sort(rng.permutation(adata.n_obs)[:n])].copy()


def in_two(adata: anndata.AnnData, rng: np.random.Generator, n: int) -> tuple[anndata.AnnData, anndata.AnnData]:
    """Two sets of at most `n` cells without a common cell, all genes in both."""
    order = rng.permutation(adata.n_obs)
    half = min(n, adata.n_obs // 2)
    return adata[np.sort(order[:half])].copy(), adata[np.sort(order[half : 2 * half])].copy()


def moved(source: Any, target: anndata.AnnData, genes: Any, **options: Any) -> anndata.AnnData:
    """`target` with labels from `source`; nothing is written into either."""
    counts = lx.Expression(library_size="n_counts")
    new = lx.tl.transfer(
        source, target, label="label", truth="label", genes=genes, expression=counts, copy=True, **options
    )
    assert new is not None
    return new


def recall(adata: anndata.AnnData) -> float:
    """Balanced accuracy: mean recall of the classes, no cell left out."""
    return float(adata.uns["lexicell"]["text_transfer"]["report"]["recall"].mean())


def run(
    name: str, keys: Iterable[tuple[Any, ...]], columns: list[str], rows_of: Callable[..., list[Row]]
) -> pd.DataFrame:
    """One block of rows a key; blocks that the CSV holds already are not run again."""
    path = HERE / f"{name}.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=columns)
    for key in keys:
        if len(done) and np.logical_and.reduce([done[c] == v for c, v in zip(columns, key, strict=True)]).any():
            continue
        block = pd.DataFrame([{**dict(zip(columns, key, strict=True)), **row} for row in rows_of(*key)])
        done = pd.concat([done, block], ignore_index=True) if len(done) else block
        done.round(4).to_csv(path, index=False)
        print(*key, flush=True)
    return done
