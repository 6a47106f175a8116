"""Files as they are found in the wild: each is read to the same bits as its plain twin, or refused in one line.

The scripts that make them lie beside the folder of real data sets; without them these tests are skipped. Every file
goes through `lexicell embed`, in memory and, with `LEXICELL_FAULTS=long`, from file to file and through `lexicell run`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest

# What is told of odd files is looked at in what the command says; here a warning must not end it.
pytestmark = pytest.mark.filterwarnings("default")

Run = Callable[..., tuple[int, str]]
LONG = os.environ.get("LEXICELL_FAULTS") == "long"

# Beginning of a name -> words of the refusal from file to file, where the file is read whole.
NOT_STREAMED = {
    **dict.fromkeys(("40", "41", "42", "43", "50", "51"), "from file to file: .h5ad"),
    "02": "--use-raw",
    "12": "unique",
    "31": "--layer counts",
}
# File -> words of the refusal; "" where it is read.
FILES = {
    "00_plain.h5ad": "",
    "01_versioned.h5ad": "",
    "02_scaled.h5ad": "",
    "03_indexclash.h5ad": "",
    "04_bytes.h5ad": "",
    "05_nan.h5ad": "",
    "06_unused.h5ad": "",
    "07_numeric.h5ad": "",
    "08_slash.h5ad": "",
    "09_int64.h5ad": "",
    "10_csc.h5ad": "",
    "11_unsorted.h5ad": "",
    "12_dupvars.h5ad": "",
    "13_aliases.h5ad": "",
    "14_excel.h5ad": "",
    "15_uint16.h5ad": "",
    "16_int8.h5ad": "negative values",
    "17_nanX.h5ad": "cell 'c3', gene 'MBP'",
    "18_negX.h5ad": "negative values",
    "19_zerocell.h5ad": "",
    "20_onecell.h5ad": "",
    "21_nocell.h5ad": "0 cells",
    "22_log2cpm.h5ad": "log2",
    "24_adt.h5ad": "",
    "25_dupobs.h5ad": "",
    "26_onedonor.h5ad": "",
    "27_1v1.h5ad": "",
    "28_featname.h5ad": "",
    "29_emptyname.h5ad": "",
    "30_f16.h5ad": "",
    "31_noX.h5ad": "",
    "32_uns.h5ad": "",
    "40_mtx_v3": "",
    "41_mtx_v2": "",
    "42_mtx_plain": "",
    "43_mtx_onecol": "",
    "50_cells.csv": "",
    "51_genes_by_cells.csv": "",
    "60_10x_dup.h5": "",
    "61_10x_adt.h5": "",
}

# File -> what must be said of it though it is read.
TOLD = {
    "02_scaled.h5ad": "matrix      raw (log1p), 30 genes; X holds scaled values",
    "31_noX.h5ad": "matrix      layer 'counts' (counts), 30 genes; X holds nothing",
    "12_dupvars.h5ad": "1 gene names of '12_dupvars.h5ad' occur more than once ('SOD1')",
    "51_genes_by_cells.csv": "the rows of '51_genes_by_cells.csv' are genes, so it was transposed",
    "24_adt.h5ad": "Antibody Capture",
    "61_10x_adt.h5": "Antibody Capture",
}


@pytest.fixture(scope="session")
def odd(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    scripts = shared_data.parent / "odd_inputs"
    if not scripts.is_dir():
        pytest.skip("the scripts that make odd files are not here")
    folder = tmp_path_factory.mktemp("odd")
    for name in ("make.py", "make_10x.py"):
        done = subprocess.run([sys.executable, scripts / name], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "odd"


def test_every_file_is_named(odd: Path) -> None:
    assert {p.name for p in odd.iterdir()} == set(FILES)


@pytest.mark.parametrize("stream", [False, True] if LONG else [False])
@pytest.mark.parametrize("name", FILES)
def test_it_is_embedded_or_refused_in_one_line(
    name: str, stream: bool, odd: Path, tmp_path: Path, lexicell: Run
) -> None:
    words = FILES[name]
    if stream:
        words = NOT_STREAMED.get(name[:2], words)
    output = tmp_path / "out.h5ad"
    code, said = lexicell("embed", odd / name, "-o", output, *(["--stream"] * stream))
    if words:
        assert code == 2, said
        told = [line for line in said.strip().splitlines() if not line.startswith("lexicell: warning: ")]
        assert len(told) == 1, said
        assert words in told[0]
        assert not list(tmp_path.iterdir())
    else:
        assert code == 0, said
        found = anndata.read_h5ad(output)
        assert np.isfinite(found.obsm["X_text"]).all()
        n_cells = len(anndata.read_h5ad(odd / name)) if name.endswith("h5ad") else {"6": 40}.get(name[0], 60)
        assert len(found) == n_cells
        assert stream or TOLD.get(name, "") in said


@pytest.mark.parametrize(
    "name", ["03_indexclash.h5ad", "04_bytes.h5ad", "06_unused.h5ad", "08_slash.h5ad", "32_uns.h5ad"]
)
def test_a_run_reaches_its_report(name: str, odd: Path, tmp_path: Path, lexicell: Run) -> None:
    if not LONG and name != "08_slash.h5ad":
        pytest.skip("only with LEXICELL_FAULTS=long")
    code, said = lexicell("run", odd / name, "-o", tmp_path / "out", "--cell-type", "cell_type")
    assert code == 0, said
    assert (tmp_path / "out" / "report.html").is_file()


def _embedded(path: Path, output: Path, lexicell: Run) -> np.ndarray:
    code, said = lexicell("embed", path, "-o", output)
    assert code == 0, said
    return np.asarray(anndata.read_h5ad(output).obsm["X_text"])


def test_storage_changes_no_bit(odd: Path, tmp_path: Path, lexicell: Run) -> None:
    """CSC, 64-bit indices and half precision of the same counts; 09, 10 and 30 are drawn anew by the script."""
    for name in ("09_int64.h5ad", "10_csc.h5ad", "11_unsorted.h5ad", "30_f16.h5ad"):
        plain = anndata.read_h5ad(odd / name)
        dense = plain.X.toarray() if hasattr(plain.X, "toarray") else plain.X
        plain.X = np.asarray(dense, dtype=np.float32)
        plain.write_h5ad(tmp_path / name)
        np.testing.assert_array_equal(
            _embedded(odd / name, tmp_path / "odd.h5ad", lexicell),
            _embedded(tmp_path / name, tmp_path / "plain.h5ad", lexicell),
        )


def test_antibodies_change_nothing_and_are_named(odd: Path, tmp_path: Path, lexicell: Run) -> None:
    for name in ("24_adt.h5ad", "61_10x_adt.h5"):
        code, said = lexicell("embed", odd / name, "-o", tmp_path / "with.h5ad")
        assert code == 0, said
        assert "not genes (Antibody Capture)" in said
    adata = anndata.read_h5ad(odd / "24_adt.h5ad")
    adata[:, adata.var["feature_types"] == "Gene Expression"].copy().write_h5ad(tmp_path / "genes.h5ad")
    np.testing.assert_array_equal(
        _embedded(odd / "24_adt.h5ad", tmp_path / "with.h5ad", lexicell),
        _embedded(tmp_path / "genes.h5ad", tmp_path / "without.h5ad", lexicell),
    )


def test_a_name_that_is_missing_has_no_text(odd: Path, tmp_path: Path, lexicell: Run) -> None:
    code, said = lexicell("coverage", odd / "29_emptyname.h5ad", "-o", tmp_path / "coverage.tsv")
    assert code == 0, said
    assert "28 of 30 genes have a text" in said


def test_coverage_of_a_value_that_is_none_is_refused(odd: Path, tmp_path: Path, lexicell: Run) -> None:
    code, said = lexicell("coverage", odd / "17_nanX.h5ad", "-o", tmp_path / "coverage.tsv")
    assert code == 2
    assert "cell 'c3', gene 'MBP': the value is nan" in said
    assert not list(tmp_path.iterdir())


def test_a_run_on_a_handful_of_genes_is_refused_unless_told(odd: Path, tmp_path: Path, lexicell: Run) -> None:
    adata = anndata.read_h5ad(odd / "00_plain.h5ad")
    adata.var_names = [*adata.var_names[:6], *(f"zz{i}" for i in range(24))]
    adata.write_h5ad(tmp_path / "few.h5ad")
    code, said = lexicell("run", tmp_path / "few.h5ad", "-o", tmp_path / "out")
    assert code == 2
    assert "only 6 of 30 genes have a text" in said
    assert "--min-genes 6" in said
    assert not (tmp_path / "out").exists()
