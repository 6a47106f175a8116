"""Shift statistics against slow loops written from the definitions, and against known expectations."""

from itertools import combinations, permutations

import numpy as np
import pytest

from lexicell import _errors
from lexicell.core.donors.means import donor_means, gram
from lexicell.core.donors.permutation import arrangements, orders
from lexicell.core.donors.shift import Design, coefficients, freedman_lane, linear, paired, two_group


def slow_two_group(M, case):
    """|delta|^2, its noise by the definition: every coordinate's sample variance over the number of donors."""
    a, b = [m for m, c in zip(M, case, strict=True) if c], [m for m, c in zip(M, case, strict=True) if not c]
    delta2 = noise = 0.0
    for j in range(M.shape[1]):
        one, two = [m[j] for m in a], [m[j] for m in b]
        mean1, mean0 = sum(one) / len(one), sum(two) / len(two)
        delta2 += (mean1 - mean0) ** 2
        noise += sum((v - mean1) ** 2 for v in one) / (len(one) - 1) / len(one)
        noise += sum((v - mean0) ** 2 for v in two) / (len(two) - 1) / len(two)
    return delta2, noise


def slow_linear(M, x, Z):
    """Ordinary least squares, coordinate by coordinate."""
    model = np.column_stack([x, Z])
    rank = np.linalg.matrix_rank(model)
    delta2 = noise = 0.0
    for j in range(M.shape[1]):
        beta, *_ = np.linalg.lstsq(model, M[:, j], rcond=None)
        residual = M[:, j] - model @ beta
        delta2 += beta[0] ** 2
        noise += residual @ residual / (len(x) - rank) * np.linalg.pinv(model.T @ model)[0, 0]
    return delta2, noise


@pytest.mark.parametrize("n_case", [2, 4, 7], ids=["2v7", "4v5", "7v2"])
def test_two_group_equals_the_definition(rng, n_case):
    M = rng.normal(size=(9, 6)) + 100
    case = (np.arange(9) < n_case).astype(float)
    shift = two_group(gram(M), case[None])
    assert shift.delta2[0] == pytest.approx(slow_two_group(M, case)[0], rel=1e-10)
    assert shift.noise[0] == pytest.approx(slow_two_group(M, case)[1], rel=1e-10)
    assert shift.f[0] == pytest.approx(shift.delta2[0] / shift.noise[0])


def test_an_arm_of_one_donor_gives_nan(rng):
    shift = two_group(gram(rng.normal(size=(4, 3))), np.array([[1.0, 0, 0, 0]]))
    assert np.isnan(shift.d2[0])
    assert np.isnan(shift.f[0])


def test_d2_is_unbiased_and_biased_with_the_wrong_denominator(rng):
    """The mean over many draws is the true squared shift; dividing variances by n instead of n - 1 is seen."""
    truth, draws = 2.0, 4000
    delta = np.full(5, np.sqrt(truth / 5))
    right, wrong = [], []
    case = np.r_[np.ones(3), np.zeros(4)]
    for _ in range(draws):
        # Unequal variances in the arms: the Welch form must hold.
        M = rng.normal(size=(7, 5)) * np.where(case, 2.0, 1.0)[:, None] + case[:, None] * delta
        shift = two_group(gram(M), case[None])
        right.append(shift.d2[0])
        biased = sum(M[case == c].var(axis=0, ddof=0).sum() / (case == c).sum() for c in (0, 1))
        wrong.append(shift.delta2[0] - biased)
    error = np.std(right) / np.sqrt(draws)
    assert abs(np.mean(right) - truth) < 4 * error
    assert abs(np.mean(wrong) - truth) > 10 * error


def test_paired_equals_the_definition(rng):
    D = rng.normal(size=(6, 4)) + 0.5
    signs = np.array([[1, 1, 1, 1, 1, 1], [1, -1, 1, 1, -1, 1], [1, 0, 1, 1, 1, 1]], dtype=float)
    found = paired(D @ D.T, signs)
    for row, sign in enumerate(signs):
        flipped = (D * sign[:, None])[sign != 0]
        n = len(flipped)
        assert found.delta2[row] == pytest.approx((flipped.mean(axis=0) ** 2).sum())
        assert found.noise[row] == pytest.approx(flipped.var(axis=0, ddof=1).sum() / n)


def test_linear_equals_least_squares(rng):
    M, x = rng.normal(size=(9, 5)), np.repeat([0.0, 1, 2], 3)
    Z = np.column_stack([np.ones(9), rng.normal(size=9)])
    rows = np.stack([x, rng.permutation(x)])
    found = linear(gram(M), rows, Z)
    for row in range(2):
        assert (found.delta2[row], found.noise[row]) == pytest.approx(slow_linear(M, rows[row], Z))


def test_linear_with_a_rank_deficient_nuisance(rng):
    M, x = rng.normal(size=(8, 3)), np.tile([0.0, 1], 4)
    batch = np.repeat(np.eye(2), 4, axis=0)
    Z = np.column_stack([np.ones(8), batch])
    assert linear(gram(M), x[None], Z).f[0] == pytest.approx(linear(gram(M), x[None], batch).f[0])


def test_freedman_lane_equals_refitting_every_permutation(rng):
    M, x = rng.normal(size=(6, 3)), np.array([0.0, 0, 0, 1, 1, 1])
    Z = np.column_stack([np.ones(6), rng.normal(size=6)])
    order = orders(6).rows[:40]
    found = freedman_lane(gram(M), x, Z, order)
    fitted = Z @ np.linalg.lstsq(Z, M, rcond=None)[0]
    for row, places in enumerate(order):
        again = fitted + (M - fitted)[places]
        assert (found.delta2[row], found.noise[row]) == pytest.approx(slow_linear(again, x, Z))


def test_condition_aligned_with_the_batch_gives_nan(rng):
    x = np.repeat([0.0, 1], 4)
    design = Design.of(x, blocks=x)
    assert np.isnan(design.observed(gram(rng.normal(size=(8, 3)))).f[0])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "two-group"),
        ({"blocks": [0, 0, 1, 1, 0, 0, 1, 1]}, "linear"),
        ({"covariates": np.arange(8.0)}, "freedman-lane"),
        ({"is_paired": True}, "paired"),
    ],
    ids=["plain", "batch", "covariate", "paired"],
)
def test_design_picks_its_kind_and_its_coefficients_give_delta(rng, options, kind):
    x = np.repeat([0.0, 1], 4)
    design = Design.of(x, **options)
    assert design.kind == kind
    M = rng.normal(size=(8, 5))
    G = M @ M.T if kind == "paired" else gram(M)
    assert design.observed(G).delta2[0] == pytest.approx(((coefficients(design) @ M) ** 2).sum())


def test_stages_make_a_trend():
    design = Design.of([3, 6, 9, 3, 6, 9])
    assert design.kind == "linear"
    assert design.arms == (4, 2)
    assert design.symmetric


def test_a_paired_design_refuses_what_cancels():
    with pytest.raises(_errors.InputError, match="cancels in their difference"):
        Design.of([1, 1, 1], covariates=[1.0, 2, 3], is_paired=True)


def test_exact_p_equals_brute_force(rng):
    M, case = rng.normal(size=(7, 4)), np.array([1.0, 1, 1, 0, 0, 0, 0])
    found = two_group(gram(M), arrangements(case).rows).f
    brute = []
    for chosen in combinations(range(7), 3):
        delta2, noise = slow_two_group(M, np.isin(np.arange(7), chosen))
        brute.append(delta2 / noise)
    observed = found[0]
    assert (found >= observed - 1e-9).mean() == pytest.approx((np.array(brute) >= observed - 1e-9).mean())


def test_batch_p_equals_brute_force(rng):
    M, x, batch = rng.normal(size=(6, 3)), np.array([0.0, 1, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1])
    design = Design.of(x, blocks=batch)
    found = design.evaluate(gram(M), design.permutations(n_draws=10, rng=0).rows).f
    brute = []
    for p in set(permutations(x.tolist())):
        if sum(p[:3]) == 1:
            delta2, noise = slow_linear(M, np.array(p), np.eye(2)[batch])
            brute.append(delta2 / noise)
    assert sorted(found) == pytest.approx(sorted(brute))


def test_donor_means_equal_a_loop(rng):
    C = rng.normal(size=(200, 3)).astype(np.float32)
    types, donors = rng.integers(-1, 4, 200), rng.integers(0, 5, 200)
    found = donor_means(C, types, donors, n_types=4, n_donors=6, min_cells=9)
    for t in range(4):
        for d in range(6):
            cells = C[(types == t) & (donors == d)]
            assert found.counts[t, d] == len(cells)
            assert found.present[t, d] == (len(cells) >= 9)
            if len(cells) >= 9:
                assert found.means[t, d] == pytest.approx(cells.astype(float).mean(axis=0), rel=1e-12)
            else:
                assert np.isnan(found.means[t, d]).all()


def test_donor_means_of_sparse_rows_over_several_blocks(rng, monkeypatch):
    import scipy.sparse as sp

    from lexicell.core.donors import means as module

    monkeypatch.setattr(module, "_BLOCK", 37)
    X = sp.random(150, 8, density=0.3, format="csr", random_state=0)
    types, donors = rng.integers(0, 2, 150), rng.integers(0, 3, 150)
    sparse = donor_means(X, types, donors, n_types=2, n_donors=3, min_cells=1)
    dense = donor_means(X.toarray(), types, donors, n_types=2, n_donors=3, min_cells=1)
    assert np.allclose(sparse.means, dense.means)


def test_donor_means_refuse_codes_that_do_not_fit():
    with pytest.raises(_errors.InputError, match="one of each a cell"):
        donor_means(np.zeros((3, 2)), [0, 0], [0, 0, 0], n_types=1, n_donors=1)
