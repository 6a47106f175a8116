"""Suggestions from descriptions: right on planted kinds, unsure or wrong with shuffled texts, never from symbols."""

import anndata
import numpy as np
import pytest

from lexicell import pl, tl
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.controls import shuffled
from lexicell.sources import bundled, cell_types

KINDS = ("alpha", "beta", "gamma")


@pytest.fixture
def asked(planted_genes, phrases):
    return {
        "types": {k: f"cells that do {k} work" for k in KINDS}, "type_vectors": phrases.vectors[:3],
        "genes": planted_genes,
    }  # fmt: skip


def _accuracy(adata):
    return (adata.obs["text_suggested_best"].astype(str) == adata.obs["kind"].astype(str)).mean()


def test_kinds_are_suggested_by_cell_and_group(kinds_adata, asked):
    tl.annotate(kinds_adata, groupby="kind", **asked)
    assert _accuracy(kinds_adata) > 0.95
    table = kinds_adata.uns["lexicell"]["text_suggested"]["table"]
    assert table["suggested"].tolist() == list(KINDS)
    assert set(table["genes"].iloc[0].split(", ")) <= {f"g{i}" for i in range(20)}
    scores = kinds_adata.obsm["text_suggested"].to_numpy()
    top = np.sort(scores, axis=1)
    np.testing.assert_allclose(kinds_adata.obs["text_suggested_margin"], top[:, 2] - top[:, 1], atol=1e-5)
    unsure = (kinds_adata.obs["text_suggested"] == "unsure").to_numpy()
    assert (unsure == ((top[:, 2] < 0.5) | (top[:, 2] - top[:, 1] < 0.25))).mean() > 0.99


def test_shuffled_texts_suggest_at_chance(kinds_adata, asked, planted_genes):
    got = []
    for seed in range(10):
        tl.annotate(kinds_adata, **asked | {"genes": shuffled(planted_genes, seed=seed)})
        got.append(_accuracy(kinds_adata))
    assert np.mean(got) < 0.5


def test_named_symbols_are_masked_reported_and_compared(kinds_adata, asked, monkeypatch):
    from lexicell import embedders

    seen = []

    def fake(texts, *_, **__):
        seen.extend(texts)
        return asked["type_vectors"]

    monkeypatch.setattr(embedders, "embed", fake)
    kinds_adata.var_names = [n.upper() for n in kinds_adata.var_names]
    genes = asked["genes"]
    from lexicell import GeneEmbedding

    upper = GeneEmbedding.from_vectors(kinds_adata.var_names, genes.vectors, provenance=genes.provenance)
    types = {"alpha": "does alpha work with G3 and G25", "beta": "does beta work, G1", "gamma": "does gamma work"}
    tl.annotate(kinds_adata, types, genes=upper, groupby="kind")
    assert seen == ["does alpha work with and", "does beta work", "does gamma work"]
    result = kinds_adata.uns["lexicell"]["text_suggested"]
    assert result["types"]["marker_look_up"].tolist() == ["G3, G25", "G1", ""]
    # G1 is a marker of alpha: by markers alone, alpha cells would be called beta; by text they are not.
    table = result["table"].set_index("group")
    assert table.loc["alpha", "best"] == "alpha"
    assert table.loc["alpha", "by_markers"] == "beta"
    assert result["types"]["agreement_with_markers"].iloc[1] < 0


def test_a_few_examples_do_without_texts(kinds_adata):
    column = np.full(kinds_adata.n_obs, None, dtype=object)
    for kind in KINDS:
        column[np.flatnonzero(kinds_adata.obs["kind"] == kind)[:3]] = kind
    kinds_adata.obs["few"] = column
    tl.annotate(kinds_adata, examples="few", groupby="kind")
    assert _accuracy(kinds_adata) > 0.9
    assert "types" not in kinds_adata.uns["lexicell"]["text_suggested"]


def test_examples_are_not_smoothed_unless_asked(kinds_adata):
    labels = kinds_adata.obs["kind"].astype(object)
    kinds_adata.obs["few"] = labels.where(labels.groupby(labels).cumcount() < 3, None)
    scores = {}
    for smoothing in (None, False, True):
        tl.annotate(kinds_adata, examples="few", smoothing=smoothing)
        scores[smoothing] = kinds_adata.obsm["text_suggested"].to_numpy()
        assert kinds_adata.uns["lexicell"]["text_suggested"]["params"]["smoothing"] == bool(smoothing)
    np.testing.assert_array_equal(scores[None], scores[False])
    assert not np.allclose(scores[None], scores[True])


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
        ({"types": {"a": "one"}, "type_vectors": None}, InputError, "two or more distinct types"),
        ({"types": {"a": "one", "b": " "}}, InputError, "description of 'b' is empty"),
        ({"types": ["T cell", "Tcell"], "type_vectors": None}, MissingKeyError, "no shipped cell type 'Tcell'"),
        ({"types": {"a": "one", "b": "two"}}, InputError, "3 vectors do not fit 2 types"),
        ({"group": "immun"}, InputError, "unknown group"),
        ({"groupby": "knd"}, MissingKeyError, "no column in obs 'knd'"),
        ({"examples": "kind"}, InputError, "not both"),
    ],
    ids=["one", "empty", "unknown", "vectors", "group", "column", "both"],
)
def test_bad_input_is_refused_and_nothing_written(kinds_adata, asked, change, error, message):
    with pytest.raises(error, match=message):
        tl.annotate(kinds_adata, **{**asked, **change})
    assert "text_suggested" not in kinds_adata.obs


def test_shipped_descriptions_name_no_gene_and_their_vectors_are_current():
    from lexicell.core.annotation import gene_symbols

    table, vectors = cell_types.load()
    assert len(table) == len(vectors) == cell_types.manifest()["cell_types"] > 120
    assert cell_types.text_hash(table) == cell_types.manifest()["texts"]
    assert {"lower motor neuron", "upper motor neuron", "astrocyte", "microglial cell"} <= set(table["cell_type"])
    for organism in ("human", "mouse"):
        symbols = set(bundled.load_table(organism).symbol)
        named = {t: s for t, d in zip(table["cell_type"], table["description"], strict=True)
                 if (s := gene_symbols(d, symbols))}  # fmt: skip
        assert not named
