"""What `batch=` of tl.transfer does.

    python evaluation/transfer/batches.py DATA_FOLDER

writes batches.csv beside this script (finished blocks are kept). The two sides of a run share neither a cell nor a
gene. Real batches: Kang's two donors, its two conditions with two donors each, the two mixology platforms. A planted
shift: in half of the cells of both sides every gene is multiplied by a factor of its own, exp(sd x normal). A trap:
batches that differ in nothing but in which types they hold (each type nine to one in one of them). Beside each: no
batch, the batch, the same batches permuted between cells, and the batch with shuffled texts. Nothing was chosen here.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
from _draws import Row, moved, recall, run, some
from run import halves, mixology, read

import lexicell as lx
from lexicell.core.controls import shuffled

SHIFTS = (0.5, 1.0, 2.0)


def donors(folder: Path) -> anndata.AnnData:
    whole = anndata.read_h5ad(folder / "kang_donors.h5ad").obs
    adata = read(folder, "kang_donors.h5ad", "cluster_id", None, None)
    adata.obs["sample"] = whole["sample_id"].astype(str).to_numpy()
    adata.obs["donor"] = adata.obs["sample"].str[-3:]
    return adata


def shifted(adata: anndata.AnnData, sd: float, rng: np.random.Generator) -> anndata.AnnData:
    new = adata.copy()
    second = rng.random(adata.n_obs) < 0.5
    factor = np.where(second[:, None], np.exp(sd * rng.normal(size=adata.n_vars)), 1.0)
    new.X = sp.csr_matrix(rng.poisson(adata.X.toarray() * factor).astype(np.float32))
    new.obs["n_counts"] = np.asarray(new.X.sum(axis=1)).ravel() + 1.0
    new.obs["run"] = np.where(second, "b", "a")
    return new


def skewed(adata: anndata.AnnData, rng: np.random.Generator) -> anndata.AnnData:
    kinds = sorted(set(adata.obs["label"]))
    much = np.isin(adata.obs["label"], rng.permutation(kinds)[: len(kinds) // 2])
    adata.obs["run"] = np.where(rng.random(adata.n_obs) < np.where(much, 0.9, 0.1), "b", "a")
    return adata


def main() -> None:
    folder = Path(sys.argv[1])
    cells = donors(folder)
    control = cells[cells.obs["sample"].str.startswith("ctrl")].copy()
    platforms = anndata.concat(mixology(folder), label="platform", index_unique="-")
    scenes: dict[str, tuple[anndata.AnnData, str, Any]] = {
        "Kang control, 2 donors": (control, "donor", None),
        "Kang, 2 conditions x 2 donors": (cells, "sample", None),
        "mixology, 2 platforms": (platforms, "platform", None),
        **{f"Kang control, planted {sd:g}": (control, "run", sd) for sd in SHIFTS},
        "Kang control, types unequal": (control, "run", "skewed"),
    }
    texts = {id(a): lx.emb.genes(list(a.var_names), organism="human") for a, _, _ in scenes.values()}

    def rows_of(scene: str, seed: int) -> list[Row]:
        adata, batch, planted = scenes[scene]
        genes, rng = texts[id(adata)], np.random.default_rng(seed)
        drawn = some(adata, rng, 500)
        if planted == "skewed":
            drawn = skewed(drawn, rng)
        one, other = halves(drawn, rng)
        if isinstance(planted, float):
            one, other = shifted(one, planted, rng), shifted(other, planted, rng)
        for side in (one, other):
            side.obs["permuted"] = rng.permutation(side.obs[batch].astype(str).to_numpy())
        tried = {
            "none": (genes, None), "batch": (genes, batch), "permuted batch": (genes, "permuted"),
            "none, shuffled texts": (shuffled(genes, seed=seed), None),
            "batch, shuffled texts": (shuffled(genes, seed=seed), batch),
        }  # fmt: skip
        return [
            {"batch": name, "score": recall(moved(one, other, known, batch=column, method="aligned"))}
            for name, (known, column) in tried.items()
        ]

    table = run("batches", [(s, k) for k in range(2) for s in scenes], ["data", "seed"], rows_of)
    print(table.groupby(["data", "batch"], sort=False)["score"].agg(["mean", "std"]).unstack().round(2).to_string())


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
