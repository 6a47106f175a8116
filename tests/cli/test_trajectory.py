"""lexicell trajectory, trends and progression: whole commands on a small file, one line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import lexicell as lx
from lexicell.cli import main

Lexicell = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, fork_cells: Callable[[int], anndata.AnnData]) -> Path:
    """Two hundred cells of eight donors on a fork, with expression PCA; cells of later stages lie further along."""
    adata = fork_cells(200)
    lx.emb.expression_pca(adata, n_top_genes=80)
    path = tmp_path_factory.mktemp("cli") / "cells.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def ordered(start: Path) -> Path:
    path = start.parent / "ordered.h5ad"
    main(["trajectory", str(start), "-o", str(path), "--root", "first=yes", "--use-rep", "X_expression",
          "--n-bootstraps", "5", "--n-neighbors", "12"])  # fmt: skip
    return path


def test_the_command_gives_what_the_function_gives(start: Path, ordered: Path) -> None:
    mine = anndata.read_h5ad(start)
    lx.tl.trajectory(mine, root="first=yes", use_rep="X_expression", n_bootstraps=5, n_neighbors=12)
    back = anndata.read_h5ad(ordered)
    for column in ("pseudotime", "pseudotime_low", "pseudotime_high"):
        assert np.allclose(mine.obs[f"expression_{column}"], back.obs[f"expression_{column}"], equal_nan=True)


def test_several_roots_and_a_summary(start: Path, tmp_path: Path, lexicell: Lexicell) -> None:
    code, said = lexicell(
        "trajectory", start, "-o", tmp_path / "o.h5ad", "--root", "c0", "--root", "first=yes", "--use-rep",
        "X_expression", "--n-bootstraps", 0, "--groupby", "donor",
    )  # fmt: skip
    assert code == 0, said
    assert "Root sensitivity: " in said
    adata = anndata.read_h5ad(tmp_path / "o.h5ad")
    assert {"expression_pseudotime", "expression_branch"} <= set(adata.obs)
    assert adata.uns["expression_paga"]["groups"] == "donor"
    assert len(adata.uns["lexicell"]["X_expression"]["trajectory"]["params"]["root"]) == 2


def test_trends_over_donors_need_donors_with_enough_cells(ordered: Path, tmp_path: Path, lexicell: Lexicell) -> None:
    adata = anndata.read_h5ad(ordered)
    adata.obs["group"] = [f"d{i % 4}" for i in range(adata.n_obs)]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    asked = ["-o", tmp_path / "o.h5ad", "--use-rep", "X_expression", "--no-words", "--table", tmp_path / "t.tsv"]
    code, said = lexicell("trends", tmp_path / "cells.h5ad", *asked, "--donor", "group")
    assert code == 0, said
    assert "p and q are over donors" in said
    assert pd.read_csv(tmp_path / "t.tsv", sep="\t")["q"].min() < 0.05
    code, said = lexicell("trends", ordered, *asked, "--donor", "stage")
    assert (code, "at least 3 donors of 20 cells each" in said) == (2, True), said


def test_along_the_trajectory(ordered: Path, tmp_path: Path, lexicell: Lexicell) -> None:
    out, table = tmp_path / "o.h5ad", tmp_path / "t.tsv"
    code, said = lexicell("trends", ordered, "-o", out, "--use-rep", "X_expression", "--no-words", "--table", table)
    assert code == 0, said
    assert "descriptive" in said
    top = pd.read_csv(table, sep="\t")["feature"][:20]
    assert top.isin([f"g{i}" for i in range(60)]).all()
    code, said = lexicell(
        "progression", ordered, "-o", out, "--use-rep", "X_expression", "--condition", "stage", "--donor", "donor",
        "--stage", "well", "--stage", "ill", "--table", table,
    )  # fmt: skip
    assert code == 0, said
    assert pd.read_csv(table, sep="\t")["p"].iloc[0] < 0.05
    genes = anndata.read_h5ad(out).uns["lexicell"]["X_expression"]["progression"]["genes"]
    assert genes["part"].sum() == pytest.approx(1, abs=1e-5)
    assert genes["gene"].iloc[0] in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["trajectory", "--root", "c999"], "no cell 'c999' in obs_names; the nearest are 'c99'", id="cell"),
        pytest.param(["trajectory", "--root", "stage=wel"], "Did you mean 'well'", id="value"),
        pytest.param(
            ["trajectory", "--root", "markers:g1,zz"],
            "no gene 'zz' in this data; no gene has a similar name",
            id="marker",
        ),
        pytest.param(["trajectory", "--root", "c0", "--n-neighbors", "150"], "half the number of cells", id="near"),
        pytest.param(["trends", "--use-rep", "X_no"], "no result 'trajectory'", id="key"),
        pytest.param(["trends", "--features", "zz"], "genes not in the data: 'zz'", id="gene"),
        pytest.param(
            ["progression", "--condition", "stage", "--donor", "donor"], "first to last with --stage", id="no-order"
        ),
    ],
)
def test_mistakes_are_one_line(
    ordered: Path, tmp_path: Path, lexicell: Lexicell, words: list[str], message: str
) -> None:
    code, said = lexicell(words[0], ordered, "-o", tmp_path / "o.h5ad", "--use-rep", "X_expression", *words[1:])
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "o.h5ad").exists()
