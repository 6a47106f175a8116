"""The compiled loops against a double loop in float64, over random matrices, types, N, D and ties.

Nothing here is shared with what is tested: the loop below adds up, ranks and takes logarithms one gene at a time.
"""

from __future__ import annotations

import hashlib
import math
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexicell.core.compiled import pack as _pack
from lexicell.core.pooling.pool import pool
from lexicell.core.pooling.tiebreak import tie_ranks

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
WIDTHS = [1, 2, 15, 16, 17, 31, 33, 127, 128, 129, 257, 385]
COUNTS = [np.bool_, np.uint8, np.int16, np.int32, np.int64, np.uint32, np.float32, np.float64]


def embed(triplets, n_cells, vectors, names, top_n, library=None, logged=False):
    """Sum l g / sum l of each cell, from lists of (cell, column, value); names[column] is None without text."""
    cells = [{} for _ in range(n_cells)]
    for cell, column, value in triplets:
        cells[cell][column] = cells[cell].get(column, 0.0) + float(value)
    out = np.zeros((n_cells, vectors.shape[1]))
    size_of_sum = np.zeros(n_cells)
    kept_genes = []
    for c, genes in enumerate(cells):
        total = math.fsum(genes.values()) if library is None else library[c]
        present = [(column, x) for column, x in genes.items() if x > 0 and names[column] is not None]
        present.sort(key=lambda p: (-p[1], hashlib.blake2b(names[p[0]].encode()).digest()))
        kept = present if top_n is None else present[:top_n]
        kept_genes.append({column for column, _ in kept})
        weights = {column: x if logged else math.log1p(1e4 * x / total) for column, x in kept}
        below = math.fsum(weights.values())
        for column, w in weights.items():
            for d in range(vectors.shape[1]):
                out[c, d] += w * float(vectors[column, d]) / below
            size_of_sum[c] += w * float(np.abs(vectors[column]).max()) / below
    return out, size_of_sum, kept_genes


@st.composite
def matrices(draw):
    """Triplets with duplicates, explicit zeros and empty rows; few different values, so that ties are the rule."""
    n_cells, n_genes = draw(st.integers(1, 7)), draw(st.sampled_from([1, 2, 5, 16, 17, 40, 70]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(COUNTS))
    largest = 1 if dtype == np.bool_ else draw(st.sampled_from([1, 2, 5, 60, 70, 200]))
    n = draw(st.integers(0, n_cells * n_genes))
    cells, columns = rng.integers(0, n_cells, n), rng.integers(0, n_genes, n)
    if dtype == np.bool_ or draw(st.booleans()):
        _, first = np.unique(cells * n_genes + columns, return_index=True)
        cells, columns = cells[first], columns[first]
    values = rng.integers(0, largest + 1, len(cells)).astype(dtype)
    if np.dtype(dtype).kind == "f" and draw(st.booleans()):
        values = (values * draw(st.sampled_from([0.25, 1.5, 0.75]))).astype(dtype)
    elif np.dtype(dtype).itemsize >= 4 and draw(st.booleans()):
        values = values * dtype(draw(st.sampled_from([1000, 200_000])))
    return n_cells, n_genes, cells, columns, values, rng


def as_csr(n_cells, n_genes, cells, columns, values, *, index_dtype, ordered):
    """CSR by hand: scipy's constructors would add up and sort."""
    order = np.lexsort((columns, cells)) if ordered else np.argsort(cells, kind="stable")
    matrix = sp.csr_matrix((n_cells, n_genes), dtype=values.dtype)
    matrix.data, matrix.indices = values[order], columns[order].astype(index_dtype)
    matrix.indptr = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=n_cells))]).astype(index_dtype)
    return matrix


@QUICK
@given(
    matrices(),
    st.sampled_from(WIDTHS),
    st.one_of(st.none(), st.integers(1, 75)),
    st.sampled_from([np.int32, np.int64]),
    st.booleans(),
    st.sampled_from(["sum", "library", "logged"]),
    st.sampled_from([1, 2, 3, None]),
)
def test_equals_double_loop(matrix, dim, top_n, index_dtype, ordered, kind, chunk_size):
    n_cells, n_genes, cells, columns, values, rng = matrix
    if kind == "logged":
        values = np.minimum(values.astype(np.float64), 2).astype(np.float32)  # duplicates add up
    has_text = rng.random(n_genes) < 0.8
    has_text[rng.integers(n_genes)] = True
    names = [f"gene {i}" if text else None for i, text in enumerate(has_text)]
    vectors = rng.normal(size=(n_genes, dim)).astype(np.float32)
    triplets = list(zip(cells, columns, values, strict=True))
    library = None
    if kind == "library":
        sums = np.bincount(cells, weights=values.astype(np.float64), minlength=n_cells)
        library = sums * rng.choice([1.0, 1.5, 20.0], n_cells)
    X = as_csr(n_cells, n_genes, cells, columns, values, index_dtype=index_dtype, ordered=ordered)
    place = rng.permutation(np.flatnonzero(has_text))
    result = pool(
        X, vectors[place], place, top_n=top_n, library_size=library, logged=kind == "logged", chunk_size=chunk_size,
        ranks=tie_ranks([names[i] for i in place]), n_jobs=1,
    )  # fmt: skip
    expected, size, kept = embed(triplets, n_cells, vectors, names, top_n, library, kind == "logged")
    assert result.n_genes.tolist() == [len(k) for k in kept]
    assert (np.abs(result.embedding - expected) <= 1e-6 * size[:, None]).all()


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.sampled_from([1, 2, 300]))
def test_genes_at_the_cut(seed, top_n, largest):
    # Unit vectors show which genes were kept; a sum could hide one taken for another.
    rng = np.random.default_rng(seed)
    X = rng.integers(0, largest + 1, (4, 90)) * (rng.random((4, 90)) < rng.random())
    names = [f"{seed} {i}" for i in range(90)]
    triplets = [(c, g, X[c, g]) for c in range(4) for g in range(90)]
    _, _, kept = embed(triplets, 4, np.ones((90, 1)), names, top_n)
    for values in (X.astype(np.float32), X.astype(np.float64), X * 0.5):
        embedding = pool(values, np.eye(90), np.arange(90), top_n=top_n, ranks=tie_ranks(names)).embedding
        assert [set(np.flatnonzero(row)) for row in embedding] == kept


@pytest.mark.parametrize("top_n", [None, 64, 200, 256, 257, 1000, 3000], ids=str)
def test_many_genes_across_segments(top_n):
    rng = np.random.default_rng(3)
    X = (rng.poisson(1.2, (6, 5000)) * rng.choice([0, 1, 1, 1, 30, 65, 900], (6, 5000))).astype(np.float32)
    V = rng.normal(size=(5000, 37)).astype(np.float32) + 0.5
    names = [f"g{i}" for i in range(5000)]
    triplets = [(c, g, X[c, g]) for c, g in zip(*X.nonzero(), strict=True)]
    expected, _, _ = embed(triplets, 6, V, names, top_n)
    result = pool(X, V, np.arange(5000), top_n=top_n, ranks=tie_ranks(names)).embedding
    assert (np.abs(result - expected).max(axis=1) <= 7e-7 * np.abs(expected).max(axis=1)).all()


def test_calls_at_the_same_time_give_the_same_bits():
    rng = np.random.default_rng(5)
    X = sp.random(300, 400, 0.4, "csr", dtype=np.float32, rng=rng)
    X.data = np.ceil(X.data * 5)
    V = rng.normal(size=(400, 70))
    alone = {n: pool(X, V, np.arange(400), top_n=n, n_jobs=1).embedding for n in (None, 7, 60, 100)}
    wrong, start = [], threading.Barrier(4)

    def work(top_n):
        start.wait()
        for chunk_size in (17, 64, 300):
            again = pool(X, V, np.arange(400), top_n=top_n, n_jobs=2, chunk_size=chunk_size).embedding
            if not np.array_equal(again, alone[top_n]):
                wrong.append(top_n)

    workers = [threading.Thread(target=work, args=(n,)) for n in alone]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@settings(QUICK, max_examples=30)
@given(st.lists(st.integers(0, 4), max_size=70), st.integers(1, 5))
def test_squeeze_keeps_what_reaches_the_bound(numbers, bound):
    n = len(numbers)
    keys = np.array([*numbers, 0], dtype=np.int32)
    values = np.arange(n + 1, dtype=np.int32) * 7
    counts = values + 1
    wanted = [7 * i for i, key in enumerate(numbers) if key >= bound]
    target = np.zeros(n + 1, dtype=np.int32)
    assert _pack.squeeze(values, counts, keys, n, bound, target) == len(wanted)
    assert target[: len(wanted)].tolist() == wanted
    assert counts[: len(wanted)].tolist() == [7 * i + 1 for i, key in enumerate(numbers) if key >= bound]
    assert _pack.count_from(keys, n, bound) == len(wanted)
    # In place.
    assert _pack.squeeze(values, keys, keys, n, bound, values) == len(wanted)
    assert values[: len(wanted)].tolist() == wanted
    assert keys[: len(wanted)].tolist() == [key for key in numbers if key >= bound]


@settings(QUICK, max_examples=40)
@given(
    st.lists(
        st.one_of(st.integers(0, 3), st.sampled_from([0.5, -1.0, -0.0, 16777216.0, 3e9, np.inf, np.nan])), max_size=50
    ),
    st.integers(0, 2**32 - 1),
)
def test_scan_reads_counts_and_notices_what_is_none(numbers, seed):
    n = len(numbers)
    values = np.array(numbers, dtype=np.float32)
    table = np.random.default_rng(seed).permutation(60)[:50].astype(np.int32)
    columns = np.arange(50, dtype=np.int32)[:n]
    keys, genes = np.zeros(n + 1, dtype=np.int32), np.zeros(n + 1, dtype=np.int32)
    tallies = np.zeros(4, dtype=np.int64)
    k = _pack.scan(values, columns, n, table, np.int32(40), keys, genes, tallies)
    whole = all(x == x and x < 3e9 and x == int(x) and not math.copysign(1, x) < 0 for x in numbers)
    assert (tallies[3] >= 0 and tallies[2] <= _pack.WHOLE_LIMIT) == whole
    if whole:
        kept = [(int(x), int(table[j])) for j, x in enumerate(numbers) if x > 0 and table[j] < 40]
        assert list(zip(keys[:k].tolist(), genes[:k].tolist(), strict=True)) == kept
        assert tallies[0] == sum(map(int, numbers))
        assert tallies[1] == sum(x for x, _ in kept)
