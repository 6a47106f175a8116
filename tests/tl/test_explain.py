"""Parts of genes: exact for every linear representation, tied to the numbers that stand in the object."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from lexicell import emb, tl
from lexicell._errors import InputError, MissingKeyError
from lexicell.tl._linear import linear_form

PRESETS = ("paper", "genept-w", "scelmo-wa", "scelmo-aa", "whitened")


@pytest.fixture
def embedded(kinds_adata, planted_genes):
    """The cells of three kinds, embedded by the given preset, fused and with the expression baseline."""

    def make(preset="whitened", **options):
        del kinds_adata.obsm["X_text"], kinds_adata.uns["lexicell"]
        emb.cells(kinds_adata, planted_genes, preset=preset, store_genes=True, **options)
        if preset == "whitened":
            emb.fuse(kinds_adata, n_top_genes=150, n_components=8)
            emb.expression_pca(kinds_adata, n_top_genes=150, n_components=8)
        return kinds_adata

    return make


def _result(adata, key="X_text"):
    return adata.uns["lexicell"][key]["explain"]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_linear_form_is_the_embedding_of_every_cell(embedded, preset):
    adata = embedded(preset)
    form = linear_form(adata, "X_text")
    made = form.embed(np.arange(adata.n_obs))
    if form.is_scaled:
        made /= np.linalg.norm(made, axis=1, keepdims=True)
    np.testing.assert_allclose(made, adata.obsm["X_text"], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("top_n", [1, 30, 70])
def test_the_linear_form_keeps_the_same_top_genes(embedded, top_n):
    adata = embedded("paper", top_n=top_n)
    form = linear_form(adata, "X_text")
    assert np.diff(form.weights.indptr).max() == top_n
    np.testing.assert_allclose(form.embed(np.arange(adata.n_obs)), adata.obsm["X_text"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", ["X_text_fused", "X_expression"])
def test_the_linear_form_of_fusion_and_expression(embedded, key):
    adata = embedded()
    np.testing.assert_allclose(linear_form(adata, key).embed(np.arange(adata.n_obs)), adata.obsm[key], atol=2e-5)


@pytest.mark.parametrize("key", ["X_text", "X_text_fused", "X_expression"])
def test_parts_add_up_and_so_does_the_difference(embedded, key):
    adata = embedded()
    tl.explain(adata, groupby="kind", use_rep=key)
    table, totals = _result(adata, key)["table"], _result(adata, key)["totals"]
    assert (abs(table.groupby("group")["part"].sum() - 1) < 1e-6).all()
    assert (abs(totals["sum_of_parts"] - 1) < 1e-6).all()
    np.testing.assert_allclose(table["part_text"] + table["part_expression"], table["part"], atol=1e-12)
    for row in totals.itertuples():
        inside = (adata.obs["kind"] == row.group).to_numpy()
        delta = adata.obsm[key][inside].mean(axis=0, dtype=float) - adata.obsm[key][~inside].mean(axis=0, dtype=float)
        assert row.length == pytest.approx(np.linalg.norm(delta), rel=1e-4)


def test_a_part_is_what_a_loop_gives(embedded, planted_genes):
    adata = embedded("scelmo-wa")
    tl.explain(adata, groupby="kind", group="beta", n_genes=300)
    counts = adata.X.toarray().astype(float)
    log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    weights = log / log.sum(axis=1, keepdims=True)
    inside = (adata.obs["kind"] == "beta").to_numpy()
    change = weights[inside].mean(axis=0) - weights[~inside].mean(axis=0)
    delta = change @ planted_genes.vectors.astype(float)
    table = _result(adata)["table"].set_index("gene")
    for g in (0, 25, 100):
        expected = change[g] * (planted_genes.vectors[g].astype(float) @ delta) / (delta @ delta)
        assert table.loc[f"g{g}", "part"] == pytest.approx(expected, rel=1e-4)
        assert table.loc[f"g{g}", "mean"] == pytest.approx(log[inside, g].mean(), rel=1e-4)


def test_the_planted_genes_carry_the_difference(embedded):
    adata = embedded()
    tl.explain(adata, groupby="kind")
    table = _result(adata)["table"]
    for k, kind in enumerate(("alpha", "beta", "gamma")):
        top = table[(table["group"] == kind) & (table["rank"].between(1, 10))]
        planted = {f"g{i}" for i in range(60)}
        assert set(top["gene"]) <= planted
        up = top[top["change"] > 0]["gene"]
        assert len(set(up) & {f"g{i}" for i in range(20 * k, 20 * k + 20)}) >= 5


def test_genes_act_in_two_ways_where_text_and_expression_are_fused(embedded):
    adata = embedded()
    tl.explain(adata, groupby="kind", use_rep="X_text_fused")
    table = _result(adata, "X_text_fused")["table"]
    assert not table.duplicated(["group", "gene"]).any()
    assert (table["part_text"].abs() > 0).any()
    assert (table["part_expression"].abs() > 0).any()
    tl.explain(adata, groupby="kind", use_rep="X_expression")
    assert (_result(adata, "X_expression")["table"]["part_text"] == 0).all()


def test_unit_length_presets_are_explained_before_scaling(embedded):
    adata = embedded("genept-w")
    np.testing.assert_allclose(np.linalg.norm(adata.obsm["X_text"], axis=1), 1, rtol=1e-5)
    tl.explain(adata, groupby="kind", group="alpha")
    assert _result(adata)["params"]["before_scaling"]
    assert abs(_result(adata)["table"]["part"].sum() - 1) < 1e-6


def test_a_condition_within_a_type(embedded, rng):
    adata = embedded()
    adata.obs["state"] = rng.choice(["sick", "well"], adata.n_obs)
    tl.explain(adata, groupby="state", group="sick", reference="well", subset={"kind": "beta"})
    sick = ((adata.obs["state"] == "sick") & (adata.obs["kind"] == "beta")).to_numpy()
    totals = _result(adata)["totals"].iloc[0]
    assert totals["cells"] == sick.sum()
    assert totals["cells_reference"] == (adata.obs["kind"] == "beta").sum() - sick.sum()


def test_along_a_direction_parts_sum_to_the_distance_along_it(embedded, rng):
    adata = embedded()
    axis = rng.normal(size=adata.obsm["X_text"].shape[1])
    tl.explain(adata, groupby="kind", group="alpha", direction=axis)
    inside = (adata.obs["kind"] == "alpha").to_numpy()
    delta = adata.obsm["X_text"][inside].mean(axis=0, dtype=float) - adata.obsm["X_text"][~inside].mean(
        axis=0, dtype=float
    )
    totals = _result(adata)["totals"].iloc[0]
    assert totals["whole"] == pytest.approx(delta @ axis / np.linalg.norm(axis), rel=1e-3)
    assert _result(adata)["table"]["part"].sum() == pytest.approx(totals["whole"], rel=1e-9)


def test_a_classifiers_decision_is_split_exactly(embedded):
    from sklearn.linear_model import LogisticRegression

    adata = embedded()
    inside = (adata.obs["kind"] == "alpha").to_numpy()
    model = LogisticRegression(max_iter=1000).fit(adata.obsm["X_text"], inside)
    tl.explain(adata, groupby="kind", group="alpha", direction=model.coef_[0])
    decision = model.decision_function(adata.obsm["X_text"])
    gap = decision[inside].mean() - decision[~inside].mean()
    got = _result(adata)["table"]["part"].sum() * np.linalg.norm(model.coef_[0])
    assert got == pytest.approx(gap, rel=1e-4)


def test_a_concepts_score_is_split_into_its_genes(embedded, phrases):
    adata = embedded()
    alpha = {"alpha": phrases["alpha"]}
    tl.explain(adata, groupby="kind", group="alpha", concept=alpha, n_genes=10)
    tl.concepts(adata, alpha, groupby="kind")
    score = adata.uns["lexicell"]["X_text"]["concepts"]["table"].query("group == 'alpha'")["score"].iloc[0]
    assert _result(adata)["table"]["part"].sum() == pytest.approx(score, rel=1e-6)
    assert _result(adata)["totals"]["whole"].iloc[0] == pytest.approx(score, rel=1e-6)
    assert set(_result(adata)["table"]["gene"][:10]) <= {f"g{i}" for i in range(20)}


def test_the_score_of_one_cell_is_split_as_it_was_written(embedded, planted_genes, phrases):
    adata = embedded()
    tl.concepts(adata, phrases, genes=planted_genes)
    for cell in adata.obs_names[[3, 71]]:
        tl.explain(adata, group=cell, reference="nothing", concept={"beta": phrases["beta"]})
        totals, table = _result(adata)["totals"].iloc[0], _result(adata)["table"]
        written = adata.obsm["text_concepts"].loc[cell, "beta"]
        assert totals["whole_z"] == pytest.approx(written, rel=1e-4, abs=1e-4)
        assert table["part_z"].sum() == pytest.approx(totals["whole_z"], abs=1e-9)
        assert table["part"].sum() == pytest.approx(totals["whole"], abs=1e-9)


@pytest.mark.parametrize("key", ["X_text", "X_text_fused", "X_expression"])
def test_one_cells_own_embedding_is_split(embedded, key):
    adata = embedded()
    tl.explain(adata, group="c5", reference="nothing", use_rep=key, n_genes=10)
    totals, table = _result(adata, key)["totals"].iloc[0], _result(adata, key)["table"]
    assert table["part"].sum() == pytest.approx(1, abs=1e-9)
    length = np.linalg.norm(adata.obsm[key][adata.obs_names == "c5"].astype(float))
    assert totals["length"] == pytest.approx(length, rel=1e-4)
    assert totals["cells"] == 1
    # Principal components are taken about a center, which belongs to no gene.
    assert ("(no gene)" in set(table["gene"])) == (key != "X_text")
    assert np.isnan(table["mean_reference"].astype(float)).all()


def test_one_cell_against_a_group_and_against_the_rest(embedded):
    adata = embedded()
    for options, others in (({}, 179), ({"groupby": "kind", "reference": "gamma"}, 60)):
        tl.explain(adata, group=adata.obs_names[adata.obs["kind"] == "alpha"][0], **options)
        assert _result(adata)["totals"]["cells_reference"].tolist() == [others]
        assert abs(_result(adata)["table"]["part"].sum() - 1) < 1e-9


def test_a_decision_of_lexicells_classifier_adds_up_with_its_intercept(embedded):
    from lexicell.core.transfer.classify import fit_logistic

    adata = embedded()
    inside = (adata.obs["kind"] == "alpha").to_numpy()
    model = fit_logistic(adata.obsm["X_text"], inside, np.arange(adata.n_obs) % 5)
    log_odds = model.decision(adata.obsm["X_text"])
    tl.explain(adata, group="c9", reference="nothing", direction=model)
    table, totals = _result(adata)["table"], _result(adata)["totals"].iloc[0]
    assert table["part"].sum() == pytest.approx(totals["whole"], abs=1e-9)
    assert totals["whole"] == pytest.approx(log_odds[adata.obs_names.get_loc("c9")], rel=1e-4, abs=1e-4)
    assert table.set_index("gene").loc["(no gene)", "part"] != 0
    tl.explain(adata, groupby="kind", group="alpha", direction=model)
    gap = log_odds[inside].mean() - log_odds[~inside].mean()
    assert _result(adata)["table"]["part"].sum() == pytest.approx(gap, rel=1e-4)
    assert set(_result(adata)["table"]["gene"]) & {f"g{i}" for i in range(20)}


def test_one_class_of_several_is_explained_against_the_mean_of_all(embedded, rng):
    from lexicell.core.transfer.classify import LinearClassifier

    adata = embedded()
    k = adata.obsm["X_text"].shape[1]
    model = LinearClassifier(
        ("alpha", "beta", "gamma"),
        rng.normal(size=(3, k)),
        rng.normal(size=3),
        rng.normal(size=k),
        rng.uniform(1, 2, k),
    )
    scores = model.decision(adata.obsm["X_text"])[adata.obs_names.get_loc("c9")]
    tl.explain(adata, group="c9", reference="nothing", direction=model.one_class("beta"))
    whole = _result(adata)["totals"].iloc[0]["whole"]
    assert whole == pytest.approx(scores[1] - scores.mean(), rel=1e-3, abs=1e-3)
    assert _result(adata)["table"]["part"].sum() == pytest.approx(whole, abs=1e-9)
    with pytest.raises(InputError, match=r"name the class .* 'alpha', 'beta', 'gamma'"):
        tl.explain(adata, group="c9", direction=model)


def test_what_no_longer_is_a_sum_is_refused_with_advice(embedded):
    from lexicell.core.transfer.classify import LinearClassifier

    adata = embedded("genept-w")
    model = LinearClassifier(("a", "b"), np.ones((1, 24)), np.zeros(1), np.zeros(24), np.ones(24))
    with pytest.raises(InputError, match=r"unit length, .* not a sum over genes; embed with another preset"):
        tl.explain(adata, groupby="kind", direction=model)


def test_texts_are_quoted(embedded, planted_genes):
    from lexicell import GeneEmbedding

    adata = embedded()
    told = GeneEmbedding.from_vectors(
        planted_genes.ids,
        planted_genes.vectors,
        texts=[f"{g} does this. " + "More words. " * 20 for g in planted_genes.ids],
    )
    tl.explain(adata, groupby="kind", group="alpha", genes=told)
    row = _result(adata)["table"].iloc[0]
    assert row["text"].startswith(f"{row['gene']} does this.")
    assert len(row["text"]) <= 102


def test_all_other_genes_stand_in_one_row(embedded):
    adata = embedded()
    tl.explain(adata, groupby="kind", group="alpha", n_genes=5)
    table = _result(adata)["table"]
    assert table["gene"].tolist()[-1] == "(all other genes)"
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 0]
    assert table["part"][:5].abs().is_monotonic_decreasing


def test_text_sources_are_named(embedded):
    adata = embedded()
    adata.var["gene_text_source"] = "a table"
    tl.explain(adata, groupby="kind", use_rep="X_text_fused")
    table = _result(adata, "X_text_fused")["table"]
    assert set(table[table["rank"] > 0]["text_source"]) == {"a table"}


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_it_works_from_a_file_and_survives_one(embedded, tmp_path, suffix):
    adata = embedded()
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = getattr(anndata, f"read_{suffix}")(path)
    for data in (adata, again):
        tl.explain(data, groupby="kind", use_rep="X_text_fused")
    pd.testing.assert_frame_equal(
        _result(again, "X_text_fused")["table"], _result(adata, "X_text_fused")["table"], check_dtype=False, rtol=1e-5
    )
    getattr(again, f"write_{suffix}")(tmp_path / f"b.{suffix}")
    more = getattr(anndata, f"read_{suffix}")(tmp_path / f"b.{suffix}")
    assert _result(more, "X_text_fused")["params"]["groupby"] == "kind"


def test_counts_changed_since_are_noticed(embedded):
    adata = embedded()
    adata.X = adata.X[:, ::-1].copy()
    with pytest.raises(InputError, match="is not what its genes give now: cells, counts or gene vectors were changed"):
        tl.explain(adata, groupby="kind")


def test_other_gene_vectors_are_noticed(embedded, planted_genes):
    from lexicell.core.controls import shuffled

    with pytest.raises(InputError, match="is not what its genes give now"):
        tl.explain(embedded("scelmo-wa"), groupby="kind", genes=shuffled(planted_genes, seed=1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"groupby": "knd"}, MissingKeyError, "no column in obs 'knd'"),
        ({"group": "delta"}, MissingKeyError, "no group of obs.'kind'. among these cells 'delta'"),
        ({"reference": "delta"}, MissingKeyError, "'delta'"),
        ({"group": "alpha", "reference": "alpha"}, InputError, "has no other cells to be compared with"),
        ({"subset": {"kind": "alpha"}}, InputError, "has no other cells"),
        ({"subset": {"kind": "delta"}}, MissingKeyError, "no value of obs"),
        ({"use_rep": "X_txt"}, MissingKeyError, "no representation in obsm 'X_txt'"),
        ({"use_rep": "X_own"}, InputError, "nothing is recorded on how"),
        ({"concept": "a", "direction": [1.0]}, InputError, "not both"),
        ({"direction": [1.0]}, InputError, "a direction of .* numbers"),
        ({"n_genes": 0}, InputError, "n_genes must be at least 1"),
        ({"groupby": None}, InputError, "name what is explained"),
        ({"groupby": None, "group": "nobody"}, MissingKeyError, "no cell 'nobody'"),
        ({"concept": {"a": np.ones(24), "b": np.ones(24)}}, InputError, "takes one phrase, got 2"),
    ],
    ids=[
        "column",
        "group",
        "reference",
        "itself",
        "alone",
        "value",
        "rep",
        "own",
        "both",
        "direction",
        "n-genes",
        "nothing",
        "no-cell",
        "two-phrases",
    ],
)
def test_bad_input_is_refused(embedded, options, error, message):
    adata = embedded()
    adata.obsm["X_own"] = adata.obsm["X_text"]
    with pytest.raises(error, match=message):
        tl.explain(adata, **{"groupby": "kind"} | options)
    assert "explain" not in adata.uns["lexicell"]["X_text"]


def test_sentences_cannot_be_taken_apart(embedded):
    adata = embedded()
    adata.uns["lexicell"]["X_text"]["params"]["preset"] = "genept-s"
    with pytest.raises(InputError, match="'genept-s' is not a sum over genes"):
        tl.explain(adata, groupby="kind")
