"""Curves against a direct least-squares fit and against refitting without each cell; turns and separations by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import spearmanr

from lexicell._errors import InputError
from lexicell.core.trajectory import trends as core


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    t = np.sort(rng.random(60)) ** 1.5
    Y = np.column_stack([np.sin(3 * t), t, rng.normal(size=60), np.full(60, 2.0), (rng.random(60) < 0.3) * t])
    Y[:, :2] += rng.normal(scale=0.1, size=(60, 2))
    return t, Y


def test_curves_are_least_squares_fits(data: tuple[np.ndarray, np.ndarray]) -> None:
    t, Y = data
    found = core.trends(t, Y, n_splines=6, n_grid=30)
    basis = core.spline_basis(t, t, 6)
    weights = np.linalg.lstsq(basis, Y, rcond=None)[0]
    assert np.allclose(found.curves, core.spline_basis(t, found.grid, 6) @ weights)
    assert np.allclose(found.amplitude, found.curves.max(axis=0) - found.curves.min(axis=0))


def test_explained_is_that_of_refitting_without_each_cell(data: tuple[np.ndarray, np.ndarray]) -> None:
    t, Y = data
    found = core.trends(t, Y, n_splines=5)
    basis = core.spline_basis(t, t, 5)
    for g in (0, 2, 4):
        off, around = 0.0, 0.0
        for i in range(len(t)):
            others = np.arange(len(t)) != i
            weights = np.linalg.lstsq(basis[others], Y[others, g], rcond=None)[0]
            off += (Y[i, g] - basis[i] @ weights) ** 2
            around += (Y[i, g] - Y[others, g].mean()) ** 2
        assert found.explained[g] == pytest.approx(1 - off / around)


def test_spearman_and_features_without_variance(data: tuple[np.ndarray, np.ndarray]) -> None:
    t, Y = data
    found = core.trends(t, Y)
    for g in (0, 1, 2, 4):
        assert found.spearman[g] == pytest.approx(spearmanr(t, Y[:, g])[0])
    assert found.explained[3] == 0
    assert found.spearman[3] == 0
    assert found.amplitude[3] == pytest.approx(0, abs=1e-9)


def test_noise_explains_nothing_and_a_trend_does(rng: np.random.Generator) -> None:
    t = rng.random(300)
    noise = core.trends(t, rng.normal(size=(300, 200))).explained
    assert abs(noise.mean()) < 0.03
    assert core.trends(t, (t + rng.normal(scale=0.1, size=300))[:, None]).explained[0] > 0.8


def test_sparse_and_dense_agree_across_blocks(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    Y = rng.poisson(0.5, size=(80, 30)).astype(float)
    t = rng.random(80)
    dense = core.trends(t, Y)
    monkeypatch.setattr(core, "_COLUMNS", 7)
    sparse = core.trends(t, sp.csr_matrix(Y))
    for name in ("curves", "explained", "spearman", "amplitude"):
        assert np.allclose(getattr(dense, name), getattr(sparse, name)), name


def test_basis_rows_sum_to_one_with_heavy_ties() -> None:
    t = np.r_[np.zeros(50), np.linspace(0, 1, 20)]
    basis = core.spline_basis(t, np.linspace(0, 1, 11), 8)
    assert np.allclose(basis.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        pytest.param(lambda x: x, [], id="rising"),
        pytest.param(lambda x: np.sin(np.pi * x), [0.5], id="hill"),
        pytest.param(lambda x: np.cos(2 * np.pi * x), [0.5], id="valley"),
        pytest.param(lambda x: np.sin(2 * np.pi * x), [0.25, 0.75], id="hill-and-valley"),
        pytest.param(lambda x: x + 0.01 * np.sin(40 * x), [], id="ripples"),
        pytest.param(lambda x: 0 * x, [], id="flat"),
    ],
)
def test_turning_points(curve: object, expected: list[float]) -> None:
    x = np.linspace(0, 1, 101)
    assert np.allclose(core.turning_points(x, curve(x)), expected, atol=0.011)  # type: ignore[operator]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_separation_is_cohens_d(rng: np.random.Generator, kind: object) -> None:
    a, b = rng.normal(1, 1, size=(40, 2)), rng.normal(0, 2, size=(60, 2))
    a[:, 1] = b[:, 1] = 3
    values = kind(np.vstack([a, b]))  # type: ignore[operator]
    pooled = np.sqrt((39 * a[:, 0].var(ddof=1) + 59 * b[:, 0].var(ddof=1)) / 98)
    d = core.separation(values, np.arange(40), np.arange(40, 100))
    assert d[0] == pytest.approx((a[:, 0].mean() - b[:, 0].mean()) / pooled)
    assert d[1] == 0


def test_too_few_cells_and_one_position_are_refused() -> None:
    with pytest.raises(InputError, match="20 cells at 20 positions are too few"):
        core.trends(np.arange(20.0), np.ones((20, 1)))
    with pytest.raises(InputError, match="at 1 positions"):
        core.trends(np.zeros(50), np.ones((50, 1)))
    with pytest.raises(InputError, match="at least 4"):
        core.trends(np.arange(50.0), np.ones((50, 1)), n_splines=3)
