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


def test_descent_finds_nearly_the_same_neighbors_and_the_same_ones_twice(
    points: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = _graph.graph_of(points[0], 10, 0).obsp["connectivities"] > 0
    monkeypatch.setattr(_graph, "_SCANPY_EXACT", 100)
    monkeypatch.setattr(_graph, "_EXACT", 200)
    first, second = (_graph.graph_of(points[0], 10, 0).obsp["connectivities"] for _ in range(2))
    assert (first != second).nnz == 0
    assert (exact.multiply(first > 0)).nnz > 0.9 * exact.nnz
    codes = _graph.leiden(_graph.graph_of(points[0], 10, 0))(0.1, 0)
    assert len(set(zip(codes.tolist(), points[1].tolist(), strict=True))) == 4
