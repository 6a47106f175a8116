"""Clusters on planted kinds of cells: found, described, reproducible, and written where they should be."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from lexicell import tl
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.agreement import stability


def _result(adata, key="X_text"):
    return adata.uns["lexicell"][key]["cluster"]


def _of_kind(adata, column="text_leiden"):
    """Cluster in which most cells of each kind are."""
    return pd.crosstab(adata.obs["kind"], adata.obs[column]).idxmax(axis=1)


@pytest.mark.parametrize("options", [{}, {"n_clusters": 3}], ids=["leiden", "leiden-to-a-number"])
def test_planted_kinds_are_found(kinds_adata, planted_genes, lexicon, options):
    tl.cluster(kinds_adata, genes=planted_genes, umap=False, resolution=0.5, **options)
    assert adjusted_rand_score(kinds_adata.obs["kind"], kinds_adata.obs["text_leiden"]) > 0.9
    assert _result(kinds_adata)["params"]["n_clusters"] == 3


def test_clusters_are_scanpys(kinds_adata, planted_genes, lexicon):
    tl.cluster(kinds_adata, genes=planted_genes, rng=3)
    plain = anndata.AnnData(kinds_adata.X, obs=kinds_adata.obs[[]].copy(), obsm={"X_text": kinds_adata.obsm["X_text"]})
    sc.pp.neighbors(plain, n_neighbors=15, use_rep="X_text", random_state=3)
    sc.tl.leiden(plain, flavor="igraph", n_iterations=2, directed=False, random_state=3)
    sc.tl.umap(plain, random_state=3)
    assert adjusted_rand_score(plain.obs["leiden"], kinds_adata.obs["text_leiden"]) == 1.0
    np.testing.assert_allclose(kinds_adata.obsm["X_text_umap"], plain.obsm["X_umap"], rtol=1e-6)
    assert (plain.obsp["connectivities"] != kinds_adata.obsp["text_connectivities"]).nnz == 0


def test_scanpy_goes_on_from_the_results(kinds_adata, planted_genes, lexicon):
    tl.cluster(kinds_adata, genes=planted_genes)
    sc.tl.leiden(
        kinds_adata,
        neighbors_key="text_neighbors",
        key_added="again",
        flavor="igraph",
        n_iterations=2,
        directed=False,
        random_state=0,
    )
    assert adjusted_rand_score(kinds_adata.obs["again"], kinds_adata.obs["text_leiden"]) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # scanpy's plots on a newer matplotlib
        axes = sc.pl.embedding(kinds_adata, basis="text_umap", color="text_leiden", show=False)
    assert axes.get_title() == "text_leiden"


def test_the_users_own_results_stay(kinds_adata, planted_genes, lexicon):
    sc.pp.neighbors(kinds_adata, use_rep="X_text", n_neighbors=5)
    sc.tl.umap(kinds_adata)
    kinds_adata.obs["leiden"] = pd.Categorical(["mine"] * kinds_adata.n_obs)
    before = kinds_adata.copy()
    tl.cluster(kinds_adata, genes=planted_genes)
    assert (kinds_adata.obsp["connectivities"] != before.obsp["connectivities"]).nnz == 0
    assert np.array_equal(kinds_adata.obsm["X_umap"], before.obsm["X_umap"])
    assert (kinds_adata.obs["leiden"] == "mine").all()
    assert (kinds_adata.X != before.X).nnz == 0
    assert set(kinds_adata.obs) - set(before.obs) == {"text_leiden"}
    assert set(kinds_adata.uns) - set(before.uns) == {"text_neighbors"}
    assert set(kinds_adata.obsm) - set(before.obsm) == {"X_text_umap"}
    assert set(kinds_adata.obsp) - set(before.obsp) == {"text_connectivities", "text_distances"}


def test_key_added_names_the_column(kinds_adata, planted_genes, lexicon):
    tl.cluster(kinds_adata, genes=planted_genes, key_added="mine", umap=False)
    assert "mine" in kinds_adata.obs
    assert "text_leiden" not in kinds_adata.obs
    assert "X_text_umap" not in kinds_adata.obsm


def test_each_cluster_gets_its_planted_genes_and_words(kinds_adata, planted_genes, lexicon):
    tl.cluster(kinds_adata, genes=planted_genes, n_clusters=3, umap=False)
    markers, concepts = _result(kinds_adata)["markers"], _result(kinds_adata)["concepts"]
    for k, kind in enumerate(("alpha", "beta", "gamma")):
        label = _of_kind(kinds_adata)[kind]
        top = markers[(markers["group"] == label) & (markers["rank"] <= 15)]["gene"]
        assert set(top) <= {f"g{i}" for i in range(20 * k, 20 * k + 20)}
        words = concepts[concepts["group"] == label]
        assert words.iloc[0]["concept"] == kind
        assert set(words.iloc[0]["genes"].split(", ")) <= {f"g{i}" for i in range(20 * k, 20 * k + 20)}
        assert _result(kinds_adata)["table"].loc[label, "cell_types"].split("; ")[0] == kind


def test_no_clear_word_where_no_phrase_goes_up(kinds_adata, planted_genes, unrelated, monkeypatch):
    from lexicell.tl import words as _words

    monkeypatch.setattr(_words, "shipped_lexicon", lambda genes: _words.phrases_of(unrelated, genes))
    tl.cluster(kinds_adata, genes=planted_genes, n_clusters=3, umap=False)
    assert (_result(kinds_adata)["table"]["cell_types"] == "no clear word").all()
    assert (_result(kinds_adata)["table"]["processes"] == "no clear word").all()


def test_tissue_keeps_words_of_other_tissues_out(kinds_adata, planted_genes, phrases, monkeypatch):
    from dataclasses import replace

    from lexicell.tl import words as _words

    def shipped(genes):
        found = _words.phrases_of(phrases, genes)
        tissues = [("liver",) if name == "alpha" else ("brain",) for name in found.names]
        return replace(found, cell_types=np.ones(len(found.names), dtype=bool), tissues=tissues)

    monkeypatch.setattr(_words, "shipped_lexicon", shipped)
    for tissue, named in (("brain", {"beta", "gamma"}), (["brain", "liver"], {"alpha", "beta", "gamma"})):
        tl.cluster(kinds_adata, genes=planted_genes, n_clusters=3, umap=False, tissue=tissue)
        words = _result(kinds_adata)["concepts"]
        assert set(words.loc[words["rank"] == 1, "concept"]) >= named
        assert ("alpha" in set(words["concept"])) == ("alpha" in named)
        assert _result(kinds_adata)["params"]["tissue"] == (tissue if isinstance(tissue, str) else ", ".join(tissue))


def test_shuffled_texts_do_not_find_the_words(kinds_adata, planted_genes, phrases, lexicon):
    from lexicell.core.controls import shuffled

    tl.cluster(kinds_adata, genes=shuffled(planted_genes, seed=1), n_clusters=3, umap=False)
    concepts = _result(kinds_adata)["concepts"]
    hits = [
        kind in set(concepts[(concepts["group"] == _of_kind(kinds_adata)[kind]) & (concepts["z"] > 4)]["concept"])
        for kind in ("alpha", "beta", "gamma")
    ]
    assert not any(hits)


def test_markers_equal_plain_means(kinds_adata, planted_genes, lexicon):
    tl.cluster(kinds_adata, genes=planted_genes, umap=False)
    counts = kinds_adata.X.toarray().astype(float)
    log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    row = _result(kinds_adata)["markers"].iloc[0]
    inside = (kinds_adata.obs["text_leiden"] == row["group"]).to_numpy()
    gene = kinds_adata.var_names.get_loc(row["gene"])
    assert row["mean"] == pytest.approx(log[inside, gene].mean(), rel=1e-5)
    assert row["difference"] == pytest.approx(log[inside, gene].mean() - log[~inside, gene].mean(), rel=1e-5)
    assert row["share_rest"] == pytest.approx((counts[~inside, gene] > 0).mean())
    differences = log[inside].mean(axis=0) - log[~inside].mean(axis=0)
    assert row["gene"] == kinds_adata.var_names[differences.argmax()]


def test_table_counts_cells_and_says_which_clusters_are_stable(kinds_adata, planted_genes, lexicon):
    tl.cluster(kinds_adata, genes=planted_genes, n_clusters=3, umap=False)
    table = _result(kinds_adata)["table"]
    assert table["cells"].tolist() == kinds_adata.obs["text_leiden"].value_counts().tolist()
    assert table["cells"].is_monotonic_decreasing
    assert table["share"].sum() == pytest.approx(1)
    assert (table["stability"] > 0.95).all()
    assert _result(kinds_adata)["params"]["repeat_ari"] > 0.95


def test_clusters_cut_out_of_noise_are_not_stable(kinds_adata, planted_genes, lexicon, rng):
    noise = rng.normal(size=(kinds_adata.n_obs, 20)).astype(np.float32)
    codes, *repeats = (tl.kmeans(noise, 6, seed) for seed in range(6))
    assert stability(codes, repeats).mean() < 0.6
    kinds_adata.obsm["X_text"] = noise
    tl.cluster(kinds_adata, genes=planted_genes, n_clusters=6, umap=False)
    assert _result(kinds_adata)["table"]["stability"].mean() < 0.7  # real kinds reach .95


@pytest.mark.parametrize("wanted", [1, 2, 5, 8, 12])
def test_leiden_searches_for_the_wanted_number(kinds_adata, planted_genes, lexicon, wanted):
    line = np.linspace(0, 10, kinds_adata.n_obs)
    kinds_adata.obsm["X_text"] = np.column_stack([line, np.sin(line)])  # one piece, that can be cut anywhere
    tl.cluster(kinds_adata, genes=planted_genes, n_clusters=wanted, n_repeats=0, umap=False)
    assert kinds_adata.obs["text_leiden"].nunique() == wanted
    assert np.isnan(_result(kinds_adata)["table"]["stability"]).all()


def test_a_number_out_of_reach_is_said(kinds_adata, planted_genes, lexicon):
    with pytest.warns(UserWarning, match="asked for 150 clusters, Leiden comes no nearer than"):
        tl.cluster(kinds_adata, genes=planted_genes, n_clusters=150, n_repeats=0, umap=False)


def test_same_bits_for_a_seed_and_any_number_of_threads(kinds_adata, planted_genes, lexicon):
    runs = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            runs.append(tl.cluster(kinds_adata, genes=planted_genes, rng=7, copy=True))
    one, two = runs
    assert (one.obs["text_leiden"] == two.obs["text_leiden"]).all()
    assert np.array_equal(one.obsm["X_text_umap"], two.obsm["X_text_umap"])
    pd.testing.assert_frame_equal(_result(one)["concepts"], _result(two)["concepts"])
    assert "text_leiden" not in kinds_adata.obs


def test_a_generator_seeds_too(kinds_adata, planted_genes, lexicon):
    maps = [
        tl.cluster(kinds_adata, genes=planted_genes, rng=np.random.default_rng(s), copy=True).obsm["X_text_umap"]
        for s in (1, 1, 2)
    ]
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_another_order_of_cells_gives_the_same_kinds(kinds_adata, planted_genes, lexicon, rng):
    turned = kinds_adata[rng.permutation(kinds_adata.n_obs)].copy()
    for data in (kinds_adata, turned):
        tl.cluster(data, genes=planted_genes, n_clusters=3, umap=False)
    both = kinds_adata.obs["text_leiden"], turned.obs["text_leiden"].reindex(kinds_adata.obs_names)
    assert adjusted_rand_score(*both) > 0.95


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_survive_a_file(kinds_adata, planted_genes, lexicon, tmp_path, suffix):
    tl.cluster(kinds_adata, genes=planted_genes)
    path = tmp_path / f"a.{suffix}"
    getattr(kinds_adata, f"write_{suffix}")(path)
    again = getattr(anndata, f"read_{suffix}")(path)
    for name in ("table", "markers", "concepts"):
        pd.testing.assert_frame_equal(
            _result(again)[name],
            _result(kinds_adata)[name],
            check_dtype=False,
            check_index_type=False,
            check_column_type=False,
        )
    assert _result(again)["params"]["words"] == "test phrases"


def test_without_gene_vectors_clusters_get_genes_but_no_words(kinds_adata):
    kinds_adata.uns.clear()
    with pytest.warns(UserWarning, match="clusters get no words: nothing is recorded on the gene vectors behind"):
        tl.cluster(kinds_adata, umap=False)
    assert "concepts" not in _result(kinds_adata)
    assert (_result(kinds_adata)["table"]["genes"] != "").all()


def test_genes_without_texts_or_annotation_get_no_words(kinds_adata, planted_genes):
    with pytest.warns(UserWarning, match="no word of the shipped lexicon finds a gene"):
        tl.cluster(kinds_adata, genes=planted_genes, umap=False)


def test_scaled_expression_gives_clusters_without_genes(kinds_adata, planted_genes):
    kinds_adata.X = kinds_adata.X.toarray() - 1.0
    kinds_adata.uns.clear()
    with pytest.warns(UserWarning, match="clusters get no genes and no words"):
        tl.cluster(kinds_adata, genes=planted_genes, umap=False)
    assert "text_leiden" in kinds_adata.obs


def test_five_cells_are_enough(kinds_adata, planted_genes, lexicon):
    few = kinds_adata[:5].copy()
    with pytest.warns(UserWarning, match="5 cells have 4 neighbors, not 15"):
        tl.cluster(few, genes=planted_genes)
    assert few.obsm["X_text_umap"].shape == (5, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"use_rep": "X_txt"}, MissingKeyError, "no representation 'X_txt': obsm holds 'X_text'"),
        ({"n_clusters": 0}, InputError, "between 1 and the number of cells, 180; got 0"),
        ({"n_clusters": 181}, InputError, "got 181"),
        ({"resolution": 0.0}, InputError, "resolution must be above 0"),
        ({"n_neighbors": 1}, InputError, "n_neighbors at least 2"),
        ({"n_repeats": 99999999999}, InputError, "n_repeats may be at most 10,000"),
    ],
    ids=["no-rep", "none", "too-many", "resolution", "neighbors", "repeats"],
)
def test_bad_input_is_refused_and_nothing_written(kinds_adata, options, error, message):
    before = kinds_adata.copy()
    with pytest.raises(error, match=message):
        tl.cluster(kinds_adata, **options)
    assert list(kinds_adata.obs) == list(before.obs)
    assert list(kinds_adata.obsm) == list(before.obsm)


def test_too_few_cells_are_refused(kinds_adata):
    with pytest.raises(InputError, match="4 cells cannot be clustered; at least 5"):
        tl.cluster(kinds_adata[:4].copy())


def test_nan_is_refused_by_cell(kinds_adata):
    kinds_adata.obsm["X_text"][8, 2] = np.nan
    with pytest.raises(InputError, match=r"1 cells have NaN or infinity in obsm\['X_text'\]: 'c8'"):
        tl.cluster(kinds_adata)
