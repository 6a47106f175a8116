"""Commands take counts: the matrix is found and said, the embedding is made, genes have their symbols, in and out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.sources.names.lookup import bundled_match

# Forty genes of two groups are a small study, and the tools say so.
pytestmark = pytest.mark.filterwarnings("default")

Run = Callable[..., tuple[int, str]]
_NAMES = (
    "SOD1 TARDBP FUS CHAT MBP GFAP AIF1 PLP1 SNAP25 STMN2 NEFL NEFM ISL1 MNX1 SLC18A3 ACTB GAPDH TUBB3 CD3D MS4A1 LYZ "
    "NKG7 PPBP FCER1A FCGR3A CD8A CD74 HSPA8 HSP90AA1 JUN FOS STAT1 ISG15 MX1 OAS1 IRF7 CALM1 UBC GABARAP VIM"
)
SYMBOLS = _NAMES.split()


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1], 48)
    counts = rng.poisson(rng.gamma(0.8, 3.0, (2, len(SYMBOLS)))[kind])
    obs = pd.DataFrame(
        {
            "kind": np.array(["one", "two"])[kind],
            "condition": np.tile(["ctrl", "als"], 48),
            "donor": [f"d{i % 8}" for i in range(96)],
        },
        index=[f"c{i}" for i in range(96)],
    )
    adata = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=SYMBOLS))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.fixture
def by_ensembl(cells: Path) -> Path:
    """The same file as CELLxGENE would write it: Ensembl ids, and symbols in a column."""
    adata = anndata.read_h5ad(cells)
    adata.var["feature_name"] = pd.Categorical(SYMBOLS)
    adata.var_names = _ensembl(SYMBOLS)
    adata.raw = adata.copy()
    adata.write_h5ad(cells.with_name("ensembl.h5ad"))
    return cells.with_name("ensembl.h5ad")


def _ensembl(symbols: list[str]) -> list[str]:
    from lexicell.sources.names.lookup import _bundled_table

    table = _bundled_table("human")
    rows = bundled_match(symbols, "human")["row"]
    return [table.ensembl[row].split("|")[0].split(",")[0] for row in rows]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("cluster", ["--n-repeats", "1", "--no-umap"]),
        ("explain", ["--groupby", "kind"]),
        ("perturb", ["-t", "SOD1"]),
        ("programs", ["--n-programs", "2"]),
        ("trajectory", ["--root", "markers:SOD1", "--n-bootstraps", "2", "--n-neighbors", "5"]),
    ],
)
def test_an_analysis_takes_counts(command: str, options: list[str], cells: Path, tmp_path: Path, lexicell: Run) -> None:
    code, said = lexicell(command, cells, "-o", tmp_path / "out.h5ad", *options)
    assert code == 0, said
    assert "matrix      X (counts), 40 genes" in said
    assert "embedding   made here with the defaults of 'lexicell run': 40 of 40 genes have a text (human)" in said
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    original = anndata.read_h5ad(cells)
    lx.emb.cells(original, lx.emb.genes(original), preset="whitened")
    np.testing.assert_array_equal(found.obsm["X_text"], original.obsm["X_text"])


def test_vulnerability_takes_counts_and_checks_the_design_first(cells: Path, tmp_path: Path, lexicell: Run) -> None:
    columns = ["--cell-type", "kind", "--condition", "condition", "--reference", "ctrl", "--donor"]
    code, said = lexicell("vulnerability", cells, *columns, "condition", "-o", tmp_path / "bad")
    assert code == 2
    assert "embedding" not in said
    code, said = lexicell("vulnerability", cells, *columns, "donor", "--no-controls", "-o", tmp_path / "out")
    assert code == 0, said
    assert "embedding   made here" in said
    assert (tmp_path / "out" / "vulnerability.tsv").is_file()


def test_symbols_are_used_in_and_out(cells: Path, by_ensembl: Path, tmp_path: Path, lexicell: Run) -> None:
    code, said = lexicell("perturb", by_ensembl, "-t", "SOD1", "--groupby", "kind", "-o", tmp_path / "p.tsv")
    assert code == 0, said
    code, said = lexicell("explain", by_ensembl, "--groupby", "kind", "-o", tmp_path / "by_id.tsv")
    assert code == 0, said
    code, said = lexicell("explain", cells, "--groupby", "kind", "-o", tmp_path / "by_symbol.tsv")
    assert code == 0, said
    one, other = (pd.read_csv(tmp_path / name, sep="\t") for name in ("by_id.tsv", "by_symbol.tsv"))
    assert set(one["gene"]) <= {*SYMBOLS, "(all other genes)"}
    assert one["gene"].tolist() == other["gene"].tolist()


def test_ensembl_ids_are_kept_and_texts_found_by_them(by_ensembl: Path) -> None:
    adata = lx.read(by_ensembl)
    assert adata.var_names.tolist() == SYMBOLS
    assert adata.raw.var_names.tolist() == SYMBOLS
    assert adata.var["text_ensembl_id"].tolist() == _ensembl(SYMBOLS)
    assert lx.emb.genes(adata).coverage["matched_by"].unique().tolist() == ["ensembl"]


def test_an_embedded_file_keeps_the_names_it_was_embedded_with(by_ensembl: Path, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(by_ensembl)
    lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened")
    adata.write_h5ad(tmp_path / "embedded.h5ad")
    assert lx.read(tmp_path / "embedded.h5ad").var_names.tolist() == adata.var_names.tolist()


def _log(adata: anndata.AnnData) -> np.ndarray:
    dense = adata.X.toarray()
    return np.log1p(1e4 * dense / dense.sum(axis=1, keepdims=True)).astype(np.float32)


def _with_layer(name: str) -> Callable[[anndata.AnnData], None]:
    def edit(adata: anndata.AnnData) -> None:
        adata.layers[name] = adata.X.copy()
        adata.X = _log(adata)

    return edit


def _with_raw_counts(adata: anndata.AnnData) -> None:
    adata.raw = adata.copy()
    adata.X = _log(adata)


@pytest.mark.parametrize(
    ("edit", "options", "words"),
    [
        (_with_layer("counts"), [], "matrix      layer 'counts' (counts), 40 genes; X holds logarithms"),
        (_with_raw_counts, [], "matrix      raw (counts), 40 genes; X holds logarithms"),
        (_with_layer("counts"), ["--normalization", "log1p"], "matrix      X (log1p), 40 genes\n"),
        (_with_layer("unspliced"), [], "matrix      X (log1p), 40 genes\n"),
    ],
    ids=["layer", "raw", "told", "other-layer"],
)
def test_counts_are_found_and_said(
    edit: Callable[[anndata.AnnData], None], options: list[str], words: str, cells: Path, tmp_path: Path, lexicell: Run
) -> None:
    adata = anndata.read_h5ad(cells)
    edit(adata)
    adata.write_h5ad(tmp_path / "logged.h5ad")
    code, said = lexicell("embed", tmp_path / "logged.h5ad", "-o", tmp_path / "out.h5ad", *options)
    assert code == 0, said
    assert words in said


def test_get_finds_tables_of_results(cells: Path) -> None:
    adata = anndata.read_h5ad(cells)
    assert lx.get(adata).empty
    lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened")
    adata.obsm["X_other"] = adata.obsm["X_text"].copy()
    lx.tl.concepts(adata, groupby="kind", key_added="own")
    kept = adata.uns["lexicell"]["X_text"]["own"]["table"]
    found = lx.get(adata, "own")
    pd.testing.assert_frame_equal(found, kept)
    found.iloc[0, 0] = "changed"
    assert kept.iloc[0, 0] != "changed"
    assert ["own", "table", "X_text", len(kept)] in lx.get(adata).to_numpy().tolist()
    with pytest.raises(MissingKeyError, match=r"no result 'vulnerability'; there is .*'own'"):
        lx.get(adata, "vulnerability")
    with pytest.raises(MissingKeyError, match=r"has no table 'gene'; it has 'genes', .*'table'"):
        lx.get(adata, "own", table="gene")
    adata.uns["lexicell"]["X_other"] = {"own": {"table": kept}}
    with pytest.raises(InputError, match="was run on 'X_text', 'X_other'; name one with use_rep="):
        lx.get(adata, "own")
    assert len(lx.get(adata, "own", use_rep="X_other")) == len(kept)
