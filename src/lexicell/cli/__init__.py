"""The command line: each command reads a file, makes one library call and writes a file.

Options have the names and defaults of the Python functions. A user's mistake is one line on stderr and exit code 2,
an interruption is exit code 130, a termination 143, and only a bug shows a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

import click

from .. import __version__
from . import _cells, _embed, _inspect, _labels, _store, _tools, _trajectory, _view, _vulnerability, _words
from ._help import Commands
from ._options import check_paths, say
from ._problems import explain, in_flags, one_line

__all__ = ["cli", "main"]

# Raised since click 8.2 where a command or group is called without arguments; its message is the whole help page.
_HELP: type[click.UsageError] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lexicell")
def cli() -> None:
    """Describe single cells by what is written about the genes they express.

    'lexicell demo' shows what it does; 'lexicell inspect FILE' says what can be done with your cells.
    """


for _command in (
    _cells.demo,
    _cells.run,
    _inspect.inspect,
    _inspect.doctor,
    _cells.genes,
    _cells.coverage,
    _embed.embed,
    _tools.cluster,
    _vulnerability.vulnerability,
    _vulnerability.classify_vulnerability,
    _trajectory.trajectory,
    _trajectory.trends,
    _trajectory.progression,
    _words.concepts,
    _words.explain,
    _words.perturb,
    _words.programs,
    _tools.evaluate,
    _labels.annotate,
    _labels.transfer,
    _tools.report,
    _view.view,
    _store.embedders,
    _store.cache,
):
    cli.add_command(check_paths(_command))


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    # Warnings of other libraries speak of code, not of the user's data.
    if issubclass(category, UserWarning) and Path(filename).is_relative_to(Path(__file__).parents[1]):
        click.echo(f"lexicell: warning: {in_flags(one_line(message), cli)}", err=True)


class _Terminated(SystemExit):
    """The process was asked to end; raised in the main thread, so that files written aside are removed."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated(128 + number)


@contextlib.contextmanager
def _ending_orderly() -> Iterator[None]:
    """Turn SIGTERM, with which schedulers and ``kill`` end a process, into an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_KEPT = (
    "each output is whole, the old one or the new one, and vectors already computed are kept; with --stream the same "
    "command goes on where it was"
)


def _run(argv: list[str] | None) -> None:
    try:
        cli.main(args=argv, prog_name="lexicell", standalone_mode=False)
    except click.exceptions.Abort as abort:
        # click takes every EOFError for Ctrl-D; one from a file that ends too early is none.
        if isinstance(abort.__cause__, EOFError):
            raise abort.__cause__ from None
        raise


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script.

    Exit codes: 0 done, 2 a mistake in one line, 130 interrupted (Ctrl-C), 143 terminated; a bug is 1 and a traceback.
    With the environment variable ``LEXICELL_TRACEBACK`` set, every mistake shows its traceback too.
    """
    warnings.showwarning = _warn
    try:
        with _ending_orderly():
            _run(argv)
    except (click.exceptions.Abort, KeyboardInterrupt):
        say(f"lexicell: interrupted; {_KEPT}")
        sys.exit(130)
    except _Terminated as end:
        say(f"lexicell: terminated; {_KEPT}")
        sys.exit(end.code)
    except _HELP as error:
        error.show()
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output, such as head, has seen enough; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        told = explain(error, cli)
        if told is None:
            raise
        if os.environ.get("LEXICELL_TRACEBACK"):
            traceback.print_exception(error)
        say(f"lexicell: error: {told}")
        sys.exit(2)
