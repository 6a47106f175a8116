"""lexicell concepts, explain, perturb and programs: whole commands, one line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import lexicell as lx

Lexicell = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real blood cells, embedded, with made-up donors and states."""
    adata = lx.datasets.pbmc68k_counts()[:300].copy()
    lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", n_components=100, library_size="n_counts")
    adata.obs["donor"] = pd.Categorical([f"d{i % 6}" for i in range(adata.n_obs)])
    adata.obs["state"] = pd.Categorical(["sick" if i % 6 < 3 else "well" for i in range(adata.n_obs)])
    path = tmp_path_factory.mktemp("cli") / "cells.h5ad"
    adata.write_h5ad(path)
    return path


def test_phrases_come_from_options_and_from_a_file(lexicell: Lexicell, start: Path, tmp_path: Path) -> None:
    listed = tmp_path / "phrases.txt"
    listed.write_text("# mine\nautophagy\n\n", encoding="utf-8")
    out = tmp_path / "out.h5ad"
    code, said = lexicell(
        "concepts", start, "-q", "B cell", "-q", "apoptosis", "--queries", listed, "--groupby", "cell_type", "-o", out
    )
    assert code == 0, said
    made = anndata.read_h5ad(out)
    assert list(made.obsm["text_concepts"].columns) == ["B cell", "apoptosis", "autophagy"]
    table = made.uns["lexicell"]["X_text"]["concepts"]["table"]
    assert table[table["concept"] == "B cell"].sort_values("z").iloc[-1]["group"] == "CD19+ B"
    assert "CD19+ B" in said


def test_a_table_is_written_where_one_is_asked_for(lexicell: Lexicell, start: Path, tmp_path: Path) -> None:
    cells, groups = tmp_path / "cells.tsv", tmp_path / "groups.csv"
    assert lexicell("concepts", start, "-q", "B cell", "-o", cells)[0] == 0
    assert pd.read_csv(cells, sep="\t", index_col=0).shape == (300, 1)
    assert lexicell("concepts", start, "-q", "B cell", "--groupby", "cell_type", "-o", groups)[0] == 0
    assert set(pd.read_csv(groups)["concept"]) == {"B cell"}


def test_without_phrases_the_lexicon_is_used(lexicell: Lexicell, start: Path, tmp_path: Path) -> None:
    assert lexicell("concepts", start, "-o", tmp_path / "all.tsv")[0] == 0
    assert pd.read_csv(tmp_path / "all.tsv", sep="\t", index_col=0).shape[1] > 300


def test_explain_writes_parts_that_add_up(lexicell: Lexicell, start: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts.tsv"
    code, said = lexicell("explain", start, "--groupby", "cell_type", "--group", "CD19+ B", "--n-genes", 5, "-o", out)
    assert code == 0, said
    table = pd.read_csv(out, sep="\t")
    assert len(table) == 6
    assert table["part"].sum() == pytest.approx(1, abs=1e-6)
    code, said = lexicell(
        "explain", start, "--groupby", "state", "--group", "sick", "--reference", "well",
        "--subset", "cell_type=CD19+ B", "--concept", "B cell", "-o", tmp_path / "c.h5ad",
    )  # fmt: skip
    assert code == 0, said
    params = anndata.read_h5ad(tmp_path / "c.h5ad").uns["lexicell"]["X_text"]["explain"]["params"]
    assert (params["concept"], params["subset"]["cell_type"]) == ("B cell", "CD19+ B")


def test_a_saved_classifier_is_explained(lexicell: Lexicell, start: Path, tmp_path: Path) -> None:
    from lexicell.core.transfer.classify import fit_logistic

    adata = anndata.read_h5ad(start)
    model = fit_logistic(
        adata.obsm["X_text"], (adata.obs["cell_type"] == "CD19+ B").to_numpy(), adata.obs["donor"].to_numpy()
    )
    model.save(tmp_path / "b.json")
    cell = adata.obs_names[3]
    out = tmp_path / "parts.tsv"
    code, said = lexicell(
        "explain", start, "--group", cell, "--reference", "nothing", "--classifier", tmp_path / "b.json", "-o", out
    )
    assert code == 0, said
    assert pd.read_csv(out, sep="\t")["part"].sum() == pytest.approx(model.decision(adata.obsm["X_text"])[3], rel=1e-3)


def test_perturb_and_programs(lexicell: Lexicell, start: Path, tmp_path: Path) -> None:
    out = tmp_path / "moved.h5ad"
    code, said = lexicell(
        "perturb", start, "-t", "CD79A", "-t", "CD79B", "--groupby", "cell_type", "-q", "B cell", "-o", out
    )
    assert code == 0, said
    made = anndata.read_h5ad(out)
    assert made.obsm["X_text_perturb"].shape == (300, 100)
    assert list(made.uns["lexicell"]["X_text"]["perturb"]["params"]["targets"]) == ["CD79A", "CD79B"]
    code, said = lexicell("programs", start, "--n-programs", 4, "-o", tmp_path / "p.tsv")
    assert code == 0, said
    assert 1 <= len(pd.read_csv(tmp_path / "p.tsv", sep="\t")) <= 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["concepts", "-q", " "], "a query is empty"),
        (["concepts", "-q", "B cell", "--groupby", "nope"], "no column in obs 'nope'"),
        (["concepts", "--queries", "EMPTY"], "holds no phrase"),
        (["explain", "--groupby", "cell_type", "--label", "B cell"], "--label names a class of --classifier"),
        (["explain", "--groupby", "cell_type", "--subset", "x"], "'x' is no column=value"),
        (["explain"], "name what is explained"),
        (["perturb", "-t", "NOPE"], "not in the data: 'NOPE'"),
        (["perturb"], "Missing option"),
    ],
    ids=["empty", "column", "file", "label", "subset", "nothing", "gene", "no-gene"],
)
def test_mistakes_are_one_line(lexicell: Lexicell, start: Path, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    words = [str(tmp_path / "empty.txt") if w == "EMPTY" else w for w in words]
    code, said = lexicell(words[0], start, *words[1:], "-o", tmp_path / "x.h5ad")
    assert code == 2
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "x.h5ad").exists()


def test_programs_read_the_layer_named(lexicell: Lexicell, start: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(start)
    half = adata.X.toarray()
    half[:, :400] = 0
    adata.layers["half"] = half
    adata.write_h5ad(tmp_path / "x.h5ad")
    asked = ["--n-programs", 3, "--layer", "half", "--key-added", "mine", "-o", tmp_path / "out.h5ad"]
    code, said = lexicell("programs", tmp_path / "x.h5ad", *asked)
    assert code == 0, said
    found = anndata.read_h5ad(tmp_path / "out.h5ad").uns["lexicell"]["X_text"]["mine"]
    assert not set(found["genes"]["gene"]) & set(adata.var_names[:400])


def test_coverage_believes_what_the_values_are_said_to_be(lexicell: Lexicell, tmp_path: Path) -> None:
    """Whole numbers pass for counts unless they are said to be logarithms."""
    adata = anndata.AnnData(
        np.array([[1.0, 3], [2, 2], [1, 1]], dtype=np.float32), var=pd.DataFrame(index=["SOD1", "no gene"])
    )
    adata.write_h5ad(tmp_path / "x.h5ad")
    shares = []
    for kind in ("auto", "log1p"):
        code, said = lexicell("coverage", tmp_path / "x.h5ad", "--normalization", kind, "-o", tmp_path / "c.tsv")
        assert code == 0, said
        shares.append(pd.read_csv(tmp_path / "c.tsv", sep="\t", index_col=0).loc["SOD1", "share"])
    assert shares[0] == pytest.approx(0.4)
    grown = np.expm1(adata.X.astype(float))
    assert shares[1] == pytest.approx(grown[:, 0].sum() / grown.sum(), rel=1e-6)
