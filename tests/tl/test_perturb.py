"""Genes removed and over-expressed, against embedding the changed counts; the ranking, against single removals."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lexicell import emb, tl
from lexicell._errors import InputError, MissingKeyError
from lexicell.tl import words as _words

TARGETS = ["g3", "g25", "g100"]


@pytest.fixture
def embedded(kinds_adata, planted_genes):
    def make(preset="whitened", **options):
        del kinds_adata.obsm["X_text"], kinds_adata.uns["lexicell"]
        kinds_adata.obs["total"] = np.asarray(kinds_adata.X.sum(axis=1)).ravel()
        kinds_adata.obs["larger"] = 2 * kinds_adata.obs["total"]
        emb.cells(kinds_adata, planted_genes, preset=preset, store_genes=True, **options)
        if preset == "whitened":
            emb.fuse(kinds_adata, n_top_genes=150, n_components=8)
        return kinds_adata

    return make


def _changed(adata, fold, targets=TARGETS):
    other = anndata.AnnData(adata.X.copy(), obs=adata.obs.copy(), var=adata.var[[]].copy())
    X = other.X.toarray()
    X[:, adata.var_names.get_indexer(targets)] *= fold
    other.X = sp.csr_matrix(X)
    return other


@pytest.mark.parametrize("library", ["fixed", "recomputed"])
@pytest.mark.parametrize("fold", [0.0, 3.0], ids=["removed", "tripled"])
@pytest.mark.parametrize(
    ("preset", "top_n"), [("paper", 30), ("paper", None), ("genept-w", None), ("scelmo-wa", None), ("scelmo-aa", 50)]
)
def test_it_is_what_embedding_the_changed_counts_gives(embedded, planted_genes, preset, top_n, fold, library):
    # Totals over more genes than the matrix holds: a library that stays fixed must bear what is over-expressed.
    adata = embedded(preset, top_n=top_n, library_size="larger")
    tl.perturb(adata, TARGETS, fold=fold, library=library)
    other = _changed(adata, fold)
    if library == "recomputed":
        other.obs["larger"] += np.asarray(other.X.sum(axis=1) - adata.X.sum(axis=1)).ravel()
    emb.cells(other, planted_genes, preset=preset, top_n=top_n, library_size="larger")
    np.testing.assert_allclose(adata.obsm["X_text_perturb"], other.obsm["X_text"], rtol=1e-4, atol=1e-5)
    assert abs(other.obsm["X_text"] - adata.obsm["X_text"]).max() > 1e-4


def _log(adata, totals):
    return np.log1p(1e4 * adata.X.toarray().astype(float) / np.asarray(totals)[:, None])


@pytest.mark.parametrize("library", ["fixed", "recomputed"])
def test_moments_and_space_stay_those_of_the_data_set(embedded, library):
    adata = embedded()
    tl.perturb(adata, TARGETS, library=library)
    other = _changed(adata, 0)
    totals = adata.obs["total"] if library == "fixed" else np.asarray(other.X.sum(axis=1)).ravel()
    before, after = _log(adata, adata.obs["total"]), _log(other, totals)
    z = np.clip((after - before.mean(axis=0)) / before.std(axis=0), -10, 10)
    from lexicell.core.genes.gene_space import GeneSpace

    entry = adata.uns["lexicell"]["X_text"]
    space = GeneSpace.from_dict(entry["space"])
    expected = z @ space.transform(entry["gene_vectors"]["vectors"])
    np.testing.assert_allclose(adata.obsm["X_text_perturb"], expected, atol=2e-3)


def test_logged_data_are_changed_as_counts_are(embedded, planted_genes):
    adata = embedded("scelmo-aa")
    logged = anndata.AnnData(sp.csr_matrix(_log(adata, adata.obs["total"])), obs=adata.obs[["kind"]], var=adata.var[[]])
    emb.cells(logged, planted_genes, preset="scelmo-aa", normalization="log1p", store_genes=True)
    for library in ("fixed", "recomputed"):
        tl.perturb(adata, TARGETS, fold=0.5, library=library)
        tl.perturb(logged, TARGETS, fold=0.5, library=library)
        np.testing.assert_allclose(logged.obsm["X_text_perturb"], adata.obsm["X_text_perturb"], rtol=1e-4, atol=1e-6)


def test_concept_scores_follow(embedded, planted_genes, phrases):
    adata = embedded()
    tl.perturb(adata, [f"g{i}" for i in range(5)], queries=phrases, groupby="kind")
    before, after = (
        _log(adata, adata.obs["total"]),
        _log(_changed(adata, 0, [f"g{i}" for i in range(5)]), adata.obs["total"]),
    )
    sd = before.std(axis=0)
    change = np.clip((after - before.mean(axis=0)) / sd, -10, 10) - np.clip(
        (before - before.mean(axis=0)) / sd, -10, 10
    )
    sets = _words.phrases_of(phrases, planted_genes).sets(planted_genes.ids).toarray()
    raw = change @ sets.T
    table = adata.uns["lexicell"]["X_text"]["perturb"]["concepts"].set_index(["group", "concept"])
    for kind in ("alpha", "beta"):
        inside = (adata.obs["kind"] == kind).to_numpy()
        assert table.loc[(kind, "alpha"), "change"] == pytest.approx(raw[inside, 0].mean(), rel=1e-4)
    assert table.loc[("alpha", "alpha"), "z_change"] < table.loc[("beta", "alpha"), "z_change"] < 0
    # Scaled by the spread of each cell's random sets before the change.
    cell, mean = 17, before.mean(axis=0)
    z = np.clip((before[cell] - mean) / sd, -10, 10)
    bins = np.searchsorted(np.quantile(mean, np.linspace(0, 1, 11)[1:-1]), mean, side="right")
    variance = np.array([z[bins == b].var() for b in bins])
    expected = raw[cell, 0] / np.sqrt(sets[0] ** 2 @ variance)
    assert adata.obsm["text_perturb_concepts"]["alpha"].iloc[cell] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_table_says_how_far_groups_move(embedded):
    adata = embedded()
    tl.perturb(adata, [f"g{i}" for i in range(20)], groupby="kind")
    table = adata.uns["lexicell"]["X_text"]["perturb"]["table"].set_index("group")
    moved = adata.obsm["X_text_perturb"].astype(float) - adata.obsm["X_text"]
    inside = (adata.obs["kind"] == "alpha").to_numpy()
    assert table.loc["alpha", "shift"] == pytest.approx(np.linalg.norm(moved[inside].mean(axis=0)), rel=1e-3)
    assert table.loc["alpha", "moved"] == pytest.approx(np.linalg.norm(moved[inside], axis=1).mean(), rel=1e-3)
    assert table.loc["alpha", "shift"] > table.loc["beta", "shift"]
    assert table["expressing"].between(0, 1).all()


def test_a_fused_representation_moves_by_text_and_expression(embedded):
    adata = embedded()
    tl.perturb(adata, "g3", use_rep="X_text_fused")
    moved = adata.obsm["X_text_fused_perturb"] - adata.obsm["X_text_fused"]
    without = adata.X[:, adata.var_names.get_loc("g3")].toarray().ravel() == 0
    np.testing.assert_allclose(moved[without], 0, atol=1e-4)
    assert abs(moved[~without]).max() > 1e-2


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_survive_a_file(embedded, phrases, tmp_path, suffix):
    adata = embedded()
    tl.perturb(adata, TARGETS, queries={"ATP/ADP ratio": phrases["alpha"]}, groupby="kind")
    getattr(adata, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(anndata, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    tables = [a.uns["lexicell"]["X_text"]["perturb"]["table"] for a in (again, adata)]
    pd.testing.assert_frame_equal(*tables, check_dtype=False)
    assert list(again.obsm["text_perturb_concepts"].columns) == ["ATP∕ADP ratio"]
    assert list(again.uns["lexicell"]["X_text"]["perturb"]["params"]["targets"]) == TARGETS


@pytest.mark.parametrize(
    ("targets", "options", "error", "message"),
    [
        (["g1", "nope"], {}, MissingKeyError, "1 of the genes to change are not in the data: 'nope'"),
        ([], {}, InputError, "name at least one gene"),
        (["g1", "g1"], {}, InputError, "each once"),
        ("g1", {"fold": -1}, InputError, "fold must be a number of at least 0"),
        ("g1", {"fold": 1}, InputError, "not 1"),
        ("g1", {"library": "other"}, InputError, "unknown library 'other'"),
        ("g1", {"groupby": "knd"}, MissingKeyError, "no column in obs 'knd'"),
        ("g1", {"use_rep": "X_txt"}, MissingKeyError, "no representation 'X_txt'"),
    ],
    ids=["unknown", "none", "twice", "negative", "one", "library", "column", "rep"],
)
def test_bad_input_is_refused(embedded, targets, options, error, message):
    adata = embedded()
    before = list(adata.obsm)
    with pytest.raises(error, match=message):
        tl.perturb(adata, targets, **options)
    assert list(adata.obsm) == before
