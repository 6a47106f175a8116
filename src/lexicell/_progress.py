"""Progress with time left, on stderr, only where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Call with the number of units just finished."""

    def __call__(self, amount: int = 1, /) -> None: ...


def _silent(amount: int = 1, /) -> None:
    pass


@contextmanager
def progress(what: str, total: int, *, show: bool | None = None) -> Iterator[Advance]:
    """Show a bar for `total` units of work; yields the function that advances it.

    `show` None means: where stderr is a terminal. Nothing is drawn for work of a single unit.
    """
    if show is None:
        show = sys.stderr.isatty()
    if not show or total <= 1:
        yield _silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(amount: int = 1, /) -> None:
            bar.advance(task, amount)

        yield advance
