"""Exceptions are of the built-in kinds users expect, and their messages read as sentences."""

from __future__ import annotations

import pytest

from lexicell._errors import (
    InputError,
    LexicellError,
    MissingDependencyError,
    MissingKeyError,
    ProviderError,
    check_choice,
    check_key,
    check_repeats,
    choices,
)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (InputError, ValueError),
        (MissingKeyError, KeyError),
        (MissingDependencyError, ImportError),
        (ProviderError, RuntimeError),
    ],
)
def test_each_error_is_ours_and_a_builtin(error: type[LexicellError], builtin: type[Exception]) -> None:
    assert issubclass(error, LexicellError)
    assert issubclass(error, builtin)
    assert str(error("no column 'a'; there is 'b'")) == "no column 'a'; there is 'b'"


def test_a_wrong_choice_lists_the_right_ones_and_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"unknown preset 'papr'; choose one of 'paper', 'whitened'\. Did you mean 'paper'\?"
    ):
        check_choice("papr", ["paper", "whitened"], "preset")
    assert check_choice("paper", ["paper", "whitened"], "preset") == "paper"


def test_a_missing_key_lists_those_that_exist() -> None:
    with pytest.raises(MissingKeyError, match=r"no column in obs 'zzz'; there is 'cell_type', 'donor'\.$"):
        check_key("zzz", ["cell_type", "donor"], "column in obs")


def test_long_lists_are_cut() -> None:
    assert choices(range(40), limit=2) == "'0', '1' and 38 more"
    assert choices([]) == "none"


def test_repeats_beyond_any_meaning_are_refused_with_the_limit() -> None:
    check_repeats(10_000, "n_repeats")
    with pytest.raises(InputError, match=r"n_repeats may be at most 10,000; got 99,999,999,999"):
        check_repeats(99_999_999_999, "n_repeats")
