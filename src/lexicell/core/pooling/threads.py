"""Work in threads, with results in order and a bounded number of items in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ..._errors import InputError

__all__ = ["at_least_one", "in_threads", "n_threads"]

T = TypeVar("T")


def in_threads(
    work: Callable[..., T], items: Iterable[tuple[Any, ...]], n_jobs: int, *, ahead: int | None = None
) -> Iterator[T]:
    """Give ``work(*item)`` of every item, in their order; `items` are made in the calling thread.

    Parameters
    ----------
    work
        Called from `n_jobs` threads; its errors surface in the order of the items.
    items
        Arguments.
    n_jobs
        Number of threads.
    ahead
        Items given out beyond the one waited for; default: `n_jobs`.
    """
    ahead = n_jobs if ahead is None else ahead
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(n_jobs) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(work, *item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            # Items may be made by threads of their own, which must not outlive an error here.
            if isinstance(items, Generator):
                items.close()


def n_threads(n_jobs: int | None = None) -> int:
    """`n_jobs`, or one for each processor this process may use, at most ``NUMBA_NUM_THREADS`` if that is set."""
    if n_jobs is not None:
        return at_least_one(n_jobs, "n_jobs")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("NUMBA_NUM_THREADS", "")
    return min(processors, max(1, int(limit))) if limit.isdigit() else processors


def at_least_one(value: int, name: str) -> int:
    """`value`, if it is a whole number of at least 1; else an InputError."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)
