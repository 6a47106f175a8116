"""OpenAI's embedding models, Azure, and any server that speaks the same protocol.

``openai:MODEL`` goes to OpenAI (or to ``base_url=``), ``http:URL#MODEL`` to a server of your own. See ``_client.py``
for keys and failures, ``_retry.py`` for second tries, ``_tokens.py`` for counts.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, ProviderError
from .._keys import space_name
from ..store import Store
from ._answer import vectors_of
from ._base import EmbedderInfo
from ._client import OPENAI_URL, Connection, Key, check_url, from_environment, is_loopback, require_openai
from ._cost import Quote
from ._prices import MAX_INPUTS, MAX_REQUEST_TOKENS, MAX_TOKENS, MODELS, Model
from ._retry import Patience, TooLargeError
from ._tokens import Tokens, pack

__all__ = ["OpenAI", "infos", "make"]

_SERVER_BATCH = 32  # texts per request to an unknown server: several refuse more by default
_CUTS = 16  # a text that is refused as too long is shortened by a quarter so often: to a hundredth at most
_PROBE = "gene"  # sent once where the length of the vectors was not given


class OpenAI:
    """Vectors from a server that speaks OpenAI's protocol.

    Made by :func:`make`, which documents the options. Nothing is sent, and no client is made, before the first text.

    Attributes
    ----------
    name
        ``"openai:MODEL"``, or the address and model of another server.
    revision
        Who serves the model: the weights themselves are not to be seen from outside.
    leaves_machine
        False only for a server on this machine.
    """

    def __init__(
        self,
        name: str,
        model: str,
        connection: Connection,
        *,
        revision: str,
        dimensions: int | None,
        dim: int | None,
        batch_size: int | None,
        concurrency: int,
        patience: Patience,
    ) -> None:
        self.name, self.model, self.revision = name, model, revision
        self.dimensions = dimensions
        self.concurrency = concurrency
        self.leaves_machine = not is_loopback(connection.url)
        self._connection, self._patience = connection, patience
        self._known: Model | None = None
        self._dim = dimensions or dim
        self._batch_size = batch_size or _SERVER_BATCH
        if name.startswith("openai:") and model in MODELS:
            self._known = MODELS[model]
            self._dim = self._dim or self._known.dim
            self._batch_size = batch_size or MAX_INPUTS
        self._remembered = False
        self._encoding = "base64"

    def __repr__(self) -> str:
        return f"OpenAI({self.name!r})"

    # Length of the vectors ------------------------------------------------------------------------------------------

    @property
    def dim_known(self) -> bool:
        """Whether `dim` can be told without asking the server."""
        if self._dim is None:
            self._dim = self._recall()
            self._remembered = self._dim is not None
        return self._dim is not None

    @property
    def dim(self) -> int:
        """Length of a vector; an unknown model is asked once, with one word, and the answer is remembered."""
        if not self.dim_known:
            self._dim = self._ask([_PROBE]).shape[1]
            self._remember(self._dim)
        assert self._dim is not None
        return self._dim

    @property
    def _dim_key(self) -> str:
        return space_name(self.name, self.revision, self.dimensions or "")

    def _recall(self) -> int | None:
        try:
            payload = Store().get_record("dim", self._dim_key)
        except InputError:
            return None
        return int(payload) if payload else None

    def _remember(self, dim: int | None) -> None:
        try:
            Store().put_record("dim", self._dim_key, str(dim or "").encode())
        except InputError:
            return  # a store that cannot be written costs one word of a request the next time

    # Batches --------------------------------------------------------------------------------------------------------

    def plan(self, texts: Sequence[str]) -> list[list[int]]:
        """Batches within the limits of the service; for other servers `batch_size` texts of like length."""
        require_openai()
        if self._known is None:
            order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
            return [order[i : i + self._batch_size] for i in range(0, len(order), self._batch_size)]
        counts = [min(count, MAX_TOKENS) for count in self._counter.count(texts)]
        return pack(counts, max_texts=self._batch_size, max_tokens=MAX_REQUEST_TOKENS)

    def truncated(self, texts: Sequence[str]) -> list[int]:
        """Positions of the texts that are longer than the model reads, as far as this can be counted here."""
        if self._known is None or not self._counter.exact:
            return []
        # No text has more tokens than bytes: most need not be counted.
        long = [i for i, text in enumerate(texts) if len(text.encode()) > MAX_TOKENS]
        counts = self._counter.count([texts[i] for i in long])
        return [i for i, count in zip(long, counts, strict=True) if count > MAX_TOKENS]

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, uncut."""
        return self._counter.count(texts)

    @property
    def max_tokens(self) -> int:
        """Tokens the service reads; 0 for a server whose model is not known."""
        return MAX_TOKENS if self._known else 0

    def quote(self, texts: Sequence[str]) -> Quote:
        """Tokens, requests and money for texts; sends none of them."""
        counts = self._counter.count(texts)
        if self._known is None:
            requests = -(-len(texts) // self._batch_size)
            return Quote(sum(counts), requests, None if self.leaves_machine else 0.0, exact=False)
        counts = [min(count, MAX_TOKENS) for count in counts]
        requests = len(pack(counts, max_texts=self._batch_size, max_tokens=MAX_REQUEST_TOKENS))
        return Quote(sum(counts), requests, sum(counts) * self._known.usd / 1e6, exact=self._counter.exact)

    @cached_property
    def _counter(self) -> Tokens:
        return Tokens(self._known.encoding if self._known else "")

    def cancel(self) -> None:
        """End the calls in flight at their next failure or wait."""
        self._patience.cancel()

    # Requests -------------------------------------------------------------------------------------------------------

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, ``(len(texts), dim)`` float32; a batch that the server refuses as too large is halved.

        Raises
        ------
        ProviderError
            If the server fails for good. Where parts of the batch had been answered, ``partial`` of the error holds
            them, as positions and vectors, so that they can be stored.
        """
        sent = list(texts)
        if self._known:
            sent = [self._counter.cut(text, MAX_TOKENS) for text in texts]
        dim = self.dim
        out = np.empty((len(sent), dim), dtype=np.float32)
        done: list[int] = []
        parts = [range(len(sent))]
        try:
            while parts:
                part = parts.pop()
                try:
                    out[part.start : part.stop] = self._ask([sent[i] for i in part], dim)
                except TooLargeError as error:
                    if len(part) > 1:
                        parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                        continue
                    out[part.start] = self._shortened(sent[part.start], dim, error)
                done += part
        except ProviderError as error:
            if done:
                error.partial = (done, out[done])  # type: ignore[attr-defined]
            raise
        return out

    def _shortened(self, text: str, dim: int, refusal: Exception) -> NDArray[np.float32]:
        """The vector of as much of a text as the server takes."""
        kept = text
        for _ in range(_CUTS):
            kept = kept[: len(kept) * 3 // 4]
            if not kept.strip():
                break
            try:
                vector: NDArray[np.float32] = self._ask([kept], dim)[0]
            except TooLargeError:
                continue
            warnings.warn(
                f"embedder '{self.name}' refused a text of {len(text):,} characters as too long; its first "
                f"{len(kept):,} were embedded: '{text[:40]}...'",
                UserWarning,
                stacklevel=2,
            )
            return vector
        raise ProviderError(f"embedder '{self.name}': {refusal}")

    def _ask(self, texts: Sequence[str], dim: int | None = None) -> NDArray[np.float32]:
        """One request, tried until it succeeds or fails for good."""
        self._check_key()
        try:
            return self._patience.call(lambda: self._send(texts, dim), name=self.name)
        except ProviderError as error:
            if self._encoding == "float" or "encoding_format" not in str(error):
                raise
        # A few servers know plain numbers only.
        self._encoding = "float"
        return self._patience.call(lambda: self._send(texts, dim), name=self.name)

    def _send(self, texts: Sequence[str], dim: int | None) -> NDArray[np.float32]:
        answer = self._connection.embeddings(self.model, texts, self.dimensions, self._encoding)
        try:
            return vectors_of(answer, len(texts), dim, self.name)
        except ProviderError:
            if self._remembered:
                # The server may serve another model under the name than last time: ask it again in the next run.
                self._remember(None)
            raise

    def _check_key(self) -> None:
        if not self._connection.key and self.name.startswith("openai:") and self.leaves_machine:
            variable = "AZURE_OPENAI_API_KEY" if self._connection.azure else "OPENAI_API_KEY"
            raise InputError(f"embedder '{self.name}' needs a key: set {variable} in the environment, or pass api_key=")


def make(
    model: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    api_version: str | None = None,
    dimensions: int | None = None,
    dim: int | None = None,
    revision: str | None = None,
    batch_size: int | None = None,
    concurrency: int | None = None,
    timeout: float = 300.0,
    max_retries: int = 6,
    max_wait: float = 600.0,
) -> OpenAI:
    """Make the embedder of a model at OpenAI, at Azure or at a compatible server.

    Parameters
    ----------
    model
        Name of the model at OpenAI (at Azure: of the deployment), or ``URL#MODEL`` for another server.
    api_key
        The key. None reads ``OPENAI_API_KEY`` for ``openai:``, ``AZURE_OPENAI_API_KEY`` for Azure, and
        ``LEXICELL_API_KEY`` for other servers, which need none: a key for OpenAI is never sent to a server that was
        named by its address.
    base_url
        Another address for ``openai:MODEL``; None reads ``OPENAI_BASE_URL``, else OpenAI's own.
    api_version
        Azure's API version, e.g. ``"2024-10-21"``; `base_url` is then the resource's endpoint.
    dimensions
        Ask for shorter vectors. OpenAI's ``text-embedding-3`` models were trained for it (Matryoshka); other servers
        may ignore it, which is refused when the answer comes.
    dim
        Length of the vectors of a model unknown to lexicell; None asks the server once, with one word.
    revision
        A mark of your own for what the server runs, part of the store's key. Default: the server's name.
    batch_size
        At most so many texts per request: default 2,048 at OpenAI (within 300,000 tokens), 32 elsewhere.
    concurrency
        Requests at once: default 4 at OpenAI, 2 elsewhere.
    timeout
        Seconds for one request from first to last byte.
    max_retries
        Further tries of a request after 408, 409, 429, 5xx, a time-out or a broken connection.
    max_wait
        Seconds that one request may spend waiting between its tries; a server that asks for more is an error.

    Raises
    ------
    InputError
        If options contradict each other or cannot be used with the model.
    """
    if "#" in model or "://" in model:
        if base_url is not None or api_version is not None:
            raise InputError("'http:URL#MODEL' names the server; base_url= and api_version= go with 'openai:MODEL'")
        url, _, model = model.partition("#")
        url = check_url(url if "://" in url else f"http://{url}")
        if not model:
            raise InputError(
                f"'{url}' names no model; write it like 'http:URL#MODEL', e.g. 'http://localhost:8080/v1#all-MiniLM-L6-v2'"
            )
        name, own = f"{url}#{model}", False
        key = from_environment("LEXICELL_API_KEY")
    else:
        url = check_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
        name, own = f"openai:{model}", True
        key = from_environment("OPENAI_API_KEY" if api_version is None else "AZURE_OPENAI_API_KEY")
        if api_version is not None and base_url is None:
            raise InputError(
                "api_version= belongs to Azure, whose address is needed as well: base_url='https://RESOURCE.openai.azure.com'"
            )
        _check_dimensions(model, dimensions)
    _check_numbers(
        dimensions=dimensions,
        dim=dim,
        batch_size=batch_size,
        concurrency=concurrency,
        timeout=timeout,
        max_wait=max_wait,
    )
    if max_retries < 0:
        raise InputError(f"max_retries must not be negative, not {max_retries}")
    connection = Connection(url, Key(api_key) if api_key else key, api_version=api_version, timeout=timeout, own=own)
    return OpenAI(
        name,
        model,
        connection,
        revision=revision or urlsplit(url).netloc,
        dimensions=dimensions,
        dim=dim,
        batch_size=batch_size,
        concurrency=concurrency or (4 if own else 2),
        patience=Patience(max_retries=max_retries, max_wait=max_wait),
    )


def _check_dimensions(model: str, dimensions: int | None) -> None:
    known = MODELS.get(model)
    if dimensions is None or known is None:
        return
    if not known.shortens:
        raise InputError(
            f"'{model}' gives vectors of length {known.dim} only; dimensions= goes with text-embedding-3-small and "
            "text-embedding-3-large"
        )
    if not 1 <= dimensions <= known.dim:
        raise InputError(f"dimensions must lie between 1 and {known.dim} for '{model}', not {dimensions}")


def _check_numbers(**numbers: float | None) -> None:
    for what, value in numbers.items():
        if value is not None and not value > 0:
            raise InputError(f"{what} must be above zero, not {value}")


def infos() -> list[EmbedderInfo]:
    """Describe the embedders for :func:`lexicell.embedders.list`."""
    installed = importlib.util.find_spec("openai") is not None
    extra = "" if installed else "pip install 'lexicell[openai]'"
    key = "" if os.environ.get("OPENAI_API_KEY") else "OPENAI_API_KEY"
    needs = "; ".join(part for part in (extra, key) if part)
    rows = [
        EmbedderInfo(f"openai:{name}", model.dim, needs, not needs, "OpenAI's terms of use", leaves_machine=True)
        for name, model in MODELS.items()
    ]
    needs = "; ".join(part for part in (extra, "a server with OpenAI's protocol") if part)
    return [*rows, EmbedderInfo("http:URL#MODEL", 0, needs, installed, "the model's own", leaves_machine=True)]
