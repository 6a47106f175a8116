"""Help that fits a screen, examples that parse, guessed names, files of studies, and looking before doing anything."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import anndata
import click
import numpy as np
import pandas as pd
import pytest

import lexicell as lx
from lexicell.cli import cli
from lexicell.cli._help import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore:.*text dimensions are used:UserWarning")

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    adata = lx.datasets.pbmc68k_counts()
    keep = adata.obs["cell_type"].isin(["Dendritic", "CD14+ Monocyte"]).to_numpy()
    adata = adata[np.flatnonzero(keep)[:120]].copy()
    adata.obs["disease"] = pd.Categorical(np.tile(["normal", "ALS"], 60))
    adata.obs["donor_id"] = [f"d{i % 10}" for i in range(120)]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_the_help_fits_a_screen_and_no_line_is_cut(lexicell: Run) -> None:
    code, said = lexicell("--help")
    assert code == 0
    lines = said.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    assert "..." not in said.split("Start here:")[1]
    for name in cli.commands:
        assert sum(line.split()[:1] == [name] for line in lines) == 1, f"{name} is in no section"


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_examples_that_parse(name: str, lexicell: Run) -> None:
    command = cli.commands[name]
    assert EXAMPLES[name][0] in lexicell(name, "--help")[1]
    for example in EXAMPLES[name]:
        program, called, *words = shlex.split(example)
        assert (program, called) == ("lexicell", name)
        if any(word.endswith(".toml") for word in words):
            continue  # needs the file
        context = click.Context(command, info_name=name)
        command.parse_args(context, words) if not isinstance(command, click.Group) else command.commands[words[0]]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        pytest.param(["run", "cells.h5ad"], "For example: lexicell run cells.h5ad", id="no-output"),
        pytest.param(["run"], "Missing argument 'CELLS'. For example: lexicell run", id="no-cells"),
        pytest.param(["run", "cell.h5ad", "-o", "out"], "the folder has cells.h5ad", id="misspelled-file"),
        pytest.param(["umap", "cells.h5ad"], "Try 'lexicell cluster'", id="guessed-command"),
        pytest.param(["help"], "Try 'lexicell --help'", id="help"),
        pytest.param(["clusters", "cells.h5ad"], "Did you mean 'cluster'", id="misspelled-command"),
        pytest.param(["run", "cells.h5ad", "-o", "out", "--celltype", "x"], "--cell-type", id="misspelled-option"),
        pytest.param(
            ["run", "cells.h5ad", "-o", "out", "--cell-type", "celltype"], "Did you mean 'cell_type'", id="column"
        ),
        pytest.param(
            ["run", "cells.h5ad", "-o", "out", "--cell-type", "cell_type", "--condition", "disease"],
            "missing: reference, donor",
            id="half-a-design",
        ),
        pytest.param(["embed", "cells.h5ad", "-o", "out.h5ad", "--layer", "counts"], "leave --layer out", id="layer"),
        pytest.param(
            ["embed", "cells.h5ad", "-o", "out.h5ad", "--organism", "mouse"], "--organism human", id="species"
        ),
        pytest.param(["perturb", "cells.h5ad", "-t", "sod1x", "-o", "p.tsv"], "'sod1x'", id="gene"),
        pytest.param(["report", "cells.h5ad", "-o", "r.html"], "'lexicell embed' first", id="report-of-counts"),
        pytest.param(["embed", "cells.rds", "-o", "o.h5ad"], "no file 'cells.rds'; the folder has", id="seurat"),
    ],
)
def test_a_common_mistake_is_answered_by_the_next_step(
    words: list[str], answer: str, cells: Path, lexicell: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cells.parent)
    code, said = lexicell(*words)
    assert code == 2, said
    last = said.strip().splitlines()[-1]
    assert last.startswith("lexicell: error: ")
    assert answer in last


def test_inspect_names_what_is_there_and_what_to_run(cells: Path, lexicell: Run) -> None:
    before = cells.read_bytes()
    code, said = lexicell("inspect", cells)
    assert code == 0, said
    assert "120 cells x 765 genes" in said
    assert "X: counts, 765 genes <- read by default" in said
    assert "755 have a text (human;" in said
    study = "--cell-type cell_type --condition disease --reference normal --donor donor_id"
    assert f"lexicell run {cells} {study} -o results" in said
    assert cells.read_bytes() == before
    code, said = lexicell("inspect", cells, "--json")
    found = json.loads(said)
    assert found["study"] == {
        "cell_type": "cell_type", "condition": "disease", "reference": "normal", "donor": "donor_id"
    }  # fmt: skip
    assert found["obs"]["disease"] == "2 values (ALS, normal)"


def test_inspect_lists_results_and_survives_what_cannot_be_read(cells: Path, tmp_path: Path, lexicell: Run) -> None:
    adata = anndata.read_h5ad(cells)
    lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened")
    lx.tl.concepts(adata, groupby="cell_type")
    adata.write_h5ad(tmp_path / "done.h5ad")
    said = lexicell("inspect", tmp_path / "done.h5ad")[1]
    assert "concepts of X_text: table, " in said
    assert "lexicell report" in said
    adata = anndata.AnnData(-np.ones((3, 2), dtype=np.float32))
    adata.write_h5ad(tmp_path / "bad.h5ad")
    code, said = lexicell("inspect", tmp_path / "bad.h5ad")
    assert code == 0, said
    assert "negative" in said


def test_doctor_names_versions_and_missing_extras(lexicell: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code, said = lexicell("doctor", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["lexicell"] == lx.__version__
    assert found["anndata"] == metadata.version("anndata")
    assert "sk-secret" not in said


def test_a_study_file_repeats_a_run(cells: Path, tmp_path: Path, lexicell: Run) -> None:
    out = tmp_path / "results"
    code, said = lexicell("run", cells, "--cell-type", "cell_type", "--top-n", "all", "--seed", "3", "-o", out)
    assert code == 0, said
    told = tomllib.loads((out / "study.toml").read_text())
    assert told == {"cells": "../cells.h5ad", "output": ".", "cell_type": "cell_type", "top_n": "all", "seed": 3}
    first = (out / "clusters.tsv").read_bytes()
    code, said = lexicell("run", out / "study.toml", "-o", tmp_path / "again", "--quiet")
    assert code == 0, said
    assert not [line for line in said.splitlines() if "warning" not in line]
    assert (tmp_path / "again" / "clusters.tsv").read_bytes() == first
    again = tomllib.loads((tmp_path / "again" / "study.toml").read_text())
    assert again == told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cells = ", "is no study file"),
        ("cell_type = 'a'", "does not say which cells"),
        ("cells = 'cells.h5ad'\nceltype = 'a'", "--cell-type"),
    ],
)
def test_a_study_file_with_a_mistake(text: str, words: str, cells: Path, lexicell: Run) -> None:
    file = cells.with_name("study.toml")
    file.write_text(text)
    code, said = lexicell("run", file, "-o", cells.with_name("out"))
    assert code == 2
    assert words in said


def test_shells_can_complete_commands(tmp_path: Path) -> None:
    asked = {"_LEXICELL_COMPLETE": "bash_complete", "COMP_WORDS": "lexicell vuln", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from lexicell.cli import main; main()"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "plain,vulnerability" in done.stdout
