"""Words as a search sees them."""

import numpy as np
import pytest

from lexicell.core.genes.words import WordIndex, words_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("motoneurons", "motor neuron"),
        ("astroglia", "astrocytes"),
        ("ALS", "amyotrophic lateral sclerosis"),
        ("axonal transport", "axon transport"),
        ("haemoglobin", "hemoglobin"),
        ("degrading", "degradation"),
        ("mitochondrial", "mitochondria"),
        ("T lymphocytes", "T cell"),
    ],
)
def test_one_form_for_what_the_field_says_differently(one: str, other: str) -> None:
    assert words_of(one) == words_of(other)


@pytest.mark.parametrize(("one", "other"), [("astrocyte", "asteroid"), ("radial glia", "radial spoke"), ("is", "i")])
def test_spelled_alike_is_not_the_same(one: str, other: str) -> None:
    assert words_of(one) != words_of(other)


def test_scores_are_bm25() -> None:
    texts = ["axon transport", "axon guidance; axon growth", "cilium"]
    index = WordIndex(texts, k=1.2, b=0.5)
    lengths = np.array([3.0, 6.0, 1.0])  # words and pairs of neighbors
    idf = np.log1p((3 - 2 + 0.5) / (2 + 0.5))
    count = np.array([1.0, 2.0, 0.0])
    expected = count * 2.2 / (count + 1.2 * (0.5 + 0.5 * lengths / lengths.mean()))
    assert index.scores("axon") == pytest.approx(expected * idf / idf)


def test_only_the_same_words_overlap_in_full() -> None:
    index = WordIndex(["neuron differentiation", "motor neuron differentiation", "glia"])
    got = index.overlap("neuron differentiation")
    assert got[0] == pytest.approx(1.0)
    assert 0 < got[1] < 1
    assert got[2] == 0


def test_known_is_the_share_of_words_by_rarity() -> None:
    index = WordIndex(["axon transport", "axon guidance"])
    assert index.known("axon transport") == pytest.approx(1.0)
    assert index.known("zyxwv") == 0
    assert 0 < index.known("axon zyxwv") < 0.5
