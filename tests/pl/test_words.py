"""Plots of concepts, explanations, programs and perturbations show what stands in the object."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def embedded():
    adata = lx.datasets.pbmc68k_counts()[:300].copy()
    lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", n_components=100, library_size="n_counts")
    lx.emb.fuse(adata, n_components=10)
    adata.obs["donor"] = pd.Categorical([f"d{i % 6}" for i in range(adata.n_obs)])
    adata.obs["state"] = pd.Categorical(["sick" if i % 6 < 3 else "well" for i in range(adata.n_obs)])
    return adata


def test_groups_by_their_highest_concepts(embedded):
    adata = embedded.copy()
    lx.tl.concepts(adata, ["B cell", "T cell", "monocyte"], groupby="cell_type", donor="donor", min_cells=2)
    _, ax = plt.subplots()
    assert lx.pl.concepts(adata, n_concepts=1, ax=ax) is ax
    table = adata.uns["lexicell"]["X_text"]["concepts"]["table"]
    shown = [t.get_text() for t in ax.get_yticklabels()]
    assert set(shown) == set(table.sort_values("z").groupby("group").tail(1)["concept"])
    assert [t.get_text() for t in ax.get_xticklabels()] == sorted(table["group"].unique())
    dots = np.asarray(ax.collections[0].get_array()).reshape(len(shown), -1)
    assert dots[shown.index("B cell")].max() == pytest.approx(table.query("concept == 'B cell'")["z"].max())


@pytest.mark.parametrize("key", ["X_text", "X_text_fused"])
def test_bars_add_up_to_the_whole(embedded, key):
    adata = embedded.copy()
    lx.tl.explain(adata, groupby="cell_type", use_rep=key)
    ax = lx.pl.explain(adata, "CD19+ B", use_rep=key, n_genes=6)
    assert len(ax.get_yticklabels()) == 7
    assert ax.get_yticklabels()[-1].get_text() == "(all other genes)"
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(1, abs=1e-6)
    assert "CD19+ B" in ax.get_title()


def test_a_cells_decision_has_a_bar_for_what_belongs_to_no_gene(embedded):
    from lexicell.core.transfer.classify import fit_logistic

    adata = embedded.copy()
    model = fit_logistic(adata.obsm["X_text"], (adata.obs["state"] == "sick").to_numpy(), adata.obs["donor"].to_numpy())
    lx.tl.explain(adata, group=adata.obs_names[0], reference="nothing", direction=model)
    ax = lx.pl.explain(adata, n_genes=4)
    assert {"(no gene)", "(all other genes)"} <= {t.get_text() for t in ax.get_yticklabels()}
    decision = model.decision(adata.obsm["X_text"])[0]
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(decision, rel=1e-3)


def test_programs_in_groups(embedded):
    adata = embedded.copy()
    lx.tl.programs(adata, n_programs=4)
    ax = lx.pl.programs(adata, "cell_type")
    shown = np.asarray(ax.images[0].get_array())
    usage = adata.obsm["text_programs"].groupby(adata.obs["cell_type"].to_numpy()).mean()
    np.testing.assert_allclose(shown[0], (usage["P1"] / usage["P1"].max()).to_numpy(), rtol=1e-5)
    assert ax.get_yticklabels()[0].get_text().startswith("P1")


def test_movements(embedded):
    adata = embedded.copy()
    lx.tl.perturb(adata, ["CD79A"], groupby="cell_type")
    ax = lx.pl.perturb(adata)
    assert ax.get_yticklabels()[0].get_text() == "CD19+ B"
    assert ax.get_title() == "CD79A × 0"


def test_missing_results_are_told(embedded):
    with pytest.raises(MissingKeyError, match=r"run lexicell\.tl\.explain"):
        lx.pl.explain(embedded)
    with pytest.raises(MissingKeyError, match=r"run lexicell\.tl\.programs"):
        lx.pl.programs(embedded, "cell_type")
    adata = embedded.copy()
    lx.tl.concepts(adata, ["B cell"])
    with pytest.raises(InputError, match="with groupby="):
        lx.pl.concepts(adata)
    lx.tl.explain(adata, groupby="cell_type", group="CD19+ B")
    with pytest.raises(MissingKeyError, match="no explained group 'x'"):
        lx.pl.explain(adata, "x")
