"""Polite HTTP: what is worth trying again, how long to wait, and addresses that are safe to print."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .._errors import InputError, ProviderError

if TYPE_CHECKING:
    import httpx

__all__ = ["Waits", "agent", "ask", "check_status", "give_up", "shown", "worth_retrying"]

# Too early, too many requests, and servers that are overloaded or restarting.
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_SECRET = frozenset({"api_key", "api-key", "apikey", "key", "token", "access_token"})
_HINTS = {
    401: "the server asks for a login: check the base URL and the key",
    403: "the server refuses: check the base URL, or whether a proxy stands in between",
    404: "the server has no such file: check the base URL",
    414: "the request was too long: ask for fewer genes at once",
}


class Waits:
    """How long to wait before the next try: doubling, but never less than the server asks for.

    Parameters
    ----------
    tries
        How often a request is repeated without any progress before it is given up.
    first, longest
        Seconds before the first repetition, and the most it grows to.
    patience
        The longest wait a server may ask for by ``Retry-After``; beyond it the request is given up at once.
    sleep, now
        Replaced in tests; `now` is Unix time.
    """

    def __init__(
        self,
        *,
        tries: int = 6,
        first: float = 1.0,
        longest: float = 60.0,
        patience: float = 300.0,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tries, self.first, self.longest, self.patience = tries, first, longest, patience
        self.sleep, self.now = sleep, now

    def seconds(self, failures: int, retry_after: str | None = None) -> float:
        """Seconds to wait after the n-th failure in a row (n from 1)."""
        grown: float = min(self.first * 2.0 ** (failures - 1), self.longest)
        return max(grown, self._asked(retry_after))

    def _asked(self, header: str | None) -> float:
        """Seconds in a ``Retry-After`` header, which holds either a number or a date."""
        if not header:
            return 0.0
        try:
            return max(0.0, float(header))
        except ValueError:
            pass
        try:
            return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - self.now())
        except (TypeError, ValueError):
            return 0.0

    def wait(self, failures: int, url: str, reason: str, retry_after: str | None = None) -> None:
        """Sleep before the next try, or raise a `ProviderError` when enough is enough."""
        if failures > self.tries:
            raise give_up(url, f"{reason}, {failures} times in a row")
        seconds = self.seconds(failures, retry_after)
        if seconds > self.patience:
            raise give_up(url, f"{reason}, and the server asks to wait {seconds / 60:.0f} minutes")
        self.sleep(seconds)


def agent() -> str:
    """Who we say we are; servers ask for it, so that they can reach whoever overburdens them."""
    return f"lexicell/{metadata.version('lexicell')} (https://lexicell.readthedocs.io)"


def shown(url: str) -> str:
    """The address without login and without keys, fit for a message."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = [(name, "..." if name.lower() in _SECRET else value) for name, value in parse_qsl(parts.query)]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query, safe=".,:/[]()"), ""))


def give_up(url: str, reason: str) -> ProviderError:
    """The error of a request that failed for good."""
    return ProviderError(f"{shown(url)}: {reason}. Check the connection and try again later; what has arrived is kept")


def worth_retrying(status: int) -> bool:
    """Whether another try may end better."""
    return status in _RETRIED


def check_status(url: str, status: int) -> None:
    """Raise a `ProviderError` for an answer that no repetition will improve."""
    if status >= 400:
        hint = _HINTS.get(status, "the request cannot be answered")
        raise ProviderError(f"{shown(url)}: HTTP status {status}; {hint}")


def failure(url: str, error: Exception) -> str:
    """Name an httpx error in words that hold no key; raise an `InputError` where the address itself is wrong."""
    import httpx

    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        raise InputError(
            f"{shown(url)} is not an address that can be fetched; give one that starts with https://"
        ) from None
    if isinstance(error, httpx.TimeoutException):
        return "the server stopped answering"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the connection broke"
    # The text of an httpx error may quote the whole address, key included: its kind must do.
    return f"no connection ({type(error).__name__})"


def ask(
    client: httpx.Client,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
    waits: Waits,
    before: Callable[[], object] = lambda: None,
) -> httpx.Response:
    """GET a small answer, or POST a form for it, with repetitions.

    `before` is called ahead of each try (a rate limit, say). What is secret belongs in the form or in a header of the
    client: httpx writes every address it asks to its log.

    Raises
    ------
    ProviderError
        If the server refuses, or keeps failing.
    """
    import httpx

    failures = 0
    while True:
        before()
        retry_after = None
        try:
            answer = client.request("GET" if form is None else "POST", url, params=params, data=form)
            if not worth_retrying(answer.status_code):
                check_status(url, answer.status_code)
                return answer
            reason, retry_after = f"HTTP status {answer.status_code}", answer.headers.get("retry-after")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = failure(url, error)
        failures += 1
        waits.wait(failures, url, reason, retry_after)
