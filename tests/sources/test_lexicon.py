"""The lexicon: its table, its vectors, and that one belongs to the other."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lexicell import embedders
from lexicell._errors import InputError
from lexicell._keys import space_of
from lexicell.sources import lexicon


def test_table_and_vectors_fit():
    table, vectors = lexicon.load()
    assert list(table.columns) == ["concept", "category", "description"]
    assert 300 <= len(table) <= 450
    assert vectors.shape == (len(table), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)  # float16 on disk


def test_rows_are_whole_and_unique():
    table, _ = lexicon.load()
    assert table["concept"].str.casefold().is_unique
    assert table["description"].is_unique
    for column in table:
        assert (table[column].str.strip() == table[column]).all()
        assert table[column].ne("").all()
    assert table["description"].str.endswith(".").all()


def test_cell_types_are_told_by_function_not_by_gene_symbol():
    table, _ = lexicon.load("cell type")
    symbol = re.compile(r"\b[A-Z][A-Z0-9]{2,}\d[A-Z0-9]*\b")  # as in MS4A1, NKG7, CD3E
    named = table["description"].str.contains(symbol)
    assert not named.any(), table[named]


def test_the_vectors_were_made_of_these_texts():
    table, _ = lexicon.load()
    manifest = lexicon.manifest()
    assert manifest["texts"] == lexicon.text_hash(table), "concepts.tsv was edited: run tools/build_concepts.py"
    assert manifest["concepts"] == len(table)
    assert manifest["space"] == space_of(embedders.get("local"))


def test_a_sample_computed_again_is_the_same():
    pytest.importorskip("tokenizers", reason="the extra 'local' is not installed")
    table, vectors = lexicon.load()
    rows = np.random.default_rng(0).choice(len(table), size=40, replace=False)
    try:
        again = embedders.embed(lexicon.texts(table.iloc[rows]), store=False)
    except ImportError:
        pytest.skip("the weights of the local embedder are not installed")
    np.testing.assert_allclose(vectors[rows], again, rtol=0, atol=3e-4)  # float16 has 11 bits
    assert np.abs(vectors[rows] - again[::-1]).max() > 0.05


def test_load_keeps_the_categories_asked_for():
    cells, vectors = lexicon.load("cell type")
    assert set(cells["category"]) == {"cell type"}
    assert len(cells) == len(vectors)
    both, _ = lexicon.load(["cell type", "metabolism"])
    assert set(both["category"]) == {"cell type", "metabolism"}
    with pytest.raises(InputError, match="choose one of 'process'"):
        lexicon.load("cells")


def test_what_load_returns_is_the_callers():
    table, vectors = lexicon.load()
    vectors[:] = 0
    table["concept"] = ""
    again, untouched = lexicon.load()
    assert untouched.any()
    assert again["concept"].ne("").all()


def test_words_find_their_row():
    table, _ = lexicon.load()
    rows = lexicon.rows(["Axonal Transport ", "no such thing", "microglia"])
    assert table["concept"].iloc[rows[[0, 2]]].tolist() == ["axonal transport", "microglia"]
    assert rows[1] == -1


def test_neighbors_make_sense():
    """Vectors and rows are aligned: a concept's nearest neighbors are its kin."""
    table, vectors = lexicon.load()
    unit = vectors - vectors.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for name, kin in (
        ("naive B cell", "memory B cell"),
        ("astrocyte", "reactive astrocytes"),
        ("stress granules", "RNA granules and transport of mRNA"),
    ):
        row = int(lexicon.rows([name])[0])
        near = np.argsort(-(unit @ unit[row]))[1:6]
        assert kin in set(table["concept"].iloc[near])
