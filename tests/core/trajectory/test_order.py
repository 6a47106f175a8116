"""Distances against scanpy and against plain loops, branches on trees whose answer is known, intervals by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell.core.trajectory import order as core

scanpy = pytest.importorskip("scanpy")


def tree(edges: list[tuple[int, int]]) -> sp.csr_matrix:
    """Weights 1 along the edges."""
    a, b = np.array(edges).T
    n = int(max(a.max(), b.max())) + 1
    return sp.csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(n, n))


def path(start: int, length: int, first: int) -> list[tuple[int, int]]:
    """`length` new nodes from `first` on, hung onto `start`."""
    nodes = [start, *range(first, first + length)]
    return list(pairwise(nodes))


def star(arms: int, length: int = 40, trunk: int = 40) -> tuple[sp.csr_matrix, np.ndarray]:
    """A trunk from node 0 that parts into arms; and the arm of each node, -1 on the trunk."""
    edges, label, n = path(0, trunk - 1, 1), [-1] * trunk, trunk
    for arm in range(arms):
        edges += path(trunk - 1, length, n)
        label += [arm] * length
        n += length
    return tree(edges), np.array(label)


@pytest.fixture(scope="module")
def cells() -> scanpy.AnnData:
    rng = np.random.default_rng(0)
    t = rng.random(200)
    points = np.column_stack([t, t**2, np.sin(3 * t), *rng.normal(scale=0.05, size=(4, 200))]).astype(np.float32)
    adata = scanpy.AnnData(points)
    scanpy.pp.neighbors(adata, n_neighbors=15, use_rep="X")
    scanpy.tl.diffmap(adata, n_comps=8)
    return adata


def test_diffusion_is_that_of_scanpy(cells: scanpy.AnnData) -> None:
    values, vectors = core.diffusion(cells.obsp["connectivities"], 8)
    assert np.allclose(values, cells.uns["diffmap_evals"], atol=1e-6)
    same = np.abs((vectors * cells.obsm["X_diffmap"]).sum(axis=0))
    assert np.allclose(same, 1, atol=1e-4)


def test_distances_from_any_root_are_those_of_scanpy(cells: scanpy.AnnData) -> None:
    rows = core.dpt_distances(cells.uns["diffmap_evals"], cells.obsm["X_diffmap"], [3, 77])
    for root, row in zip([3, 77], rows, strict=True):
        cells.uns["iroot"] = root
        scanpy.tl.dpt(cells, n_dcs=8)
        assert np.allclose(row / row.max(), cells.obs["dpt_pseudotime"], atol=1e-5)


def test_full_commute_distance_is_additive_along_a_tree() -> None:
    weights, _ = star(2, length=5, trunk=6)
    # The operator divides by degrees twice, so its own graph is K, on the same tree.
    values, vectors = np.linalg.eigh(_operator(weights))
    values, vectors = values[::-1], vectors[:, ::-1]
    scaled = vectors / vectors[:, [0]]  # back to the graph: divide by the square root of the stationary weight
    d = core.resistances(values, scaled, np.arange(weights.shape[0]), steps=0)
    assert d[0, 5] + d[5, 10] == pytest.approx(d[0, 10])
    assert d[10, 5] + d[5, 15] == pytest.approx(d[10, 15])


def _operator(weights: sp.csr_matrix) -> np.ndarray:
    W = weights.toarray()
    q = W.sum(axis=0)
    K = W / q[:, None] / q[None, :]
    z = np.sqrt(K.sum(axis=0))
    return np.asarray(K / z[:, None] / z[None, :])


@pytest.mark.parametrize("arms", [1, 2, 3])
def test_every_arm_of_a_tree_is_a_branch(arms: int) -> None:
    weights, label = star(arms)
    found = core.find_branches(*core.diffusion(weights, 10), 0)
    assert len(found.tips) == arms
    if arms == 1:
        assert (found.codes == -1).all()
        return
    assert set(label[found.tips]) == set(range(arms))
    for code, tip in enumerate(found.tips):
        arm = label == label[tip]
        # Smoothing moves the parting by a few nodes.
        assert (found.codes[arm] == code).mean() > 0.85
        assert (found.codes[~arm] == code).mean() < 0.1
    assert (found.codes[:30] == -1).all()


def test_a_parting_behind_a_parting() -> None:
    # 0 .. 39 trunk; 40 .. 79 one arm; 80 .. 119 stem that parts into 120 .. 159 and 160 .. 199
    edges = path(0, 39, 1) + path(39, 40, 40) + path(39, 40, 80) + path(119, 40, 120) + path(119, 40, 160)
    found = core.find_branches(*core.diffusion(tree(edges), 12), 0, min_length=0.1)
    assert len(found.tips) == 3
    on_stem = found.leads_to[90:110].sum(axis=1)
    assert (on_stem == 2).mean() > 0.8
    assert found.leads_to[:25].all()


def test_branches_with_few_cells_are_taken_away() -> None:
    edges = path(0, 99, 1) + path(50, 30, 100) + path(70, 3, 130)
    weights = tree(edges)
    found = core.find_branches(*core.diffusion(weights, 10), 0, min_length=0.001, min_share=0.1)
    assert len(found.tips) == 2


def test_medoid_against_all_pairs(rng: np.random.Generator) -> None:
    points = rng.normal(size=(40, 3))
    rows = np.arange(5, 30)
    total = [sum(float(((points[i] - points[j]) ** 2).sum()) for j in rows) for i in rows]
    assert core.medoid(points, rows) == rows[int(np.argmin(total))]


def test_a_row_that_stands_twice_counts_twice() -> None:
    points = np.array([[0.0], [1.0], [10.0]])
    assert core.medoid(points, [0, 1, 2]) == 1
    assert core.medoid(points, [0, 1, 2, 2, 2, 2, 2]) == 2


def test_neighbors_within_a_draw_are_exact(rng: np.random.Generator) -> None:
    from sklearn.neighbors import NearestNeighbors

    points = rng.normal(size=(120, 4))
    distances, rows = NearestNeighbors(n_neighbors=12).fit(points).kneighbors()
    drawn = np.sort(rng.choice(120, 80, replace=False))
    asked = []

    def far(short: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(short))
        d = np.linalg.norm(points[short][:, None] - points[drawn][None], axis=2)
        d[d == 0] = np.inf
        order = np.argsort(d, axis=1)[:, :7]
        return order, np.take_along_axis(d, order, axis=1)

    found = core.nearest_within(rows, distances, drawn, 7, far)
    slow_distances, slow_rows = NearestNeighbors(n_neighbors=7).fit(points[drawn]).kneighbors()
    assert np.array_equal(found.indices.reshape(80, 7), slow_rows)
    assert np.allclose(found.data.reshape(80, 7), slow_distances)
    assert asked, "the case of lists that run short was not met"


def test_lists_shorter_than_wanted_are_filled(rng: np.random.Generator) -> None:
    rows = np.array([[1], [0], [1]])
    found = core.nearest_within(
        rows, np.ones((3, 1)), np.arange(3), 2, lambda short: (np.array([[1, 2], [0, 2], [1, 0]]), np.ones((3, 2)))
    )
    assert found.indices.tolist() == [1, 2, 0, 2, 1, 0]


def test_match_scale_is_least_squares() -> None:
    values, reference = np.array([1.0, 2.0, np.nan, 4.0]), np.array([2.0, 4.0, 1.0, 8.0])
    assert np.allclose(core.match_scale(values, reference), [2, 4, np.nan, 8], equal_nan=True)
    assert np.isnan(core.match_scale(np.full(3, np.nan), np.ones(3))).all()


def test_interval_against_nanquantile(rng: np.random.Generator) -> None:
    draws = rng.random((30, 6))
    draws[rng.random(draws.shape) < 0.3] = np.nan
    draws[4:, 5] = np.nan
    low, high = core.interval(draws, level=0.9)
    for column in range(5):
        expected = np.nanquantile(draws[:, column], [0.05, 0.95])
        assert np.allclose([low[column], high[column]], expected)
    assert np.isnan([low[5], high[5]]).all()


def test_interval_of_no_draws_is_nan() -> None:
    low, high = core.interval(np.zeros((0, 3)))
    assert np.isnan(low).all()
    assert np.isnan(high).all()
