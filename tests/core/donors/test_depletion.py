"""Depletion and moderated t against scipy, loops and known distributions."""

import numpy as np
import pytest
from scipy import stats

from lexicell.core.donors.depletion import depletion_test, donor_t
from lexicell.core.donors.moderated import moderated_t, variance_prior
from lexicell.core.donors.shift import Design

X = np.repeat([0.0, 1], 4)


def _counts(rng, lost=1.0, types=6, n=4):
    mean = 80 * np.exp(rng.normal(0, 0.5, types))[:, None] * np.exp(rng.normal(0, 0.3, 2 * n))
    mean = mean * np.exp(rng.normal(0, 0.2, (types, 2 * n)))
    mean[0, n:] *= lost
    return rng.poisson(mean)


def test_ratio_and_welch_t_equal_a_loop(rng):
    counts = _counts(rng, 0.4, types=5)
    found = depletion_test(counts, Design.of(X))
    y = np.log(counts + 0.5)
    shift = y[:, 4:].mean(axis=1) - y[:, :4].mean(axis=1)
    for t in range(5):
        others = sorted((o for o in range(5) if o != t), key=lambda o: abs(shift[o] - np.median(shift)))
        chosen = others[:2]
        assert np.flatnonzero(found.reference[t]).tolist() == sorted(chosen)
        ratio = y[t] - y[chosen].mean(axis=0)
        welch = stats.ttest_ind(ratio[4:], ratio[:4], equal_var=False)
        assert found.log_ratio[t] == pytest.approx(ratio[4:].mean() - ratio[:4].mean())
        assert (found.t[t], found.p[t]) == pytest.approx((welch.statistic, welch.pvalue))
        interval = welch.confidence_interval()
        assert (found.low[t], found.high[t]) == pytest.approx((interval.low, interval.high))


def test_the_reference_is_half_of_the_others_rounded_up(rng):
    for types, size in ((4, 2), (5, 2), (6, 3), (15, 7)):
        assert depletion_test(_counts(rng, types=types), Design.of(X)).reference.sum(axis=1).tolist() == [size] * types


def test_three_types_are_not_tested(rng):
    found = depletion_test(_counts(rng, types=3), Design.of(X))
    assert "at least 4 cell types" in found.reason
    assert np.isnan(found.p).all()


def test_zero_counts_are_counted(rng):
    counts = _counts(rng)
    counts[0, 4:] = 0
    found = depletion_test(counts, Design.of(X))
    assert found.p[0] < 1e-3
    assert found.log_ratio[0] < -2


def test_power_and_null_rate_where_the_mean_of_all_types_fails():
    rng = np.random.default_rng(30)
    power, false, false_of_all = [], [], []
    for _ in range(150):
        counts = _counts(rng, 0.2, types=5)
        p = depletion_test(counts, Design.of(X)).p
        power.append(p[0] <= 0.05)
        false += list(p[1:] <= 0.05)
        y = np.log(counts + 0.5)
        centered = y - y.mean(axis=0)
        false_of_all += [stats.ttest_ind(c[4:], c[:4], equal_var=False).pvalue <= 0.05 for c in centered[1:]]
    assert np.mean(power) > 0.9
    assert np.mean(false) < 0.08
    assert np.mean(false_of_all) > 0.15


def test_paired_depletion_equals_a_one_sample_t(rng):
    counts = np.stack([_counts(rng)[:, :6], _counts(rng)[:, :6]], axis=-1)
    design = Design.of(np.ones(6), is_paired=True)
    found = depletion_test(counts, design)
    expected = stats.ttest_1samp(found.ratios, 0, axis=1)
    assert found.p == pytest.approx(expected.pvalue)


def test_trend_t_equals_linregress(rng):
    stage = np.repeat([0.0, 1, 2], 3)
    y = rng.normal(size=(9, 2))
    effect, se, df = donor_t(y, Design.of(stage))
    for j in range(2):
        line = stats.linregress(stage, y[:, j])
        assert (effect[j], se[j], df[j]) == pytest.approx((line.slope, line.stderr, 7))


def test_moderated_t_without_borrowing_is_the_pooled_t(rng):
    """One feature has nothing to borrow from."""
    y = rng.normal(size=(8, 1))
    found = moderated_t(y, Design.of(X))
    expected = stats.ttest_ind(y[4:, 0], y[:4, 0])
    assert (found.t[0], found.p[0]) == pytest.approx((expected.statistic, expected.pvalue))


def test_the_prior_is_found_again():
    """Variances drawn from the model of Smyth (2004): s2 ~ s0^2 F(d, d0)."""
    rng = np.random.default_rng(31)
    d, d0, s0 = 6, 8.0, 2.5
    prior = d0 * s0 / rng.chisquare(d0, 40_000)
    found_df, found_variance = variance_prior(prior * rng.chisquare(d, 40_000) / d, d)
    assert found_df == pytest.approx(d0, rel=0.08)
    assert found_variance == pytest.approx(s0, rel=0.03)


def test_equal_variances_give_an_infinite_prior():
    rng = np.random.default_rng(32)
    df, variance = variance_prior(rng.chisquare(6, 300) / 6 * 1.0, 6)
    assert df > 60
    assert variance == pytest.approx(1.0, rel=0.1)


def test_moderated_p_is_uniform_under_its_model_and_not_with_the_wrong_df():
    rng = np.random.default_rng(33)
    variance = 4 / rng.chisquare(4, 20_000)
    y = rng.normal(size=(8, 20_000)) * np.sqrt(variance)
    found = moderated_t(y, Design.of(X))
    assert stats.kstest(found.p, "uniform").pvalue > 1e-3
    too_many = 2 * stats.norm.sf(np.abs(found.t))
    assert stats.kstest(too_many, "uniform").pvalue < 1e-6


def test_moderated_t_shrinks_towards_the_prior(rng):
    y = rng.normal(size=(8, 200)) * np.exp(rng.normal(0, 1, 200))
    found = moderated_t(y, Design.of(X))
    plain = (y[4:].var(axis=0, ddof=1) + y[:4].var(axis=0, ddof=1)) / 2
    scale = np.sqrt(1 / 4 + 1 / 4)
    expected = np.sqrt((found.prior_df * found.prior_variance + 6 * plain) / (found.prior_df + 6)) * scale
    assert found.se == pytest.approx(expected)


def test_features_that_move_together_do_not_trust_the_prior_too_much():
    """Three shared factors behind 32 features: the level holds, and the prior stays at the residual df."""
    rng = np.random.default_rng(34)
    rates = []
    for _ in range(300):
        y = rng.normal(size=(8, 3)) @ rng.normal(size=(3, 32)) + 0.3 * rng.normal(size=(8, 32))
        found = moderated_t(y, Design.of(X), shared_noise=True)
        assert found.prior_df <= 6
        rates.append((found.p <= 0.05).mean())
    assert np.mean(rates) < 0.075


def test_two_phrases_do_not_make_a_prior():
    """Null rate of the noisier of two features; with a prior of those two alone it was far above .05."""
    rng = np.random.default_rng(0)
    design, low = Design.of(np.ones(3), is_paired=True), []
    for _ in range(3000):
        Y = rng.normal(size=(3, 2)) * [1.0, 3.0]
        like = rng.normal(size=(3, 100)) * np.exp(rng.normal(0, 0.5, 100))
        found = moderated_t(Y, design, shared_noise=True), moderated_t(Y, design, shared_noise=True, like=like)
        low.append([found[0].p[1] <= 0.05, found[1].p[0] <= 0.05])
    assert (np.mean(low, axis=0) <= 0.06).all()
