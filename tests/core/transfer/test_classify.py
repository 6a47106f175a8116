"""Classifiers against scikit-learn and finite differences; scores on donors that were not seen."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from lexicell._errors import InputError
from lexicell.core.transfer.classify import (
    LinearClassifier,
    fit_logistic,
    leave_one_donor_out,
    score_predictions,
    vote,
)


def _data(rng, shift=2.0, n_donors=6, per=20, dim=5, donor_sd=1.0):
    donors = np.repeat(np.arange(n_donors), per)
    y = rng.random(len(donors)) < 0.4
    C = donor_sd * rng.normal(size=(n_donors, dim))[donors] + rng.normal(size=(len(donors), dim))
    C[y, 0] += shift
    return C, y, donors


def test_logistic_equals_scikit_learn_with_balanced_weights(rng):
    C, y, donors = _data(rng)
    found = fit_logistic(C, y, donors, penalty=2.0)
    weight = np.array([1 / (y == y[i])[donors == donors[i]].sum() for i in range(len(y))])
    weight = weight / np.array([len(set(donors[y == v])) for v in y])
    Z = (C - C.mean(axis=0)) / C.std(axis=0)
    slow = LogisticRegression(C=100 / (2.0 * len(C)), max_iter=5000).fit(
        Z, y, sample_weight=weight * len(y) / weight.sum()
    )
    assert found.probability(C) == pytest.approx(slow.predict_proba(Z)[:, 1], abs=1e-4)


def test_each_donor_is_scored_by_the_others(rng):
    C, y, donors = _data(rng)
    found = leave_one_donor_out(C, y, donors, fit_logistic)
    rest = donors != 2
    expected = fit_logistic(C[rest], y[rest], donors[rest]).probability(C[~rest])
    assert found[~rest] == pytest.approx(expected)


def test_donor_labels_without_signal_are_at_chance_where_random_folds_are_not():
    """The label is the donor's, as in case against control; splitting cells at random finds the donor."""
    from sklearn.model_selection import cross_val_score

    rng = np.random.default_rng(60)
    found, leaking = [], []
    for _ in range(12):
        C, _, donors = _data(rng, shift=0, n_donors=8, donor_sd=2.0, dim=10)
        y = donors % 2 == 0
        probability = leave_one_donor_out(C, y, donors, fit_logistic)
        found.append(score_predictions(probability, y, donors)[0]["auroc"])
        leaking.append(cross_val_score(LogisticRegression(max_iter=2000), C, y, scoring="roc_auc", cv=5).mean())
    assert np.mean(found) < 0.6
    assert np.mean(leaking) > 0.85


def test_scores_equal_scikit_learn(rng):
    C, y, donors = _data(rng)
    p = leave_one_donor_out(C, y, donors, fit_logistic)
    scores, curve = score_predictions(p, y, donors)
    frame = {(d, v): ((donors == d) & (y == v)).sum() for d in set(donors) for v in (True, False)}
    w = np.array(
        [1 / frame[d, v] / len({a for a, b in frame if b == v and frame[a, b]}) for d, v in zip(donors, y, strict=True)]
    )
    assert scores["auroc"] == pytest.approx(roc_auc_score(y, p, sample_weight=w))
    assert scores["average_precision"] == pytest.approx(average_precision_score(y, p, sample_weight=w))
    assert scores["brier"] == pytest.approx(brier_score_loss(y, p, sample_weight=w))
    assert scores["auroc_donor_mean"] == pytest.approx(
        np.mean([roc_auc_score(y[donors == d], p[donors == d]) for d in range(6)])
    )
    assert curve["n_cells"].sum() == len(y)
    assert curve["weight"].sum() == pytest.approx(1)


def test_a_class_that_only_one_donor_has_cannot_be_left_out(rng):
    C, y, donors = _data(rng)
    y = y & (donors == 0)
    assert np.isnan(leave_one_donor_out(C, y, donors, fit_logistic)[donors == 0]).all()


def test_a_saved_classifier_reads_back_equal(rng, tmp_path):
    C, y, donors = _data(rng)
    model = fit_logistic(C, y, donors, about={"positive": "vulnerable", "negative": "resistant"})
    model.save(tmp_path / "model.json")
    again = LinearClassifier.load(tmp_path / "model.json")
    assert again.classes == ("resistant", "vulnerable")
    assert np.array_equal(again.probability(C), model.probability(C))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="not a classifier"):
        LinearClassifier.load(tmp_path / "other.json")
    with pytest.raises(InputError, match="reads 5 dimensions"):
        again.decision(C[:, :3])


def test_more_classes_equal_scikit_learn_and_sum_to_one(rng, tmp_path):
    y = np.array(["a", "b", "c"], dtype=object)[rng.integers(0, 3, 150)]
    C = rng.normal(size=(150, 4)) + 2 * np.eye(4)[:3][np.unique(y, return_inverse=True)[1]]
    found = fit_logistic(C, y, penalty=2.0)
    Z = (C - C.mean(axis=0)) / C.std(axis=0)
    slow = LogisticRegression(C=100 / (2.0 * 150), max_iter=5000, class_weight="balanced").fit(Z, y.astype(str))
    assert found.classes == ("a", "b", "c")
    assert found.probabilities(C) == pytest.approx(slow.predict_proba(Z), abs=1e-3)
    found.save(tmp_path / "m.json")
    assert np.array_equal(LinearClassifier.load(tmp_path / "m.json").probabilities(C), found.probabilities(C))
    with pytest.raises(InputError, match="tells 3 classes apart"):
        found.probability(C)
    with pytest.raises(InputError, match="one class only"):
        fit_logistic(C, np.full(150, "a"))


def test_votes_equal_a_loop_and_classes_weigh_the_same(rng):
    A, B = rng.normal(size=(40, 3)), rng.normal(size=(9, 3))
    y = np.array(["a"] * 30 + ["b"] * 10, dtype=object)
    got = vote(A, y, np.array(["a", "b"], dtype=object), B, k=7)
    for row, b in zip(got, B, strict=True):
        near = np.argsort([-(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a in A])[:7]
        weight = np.array([(y[near] == "a").sum() / 30, (y[near] == "b").sum() / 10])
        assert row == pytest.approx(weight / weight.sum())
