"""Counts split in two: nothing lost, halves independent, and p values of clusters that mean what they say."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.expression.thinning import split


def one_kind(seed: int = 0, n_cells: int = 300, n_genes: int = 60) -> anndata.AnnData:
    """Cells that differ by Poisson noise alone: every cluster is made of noise."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(2.0, 2.0, n_genes), (n_cells, n_genes)).astype(np.float32)
    obs, var = (
        pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]),
        pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
    )
    return anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=var)


def test_the_halves_sum_to_the_whole_and_are_independent(rng: np.random.Generator) -> None:
    counts = sp.csr_matrix(rng.poisson(6.0, (400, 50)))
    first, second = split(counts, 0.3, rng=1)
    assert ((first + second) != counts).nnz == 0
    a, b = first.toarray().ravel(), second.toarray().ravel()
    assert a.mean() == pytest.approx(0.3 * 6, rel=0.03)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    assert np.corrcoef(a, counts.toarray().ravel())[0, 1] > 0.4


def clustered(adata: anndata.AnnData, **options: object) -> pd.DataFrame:
    genes = lx.GeneEmbedding.from_vectors(adata.var_names, np.random.default_rng(1).normal(size=(adata.n_vars, 6)))
    lx.emb.expression_pca(adata, layer="split_a", n_components=5)
    with pytest.warns(UserWarning, match="no words"):
        lx.tl.cluster(adata, use_rep="X_expression", n_clusters=3, umap=False, n_repeats=0,
                      genes=genes, **options)  # fmt: skip
    return adata.uns["lexicell"]["X_expression"]["cluster"]["markers"]


def test_clusters_of_noise_have_no_markers_in_the_other_half() -> None:
    """Tested where they were found, most markers of a cluster of noise look sure; in the other half, one in twenty."""
    p_other, p_same = [], []
    for seed in range(4):
        adata = one_kind(seed)
        lx.tl.split_counts(adata, rng=seed)
        p_other += list(clustered(adata, test_layer="split_b")["p"])
        # The mistake: both layers hold the same molecules.
        adata.layers["split_b"] = adata.layers["split_a"]
        p_same += list(clustered(adata, test_layer="split_b")["p"])
    assert np.mean(np.array(p_other) < 0.05) < 0.09
    assert np.mean(np.array(p_same) < 0.05) > 0.3


def test_real_differences_are_found_in_the_other_half() -> None:
    adata = one_kind(3)
    counts = adata.X.toarray()
    counts[:100, :5] += np.random.default_rng(0).poisson(12, (100, 5))
    adata.X = sp.csr_matrix(counts)
    lx.tl.split_counts(adata)
    found = clustered(adata, test_layer="split_b")
    assert set(found.loc[found["q"] < 1e-10, "gene"]) == {f"g{i}" for i in range(5)}
    assert (found.loc[found["q"] < 1e-10, "difference_test"] > 0.3).all()


def test_without_a_split_there_are_no_p_values() -> None:
    adata = one_kind()
    lx.tl.split_counts(adata)
    assert not {"p", "q"} & set(clustered(adata).columns)


def test_the_same_seed_gives_the_same_halves_and_nothing_else_changes() -> None:
    adata = one_kind()
    before = adata.X.copy()
    made = lx.tl.split_counts(adata, rng=7, copy=True)
    lx.tl.split_counts(adata, rng=7)
    assert made is not None
    assert (made.layers["split_a"] != adata.layers["split_a"]).nnz == 0
    assert (before != adata.X).nnz == 0


def test_what_cannot_be_tested_is_refused() -> None:
    adata = one_kind()
    with pytest.raises(InputError, match="share must be between"):
        lx.tl.split_counts(adata, share=1.0)
    logged = adata.copy()
    logged.X = sp.csr_matrix(np.log1p(adata.X.toarray() * 0.7))
    with pytest.raises(InputError):
        lx.tl.split_counts(logged)
    lx.tl.split_counts(adata)
    adata.layers["mine"] = adata.X.copy()
    lx.emb.expression_pca(adata, n_components=5)
    for layer, error, words in [
        ("split_c", MissingKeyError, "'split_a', 'split_b'"),
        ("mine", MissingKeyError, "not one half"),
        ("split_b", InputError, "same molecules"),
    ]:
        with pytest.raises(error, match=words):
            lx.tl.cluster(adata, use_rep="X_expression", test_layer=layer, umap=False)


def test_the_commands_split_and_test(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from click.testing import CliRunner

    from lexicell.cli import cli

    adata = one_kind(3)
    counts = adata.X.toarray()
    counts[:100, :5] += np.random.default_rng(0).poisson(12, (100, 5))
    adata.X = sp.csr_matrix(counts)
    halves, found = tmp_path / "halves.h5ad", tmp_path / "found.h5ad"
    adata.write_h5ad(tmp_path / "cells.h5ad")
    assert CliRunner().invoke(cli, ["split-counts", str(tmp_path / "cells.h5ad"), "-o", str(halves)]).exit_code == 0
    split_file = anndata.read_h5ad(halves)
    lx.emb.expression_pca(split_file, layer="split_a", n_components=5)
    split_file.write_h5ad(halves)
    command = ["cluster", str(halves), "-o", str(found), "--use-rep", "X_expression", "--n-clusters", "2",
               "--no-umap", "--n-repeats", "0", "--test-layer", "split_b"]  # fmt: skip
    with pytest.warns(UserWarning, match="no words"):
        done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    markers = anndata.read_h5ad(found).uns["lexicell"]["X_expression"]["cluster"]["markers"]
    assert set(markers.loc[markers["q"] < 1e-10, "gene"]) == {f"g{i}" for i in range(5)}
