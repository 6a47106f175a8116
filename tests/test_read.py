"""Every kind of file that people have is read to the same counts, names and annotation."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError

GENES = ["SOD1", "TARDBP", "FUS", "CHAT", "NEFL"]
IDS = ["ENSG00000142168", "ENSG00000120948", "ENSG00000089280", "ENSG00000070748", "ENSG00000277586"]
CELLS = ["AAAC-1", "AAAG-1", "AAAT-1"]
COUNTS = np.array([[1, 0, 3, 0, 2], [0, 4, 0, 1, 0], [5, 0, 0, 0, 7]], dtype=np.float32)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def write_10x(
    folder: Path, prefix: str = "", features: str = "features.tsv", end: str = ".gz", columns: int = 3
) -> Path:
    matrix = folder / f"{prefix}matrix.mtx"
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.mmwrite(matrix, sp.coo_matrix(COUNTS.T.astype(int)))
    if end:
        _write(folder / f"{matrix.name}.gz", matrix.read_text())
        matrix.unlink()
    rows = [[i, g, "Gene Expression"][:columns] if columns > 1 else [g] for i, g in zip(IDS, GENES, strict=True)]
    _write(folder / f"{prefix}{features}{end}", "".join("\t".join(row) + "\n" for row in rows))
    _write(folder / f"{prefix}barcodes.tsv{end}", "\n".join(CELLS) + "\n")


def assert_same(adata: anndata.AnnData) -> None:
    assert list(adata.var_names) == GENES
    assert list(adata.obs_names) == CELLS
    np.testing.assert_array_equal(sp.csr_matrix(adata.X).toarray(), COUNTS)


@pytest.mark.parametrize(
    ("options", "below"),
    [
        pytest.param({}, "", id="cellranger-3"),
        pytest.param({"features": "genes.tsv", "end": "", "columns": 2}, "", id="cellranger-2"),
        pytest.param({"features": "genes.tsv", "end": "", "columns": 2}, "GRCh38", id="cellranger-2-genome-folder"),
        pytest.param({"end": ""}, "", id="unpacked"),
        pytest.param({"features": "genes.tsv"}, "", id="genes-gzipped"),
        pytest.param({"prefix": "GSM123_"}, "", id="prefix"),
        pytest.param({"columns": 1}, "", id="one-column"),
        pytest.param({}, "filtered_feature_bc_matrix", id="outs"),
    ],
)
def test_a_10x_folder_of_any_layout(options: dict[str, object], below: str, tmp_path: Path) -> None:
    write_10x(tmp_path / "sample" / below, **options)  # type: ignore[arg-type]
    adata = lx.read(tmp_path / "sample")
    assert_same(adata)
    if options.get("columns", 3) != 1:
        assert list(adata.var["gene_ids"]) == IDS


def test_one_of_several_matrices_is_named(tmp_path: Path) -> None:
    for prefix in ("A_", "B_"):
        write_10x(tmp_path, prefix)
    with pytest.raises(InputError, match=r"2 matrices; name one of them \('A_matrix.mtx.gz'"):
        lx.read(tmp_path)
    assert_same(lx.read(tmp_path / "A_matrix.mtx.gz"))


def test_a_10x_folder_with_too_few_barcodes_is_refused(tmp_path: Path) -> None:
    write_10x(tmp_path, end="")
    (tmp_path / "barcodes.tsv").write_text("AAAC-1\n")
    with pytest.raises(InputError, match=r"barcodes.tsv' has 1 lines, and 'matrix.mtx' 3"):
        lx.read(tmp_path)


def test_a_folder_without_a_matrix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no 10x matrix"):
        lx.read(tmp_path)


@pytest.mark.parametrize("name", ["cells.csv", "cells.tsv", "cells.csv.gz", "cells.txt"])
@pytest.mark.parametrize("names", [GENES, IDS], ids=["symbols", "ensembl"])
def test_a_table_of_text_is_read_either_way_round(name: str, names: list[str], tmp_path: Path) -> None:
    table = pd.DataFrame(COUNTS, index=CELLS, columns=names)
    separator = "," if "csv" in name else "\t"
    table.to_csv(tmp_path / name, sep=separator)
    cells = lx.read(tmp_path / name)
    table.T.to_csv(tmp_path / name, sep=separator)
    with pytest.warns(UserWarning, match="so it was transposed"):
        turned = lx.read(tmp_path / name)
    for adata in (cells, turned):
        assert list(adata.var_names) == GENES  # also where the file has Ensembl ids
        assert list(adata.obs_names) == CELLS
        np.testing.assert_array_equal(adata.X.toarray(), COUNTS)


def test_a_table_of_annotation_is_no_matrix(tmp_path: Path) -> None:
    pd.DataFrame({"cell": CELLS, "type": ["A", "B", "C"]}).to_csv(tmp_path / "obs.csv", index=False)
    with pytest.raises(InputError, match=r"1 columns hold text \('type'\)"):
        lx.read(tmp_path / "obs.csv")


def test_a_loom_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "cells.loom", "w") as file:
        file["matrix"] = COUNTS.T
        text = h5py.string_dtype()
        file.create_dataset("row_attrs/Gene", data=GENES, dtype=text)
        file.create_dataset("row_attrs/Accession", data=IDS, dtype=text)
        file.create_dataset("col_attrs/CellID", data=CELLS, dtype=text)
        file["col_attrs/n"] = np.arange(3)
    adata = lx.read(tmp_path / "cells.loom")
    assert_same(adata)
    assert list(adata.var["Accession"]) == IDS
    assert list(adata.obs["n"]) == [0, 1, 2]


def _cells() -> anndata.AnnData:
    return anndata.AnnData(sp.csr_matrix(COUNTS), pd.DataFrame(index=CELLS), pd.DataFrame(index=GENES))


def test_the_rna_of_an_h5mu_file(tmp_path: Path) -> None:
    from anndata.io import write_elem

    with h5py.File(tmp_path / "cells.h5mu", "w") as file:
        write_elem(file.require_group("mod"), "rna", _cells())
        write_elem(file.require_group("mod"), "prot", anndata.AnnData(np.ones((3, 2), dtype=np.float32)))
        everything = pd.DataFrame({"cell_type": ["C", "B", "A"], "rna:n": [1, 2, 3]}, index=CELLS[::-1])
        write_elem(file, "obs", everything)
    adata = lx.read(tmp_path / "cells.h5mu")
    assert_same(adata)
    assert adata.obs.to_dict("list") == {"cell_type": ["A", "B", "C"]}
    with h5py.File(tmp_path / "cells.h5mu", "r+") as file:
        del file["mod/rna"]
    with pytest.raises(InputError, match="no modality 'rna'; it has 'prot'"):
        lx.read(tmp_path / "cells.h5mu")


def test_samples_are_read_together(tmp_path: Path) -> None:
    write_10x(tmp_path / "one" / "outs" / "filtered_feature_bc_matrix")
    other = _cells()[:, [1, 0, 2, 3]].copy()
    other.write_h5ad(tmp_path / "two.h5ad")
    table = pd.DataFrame({"path": ["one/outs", "two.h5ad"], "donor": [7, 8], "condition": ["ctrl", "als"]})
    table.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    with pytest.warns(UserWarning, match="4 genes are in all samples"):
        adata = lx.read(tmp_path / "samples.tsv")
    assert adata.obs_names.tolist() == [f"{c}-{s}" for s in ("one", "two") for c in CELLS]
    assert adata.obs["sample"].tolist() == ["one"] * 3 + ["two"] * 3
    assert adata.obs["donor"].tolist() == [7] * 3 + [8] * 3
    assert adata.obs["condition"].tolist() == ["ctrl"] * 3 + ["als"] * 3
    np.testing.assert_array_equal(adata[:, GENES[:4]].X.toarray(), np.vstack([COUNTS[:, :4]] * 2))


def test_gene_names_that_occur_twice_are_numbered(tmp_path: Path) -> None:
    # anndata warns too, at every step on the way.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        twice = pd.DataFrame(index=[*GENES[:4], "SOD1"])
        anndata.AnnData(sp.csr_matrix(COUNTS), var=twice).write_h5ad(tmp_path / "twice.h5ad")
        assert lx.read(tmp_path / "twice.h5ad").var_names[-1] == "SOD1-1"
    assert any("occur more than once ('SOD1')" in str(one.message) for one in told)
