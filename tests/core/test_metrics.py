"""Metrics against scikit-learn, loops and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from lexicell._errors import InputError
from lexicell.core.agreement import adjusted_rand_of_table
from lexicell.core.metrics import agreement, balanced_accuracy, batch_mixing, bootstrap_ari, silhouette


def blobs(rng: np.random.Generator, distance: float, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(["a", "b", "c"], n)
    centers = np.eye(3)[np.repeat([0, 1, 2], n)] * distance
    return centers + rng.normal(size=(3 * n, 3)), labels


def test_agreement_of_equal_and_of_unrelated_partitions(rng: np.random.Generator) -> None:
    labels = np.repeat(list("abcd"), 100)
    assert agreement(labels, labels) == pytest.approx({"ari": 1.0, "ami": 1.0, "nmi": 1.0})
    unrelated = agreement(labels, rng.permutation(labels))
    assert abs(unrelated["ari"]) < 0.03
    assert abs(unrelated["ami"]) < 0.03


def test_the_index_of_a_table_is_scikit_learns(rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 4, 300), rng.integers(0, 6, 300)
    b[:150] = a[:150]
    table = np.zeros((4, 6))
    for i, j in zip(a, b, strict=True):
        table[i, j] += 1
    assert adjusted_rand_of_table(table) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)


def test_the_bootstrap_interval_is_that_of_resampled_cells(rng: np.random.Generator) -> None:
    a = rng.integers(0, 3, 200)
    b = np.where(rng.random(200) < 0.7, a, rng.integers(0, 3, 200))
    slow = []
    for _ in range(2000):
        rows = rng.integers(0, 200, 200)
        slow.append(adjusted_rand_score(a[rows], b[rows]))
    low, high = bootstrap_ari(a, b, n=4000)
    np.testing.assert_allclose([low, high], np.quantile(slow, [0.025, 0.975]), atol=0.02)
    assert low < adjusted_rand_score(a, b) < high


def test_better_separation_scores_higher(rng: np.random.Generator) -> None:
    near, far = blobs(rng, 1.0), blobs(rng, 8.0)
    assert silhouette(*far) > 0.6 > silhouette(*near)
    for classifier in ("knn", "lr"):
        assert balanced_accuracy(*far, classifiers=[classifier])[classifier] > 0.98
        assert balanced_accuracy(*near, classifiers=[classifier])[classifier] < 0.9


@pytest.mark.parametrize("classifier", ["knn", "lr"])
def test_labels_that_mean_nothing_are_predicted_at_chance(classifier: str, rng: np.random.Generator) -> None:
    matrix, labels = blobs(rng, 8.0)
    assert balanced_accuracy(matrix, rng.permutation(labels), classifiers=[classifier])[classifier] == pytest.approx(
        1 / 3, abs=0.1
    )


def test_accuracy_is_balanced_over_classes(rng: np.random.Generator) -> None:
    """Ninety of a hundred cells in one class, nothing to tell them apart: 1/2, not .9."""
    labels = np.repeat(["a", "b"], [90, 10])
    assert balanced_accuracy(rng.normal(size=(100, 2)), labels, classifiers=["knn"])["knn"] == pytest.approx(
        0.5, abs=0.1
    )


def test_too_small_a_class_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="smallest class has 3 cells"):
        balanced_accuracy(rng.normal(size=(23, 2)), np.repeat(["a", "b"], [20, 3]), classifiers=["lr"])["lr"]


def test_batches_mix_as_by_chance_or_not_at_all(rng: np.random.Generator) -> None:
    labels = np.repeat(["a", "b"], 200)
    batch = np.tile(["x", "y"], 200)
    rep = rng.normal(size=(400, 4))
    assert batch_mixing(rep, batch, labels) == pytest.approx(1.0, abs=0.06)
    assert batch_mixing(rep + 50 * (batch == "x")[:, None], batch, labels) == 0.0
    assert np.isnan(batch_mixing(rep, labels, labels))


def test_unequal_batches_still_mix_as_by_chance(rng: np.random.Generator) -> None:
    batch = np.where(rng.random(600) < 0.1, "x", "y")
    assert batch_mixing(rng.normal(size=(600, 3)), batch, np.repeat("a", 600)) == pytest.approx(1.0, abs=0.1)


def test_a_label_of_donors_is_not_learned_from_their_other_cells() -> None:
    """Six donors that differ, three of each label, drawn by lot."""
    rng = np.random.default_rng(3)
    donors = np.repeat(np.arange(6), 40)
    labels = np.where(donors % 2 == 0, "als", "control")
    X = rng.normal(size=(6, 8))[donors] * 2 + rng.normal(size=(240, 8))
    apart = balanced_accuracy(X, labels)
    together = balanced_accuracy(X, labels, donors=donors)
    assert min(apart.values()) > 0.9
    assert max(together.values()) < 0.6
    with pytest.raises(InputError, match="one donor"):
        balanced_accuracy(X, labels, donors=np.zeros(240))
