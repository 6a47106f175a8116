"""The one loop in which a request to a provider is tried again.

The official client can try again too, and is told not to: its loop cannot be interrupted, ignores waits of more than a
minute, knows nothing of what the server told another thread, and does not cover a body that breaks off.
"""

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

    `wait` is how many seconds the server asked to wait, if it did; `tries` the most tries for this kind of failure.
    """

    def __init__(self, message: str, *, wait: float | None = None, tries: int | None = None) -> None:
        super().__init__(message)
        self.wait = wait
        self.tries = tries


class TooLargeError(Exception):
    """The server refused a request because it is too large. Never leaves this folder."""


class Patience:
    """Tries again with growing waits, as long as the server asks for, up to a bound; may be canceled.

    When one thread is told to slow down, the others wait as well.

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
            for canceled in self._calls:
                canceled.set()

    def call(self, attempt: Callable[[], T], *, name: str) -> T:
        """Return what `attempt` returns; a `TransientError` of it leads to another try.

        Raises
        ------
        ProviderError
            If tries or time are used up, or the call was canceled.
        """
        canceled = threading.Event()
        with self._lock:
            self._calls.add(canceled)
        try:
            return self._call(attempt, f"embedder '{name}'", canceled)
        finally:
            with self._lock:
                self._calls.discard(canceled)

    def _call(self, attempt: Callable[[], T], who: str, canceled: threading.Event) -> T:
        spent = 0.0
        tries = 0
        while True:
            told = min(self._not_before - time.monotonic(), self.max_wait - spent)
            if told > 0:
                spent += self._wait(canceled, told)
            if canceled.is_set():
                raise ProviderError(f"{who}: stopped before the request was sent")
            try:
                return attempt()
            except TransientError as error:
                failure = error
            tries += 1
            if canceled.is_set():
                raise ProviderError(f"{who}: stopped; the last try failed: {failure}")
            failed = f"{who} failed after {'one try' if tries == 1 else f'{tries} tries'}: {failure}"
            allowed = self.max_retries + 1
            if failure.tries is not None:
                allowed = min(allowed, failure.tries)
            if tries >= allowed:
                raise ProviderError(f"{failed}. Run again to go on: what was answered is stored")
            wait = failure.wait
            if wait is None:
                # Waits differ from thread to thread, so that they do not all come at once.
                wait = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.75, 1.0)
            if spent + wait > self.max_wait:
                raise ProviderError(
                    f"{failed}. The next try would be in {wait:.0f} s, more than max_wait={self.max_wait:.0f} s "
                    "allows; run again later: what was answered is stored"
                )
            if failure.wait is None:
                spent += self._wait(canceled, wait)
            else:
                # Every thread waits for this at the top of its loop.
                with self._lock:
                    self._not_before = max(self._not_before, time.monotonic() + wait)
            if canceled.is_set():
                raise ProviderError(f"{who}: stopped while waiting to try again after: {failure}")

    def _wait(self, canceled: threading.Event, seconds: float) -> float:
        start = time.monotonic()
        canceled.wait(seconds)
        return time.monotonic() - start
