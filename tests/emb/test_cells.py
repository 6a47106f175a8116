"""emb.cells: what it reads, what it writes, what it refuses."""

from __future__ import annotations

import math
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.pooling.presets import PRESETS
from lexicell.emb import cells


def make(rng, n_cells=40, n_genes=60, n_text=45, dim=8):
    X = np.where(rng.random((n_cells, n_genes)) < 0.5, rng.integers(1, 9, (n_cells, n_genes)), 0).astype("f4")
    names = [f"G{i}" for i in range(n_genes)]
    adata = anndata.AnnData(
        sp.csr_matrix(X), obs=pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]), var=pd.DataFrame(index=names)
    )
    known = [*rng.permutation(names)[:n_text], "not in the data"]
    genes = lx.GeneEmbedding.from_vectors(
        known,
        rng.normal(size=(n_text + 1, dim)) + 0.4,
        texts=[f"text of {k}" for k in known],
        table=pd.DataFrame({"text_source": ["GO", *["RefSeq"] * n_text]}),
        provenance={
            "source": "made up",
            "embedder": "random",
            "nested/key": {"none": None, "list": ["a", "b"], "t": (1, 2)},
        },
    )
    return adata, genes


def paper(adata, genes, top_n=1000):
    """The preset `paper` gene by gene."""
    X = adata.X.toarray().astype(float)
    vectors = dict(zip(genes.ids, genes.vectors.astype(float), strict=True))
    out = np.zeros((adata.n_obs, genes.dim))
    for c in range(adata.n_obs):
        total = 0.0
        for g, name in enumerate(adata.var_names):
            if X[c, g] > 0 and name in vectors:
                weight = math.log1p(1e4 * X[c, g] / X[c].sum())
                out[c] += weight * vectors[name]
                total += weight
        out[c] /= total
    return out


def test_joins_by_name_and_writes_every_slot(rng):
    adata, genes = make(rng)
    before = adata.copy()
    assert cells(adata, genes) is None
    assert adata.obsm["X_text"].dtype == np.float32
    np.testing.assert_allclose(adata.obsm["X_text"], paper(adata, genes), rtol=0, atol=2e-6)
    with_text = adata.var_names.isin(genes.ids)
    X = adata.X.toarray().astype(float)
    np.testing.assert_allclose(adata.obs["text_coverage"], X[:, with_text].sum(1) / X.sum(1), rtol=1e-12)
    sources = adata.var["gene_text_source"]
    assert sources[genes.ids[0]] == "GO"
    assert (sources[with_text] != "").all()
    assert (sources[~with_text] == "").all()
    entry = adata.uns["lexicell"]["X_text"]
    assert list(entry["genes"]) == list(adata.var_names[with_text])
    assert entry["gene_embedding"] == genes.hash
    assert entry["params"]["preset"] == "paper"
    assert entry["params"]["top_n"] == 1000
    assert entry["params"]["normalization"] == "counts"
    assert entry["provenance"]["source"] == "made up"
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
    pd.testing.assert_frame_equal(adata.obs[[]], before.obs)


def test_whitened_keeps_what_tools_need(rng):
    adata, genes = make(rng)
    cells(adata, genes, preset="whitened")
    entry = adata.uns["lexicell"]["X_text"]
    n = len(entry["genes"])
    assert entry["mean"].shape == entry["sd"].shape == (n,)
    assert entry["space"]["V"].shape == (genes.dim, entry["space"]["k"])
    log = np.log1p(1e4 * adata.X.toarray().astype(float) / adata.X.toarray().sum(1, keepdims=True))
    at = adata.var_names.get_indexer(entry["genes"])
    np.testing.assert_allclose(entry["mean"], log[:, at].mean(0), rtol=1e-6)
    np.testing.assert_allclose(entry["sd"], log[:, at].std(0), rtol=1e-6)


def test_two_keys_live_side_by_side(rng):
    adata, genes = make(rng)
    cells(adata, genes)
    cells(adata, genes, preset="scelmo-aa", key_added="X_other")
    assert set(adata.obsm) == {"X_text", "X_other"}
    assert {"text_coverage", "other_coverage"} == set(adata.obs)
    assert {"gene_text_source", "gene_other_source"} == set(adata.var)
    assert set(adata.uns["lexicell"]) == {"X_text", "X_other"}


def test_copy_leaves_the_original(rng):
    adata, genes = make(rng)
    result = cells(adata, genes, copy=True)
    assert "X_text" in result.obsm
    assert not adata.obsm
    assert not adata.uns
    assert list(adata.obs) == list(adata.var) == []


def test_a_second_copy_does_not_reach_into_the_first(rng):
    adata, genes = make(rng)
    cells(adata, genes)
    cells(adata.copy(), genes, key_added="X_b")
    assert set(adata.uns["lexicell"]) == {"X_text"}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_written_and_read_back_equal(rng, tmp_path, form, preset):
    adata, genes = make(rng)
    cells(adata, genes, preset=preset, store_genes=True)
    path = tmp_path / f"x.{form}"
    getattr(adata, f"write_{form}")(path)
    back = getattr(anndata, f"read_{form}")(path)
    np.testing.assert_array_equal(back.obsm["X_text"], adata.obsm["X_text"])
    pd.testing.assert_frame_equal(back.obs, adata.obs)
    assert list(back.var["gene_text_source"].astype(str)) == list(adata.var["gene_text_source"].astype(str))
    equal(back.uns["lexicell"], adata.uns["lexicell"])


def equal(a, b):
    if isinstance(b, dict):
        assert set(a) == set(b)
        for key in b:
            equal(a[key], b[key])
    elif isinstance(b, np.ndarray) and b.dtype != object:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert np.all(np.asarray(a) == np.asarray(b))


def test_stored_genes_open_again(rng):
    adata, genes = make(rng)
    cells(adata, genes, store_genes=True)
    kept = adata.uns["lexicell"]["X_text"]["gene_vectors"]
    again = lx.GeneEmbedding.from_vectors(kept["ids"], kept["vectors"], texts=kept["texts"])
    assert again.hash == genes.hash == adata.uns["lexicell"]["X_text"]["gene_embedding"]
    assert list(again.texts) == list(genes.texts)


def on_disk(adata, tmp_path, form):
    if form == "h5ad":
        adata.write_h5ad(tmp_path / "x.h5ad")
        return anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    adata.write_zarr(tmp_path / "x.zarr")
    group = zarr.open(tmp_path / "x.zarr", mode="r")["X"]
    X = anndata.io.sparse_dataset(group) if isinstance(group, zarr.Group) else group
    return anndata.AnnData(X, obs=adata.obs, var=adata.var)


@pytest.mark.parametrize("matrix", ["csr", "csc", "dense"])
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.parametrize("preset", ["paper", "whitened"])
def test_same_bits_from_disk(rng, tmp_path, form, matrix, preset):
    adata, genes = make(rng)
    expected = cells(adata, genes, preset=preset, top_n=10, copy=True).obsm["X_text"]
    adata.X = {"csr": adata.X, "csc": adata.X.tocsc(), "dense": adata.X.toarray()}[matrix]
    backed = on_disk(adata, tmp_path, form)
    cells(backed, genes, preset=preset, top_n=10)
    np.testing.assert_array_equal(backed.obsm["X_text"], expected)


def test_backed_object_is_not_copied(rng, tmp_path):
    adata, genes = make(rng)
    backed = on_disk(adata, tmp_path, "h5ad")
    with pytest.raises(InputError, match=r"copy=True would need it in memory: call adata.to_memory\(\)"):
        cells(backed, genes, copy=True)
    with pytest.raises(InputError, match="a view would need it in memory"):
        cells(backed[:5], genes)


def test_view_becomes_an_object_of_its_own(rng):
    adata, genes = make(rng)
    view = adata[5:20]
    cells(view, genes)
    assert view.obsm["X_text"].shape == (15, 8)
    assert not adata.obsm


def scaled(adata):
    adata.layers["counts"] = adata.X.copy()
    counts = adata.X.toarray()
    adata.X = np.log1p(1e4 * counts / counts.sum(1, keepdims=True)).astype("f4")
    adata.raw = adata
    X = np.asarray(adata.X)
    adata.X = (X - X.mean(0)) / X.std(0)
    return adata


def test_scaled_values_are_refused_with_the_calls_that_work(rng):
    adata, genes = make(rng)
    expected = cells(adata, genes, copy=True).obsm["X_text"]
    scaled(adata)
    with pytest.raises(
        InputError,
        match=r"adata.X holds negative values.*pass layer='counts' \(counts\) or pass use_raw=True \(log1p\)",
    ):
        cells(adata, genes)
    assert not adata.obsm
    cells(adata, genes, layer="counts")
    np.testing.assert_array_equal(adata.obsm["X_text"], expected)
    cells(adata, genes, use_raw=True)
    np.testing.assert_allclose(adata.obsm["X_text"], expected, atol=2e-6)
    assert adata.uns["lexicell"]["X_text"]["params"]["slot"] == "raw"
    del adata.raw, adata.layers["counts"]
    with pytest.raises(InputError, match="Nothing else here holds expression either"):
        cells(adata, genes)


def test_raw_has_genes_of_its_own(rng):
    adata, genes = make(rng)
    expected = cells(adata, genes, copy=True)
    adata.raw = adata.copy()
    small = adata[:, ::3].copy()
    cells(small, genes, use_raw=True)
    np.testing.assert_array_equal(small.obsm["X_text"], expected.obsm["X_text"])
    assert list(small.uns["lexicell"]["X_text"]["genes"]) == list(expected.uns["lexicell"]["X_text"]["genes"])
    assert list(small.var["gene_text_source"]) == list(expected.var["gene_text_source"][::3])


def test_logged_counts_give_what_counts_give(rng):
    adata, genes = make(rng)
    total = np.asarray(adata.X.sum(1)).ravel()
    adata.obs["total"] = total * 2
    part = adata[:, 10:].copy()
    part.obs["kept"] = np.asarray(part.X.sum(1)).ravel()
    logged = part.copy()
    logged.X = sp.csr_matrix(logged.X.multiply(1e4 / (total * 2)[:, None])).log1p()
    cells(part, genes, library_size="total")
    cells(logged, genes)
    assert logged.uns["lexicell"]["X_text"]["params"]["normalization"] == "log1p"
    np.testing.assert_allclose(logged.obsm["X_text"], part.obsm["X_text"], atol=2e-6)
    # Of the counts here, against the stated total.
    np.testing.assert_allclose(
        logged.obs["text_coverage"] * part.obs["kept"] / part.obs["total"], part.obs["text_coverage"], rtol=1e-5
    )


def test_cells_without_text_are_zero_and_told(rng):
    adata, genes = make(rng)
    X = adata.X.tolil()
    X[3] = 0
    X[7, adata.var_names.isin(genes.ids)] = 0
    adata.X = X.tocsr()
    for preset in PRESETS:
        with pytest.warns(UserWarning, match="2 of 40 cells express no gene that has text"):
            cells(adata, genes, preset=preset)
        assert not adata.obsm["X_text"][[3, 7]].any()
        assert adata.obsm["X_text"][[4, 8]].any(axis=1).all()
    assert adata.obs["text_coverage"].iloc[[3, 7]].tolist() == [0, 0]


@pytest.mark.parametrize(("value", "says"), [(np.nan, "NaN"), (np.inf, "inf")], ids=["nan", "infinite"])
def test_value_that_is_no_number(rng, value, says):
    adata, genes = make(rng)
    adata.X = adata.X.toarray()
    adata.X[12, 34] = value
    with pytest.raises(InputError, match=rf"adata.X, cell 'c12', gene 'G34': the value is {says}"):
        cells(adata, genes)


def test_negative_value_outside_the_sample_is_placed(rng):
    adata, genes = make(rng, n_cells=3000)
    X = adata.X.toarray()
    X[100, 50] = -1
    adata.X = X
    adata.layers["counts"] = np.abs(X)
    with pytest.raises(InputError, match=r"cell 'c100', gene 'G50': the value is -1; .* pass layer='counts'"):
        cells(adata, genes)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"preset": "papr"}, InputError, "unknown preset 'papr'.*Did you mean 'paper'"),
        ({"layer": "count"}, MissingKeyError, "no layer 'count'; there is 'counts'"),
        ({"layer": "counts", "use_raw": True}, InputError, "either layer= or use_raw=True"),
        ({"use_raw": True}, MissingKeyError, "adata.raw is not set"),
        ({"normalization": "log"}, InputError, "unknown normalization 'log'"),
        ({"library_size": "n"}, MissingKeyError, "no column in obs 'n'; there is 'total', 'word'"),
        ({"library_size": "word"}, InputError, "holds no numbers"),
        ({"library_size": "total"}, InputError, "cell 'c0': its library size is 1, but its counts"),
        ({"key_added": "X/y"}, InputError, "key_added must be a name without '/'"),
        ({"top_n": 0}, InputError, "top_n must be"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
def test_bad_argument_writes_nothing(rng, options, error, says):
    adata, genes = make(rng)
    adata.layers["counts"] = adata.X.copy()
    adata.obs["total"], adata.obs["word"] = 1.0, "x"
    with pytest.raises(error, match=says):
        cells(adata, genes, **options)
    assert not adata.obsm
    assert not adata.uns
    assert set(adata.obs) == {"total", "word"}


def test_names_that_stand_twice(rng):
    adata, genes = make(rng)
    adata.var_names = ["G1", "G1", *adata.var_names[2:]]
    with pytest.raises(InputError, match=r"'G1'; use adata.var_names_make_unique\(\) first"):
        cells(adata, genes)


def test_no_gene_in_common(rng):
    adata, genes = make(rng)
    adata.var_names = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    with pytest.raises(InputError, match=r"the data has 'ENSG00000000000'.*the gene embedding has 'G\d+'"):
        cells(adata, genes)


def test_other_than_gene_embedding(rng):
    adata, genes = make(rng)
    with pytest.raises(InputError, match=r"must be a GeneEmbedding, from lexicell\.emb\.genes; got ndarray"):
        cells(adata, genes.vectors)


@pytest.mark.parametrize("shape", [(0, 60), (4, 0)], ids=["no cells", "no genes"])
def test_empty_matrix(rng, shape):
    genes = make(rng)[1]
    with pytest.raises(InputError, match="empty"):
        cells(anndata.AnnData(np.zeros(shape, dtype="f4")), genes)


def test_no_matrix_at_all(rng):
    adata, genes = make(rng)
    bare = anndata.AnnData(obs=adata.obs, var=adata.var, layers={"counts": adata.X})
    with pytest.raises(InputError, match=r"adata has no X. Instead, pass layer='counts'"):
        cells(bare, genes)


def test_no_warning_otherwise(rng):
    adata, genes = make(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for preset in PRESETS:
            cells(adata, genes, preset=preset)
