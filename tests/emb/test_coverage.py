"""Coverage against sums made by hand."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx

NAMES = ["SOD1", "MT-CO1", "RPL3", "nothing", "RPS6KA1"]
COUNTS = np.array([[4, 3, 2, 1, 0], [0, 0, 5, 5, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 6]], dtype=np.float32)


def cells(matrix: object) -> anndata.AnnData:
    return anndata.AnnData(matrix, obs=pd.DataFrame(index=list("abcd")), var=pd.DataFrame(index=NAMES))


@pytest.fixture
def genes() -> lx.GeneEmbedding:
    return lx.emb.genes(NAMES, organism="human")


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(np.array, id="dense"),
        pytest.param(sp.csr_matrix, id="csr"),
        pytest.param(sp.csc_matrix, id="csc"),
    ],
)
def test_shares_are_those_of_the_counts(form: object, genes: lx.GeneEmbedding) -> None:
    found = lx.emb.coverage(cells(form(COUNTS)), genes)
    np.testing.assert_allclose(found.cells["covered"], [0.9, 0.5, 0.0, 0.9])
    np.testing.assert_allclose(found.cells["mitochondrial"], [0.3, 0.0, 0.0, 0.1])
    np.testing.assert_allclose(found.cells["ribosomal"], [0.2, 0.5, 0.0, 0.1])
    np.testing.assert_allclose(found.genes["counts"], COUNTS.sum(axis=0))
    np.testing.assert_allclose(found.genes["share"], COUNTS.sum(axis=0) / COUNTS.sum())
    assert found.summary["genes"] == 5
    assert found.summary["genes_with_text"] == 4
    assert found.summary["share_of_counts"] == pytest.approx(23 / 30)
    assert found.summary["matched_by"] == {"symbol": 4, "nothing": 1}


def test_log_values_count_as_what_they_are_logs_of(genes: lx.GeneEmbedding, rng: np.random.Generator) -> None:
    counts = rng.poisson(3.0, (60, 5)).astype(np.float64) + np.eye(5)[np.arange(60) % 5]
    scaled = counts / counts.sum(axis=1, keepdims=True) * 1e4
    adata = anndata.AnnData(
        np.log1p(scaled).astype(np.float32),
        obs=pd.DataFrame(index=[str(i) for i in range(60)]),
        var=pd.DataFrame(index=NAMES),
    )
    found = lx.emb.coverage(adata, genes)
    np.testing.assert_allclose(found.cells["covered"], 1 - counts[:, 3] / counts.sum(axis=1), rtol=1e-5)


def test_the_data_is_not_changed(genes: lx.GeneEmbedding) -> None:
    adata = cells(sp.csr_matrix(COUNTS))
    lx.emb.coverage(adata, genes)
    assert (sp.csr_matrix(COUNTS) != adata.X).nnz == 0
    assert list(adata.obs.columns) == list(adata.var.columns) == []
    assert not adata.uns


def test_the_table_can_be_written(genes: lx.GeneEmbedding, tmp_path: Path) -> None:
    lx.emb.coverage(cells(COUNTS), genes).to_tsv(tmp_path / "genes.tsv")
    table = pd.read_csv(tmp_path / "genes.tsv", sep="\t", index_col=0, keep_default_na=False)
    assert table.index.tolist() == NAMES
    assert table.loc["SOD1", "matched_by"] == "symbol"
    assert table.loc["nothing", "text_source"] == ""
