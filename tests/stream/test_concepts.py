"""Concept scores from file to file: the bits of tl.concepts, a few cells at a time, through interruptions."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

import lexicell as lx
from lexicell import GeneEmbedding, tl
from lexicell._errors import InputError, MissingKeyError
from lexicell._expression import LogRows
from lexicell.stream import RunSettings
from lexicell.stream._chunks import chunk_path
from lexicell.tl import concept_pass as _concept_pass
from lexicell.tl.concept_pass import ConceptPass

N_CELLS, N_GENES = 210, 240
GROUPS = {"groupby": "kind", "donor": "donor", "min_cells": 3}


@pytest.fixture
def cells(rng):
    """Counts of three kinds from six donors, with a layer of logarithms."""
    counts = sp.csr_matrix(rng.poisson(rng.gamma(2.0, 0.4, N_GENES), (N_CELLS, N_GENES)).astype(np.float32))
    obs = {
        "kind": pd.Categorical(rng.choice(["a", "b", "c"], N_CELLS)),
        "donor": [f"d{i}" for i in rng.integers(0, 6, N_CELLS)],
        "depth": np.asarray(counts.sum(axis=1)).ravel() * 2.0,
    }
    names = [f"c{i}" for i in range(N_CELLS)]
    adata = anndata.AnnData(
        counts, obs=pd.DataFrame(obs, index=names), var=pd.DataFrame(index=[f"g{i}" for i in range(N_GENES)])
    )
    adata.obs.loc[names[:5], "kind"] = np.nan
    adata.layers["log"] = (counts * 0.37).log1p()
    return adata


@pytest.fixture
def genes(rng):
    """Vectors of most genes, and of some that the data has not."""
    ids = [f"g{i}" for i in range(20, N_GENES + 10)]
    return GeneEmbedding.from_vectors(ids, rng.normal(size=(len(ids), 16)))


@pytest.fixture
def asked(rng):
    """Phrases with vectors; one name could be read as a folder."""
    names = [*(f"phrase {i}" for i in range(6)), "and/or"]
    return {"queries": dict(zip(names, rng.normal(size=(7, 16)).astype(np.float32), strict=True))}


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch):
    """Several ranges of 32 cells, so that sums over groups are added up."""
    monkeypatch.setattr(_concept_pass, "_FEWEST", 32)
    monkeypatch.setattr(_concept_pass, "_MOST", 32)


def _write(adata, path):
    adata.write_zarr(path) if path.suffix == ".zarr" else adata.write_h5ad(path)


def _read(path):
    return anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)


def _same(made, adata):
    frame, expected = made.obsm["text_concepts"], adata.obsm["text_concepts"]
    assert list(frame.columns) == list(expected.columns)
    assert list(frame.index) == list(expected.index)
    assert frame.to_numpy().dtype == np.float32
    np.testing.assert_array_equal(frame.to_numpy(), expected.to_numpy())
    one, two = (a.uns["lexicell"]["X_text"]["concepts"] for a in (made, adata))
    assert one["params"] == two["params"]
    assert set(one) == set(two)
    for name in set(one) - {"params"}:
        pd.testing.assert_frame_equal(one[name], two[name], check_exact=True, check_dtype=False)


def test_scores_of_another_representation_have_its_key(tmp_path, cells, genes, asked):
    cells.write_h5ad(tmp_path / "x.h5ad")
    lx.stream.concepts(tmp_path / "x.h5ad", tmp_path / "out.h5ad", genes, use_rep="X_other", **asked)
    tl.concepts(cells, genes=genes, use_rep="X_other", **asked)
    made = _read(tmp_path / "out.h5ad")
    assert list(made.obsm) == ["other_concepts"]
    np.testing.assert_array_equal(made.obsm["other_concepts"].to_numpy(), cells.obsm["other_concepts"].to_numpy())


@pytest.mark.parametrize(
    ("source", "dense", "chunk", "output"),
    [
        ("x.h5ad", False, 7, "out.zarr"),
        ("x.h5ad", True, None, "out.h5ad"),
        ("x.zarr", False, 64, "out.h5ad"),
        ("x.zarr", True, 1000, "out.zarr"),
    ],
    ids=["h5ad sparse, 7 cells", "h5ad dense", "zarr sparse, 64 cells", "zarr dense, all cells"],
)
def test_file_gives_the_bits_of_memory(tmp_path, cells, genes, asked, source, dense, chunk, output):
    tl.concepts(whole := cells.copy(), **asked, genes=genes, **GROUPS)
    if dense:
        cells.X = cells.X.toarray()
    _write(cells, tmp_path / source)
    lx.stream.concepts(
        tmp_path / source, tmp_path / output, genes, **asked, **GROUPS, run=RunSettings(chunk_size=chunk)
    )
    made = _read(tmp_path / output)
    _same(made, whole)
    assert made.X is None
    pd.testing.assert_frame_equal(made.obs, _read(tmp_path / source).obs)
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".partial")] == []


@pytest.mark.parametrize("form", ["backed", "dask", "dense", "csc"])
def test_any_matrix_gives_the_same_bits(tmp_path, cells, genes, asked, form):
    tl.concepts(whole := cells.copy(), **asked, genes=genes, **GROUPS)
    if form == "backed":
        cells.write_h5ad(tmp_path / "x.h5ad")
        cells = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    elif form == "dask":
        array = pytest.importorskip("dask.array")
        cells.X = array.from_array(cells.X.toarray(), chunks=(50, N_GENES))
    else:
        cells.X = cells.X.toarray() if form == "dense" else cells.X.tocsc()
    tl.concepts(cells, **asked, genes=genes, **GROUPS)
    _same(cells, whole)


@pytest.mark.parametrize(
    "slot", [{"layer": "log", "normalization": "log1p"}, {"library_size": "depth"}], ids=["layer", "library"]
)
def test_slots_are_those_of_the_embedding(tmp_path, cells, genes, asked, slot):
    """Named, or taken from what the embedding in the file read."""
    lx.emb.cells(cells, genes, preset="whitened", n_components=8, **slot)
    cells.write_h5ad(tmp_path / "x.h5ad")
    tl.concepts(cells, **asked, genes=genes)
    lx.stream.concepts(tmp_path / "x.h5ad", tmp_path / "like.zarr", genes, **asked)
    _same(_read(tmp_path / "like.zarr"), cells)
    lx.stream.concepts(tmp_path / "x.h5ad", tmp_path / "named.zarr", genes, **asked, expression=lx.Expression(**slot))
    _same(_read(tmp_path / "named.zarr"), cells)


def test_no_more_than_a_block_is_read_at_once(tmp_path, cells, genes, asked, monkeypatch):
    cells.write_h5ad(tmp_path / "x.h5ad")
    sizes, read = [], LogRows.read

    def watched(self, start, stop):
        sizes.append(stop - start)
        return read(self, start, stop)

    monkeypatch.setattr(LogRows, "read", watched)
    lx.stream.concepts(tmp_path / "x.h5ad", tmp_path / "out.zarr", genes, **asked, run=RunSettings(chunk_size=20))
    assert max(sizes) == 20
    assert sum(sizes) == 2 * N_CELLS


def _fail_at(monkeypatch, n):
    """Make the n-th range that is scored fail; gives the ranges scored."""
    score, begun = ConceptPass.score, []

    def once(self, start, stop, *rest):
        begun.append(start)
        if len(begun) == n:
            raise KeyboardInterrupt
        return score(self, start, stop, *rest)

    monkeypatch.setattr(ConceptPass, "score", once)
    return begun


def test_an_interrupted_run_goes_on(tmp_path, cells, genes, asked, monkeypatch):
    tl.concepts(whole := cells.copy(), **asked, genes=genes, **GROUPS)
    cells.write_h5ad(tmp_path / "x.h5ad")
    job = (tmp_path / "x.h5ad", tmp_path / "out.zarr", genes)
    begun = _fail_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        lx.stream.concepts(*job, **asked, **GROUPS)
    assert not (tmp_path / "out.zarr").exists()
    with pytest.raises(InputError, match=r"asked something else \(top_n: 50 there, 20 now\)"):
        lx.stream.concepts(*job, **asked, **GROUPS, n_genes=20)
    lx.stream.concepts(*job, **asked, **GROUPS)
    assert begun == [0, 32, 64, 96, 96, 128, 160, 192]
    _same(_read(tmp_path / "out.zarr"), whole)


def test_scores_that_were_lost_are_computed_again(tmp_path, cells, genes, asked, monkeypatch):
    tl.concepts(whole := cells.copy(), **asked, genes=genes, **GROUPS)
    cells.write_h5ad(tmp_path / "x.h5ad")
    job = (tmp_path / "x.h5ad", tmp_path / "out.zarr", genes)
    begun = _fail_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        lx.stream.concepts(*job, **asked, **GROUPS)
    store = tmp_path / "out.zarr.partial" / "store.zarr"
    column = zarr.open_group(str(store), mode="r")["obsm"]["text_concepts"]["phrase 3"]
    chunk_path(store, column, (1,)).unlink()
    with pytest.warns(UserWarning, match="1 of 7 shards in .* are damaged or lost"):
        lx.stream.concepts(*job, **asked, **GROUPS)
    assert begun == [0, 32, 64, 96, 32, 96, 128, 160, 192]
    _same(_read(tmp_path / "out.zarr"), whole)


def test_a_changed_file_is_not_gone_on_with(tmp_path, cells, genes, asked, monkeypatch):
    cells.write_h5ad(tmp_path / "x.h5ad")
    job = (tmp_path / "x.h5ad", tmp_path / "out.zarr", genes)
    _fail_at(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        lx.stream.concepts(*job, **asked)
    cells.X[0, 30] += 5
    cells.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match="resume=False"):
        lx.stream.concepts(*job, **asked)
    lx.stream.concepts(*job, **asked, run=RunSettings(resume=False))
    tl.concepts(cells, **asked, genes=genes)
    _same(_read(tmp_path / "out.zarr"), cells)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"groupby": "nope"}, MissingKeyError, "no column in obs 'nope'"),
        ({"donor": "donor"}, InputError, "donor= needs groupby="),
        ({"expression": lx.Expression(layer="nope")}, MissingKeyError, "no layer 'nope'"),
        ({"expression": lx.Expression(library_size="kind")}, InputError, "holds no numbers"),
        ({"queries": ["a", "a"]}, InputError, "given more than once: a"),
        ({"run": RunSettings(dask="local:2")}, InputError, "one process"),
    ],
    ids=["column", "donor", "layer", "library", "twice", "dask"],
)
def test_mistakes_leave_nothing_behind(tmp_path, cells, genes, asked, change, error, message):
    cells.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(error, match=message):
        lx.stream.concepts(tmp_path / "x.h5ad", tmp_path / "out.zarr", genes, **asked | change)
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5ad"]


def test_the_input_is_never_the_output(tmp_path, cells, genes, asked):
    cells.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match="never changed"):
        lx.stream.concepts(tmp_path / "x.h5ad", tmp_path / "x.h5ad", genes, **asked)


def test_the_command_streams(tmp_path, lexicell):
    adata = lx.datasets.pbmc68k_counts()[:100].copy()
    adata.write_h5ad(tmp_path / "x.h5ad")
    told = ["--groupby", "cell_type", "--library-size", "n_counts", "-q", "B cell", "-q", "apoptosis"]
    code, said = lexicell("concepts", tmp_path / "x.h5ad", "--stream", *told, "-o", tmp_path / "out.h5ad")
    assert code == 0, said
    assert "scores of 100 cells" in said
    known = lx.emb.genes(adata)
    lx.stream.concepts(
        tmp_path / "x.h5ad", tmp_path / "own.h5ad", known, ["B cell", "apoptosis"], groupby="cell_type",
        expression=lx.Expression(library_size="n_counts"),
    )  # fmt: skip
    _same(_read(tmp_path / "out.h5ad"), _read(tmp_path / "own.h5ad"))
    mine = ["--key-added", "mine"]
    code, said = lexicell("concepts", tmp_path / "x.h5ad", "--stream", *told, *mine, "-o", tmp_path / "no.zarr")
    assert (code, "does not go with --stream" in said) == (2, True), said
    code, said = lexicell("concepts", tmp_path / "x.h5ad", "--stream", *told, "-o", tmp_path / "out.tsv")
    assert code == 2
    assert "ends in .h5ad or .zarr" in said


def test_peak_does_not_grow_with_cells(tmp_path, genes, asked, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(_concept_pass, "_FEWEST", 256)
    monkeypatch.setattr(_concept_pass, "_MOST", 256)
    rng, peaks = np.random.default_rng(0), []
    for n in (256, 1024, 4096):
        counts = sp.csr_matrix(rng.poisson(1.0, (n, N_GENES)).astype(np.float32))
        names = pd.DataFrame(index=[f"g{i}" for i in range(N_GENES)])
        anndata.AnnData(counts, var=names).write_h5ad(tmp_path / f"{n}.h5ad")
        tracemalloc.start()
        lx.stream.concepts(
            tmp_path / f"{n}.h5ad", tmp_path / f"{n}.zarr", genes, **asked, run=RunSettings(chunk_size=64)
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The first run also pays for what is imported and compiled once. Four times the cells would quadruple what grows
    # with them; garbage not yet collected differs by some percent.
    assert peaks[2] < 1.2 * peaks[1], peaks
