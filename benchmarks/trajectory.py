"""Time and peak memory of `tl.trajectory` on many cells.

    python benchmarks/trajectory.py [--cells 50000] [--dims 384]

Cells on a tree of three branches with noise in all dimensions; the defaults of the function, Leiden and PAGA included.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import anndata
import numpy as np

import lexicell as lx


def cells(n: int, dims: int) -> anndata.AnnData:
    rng = np.random.default_rng(0)
    t, arm = rng.random(n), rng.integers(3, size=n)
    axes = np.linalg.qr(rng.normal(size=(dims, 4)))[0].T
    late = np.maximum(t - 0.3, 0)
    points = np.minimum(t, 0.3)[:, None] * axes[0]
    for j in range(3):
        points += (late * (arm == j))[:, None] * axes[j + 1]
    points = 20 * points + rng.normal(scale=0.3, size=(n, dims))
    adata = anndata.AnnData(obsm={"X_text": points.astype(np.float32)})
    adata.obs["time"] = t
    adata.obs["stage"] = np.where(t < 0.02, "first", "later")
    return adata


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--draws", type=int)
    args = parser.parse_args()
    small = cells(300, 10)
    lx.tl.trajectory(small, root="stage=first", use_rep="X_text", n_bootstraps=1)  # compiles
    adata = cells(args.cells, args.dims)
    wall, cpu = time.perf_counter(), time.process_time()
    lx.tl.trajectory(adata, root="stage=first", use_rep="X_text", n_bootstraps=args.draws)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = adata.uns["lexicell"]["X_text"]["trajectory"]
    rho = adata.obs["text_pseudotime"].corr(adata.obs["time"], method="spearman")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"{args.cells} cells x {args.dims}, {found['params']['n_bootstraps']} draws: {wall:.0f} s wall, "
        f"{cpu:.0f} s CPU, peak {peak:.1f} GB, load {os.getloadavg()[0]:.1f}; "
        f"{len(found['table'])} ends, Spearman with time {rho:.3f}"
    )


if __name__ == "__main__":
    main()
