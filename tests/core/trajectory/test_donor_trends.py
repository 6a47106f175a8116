"""The predicted order against scikit-learn's ridge, and each donor's slope and bend against least squares."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats
from sklearn.linear_model import Ridge

from lexicell._errors import InputError
from lexicell.core.donors import moderated
from lexicell.core.trajectory.donor_trends import donor_trend_test, predict_order

Cells = tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def cells(rng: np.random.Generator) -> Cells:
    """Counts and log values of 160 cells of four donors, their totals, donors and pseudotimes."""
    donors = rng.permutation(np.arange(160) % 4)
    time = rng.random(160)
    rate = np.exp(rng.normal(0, 0.5, 12) + np.outer(time, rng.normal(size=12)))
    totals = rng.integers(200, 900, 160).astype(float)
    counts = sp.csr_matrix(rng.poisson(rate / rate.sum(axis=1, keepdims=True) * totals[:, None]).astype(float))
    log = sp.csr_matrix(np.log1p(1e4 * counts.toarray() / totals[:, None]))
    return counts, log, totals, donors, time


def centered(values: np.ndarray, donors: np.ndarray) -> np.ndarray:
    return values - np.stack([values[donors == d].mean(axis=0) for d in donors])


def test_the_order_is_a_ridge_fitted_on_the_other_donors(cells: Cells) -> None:
    _, log, _, donors, time = cells
    found = predict_order(log, time, donors)
    X = log.toarray()
    Z = centered(X / X.std(axis=0), donors)
    for d in range(4):
        others = donors != d
        model = Ridge(alpha=others.sum(), fit_intercept=False).fit(Z[others], centered(time, donors)[others])
        assert np.allclose(found.order[~others], model.predict(Z[~others]))
        assert np.allclose(found.weights[d], model.coef_ / X.std(axis=0))


def by_hand(t: np.ndarray, x: np.ndarray, n: np.ndarray, donors: np.ndarray, share: float) -> np.ndarray:
    """Slope and bend of each donor, of x / n by weighted least squares, over their standard errors for unit noise."""
    out = []
    for d in range(4):
        rows = donors == d
        root = np.sqrt(n[rows])
        Q = np.linalg.qr(np.column_stack([np.ones(rows.sum()), t[rows], t[rows] ** 2]) * root[:, None])[0]
        signs = np.sign([Q[:, 1] @ (root * t[rows]), Q[:, 2] @ (root * t[rows] ** 2)])
        out.append(signs * (Q[:, 1:].T @ (x[rows] / root)) / np.sqrt(share))
    return np.array(out)


def test_p_is_that_of_t_tests_over_donors_of_an_order_without_the_gene(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, log, totals, donors, time = cells
    # Without a prior a moderated t is an ordinary one.
    monkeypatch.setattr(moderated, "FEWEST", 10**6)
    found = predict_order(log[:, :8], time, donors)
    place = np.r_[np.arange(8), [-1] * 4]
    p = donor_trend_test(found, log[:, :8], counts, totals, donors, place)
    dense = counts.toarray()
    for g in range(12):
        t = found.order.copy()
        if g < 8:
            t -= found.weights[donors, g] * log[:, [g]].toarray().ravel()
        u = by_hand(t, dense[:, g], totals, donors, dense[:, g].sum() / totals.sum())
        both = stats.ttest_1samp(u, 0).pvalue
        assert p[g] == pytest.approx(min(1, 2 * both.min()), rel=1e-6)


def test_genes_without_counts_and_few_donors(cells: Cells) -> None:
    counts, log, totals, donors, time = cells
    empty = sp.csr_matrix(np.column_stack([counts[:, [0]].toarray(), np.zeros(160)]))
    p = donor_trend_test(predict_order(log, time, donors), log, empty, totals, donors, np.array([0, -1]))
    assert np.isfinite(p[0])
    assert np.isnan(p[1])
    with pytest.raises(InputError, match="there are 2, the smallest with 80 cells"):
        predict_order(log, time, donors % 2)
