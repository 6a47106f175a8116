"""Genes of a phrase: each part of the score, and the hundred phrases."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lexicell._errors import InputError
from lexicell.core.genes.retrieval import Entry, Lexicon, PhraseSearch, Terms, close_over_parents, gene_sets
from lexicell.core.genes.retrieval import leading as leading_scores

SYMBOLS = ["CHAT", "GFAP", "ASTN1", "KIF5A"]
TEXTS = [
    "CHAT: choline O-acetyltransferase. acetylcholine biosynthetic process.",
    "GFAP: glial fibrillary acidic protein. astrocyte development.",
    "ASTN1: astrotactin 1. neuron migration.",
    "KIF5A: kinesin family member 5A. axonal transport.",
]
LEXICON = Lexicon(
    [
        Entry("astrocyte", "cell type", "CL:0000127", synonyms=("astroglia",), genes=("GFAP",)),
        Entry("motor neuron", "cell type", synonyms=("motoneuron",), genes=("CHAT",)),
    ]
)


def terms() -> Terms:
    direct = sp.csr_matrix(np.array([[0, 1.0, 0], [0, 0, 0], [0, 0, 0.5], [0.7, 0, 0]]))
    closed = close_over_parents(direct, np.array([2]), np.array([1]))
    names = (("axonal transport",), ("choline metabolism", "choline turnover"), ("choline import",))
    return Terms(("GO:1", "GO:2", "GO:3"), names, closed)


def leading(search: PhraseSearch, phrase: str) -> str:
    return SYMBOLS[int(np.argmax(search.find(phrase).score))]


def test_ancestors_inherit_the_best_evidence() -> None:
    direct = sp.csr_matrix(np.array([[0.5, 0, 0], [0.9, 0.2, 0]]))
    closed = close_over_parents(direct, np.array([0, 1]), np.array([1, 2])).toarray()
    assert closed == pytest.approx(np.array([[0.5, 0.5, 0.5], [0.9, 0.9, 0.9]]))


def test_each_part_finds_its_gene_and_says_why() -> None:
    search = PhraseSearch(SYMBOLS, TEXTS, terms=terms(), lexicon=LEXICON, aliases={"NKHC": "KIF5A"})
    for phrase, gene, why in [
        ("astroglial cells", "GFAP", "known gene of 'astrocyte'"),
        ("choline turnover", "CHAT", "annotated to GO:2 choline metabolism"),
        ("kinesin", "KIF5A", "text: kinesin family member 5A"),
        ("what NKHC does", "KIF5A", "named in the phrase"),
    ]:
        found = search.find(phrase)
        best = int(np.argmax(found.score))
        assert SYMBOLS[best] == gene
        assert search.reason(found, best).startswith(why)


def test_parts_sum_to_the_score() -> None:
    search = PhraseSearch(SYMBOLS, TEXTS, terms=terms(), lexicon=LEXICON)
    found = search.find("astrocyte development")
    assert np.sum(list(found.parts.values()), axis=0) == pytest.approx(found.score)


def test_symbol_of_a_text_does_not_count() -> None:
    assert PhraseSearch(SYMBOLS, TEXTS).find("gfap").score == pytest.approx(np.zeros(4))


def test_meaning_counts_for_nothing_where_no_text_holds_the_word() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 8)).astype(np.float32)
    search = PhraseSearch(SYMBOLS, TEXTS, vectors=vectors)
    assert search.find("zyxwvitis", vectors[2]).score.max() == 0
    assert search.find("migration", vectors[2]).parts["meaning"][2] > 0


def test_a_name_within_a_longer_phrase_counts_for_its_share() -> None:
    assert LEXICON.find("motoneurons")[0][1] == 1.0
    [(entry, share)] = LEXICON.find("loss of motoneurons")
    assert entry.name == "motor neuron"
    assert share == pytest.approx(0.5)
    assert [e.name for e, _ in LEXICON.find("astrocyte and motor neuron")] == ["motor neuron", "astrocyte"]
    assert LEXICON.find("axon") == []


def test_sets_hold_the_best_genes_of_the_data() -> None:
    scores = np.array([[3.0, 1.0, 2.0, 0.1], [4.0, 0.0, 0.0, 0.0]])
    sets = gene_sets(scores, np.array([2, 1, -1, 3]), floor=0.5)
    assert sets.toarray() == pytest.approx(np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]]))


def test_sets_of_what_reaches_the_floor_are_the_same() -> None:
    scores = np.random.default_rng(0).random((3, 40)) ** 3
    few = sp.vstack([leading_scores(line) for line in scores], format="csr")
    assert few.nnz < scores.size
    columns = np.arange(40)
    assert (gene_sets(few, columns) != gene_sets(scores, columns)).nnz == 0
    with pytest.raises(InputError, match="n_genes must be at least 1"):
        gene_sets(few, columns, n_genes=0)


def test_vectors_without_texts_are_searched_by_meaning() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    search = PhraseSearch(SYMBOLS, [""] * 4, vectors=vectors)
    assert int(np.argmax(search.find("zyxwvitis", vectors[2]).score)) == 2


def _hundred() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).parent / "phrases.tsv", sep="\t").fillna("")


def test_phrases_find_the_genes_that_a_biologist_names() -> None:
    """At least 90 of 100; with the vectors of the phrases that are stored beside the list."""
    from lexicell.sources.annotation import human_search

    search, _ = human_search()
    table = _hundred()
    vectors = np.load(Path(__file__).parent / "phrases_vectors.npy").astype(np.float32)
    right = []
    for row, vector in zip(table.itertuples(), vectors, strict=True):
        found = search.find(row.phrase, vector)
        top = {search.symbols[g] for g in np.argsort(-found.score, kind="stable")[:20]}
        forbidden = set(table.loc[row.Index, "not"].split())
        right.append(len(top & set(row.lead.split())) >= row.needed and not top & forbidden)
    assert np.mean(right) >= 0.90
    by_kind = table.assign(right=right).groupby("kind")["right"].mean()
    assert by_kind["process"] >= 0.85
