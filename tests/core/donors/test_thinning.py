"""Thinned counts: the right shares, whole numbers."""

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell._errors import InputError
from lexicell.core.expression.thinning import thin


def test_thinning_is_binomial(rng):
    counts = sp.csr_matrix(np.full((4000, 1), 10.0))
    kept = thin(counts, np.full(4000, 0.3), rng).toarray().ravel()
    assert kept.mean() == pytest.approx(3, abs=0.1)
    assert kept.var() == pytest.approx(2.1, abs=0.2)


def test_what_is_not_counts_is_refused():
    with pytest.raises(InputError, match="counts"):
        thin(sp.csr_matrix([[0.5, 1.0]]), np.ones(1))
