"""Scores of an ordering against direct formulas and constructed answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lexicell._errors import InputError
from lexicell.core.trajectory.scores import branch_f1, pseudotime_score, time_values


def test_kendall_against_all_pairs(rng: np.random.Generator) -> None:
    x, y = rng.random(25), rng.integers(0, 4, 25).astype(float)
    pairs = [(i, j) for i in range(25) for j in range(i)]
    agree = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in pairs)
    untied = sum(y[i] != y[j] for i, j in pairs)
    assert pseudotime_score(x, y)[1] == pytest.approx(agree / np.sqrt(len(pairs) * untied))


def test_spearman_is_pearson_of_ranks(rng: np.random.Generator) -> None:
    x, y = rng.random(30), rng.random(30)
    ranks = [pd.Series(v).rank().to_numpy() for v in (x, y)]
    assert pseudotime_score(x, y)[0] == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_missing_and_infinite_values_are_left_out() -> None:
    score = pseudotime_score([0, 0.1, np.inf, 0.4, np.nan, 0.8], [0, 0, 1, 1, 2, 2])
    assert score == pseudotime_score([0, 0.1, 0.4, 0.8], [0, 0, 1, 2])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param([0.0, np.nan, 1.0], [0, 1, 2], id="two-cells"),
        pytest.param([0.5, 0.5, 0.5], [0, 1, 2], id="constant-pseudotime"),
        pytest.param([0.1, 0.2, 0.3], [1, 1, 1], id="constant-time"),
    ],
)
def test_what_cannot_be_scored_is_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(InputError, match="at least three that differ"):
        pseudotime_score(x, y)


@pytest.mark.parametrize(
    ("column", "order", "expected"),
    [
        pytest.param(pd.Series([0, 24, 72]), None, [0, 24, 72], id="numbers"),
        pytest.param(pd.Series(["0", "24", None]), None, [0, 24, np.nan], id="numbers-as-text"),
        pytest.param(pd.Series([24, 0, 24]).astype("category"), None, [24, 0, 24], id="categorical-of-numbers"),
        pytest.param(
            pd.Series(pd.Categorical(["late", "early", None], ["early", "late"], ordered=True)),
            None,
            [1, 0, np.nan],
            id="ordered",
        ),
        pytest.param(pd.Series(["b", "a", None]), ["b", "a"], [0, 1, np.nan], id="order-given"),
    ],
)
def test_time_columns_become_numbers(column: pd.Series, order: list[str] | None, expected: list[float]) -> None:
    assert np.array_equal(time_values(column, order=order), expected, equal_nan=True)


def test_an_unordered_time_column_is_refused() -> None:
    with pytest.raises(InputError, match=r"neither numbers nor an ordered categorical.*order="):
        time_values(pd.Series(["early", "late"], name="stage"))
    with pytest.raises(InputError, match="not in order="):
        time_values(pd.Series(["early", "late"], name="stage"), order=["early"])


def test_branch_f1_matches_names_freely() -> None:
    truth = ["trunk", "trunk", "x", "x", "y", "y"]
    score, matched = branch_f1(truth, ["trunk", "trunk", "branch 2", "branch 2", "branch 1", "branch 1"])
    assert score == 1
    assert matched == {"x": "branch 2", "y": "branch 1"}


def test_branch_f1_by_hand() -> None:
    # x against p: precision 2/3, recall 1, F1 .8; y against nothing; trunk: precision 1, recall 1/2, F1 2/3
    score, matched = branch_f1(["trunk", "trunk", "x", "x"], ["trunk", "p", "p", "p"])
    assert matched == {"x": "p"}
    assert score == pytest.approx((0.8 + 2 / 3) / 2)


@pytest.mark.parametrize(
    "found", [pytest.param(["a", "b", "c", "c"], id="too-many"), pytest.param(["a", "a", "a", "a"], id="too-few")]
)
def test_a_wrong_number_of_branches_costs(found: list[str]) -> None:
    assert branch_f1(["x", "x", "y", "y"], found)[0] < 0.6
