"""Principal components against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from lexicell._errors import InputError
from lexicell.core.expression import components
from lexicell.core.expression.log_values import log_cp10k


@pytest.fixture
def counts(rng):
    rate = rng.gamma(0.4, 1.0, size=(1, 80)) * rng.lognormal(0, 0.5, size=(150, 1))
    rate[:70, :10] *= 6
    return sp.csr_matrix(rng.poisson(rate).astype(np.float32))


def test_components_equal_scikit_learn(rng):
    X = rng.normal(size=(9000, 30)) * 0.8 ** np.arange(30) + 5
    got = components.principal_components(lambda a, b: X[a:b], len(X), 6)
    reference = PCA(6, svd_solver="full").fit(X)
    sign = np.sign((got.loadings * reference.components_.T).sum(axis=0))
    np.testing.assert_allclose(got.scores * sign, reference.transform(X), atol=1e-5)
    np.testing.assert_allclose(got.variance_ratio, reference.explained_variance_ratio_, rtol=1e-9)
    assert (got.loadings[np.abs(got.loadings).argmax(axis=0), np.arange(6)] > 0).all()


def test_components_have_the_same_bits_for_any_number_of_threads(rng):
    X = rng.normal(size=(5000, 200))
    scores = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            scores.append(components.principal_components(lambda a, b: X[a:b], len(X), 10).scores)
    assert np.array_equal(*scores)


def test_zscore_pca_equals_dense_reference(counts):
    values = log_cp10k(counts, np.asarray(counts.sum(axis=1), dtype=float).ravel())
    dense = values.toarray().astype(float)
    sd = dense.std(axis=0)
    z = np.clip((dense - dense.mean(axis=0)) / np.where(sd > 0, sd, 1), -10, 10)
    reference = PCA(5, svd_solver="full").fit_transform(z)
    got = components.zscore_pca(values, 5).scores
    np.testing.assert_allclose(np.abs(got), np.abs(reference), atol=1e-4)


def test_too_many_components_are_refused(rng):
    X = rng.normal(size=(6, 30))
    with pytest.raises(InputError, match="6 components cannot be taken from 6 cells and 30 features; at most 5"):
        components.principal_components(lambda a, b: X[a:b], 6, 6)
