"""Genes of a gene embedding by phrase, with what ships."""

import numpy as np
import pytest

from lexicell.core.controls import random_vectors, shuffled
from lexicell.core.genes.embedding import GeneEmbedding
from lexicell.core.genes.words import WordCounts
from lexicell.sources import lexicon
from lexicell.sources.annotation import human_ids, human_search, load_lexicon, load_terms, read_counts, read_scores
from lexicell.sources.bundled import BundledSource
from lexicell.sources.finder import GeneFinder

GENES = ["GFAP", "AQP4", "ASTN1", "STARD10", "CHAT", "MNX1", "ISL1", "NAV1", "NEB", "ACTB", "not-a-gene"]


def embedding(names: list[str], organism: str) -> GeneEmbedding:
    found = BundledSource().texts(names, organism=organism)
    embedder, revision = found.vectors_from.split("@")
    provenance = {"source": "bundled", "organism": organism, "embedder": embedder, "revision": revision}
    return GeneEmbedding.from_vectors(names, found.vectors, texts=found.texts, provenance=provenance)


@pytest.mark.parametrize("organism", ["human", "mouse"])
def test_phrases_find_known_genes_and_no_look_alikes(organism: str) -> None:
    names = GENES if organism == "human" else [g.capitalize() for g in GENES]
    genes = embedding(names, organism)
    finder = GeneFinder.of(genes)
    found = finder.find(["astrocyte", "motor neuron"])
    sets = finder.sets(found).toarray() > 0
    named = [{str(g).upper() for g in genes.ids[row]} for row in sets]
    assert named == [{"GFAP", "AQP4"}, {"CHAT", "MNX1", "ISL1"}]
    assert finder.reasons(found[0], np.array([0]))[0].startswith("known gene of 'astrocyte'")


def test_controls_are_found_for_what_other_genes_are_or_for_nothing() -> None:
    genes = embedding(GENES[:-1], "human")
    control = shuffled(genes, seed=1)
    finder = GeneFinder.of(control)
    [row] = finder.sets(finder.find(["astrocyte"])).toarray() > 0
    assert set(control.table["text_of"][row]) == {"GFAP", "AQP4"}
    assert set(control.ids[row]) != {"GFAP", "AQP4"}
    nothing = GeneFinder.of(random_vectors(genes))
    assert nothing.sets(nothing.find(["astrocyte"])).nnz == 0


def test_texts_of_ones_own_are_searched_with_annotation() -> None:
    genes = GeneEmbedding.from_vectors(
        ["GFAP", "TP53", "OTHER"],
        np.eye(3),
        texts=["GFAP: filament.", "TP53: guardian of the genome.", "OTHER: secret sauce."],
        provenance={"organism": "human", "source": "table:mine.tsv"},
    )
    finder = GeneFinder.of(genes)
    found = finder.find(["secret sauce", "astrocyte", "apoptotic process"])
    assert [str(genes.ids[np.argmax(f.score)]) for f in found] == ["OTHER", "GFAP", "TP53"]
    assert finder.reasons(found[0], np.array([2])) == ["text: secret sauce"]


def test_annotation_and_lexicon_are_whole() -> None:
    terms = load_terms()
    assert len(terms.ids) == len(set(terms.ids)) == terms.genes.shape[1]
    number = terms.ids.index("GO:0030182")
    assert terms.names[number][0] == "neuron differentiation"
    below = terms.ids.index("GO:0021522")  # spinal cord motor neuron differentiation
    has, has_below = (np.asarray(terms.genes[:, k].todense()).ravel() > 0 for k in (number, below))
    assert has[has_below].all()
    entries = {e.name: e for e in load_lexicon().entries}
    assert all(parent in entries for e in entries.values() for parent in e.parents)
    assert all(
        human_ids(e.genes, "human") != [] and "" not in human_ids(e.genes, "human") for e in entries.values() if e.genes
    )
    assert lexicon.load()[0]["concept"].is_unique


def test_stored_words_are_those_of_the_texts() -> None:
    search, _ = human_search()
    assert search.terms is not None
    for which, texts in (("genes", search.texts), ("terms", search.terms.all_names)):
        stored, fresh = read_counts(which), WordCounts.of(texts)
        assert stored is not None
        assert stored.grams == fresh.grams
        assert (stored.counts != fresh.counts).nnz == 0


def test_stored_scores_of_the_lexicon_are_what_a_search_finds():
    """Otherwise: run tools/build_search_index.py."""
    stored, (search, _) = read_scores(), human_search()
    types = [entry.name for entry in load_lexicon().entries if entry.category == "cell type"]
    table, vectors = lexicon.load()
    processes = np.flatnonzero(table["category"] != "cell type")
    asked = [(name, None) for name in types] + [(table["concept"].iloc[p], vectors[p]) for p in processes]
    assert stored.shape == (len(asked), len(search.symbols))
    for row in [*range(0, len(asked), 12), len(asked) - 1]:
        score = search.find(*asked[row]).score
        expected = np.where(score >= 0.35 * score.max(), score, 0)
        np.testing.assert_allclose(stored[row].toarray().ravel(), expected, rtol=1e-6)
