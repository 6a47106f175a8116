"""Genes that say the same, programs that are planted, and sets that other tools read."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

import lexicell as lx
from lexicell import GeneEmbedding, tl
from lexicell._errors import InputError, MissingKeyError


def _entry(adata):
    return adata.uns["lexicell"]["X_text"]["programs"]


@pytest.fixture
def asked(phrases, planted_genes):
    return {"queries": dict(phrases), "genes": planted_genes, "n_programs": 5}


def test_planted_programs_are_found_and_named(kinds_adata, asked):
    tl.programs(kinds_adata, **asked)
    table, usage = _entry(kinds_adata)["table"], kinds_adata.obsm["text_programs"]
    for k, kind in enumerate(("alpha", "beta", "gamma")):
        mine = table[table["name"] == kind]
        assert len(mine) >= 1
        name = mine.iloc[0]["program"]
        top = _entry(kinds_adata)["genes"].query("group == @name")["gene"].head(10)
        assert len(set(top) & {f"g{i}" for i in range(20 * k, 20 * k + 20)}) >= 9
        inside = (kinds_adata.obs["kind"] == kind).to_numpy()
        assert usage.loc[inside, name].mean() > 2 * usage.loc[~inside, name].mean()
    assert table["share"].sum() == pytest.approx(1)
    assert table["share"].is_monotonic_decreasing


def test_text_ties_genes_that_mean_the_same(kinds_adata, asked, planted_genes):
    """Smoothed over shuffled texts, programs hold fewer genes that mean the same."""
    from lexicell.core.controls import shuffled

    def together(genes):
        tl.programs(kinds_adata, **asked | {"genes": genes, "n_programs": 3})
        blocks = _entry(kinds_adata)["genes"].groupby("group")["gene"]
        return np.mean(
            [max(np.bincount([min(int(g[1:]) // 20, 3) for g in b.head(15)], minlength=4)[:3]) for _, b in blocks]
        )

    assert together(planted_genes) > together(shuffled(planted_genes, seed=1))


def test_the_same_bits_twice(kinds_adata, asked):
    tl.programs(kinds_adata, **asked)
    once = kinds_adata.obsm["text_programs"].copy()
    tl.programs(kinds_adata, **asked)
    pd.testing.assert_frame_equal(once, kinds_adata.obsm["text_programs"], check_exact=True)


def test_without_a_lexicon_programs_have_no_names(kinds_adata, planted_genes):
    tl.programs(kinds_adata, genes=planted_genes, n_programs=3)
    assert (_entry(kinds_adata)["table"]["name"] == "").all()
    assert "concepts" not in _entry(kinds_adata)


def test_smoothing_is_what_a_loop_gives(planted_genes):
    from lexicell.core.genes.programs import text_smoothing

    S = text_smoothing(planted_genes.vectors, n_neighbors=4, share=0.3).toarray()
    E = planted_genes.vectors.astype(float) - planted_genes.vectors.mean(axis=0, dtype=float)
    g = 7
    cosine = np.array([e @ E[g] / np.linalg.norm(e) / np.linalg.norm(E[g]) for e in E])
    cosine[g] = -1
    best = np.argsort(-cosine)[:4]
    expected = np.zeros(len(E))
    expected[best] = 0.3 * cosine[best] / cosine[best].sum()
    expected[g] = 0.7
    np.testing.assert_allclose(S[g], expected, atol=1e-6)
    np.testing.assert_allclose(S.sum(axis=1), 1)


def test_neighbors_mean_the_same(planted_genes):
    table = planted_genes.neighbors(["g3", "g45"], n_neighbors=8)
    assert table.groupby("gene")["rank"].apply(list).tolist() == [list(range(1, 9))] * 2
    assert set(table.query("gene == 'g3'")["neighbor"]) <= {f"g{i}" for i in range(20)} - {"g3"}
    E = planted_genes.vectors.astype(float) - planted_genes.vectors.mean(axis=0, dtype=float)
    first = table.iloc[0]
    a, b = E[3], E[int(first["neighbor"][1:])]
    assert first["cosine"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert len(planted_genes.neighbors(n_neighbors=2)) == 480


def test_genes_of_one_text_are_told(planted_genes):
    vectors = planted_genes.vectors.copy()
    vectors[5] = vectors[4]
    twins = GeneEmbedding.from_vectors(planted_genes.ids, vectors, texts=["a"] * 4 + ["same"] * 2 + [""] * 234)
    table = twins.neighbors("g4", n_neighbors=3)
    assert table.iloc[0]["neighbor"] == "g5"
    assert table["same_text"].tolist() == [True, False, False]


def test_decoupler_scores_the_sets_alike():
    """Its weighted mean of z-scores is our raw score; its regressions order cells as our scores do. Real cells."""
    decoupler = pytest.importorskip("decoupler", reason="decoupler is not installed")
    from scipy.stats import spearmanr

    adata = lx.datasets.pbmc68k_counts()
    lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    queries = ["B cell", "apoptosis"]
    tl.concepts(adata, queries)
    own, genes = adata.obsm["text_concepts"], adata.uns["lexicell"]["X_text"]["concepts"]["genes"]
    net = genes.rename(columns={"concept": "source", "gene": "target"})
    log = np.log1p(1e4 * adata.X.toarray().astype(float) / adata.obs["n_counts"].to_numpy()[:, None])
    z = np.clip((log - log.mean(axis=0)) / np.maximum(log.std(axis=0), 1e-12), -10, 10)
    scored = anndata.AnnData(z, obs=adata.obs[[]], var=adata.var[[]])
    decoupler.mt.waggr(scored, net, tmin=5, fun="wsum", times=0)
    weights = net.pivot(index="target", columns="source", values="weight").reindex(adata.var_names).fillna(0)
    np.testing.assert_allclose(scored.obsm["score_waggr"][queries], z @ weights[queries].to_numpy(), atol=1e-9)
    for method in ("ulm", "mlm", "zscore"):
        getattr(decoupler.mt, method)(scored, net, tmin=5)
        for query in queries:
            assert spearmanr(own[query], scored.obsm[f"score_{method}"][query]).statistic > 0.9, (method, query)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_survive_a_file(kinds_adata, asked, tmp_path, suffix):
    tl.programs(kinds_adata, **asked)
    getattr(kinds_adata, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(anndata, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    for name in ("table", "genes", "concepts"):
        pd.testing.assert_frame_equal(_entry(again)[name], _entry(kinds_adata)[name], check_dtype=False)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, g: g.neighbors("nope"), MissingKeyError, "no gene with a vector 'nope'"),
        (lambda a, g: g.neighbors("g1", n_neighbors=240), InputError, "between 1 and 239"),
        (lambda a, g: tl.concepts(a, genes=g), InputError, "no word of the shipped lexicon finds a gene"),
        (lambda a, g: tl.programs(a, genes=g, text_weight=2), InputError, "text_weight must be between 0 and 1"),
        (
            lambda a, g: tl.programs(a, genes=g, n_programs=500),
            InputError,
            "n_programs must be between 1 and 180",
        ),
    ],
    ids=["gene", "neighbors", "lexicon", "smoothing", "many"],
)
def test_bad_input_is_refused(kinds_adata, planted_genes, call, error, message):
    with pytest.raises(error, match=message):
        call(kinds_adata, planted_genes)
    assert "programs" not in kinds_adata.uns["lexicell"]["X_text"]
