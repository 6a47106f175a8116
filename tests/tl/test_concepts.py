"""Phrases find the cells and groups that express them; tests are at donor level."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

import lexicell as lx
from lexicell import emb, tl
from lexicell._errors import InputError, MissingKeyError
from lexicell.embedders.local import weights as _weights
from lexicell.tl import words as _words

KINDS = ("alpha", "beta", "gamma")


@pytest.fixture
def asked(kinds_adata, planted_genes, phrases):
    """Options of a call with the test phrases."""
    return {"queries": dict(phrases), "genes": planted_genes}


def _sets(phrases, genes, n_genes=50):
    return _words.phrases_of(phrases, genes).sets(genes.ids, n_genes=n_genes).toarray()


def _table(adata):
    return adata.uns["lexicell"]["X_text"]["concepts"]["table"]


def test_cells_of_a_kind_score_highest_on_their_phrase(kinds_adata, asked):
    tl.concepts(kinds_adata, **asked)
    scores = kinds_adata.obsm["text_concepts"]
    assert list(scores.columns) == list(asked["queries"])
    for kind in KINDS:
        inside = (kinds_adata.obs["kind"] == kind).to_numpy()
        auc = stats.mannwhitneyu(scores.loc[inside, kind], scores.loc[~inside, kind]).statistic / (
            inside.sum() * (~inside).sum()
        )
        assert auc > 0.99


def test_scores_equal_a_dense_computation(kinds_adata, asked, planted_genes, phrases):
    tl.concepts(kinds_adata, **asked, n_genes=15)
    counts = kinds_adata.X.toarray().astype(float)
    log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    z = np.clip((log - log.mean(axis=0)) / log.std(axis=0), -10, 10)
    W = _sets(phrases, planted_genes, n_genes=15)
    bins = np.searchsorted(np.quantile(log.mean(axis=0), np.linspace(0, 1, 11)[1:-1]), log.mean(axis=0), side="right")
    cell, q = 17, 4
    mean = np.array([z[cell, bins == b].mean() for b in bins])
    var = np.array([z[cell, bins == b].var() for b in bins])
    expected = (W[q] @ (z[cell] - mean)) / np.sqrt(W[q] ** 2 @ var)
    assert kinds_adata.obsm["text_concepts"].iloc[cell, q] == pytest.approx(expected, rel=1e-3)


def test_shuffled_texts_know_nothing(kinds_adata, asked, planted_genes):
    from lexicell.core.controls import shuffled

    tl.concepts(kinds_adata, **asked | {"genes": shuffled(planted_genes, seed=3)}, groupby="kind")
    assert _table(kinds_adata)["z"].abs().max() < 4.5


def test_groups_are_ranked_by_their_phrase_and_name_its_genes(kinds_adata, asked):
    tl.concepts(kinds_adata, **asked, groupby="kind")
    table = _table(kinds_adata)
    assert len(table) == 3 * 12
    for k, kind in enumerate(KINDS):
        best = table[table["group"] == kind].sort_values("z").iloc[-1]
        assert best["concept"] == kind
        assert best["z"] > 6
        assert set(best["genes"].split(", ")) <= {f"g{i}" for i in range(20 * k, 20 * k + 20)}
    assert "p" not in table


def _with_donors(adata, rng, n=6):
    adata.obs["donor"] = pd.Categorical([f"d{i}" for i in rng.integers(0, n, adata.n_obs)])


def test_donors_make_a_test(kinds_adata, asked, rng):
    _with_donors(kinds_adata, rng)
    tl.concepts(kinds_adata, **asked, groupby="kind", donor="donor", min_cells=3)
    table = _table(kinds_adata)
    own = table[table["group"] == table["concept"]]
    assert (own["q"] < 0.01).all()
    assert (own["donors"] == 6).all()


@pytest.mark.parametrize("n_unknown", [0, 25], ids=["all cells have a group", "some have none"])
def test_donor_differences_are_plain_means(kinds_adata, asked, rng, planted_genes, phrases, n_unknown):
    """The t has the sign and, before moderation, the numerator of the mean difference over donors."""
    from lexicell.core.donors.moderated import moderated_t
    from lexicell.core.donors.shift import Design

    _with_donors(kinds_adata, rng)
    kinds_adata.obs.loc[kinds_adata.obs_names[:n_unknown], "kind"] = np.nan
    tl.concepts(kinds_adata, **asked, groupby="kind", donor="donor", min_cells=3)
    counts = kinds_adata.X.toarray().astype(float)
    log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    z = np.clip((log - log.mean(axis=0)) / log.std(axis=0), -10, 10)
    S = z @ _sets(phrases, planted_genes).T
    inside, known = (kinds_adata.obs["kind"] == "beta").to_numpy(), kinds_adata.obs["kind"].notna().to_numpy()
    rows = []
    for d in sorted(kinds_adata.obs["donor"].unique()):
        here = (kinds_adata.obs["donor"] == d).to_numpy() & known
        rows.append(S[here & inside].mean(axis=0) - S[here & ~inside].mean(axis=0))
    expected = moderated_t(np.array(rows), Design.of(np.ones(len(rows)), is_paired=True), shared_noise=True)
    table = _table(kinds_adata)
    np.testing.assert_allclose(table.query("group == 'beta'")["t"], expected.t, rtol=1e-4)


def test_without_an_effect_few_p_values_are_small(kinds_adata, asked, rng):
    hits = []
    for _ in range(12):
        _with_donors(kinds_adata, rng)
        kinds_adata.obs["group"] = pd.Categorical(rng.choice(["a", "b"], kinds_adata.n_obs))
        tl.concepts(kinds_adata, **asked, groupby="group", donor="donor", min_cells=3)
        hits.append(_table(kinds_adata).query("group == 'a'")["p"] < 0.05)
    assert np.mean(hits) < 0.12


def test_too_few_donors_give_no_p(kinds_adata, asked):
    kinds_adata.obs["donor"] = np.where(np.arange(kinds_adata.n_obs) % 2, "d1", "d2")
    tl.concepts(kinds_adata, **asked, groupby="kind", donor="donor")
    assert _table(kinds_adata)["p"].isna().all()
    assert (_table(kinds_adata)["donors"] == 2).all()


def test_cells_without_a_group_take_no_part(kinds_adata, asked):
    kinds_adata.obs.loc[kinds_adata.obs_names[:30], "kind"] = np.nan
    part = kinds_adata[30:].copy()
    tl.concepts(kinds_adata, **asked, groupby="kind")
    assert set(_table(kinds_adata)["group"]) == set(KINDS)
    tl.concepts(part, **asked, groupby="kind")
    # The z-scores of genes are over all cells in one and over fewer in the other; the order of phrases hardly moves.
    assert stats.spearmanr(_table(kinds_adata)["z"], _table(part)["z"]).statistic > 0.95


def test_the_shipped_lexicon_needs_no_model(kinds_adata, planted_genes, lexicon):
    tl.concepts(kinds_adata, genes=planted_genes)
    assert list(kinds_adata.obsm["text_concepts"].columns) == list(lexicon)


def test_known_phrases_take_the_lexicons_vectors_and_others_are_embedded(monkeypatch, kinds_adata, rng):
    from lexicell import GeneEmbedding, embedders
    from lexicell.sources import lexicon as shipped

    table, vectors = shipped.load()
    name, revision = shipped.manifest()["space"].partition("/")[0].split("@")
    genes = GeneEmbedding.from_vectors(
        kinds_adata.var_names,
        rng.normal(size=(240, vectors.shape[1])),
        provenance={"embedder": name, "revision": revision},
    )
    asked = []

    def fake(texts, embedder, **_):
        asked.extend(texts)
        return np.ones((len(texts), vectors.shape[1]), dtype=np.float32)

    monkeypatch.setattr(embedders, "embed", fake)
    got = _words.phrases_of([table["concept"][3].upper(), "my own phrase"], genes)
    assert asked == ["my own phrase"]
    np.testing.assert_array_equal(got.vectors[0], vectors[3])
    np.testing.assert_array_equal(got.vectors[1], 1.0)


def test_concepts_of_a_direction_are_those_its_genes_point_along(kinds_adata, asked, planted_genes):
    emb.cells(kinds_adata, planted_genes, preset="scelmo-aa", key_added="X_plain")
    beta = np.zeros(24)
    beta[1] = 2.0
    tl.concepts(kinds_adata, **asked, use_rep="X_plain", directions={"towards beta": beta, "away": -beta})
    found = kinds_adata.uns["lexicell"]["X_plain"]["concepts"]["directions"]
    assert found.groupby("group").size().tolist() == [12, 12]
    first, last = (found[(found["group"] == "towards beta") & (found["rank"] == r)].iloc[0] for r in (1, 12))
    assert first["concept"] == "beta"
    assert first["z"] > 6
    assert set(first["genes"].split(", ")) <= {f"g{i}" for i in range(20, 40)}
    assert found[(found["group"] == "away") & (found["concept"] == "beta")]["rank"].tolist() == [12]
    assert last["concept"] != "beta"
    weights = _sets(asked["queries"], planted_genes)[1]
    assert first["score"] == pytest.approx(weights @ planted_genes.vectors[:, 1], rel=1e-5)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_survive_a_file_even_with_a_slash(kinds_adata, asked, tmp_path, suffix):
    asked["queries"] = {"ATP/ADP ratio" if k == "alpha" else k: v for k, v in asked["queries"].items()}
    tl.concepts(kinds_adata, **asked, groupby="kind")
    getattr(kinds_adata, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(anndata, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    assert again.obsm["text_concepts"].columns[0] == "ATP∕ADP ratio"
    np.testing.assert_array_equal(again.obsm["text_concepts"].to_numpy(), kinds_adata.obsm["text_concepts"].to_numpy())
    assert "ATP/ADP ratio" in set(_table(again)["concept"])


def test_only_the_named_keys_are_written(kinds_adata, asked):
    before = kinds_adata.copy()
    new = tl.concepts(kinds_adata, **asked, copy=True)
    assert list(kinds_adata.obsm) == list(before.obsm)
    assert set(new.obsm) - set(before.obsm) == {"text_concepts"}
    assert list(new.obs) == list(before.obs)
    assert set(new.uns["lexicell"]) == {"X_text"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"queries": {}}, InputError, "a query is empty"),
        ({"queries": ["a", ""]}, InputError, "a query is empty"),
        ({"queries": ["a", "a"]}, InputError, "given more than once: a"),
        ({"queries": None}, InputError, "no word of the shipped lexicon finds a gene"),
        ({"queries": {"a": np.ones(5)}}, InputError, "has shape .5,., those of genes have 24 dimensions"),
        ({"groupby": "knd"}, MissingKeyError, "no column in obs 'knd'"),
        ({"donor": "kind"}, InputError, "donor= needs groupby="),
        ({"groupby": "one"}, InputError, "'one' holds 1 groups; at least two"),
        ({"n_genes": 0}, InputError, "n_genes must be at least 1"),
        ({"use_rep": "X_plain", "directions": {"a": np.ones(3)}}, InputError, "direction 'a' must be 24 numbers"),
    ],
    ids=[
        "none",
        "empty",
        "twice",
        "no-lexicon",
        "dims",
        "column",
        "donor",
        "one-group",
        "n-genes",
        "direction",
    ],
)
def test_bad_input_is_refused_and_nothing_written(kinds_adata, asked, change, error, message):
    kinds_adata.obs["one"] = "same"
    emb.cells(kinds_adata, asked["genes"], preset="scelmo-aa", key_added="X_plain")
    before = list(kinds_adata.obsm)
    with pytest.raises(error, match=message):
        tl.concepts(kinds_adata, **asked | change)
    assert list(kinds_adata.obsm) == before


@pytest.fixture
def local_genes(kinds_adata, rng):
    """Gene vectors that say the local embedder made them."""
    from lexicell import GeneEmbedding
    from lexicell.sources import lexicon as shipped

    name, revision = shipped.manifest()["space"].partition("/")[0].split("@")
    about = {"embedder": name, "revision": revision}
    return GeneEmbedding.from_vectors(kinds_adata.var_names, rng.normal(size=(240, 384)), provenance=about)


def test_a_query_longer_than_the_model_reads_is_said_every_time(kinds_adata, local_genes):
    pytest.importorskip("tokenizers")
    if not _weights.present():
        pytest.skip("no weights of the local embedder")
    long = "axonal transport of cargo along microtubules " * 60
    # The second time its vector comes from the store.
    for _ in range(2):
        with pytest.warns(UserWarning, match="is 5.. tokens long and embedder 'local' reads 256") as told:
            tl.concepts(kinds_adata, [long, "axonal transport"], genes=local_genes)
        assert len(told) == 1
        assert "the query 'axonal transport of cargo along" in str(told[0].message)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([], "a query is empty"),
        (["apoptosis", "  "], "a query is empty"),
        (["apoptosis", "?!"], r"holds no word: '\?!'"),
        (["apoptosis", "apoptosis "], "given more than once: apoptosis"),
    ],
    ids=["none", "blank", "marks", "twice"],
)
def test_bad_queries_are_refused_before_work(kinds_adata, local_genes, queries, message):
    with pytest.raises(InputError, match=message):
        tl.concepts(kinds_adata, queries, genes=local_genes)
    assert "text_concepts" not in kinds_adata.obsm


def test_names_of_cell_types_lead_to_their_cells(shared_data):
    """osmFISH, 33 genes of mouse cortex; and the median cells of mouse midbrain types, with oculomotor neurons."""
    cells = anndata.read_h5ad(shared_data / "osmfish.h5ad")
    cells = cells[np.asarray(cells.X.sum(axis=1)).ravel() > 40].copy()
    emb.cells(cells, emb.genes(cells, organism="mouse"))
    tl.concepts(cells, ["astrocyte", "microglia", "oligodendrocyte"], groupby="celltype")
    result = cells.uns["lexicell"]["X_text"]["concepts"]
    table = result["table"]
    best = table.loc[table.groupby("concept")["z"].idxmax()].set_index("concept")["group"]
    assert best["astrocyte"].startswith("Astrocyte")
    assert best["microglia"] == "Microglia"
    assert best["oligodendrocyte"].startswith("Oligodendrocyte")
    means = cells.obsm["text_concepts"].groupby(cells.obs["celltype"].astype(str)).mean()
    assert means["astrocyte"].idxmax().startswith("Astrocyte")
    reasons = result["genes"].set_index(["concept", "gene"])["reason"]
    assert reasons["astrocyte", "Gfap"].startswith("known gene of 'astrocyte'")

    medians = pd.read_csv(shared_data / "lamanno_mouse_medians.tsv.gz", sep="\t", index_col=0)
    medians = medians[~medians.index.duplicated()]
    types = anndata.AnnData(
        sp.csr_matrix(medians.to_numpy(np.float32).T),
        obs=pd.DataFrame(index=medians.columns),
        var=pd.DataFrame(index=medians.index),
    )
    emb.cells(types, emb.genes(types, organism="mouse"))
    tl.concepts(types, ["radial glia", "dopaminergic neuron", "motor neuron", "microglia"])
    leading = types.obsm["text_concepts"].idxmax()
    assert leading["radial glia"].startswith("mRgl")
    assert leading["dopaminergic neuron"].startswith("mDA")
    assert leading["motor neuron"] == "mOMTN"
    assert leading["microglia"] == "mMgl"


def test_unknown_words_are_said():
    adata = lx.datasets.pbmc68k_counts()
    emb.cells(adata, emb.genes(adata), library_size="n_counts")
    with pytest.warns(UserWarning, match="no gene was found for: 'zyxwvitis'"):
        tl.concepts(adata, {"zyxwvitis": np.ones(384)})
    with pytest.warns(UserWarning, match="a word of these phrases is in no text.*'apoptosis zyxwvitis'"):
        tl.concepts(adata, {"apoptosis zyxwvitis": np.ones(384)})
