"""Neighbors are found for few and for many cells."""

from __future__ import annotations

import numpy as np
import pytest

from lexicell.tl import _graph


@pytest.fixture
def points(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(4), 100)
    return (rng.normal(size=(400, 6)) + 8 * np.eye(4, 6)[labels]).astype(np.float32), labels


def test_the_two_exact_searches_agree(points: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    few = _graph.graph_of(points[0], 10, 0)
    monkeypatch.setattr(_graph, "_SCANPY_EXACT", 100)
    many = _graph.graph_of(points[0], 10, 0)
    gap = abs(few.obsp["connectivities"] - many.obsp["connectivities"]).max()
    assert gap < 1e-5


def test_inverted_lists_find_nearly_the_same_neighbors_and_the_same_ones_for_any_threads(
    points: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    import faiss

    exact = _graph.graph_of(points[0], 10, 0).obsp["connectivities"] > 0
    monkeypatch.setattr(_graph, "_SCANPY_EXACT", 100)
    monkeypatch.setattr(_graph, "_EXACT", 200)
    threads = faiss.omp_get_max_threads()
    try:
        found = []
        for n in (1, 2):
            faiss.omp_set_num_threads(n)
            found.append(_graph.graph_of(points[0], 10, 0).obsp["connectivities"])
    finally:
        faiss.omp_set_num_threads(threads)
    assert (found[0] != found[1]).nnz == 0
    assert (exact.multiply(found[0] > 0)).nnz > 0.98 * exact.nnz
    codes = _graph.leiden(_graph.graph_of(points[0], 10, 0))(0.1, 0)
    assert len(set(zip(codes.tolist(), points[1].tolist(), strict=True))) == 4


def test_equal_cells_are_their_own_first_neighbor() -> None:
    points = np.repeat(np.random.default_rng(0).normal(size=(20, 5)), 30, axis=0).astype(np.float32)
    distances = _graph._Search(8, 0).fit_transform(points)
    near = distances.indices.reshape(-1, 8)
    assert (near[:, 0] == np.arange(600)).all()
    assert all(len(set(row)) == 8 for row in near.tolist())
    assert (near // 30 == near[:, :1] // 30).all()


def test_clusters_are_those_of_scanpy(points: tuple[np.ndarray, np.ndarray]) -> None:
    import scanpy as sc

    graph = _graph.graph_of(points[0], 10, 0)
    for resolution, seed in ((0.5, 3), (2.0, 0)):
        mine = _graph.leiden(graph)(resolution, seed)
        sc.tl.leiden(graph, resolution=resolution, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
        theirs = graph.obs["leiden"].cat.codes.to_numpy()
        assert len(set(zip(mine.tolist(), theirs.tolist(), strict=True))) == mine.max() + 1 == theirs.max() + 1


def test_cells_outside_the_map_lie_among_their_nearest(points: tuple[np.ndarray, np.ndarray]) -> None:
    sample = np.arange(0, 400, 2)
    placed = (10 * np.eye(4, 2)[points[1][sample]] + np.arange(200)[:, None] / 1e4).astype(np.float32)
    everywhere = _graph.place_others(points[0], sample, placed, 0)
    assert (everywhere[sample] == placed).all()
    others = np.arange(1, 400, 2)
    assert abs(everywhere[others] - 10 * np.eye(4, 2)[points[1][others]]).max() < 0.05
