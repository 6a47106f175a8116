"""Progress with time left, on stderr, only where a person is watching; and what the steps of a run took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd

_WORTH_A_LINE = 2.0  # seconds


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


class Steps:
    """Wall and CPU seconds of the steps of a run, and the largest memory of the process up to the end of each.

    Parameters
    ----------
    say
        Gets a line for each step of more than two seconds, when it ends.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._rows = say, list[tuple[str, float, float, float]]()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is done within."""
        wall, cpu = time.perf_counter(), time.process_time()
        with _clock(name):
            yield
        seconds = time.perf_counter() - wall
        self._rows.append((name, seconds, time.process_time() - cpu, _peak_gb()))
        if seconds > _WORTH_A_LINE:
            self._say(f"step        {name}: {seconds:.0f} s")

    def table(self) -> pd.DataFrame:
        """One row per step: ``step``, ``seconds``, ``cpu_seconds``, ``peak_gb`` (NaN where the system does not say)."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=["step", "seconds", "cpu_seconds", "peak_gb"])

    def lines(self) -> list[str]:
        """The table for a person."""
        head = f"{'step':<34} {'seconds':>8} {'CPU s':>8} {'peak GB':>8}"
        return [head, *(f"{name:<34} {wall:8.1f} {cpu:8.1f} {peak:8.2f}" for name, wall, cpu, peak in self._rows)]


@contextmanager
def _clock(name: str) -> Iterator[None]:
    """Show a step and the time since it began, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        shown.add_task(name, total=None)
        yield


def _peak_gb() -> float:
    try:
        import resource
    except ImportError:
        # Windows.
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but on macOS bytes.
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
