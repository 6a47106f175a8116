"""The command line as a user meets it: whole commands on small files, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import click
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell.cli import cli, main

# Eighty genes are few for whitening, and it says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*text dimensions are used:UserWarning")

SYMBOLS = [
    symbol
    for line in (
        "ACTB GAPDH CD3D CD3E CD3G CD4 CD8A CD8B IL7R CCR7 LEF1 TCF7 NKG7 GNLY GZMB PRF1 KLRD1 MS4A1 CD79A CD79B",
        "CD19 CD22 PAX5 CD14 LYZ S100A8 S100A9 FCGR3A MS4A7 CST3 FCER1A CLEC10A PPBP PF4 HLA-A HLA-B HLA-C HLA-DRA",
        "HLA-DRB1 B2M MALAT1 RPL3 RPL5 RPS6 RPS27 EEF1A1 TMSB4X FTL FTH1 VIM JUN FOS DUSP1 HSPA8 HSP90AA1 SOD1",
        "TARDBP FUS NEFL CHAT STAT1 ISG15 IFI6 MX1 OAS1 IRF7 TP53 MKI67 TOP2A PCNA MT-CO1 MT-ND1 MT-CYB TUBB",
        "TUBA1B CALM1 GABARAP UBB UBC",
    )
    for symbol in line.split()
]


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Sixty cells in two groups over some eighty human genes, counts in X."""
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1], 30)
    rates = rng.gamma(0.6, 3.0, (2, len(SYMBOLS)))
    counts = rng.poisson(rates[group] * rng.uniform(0.7, 1.4, (60, 1)))
    obs = pd.DataFrame({"kind": pd.Categorical(np.array(["one", "two"])[group])}, index=[f"c{i}" for i in range(60)])
    adata = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=SYMBOLS))
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    return path


def change(path: Path, edit: Callable[[anndata.AnnData], anndata.AnnData | None]) -> Path:
    adata = anndata.read_h5ad(path)
    edited = edit(adata)
    (adata if edited is None else edited).write_h5ad(path)
    return path


def assert_one_line(code: int, said: str, words: str, folder: Path, before: set[Path]) -> None:
    assert code == 2, said
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("lexicell: error: ")
    assert words in lines[0]
    assert "Traceback" not in said
    assert set(folder.rglob("*")) == before, "something was written"


Edit = Callable[[anndata.AnnData], anndata.AnnData | None]


def _names(names: list[str]) -> Edit:
    def edit(adata: anndata.AnnData) -> None:
        adata.var_names = names

    return edit


def _value(value: float) -> Edit:
    def edit(adata: anndata.AnnData) -> None:
        dense = adata.X.toarray()
        dense[3, 4] = value
        adata.X = dense

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        pytest.param(_names([f"zz{i}" for i in range(len(SYMBOLS))]), "none of the", id="no-gene-matches"),
        pytest.param(_names([f"FBgn{i:07d}" for i in range(len(SYMBOLS))]), "'FBgn0000000'", id="another-species"),
        pytest.param(_value(np.nan), "NaN", id="nan"),
        pytest.param(_value(-2.0), "negative", id="negative"),
        pytest.param(lambda a: a[:0].copy(), "0 cells", id="no-cells"),
        pytest.param(lambda a: a[:, :0].copy(), "0 genes", id="no-genes"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_line(
    edit: Edit, words: str, cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    change(cells, edit)
    before = set(tmp_path.rglob("*"))
    assert_one_line(*lexicell("run", cells, "-o", tmp_path / "out"), words, tmp_path, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--preset", "papr"], "Did you mean 'paper'?", id="preset"),
        pytest.param(["--cell-type", "kin"], "there is 'kind'", id="column"),
        pytest.param(["--source", "bundle"], "'bundled'", id="source"),
        pytest.param(["--organism", "yeti"], "human, mouse, rat", id="organism"),
        pytest.param(["--use-rep", "pca"], "'expression'", id="representation"),
        pytest.param(["--layer", "counts"], "no layer 'counts'", id="layer"),
        pytest.param(["--library-size", "total"], "'total'", id="library-size"),
        pytest.param(["--normalization", "sct"], "'log1p'", id="normalization"),
        pytest.param(["--embedder", "word2vec"], "'local'", id="embedder"),
        pytest.param(["--no-such-option"], "No such option", id="option"),
    ],
)
def test_a_wrong_choice_lists_the_right_ones(
    options: list[str], words: str, cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    before = set(tmp_path.rglob("*"))
    assert_one_line(*lexicell("run", cells, "-o", tmp_path / "out", *options), words, tmp_path, before)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("missing.h5ad", None, "no file", id="missing"),
        pytest.param("broken.h5ad", b"these are not cells", "cannot be read", id="not-h5ad"),
        pytest.param("cells.rds", b"these are not cells", "give one of .h5ad", id="suffix"),
    ],
)
@pytest.mark.parametrize("command", ["run", "genes", "embed", "cluster", "report"])
def test_a_file_that_cannot_be_read(
    command: str,
    name: str,
    content: bytes | None,
    words: str,
    tmp_path: Path,
    lexicell: Callable[..., tuple[int, str]],
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = set(tmp_path.rglob("*"))
    assert_one_line(*lexicell(command, tmp_path / name, "-o", tmp_path / "o.h5ad"), words, tmp_path, before)


def test_an_output_that_cannot_be_written(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    (tmp_path / "file").write_text("")
    before = set(tmp_path.rglob("*"))
    for command, output in [("run", "file"), ("embed", "file/out.h5ad"), ("genes", "file/genes.h5ad")]:
        assert_one_line(*lexicell(command, cells, "-o", tmp_path / output), "cannot be written", tmp_path, before)


def test_run_writes_a_folder(cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]) -> None:
    code, said = lexicell("run", cells, "--cell-type", "kind", "-o", tmp_path / "out")
    assert code == 0, said
    out = tmp_path / "out"
    tables = {"clusters.tsv", "comparison.tsv", "genes.tsv", "steps.tsv"}
    names = {"cells.h5ad", "report.html", "run.json", "study.toml", *tables}
    assert {p.name for p in out.iterdir()} == names
    table = pd.read_csv(out / "comparison.tsv", sep="\t", index_col=0)
    assert list(table.index) == ["fused", "text", "expression"]
    assert table["ari"].between(-1, 1).all()
    assert f"{table.loc['fused', 'ari']:.3f}" in said
    found = lx.get(anndata.read_h5ad(out / "cells.h5ad"), "cluster", use_rep="X_text_fused")
    for name, row in found.iterrows():
        assert f"cluster {name}: {row['cells']} cells; " in said
        assert str(row["genes"]) in said
    assert f"Open {out / 'report.html'} in a browser" in said
    adata = anndata.read_h5ad(out / "cells.h5ad")
    original = anndata.read_h5ad(cells)
    assert (adata.X != original.X).nnz == 0
    clusters = pd.read_csv(out / "clusters.tsv", sep="\t", index_col=0)
    assert clusters.index.tolist() == original.obs_names.tolist()
    assert json.loads((out / "run.json").read_text())["preset"] == "whitened"
    assert "<html" in (out / "report.html").read_text()


def test_the_single_steps_give_what_run_gives(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    assert lexicell("genes", cells, "-o", tmp_path / "genes.h5ad")[0] == 0
    options = ["--genes", tmp_path / "genes.h5ad", "--preset", "whitened"]
    assert lexicell("embed", cells, *options, "-o", tmp_path / "embedded.h5ad")[0] == 0
    assert lexicell("cluster", tmp_path / "embedded.h5ad", "-o", tmp_path / "clustered.h5ad")[0] == 0
    words = ["--use-rep", "X_text", "--color", "kind", "--title", "Two kinds"]
    assert lexicell("report", tmp_path / "clustered.h5ad", "-o", tmp_path / "report.html", *words)[0] == 0
    assert "<h1>Two kinds</h1>" in (tmp_path / "report.html").read_text("utf-8")
    assert lexicell("run", cells, "-o", tmp_path / "out")[0] == 0
    single = anndata.read_h5ad(tmp_path / "clustered.h5ad")
    whole = anndata.read_h5ad(tmp_path / "out" / "cells.h5ad")
    np.testing.assert_array_equal(single.obsm["X_text"], whole.obsm["X_text"])
    assert single.obs["text_leiden"].tolist() == whole.obs["text_leiden"].tolist()


def test_cache_info_and_clear(lexicell: Callable[..., tuple[int, str]]) -> None:
    code, said = lexicell("cache", "info")
    assert code == 0, said
    assert "path" in said
    assert lexicell("cache", "clear", "--yes")[0] == 0


def test_help_lists_only_what_exists(lexicell: Callable[..., tuple[int, str]]) -> None:
    code, said = lexicell("--help")
    assert code == 0
    commands = said.split()
    assert {"run", "demo", "genes", "embed", "cluster", "report", "cache"} <= set(commands)


def test_an_interruption_is_130(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lexicell._pipeline.run", interrupt)
    code, said = lexicell("run", cells, "-o", tmp_path / "out")
    assert code == 130
    assert "interrupted" in said
    assert "Traceback" not in said


def test_a_bug_shows_its_traceback(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("lexicell._pipeline.run", fail)
    with pytest.raises(ValueError, match="a bug"):
        main(["run", str(cells), "-o", str(tmp_path / "out")])


@pytest.mark.parametrize("words", [[], ["cache"]])
def test_a_group_without_a_command_prints_its_help(words: list[str], lexicell: Callable[..., tuple[int, str]]) -> None:
    code, said = lexicell(*words)
    assert code in (0, 2)  # 0 before click 8.2
    assert said.startswith("Usage: lexicell")
    assert len(said.splitlines()) > 5


def _commands(group: click.Group, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _commands(command, (*before, name))
        else:
            found.append(((*before, name), command))
    return found


@pytest.mark.parametrize(
    ("words", "option"),
    [
        pytest.param(words, option, id=f"{' '.join(words)} {option.name}")
        for words, command in _commands(cli)
        for option in command.params
        if isinstance(option, click.Option) and option.required
    ],
)
def test_a_missing_option_is_named(
    words: tuple[str, ...], option: click.Option, lexicell: Callable[..., tuple[int, str]]
) -> None:
    command = dict(_commands(cli))[words]
    given = list(words)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            given.append("cells.h5ad")
        elif parameter.required and parameter is not option:
            given += [parameter.opts[0], "x.h5ad"]
    code, said = lexicell(*given)
    assert code == 2
    assert said.startswith("lexicell: error: Missing option")
    assert option.opts[-1] in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed", "-1"], "--seed"),
        (["--seed", "9" * 30], "--seed"),
        (["--top-n", "\u00b2"], "not a number of genes"),
        (["--top-n", "9" * 5000], "not a number of genes"),
        (["--top-n", "-5"], "not a number of genes"),
    ],
)
def test_odd_numbers_get_one_line(
    options: list[str], words: str, cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    before = set(tmp_path.rglob("*"))
    assert_one_line(*lexicell("run", cells, "-o", tmp_path / "out", *options), words, tmp_path, before)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(OSError("Unable to synchronously open file"), "Unable to synchronously open file", id="no-errno"),
        pytest.param(
            OSError(36, "File name too long", "n" * 20), "'nnnnnnnnnnnnnnnnnnnn': File name too long", id="os"
        ),
        pytest.param(OSError(28, "No space left on device"), "the disk is full", id="full"),
        pytest.param(RuntimeError("write failed: No space left on device"), "the disk is full", id="full-in-hdf5"),
        pytest.param(MemoryError("Unable to allocate 9 TiB"), "not enough memory (Unable", id="memory"),
        pytest.param(EOFError("Compressed file ended"), "damaged", id="cut-gzip"),
        pytest.param(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "damaged", id="not-utf-8"),
        pytest.param(KeyError("two\nlines"), None, id="bug"),
        pytest.param(TypeError("a bug"), None, id="another-bug"),
    ],
)
def test_what_readers_and_the_system_raise_gets_one_line(
    error: Exception, words: str | None, cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lexicell._pipeline.run", fail)
    before = set(tmp_path.rglob("*"))
    if words is None:
        with pytest.raises(type(error)):
            main(["run", str(cells), "-o", str(tmp_path / "out")])
    else:
        assert_one_line(*lexicell("run", cells, "-o", tmp_path / "out"), words, tmp_path, before)


def test_the_traceback_of_a_mistake_is_shown_where_it_is_asked_for(
    tmp_path: Path, lexicell: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXICELL_TRACEBACK", "1")
    code, said = lexicell("cluster", tmp_path / "missing.h5ad", "-o", tmp_path / "out.h5ad")
    assert code == 2
    assert "Traceback" in said
    assert "lexicell: error: no file" in said


_WAITS = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have been told to ignore it
import lexicell._pipeline
from lexicell.cli import main

def wait(*_, **__):
    from lexicell._files import write_file

    def write(aside):
        print("begun", flush=True)
        time.sleep(60)
    write_file(sys.argv[1], write)

lexicell._pipeline.run = wait
main(["run", sys.argv[2], "-o", sys.argv[3]])
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_in_one_line_and_leaves_nothing(
    number: signal.Signals, code: int, cells: Path, tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    words = [sys.executable, "-c", _WAITS, str(tmp_path / "file.tsv"), str(cells), str(tmp_path / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    said = said.strip()  # click writes an empty line after ^C
    assert len(said.splitlines()) == 1
    assert said.startswith("lexicell: terminated" if code == 143 else "lexicell: interrupted")
    assert set(tmp_path.rglob("*")) == before


def test_genes_says_what_it_would_cost_and_spends_nothing(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    code, said = lexicell("genes", cells, "-o", tmp_path / "genes.h5ad", "--estimate-cost")
    assert code == 0
    assert "nothing is spent" in said
    options = ["--embedder", "openai:text-embedding-3-small", "--estimate-cost"]
    code, said = lexicell("genes", cells, "-o", tmp_path / "genes.h5ad", *options)
    assert code == 0, said
    assert "79 to send" in said
    assert "$" in said
    assert not (tmp_path / "genes.h5ad").exists()


def test_published_vectors_are_taken_as_genes(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(SYMBOLS), 7)).astype(np.float32)
    np.savez(tmp_path / "vectors.npz", ids=np.array(SYMBOLS), vectors=vectors)
    code, said = lexicell("embed", cells, "--genes", tmp_path / "vectors.npz", "-o", tmp_path / "out.h5ad")
    assert code == 0, said
    assert anndata.read_h5ad(tmp_path / "out.h5ad").obsm["X_text"].shape == (60, 7)


def test_coverage_writes_a_row_for_every_gene(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    code, said = lexicell("coverage", cells, "-o", tmp_path / "coverage.tsv")
    assert code == 0, said
    assert "79 of 79 genes have a text" in said
    assert pd.read_csv(tmp_path / "coverage.tsv", sep="\t", index_col=0).index.tolist() == SYMBOLS


def test_embedders_are_listed(lexicell: Callable[..., tuple[int, str]]) -> None:
    code, said = lexicell("embedders")
    assert code == 0
    assert "local" in said
    assert "openai:" in said


def test_run_needs_the_whole_design(cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]) -> None:
    before = set(tmp_path.rglob("*"))
    options = ["--condition", "kind", "--cell-type", "kind"]
    words = "missing: reference, donor"
    assert_one_line(*lexicell("run", cells, "-o", tmp_path / "out", *options), words, tmp_path, before)
    options += ["--reference", "three", "--donor", "kind"]
    words = "reference 'three' is not a level of obs['kind']"
    assert_one_line(*lexicell("run", cells, "-o", tmp_path / "out", *options), words, tmp_path, before)


def test_run_refuses_an_impossible_design_before_the_work_begins(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*_: object, **__: object) -> None:
        raise AssertionError("genes were looked up")

    monkeypatch.setattr("lexicell.emb.genes", begun)
    before = set(tmp_path.rglob("*"))
    options = ["--condition", "kind", "--cell-type", "kind", "--reference", "one", "--donor", "kind"]
    words = "one donor in the arm 'two'"
    assert_one_line(*lexicell("run", cells, "-o", tmp_path / "out", *options), words, tmp_path, before)


def test_the_demo_finds_what_it_planted(tmp_path: Path, lexicell: Callable[..., tuple[int, str]]) -> None:
    code, said = lexicell("demo", "-o", tmp_path / "demo")
    assert code == 0, said
    table = pd.read_csv(tmp_path / "demo" / "planted" / "vulnerability.tsv", sep="\t")
    assert table.sort_values("d2")["cell_type"].iloc[-1] == "Dendritic"
    assert table.set_index("cell_type").loc["Dendritic", "p"] == pytest.approx(2 / 70, abs=1e-3)
    page = (tmp_path / "demo" / "planted" / "report.html").read_text()
    assert "planted" in page
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000


def test_cells_as_sentences_have_to_be_agreed_to_where_they_leave_the_machine(
    cells: Path, tmp_path: Path, lexicell: Callable[..., tuple[int, str]]
) -> None:
    before = set(tmp_path.rglob("*"))
    options = ["--preset", "genept-s", "--embedder", "openai:text-embedding-3-small"]
    code, said = lexicell("embed", cells, *options, "-o", tmp_path / "out.h5ad")
    assert_one_line(code, said, "yes", tmp_path, before)
    code, said = lexicell("run", cells, "--preset", "genept-s", "-o", tmp_path / "out")
    assert_one_line(code, said, "emb.sentences", tmp_path, before)


@pytest.mark.filterwarnings("default")
def test_the_demo_warns_of_nothing_that_a_newcomer_cannot_mend(
    tmp_path: Path, lexicell: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(*_: object, **__: object) -> None:
        for text in ("only 7 genes have a text, so 3 of 6 text dimensions are used", "1 of 700 cells is empty"):
            warnings.warn_explicit(text, UserWarning, str(lx.__file__), 1)

    monkeypatch.setattr("lexicell._pipeline.demo", warn)
    code, said = lexicell("demo", "-o", tmp_path / "out")
    assert code == 0, said
    assert "text dimensions" not in said
    assert "lexicell: warning: 1 of 700 cells is empty" in said
