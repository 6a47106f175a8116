"""OpenAI's protocol where the server behaves: names, batches, options, keys and addresses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import lexicell as lx
from lexicell._errors import InputError, ProviderError
from lexicell._keys import space_of
from lexicell.embedders._client import check_url, is_loopback
from lexicell.store import Store

pytest.importorskip("openai", reason="the official client of OpenAI is not installed (extra 'openai')")

TEXTS = [f"gene number {i} carries cargo along the axon" for i in range(50)]


def expected(faults, texts, dim=8):
    return np.stack([faults.vector(text, dim) for text in texts])


def ask(server, **options):
    return lx.embedders.get(f"{server.url}#toy", **options)


# Vectors ------------------------------------------------------------------------------------------------------------


def test_vectors_come_in_the_order_of_the_texts(server, faults) -> None:
    texts = [TEXTS[3], TEXTS[0], TEXTS[3], TEXTS[7]]
    vectors = lx.embedders.embed(texts, ask(server, dim=8))
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected(faults, texts))
    assert sorted(server.sent_texts) == sorted(set(texts))  # equal texts are sent once


def test_numbers_instead_of_base64_are_read(server, faults) -> None:
    refusal = ("status", 400, {}, {"message": "encoding_format 'base64' is not supported"})
    server.faults = [refusal]
    vectors = lx.embedders.embed(TEXTS[:3], ask(server, dim=8))
    np.testing.assert_allclose(vectors, expected(faults, TEXTS[:3]), atol=1e-7)
    assert [body["encoding_format"] for body in server.requests] == ["base64", "float"]


def test_a_second_run_sends_nothing(server) -> None:
    first = lx.embedders.embed(TEXTS, ask(server, dim=8))
    sent = len(server.requests)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS, ask(server, dim=8)), first)
    assert len(server.requests) == sent


# Length of the vectors ----------------------------------------------------------------------------------------------


def test_making_an_embedder_sends_nothing(server) -> None:
    ask(server)
    lx.embedders.list()
    assert server.requests == []


def test_the_length_is_asked_once_and_remembered(server) -> None:
    assert ask(server).dim == 8
    assert ask(server).dim == 8
    assert len(server.requests) == 1


def test_a_remembered_length_that_no_longer_holds_is_forgotten(server) -> None:
    assert ask(server).dim == 8
    server.dim = 12
    with pytest.raises(ProviderError, match="length 12, not length 8"):
        lx.embedders.embed(TEXTS[:2], ask(server))
    assert lx.embedders.embed(TEXTS[:2], ask(server)).shape == (2, 12)


def test_ignored_dimensions_are_caught(server) -> None:
    server.always = ("ignores dimensions",)
    with pytest.raises(ProviderError, match=r"length 8, not length 4.*ignore the dimensions"):
        lx.embedders.embed(TEXTS[:2], ask(server, dimensions=4))


def test_dimensions_are_asked_for_and_have_a_space_of_their_own(server, faults) -> None:
    short = lx.embedders.embed(TEXTS[:2], ask(server, dimensions=4))
    np.testing.assert_array_equal(short, expected(faults, TEXTS[:2], 4))
    assert server.requests[-1]["dimensions"] == 4
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS[:2], ask(server, dim=8)), expected(faults, TEXTS[:2]))
    assert "dimensions" not in server.requests[-1]


@pytest.mark.parametrize(
    ("name", "dim"),
    [("text-embedding-ada-002", 1536), ("text-embedding-3-small", 1536), ("text-embedding-3-large", 3072)],
)
def test_openai_models_are_known(name, dim) -> None:
    model = lx.embedders.get(f"openai:{name}")
    assert (model.name, model.dim, model.leaves_machine) == (f"openai:{name}", dim, True)
    assert model.revision == "api.openai.com"


# Batches ------------------------------------------------------------------------------------------------------------


def test_other_servers_get_small_batches_of_like_length(server) -> None:
    lx.embedders.embed([*TEXTS, "long " * 50], ask(server, dim=8, batch_size=10))
    sizes = [len(body["input"]) for body in server.requests]
    assert sorted(sizes) == [1, 10, 10, 10, 10, 10]


def test_requests_at_once_are_bounded(serve) -> None:
    server = serve(latency=0.03)
    lx.embedders.embed(TEXTS, ask(server, dim=8, batch_size=2, concurrency=3))
    assert server.most_together == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(413, {"message": "payload too large"}, id="413"),
        pytest.param(
            400,
            {"message": "Requested 453357 tokens, max 300000 tokens per request", "code": "max_tokens_per_request"},
            id="openai-tokens",
        ),
        pytest.param(422, {"message": "batch size 50 > maximum allowed batch size 6"}, id="batch-size"),
    ],
)
def test_a_batch_refused_as_too_large_is_halved(server, faults, status, error) -> None:
    def refuse(body):
        return ("status", status, {}, error) if len(body["input"]) > 6 else None

    server.always = refuse
    vectors = lx.embedders.embed(TEXTS, ask(server, dim=8, batch_size=50))
    np.testing.assert_array_equal(vectors, expected(faults, TEXTS))
    answered = [text for batch in server.answered for text in batch]
    assert sorted(answered) == sorted(TEXTS)  # no part of it was answered twice


def test_what_was_answered_before_a_half_failed_is_stored(server) -> None:
    def refuse(body):
        if len(body["input"]) > 25:
            return ("status", 413, {}, {"message": "batch too large"})
        return ("status", 400, {}, {"message": "no"}) if TEXTS[-1] in body["input"] else None

    server.always = refuse
    model = ask(server, dim=8, batch_size=50)
    with pytest.raises(ProviderError, match="answered 400: no"):
        lx.embedders.embed(TEXTS, model)
    answered = [text for batch in server.answered for text in batch]
    assert len(answered) == 25
    assert set(Store().get_many(space_of(model), TEXTS)) == set(answered)


def test_a_text_refused_as_too_long_is_shortened_and_told(server, faults) -> None:
    def refuse(body):
        if max(map(len, body["input"])) > 300:
            return ("status", 400, {}, {"message": "This model's maximum context length is 300 letters"})
        return None

    server.always = refuse
    long = "axon " * 100
    with pytest.warns(UserWarning, match="refused a text of 500 characters as too long; its first 281 were embedded"):
        vectors = lx.embedders.embed([TEXTS[0], long], ask(server, dim=8))
    np.testing.assert_array_equal(vectors, expected(faults, [TEXTS[0], long[:281]]))


# Keys and addresses -------------------------------------------------------------------------------------------------


def test_no_key_means_no_authorization(server, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-meant-for-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    lx.embedders.embed(TEXTS[:1], ask(server, dim=8))
    sent = server.headers[0]
    assert "authorization" not in sent
    assert not [value for value in sent.values() if "sk-meant" in value or "org-mine" in value]


def test_a_key_for_other_servers(server, monkeypatch) -> None:
    monkeypatch.setenv("LEXICELL_API_KEY", "from-environment\n")
    lx.embedders.embed(TEXTS[:1], ask(server, dim=8))
    lx.embedders.embed(TEXTS[1:2], ask(server, dim=8, api_key="from-argument"))
    assert [h["authorization"] for h in server.headers] == ["Bearer from-environment", "Bearer from-argument"]


def test_openai_at_another_address(server, faults, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a")
    model = lx.embedders.get("openai:text-embedding-3-small", base_url=server.url, dimensions=8)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS[:2], model), expected(faults, TEXTS[:2]))
    assert server.headers[0]["authorization"] == "Bearer sk-a"
    assert server.requests[0]["model"] == "text-embedding-3-small"
    assert model.revision == server.url.split("/")[2]  # its vectors do not mix with OpenAI's own


def test_openai_without_a_key_is_one_sentence() -> None:
    with pytest.raises(InputError, match="needs a key: set OPENAI_API_KEY"):
        lx.embedders.embed(["a text"], "openai:text-embedding-3-small")


def test_azure(server, faults, monkeypatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    address = server.url.removesuffix("/v1")
    model = lx.embedders.get("openai:my-deployment", base_url=address, api_version="2024-10-21", dim=8)
    np.testing.assert_array_equal(lx.embedders.embed(TEXTS[:2], model), expected(faults, TEXTS[:2]))
    assert server.headers[0]["api-key"] == "azure-key"
    assert server.paths[0].endswith("/openai/deployments/my-deployment/embeddings?api-version=2024-10-21")


def test_redirects_are_not_followed(server, serve) -> None:
    other = serve()
    server.always = ("status", 307, {"location": f"{other.url}/embeddings"}, {})
    with pytest.raises(ProviderError, match=r"answered 307.*name the final address"):
        lx.embedders.embed(TEXTS[:1], ask(server, dim=8, api_key="secret-key"))
    assert other.requests == []


def test_no_proxy_sees_what_stays_on_this_machine(server, serve, monkeypatch) -> None:
    proxy = serve()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    lx.embedders.embed(TEXTS[:1], ask(server, dim=8))
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8080/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost.example.org/v1", False),
        ("https://10.0.0.7/v1", False),
    ],
)
def test_what_counts_as_this_machine(url, local) -> None:
    assert is_loopback(url) is local
    assert lx.embedders.get(f"{url}#m").leaves_machine is not local


@pytest.mark.parametrize(
    "name", ["http:localhost:80/v1#a/b", "http:http://localhost:80/v1#a/b", "http://localhost:80/v1/#a/b"]
)
def test_names_of_one_server_are_one_name(name) -> None:
    model = lx.embedders.get(name)
    assert (model.name, model.model) == ("http://localhost:80/v1#a/b", "a/b")
    assert lx.embedders.get(model.name).name == model.name


@pytest.mark.parametrize(
    "url", ["http://me:password@host/v1", "http://host/v1?key=password", "ftp://host/v1", "http://", "host/v1"]
)
def test_addresses_that_hold_secrets_or_are_none_are_refused(url) -> None:
    with pytest.raises(InputError) as error:
        check_url(url)
    assert "password@" not in str(error.value)
    assert "key=password" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("http:localhost:8080/v1", {}, "names no model"),
        ("http://localhost:8080/v1#", {}, "names no model"),
        ("http://localhost/v1#m", {"base_url": "http://x"}, "names the server"),
        ("openai:m", {"api_version": "1"}, "belongs to Azure"),
        ("openai:text-embedding-ada-002", {"dimensions": 256}, "length 1536 only"),
        ("openai:text-embedding-3-small", {"dimensions": 2000}, "between 1 and 1536"),
        ("openai:text-embedding-3-small", {"dimension": 8}, "no option 'dimension'"),
        ("openai:m", {"timeout": 0}, "timeout must be above zero"),
        ("openai:m", {"concurrency": -1}, "concurrency must be above zero"),
        ("openai:m", {"max_retries": -1}, "max_retries must not be negative"),
    ],
)
def test_options_that_cannot_be(name, options, message) -> None:
    with pytest.raises(InputError, match=message):
        lx.embedders.get(name, **options)


def test_a_key_over_plain_http_to_another_machine_is_warned_of() -> None:
    model = lx.embedders.get("http://10.255.255.1/v1#m", api_key="k", dim=3)
    with pytest.warns(UserWarning, match="unencrypted"):
        model._connection.client()


def test_an_embedder_with_a_key_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(lx.embedders.get("openai:text-embedding-3-small", api_key="sk-a"))
