"""Time and peak memory of 200 phrases over many cells.

    python benchmarks/concepts.py [--cells 100000] [--queries 200]

Synthetic counts under the names of real genes; the phrases are the first of the shipped lexicon, so that no model runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import lexicell as lx
from lexicell.sources import bundled, lexicon

GENES, EXPRESSED = 15_000, 1_000


def cells(n: int) -> anndata.AnnData:
    """Cells of about `EXPRESSED` genes each, drawn by a skewed profile that differs between ten types."""
    rng = np.random.default_rng(0)
    names = pd.Index(bundled.load_table("human").symbol).unique()[:GENES]
    blocks = []
    profile = rng.gamma(0.3, size=GENES)
    for start in range(0, n, 10_000):
        kinds = [profile * rng.lognormal(sigma=0.5, size=GENES) for _ in range(10)]
        rate = np.stack([k / k.sum() for k in kinds])
        size = min(10_000, n - start)
        draws = np.concatenate([rng.choice(GENES, (size // 10, 2 * EXPRESSED), p=r) for r in rate])
        rows = np.repeat(np.arange(len(draws)), draws.shape[1])
        ones = np.ones(draws.size, dtype=np.float32)
        blocks.append(sp.csr_matrix((ones, (rows, draws.ravel())), shape=(len(draws), GENES)))
    return anndata.AnnData(sp.vstack(blocks, format="csr"), var=pd.DataFrame(index=names))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    small, adata = cells(1000), cells(args.cells)
    phrases = list(lexicon.load()[0]["concept"][: args.queries])
    for data in (small, adata):  # the small one compiles
        lx.emb.cells(data, lx.emb.genes(data, organism="human"))
    lx.tl.concepts(small, phrases)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    wall, cpu = time.perf_counter(), time.process_time()
    lx.tl.concepts(adata, phrases)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"{len(phrases)} phrases x {args.cells} cells, {adata.X.nnz / args.cells:.0f} genes a cell: {wall:.1f} s wall, "
        f"{cpu:.1f} s CPU, peak {peak:.1f} GB ({before:.1f} GB before), load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
