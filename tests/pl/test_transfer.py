"""Plots of transferred labels draw what stands in the object."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

import lexicell as lx
from lexicell._errors import MissingKeyError


@pytest.fixture(scope="module")
def moved():
    adata = lx.datasets.pbmc68k_counts()
    genes = lx.emb.genes(adata, organism="human")
    one, other = adata[::2, ::2].copy(), adata[1::2, 1::2].copy()
    counts = lx.Expression(library_size="n_counts")
    lx.tl.transfer(one, other, label="cell_type", truth="cell_type", genes=genes, expression=counts, map_cells=True)
    return other


def test_the_confusion_and_the_map(moved):
    axes = lx.pl.transfer(moved)
    confusion = moved.uns["lexicell"]["text_transfer"]["confusion"]
    shares = np.asarray(axes.images[0].get_array())
    assert shares.shape == confusion.shape
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    ax = plt.figure().add_subplot()
    assert lx.pl.transfer(moved, kind="map", ax=ax) is ax
    dots, crosses = ax.collections
    assert len(dots.get_offsets()) == 350
    assert len(crosses.get_offsets()) == moved.n_obs
    plt.close("all")


def test_the_map_can_show_known_types(moved):
    by_label, by_type = (lx.pl.transfer(moved, kind="map", color=c).collections for c in (None, "cell_type"))
    legend = {
        t.get_text(): h.get_color()
        for a in [by_type[0].axes]
        for t, h in zip(a.get_legend().get_texts(), a.get_legend().legend_handles, strict=True)
    }
    expected = np.asarray([to_rgba(legend[t]) for t in moved.obs["cell_type"].astype(str)])
    np.testing.assert_allclose(by_type[1].get_edgecolor()[:, :3], expected[:, :3])
    assert not np.array_equal(by_label[1].get_edgecolor(), by_type[1].get_edgecolor())
    with pytest.raises(MissingKeyError, match="no column in obs 'cell_typ'"):
        lx.pl.transfer(moved, kind="map", color="cell_typ")
    plt.close("all")


def test_the_report_says_where_labels_come_from(moved, tmp_path):
    lx.emb.expression_pca(moved, library_size="n_counts")
    genes = lx.emb.genes(moved, organism="human")
    lx.tl.annotate(moved, groupby="cell_type", genes=genes, expression=lx.Expression(library_size="n_counts"))
    lx.report(moved, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Transferred labels" in page
    assert "0 shared genes" in page
    assert "Suggested cell types" in page
    assert "not labels" in page


def test_missing_results_are_named():
    adata = lx.datasets.pbmc68k_counts()
    with pytest.raises(MissingKeyError, match=r"lexicell\.tl\.transfer first"):
        lx.pl.transfer(adata)
    with pytest.raises(MissingKeyError, match=r"tl\.annotate with groupby"):
        lx.pl.annotate(adata)
