"""What stands on the axes is what stands in the object."""

from __future__ import annotations

from collections.abc import Iterator

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError


@pytest.fixture(scope="module")
def ordered() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    n = 240
    t, arm = np.sort(rng.random(n)), rng.integers(2, size=n)
    late = np.maximum(t - 0.4, 0)
    points = np.column_stack([t, late * (2 * arm - 1)]) + rng.normal(scale=0.02, size=(n, 2))
    rates = np.column_stack([20 * (1 - t), 40 * late, np.full(n, 5.0), 20 * np.sin(np.pi * t)])
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names = ["falls", "rises", "flat", "hill"]
    adata.obs_names = [f"c{i}" for i in range(n)]
    adata.obsm["X_text"] = points.astype(np.float32)
    adata.obs["stage"] = pd.Categorical(np.where(t < 0.4, "early", np.where(arm == 0, "down", "up")))
    lx.tl.trajectory(adata, root="c0", use_rep="X_text", groupby="stage", n_bootstraps=0)
    lx.tl.trends(adata, use_rep="X_text", queries=[])
    return adata


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def collection(ax: plt.Axes, label: str) -> np.ndarray:
    return np.asarray(next(c for c in ax.collections if c.get_label() == label).get_offsets())


def test_cells_and_their_pseudotime(ordered: anndata.AnnData) -> None:
    ax = lx.pl.trajectory(ordered, use_rep="X_text", paga=False, ends=False)
    cells = ax.collections[0]
    assert np.allclose(cells.get_offsets(), ordered.obsm["X_text"])
    assert np.allclose(cells.get_array(), ordered.obs["text_pseudotime"])


def test_paga_lies_on_the_groups(ordered: anndata.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexicell.pl._trajectory._THRESHOLD", 0.01)
    ax = lx.pl.trajectory(ordered, use_rep="X_text")
    names = ordered.obs["stage"].cat.categories
    medians = [np.median(ordered.obsm["X_text"][(ordered.obs["stage"] == s).to_numpy()], axis=0) for s in names]
    assert np.allclose(collection(ax, "groups"), medians)
    assert {t.get_text() for t in ax.texts} >= set(names)
    lines = [line for line in ax.lines if line.get_gid() == "paga"]
    weights = np.triu(ordered.uns["text_paga"]["connectivities"].toarray())
    assert len(lines) == (weights >= 0.01).sum() > 0
    thick = sorted(0.5 + 3 * weights[weights >= 0.01])
    assert np.allclose(sorted(line.get_linewidth() for line in lines), thick)
    ax = lx.pl.trajectory(ordered, use_rep="X_text", paga=False)
    assert not [line for line in ax.lines if line.get_gid() == "paga"]


def test_root_and_ends_are_marked(ordered: anndata.AnnData) -> None:
    ax = lx.pl.trajectory(ordered, use_rep="X_text")
    table = ordered.uns["lexicell"]["X_text"]["trajectory"]["table"]
    assert np.allclose(collection(ax, "root"), ordered.obsm["X_text"][[0]])
    assert np.allclose(collection(ax, "end"), ordered[table["cell"]].obsm["X_text"])
    assert {t.get_text() for t in ax.texts} >= set(table.index)


def test_cells_without_pseudotime_are_grey(ordered: anndata.AnnData) -> None:
    adata = ordered.copy()
    adata.obs.loc[adata.obs_names[:7], "text_pseudotime"] = np.nan
    ax = lx.pl.trajectory(adata, use_rep="X_text")
    assert np.allclose(collection(ax, "no pseudotime"), adata.obsm["X_text"][:7])


def test_another_map_and_the_umap_by_default(ordered: anndata.AnnData) -> None:
    adata = ordered.copy()
    adata.obsm["X_mine"], adata.obsm["X_text_umap"] = np.ones((240, 2)), np.full((240, 2), 3.0)
    assert (lx.pl.trajectory(adata, use_rep="X_text", basis="mine").collections[0].get_offsets() == 1).all()
    ax = lx.pl.trajectory(adata, use_rep="X_text")
    assert (ax.collections[0].get_offsets() == 3).all()
    assert ax.get_xlabel() == "text UMAP 1"


def test_heat_map_rows_are_scaled_and_ordered_by_peak(ordered: anndata.AnnData) -> None:
    ax = lx.pl.trends(ordered, use_rep="X_text", n_features=3)
    shown = [t.get_text() for t in ax.get_yticklabels()]
    curves = ordered.uns["lexicell"]["X_text"]["trends"]["curves"]
    best = ordered.uns["lexicell"]["X_text"]["trends"]["table"]["feature"].tolist()[:3]
    assert set(shown) == set(best) == {"falls", "rises", "hill"}
    assert shown == ["falls", "hill", "rises"]
    image = np.asarray(ax.images[0].get_array())
    for row, name in zip(image, shown, strict=True):
        curve = curves[name].to_numpy()
        assert np.allclose(row, (curve - curve.min()) / np.ptp(curve))


def test_named_features_are_curves_in_their_own_units(ordered: anndata.AnnData) -> None:
    ax = lx.pl.trends(ordered, use_rep="X_text", features=["hill", "flat"])
    curves = ordered.uns["lexicell"]["X_text"]["trends"]["curves"]
    for line, name in zip(ax.lines, ["hill", "flat"], strict=True):
        assert line.get_label() == name
        assert np.allclose(line.get_ydata(), curves[name])
        assert np.allclose(line.get_xdata(), curves.index)


def test_given_axes_are_used(ordered: anndata.AnnData) -> None:
    figure, axes = plt.subplots(1, 2)
    assert lx.pl.trajectory(ordered, use_rep="X_text", ax=axes[0]) is axes[0]
    assert lx.pl.trends(ordered, use_rep="X_text", ax=axes[1]) is axes[1]
    assert plt.get_fignums() == [figure.number]


def test_mistakes(ordered: anndata.AnnData) -> None:
    with pytest.raises(MissingKeyError, match=r"no result 'trajectory' .*_fused'.*; there is one under 'X_text'"):
        lx.pl.trajectory(ordered)
    with pytest.raises(MissingKeyError, match=r"no map 'nope' in obsm"):
        lx.pl.trajectory(ordered, use_rep="X_text", basis="nope")
    with pytest.raises(MissingKeyError, match=r"no curve of 'zz'"):
        lx.pl.trends(ordered, use_rep="X_text", features=["zz"])
    with pytest.raises(InputError, match=r"no curves of kind 'concept'"):
        lx.pl.trends(ordered, use_rep="X_text", kind="concept")
    with pytest.raises(InputError, match=r"between 1 and 12"):
        lx.pl.trends(ordered, use_rep="X_text", features=[])
