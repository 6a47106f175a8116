"""Files that are damaged, and files that would have been read as something else: one line each, nothing written.

Every damage is done to a file of cells on disk. A damage that compiled code follows ends the whole test run, and so
cannot be overlooked. `LEXICELL_FAULTS=long` sends every damage through every command instead of two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._io import write_cells

pytestmark = pytest.mark.filterwarnings("ignore:.*text dimensions are used:UserWarning")

Run = Callable[..., tuple[int, str]]
LONG = os.environ.get("LEXICELL_FAULTS") == "long"

SYMBOLS = [
    symbol
    for line in (
        "ACTB GAPDH CD3D CD3E CD3G CD4 CD8A CD8B IL7R CCR7 LEF1 TCF7 NKG7 GNLY GZMB PRF1 KLRD1 MS4A1 CD79A CD79B",
        "CD19 CD22 PAX5 CD14 LYZ S100A8 S100A9 FCGR3A CST3 FCER1A SOD1 TARDBP FUS NEFL CHAT STAT1 ISG15 IFI6 MX1 OAS1",
    )
    for symbol in line.split()
]
N = 40


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty cells of forty genes (square, so that CSR can be taken for CSC), embedded, and a 10x file of them."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(1)
    counts = sp.csr_matrix(rng.poisson(1.5, (N, N)).astype(np.float32))
    obs = pd.DataFrame(
        {"kind": pd.Categorical(np.array(["one", "two"])[np.arange(N) % 2]), "depth": counts.sum(axis=1).A1},
        index=[f"c{i}" for i in range(N)],
    )
    adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=SYMBOLS))
    adata.layers["counts"] = counts.copy()
    genes = lx.GeneEmbedding.from_vectors(SYMBOLS, rng.normal(size=(N, 8)))
    genes.save(folder / "genes.h5ad")
    lx.emb.cells(adata, genes)
    write_cells(adata, folder / "cells.h5ad")
    by_gene = counts.T.tocsc()
    with h5py.File(folder / "tenx.h5", "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array([f"c{i}" for i in range(N)], dtype="S")
        group["data"], group["indices"], group["indptr"] = by_gene.data.astype(int), by_gene.indices, by_gene.indptr
        group["shape"] = np.array([N, N])
        features = group.create_group("features")
        for name, values in (
            ("name", SYMBOLS),
            ("id", SYMBOLS),
            ("feature_type", ["Gene Expression"] * N),
            ("genome", ["G"] * N),
        ):
            features[name] = np.array(values, dtype="S")
    return folder


def _replace(group: Any, name: str, values: Any) -> None:
    attributes = dict(group[name].attrs) if name in group else {}
    del group[name]
    group[name] = values
    group[name].attrs.update(attributes)


def _past_the_data(x: Any) -> None:
    x["indptr"][-1] = len(x["data"]) + 10**6


def _falling(x: Any) -> None:
    x["indptr"][5] = x["indptr"][3] - 1


def _far_indptr(x: Any) -> None:
    x["indptr"][5] = 10**9


def _negative_indptr(x: Any) -> None:
    x["indptr"][5] = -7


def _negative_index(x: Any) -> None:
    x["indices"][7] = -3


def _huge_index(x: Any) -> None:
    x["indices"][7] = 2**31 - 1


def _index_one_too_large(x: Any) -> None:
    x["indices"][7] = N


def _short_data(x: Any) -> None:
    _replace(x, "data", x["data"][:-9])


def _short_indices(x: Any) -> None:
    _replace(x, "indices", x["indices"][:-9])


def _short_indptr(x: Any) -> None:
    _replace(x, "indptr", x["indptr"][:-3])


def _no_indptr(x: Any) -> None:
    del x["indptr"]


def _indices_of_text(x: Any) -> None:
    _replace(x, "indices", np.array([b"x"] * len(x["indices"])))


SPARSE = [
    _past_the_data, _falling, _far_indptr, _negative_indptr, _negative_index, _huge_index, _index_one_too_large,
    _short_data, _short_indices, _short_indptr, _no_indptr, _indices_of_text,
]  # fmt: skip


def _in_x(damage: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda file: damage(file["X"] if "X" in file else file["matrix"])


def _more_cells_in_x(file: Any) -> None:
    file["X"].attrs["shape"] = np.array([N + 5, N])


def _fewer_genes(file: Any) -> None:
    index = file["var"].attrs["_index"]
    _replace(file["var"], index, file["var"][index][:-4])


def _short_column(file: Any) -> None:
    _replace(file["obs"], "depth", file["obs/depth"][:-4])


def _short_codes(file: Any) -> None:
    _replace(file["obs/kind"], "codes", file["obs/kind/codes"][:-4])


def _too_few_categories(file: Any) -> None:
    _replace(file["obs/kind"], "categories", file["obs/kind/categories"][:1])


def _negative_codes(file: Any) -> None:
    file["obs/kind/codes"][3] = -9


def _link_to_another_file(file: Any) -> None:
    del file["X/data"]
    file["X/data"] = h5py.ExternalLink("/etc/hostname", "/data")


def _values_in_another_file(file: Any) -> None:
    values = file["X/data"][:]
    del file["X/data"]
    file["X"].create_dataset("data", values.shape, values.dtype, external=[("/etc/passwd", 0, values.nbytes)])


def _no_obs(file: Any) -> None:
    del file["obs"]


def _obs_is_an_array(file: Any) -> None:
    del file["obs"]
    file["obs"] = np.arange(N)


H5AD = {f.__name__.strip("_"): f for f in (
    _more_cells_in_x, _fewer_genes, _short_column, _short_codes, _too_few_categories, _negative_codes,
    _link_to_another_file, _values_in_another_file, _no_obs, _obs_is_an_array,
)}  # fmt: skip
H5AD |= {f"sparse-{f.__name__.strip('_')}": _in_x(f) for f in SPARSE}
TENX = {f"sparse-{f.__name__.strip('_')}": _in_x(f) for f in SPARSE}


def _more_barcodes(file: Any) -> None:
    _replace(file["matrix"], "barcodes", np.array([b"x"] * (N + 3)))


def _fewer_features(file: Any) -> None:
    _replace(file["matrix/features"], "name", file["matrix/features/name"][:-3])


TENX |= {"more-barcodes": _more_barcodes, "fewer-features": _fewer_features}

COMMANDS = {
    "embed": ["embed", "FILE", "--genes", "genes.h5ad"],
    "stream": ["embed", "FILE", "--genes", "genes.h5ad", "--stream"],
    "cluster": ["cluster", "FILE"],
    "report": ["report", "FILE"],
    "concepts": ["concepts", "FILE", "-q", "axon", "--stream"],
}
SAMPLE = {"embed", "stream"}


CASES = [
    pytest.param(name, damage, kind, command, id=f"{kind}-{name}-{command}")
    for kind, damages in (("cells.h5ad", H5AD), ("tenx.h5", TENX))
    for name, damage in damages.items()
    for command in COMMANDS
    if (LONG or command in SAMPLE) and not (kind == "tenx.h5" and command in ("cluster", "report"))
]


@pytest.mark.parametrize(("name", "damage", "kind", "command"), CASES)
def test_a_damaged_file_is_refused(
    name: str, damage: Callable[[Any], None], kind: str, command: str, whole: Path, tmp_path: Path, lexicell: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / kind).write_bytes((whole / kind).read_bytes())
    (tmp_path / "genes.h5ad").write_bytes((whole / "genes.h5ad").read_bytes())
    with h5py.File(tmp_path / kind, "r+") as file:
        damage(file)
    monkeypatch.chdir(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*")}
    output = "out.html" if command == "report" else "out.h5ad"
    words = [kind if word == "FILE" else word for word in COMMANDS[command]]
    code, said = lexicell(*words, "-o", output)
    lines = said.strip().splitlines()
    assert code == 2, said
    assert len(lines) == 1, said
    assert lines[0].startswith("lexicell: error: ")
    assert "damaged" in said or "cannot be read" in said or "holds no cells" in said or "old version" in said
    assert {p: p.read_bytes() for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_sparse_matrices_in_memory_are_looked_at_before_compiled_code_follows_them(kind: str) -> None:
    from lexicell._errors import InputError

    genes = lx.GeneEmbedding.from_vectors(SYMBOLS, np.ones((N, 4)))
    for array, place, value in (("indices", 3, -1), ("indices", 3, N), ("indices", 3, 2**30), ("indptr", 2, 10**6)):
        X = sp.random(N, N, 0.3, format=kind, random_state=0)
        X.data[:] = 1
        getattr(X, array)[place] = value
        adata = anndata.AnnData(sp.csr_matrix((N, N)), var=pd.DataFrame(index=SYMBOLS))
        adata.layers["counts"] = X
        with pytest.raises(InputError, match="a sparse matrix is damaged"):
            lx.emb.cells(adata, genes, layer="counts")
