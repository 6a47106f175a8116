"""Suggestions by name or description: right on planted kinds, none of these where the right type is not offered."""

import anndata
import numpy as np
import pytest

import lexicell as lx
from lexicell import pl, tl
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.controls import shuffled

KINDS = ("alpha", "beta", "gamma")


@pytest.fixture
def asked(planted_genes, phrases):
    return {"types": {k: phrases[k] for k in KINDS}, "genes": planted_genes}


def _accuracy(adata):
    return (adata.obs["text_suggested_best"].astype(str) == adata.obs["kind"].astype(str)).mean()


def test_kinds_are_suggested_by_cell_and_group(kinds_adata, asked):
    tl.annotate(kinds_adata, groupby="kind", **asked)
    assert _accuracy(kinds_adata) > 0.95
    table = kinds_adata.uns["lexicell"]["text_suggested"]["table"]
    assert table["suggested"].tolist() == list(KINDS)
    assert set(table["genes"].iloc[0].split(", ")) <= {f"g{i}" for i in range(20)}
    shares = kinds_adata.obsm["text_suggested"].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(kinds_adata.obs["text_suggested_confidence"], shares.max(axis=1), atol=1e-6)
    tl.annotate(kinds_adata, min_confidence=0.9, **asked)
    unsure = (kinds_adata.obs["text_suggested"] == "unsure").to_numpy()
    np.testing.assert_array_equal(unsure, kinds_adata.obs["text_suggested_confidence"] < 0.9)


def test_shuffled_texts_suggest_at_chance(kinds_adata, asked, planted_genes):
    got = []
    for seed in range(10):
        tl.annotate(kinds_adata, **asked | {"genes": shuffled(planted_genes, seed=seed)})
        got.append(_accuracy(kinds_adata))
    assert np.mean(got) < 0.5


def test_absent_candidates_change_nothing(kinds_adata, asked, phrases):
    tl.annotate(kinds_adata, **asked)
    before = kinds_adata.obs["text_suggested"].astype(str)
    more = {name: vector for name, vector in phrases.items() if name.startswith("other")}
    tl.annotate(kinds_adata, **asked | {"types": asked["types"] | more})
    types = kinds_adata.uns["lexicell"]["text_suggested"]["types"].set_index("type")
    assert set(types.index[types["found"]]) == set(KINDS)
    assert (kinds_adata.obs["text_suggested"].astype(str) == before).all()


def test_cells_of_a_type_that_is_not_offered_are_none_of_these(kinds_adata, asked, phrases):
    offered = {k: v for k, v in phrases.items() if k != "gamma" and not k.startswith("other")}
    tl.annotate(kinds_adata, **asked | {"types": offered}, groupby="kind")
    missing = (kinds_adata.obs["kind"] == "gamma").to_numpy()
    none = (kinds_adata.obs["text_suggested"] == "none of these").to_numpy()
    assert none[missing].mean() > 0.9
    assert none[~missing].mean() < 0.1
    table = kinds_adata.uns["lexicell"]["text_suggested"]["table"].set_index("group")
    assert table["suggested"].to_dict() == {"alpha": "alpha", "beta": "beta", "gamma": "none of these"}


@pytest.mark.parametrize("n_found", [0, 1])
def test_hardly_any_type_is_there(kinds_adata, asked, unrelated, n_found):
    offered = {k: asked["types"][k] for k in KINDS[:n_found]} | unrelated
    new = tl.annotate(kinds_adata, **asked | {"types": offered}, groupby="kind", copy=True)
    assert new.obsm["text_suggested"].shape == (180, n_found)
    assert new.obs["text_suggested_best"].isna().all() == (n_found == 0)
    assert new.obs["text_suggested_runner_up"].isna().all()
    suggested = new.uns["lexicell"]["text_suggested"]["table"]["suggested"].tolist()
    assert suggested == [*KINDS[:n_found], *["none of these"] * (3 - n_found)]


def test_descriptions_are_searched_and_names_shown(kinds_adata, asked, phrases, monkeypatch):
    from lexicell import embedders

    seen = []

    def fake(texts, *_, **__):
        seen.extend(texts)
        return np.stack([phrases[k] for k in KINDS])

    monkeypatch.setattr(embedders, "cut_short", lambda *_: [])
    monkeypatch.setattr(embedders, "embed", fake)
    types = {k: f"cells that do {k} work" for k in KINDS}
    tl.annotate(kinds_adata, types, genes=asked["genes"])
    assert seen == list(types.values())
    assert _accuracy(kinds_adata) > 0.95
    assert kinds_adata.uns["lexicell"]["text_suggested"]["types"]["description"].tolist() == seen


def test_the_types_of_a_tissue_on_real_cells():
    adata = lx.datasets.pbmc68k_counts()
    lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    tl.annotate(adata, groupby="cell_type")
    result = adata.uns["lexicell"]["text_suggested"]
    assert result["params"]["tissue"] == "blood"
    assert "hepatocyte" not in set(result["types"]["type"])
    best = result["table"].set_index("group")["best"]
    assert best[["CD19+ B", "CD56+ NK", "CD34+", "Dendritic"]].tolist() == [
        "B cell",
        "natural killer cell",
        "hematopoietic progenitor",
        "dendritic cell",
    ]


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_survive_a_file_and_can_be_drawn(kinds_adata, asked, tmp_path, suffix):
    asked["types"] = {"al/pha" if k == "alpha" else k: d for k, d in asked["types"].items()}
    before = kinds_adata.copy()
    new = tl.annotate(kinds_adata, groupby="kind", **asked, copy=True)
    assert list(kinds_adata.obs) == list(before.obs)
    getattr(new, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(anndata, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    axes = pl.annotate(again)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["al∕pha", "beta", "gamma"]
    assert len(axes.patches) == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"types": {"a": "one"}}, InputError, "two or more distinct types"),
        ({"types": {"a": "one", "b": " "}}, InputError, "description of 'b' is empty"),
        ({"types": {"a": "one", "b": "one"}}, InputError, "say the same"),
        ({"tissue": "brain"}, InputError, "leave it out where types="),
        ({"types": None}, InputError, "no word of the shipped lexicon finds a gene"),
        ({"groupby": "knd"}, MissingKeyError, "no column in obs 'knd'"),
    ],
    ids=["one", "empty", "same", "tissue", "no-lexicon", "column"],
)
def test_bad_input_is_refused_and_nothing_written(kinds_adata, asked, change, error, message):
    with pytest.raises(error, match=message):
        tl.annotate(kinds_adata, **{**asked, **change})
    assert "text_suggested" not in kinds_adata.obs
