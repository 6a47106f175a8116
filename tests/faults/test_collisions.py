"""Outputs that would fall on something of the user's: each is refused in one line, and nothing is changed.

Every command that writes meets every kind of collision. What a command wrote itself, it may replace.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx

pytestmark = pytest.mark.filterwarnings("ignore:.*text dimensions are used:UserWarning")

Run = Callable[..., tuple[int, str]]

SYMBOLS = [
    symbol
    for line in (
        "ACTB GAPDH CD3D CD3E CD3G CD4 CD8A CD8B IL7R CCR7 LEF1 TCF7 NKG7 GNLY GZMB PRF1 KLRD1 MS4A1 CD79A CD79B",
        "CD19 CD22 PAX5 CD14 LYZ S100A8 S100A9 FCGR3A CST3 FCER1A SOD1 TARDBP FUS NEFL CHAT STAT1 ISG15 IFI6 MX1 OAS1",
    )
    for symbol in line.split()
]

# Command and its inputs, and the kind of output: "file", "cells" (.h5ad or .zarr) or "folder".
DESIGN = ["--cell-type", "kind", "--condition", "state", "--reference", "well", "--donor", "donor"]
COMMANDS = {
    "genes": (["genes", "cells.h5ad"], "file"),
    "coverage": (["coverage", "cells.h5ad", "--genes", "genes.h5ad"], "file"),
    "evaluate": (["evaluate", "cells.h5ad", "--label", "kind"], "file"),
    "report": (["report", "cells.h5ad"], "file"),
    "cache-export": (["cache", "export"], "file"),
    "embed": (["embed", "cells.h5ad", "--genes", "genes.h5ad"], "cells"),
    "embed-stream": (["embed", "cells.h5ad", "--genes", "genes.h5ad", "--stream"], "cells"),
    "cluster": (["cluster", "cells.h5ad"], "cells"),
    "annotate": (["annotate", "cells.h5ad"], "cells"),
    "transfer": (["transfer", "cells.h5ad", "other.h5ad", "--label", "kind"], "cells"),
    "trajectory": (["trajectory", "cells.h5ad", "--root", "c0"], "cells"),
    "concepts": (["concepts", "cells.h5ad", "-q", "axon"], "cells"),
    "concepts-stream": (["concepts", "cells.h5ad", "-q", "axon", "--stream"], "cells"),
    "explain": (["explain", "cells.h5ad", "--groupby", "kind"], "cells"),
    "perturb": (["perturb", "cells.h5ad", "-t", "SOD1"], "cells"),
    "run": (["run", "cells.h5ad"], "folder"),
    "demo": (["demo"], "folder"),
    "vulnerability": (["vulnerability", "cells.h5ad", *DESIGN], "folder"),
    "classify-vulnerability": (
        ["classify-vulnerability", "cells.h5ad", "--cell-type", "kind", "--positive", "one", "--donor", "donor"],
        "folder",
    ),
}
SUFFIX = {"file": ".tsv", "cells": ".h5ad"}


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty embedded cells as h5ad and zarr, and the vectors of their genes."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1], 30)
    counts = rng.poisson(rng.gamma(0.6, 3.0, (2, len(SYMBOLS)))[group] + 0.2)
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(np.array(["one", "two"])[group]),
            "state": pd.Categorical(np.array(["well", "ill"])[np.arange(60) % 2]),
            "donor": pd.Categorical([f"d{i % 6}" for i in range(60)]),
        },
        index=[f"c{i}" for i in range(60)],
    )
    adata = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=SYMBOLS))
    genes = lx.GeneEmbedding.from_vectors(SYMBOLS, rng.normal(size=(len(SYMBOLS), 8)))
    genes.save(folder / "genes.h5ad")
    lx.emb.cells(adata, genes)
    adata.write_h5ad(folder / "cells.h5ad")
    adata.write_h5ad(folder / "other.h5ad")
    adata.write_zarr(folder / "cells.zarr")
    (folder / "other.json").write_text("{}")
    return folder


@pytest.fixture
def here(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with the inputs, in which the command runs."""
    place = tmp_path / "project"
    shutil.copytree(inputs, place)
    (place / "taken").mkdir()
    (place / "taken" / "thesis.tex").write_text("mine")
    monkeypatch.chdir(place)
    return place


def everything(folder: Path) -> dict[str, object]:
    """All below a folder: what files hold, where links lead, what else there is."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        else:
            found[name] = path.read_bytes() if path.is_file() else oct(path.stat().st_mode)
    return found


def assert_refused(lexicell: Run, here: Path, words: list[str], expected: str) -> None:
    before = everything(here.parent)
    code, said = lexicell(*words)
    assert code == 2, said
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("lexicell: error: ")
    assert expected in lines[0]
    assert everything(here.parent) == before


# What lies where the output is to go: makes it from the name of an output, and gives the path to name.


def _folder(name: str) -> str:
    shutil.copytree("taken", name)
    return name


def _link(name: str) -> str:
    Path(name).symlink_to("taken/thesis.tex")
    return name


def _link_to_a_folder(name: str) -> str:
    Path(name).symlink_to("taken")
    return name


def _pipe(name: str) -> str:
    os.mkfifo(name)
    return name


def _write_protected(name: str) -> str:
    Path(name).write_text("mine")
    Path(name).chmod(0o444)
    return name


def _below_a_file(name: str) -> str:
    return f"taken/thesis.tex/{name}"


WAYS = {
    "folder": (_folder, "is a folder"),
    "link": (_link, "is a link to"),
    "link-to-a-folder": (_link_to_a_folder, "is a link to"),
    "pipe": (_pipe, "is a device, a pipe or a socket"),
    "write-protected": (_write_protected, "is write-protected"),
    "below-a-file": (_below_a_file, "is a file"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", [name for name, (_, kind) in COMMANDS.items() if kind != "folder"])
def test_nothing_in_the_way_of_a_file_is_lost(command: str, way: str, here: Path, lexicell: Run) -> None:
    words, kind = COMMANDS[command]
    make, expected = WAYS[way]
    output = make(f"out{SUFFIX[kind]}")
    assert_refused(lexicell, here, [*words, "-o", output], expected)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("output", [".", "..", "taken/.."])
def test_the_folder_one_is_in_and_those_above_are_no_output(
    command: str, output: str, here: Path, lexicell: Run
) -> None:
    expected = "'--output'"
    assert_refused(lexicell, here, [*COMMANDS[command][0], "-o", output], expected)


READERS = [name for name, (words, _) in COMMANDS.items() if "cells.h5ad" in words and name != "cache-export"]


@pytest.mark.parametrize("by", ["name", "hard-link", "soft-link", "folder-link"])
@pytest.mark.parametrize("command", [name for name in READERS if COMMANDS[name][1] in ("file", "cells")])
def test_an_input_is_never_the_output(command: str, by: str, here: Path, lexicell: Run) -> None:
    output = "out.h5ad"
    if by == "name":
        output = str(here / "cells.h5ad")
    elif by == "hard-link":
        Path(output).hardlink_to("cells.h5ad")
    elif by == "soft-link":
        Path(output).symlink_to("cells.h5ad")
    else:
        Path("same").symlink_to(here)
        output = "same/cells.h5ad"
    assert_refused(lexicell, here, [*COMMANDS[command][0], "-o", output], "the output is the input")


@pytest.mark.parametrize("name", ["genes.h5ad", "cells.h5ad"])
def test_every_input_counts(name: str, here: Path, lexicell: Run) -> None:
    assert_refused(lexicell, here, ["embed", "cells.h5ad", "--genes", "genes.h5ad", "-o", name], "'-o' / '--output'")


@pytest.mark.parametrize("command", [name for name, (_, kind) in COMMANDS.items() if kind == "cells"])
@pytest.mark.parametrize("way", ["folder", "store-with-more", "file", "input"])
def test_only_a_store_of_cells_gives_way_to_a_store(command: str, way: str, here: Path, lexicell: Run) -> None:
    words, output = list(COMMANDS[command][0]), "out.zarr"
    expected = "name another"
    if way == "folder":
        _folder(output)
    elif way == "file":
        Path(output).write_text("mine")
    else:
        shutil.copytree("cells.zarr", output)
        if way == "input":
            words[1] = output
            expected = "the output is the input"
        else:
            Path(output, "notes.txt").write_text("mine")
    assert_refused(lexicell, here, [*words, "-o", output], expected)


@pytest.mark.parametrize("command", [name for name, (_, kind) in COMMANDS.items() if kind == "file"])
def test_a_store_of_cells_does_not_give_way_to_a_file(command: str, here: Path, lexicell: Run) -> None:
    assert_refused(lexicell, here, [*COMMANDS[command][0], "-o", "cells.zarr"], "")


@pytest.mark.parametrize("command", [name for name, (_, kind) in COMMANDS.items() if kind == "folder"])
@pytest.mark.parametrize("way", ["file", "pipe", "files-of-the-user", "input"])
def test_a_folder_of_results_replaces_no_file_of_the_user(command: str, way: str, here: Path, lexicell: Run) -> None:
    names = {"run": "genes.tsv", "demo": "report.html", "vulnerability": "genes_b.png"}
    words, expected = list(COMMANDS[command][0]), "name"
    if way == "file":
        Path("out").write_text("mine")
    elif way == "pipe":
        os.mkfifo("out")
    else:
        Path("out").mkdir()
        if way == "input" and command != "demo":
            shutil.move("cells.h5ad", "out/cells.h5ad")
            words[1] = "out/cells.h5ad"
            expected = "the output is the input"
        else:
            Path("out", names.get(command, "scores.tsv")).write_text("mine")
            expected = "which no earlier run wrote"
    assert_refused(lexicell, here, [*words, "-o", "out"], expected)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["trends", "cells.h5ad", "-o", "o.h5ad", "--table", "taken"], "'--table'", id="table-folder"),
        pytest.param(["trends", "cells.h5ad", "-o", "o.h5ad", "--table", "cells.h5ad"], "'--table'", id="table-input"),
        pytest.param(["trends", "cells.h5ad", "-o", "o.h5ad", "--table", ".."], "'--table'", id="table-above"),
        pytest.param(["trends", "cells.h5ad", "-o", "o.h5ad", "--table", "o.h5ad"], "two outputs", id="table-output"),
        pytest.param(
            [*COMMANDS["transfer"][0], "-o", "o.h5ad", "--save-model", "other.h5ad"], "'--save-model'", id="model-input"
        ),
        pytest.param(
            [*COMMANDS["transfer"][0], "-o", "o.h5ad", "--save-model", "taken"], "'--save-model'", id="model-folder"
        ),
        pytest.param([*COMMANDS["transfer"][0], "-o", "other.h5ad"], "the output is the input", id="second-input"),
        pytest.param(
            ["genes", "cells.h5ad", "-o", "other.json", "--source", "table:other.json"], "is the input", id="source"
        ),
        pytest.param(["evaluate", "cells.h5ad", "--label", "kind", "-o", "o.png"], "figure", id="table-is-figure"),
        pytest.param(["concepts", "cells.h5ad", "-q", "x", "-o", "o.txt"], "ends in .h5ad or .zarr", id="suffix"),
        pytest.param(["report", "cells.h5ad", "-o", "/dev/null"], "is a device", id="device"),
        pytest.param(["coverage", "cells.h5ad", "-o", "n" * 300], "name another output", id="long-name"),
        pytest.param(["report", "cells.zarr", "-o", "cells.zarr/uns/report.html"], "lies in the input", id="in-input"),
    ],
)
def test_every_output_of_a_command_is_checked(words: list[str], expected: str, here: Path, lexicell: Run) -> None:
    assert_refused(lexicell, here, words, expected)


def test_the_figure_beside_a_table_replaces_no_folder(here: Path, lexicell: Run) -> None:
    _folder("out.png")
    assert_refused(lexicell, here, [*COMMANDS["evaluate"][0], "-o", "out.tsv"], "'out.png' is a folder")


def test_the_store_of_vectors_is_not_exported_onto_itself(here: Path, lexicell: Run) -> None:
    from lexicell.store import Store

    Store().put_many("e@1/2", ["a"], np.ones((1, 2), dtype=np.float32))
    for path in Store().files():
        assert_refused(lexicell, here, ["cache", "export", "-o", str(path)], "the output is the input")
    assert Store().info()["vectors"] == {"e@1/2": 1}


@pytest.mark.parametrize("command", ["embed-stream", "concepts-stream"])
def test_a_folder_that_is_no_run_is_not_taken_for_one(command: str, here: Path, lexicell: Run) -> None:
    _folder("out.h5ad.partial")
    assert_refused(lexicell, here, [*COMMANDS[command][0], "-o", "out.h5ad"], "something else is there")


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("genes", "o.h5ad"),
        ("coverage", "o.tsv"),
        ("report", "o.html"),
        ("cache-export", "o.h5"),
        ("embed", "o.h5ad"),
        ("embed", "o.zarr"),
        ("embed-stream", "o.zarr"),
        ("run", "o"),
        ("classify-vulnerability", "o"),
    ],
)
def test_what_a_command_wrote_it_replaces(command: str, output: str, here: Path, lexicell: Run) -> None:
    words = [*COMMANDS[command][0], "-o", output]
    before = everything(here)
    for _ in range(2):
        code, said = lexicell(*words)
        assert code == 0, said
    after = everything(here)
    assert {name: after[name] for name in before} == before
    assert all(Path(name).parts[0] == output for name in set(after) - set(before)), sorted(set(after) - set(before))


def test_a_missing_folder_is_made_and_named(here: Path, lexicell: Run) -> None:
    code, said = lexicell("coverage", "cells.h5ad", "--genes", "genes.h5ad", "-o", "results/deep/o.tsv")
    assert code == 0, said
    assert "made the folder 'results/deep'" in said
    assert (here / "results" / "deep" / "o.tsv").is_file()
