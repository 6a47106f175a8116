"""Tokens counted, batches packed, texts cut and money told before anything is sent."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lexicell as lx
from lexicell._errors import InputError
from lexicell.embedders import _tokens
from lexicell.embedders._prices import MAX_TOKENS, PRICES_DATE
from lexicell.embedders._tokens import Tokens, pack

LARGE = "openai:text-embedding-3-large"


@pytest.fixture
def words(monkeypatch):
    """A vocabulary of tiktoken, made here: each of these words is one token, every other byte one."""
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed (extra 'openai')")
    ranks = {bytes([i]): i for i in range(256)}
    for word in ["ax", "axo", "axon", " a", " ax", " axo", " axon"]:
        ranks[word.encode()] = len(ranks)
    made = tiktoken.Encoding("toy", pat_str=r" ?\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|end|>": len(ranks)})
    monkeypatch.setattr(_tokens, "_encodings", {"cl100k_base": made})
    return made


@pytest.fixture
def no_vocabulary(monkeypatch):
    monkeypatch.setattr(_tokens, "_encodings", {"cl100k_base": None})


# Counting -----------------------------------------------------------------------------------------------------------


def test_counts_with_the_vocabulary(words) -> None:
    counter = Tokens("cl100k_base")
    assert counter.exact
    assert counter.count(["axon axon", "bc", "<|end|>"]) == [2, 2, 7]


@given(st.text())
def test_counts_without_the_vocabulary_are_never_too_low(text) -> None:
    # Every token of a byte-level vocabulary covers at least one byte.
    counter = Tokens("")
    assert not counter.exact
    assert counter.count([text]) == [len(text.encode())]


def test_a_vocabulary_that_cannot_be_fetched_is_done_without(monkeypatch, tmp_path) -> None:
    pytest.importorskip("tiktoken", reason="tiktoken is not installed (extra 'openai')")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_tokens, "_encodings", {})
    assert not Tokens("cl100k_base").exact  # tests reach no network


def test_a_vocabulary_that_takes_too_long_is_done_without(monkeypatch) -> None:
    import threading

    release = threading.Event()
    monkeypatch.setattr(_tokens, "_FETCH_SECONDS", 0.05)
    monkeypatch.setattr(_tokens, "_encodings", {})
    monkeypatch.setattr(_tokens, "_tiktoken", lambda name: release.wait(10))
    assert not Tokens("cl100k_base").exact
    release.set()


# Cutting ------------------------------------------------------------------------------------------------------------


def test_a_text_is_cut_at_the_limit(words) -> None:
    counter = Tokens("cl100k_base")
    assert counter.cut("axon axon axon", 2) == "axon axon"
    assert counter.cut("axon axon", 2) == "axon axon"


@given(text=st.text(alphabet="axon é\U0001f9ec\n", max_size=60), limit=st.integers(1, 20))
def test_a_cut_text_begins_the_text_and_keeps_the_limit(text, limit) -> None:
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed (extra 'openai')")
    ranks = {bytes([i]): i for i in range(256)} | {b"ax": 256, b"axo": 257, b"axon": 258, b" a": 259}
    counter = Tokens("")
    counter._encoding = tiktoken.Encoding("toy", pat_str=r" ?\S+|\s+", mergeable_ranks=ranks, special_tokens={})
    cut = counter.cut(text, limit)
    assert text.startswith(cut)
    assert counter.count([cut])[0] <= limit


def test_texts_too_long_are_told_and_sent_cut(words, serve) -> None:
    pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
    server = serve(dim=1536)
    model = lx.embedders.get("openai:text-embedding-ada-002", base_url=server.url, api_key="k")
    long = "axon" + " axon" * MAX_TOKENS
    with pytest.warns(UserWarning, match="longer than embedder .* reads; their ends do not count: 1 of 2 texts"):
        lx.embedders.embed(["axon", long], model)
    assert sorted(server.sent_texts) == ["axon", long[: -len(" axon")]]


def test_without_the_vocabulary_long_texts_are_sent_whole(no_vocabulary, serve) -> None:
    pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
    server = serve(dim=1536)
    model = lx.embedders.get("openai:text-embedding-ada-002", base_url=server.url, api_key="k")
    long = "axon " * 4000  # 20,000 bytes, which may well be fewer than 8,192 tokens
    lx.embedders.embed([long], model)
    assert server.sent_texts == [long]


# Packing ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 8), st.integers(1, 80))
def test_packing_keeps_both_limits_and_order_and_wastes_nothing(counts, max_texts, max_tokens) -> None:
    batches = pack(counts, max_texts=max_texts, max_tokens=max_tokens)
    assert [i for batch in batches for i in batch] == list(range(len(counts)))
    for batch in batches:
        assert len(batch) <= max_texts
        assert sum(counts[i] for i in batch) <= max_tokens or len(batch) == 1
    for batch, following in itertools.pairwise(batches):
        full = len(batch) == max_texts or sum(counts[i] for i in [*batch, following[0]]) > max_tokens
        assert full


def test_openai_batches_keep_the_limits_of_the_service(no_vocabulary) -> None:
    pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
    model = lx.embedders.get(LARGE)
    assert [len(batch) for batch in model.plan(["a"] * 5000)] == [2048, 2048, 904]
    assert [len(batch) for batch in model.plan(["a" * 8000] * 80)] == [37, 37, 6]
    assert [len(batch) for batch in model.plan(["a" * 100_000] * 40)] == [36, 4]  # cut to 8,192 tokens each


# Money --------------------------------------------------------------------------------------------------------------


def test_the_estimate_adds_up(words) -> None:
    texts = ["axon axon"] * 3 + [f"axon {i}" for i in range(10)]
    told = lx.embedders.estimate_cost(texts, LARGE)
    assert (told.texts, told.unique, told.stored, told.to_send) == (13, 11, 0, 11)
    assert told.tokens == sum(len(words.encode_ordinary(text)) for text in set(texts))
    assert (told.requests, told.exact, told.prices_date) == (1, True, PRICES_DATE)
    assert told.money == pytest.approx(told.tokens * 0.13 / 1e6)
    assert str(told).startswith("13 texts (11 different, 0 of them already stored): 11 to send to 'openai:text-emb")


def test_the_estimate_spends_nothing_and_needs_no_key(server, no_vocabulary) -> None:
    lx.embedders.estimate_cost(["a"], LARGE, base_url=server.url)
    lx.embedders.estimate_cost(["a"], f"{server.url}#toy")
    assert server.requests == []


def test_what_is_stored_costs_nothing(serve, no_vocabulary) -> None:
    pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")
    server = serve(dim=3072)
    model = lx.embedders.get(LARGE, base_url=server.url, api_key="k")
    lx.embedders.embed(["one", "two"], model)
    told = lx.embedders.estimate_cost(["one", "two", "three"], model)
    assert (told.stored, told.tokens) == (2, 5)
    everything = lx.embedders.estimate_cost(["one"], model)
    assert (everything.money, everything.requests) == (0.0, 0)
    assert "nothing is left to embed" in str(everything)
    # Other dimensions are another space: nothing of them is stored.
    assert lx.embedders.estimate_cost(["one"], LARGE, base_url=server.url, dimensions=256).stored == 0


def test_an_upper_bound_is_called_one(no_vocabulary) -> None:
    told = lx.embedders.estimate_cost(["é" * 1000] * 2, LARGE)
    assert (told.tokens, told.exact) == (2000, False)
    assert "at most 2,000 tokens (counted in bytes" in str(told)


def test_twenty_thousand_genes_cost_well_under_a_dollar(no_vocabulary) -> None:
    texts = [f"{i} " + "w" * 500 for i in range(20_000)]  # 82 words a gene, counted in bytes: four times too many
    told = lx.embedders.estimate_cost(texts, LARGE)
    assert told.requests < 50
    assert told.money < 2


def test_on_this_machine_nothing_is_paid(server) -> None:
    told = lx.embedders.estimate_cost(["a", "b"], "local")
    assert (told.money, told.leaves_machine) == (0.0, False)
    assert "on this machine, at no cost" in str(told)
    assert lx.embedders.estimate_cost(["a"], f"{server.url}#toy").money == 0.0


def test_unknown_prices_are_called_unknown() -> None:
    told = lx.embedders.estimate_cost(["a"], "https://example.org/v1#m")
    assert told.money is None
    assert "at a price not known here" in str(told)


def test_an_embedder_of_a_plugin_can_be_estimated() -> None:
    class Toy:
        name, revision, dim, leaves_machine, batch_size = "toy", "1", 2, True, 2

        def embed(self, texts):
            return np.ones((len(texts), 2), np.float32)

    told = lx.embedders.estimate_cost(["a", "b", "cc"], Toy())
    assert (told.requests, told.tokens, told.money, told.exact) == (2, 4, None, False)


def test_estimates_refuse_what_cannot_be() -> None:
    with pytest.raises(InputError, match="write \\[text\\]"):
        lx.embedders.estimate_cost("one text")
    with pytest.raises(InputError, match="options go with the name"):
        lx.embedders.estimate_cost(["a"], lx.embedders.get("local"), dimensions=2)
