"""Controls keep what they should keep and lose what they should lose."""

from __future__ import annotations

import numpy as np
import pytest

from lexicell import GeneEmbedding
from lexicell._errors import InputError
from lexicell.core.controls import random_vectors, shuffled


@pytest.fixture
def genes(rng: np.random.Generator) -> GeneEmbedding:
    return GeneEmbedding.from_vectors([f"g{i}" for i in range(200)], rng.normal(2.0, 1.0, (200, 16)), texts=["t"] * 200)


def rows(genes: GeneEmbedding) -> list[bytes]:
    return [row.tobytes() for row in genes.vectors]


def test_shuffled_has_the_same_vectors_at_other_genes(genes: GeneEmbedding) -> None:
    control = shuffled(genes, seed=1)
    assert list(control.ids) == list(genes.ids)
    assert sorted(rows(control)) == sorted(rows(genes))
    assert sum(a == b for a, b in zip(rows(control), rows(genes), strict=True)) < 10
    assert control.provenance["control"] == "shuffled texts"


def test_strata_keep_vectors_within_them(genes: GeneEmbedding) -> None:
    strata = np.arange(200) // 20
    control = shuffled(genes, seed=1, strata=strata)
    assert control.hash != genes.hash
    for s in range(10):
        part = np.flatnonzero(strata == s)
        assert {rows(control)[i] for i in part} == {rows(genes)[i] for i in part}
    with pytest.raises(InputError, match="3 strata"):
        shuffled(genes, strata=[1, 2, 3])


def test_random_vectors_keep_only_the_lengths(genes: GeneEmbedding) -> None:
    control = random_vectors(genes, seed=1)
    np.testing.assert_allclose(
        np.linalg.norm(control.vectors, axis=1), np.linalg.norm(genes.vectors, axis=1), rtol=1e-5
    )
    # The common direction of all texts is gone.
    assert np.linalg.norm(control.vectors.mean(axis=0)) < 0.2 * np.linalg.norm(genes.vectors.mean(axis=0))


@pytest.mark.parametrize("make", [shuffled, random_vectors])
def test_the_seed_decides(make: object, genes: GeneEmbedding) -> None:
    assert make(genes, seed=4).hash == make(genes, seed=4).hash
    assert make(genes, seed=4).hash != make(genes, seed=5).hash
