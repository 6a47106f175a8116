"""The prior finds what texts say about genes when they say it, and nothing when they do not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell._errors import InputError
from lexicell.core.gene_prior import N_FOLDS, evidence, family, fit, fold_of, informativeness, targets, together

N_GENES, N_CELLS = 600, 240


def reference(seed: int) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Log values in which the first third of the genes differs between three types, the types, who differs."""
    rng = np.random.default_rng(seed)
    codes = np.arange(N_CELLS) % 3
    marks = np.zeros((3, N_GENES))
    marks[rng.integers(0, 3, N_GENES // 3), np.arange(N_GENES // 3)] = 1.5
    values = rng.gamma(2.0, 0.3, (N_CELLS, N_GENES)) + rng.uniform(0, 4, N_GENES) + marks[codes] - marks.mean(axis=0)
    values = np.maximum(values, 0)
    return sp.csr_matrix(values), codes, np.arange(N_GENES) < N_GENES // 3


def texts(seed: int = 0) -> np.ndarray:
    """Vectors of which one direction says whether a gene differs between types."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(N_GENES, 12))
    vectors[: N_GENES // 3, 0] += 2.0
    return vectors


FAMILIES = [f"F{i % 90}" for i in range(N_GENES)]


def test_informativeness_is_the_share_of_variance_between_types(rng: np.random.Generator) -> None:
    values, codes = rng.gamma(1.0, 1.0, (40, 5)) * (rng.random((40, 5)) < 0.6), np.repeat([0, 1, 2], [20, 15, 5])
    values[:, 4] = 0.0
    groups = [values[codes == k] for k in range(3)]
    between = np.var([g.mean(axis=0) for g in groups], axis=0)
    within = np.mean([g.var(axis=0) for g in groups], axis=0)
    expected = np.append(between[:4] / (between + within)[:4], 0.0)
    np.testing.assert_allclose(informativeness(sp.csr_matrix(values), codes, 3), expected, atol=1e-12)


def test_cells_of_no_type_do_not_count(rng: np.random.Generator) -> None:
    values, codes = sp.csr_matrix(rng.random((30, 4))), np.arange(30) % 2
    more = sp.vstack([values, sp.csr_matrix(100 * rng.random((9, 4)))]).tocsr()
    np.testing.assert_allclose(
        informativeness(more, np.append(codes, np.full(9, -1)), 2), informativeness(values, codes, 2), atol=1e-12
    )


def test_beyond_expression_does_not_follow_expression() -> None:
    rng = np.random.default_rng(2)
    codes = np.arange(N_CELLS) % 3
    rate = np.exp(rng.normal(0, 1.2, N_GENES))
    differ = rng.random(N_GENES) < 0.3
    factor = np.where(differ & (np.arange(3)[:, None] == 0), 3.0, 1.0)
    values = sp.csr_matrix(np.log1p(rng.poisson(rate * factor[codes])))
    found = targets(values, codes, 3)
    mean = np.asarray(values.mean(axis=0)).ravel()
    known = np.isfinite(found.beyond)
    assert abs(np.corrcoef(found.beyond[known], np.log(mean[known]))[0, 1]) < 0.1
    assert np.corrcoef(found.total[known], np.log(mean[known]))[0, 1] > 0.3
    assert found.beyond[known & differ].mean() > found.beyond[known & ~differ].mean() + 0.8


def test_a_gene_is_predicted_without_its_family() -> None:
    """What only the relatives of a gene tell must not reach it: families that share a vector and a random value."""
    rng = np.random.default_rng(3)
    member = np.arange(N_GENES) % 60
    families = [f"F{i}" for i in member]
    vectors, y = rng.normal(size=(60, 40))[member], rng.normal(size=60)[member]
    folds = fold_of(families)
    guess = fit(vectors, y, folds).predict(vectors, folds)
    assert abs(np.corrcoef(guess, y)[0, 1]) < 0.35
    # The mistake: folds over genes instead of families let the relatives answer.
    leaky = np.arange(N_GENES) % N_FOLDS
    leaky = rng.permutation(leaky)
    assert np.corrcoef(fit(vectors, y, leaky).predict(vectors, leaky), y)[0, 1] > 0.6


def test_ridge_is_scikit_learns() -> None:
    from sklearn.linear_model import Ridge

    vectors, folds = texts(), fold_of(FAMILIES)
    y = np.random.default_rng(1).normal(size=N_GENES) + vectors[:, 0]
    model = fit(vectors, y, folds)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = folds != 2
    X = unit - unit.mean(axis=0)
    slow = Ridge(model.penalty, fit_intercept=False).fit(X[kept], y[kept] - y[kept].mean())
    np.testing.assert_allclose(model.coef[2], slow.coef_, atol=1e-6)


def test_evidence_is_there_where_texts_know_and_not_where_they_do_not() -> None:
    found = {}
    for seed in (0, 1):
        values, codes, _ = reference(seed)
        found[f"r{seed}"] = targets(values, codes, 3)
    table = evidence(texts(), found, FAMILIES, n_controls=2)
    assert list(table["held_out"]) == ["families"] * 2 + ["families and data"] * 2
    assert (table["spearman"] > 0.3).all()
    assert (table[["shuffled", "random"]].abs() < 0.15).all().all()
    nothing = evidence(np.random.default_rng(9).normal(size=(N_GENES, 12)), found, FAMILIES, n_controls=1)
    assert (nothing["spearman"].abs() < 0.15).all()


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        pytest.param("KRT18", "KRT", id="number"),
        pytest.param("Krt8", "KRT", id="mouse"),
        pytest.param("HLA-DRA", "HLA", id="dash"),
        pytest.param("CD3E", "CD", id="two-letters"),
        pytest.param("S100A8", "S100", id="one-letter"),
        pytest.param("7SK", "7SK", id="no-letter-first"),
    ],
)
def test_relatives_share_a_family(symbol: str, expected: str) -> None:
    assert family(symbol) == expected


def test_folds_do_not_depend_on_the_list() -> None:
    assert fold_of(["KRT", "CD"])[1] == fold_of(["CD"])[0]
    assert set(fold_of(FAMILIES)) == set(range(N_FOLDS))


def test_means_are_over_the_references_that_measured_a_gene() -> None:
    np.testing.assert_array_equal(
        together([np.array([1.0, np.nan, np.nan]), np.array([3.0, 2.0, np.nan])]), [2.0, 2.0, np.nan]
    )


def test_what_cannot_be_learned_is_refused() -> None:
    values, codes, _ = reference(0)
    with pytest.raises(InputError, match="at least two"):
        targets(values, np.zeros(N_CELLS, dtype=int), 1)
    with pytest.raises(InputError, match="expressed in the reference"):
        targets(values[:, :50].tocsr(), codes, 3)
    with pytest.raises(InputError, match="200 are needed"):
        fit(texts()[:100], np.zeros(100), fold_of(FAMILIES[:100]))
    model = fit(texts(), np.arange(N_GENES, dtype=float), fold_of(FAMILIES))
    with pytest.raises(InputError, match="do not fit a prior of 12"):
        model.predict(np.ones((3, 5)), np.zeros(3, dtype=int))
