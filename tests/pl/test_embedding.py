"""What is drawn: positions, colors, names, never pixels."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb
from scipy.spatial.distance import pdist

from lexicell import pl
from lexicell._errors import InputError, MissingKeyError
from lexicell.pl import _draw


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def adata(rng):
    kind = pd.Categorical(rng.choice(["a", "b", "c"], 50), ["c", "a", "b"])
    data = anndata.AnnData(
        rng.poisson(1.0, size=(50, 4)).astype(np.float32),
        obs=pd.DataFrame({"kind": kind, "score": rng.normal(size=50)}, index=[f"c{i}" for i in range(50)]),
        var=pd.DataFrame(index=["g1", "g2", "g3", "g4"]),
    )
    data.obsm["X_text_umap"] = rng.normal(size=(50, 2))
    return data


def _drawn(ax):
    """Position -> color of every dot."""
    found = {}
    for part in ax.collections:
        part.update_scalarmappable()
        colors = part.get_facecolors()
        for i, xy in enumerate(part.get_offsets()):
            found[tuple(np.round(np.asarray(xy, dtype=float), 9))] = to_hex(colors[i % len(colors)])
    return found


def _at(adata, i, key="X_text_umap"):
    return tuple(np.round(adata.obsm[key][i, :2], 9))


def test_every_cell_is_drawn_in_the_color_of_its_category(adata):
    ax = pl.embedding(adata, color="kind")
    drawn = _drawn(ax)
    assert len(drawn) == 50
    for i, kind in enumerate(adata.obs["kind"]):
        assert drawn[_at(adata, i)] == to_hex(_draw.FEW[["c", "a", "b"].index(kind)])
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    colors = [to_hex(h.get_color()) for h in ax.get_legend().legend_handles]
    assert (texts, colors) == (["c", "a", "b"], [to_hex(c) for c in _draw.FEW[:3]])
    assert ax.get_title() == "kind"


def test_colors_kept_by_scanpy_are_used(adata):
    adata.uns["kind_colors"] = ["#111111", "#222222", "#333333"]
    drawn = _drawn(pl.embedding(adata, color="kind"))
    assert drawn[_at(adata, 0)] == {"c": "#111111", "a": "#222222", "b": "#333333"}[adata.obs["kind"].iloc[0]]


def test_numbers_use_the_color_map_and_the_largest_is_on_top(adata):
    ax = pl.embedding(adata, color="score")
    dots = ax.collections[0]
    np.testing.assert_allclose(dots.get_array(), np.sort(adata.obs["score"]))
    order = np.argsort(adata.obs["score"].to_numpy())
    np.testing.assert_allclose(dots.get_offsets(), adata.obsm["X_text_umap"][order])
    assert dots.get_cmap().name == "viridis"


def test_cells_without_a_value_are_grey(adata):
    adata.obs.loc[adata.obs_names[:3], "score"] = np.nan
    adata.obs.loc[adata.obs_names[:2], "kind"] = np.nan
    assert _drawn(pl.embedding(adata, color="score"))[_at(adata, 2)] == _draw.GREY
    ax = pl.embedding(adata, color="kind")
    assert _drawn(ax)[_at(adata, 1)] == _draw.GREY
    assert ax.get_legend().get_texts()[-1].get_text() == "no label"


def test_a_gene_is_drawn_in_logs_and_a_layer_as_stored(adata, rng):
    adata.X = rng.poisson(4, size=adata.shape).astype(np.float32) + 1
    adata.layers["own"] = rng.normal(size=adata.shape)
    expected = np.log1p(1e4 * adata.X[:, 1] / adata.X.sum(axis=1))
    drawn = pl.embedding(adata, color="g2").collections[0].get_array()
    np.testing.assert_allclose(drawn, np.sort(expected), rtol=1e-5)
    drawn = pl.embedding(adata, color="g2", layer="own").collections[0].get_array()
    np.testing.assert_allclose(drawn, np.sort(adata.layers["own"][:, 1]))


def test_a_gene_of_values_that_are_no_counts_is_drawn_as_stored(adata, rng):
    adata.X = rng.normal(size=adata.shape).astype(np.float32)
    drawn = pl.embedding(adata, color="g2").collections[0].get_array()
    np.testing.assert_allclose(drawn, np.sort(adata.X[:, 1]))


def test_integer_codes_in_text_columns_are_ordered_as_numbers(adata):
    adata.obs["k"] = [str(i % 12) for i in range(50)]
    ax = pl.embedding(adata, color="k")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [str(i) for i in range(12)]


def test_booleans_are_categories(adata):
    adata.obs["hit"] = adata.obs["score"] > 0
    assert [t.get_text() for t in pl.embedding(adata, color="hit").get_legend().get_texts()] == ["False", "True"]


def test_the_clusters_of_that_map_are_the_default(adata):
    adata.uns["lexicell"] = {"X_text": {"cluster": {"params": {"key_added": "kind"}}}}
    assert pl.embedding(adata).get_title() == "kind"


def test_one_color_where_nothing_is_known(adata):
    assert set(_drawn(pl.embedding(adata)).values()) == {to_hex(_draw.FEW[0])}


def test_many_categories_stand_in_columns_then_on_the_map(adata, rng):
    many = anndata.AnnData(np.zeros((400, 1), dtype=np.float32), obsm={"X_text_umap": rng.normal(size=(400, 2))})
    many.obs["k"] = pd.Categorical([f"type {i % 40}" for i in range(400)])
    legend = pl.embedding(many, color="k").get_legend()
    assert (len(legend.get_texts()), legend._ncols) == (40, 3)
    many.obs["k"] = pd.Categorical([f"type {i % 60}" for i in range(400)])
    ax = pl.embedding(many, color="k")
    assert ax.get_legend() is None
    assert {t.get_text() for t in ax.texts} == {f"type {i}" for i in range(60)}


def test_names_on_the_map_stand_at_the_median(adata):
    ax = pl.embedding(adata, color="kind", legend="on data")
    inside = adata.obsm["X_text_umap"][(adata.obs["kind"] == "a").to_numpy()]
    text = next(t for t in ax.texts if t.get_text() == "a")
    np.testing.assert_allclose(text.get_position(), np.median(inside, axis=0))


def test_no_legend_when_asked(adata):
    ax = pl.embedding(adata, color="kind", legend="none")
    assert ax.get_legend() is None
    assert not ax.texts


def test_drawing_twice_gives_the_same_order(adata):
    one, two = (pl.embedding(adata, color="kind").collections[0].get_offsets() for _ in range(2))
    assert np.array_equal(one, two)


def test_dots_shrink_and_become_an_image_with_many_cells(rng):
    small, large = (
        anndata.AnnData(np.zeros((n, 1), dtype=np.float32), obsm={"X_map": rng.normal(size=(n, 2))})
        for n in (100, 6000)
    )
    few, many = (pl.embedding(d, basis="map").collections[0] for d in (small, large))
    assert few.get_sizes()[0] > many.get_sizes()[0]
    assert (bool(few.get_rasterized()), many.get_rasterized()) == (False, True)


def test_several_colors_make_a_figure_with_a_panel_each(adata):
    figure = pl.embedding(adata, color=["kind", "score", "g1", "g2"])
    assert [a.get_title() for a in figure.axes if a.get_title()] == ["kind", "score", "g1", "g2"]


def test_the_axes_given_are_used(adata):
    _, ax = plt.subplots()
    assert pl.embedding(adata, color="kind", ax=ax) is ax


def test_nothing_is_written(adata):
    before = adata.copy()
    pl.embedding(adata, color="kind")
    assert dict(adata.uns) == dict(before.uns)
    pd.testing.assert_frame_equal(adata.obs, before.obs)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"basis": "umap"}, MissingKeyError, "no map 'umap' in obsm; there is 'X_text_umap'.*tl.cluster"),
        ({"color": "knd"}, MissingKeyError, "'knd' is neither a column of obs nor a gene; obs has 'kind', 'score'"),
        ({"legend": "left"}, InputError, "unknown legend position 'left'"),
        ({"color": []}, InputError, "empty list"),
        ({"basis": "line"}, InputError, "not have two dimensions"),
    ],
    ids=["map", "column", "legend", "no-colors", "one-dimension"],
)
def test_bad_input_is_refused(adata, options, error, message):
    adata.obsm["X_line"] = np.zeros((50, 1))
    with pytest.raises(error, match=message):
        pl.embedding(adata, **options)


@pytest.mark.parametrize("n", [1, 8, 9, 24])
def test_no_color_stands_twice_up_to_24(n):
    assert len(set(_draw.palette(n))) == n


def test_colors_differ_for_readers_without_green_cones():
    """Deuteranopia by Vienot, Brettel and Mollon 1999; a difference of 2.3 is just seen."""
    rgb = np.array([to_rgb(color) for color in _draw.palette(17)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    lost = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    seen = np.clip(linear @ (np.linalg.inv(to_lms) @ lost @ to_lms).T, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    f = np.cbrt(seen @ to_xyz.T / to_xyz.sum(axis=1))
    lab = np.column_stack([116 * f[:, 1], 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])
    assert pdist(lab).min() > 7
