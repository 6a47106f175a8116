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


def test_lists_find_nearly_the_same_neighbors_and_the_same_ones_twice(
    points: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = _graph.graph_of(points[0], 10, 0)
    monkeypatch.setattr(_graph, "_SCANPY_EXACT", 100)
    monkeypatch.setattr(_graph, "_EXACT", 200)
    first, second = (_graph.graph_of(points[0], 10, 0) for _ in range(2))
    assert (first.obsp["connectivities"] != second.obsp["connectivities"]).nnz == 0
    # With 32 of 80 lists searched, nearly all are found; their distances are those of the exact search.
    both = (exact.obsp["distances"] > 0).multiply(first.obsp["distances"] > 0)
    assert both.nnz > 0.95 * exact.obsp["distances"].nnz
    gap = exact.obsp["distances"].multiply(both) - first.obsp["distances"].multiply(both)
    assert abs(gap).max() < 1e-4
    codes = _graph.leiden(first)(0.1, 0)
    assert len(set(zip(codes.tolist(), points[1].tolist(), strict=True))) == 4


def test_equal_cells_do_not_hide_a_cell_from_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_graph, "_EXACT", 100)
    rng = np.random.default_rng(0)
    cells = np.vstack([np.zeros((60, 4)), rng.normal(size=(140, 4))]).astype(np.float32)
    found = _graph._Lists(10, 0).fit_transform(cells)
    assert (found.indices.reshape(200, 10)[:, 0] == np.arange(200)).all()
    assert (np.diff(found.indptr) == 10).all()
    assert (found.indices.reshape(200, 10)[:, 1:] != np.arange(200)[:, None]).all()


@pytest.mark.parametrize("spectral", [10_000, 50], ids=["begun spectrally", "begun with components"])
def test_cells_that_umap_left_out_lie_among_their_kind(
    points: tuple[np.ndarray, np.ndarray], spectral: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_graph, "_SPECTRAL", spectral)
    monkeypatch.setattr(_graph, "_MAP", 200)
    drawn = _graph.umap_of(_graph.graph_of(points[0], 10, 0), 0)
    assert drawn.shape == (400, 2)
    centers = np.stack([drawn[points[1] == k].mean(axis=0) for k in range(4)])
    nearest = np.linalg.norm(drawn[:, None] - centers, axis=2).argmin(axis=1)
    assert (nearest == points[1]).mean() > 0.98
    again = _graph.umap_of(_graph.graph_of(points[0], 10, 0), 0)
    np.testing.assert_array_equal(drawn, again)


def test_clusters_are_those_of_scanpy(points: tuple[np.ndarray, np.ndarray]) -> None:
    import scanpy as sc

    graph = _graph.graph_of(points[0], 10, 0)
    for resolution, seed in ((0.5, 3), (2.0, 0)):
        mine = _graph.leiden(graph)(resolution, seed)
        sc.tl.leiden(graph, resolution=resolution, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
        theirs = graph.obs["leiden"].cat.codes.to_numpy()
        assert len(set(zip(mine.tolist(), theirs.tolist(), strict=True))) == mine.max() + 1 == theirs.max() + 1
