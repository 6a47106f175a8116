"""The hybrid way of summing, and vectors of sixteen bits, against plain arithmetic that shares nothing with them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexicell._errors import InputError
from lexicell.core import _hot, _pooler, pooling
from lexicell.core._hot import Hot, aligned
from lexicell.core._kernels import _tiles
from lexicell.core.pooling import PRESETS, embed_cells

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
needs_tiles = pytest.mark.skipif(not _tiles.has_tiles(), reason="no tile unit here")
LINEAR = [name for name, preset in PRESETS.items() if not preset.z_scored]


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """Without a tile unit the plain loop adds the same numbers; and few hot genes are enough."""
    monkeypatch.setattr(pooling, "has_tiles", lambda: True)
    monkeypatch.setattr(_hot, "_WORTH", 0.0)


def problem(rng, n_cells=90, n_genes=400, n_text=300, dim=40):
    """Counts whose genes have every density between none and all, gene vectors, and the columns they belong to."""
    share = rng.permutation(np.linspace(0, 1, n_genes))
    X = rng.poisson(1.5, (n_cells, n_genes)) * (rng.random((n_cells, n_genes)) < share)
    X[n_cells // 2] = 0
    V = (rng.normal(size=(n_text, dim)) + 0.4).astype(np.float32)
    return sp.csr_matrix(X.astype(np.float32)), V, rng.permutation(n_genes)[:n_text]


def double_loop(X, V, columns, preset, top_n=None):
    """Every preset but the z-scored one, in float64; the first columns win ties, as without ranks."""
    out = np.zeros((X.shape[0], V.shape[1]))
    for c, row in enumerate(X.toarray().astype(np.float64)):
        if not row.sum():
            continue
        logs = np.log1p(1e4 * row / row.sum())
        order = sorted((i for i in range(len(columns)) if row[columns[i]] > 0), key=lambda i: (-row[columns[i]], i))
        kept = order[:top_n]
        for i in kept:
            out[c] += logs[columns[i]] * V[i].astype(np.float64)
        below = {"kept": sum(logs[columns[i]] for i in kept), "all": logs.sum(), "genes": X.shape[1]}
        out[c] /= below[PRESETS[preset].divide_by] or 1.0
        if PRESETS[preset].l2:
            out[c] /= np.linalg.norm(out[c])
    return out


def error(seen, exact):
    """Largest difference over a cell's largest entry."""
    return (np.abs(seen - exact).max(axis=1) / np.maximum(np.abs(exact).max(axis=1), 1e-300)).max()


def halves(V):
    """Vectors rounded to sixteen bits by looking at every neighbour: nearest is what is so many float32 away."""
    padded = np.zeros((len(V), -(-V.shape[1] // 32) * 32), dtype=np.float32)
    padded[:, : V.shape[1]] = V
    groups = padded.reshape(len(V), -1, 2, 16)
    lower = (groups[:, :, 1].copy().view(np.uint32) >> 16).astype(np.int64)
    # Of two numbers of sixteen bits around each entry the nearer one.
    far = [np.abs(((lower + i) << 16) - groups[:, :, 1].copy().view(np.uint32).astype(np.int64)) for i in (0, 1)]
    lower = lower + (far[1] <= far[0])
    upper = (groups[:, :, 0].copy().view(np.uint32) >> 16).astype(np.int64)
    tried = np.stack([((upper + i) << 16) | lower for i in (1, 0, -1)])
    best = np.abs(tried - groups[:, :, 0].copy().view(np.uint32).astype(np.int64)).argmin(axis=0)
    first = np.take_along_axis(tried, best[None], axis=0)[0].astype(np.uint32).view(np.float32)
    second = (lower << 16).astype(np.uint32).view(np.float32)
    return np.stack([first, second], axis=2).reshape(len(V), -1)[:, : V.shape[1]]


@pytest.mark.parametrize("top_n", [None, 70])
@pytest.mark.parametrize("preset", LINEAR)
def test_hybrid_equals_double_loop(rng, preset, top_n):
    X, V, columns = problem(rng)
    seen = embed_cells(X, V, columns, preset=preset, top_n=top_n, method="hybrid")
    assert error(seen, double_loop(X, V, columns, preset, top_n)) <= 2e-6
    assert (seen[45] == 0).all()


def test_hybrid_of_deep_cells_whose_weights_are_small(rng):
    X, V, columns = problem(rng)
    wide = X.toarray()
    wide[wide.any(axis=1), np.setdiff1d(np.arange(X.shape[1]), columns)[0]] = 1e6  # a gene without text
    X = sp.csr_matrix(wide)
    assert np.log1p(1e4 * wide[:, columns].max() / 1e6) < 0.2
    seen = embed_cells(X, V, columns, preset="scelmo-wa", method="hybrid")
    exact = double_loop(X, V, columns, "scelmo-wa")
    assert np.abs(exact).max() > 0
    assert error(seen, exact) <= 2e-6


def test_hybrid_whitened_equals_sparse(rng):
    X, V, columns = problem(rng)
    sparse, hybrid = (embed_cells(X, V, columns, preset="whitened", method=m).astype(float) for m in _methods())
    assert error(hybrid, sparse) <= 4e-6


def _methods():
    return ("sparse", "hybrid")


@QUICK
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 15, 16, 33, 128, 130, 257]), st.sampled_from([None, 1, 9]))
def test_random_hybrid_equals_double_loop(seed, dim, top_n):
    rng = np.random.default_rng(seed)
    X, V, columns = problem(rng, int(rng.integers(1, 80)), 40, 30, dim)
    V *= 10.0 ** rng.integers(-3, 4, (1, dim))  # entries of very different size
    seen = embed_cells(X, V, columns, top_n=top_n, method="hybrid", n_jobs=1)
    # Terms may cancel: weights that add up to one leave the largest entry as the measure.
    assert (np.abs(seen - double_loop(X, V, columns, "paper", top_n)) <= 1e-6 * np.abs(V).max(axis=0)).all()


@pytest.mark.parametrize("method", _methods())
@pytest.mark.parametrize("dim", [1, 16, 17, 40, 128, 129, 300])
def test_half_equals_double_loop_on_rounded_vectors(rng, method, dim):
    X, V, columns = problem(rng, dim=dim)
    seen = embed_cells(X, V, columns, method=method, precision="half")
    rounded = halves(V)
    # Eight bits: half of the last one, and what the neighbour's bits leave open.
    assert (np.abs(rounded - V) <= np.abs(V) * 2.0**-8).all()
    if method == "sparse":
        assert error(seen, double_loop(X, rounded, columns, "paper")) <= 2e-6
    else:
        assert error(seen, double_loop(X, V, columns, "paper")) <= 2e-3


def test_half_is_rounded(rng):
    X, V, columns = problem(rng)
    seen = embed_cells(X, V, columns, precision="half")
    assert 1e-5 < error(seen, double_loop(X, V, columns, "paper")) < 2e-3


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0, 1e-30, 1e37])
def test_half_of_single_numbers(value):
    V = np.zeros((1, 32), dtype=np.float32)
    V[0, 3] = value
    seen = embed_cells(np.array([[4.0]]), V, [0], precision="half")
    assert seen[0, 3] == pytest.approx(value, rel=2.0**-8)
    assert (np.delete(seen[0], 3) == 0).all()


@pytest.mark.parametrize("precision", ["float32", "half"])
def test_same_bits_for_chunks_threads_and_forms(rng, precision):
    X, V, columns = problem(rng, n_cells=300, dim=150)
    options = {"method": "hybrid", "precision": precision}
    whole = embed_cells(X, V, columns, **options, n_jobs=1)
    for form in (X.toarray(), X.astype(np.int64), sp.csc_matrix(X).tocsr()):
        for chunk_size, n_jobs in ((1, 1), (7, 3), (64, 2), (1000, 2)):
            assert np.array_equal(embed_cells(form, V, columns, **options, chunk_size=chunk_size, n_jobs=n_jobs), whole)


def test_half_has_the_same_bits_for_any_order_of_cells(rng):
    X, V, columns = problem(rng)
    order = rng.permutation(X.shape[0])
    whole = embed_cells(X, V, columns, precision="half")
    assert np.array_equal(embed_cells(X[order], V, columns, precision="half"), whole[order])


def test_another_order_of_cells_changes_hybrid_by_rounding_only(rng):
    X, V, columns = problem(rng, n_cells=1200)
    order = rng.permutation(X.shape[0])
    one, other = (embed_cells(x, V, columns, method="hybrid") for x in (X, X[order]))
    assert error(other, one[order].astype(float)) <= 1e-6


@needs_tiles
@pytest.mark.parametrize("n_digits", [2, 3])
def test_tile_unit_and_plain_loop_give_the_same_bits(rng, n_digits):
    tiles, panels = aligned((n_digits, 4, 3, 16, 64), np.int8), aligned((n_digits, 4, 3, 16, 64), np.int8)
    for a in (tiles, panels):
        a[:] = rng.integers(-128, 128, a.shape)
    unit, worth, parts = rng.random(64), rng.random(64), aligned((n_digits, 4, 16, 16), np.int32)
    results = []
    for add in (_tiles.add_hot_wide, _tiles.add_hot_plain):
        sums = np.full((64, 64), np.nan, dtype=np.float32)
        add(tiles, unit, panels, worth, _tiles.shapes(), parts, sums)
        results.append(sums)
    assert np.isfinite(results[0]).all()
    assert np.array_equal(*results)


@needs_tiles
def test_several_callers_at_once(rng):
    X, V, columns = problem(rng, n_cells=400, dim=200)
    expected = embed_cells(X, V, columns, method="hybrid", n_jobs=1)
    results = [None] * 4

    def call(i):
        results[i] = embed_cells(X, V, columns, method="hybrid", n_jobs=2, chunk_size=50)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(r, expected) for r in results)


def test_without_special_machine_code_the_same(rng, monkeypatch):
    X, V, columns = problem(rng, dim=300)
    options = [{"precision": p, "method": m} for p in ("float32", "half") for m in _methods()]
    fast = [embed_cells(X, V, columns, **o) for o in options]
    monkeypatch.setattr(_pooler, "_plain", True)
    monkeypatch.setattr(_tiles, "has_tiles", lambda: False)
    for one, o in zip(fast, options, strict=True):
        assert error(embed_cells(X, V, columns, **o), one.astype(float)) <= 1e-6


def test_genes_are_hot_by_share():
    hot = Hot.choose(np.array([0.2, 0.14, 0.9, 0.0]), 3)
    assert hot is not None
    assert hot.genes.tolist() == [0, 2]
    assert hot.kinds.tolist() == [0, 1, 0, 1]
    assert Hot.choose(np.array([0.12, 0.0]), 2).genes.tolist() == [0]


def test_too_few_hot_genes_are_not_worth_it(monkeypatch):
    monkeypatch.setattr(_hot, "_WORTH", 64.0)
    assert Hot.choose(np.ones(63), 3) is None
    assert Hot.choose(np.ones(64), 3) is not None


def test_refused_without_a_tile_unit(monkeypatch):
    monkeypatch.setattr(pooling, "has_tiles", lambda: False)
    with pytest.raises(InputError, match="use method='sparse' here"):
        embed_cells(np.ones((2, 1)), np.ones((1, 1)), [0], method="hybrid")


@pytest.mark.parametrize(
    ("option", "says"),
    [({"method": "dense"}, "sparse"), ({"precision": "float64"}, "half")],
    ids=["method", "precision"],
)
def test_unknown_choice(option, says):
    with pytest.raises(InputError, match=says):
        embed_cells(np.ones((2, 1)), np.ones((1, 1)), [0], **option)


@pytest.mark.parametrize("options", [{"precision": "half"}, {"method": "hybrid"}], ids=str)
def test_vectors_that_are_not_finite(options):
    with pytest.raises(InputError, match="NaN or infinity"):
        embed_cells(np.ones((2, 2)), np.array([[1.0], [np.inf]]), [0, 1], **options)


def test_float16_vectors_are_taken_as_they_are(rng):
    X, V, columns = problem(rng)
    narrow = V.astype(np.float16)
    assert np.array_equal(embed_cells(X, narrow, columns), embed_cells(X, narrow.astype(np.float32), columns))


def test_a_gene_embedding_of_float16_is_kept_as_float32(rng):
    import lexicell as lx

    narrow = rng.normal(size=(3, 5)).astype(np.float16)
    genes = lx.GeneEmbedding.from_vectors(["a", "b", "c"], narrow)
    assert genes.vectors.dtype == np.float32
    assert np.array_equal(genes.vectors, narrow.astype(np.float32))
