"""Files of cells: what can be read, what is refused, and that no half file is ever left."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from lexicell._errors import InputError
from lexicell._files import write_file
from lexicell._io import check_cells, read_cells, write_cells, write_table


@pytest.fixture
def adata() -> anndata.AnnData:
    cells = anndata.AnnData(np.eye(3, dtype=np.float32))
    cells.obs_names = ["a", "b", "c"]
    cells.var_names = ["x", "y", "z"]
    return cells


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.zarr"])
def test_what_is_written_is_read_back(adata: anndata.AnnData, name: str, tmp_path: Path) -> None:
    write_cells(adata, tmp_path / "new" / name)
    write_cells(adata, tmp_path / "new" / name)  # over itself
    again = read_cells(tmp_path / "new" / name)
    np.testing.assert_array_equal(again.X, adata.X)
    assert [p.name for p in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("missing.h5ad", None, "no file", id="missing"),
        pytest.param("cells.csv", b"a,b", "is not a file that can be read; give one of .h5ad", id="suffix"),
        pytest.param("cells.h5ad", b"not hdf5", "cannot be read as .h5ad", id="broken-h5ad"),
        pytest.param("cells.h5", b"", "cannot be read as .h5", id="broken-10x"),
        pytest.param("cells.zarr", b"", "cannot be read as .zarr", id="broken-zarr"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_cells(tmp_path / name)


def test_a_missing_file_names_its_neighbors(adata: anndata.AnnData, tmp_path: Path) -> None:
    write_cells(adata, tmp_path / "cells.h5ad")
    with pytest.raises(InputError, match=r"the folder has cells\.h5ad"):
        read_cells(tmp_path / "cell.h5ad")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table.tsv"
    target.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        write_file(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_unknown_output_format_is_refused(adata: anndata.AnnData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.h5ad or \.zarr"):
        write_cells(adata, tmp_path / "cells.loom")


def test_a_path_below_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_cells(tmp_path / "file" / "out.h5ad")
    check_cells(tmp_path / "new" / "deep" / "out.h5ad")


def test_strings_of_pandas_3_are_read_and_written_again(adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.obs["donor"] = pd.array([f"d{i % 2}" for i in range(len(adata))], dtype="string")
    adata.obs["note"] = pd.array([None] + [f"n{i}" for i in range(1, len(adata))], dtype="string")
    adata.obs.index = adata.obs.index.astype("string")
    adata.uns["deep"] = {"table": pd.DataFrame({"word": pd.array(["a", "b"], dtype="string")})}
    # As anndata 0.13 writes them with pandas 3.
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata.write_h5ad(tmp_path / "new.h5ad")
    found = read_cells(tmp_path / "new.h5ad")
    for name in ("again.h5ad", "again.zarr"):
        write_cells(found, tmp_path / name)
        again = read_cells(tmp_path / name)
        assert again.obs_names.tolist() == adata.obs_names.tolist()
        assert again.obs["donor"].tolist() == adata.obs["donor"].tolist()
        assert again.obs["note"].isna().tolist() == adata.obs["note"].isna().tolist()
        assert again.uns["deep"]["table"]["word"].tolist() == ["a", "b"]
    with h5py.File(tmp_path / "again.h5ad") as file:
        assert file["obs"][file["obs"].attrs["_index"]].attrs["encoding-type"] == "string-array"


def test_a_column_of_seuratdisk_does_not_stop_the_writing(adata: anndata.AnnData, tmp_path: Path) -> None:
    adata.raw = adata.copy()
    write_cells(adata, tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "cells.h5ad", "r+") as file:
        table = file["raw/var"]
        names = table[table.attrs["_index"]][:]
        table.attrs["_index"] = "gene_names"
        table["gene_names"] = names
        table["gene_names"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        table.attrs["column-order"] = [*table.attrs["column-order"], "_index"]
    found = read_cells(tmp_path / "cells.h5ad")
    write_cells(found, tmp_path / "again.h5ad")
    assert "index_" in read_cells(tmp_path / "again.h5ad").raw.var


def test_texts_that_a_spreadsheet_would_run_are_escaped(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"word": ["=1+1", "@SUM(A1)", "plain"], "effect": [-1.5, 2.0, 0.0], "-x": pd.Categorical(["+a", "b", "b"])},
        index=["-2", "g", "=h"],
    )
    before = table.copy()
    write_table(table, tmp_path / "table.tsv", index=True, index_label="gene")
    lines = (tmp_path / "table.tsv").read_text().splitlines()
    assert lines == ["gene\tword\teffect\t'-x", "'-2\t'=1+1\t-1.5\t'+a", "g\t'@SUM(A1)\t2.0\tb", "'=h\tplain\t0.0\tb"]
    pd.testing.assert_frame_equal(table, before)
