"""Requests through OpenAI's official client: keys, addresses, time limits, and what each failure means.

The key is kept in one object that prints nothing. Errors are made from the status and the words of an answer and
raised outside the handler, so that neither their text nor the chain behind them holds a request, which carries the key.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import re
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from .._download import asked_wait
from .._errors import InputError, MissingDependencyError, ProviderError
from ._retry import CONNECT_TRIES, TooLargeError, TransientError

__all__ = ["Connection", "Key", "check_url", "is_loopback", "require_openai"]

OPENAI_URL = "https://api.openai.com/v1"
_SIZE_WORDS = re.compile(r"token|too (large|long|many)|maximum|max_|exceed|length|batch size|at most|less than", re.I)
_SHOWN = 300  # characters of a server's own words in our errors


class Key:
    """An API key that does not print, log, compare or pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        # A copied key often brings a line break along, which no header may hold.
        self._value = value.strip()

    @property
    def value(self) -> str:
        """The key itself, for the client and for nothing else."""
        return self._value

    def hide(self, text: str) -> str:
        """`text` without the key."""
        return text.replace(self._value, "[key]") if self._value else text

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Key([hidden])" if self._value else "Key(none)"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not pickled; make the embedder again where it is needed")


def require_openai() -> None:
    """Raise a `MissingDependencyError` where the official client is not installed."""
    if importlib.util.find_spec("openai") is None:
        raise MissingDependencyError(
            "OpenAI and compatible servers need the official client: pip install 'lexicell[openai]'"
        )


def check_url(url: str) -> str:
    """The address of a server without a closing slash.

    Raises
    ------
    InputError
        If it is no http address, or holds a password, a query or a fragment: an address becomes part of the embedder's
        name and so of the store and of provenance, where no secret may be.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("the address of a server looks like 'http://HOST:PORT/v1' or 'https://HOST/v1'")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"the address of the server {parts.hostname} holds a password or a query; pass the key with api_key= or in "
            "the environment, and Azure's version with api_version="
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Connection:
    """One server: sends a request and returns the body of the answer.

    Parameters
    ----------
    url
        Address with ``/v1`` where the server has it.
    key
        API key; may be empty, and then no ``Authorization`` is sent.
    api_version
        Azure's version; with it the address is an Azure resource.
    timeout
        Seconds for a whole request, from sending to the last byte.
    own
        Whether the server is the one the user's OpenAI settings (organization, project) are meant for.
    """

    def __init__(self, url: str, key: Key, *, api_version: str | None, timeout: float, own: bool) -> None:
        self.url, self.key, self.timeout = url, key, timeout
        self._api_version = api_version
        self._own = own
        self._client: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Connection({self.url!r})"

    @property
    def azure(self) -> bool:
        """Whether this is an Azure resource."""
        return self._api_version is not None

    def client(self) -> Any:
        """The official client, made when first needed."""
        with self._lock:
            if self._client is None:
                require_openai()
                self._client = self._make()
            return self._client

    def _make(self) -> Any:
        import openai

        if self.key and self.url.startswith("http://") and not is_loopback(self.url):
            warnings.warn(
                f"the key travels to {self.url} unencrypted; use https if the server has it", UserWarning, stacklevel=2
            )
        # No redirects: texts and key go to the machine that was named and no other. A proxy from the environment
        # must not see what is sent to this very machine.
        http = openai.DefaultHttpxClient(
            follow_redirects=False, trust_env=not is_loopback(self.url), timeout=self._limits()
        )
        weakref.finalize(self, http.close)
        # _retry.py alone retries: they must be bounded together, and end when the run is interrupted.
        shared = {"api_key": self.key.value or "none", "max_retries": 0, "http_client": http}
        if self._api_version is not None:
            return openai.AzureOpenAI(azure_endpoint=self.url, api_version=self._api_version, **shared)
        client = openai.OpenAI(base_url=self.url, **shared)
        if not self._own:
            # The client reads these from the environment; they are no business of another server.
            client.organization = client.project = None
        return client

    def _limits(self) -> Any:
        import openai

        return openai.Timeout(self.timeout, connect=min(self.timeout, 15.0))

    def embeddings(self, model: str, texts: Sequence[str], dimensions: int | None, encoding: str) -> Any:
        """One request for vectors; returns the parsed JSON of the answer.

        Raises
        ------
        TransientError
            If another try may succeed.
        TooLargeError
            If fewer or shorter texts may succeed.
        ProviderError
            If the server refuses for good.
        """
        body: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": encoding}
        if dimensions is not None:
            body["dimensions"] = dimensions
        if not self.key:
            from openai._types import Omit

            body["extra_headers"] = {"Authorization": Omit()}
        create = self.client().embeddings.with_streaming_response.create
        raw = self.guard(lambda: self._read(create, body))
        try:
            return json.loads(raw)
        except ValueError:
            raise TransientError(f"the server's answer is broken off or no JSON: {self._words(raw)}") from None

    def _read(self, create: Callable[..., Any], body: dict[str, Any]) -> bytes:
        """The body of the answer, within the time limit: the client's own limit starts again with every byte."""
        deadline = time.monotonic() + self.timeout
        chunks = []
        with create(**body) as response:
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise TransientError(f"the answer was not complete after {self.timeout:g} s (timeout=)")
        return b"".join(chunks)

    def guard(self, action: Callable[[], Any]) -> Any:
        """Run a call of the client; its errors become ours, without the request they carry."""
        import openai

        try:
            return action()
        except TransientError:
            raise
        except openai.APIStatusError as error:
            fault = self._refusal(error)
        except openai.APITimeoutError:
            fault = TransientError(f"no answer within {self.timeout:g} s (timeout=)")
        except openai.APIConnectionError as error:
            cause = _root(error)
            refused = "Connect" in type(cause).__name__ or isinstance(cause, OSError)
            said = f"no connection to {self.url}: {self._words(str(cause))}"
            fault = TransientError(said, tries=CONNECT_TRIES if refused else None)
        except openai.OpenAIError as error:
            fault = ProviderError(f"{self.url}: {self._words(str(error))}")
        except Exception as error:
            # What breaks while the body is read comes from the layer below the client.
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
                raise
            fault = TransientError(f"the connection broke within the answer: {self._words(str(error))}")
        raise fault

    def _refusal(self, error: Any) -> Exception:
        """What a status other than 200 means."""
        status = int(error.status_code)
        words, code = self._explanation(error)
        said = f"{self.url} answered {status}: {words}"
        if status == 429 and code == "insufficient_quota":
            return ProviderError(f"{said}. The account has no credit left; nothing was charged for this request")
        if status in (408, 409, 429) or status >= 500:
            return TransientError(said, wait=asked_wait(error.response.headers, time.time()))
        if status in (401, 403):
            known = "the key was refused" if self.key else "a key is needed"
            return ProviderError(f"{said}. Check the key: {known}")
        if status == 404:
            return ProviderError(f"{said}. Check the model's name and the address (most servers want '/v1' at its end)")
        if 300 <= status < 400:
            return ProviderError(
                f"{said}. The server points elsewhere; name the final address, redirects are not followed"
            )
        about_size = _SIZE_WORDS.search(f"{words} {code}") and "dimension" not in words.lower()
        if status == 413 or (status in (400, 422) and about_size):
            return TooLargeError(said)
        return ProviderError(said)

    def _explanation(self, error: Any) -> tuple[str, str]:
        body = error.body
        if not isinstance(body, dict):
            return self._words(body or ""), ""
        inner = body.get("error", body)
        if not isinstance(inner, dict):
            inner = {"message": inner}
        message = inner.get("message") or inner.get("detail") or body.get("detail") or inner
        return self._words(message), str(inner.get("code") or inner.get("type") or "")

    def _words(self, said: object) -> str:
        """A server's own words: the key taken out, on one line, cut."""
        if isinstance(said, bytes):
            said = said.decode(errors="replace")
        text = " ".join(self.key.hide(str(said)).split())
        if len(text) > _SHOWN:
            text = f"{text[:_SHOWN]}..."
        return text


def from_environment(name: str) -> Key:
    """The value of a variable as a key; an empty key where it is not set."""
    return Key(os.environ.get(name, ""))


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
