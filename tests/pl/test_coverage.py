"""The shares that are drawn."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from lexicell import pl
from lexicell._errors import MissingKeyError


@pytest.fixture
def adata(rng):
    share = np.r_[np.full(30, 0.41), np.full(50, 0.83)]
    return anndata.AnnData(
        np.zeros((80, 1), dtype=np.float32),
        obs=pd.DataFrame(
            {"text_coverage": share, "kind": ["low"] * 30 + ["high"] * 50}, index=[f"c{i}" for i in range(80)]
        ),
    )


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_histogram_holds_every_cell_and_names_the_median(adata):
    ax = pl.coverage(adata)
    heights = {round(b.get_x(), 2): b.get_height() for b in ax.patches if b.get_height()}
    assert heights == {0.4: 30, 0.82: 50}
    assert ax.texts[0].get_text() == "median 83.0%"


def test_groups_are_sorted_by_median_with_their_sizes(adata):
    ax = pl.coverage(adata, groupby="kind")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["low (30)", "high (50)"]
    medians = [line.get_xdata()[0] for line in ax.lines if line.get_color() == "#D55E00"]
    np.testing.assert_allclose(medians, [0.41, 0.83])


def test_another_embedding_has_its_own_column(adata):
    adata.obs["ncbi_coverage"] = 0.5
    assert pl.coverage(adata, use_rep="X_ncbi").texts[0].get_text() == "median 50.0%"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_rep": "X_ncbi"}, "no column 'ncbi_coverage' in obs; there is 'text_coverage'.*emb.cells"),
        ({"groupby": "kin"}, "no column in obs 'kin'"),
    ],
    ids=["embedding", "group"],
)
def test_bad_input_is_refused(adata, options, message):
    with pytest.raises(MissingKeyError, match=message):
        pl.coverage(adata, **options)
