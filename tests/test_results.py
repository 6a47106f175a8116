"""Results under a key: kept beside each other, found by name, never written into another object's dicts."""

import anndata
import numpy as np
import pytest

from lexicell._errors import MissingKeyError
from lexicell._results import find_results, keep_results, recorded


@pytest.fixture
def adata() -> anndata.AnnData:
    return anndata.AnnData(np.ones((3, 2), dtype=np.float32))


def test_results_stand_beside_each_other_or_replace(adata) -> None:
    keep_results(adata, "X_text", {"params": {"n": 1}})
    keep_results(adata, "X_text", {"cluster": {"n": 2}})
    assert recorded(adata, "X_text") == {"params": {"n": 1}, "cluster": {"n": 2}}
    keep_results(adata, "X_text", {"params": {"n": 3}}, replace=True)
    assert adata.uns["lexicell"] == {"X_text": {"params": {"n": 3}}}


def test_what_another_object_shares_stays_as_it_is(adata) -> None:
    keep_results(adata, "X_text", {"params": {"n": 1}})
    other = anndata.AnnData(adata.X.copy(), uns=dict(adata.uns))
    keep_results(other, "X_text", {"cluster": {"n": 2}})
    assert recorded(adata, "X_text") == {"params": {"n": 1}}


def test_a_missing_result_names_what_to_run(adata) -> None:
    with pytest.raises(MissingKeyError, match=r"no result 'concepts' in uns\['lexicell'\]\['X_text'\]: run this first"):
        find_results(adata, "X_text", "concepts", "this")


def test_a_result_elsewhere_is_named(adata) -> None:
    keep_results(adata, "X_other", {"concepts": {"n": 1}})
    with pytest.raises(MissingKeyError, match=r"no result 'concepts' .* there is one under 'X_other': run this"):
        find_results(adata, "X_text", "concepts", "this")
    assert find_results(adata, "X_other", "concepts", "this")["concepts"] == {"n": 1}
