"""Every preset against loops in double precision that share no code with it, and what must not change the bits."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexicell._errors import InputError
from lexicell.core.compiled.gather import panel_width
from lexicell.core.pooling.pool import pool
from lexicell.core.pooling.pooler import BadValueError
from lexicell.core.pooling.presets import PRESETS, Preset
from lexicell.core.pooling.threads import n_threads
from lexicell.core.pooling.tiebreak import tie_ranks

TOLERANCE = 2e-6
LOOPED = ["paper", "genept-w", "scelmo-wa", "scelmo-aa", "whitened"]


def embed_cells(*args, **options):
    """The embedding alone; with `l2`, of the preset with or without unit length."""
    l2 = options.pop("l2", None)
    if l2 is not None:
        options["preset"] = replace(PRESETS[options["preset"]], l2=l2)
    return pool(*args, **options).embedding


def whiten(E, k=None):
    """Whitened vectors by a singular value decomposition in double precision."""
    E = E.astype(np.float64)
    U, s, Vt = np.linalg.svd(E - E.mean(axis=0), full_matrices=False)
    keep = s >= 1e-3 * s[0]
    n = k or min(int(keep.sum()), len(E) // 4)
    W = U[:, :n] * math.sqrt(len(E))
    for j in range(n):
        if Vt[j, np.argmax(np.abs(Vt[j]))] < 0:
            W[:, j] *= -1
    return W


def loop(X, vectors, columns, ids, preset, top_n=None, logged=False, library=None, l2=None):
    """The formulas, cell by cell and gene by gene."""
    X = X.toarray().astype(np.float64) if sp.issparse(X) else np.asarray(X, dtype=np.float64)
    V = np.asarray(vectors, dtype=np.float32).astype(np.float64)
    n_cells, n_genes = X.shape
    l_all = np.zeros(X.shape)
    for c in range(n_cells):
        n = float(X[c].sum()) if library is None else float(library[c])
        for g in range(n_genes):
            if X[c, g] > 0:
                l_all[c, g] = X[c, g] if logged else math.log1p(1e4 * X[c, g] / n)
    kept = np.zeros((n_cells, len(columns)))
    for c in range(n_cells):
        present = [v for v in range(len(columns)) if X[c, columns[v]] > 0]
        present.sort(key=lambda v: (-X[c, columns[v]], hashlib.blake2b(ids[v].encode()).digest()))
        for v in present[:top_n]:
            kept[c, v] = l_all[c, columns[v]]
    weights = kept
    if preset == "whitened":
        V = whiten(V)
        mean, sd = kept.mean(axis=0), kept.std(axis=0)
        weights = np.zeros_like(kept)
        for v in range(len(columns)):
            if sd[v] > 1e-12:
                for c in range(n_cells):
                    weights[c, v] = min(max((kept[c, v] - mean[v]) / sd[v], -10.0), 10.0)
    out = np.zeros((n_cells, V.shape[1]))
    for c in range(n_cells):
        if not kept[c].any():
            continue
        for v in range(len(columns)):
            if weights[c, v]:
                out[c] += weights[c, v] * V[v]
        if preset == "paper":
            out[c] /= kept[c].sum()
        elif preset == "scelmo-wa":
            out[c] /= l_all[c].sum()
        elif preset in ("genept-w", "scelmo-aa"):
            out[c] /= n_genes
        if l2 if l2 is not None else preset == "genept-w":
            norm = math.sqrt(float((out[c] ** 2).sum()))
            out[c] /= norm if norm else 1.0
    return out


def error(result, expected):
    """Largest difference in a cell over the cell's largest entry."""
    size = np.abs(expected).max(axis=1)
    wrong = np.abs(result - expected).max(axis=1)
    assert (wrong[size == 0] == 0).all()
    return float((wrong[size > 0] / size[size > 0]).max(initial=0.0))


def make(rng, preset="", n_cells=60, n_genes=300, n_text=220, dim=None, density=0.3, top=6, kind="counts"):
    # A gene space of 220 genes bears 55 directions; the others span two panels of the kernel.
    dim = dim or (40 if preset == "whitened" else 150)
    X = np.where(rng.random((n_cells, n_genes)) < density, rng.integers(1, top, (n_cells, n_genes)), 0).astype(
        np.float32
    )
    if kind == "abundance":
        X *= rng.random(X.shape).astype(np.float32) * 30
    if kind == "log1p":
        X = np.log1p(X * 1.7).astype(np.float32)
    X[n_cells // 2] = 0
    columns = rng.permutation(n_genes)[:n_text]
    X[n_cells // 3, columns] = 0
    ids = [f"gene-{c}" for c in columns]
    return sp.csr_matrix(X), (rng.normal(size=(n_text, dim)) + 0.5).astype(np.float32), columns, ids


@pytest.mark.parametrize("top_n", [None, 1, 40, 1000], ids=lambda n: f"top_n={n}")
@pytest.mark.parametrize("kind", ["counts", "abundance", "log1p"])
@pytest.mark.parametrize("preset", LOOPED)
def test_preset_equals_loop(rng, preset, kind, top_n):
    X, V, columns, ids = make(rng, preset, kind=kind)
    result = embed_cells(X, V, columns, preset=preset, top_n=top_n, logged=kind == "log1p", ranks=tie_ranks(ids))
    expected = loop(X, V, columns, ids, preset, top_n, logged=kind == "log1p")
    assert error(result, expected) <= TOLERANCE
    assert (result[30] == 0).all()
    assert (result[20] == 0).all()


def test_every_preset_is_tested():
    assert set(PRESETS) == set(LOOPED)


def test_paper_keeps_a_thousand_genes(rng):
    X, V, columns, ids = make(rng, n_cells=8, n_genes=2500, n_text=2300, dim=20, density=0.8)
    result = pool(X, V, columns, ranks=tie_ranks(ids))
    assert result.n_genes.tolist() == [1000, 1000, 0, 1000, 0, 1000, 1000, 1000]
    assert error(result.embedding, loop(X, V, columns, ids, "paper", 1000)) <= TOLERANCE


@pytest.mark.parametrize("l2", [True, False])
@pytest.mark.parametrize("preset", ["paper", "genept-w"])
def test_unit_length_on_request(rng, preset, l2):
    X, V, columns, ids = make(rng, preset)
    result = embed_cells(X, V, columns, preset=preset, l2=l2, ranks=tie_ranks(ids))
    assert error(result, loop(X, V, columns, ids, preset, 1000, l2=l2)) <= TOLERANCE


@pytest.mark.parametrize("preset", LOOPED)
def test_library_size_given(rng, preset):
    X, V, columns, ids = make(rng, preset)
    library = np.asarray(X.astype(np.float64).sum(axis=1)).ravel() * 3 + 5
    result = pool(X, V, columns, preset=preset, top_n=None, library_size=library, ranks=tie_ranks(ids))
    assert error(result.embedding, loop(X, V, columns, ids, preset, library=library)) <= TOLERANCE
    counts = X[:, columns].astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(result.coverage, np.asarray(counts).ravel() / library, rtol=1e-12)


def test_reads_of_many_thousands_are_cut_right(rng):
    # Beyond the histogram of small counts, and whole numbers a float32 cannot hold.
    X = rng.integers(0, 3, (20, 200)) * rng.integers(1, 60_000_000, (20, 200))
    V, columns, ids = rng.normal(size=(200, 30)), np.arange(200), [f"g{i}" for i in range(200)]
    result = embed_cells(X, V, columns, top_n=50, ranks=tie_ranks(ids))
    assert error(result, loop(X, V, columns, ids, "paper", 50)) <= TOLERANCE


def test_values_that_differ_beyond_float32_are_ranked(rng):
    X = 1 + np.arange(40, dtype=np.float64)[None, :] * 1e-12
    V = np.eye(40)
    kept = np.flatnonzero(embed_cells(X, V, np.arange(40), top_n=5)[0])
    assert kept.tolist() == [35, 36, 37, 38, 39]


def test_moments_are_those_of_numpy(rng):
    X, V, columns, _ = make(rng, "whitened", n_cells=200)
    moments = pool(X, V, columns, preset="whitened").moments
    dense = X.toarray().astype(np.float64)
    n = dense.sum(axis=1, keepdims=True)
    log = np.log1p(1e4 * dense / np.where(n > 0, n, 1))[:, columns]
    np.testing.assert_allclose(moments.mean, log.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(moments.sd, log.std(axis=0), rtol=1e-6)


def test_moments_of_values_far_apart(rng):
    # Some abundances are next to nothing; their spread counts as much.
    log = rng.random((50, 40)) * 10.0 ** -rng.integers(0, 38, 40)
    moments = pool(
        log.astype(np.float32), rng.normal(size=(40, 5)), np.arange(40), preset="whitened", logged=True
    ).moments
    exact = log.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.sd, exact.std(axis=0), rtol=1e-13)


def test_a_gene_that_does_not_vary_has_no_spread():
    log = np.full((30, 20), 1.3, dtype=np.float32)
    log[:, 5:] += np.random.default_rng(0).random((30, 15), dtype=np.float32)
    result = pool(log, np.random.default_rng(0).normal(size=(20, 3)), np.arange(20), preset="whitened", logged=True)
    assert (result.moments.sd[:5] == 0).all()
    assert (result.moments.sd[5:] > 0.1).all()
    assert np.isfinite(result.embedding).all()


def test_clipping_at_ten_and_at_minus_ten():
    # Gene 0 stands out in one cell of 300 (z = 17); gene 1 is missing in one and the same everywhere else.
    log = np.full((300, 120), 2.0)
    log[:, 2:] += np.random.default_rng(1).random((300, 118))
    log[:, 0] = 0
    log[3, 0], log[7, 1] = 1.5, 0
    V = np.random.default_rng(0).normal(size=(120, 10))
    ids = [str(i) for i in range(120)]
    result = embed_cells(log, V, np.arange(120), preset="whitened", logged=True)
    expected = loop(log, V, np.arange(120), ids, "whitened", logged=True)
    # Means are nine sd above zero here, so that cells are small differences of large sums.
    assert np.abs(result - expected).max() <= 3 * TOLERANCE * np.median(np.abs(expected).max(axis=1))
    z = (log - log.mean(axis=0)) / log.std(axis=0)
    assert z.max() > 10
    assert z.min() < -10


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("preset", LOOPED)
def test_same_bits_for_blocks_threads_and_forms(rng, preset):
    X, V, columns, ids = make(rng, preset, n_cells=120)
    run = {"preset": preset, "top_n": 30, "ranks": tie_ranks(ids)}
    first = embed_cells(X, V, columns, **run)
    for options in ({"chunk_size": 1}, {"chunk_size": 7, "n_jobs": 3}, {"n_jobs": 1}, {"chunk_size": 10**6}):
        np.testing.assert_array_equal(embed_cells(X, V, columns, **run, **options), first)
    shuffled = X.copy()
    for row in range(X.shape[0]):
        part = slice(X.indptr[row], X.indptr[row + 1])
        order = rng.permutation(X.indptr[row + 1] - X.indptr[row])
        shuffled.data[part], shuffled.indices[part] = X.data[part][order], X.indices[part][order]
    shuffled.has_sorted_indices = False
    wide = sp.csr_matrix((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape)
    frozen = X.copy()
    for array in (frozen.data, frozen.indices, frozen.indptr):
        array.setflags(write=False)
    forms = {
        "dense": X.toarray(),
        "fortran": np.asfortranarray(X.toarray()),
        "strided": np.repeat(X.toarray(), 2, axis=0)[::2],
        "matrix": np.matrix(X.toarray()),
        "csc": X.tocsc(),
        "coo": X.tocoo(),
        "csr_array": sp.csr_array(X),
        "float64": X.astype(np.float64),
        "big-endian": X.toarray().astype(">f4"),
        "uint8": X.astype(np.uint8),
        "int64": X.astype(np.int64),
        "float16": X.toarray().astype(np.float16),
        "unsorted": shuffled,
        "int64 indices": wide,
        "read-only": frozen,
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(embed_cells(form, V, columns, **run), first, err_msg=name)


@pytest.mark.parametrize("kind", ["counts", "abundance", "log1p"])
@pytest.mark.parametrize("preset", LOOPED)
def test_same_bits_for_any_order_of_cells(rng, preset, kind):
    X, V, columns, ids = make(rng, preset, n_cells=150, kind=kind)
    run = {"preset": preset, "top_n": 30, "ranks": tie_ranks(ids), "logged": kind == "log1p"}
    order = rng.permutation(X.shape[0])
    np.testing.assert_array_equal(embed_cells(X[order], V, columns, **run), embed_cells(X, V, columns, **run)[order])


@pytest.mark.parametrize("preset", LOOPED)
def test_another_order_of_genes_selects_the_same(rng, preset):
    X, V, columns, ids = make(rng, preset)
    first = pool(X, V, columns, preset=preset, top_n=25, ranks=tie_ranks(ids))
    new = rng.permutation(X.shape[1])
    place = np.argsort(new)
    mixed = rng.permutation(len(ids))
    second = pool(
        X[:, new], V[mixed], place[columns][mixed], preset=preset, top_n=25, ranks=tie_ranks([ids[i] for i in mixed])
    )
    np.testing.assert_array_equal(second.n_genes, first.n_genes)
    assert error(second.embedding, first.embedding.astype(np.float64)) <= TOLERANCE


def test_duplicate_entries_add_up_and_explicit_zeros_are_nothing(rng):
    X, V, columns, ids = make(rng)
    run = {"top_n": 20, "ranks": tie_ranks(ids)}
    coo = X.tocoo()
    split = sp.csr_matrix((np.r_[coo.data - 1, np.ones(coo.nnz)], (np.r_[coo.row, coo.row], np.r_[coo.col, coo.col])))
    doubled = sp.csr_matrix(X.shape)
    # Built by hand: scipy's constructors add duplicates up themselves.
    rows = np.r_[coo.row, coo.row]
    order = np.argsort(rows, kind="stable")
    doubled.data = np.r_[coo.data - 1, np.ones(coo.nnz, dtype=np.float32)][order]
    doubled.indices = np.r_[coo.col, coo.col][order].astype(np.int32)
    doubled.indptr = np.r_[0, np.cumsum(np.bincount(rows, minlength=X.shape[0]))].astype(np.int32)
    before = doubled.data.copy(), doubled.indices.copy()
    assert doubled.nnz == 2 * X.nnz > split.nnz
    np.testing.assert_array_equal(embed_cells(doubled, V, columns, **run), embed_cells(X, V, columns, **run))
    np.testing.assert_array_equal(doubled.data, before[0])
    np.testing.assert_array_equal(doubled.indices, before[1])


def test_input_stays_as_it_was(rng):
    X, V, columns, _ = make(rng, "whitened")
    before = X.copy(), V.copy()
    for preset in LOOPED:
        embed_cells(X, V, columns, preset=preset)
    np.testing.assert_array_equal(X.data, before[0].data)
    np.testing.assert_array_equal(X.indices, before[0].indices)
    np.testing.assert_array_equal(V, before[1])


@pytest.mark.parametrize(
    ("value", "says"),
    [(np.nan, "NaN"), (-1.0, "-1"), (np.inf, "inf"), (-np.inf, "-inf")],
    ids=["nan", "negative", "infinite", "minus infinite"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [sp.csr_matrix, np.asarray], ids=["sparse", "dense"])
def test_bad_value_is_placed(rng, value, says, dtype, form):
    X = make(rng)[0].toarray().astype(dtype)
    X[41, 17] = X[41, 19] = X[55, 2] = value
    with pytest.raises(BadValueError, match=f"row 41, column 17: the value is {says}"):
        embed_cells(form(X), np.ones((3, 2)), [0, 1, 2], chunk_size=16)


def test_negative_zero_is_a_zero(rng):
    X, V, columns, _ = make(rng)
    signed = np.where(X.toarray() == 0, np.float32(-0.0), X.toarray())
    np.testing.assert_array_equal(embed_cells(sp.csr_matrix(signed), V, columns), embed_cells(X, V, columns))
    stored = X.copy()
    stored.data[::7] = -0.0
    clean = stored.copy()
    clean.eliminate_zeros()
    np.testing.assert_array_equal(embed_cells(stored, V, columns), embed_cells(clean, V, columns))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"preset": "best"}, "unknown preset 'best'; choose one of 'paper'"),
        ({"top_n": 0}, "top_n must be a whole number of at least 1"),
        ({"top_n": "ten"}, "got 'ten'"),
        ({"chunk_size": 0}, "chunk_size must be"),
        ({"n_jobs": -1}, "n_jobs must be"),
        ({"columns": [0, 0, 1]}, "columns must be different numbers"),
        ({"columns": [0, 1, 300]}, "columns must be different numbers from 0 to 299"),
        ({"columns": [0, 1]}, "do not fit"),
        ({"vectors": np.full((3, 2), np.nan)}, "NaN or infinity"),
        ({"vectors": np.full((3, 2), np.inf)}, "NaN or infinity"),
        ({"rows": [0, 1, 3]}, "rows must be numbers from 0 to 2"),
        ({"rows": [0, 1]}, "do not fit"),
        ({"ranks": [0, 0, 1]}, "ranks must be the numbers from 0 to 2"),
        ({"library_size": [1.0]}, "do not fit 60 cells"),
        ({"library_size": np.ones(60)}, "row 0: its library size is 1, but its counts here add up to"),
        ({"library_size": np.ones(60), "logged": True}, "of no use"),
        ({"n_components": 2}, "belongs to the whitened gene space"),
        ({"X": np.zeros((0, 300))}, "empty: 0 cells x 300 genes"),
        ({"X": np.zeros((5, 0))}, "empty: 5 cells x 0 genes"),
        ({"X": np.ones(300)}, "cells x genes is needed"),
        ({"X": np.array([["a", "b"]])}, "real numbers are needed"),
        ({"X": np.full((2, 300), 400.0), "logged": True}, "400 is no log1p of expression"),
        ({"X": np.ones((1, 300)), "preset": "whitened"}, "one cell alone has none"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
def test_bad_argument(rng, change, says):
    arguments = {"X": make(rng)[0], "vectors": np.ones((3, 2)), "columns": [0, 1, 2]} | change
    with pytest.raises(InputError, match=says):
        pool(**arguments)


def test_broken_sparse_matrix(rng):
    X = make(rng)[0]
    X.indices[5] = 10_000
    with pytest.raises(InputError, match="damaged: its indices run from 0 to 10000"):
        embed_cells(X, np.ones((3, 2)), [0, 1, 2])


def test_float16_vectors_are_used_as_given(rng):
    X, V, columns, _ = make(rng)
    narrow = V.astype(np.float16)
    assert np.array_equal(embed_cells(X, narrow, columns), embed_cells(X, narrow.astype(np.float32), columns))


def test_a_gene_embedding_of_float16_is_kept_as_float32(rng):
    import lexicell as lx

    narrow = rng.normal(size=(3, 5)).astype(np.float16)
    genes = lx.GeneEmbedding.from_vectors(["a", "b", "c"], narrow)
    assert genes.vectors.dtype == np.float32
    assert np.array_equal(genes.vectors, narrow.astype(np.float32))


@pytest.mark.parametrize(
    ("dim", "width"), [(1, 16), (16, 16), (17, 32), (384, 384), (385, 208), (1024, 352), (1536, 384), (3072, 384)]
)
def test_panels_hold_every_dimension_with_little_padding(dim, width):
    assert panel_width(dim) == width


@st.composite
def problems(draw):
    n_cells, n_genes = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint16]))
    top = draw(st.sampled_from([1, 3, 300, 5000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = np.where(
        rng.random((n_cells, n_genes)) < draw(st.floats(0, 1)), rng.integers(1, top + 1, (n_cells, n_genes)), 0
    )
    if np.dtype(dtype).kind == "f" and draw(st.booleans()):
        X = X * rng.choice([0.1, 1.5, 7.25, 1e-4], X.shape)
    n_text = draw(st.integers(1, n_genes))
    V = (rng.normal(size=(n_text, draw(st.sampled_from([1, 3, 127, 128, 129, 300, 385, 800])))) + 0.3).astype(
        np.float32
    )
    top_n = draw(st.one_of(st.none(), st.integers(1, n_genes + 1)))
    preset = draw(st.sampled_from(LOOPED[:4]))
    return X.astype(dtype), V, rng.permutation(n_genes)[:n_text], preset, top_n, draw(st.booleans())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_random_problems_equal_loop(problem):
    X, V, columns, preset, top_n, sparse = problem
    ids = [f"id{c}" for c in columns]
    matrix = sp.csr_matrix(X) if sparse else X
    result = embed_cells(matrix, V, columns, preset=preset, top_n=top_n, l2=False, ranks=tie_ranks(ids))
    expected = loop(X, V, columns, ids, preset, top_n, l2=False)
    # Sums of few vectors may cancel: rounding is measured against what was added up.
    added = loop(X, np.abs(V), columns, ids, preset, top_n, l2=False)
    assert (np.abs(result - expected) <= 1e-6 * added).all()
    unit = embed_cells(matrix, V, columns, preset=preset, top_n=top_n, l2=True, ranks=tie_ranks(ids))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), (expected != 0).any(axis=1), rtol=1e-6)


def test_ties_follow_the_hash_of_the_id():
    ids = ["SOD1", "TARDBP", "FUS", "C9orf72", "UNC13A"]
    by_hash = sorted(range(5), key=lambda i: hashlib.blake2b(ids[i].encode()).hexdigest())
    for n in range(1, 5):
        kept = np.flatnonzero(embed_cells(np.ones((1, 5)), np.eye(5), np.arange(5), top_n=n, ranks=tie_ranks(ids))[0])
        assert sorted(kept) == sorted(by_hash[:n])


def test_threads_follow_the_processors_allowed_and_the_environment(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert n_threads() == 6
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert n_threads() == 2
    assert n_threads(3) == 3


def test_z_scores_cannot_be_divided_per_cell():
    with pytest.raises(ValueError, match="a part that all cells share"):
        Preset(divide_by="kept", z_scored=True, formula="", words="", source="")


def test_a_complaint_survives_the_way_between_processes():
    error = BadValueError(7, 3, "the value is NaN")
    again = pickle.loads(pickle.dumps(error))
    assert (again.row, again.column, again.reason, str(again)) == (7, 3, error.reason, str(error))
