"""Thinned counts: the right shares, whole numbers, nothing else changed."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.thinning import keep_shares, thin


def _adata(rng):
    donor = np.repeat(["a", "b", "c"], 60)
    depth = {"a": 1.0, "b": 2.0, "c": 0.5}
    rate = rng.gamma(1, 2, 40) * np.array([depth[d] for d in donor])[:, None]
    obs = pd.DataFrame({"donor": donor, "kind": np.tile(["x", "y"], 90)}, index=[f"c{i}" for i in range(180)])
    return ad.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)), obs=obs)


def test_shares_equal_a_loop(rng):
    totals, types, donors = rng.uniform(100, 900, 50), rng.integers(0, 3, 50), rng.integers(-1, 4, 50)
    found = keep_shares(totals, types, donors)
    for t in range(3):
        means = {d: totals[(types == t) & (donors == d)].mean() for d in set(donors[(types == t) & (donors >= 0)])}
        for cell in np.flatnonzero((types == t) & (donors >= 0)):
            assert found[cell] == pytest.approx(min(means.values()) / means[donors[cell]])
    assert (found[donors < 0] == 1).all()


def test_depth_is_matched_in_each_type_and_x_is_left_alone(rng):
    adata = _adata(rng)
    before = adata.X.copy()
    lx.tl.match_depth(adata, cell_type="kind", donor="donor")
    after = adata.layers["depth_matched"]
    assert (before != adata.X).nnz == 0
    assert float((after - before).max()) == 0
    assert (after.data == np.rint(after.data)).all()
    mean = adata.obs.assign(n=np.asarray(after.sum(axis=1)).ravel()).groupby(["kind", "donor"])["n"].mean()
    for kind in ("x", "y"):
        assert mean[kind].max() / mean[kind].min() < 1.08


def test_thinning_is_binomial(rng):
    counts = sp.csr_matrix(np.full((4000, 1), 10.0))
    kept = thin(counts, np.full(4000, 0.3), rng).toarray().ravel()
    assert kept.mean() == pytest.approx(3, abs=0.1)
    assert kept.var() == pytest.approx(2.1, abs=0.2)


def test_bad_input_is_named(rng):
    adata = _adata(rng)
    with pytest.raises(MissingKeyError, match="person"):
        lx.tl.match_depth(adata, cell_type="kind", donor="person")
    adata.X = adata.X * 0.5
    with pytest.raises(InputError, match="counts"):
        lx.tl.match_depth(adata, cell_type="kind", donor="donor")
