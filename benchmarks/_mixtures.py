"""Cells as large studies have them, made of real ones: mixtures of three cells of a type, thinned to real depth.

    python -m benchmarks._mixtures kang_pbmc.h5ad cells.h5ad --cells 100000
    python -m benchmarks._mixtures kang_pbmc.h5ad cells.zarr --cells 1000000 --genes 5000

The source needs counts (``layers["counts"]`` or ``X``), ``obs["cell_type"]`` and ``obs["condition"]`` with two values.
Each new cell belongs to a donor, each donor to one condition; its three parents are real cells of one type and that
condition. Donors differ by a lognormal factor of each gene. Cells are made and written in blocks, so that a zarr of any
size takes the memory of one block.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

DONORS = 5  # of each condition
DONOR_SD = 0.15  # of the log factor of a gene
PARENTS = 3
BLOCK = 25_000


class Mixtures:
    """Makes blocks of cells; the same block for the same seed and number, whatever was made before."""

    def __init__(self, source: Path, n_genes: int | None, seed: int) -> None:
        real = anndata.read_h5ad(source)
        counts = sp.csr_matrix(real.layers.get("counts", real.X), dtype=np.float32)
        if n_genes is not None:
            often = np.argsort(-np.diff(counts.tocsc().indptr), kind="stable")[:n_genes]
            real, counts = real[:, np.sort(often)], counts[:, np.sort(often)]
        self.genes, self._counts, self._seed = real.var_names, counts, seed
        self._depth = np.asarray(counts.sum(axis=1)).ravel()
        self._types = real.obs["cell_type"].astype("category")
        self._conditions = real.obs["condition"].astype("category")
        n_conditions = len(self._conditions.cat.categories)
        rng = np.random.default_rng(seed)
        self._effects = np.exp(rng.normal(0, DONOR_SD, (DONORS * n_conditions, counts.shape[1]))).astype(np.float32)

    def block(self, number: int, n: int) -> anndata.AnnData:
        """`n` cells."""
        rng = np.random.default_rng([self._seed, number])
        donor = rng.integers(len(self._effects), size=n)
        condition = donor // DONORS
        kind = np.asarray(self._types.cat.codes)[rng.integers(len(self._types), size=n)]
        parents, depth = np.empty((n, PARENTS), dtype=np.int64), np.empty(n)
        for c in np.unique(condition):
            for k in np.unique(kind):
                here = np.flatnonzero((condition == c) & (kind == k))
                real = np.flatnonzero((self._types.cat.codes == k) & (self._conditions.cat.codes == c))
                if not len(real):
                    # A type that was seen in one condition only keeps its cells in the other.
                    real = np.flatnonzero(self._types.cat.codes == k)
                parents[here] = rng.choice(real, (len(here), PARENTS))
                depth[here] = self._depth[rng.choice(real, len(here))]
        rows = np.repeat(np.arange(n), PARENTS)
        mixed = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, parents.ravel()))) @ self._counts
        share = depth / self._depth[parents].sum(axis=1)
        per_value = np.repeat(np.arange(n), np.diff(mixed.indptr))
        chance = share[per_value] * self._effects[donor[per_value], mixed.indices]
        mixed.data = rng.binomial(mixed.data.astype(np.int64), np.minimum(chance, 1.0)).astype(np.float32)
        mixed.eliminate_zeros()
        mixed.sort_indices()
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical.from_codes(kind, self._types.cat.categories),
                "condition": pd.Categorical.from_codes(condition, self._conditions.cat.categories),
                "donor": pd.Categorical.from_codes(donor, [f"donor{d:02d}" for d in range(len(self._effects))]),
            },
            index=[f"cell{number}_{i}" for i in range(n)],
        )
        return anndata.AnnData(mixed, obs=obs, var=pd.DataFrame(index=self.genes))

    def blocks(self, n_cells: int) -> Iterator[anndata.AnnData]:
        """All cells, a block at a time."""
        for number, start in enumerate(range(0, n_cells, BLOCK)):
            yield self.block(number, min(BLOCK, n_cells - start))


def make(source: Path, path: Path, n_cells: int, n_genes: int | None = None, seed: int = 0) -> Path:
    """Write `n_cells` cells to an .h5ad file, or in blocks to a .zarr folder; what is there already is kept."""
    if path.exists():
        return path
    made = Mixtures(source, n_genes, seed).blocks(n_cells)
    if path.suffix == ".zarr":
        _append(made, path)
    else:
        anndata.concat(list(made)).write_h5ad(path)
    return path


def _append(blocks: Iterator[anndata.AnnData], path: Path) -> None:
    import zarr
    from anndata.io import write_elem

    first = next(blocks)
    first.write_zarr(path)
    matrix, tables = zarr.open_group(path, mode="r+")["X"], [first.obs]
    for block in blocks:
        last = int(matrix["indptr"][-1])
        for name, values in (
            ("data", block.X.data),
            ("indices", block.X.indices),
            ("indptr", block.X.indptr[1:] + last),
        ):
            matrix[name].append(values.astype(matrix[name].dtype))
        tables.append(block.obs)
    obs = pd.concat(tables)
    matrix.attrs["shape"] = [len(obs), first.n_vars]
    write_elem(zarr.open_group(path, mode="r+"), "obs", obs)
    zarr.consolidate_metadata(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, help="only so many, those most cells express")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make(args.source, args.path, args.cells, args.genes, args.seed)


if __name__ == "__main__":
    main()
