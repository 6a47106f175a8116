"""Words that a group of cells deserves."""

import numpy as np
import pytest
import scipy.sparse as sp

from lexicell.core.genes.concepts import contrast_scores
from lexicell.core.genes.word_selection import allowed_words, guess_tissues, select_words, word_scores

N = 200
EXPRESSION = np.arange(N, dtype=float)


def sets_of(*genes: list[int]) -> sp.csr_matrix:
    out = np.zeros((len(genes), N))
    for row, listed in enumerate(genes):
        out[row, listed] = 1 / len(listed)
    return sp.csr_matrix(out)


def change(*up: int, size: float = 2.0) -> np.ndarray:
    x = np.random.default_rng(0).normal(0, 0.2, size=N)
    x[list(up)] = size
    return x[None]


def test_scores_are_those_against_random_sets_with_changes_cut() -> None:
    sets = sets_of([1, 50, 100], [3, 4])
    x = change(1, 50, 100, size=9.0)
    got = word_scores(x, sets, EXPRESSION)
    z = contrast_scores(np.clip(x, -2, 2), sets, EXPRESSION).z
    assert got == pytest.approx(z)


def test_a_word_needs_genes_that_go_up() -> None:
    sets = sets_of([1, 50, 100], [3, 4, 120])
    shown = select_words(change(1, 50, 100), sets, EXPRESSION)
    assert [s.word for s in shown[0]] == [0]
    assert shown[0][0].support == pytest.approx(1.0)


def test_no_word_is_clear_where_nothing_goes_up() -> None:
    assert select_words(change(), sets_of([1, 50, 100]), EXPRESSION) == [[]]


def test_one_strong_gene_is_not_enough() -> None:
    shown = select_words(change(1, size=30.0), sets_of([1, 50, 100]), EXPRESSION)
    assert shown == [[]]


def test_look_alikes_and_duplicates_are_not_shown_beside_the_word() -> None:
    sets = sets_of([1, 50, 100, 150], [1, 50, 100, 151], [1, 50, 3, 4])
    shown = select_words(change(1, 50, 100, 150), sets, EXPRESSION)
    assert [s.word for s in shown[0]] == [0]


def test_a_second_word_with_genes_of_its_own_is_shown() -> None:
    sets = sets_of([1, 50, 100, 150], [20, 70, 120, 170])
    shown = select_words(change(1, 50, 100, 150, 20, 70, 120, 170), sets, EXPRESSION)
    assert {s.word for s in shown[0]} == {0, 1}


def test_tissues_are_guessed_from_leading_words_and_rule_out_others() -> None:
    tissues = [("brain",), ("spinal cord",), ("liver",), (), ("vessel",)]
    scores = np.array([[9.0, 1, 0, 0, 0], [1, 8.0, 7.9, 0, 0], [0, 0, 0, 0, 2.0]])
    guessed = guess_tissues(scores, tissues)
    assert guessed == ["nervous system"]
    assert allowed_words(tissues, guessed).tolist() == [True, True, False, True, True]
    assert allowed_words(tissues, []).all()
