"""A preset is one entry of one file: what is added there is embedded, explained, reported and documented."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lexicell as lx
from lexicell.core.pooling.presets import PRESETS, Preset, in_words, markdown_table

TOY = Preset(
    divide_by="nothing",
    top_n=3,
    formula=r"$\sum_{g \in S} l_g v_g$",
    words="the plain sum of its genes' text vectors",
    source="a test",
)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", TOY)


@pytest.mark.usefixtures("toy")
def test_a_new_entry_is_embedded_and_explained(rng):
    counts = rng.integers(1, 9, (12, 6)).astype("f4") + np.arange(6, dtype="f4") / 8
    names = [f"g{i}" for i in range(6)]
    obs = pd.DataFrame({"kind": pd.Categorical(["a", "b"] * 6)}, index=[f"c{i}" for i in range(12)])
    adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=names))
    genes = lx.GeneEmbedding.from_vectors(names, rng.normal(size=(6, 4)))
    lx.emb.cells(adata, genes, preset="toy", normalization="abundance", store_genes=True)
    expected = np.zeros((12, 4))
    for cell, x in enumerate(counts.astype("f8")):
        for g in np.argsort(-x)[:3]:
            expected[cell] += np.log1p(1e4 * x[g] / x.sum()) * genes.vectors[g]
    np.testing.assert_allclose(adata.obsm["X_text"], expected, rtol=1e-5, atol=1e-5)
    assert adata.uns["lexicell"]["X_text"]["params"]["preset"] == "toy"
    lx.tl.explain(adata, groupby="kind")
    table = adata.uns["lexicell"]["X_text"]["explain"]["table"]
    assert table.groupby("group")["part"].sum().to_numpy() == pytest.approx(1.0)


@pytest.mark.usefixtures("toy")
def test_report_and_docs_read_the_entry():
    assert in_words("toy") == TOY.words
    assert f"| `toy` | {TOY.formula} | 3 | no | a test |" in markdown_table()


def test_every_preset_is_in_the_docs():
    for preset in PRESETS.values():
        assert preset.source in lx.emb.cells.__doc__
    page = Path(__file__).parents[3] / "docs" / "formulas.md"
    assert markdown_table() in page.read_text(encoding="utf-8")


@given(
    st.sampled_from(["kept", "all", "genes", "nothing"]),
    st.lists(st.just(0.0) | st.floats(1e-6, 1e6), min_size=1, max_size=9),
)
def test_scale_is_the_reciprocal_and_zero_where_there_is_nothing(divide_by, sums):
    preset = Preset(divide_by=divide_by, formula="", words="", source="")
    kept, everything = np.array(sums), np.array(sums) * 2
    below = {"kept": kept, "all": everything, "genes": np.full(len(sums), 7.0), "nothing": np.ones(len(sums))}[
        divide_by
    ]
    for factor, total in zip(preset.scale(kept, everything, 7), below, strict=True):
        assert factor == (1 / total if total > 0 else 0)
