"""The one place where a request to a provider is tried again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from .._errors import ProviderError

__all__ = ["Patience", "TooLargeError", "TransientError"]

T = TypeVar("T")

FIRST_WAIT = 0.5  # seconds; doubles with each try
LONGEST_WAIT = 60.0
CONNECT_TRIES = 3  # a wrong address should not take a minute to be told


class TransientError(Exception):
    """A request failed in a way that another try may mend. Never leaves this folder.

    Parameters
    ----------
    message
        What happened, free of keys.
    wait
        Seconds the server asked to wait, if it did.
    tries
        At most so many tries for this kind of failure.
    """

    def __init__(self, message: str, *, wait: float | None = None, tries: int | None = None) -> None:
        super().__init__(message)
        self.wait = wait
        self.tries = tries


class TooLargeError(Exception):
    """The server refused a request because it is too large. Never leaves this folder."""


class Patience:
    """Tries again with growing waits, as long as the server asks for, up to a bound; may be cancelled.

    The waits of all threads are joined: when one call is told to slow down, the others wait as well.

    Parameters
    ----------
    max_retries
        Further tries after the first.
    max_wait
        Seconds that one call may spend waiting, all its tries together.
    """

    def __init__(self, *, max_retries: int, max_wait: float) -> None:
        self.max_retries = max_retries
        self.max_wait = max_wait
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._calls: set[threading.Event] = set()

    def cancel(self) -> None:
        """Let the calls in flight end at their next failure or wait."""
        with self._lock:
            for cancelled in self._calls:
                cancelled.set()

    def call(self, attempt: Callable[[], T], *, name: str) -> T:
        """Return what `attempt` returns; a `TransientError` of it leads to another try.

        Raises
        ------
        ProviderError
            If tries or time are used up, or the call was cancelled.
        """
        cancelled = threading.Event()
        with self._lock:
            self._calls.add(cancelled)
        try:
            return self._call(attempt, name, cancelled)
        finally:
            with self._lock:
                self._calls.discard(cancelled)

    def _call(self, attempt: Callable[[], T], name: str, cancelled: threading.Event) -> T:
        spent, tries = 0.0, 0
        while True:
            spent += self._hold(cancelled, self.max_wait - spent)
            if cancelled.is_set():
                raise ProviderError(f"embedder '{name}': stopped before the request was sent")
            try:
                return attempt()
            except TransientError as error:
                failure = error
            tries += 1
            failed = f"embedder '{name}' failed after {_tries(tries)}: {failure}"
            if cancelled.is_set():
                raise ProviderError(f"embedder '{name}': stopped; the last try failed: {failure}")
            allowed = self.max_retries + 1
            if failure.tries is not None:
                allowed = min(allowed, failure.tries)
            if tries >= allowed:
                raise ProviderError(f"{failed}. Run again to go on: what was answered is stored")
            # Without an order of the server's, waits differ from thread to thread so that they do not all come at once.
            wait = failure.wait
            if wait is None:
                wait = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.75, 1.0)
            if spent + wait > self.max_wait:
                raise ProviderError(
                    f"{failed}. The next try would be in {wait:.0f} s, more than max_wait={self.max_wait:.0f} s "
                    "allows; run again later: what was answered is stored"
                )
            if failure.wait is None:
                spent += self._wait(cancelled, wait)
            else:
                with self._lock:
                    self._not_before = max(self._not_before, time.monotonic() + wait)
            if cancelled.is_set():
                raise ProviderError(f"embedder '{name}': stopped while waiting to try again after: {failure}")

    def _hold(self, cancelled: threading.Event, at_most: float) -> float:
        with self._lock:
            wait = self._not_before - time.monotonic()
        return self._wait(cancelled, min(wait, at_most)) if wait > 0 else 0.0

    def _wait(self, cancelled: threading.Event, seconds: float) -> float:
        start = time.monotonic()
        cancelled.wait(max(seconds, 0.0))
        return time.monotonic() - start


def _tries(n: int) -> str:
    return "one try" if n == 1 else f"{n} tries"
