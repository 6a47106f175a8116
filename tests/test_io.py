"""Files of cells: what can be read, what is refused, and that no half file is ever left."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from lexicell._errors import InputError
from lexicell._io import check_writable, read_cells, write_aside, write_cells


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


def test_a_missing_file_names_its_neighbours(adata: anndata.AnnData, tmp_path: Path) -> None:
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
        write_aside(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_unknown_output_format_is_refused(adata: anndata.AnnData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.h5ad or \.zarr"):
        write_cells(adata, tmp_path / "cells.loom")


def test_a_path_below_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_writable(tmp_path / "file" / "out.h5ad")
    check_writable(tmp_path / "new" / "deep" / "out.h5ad")
