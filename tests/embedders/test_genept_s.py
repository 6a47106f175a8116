"""Cells as sentences of their most expressed genes (GenePT-s)."""

from __future__ import annotations

import hashlib

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError, ProviderError
from lexicell._expression import Expression
from lexicell.core.expression.rows import open_rows
from lexicell.core.pooling.tiebreak import tie_ranks
from lexicell.emb._sentences import cell_sentences
from lexicell.embedders.sentences import PREFIX, embed_sentences, sentences

NAMES = ["SOD1", "TARDBP", "FUS", "NEFL", "GFAP", "AQP4"]


def data(X, names=NAMES, **var):
    var = pd.DataFrame(var, index=pd.Index(names))
    return anndata.AnnData(np.asarray(X, dtype=np.float32), var=var)


def slow_sentence(row, names, top_n) -> str:
    """GenePT-s spelled out: drop zeros, sort by value, ties by the hash of the name, take the first."""
    expressed = [
        (-value, hashlib.blake2b(name.encode()).digest(), name)
        for value, name in zip(row, names, strict=True)
        if value > 0
    ]
    words = [name for _, _, name in sorted(expressed)[:top_n]]
    return PREFIX + " ".join(words) if words else ""


class Toy:
    """Counts the texts it is given; a vector holds a text's length."""

    revision, dim = "1", 2

    def __init__(self, name="toy", leaves_machine=False, fail_after=None) -> None:
        self.name, self.leaves_machine, self.fail_after = name, leaves_machine, fail_after
        self.batch_size = 2
        self.seen = []

    def embed(self, texts):
        if self.fail_after is not None and len(self.seen) >= self.fail_after:
            raise ProviderError("out of order")
        self.seen += texts
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


# Writing ------------------------------------------------------------------------------------------------------------


def test_genes_stand_in_the_order_of_their_expression() -> None:
    adata = data([[3, 5, 0, 1, 0, 4], [0, 0, 0, 0, 0, 0], [0, 0, 7, 0, 0, 0]])
    assert cell_sentences(adata) == [PREFIX + "TARDBP AQP4 SOD1 NEFL", "", PREFIX + "FUS"]
    assert cell_sentences(adata, top_n=2)[0] == PREFIX + "TARDBP AQP4"


counts = st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(1, 7), st.sampled_from(["dense", "csr", "csc"]), st.permutations(range(6)))
def test_sentences_equal_the_slow_way_for_any_form_and_order_of_genes(rows, top_n, form, order) -> None:
    X = np.asarray(rows, dtype=np.float32)
    wanted = [slow_sentence(row, NAMES, top_n) for row in X]
    names = [NAMES[i] for i in order]
    matrix = {"dense": np.array, "csr": sp.csr_matrix, "csc": sp.csc_matrix}[form](X[:, order])
    found = sentences(open_rows(matrix), names, tie_ranks(names), top_n=top_n, chunk_size=2)
    assert found == wanted


def test_entries_in_several_parts_add_up() -> None:
    matrix = sp.csr_matrix((np.array([2.0, 3, 2]), np.array([0, 1, 0]), np.array([0, 3])), shape=(1, 2))
    assert sentences(open_rows(matrix), ["A", "B"], tie_ranks(["A", "B"])) == [PREFIX + "A B"]


def test_logged_values_give_the_same_sentences_and_nothing_is_changed() -> None:
    rng = np.random.default_rng(0)
    adata = data(rng.poisson(1.0, (20, 6)))
    before = adata.X.copy()
    adata.layers["log"] = np.log1p(adata.X / adata.X.sum(1, keepdims=True) * 1e4)
    assert cell_sentences(adata) == cell_sentences(adata, expression=Expression("log", normalization="log1p"))
    np.testing.assert_array_equal(adata.X, before)


def test_words_from_a_column() -> None:
    ids = [f"ENSG0000000000{i}" for i in range(6)]
    adata = data([[3, 5, 0, 1, 0, 4]], ids, feature_name=["SOD1", "TARDBP", "FUS", None, "GFAP", "AQP4"])
    assert cell_sentences(adata, symbols="feature_name") == [PREFIX + "TARDBP AQP4 SOD1"]
    with pytest.raises(InputError, match="named by Ensembl ids"):
        cell_sentences(adata)


def test_what_cannot_be_written_is_refused() -> None:
    adata = data([[1, 2, 3, 4, 5, 6]])
    with pytest.raises(InputError, match="top_n must be at least 1"):
        cell_sentences(adata, top_n=0)
    with pytest.raises(MissingKeyError, match="no column in var 'symbol'"):
        cell_sentences(adata, symbols="symbol")
    with pytest.raises(InputError, match=r"cell 1 .* holds negative values, NaN"):
        sentences(open_rows(np.array([[1.0, 2], [np.nan, 1]])), ["A", "B"], tie_ranks(["A", "B"]))


# Embedding ----------------------------------------------------------------------------------------------------------


def cells(n: int):
    rng = np.random.default_rng(1)
    return data(rng.poisson(2.0, (n, 6)))


def embed_cell_sentences(adata, model, **options):
    return embed_sentences(cell_sentences(adata), model, **options)


def test_vectors_stand_in_the_order_of_the_cells_equal_sentences_once() -> None:
    adata = data([[3, 5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [6, 9, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    model = Toy()
    vectors = embed_cell_sentences(adata, model)
    assert sorted(model.seen) == sorted({PREFIX + "TARDBP SOD1", PREFIX + "SOD1"})
    lengths = [len(PREFIX + "TARDBP SOD1"), 0, len(PREFIX + "TARDBP SOD1"), len(PREFIX + "SOD1")]
    np.testing.assert_array_equal(vectors[:, 0], lengths)
    np.testing.assert_array_equal(vectors[1], 0)


def test_many_cells_need_a_yes_and_hear_the_price() -> None:
    model = Toy()
    with pytest.raises(
        InputError, match=r"more than 5 sentences .* Cost: 20 texts .*yes=True \(on the command line: --yes\)"
    ):
        embed_cell_sentences(cells(20), model, max_cells=5)
    assert model.seen == []
    assert embed_cell_sentences(cells(20), model, max_cells=5, yes=True).shape == (20, 2)
    # What is stored costs nothing and needs no second yes.
    assert embed_cell_sentences(cells(20), Toy(), max_cells=5).shape == (20, 2)


def test_what_leaves_the_machine_needs_a_yes_and_is_said() -> None:
    model = Toy("elsewhere", leaves_machine=True)
    with pytest.raises(
        InputError, match="would go to 'elsewhere': they tell the order of each cell's most expressed genes"
    ):
        embed_cell_sentences(cells(2), model)
    assert model.seen == []
    with pytest.warns(UserWarning, match="most expressed genes of 2 cells goes to 'elsewhere'"):
        embed_cell_sentences(cells(2), model, yes=True)


def test_the_price_at_a_provider_is_told_before_anything_is_sent(server) -> None:
    pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
    model = lx.embedders.get("openai:text-embedding-ada-002", base_url="https://example.org/v1", api_key="k")
    with pytest.raises(InputError, match=r"3 to send to 'openai:text-embedding-ada-002' in .* requests, .*\$0\.01"):
        embed_cell_sentences(cells(3), model)


def test_an_interrupted_run_goes_on() -> None:
    adata = cells(9)
    first = Toy(fail_after=4)
    with pytest.raises(ProviderError, match="out of order"):
        embed_cell_sentences(adata, first)
    second = Toy()
    embed_cell_sentences(adata, second)
    assert set(first.seen) & set(second.seen) == set()
    assert set(first.seen) | set(second.seen) == set(cell_sentences(adata))


class _Letters:
    name, revision, dim, leaves_machine = "letters", "1", 3, False

    def embed(self, texts):
        return np.array([[len(t), t.count("TARDBP") + 1, 1] for t in texts], dtype=np.float32)


def test_sentences_are_written_into_the_object_and_nothing_else_changes():
    names = pd.Index(["SOD1", "TARDBP", "FUS"])
    adata = anndata.AnnData(np.array([[3.0, 5, 0], [1, 0, 0]], dtype=np.float32), var=pd.DataFrame(index=names))
    assert lx.emb.sentences(adata, _Letters(), key_added="X_said", copy=True).obsm["X_said"].shape == (2, 3)
    assert not adata.obsm
    lx.emb.sentences(adata, _Letters(), key_added="X_said")
    assert adata.obsm["X_said"][:, 1].tolist() == [2.0, 1.0]
    assert adata.uns["lexicell"]["X_said"]["params"]["preset"] == "genept-s"
    assert adata.uns["lexicell"]["X_said"]["provenance"]["embedder"] == "letters"
