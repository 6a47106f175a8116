"""The command line: each command reads a file, makes one library call and writes a file.

Options have the names and defaults of the Python functions. A user's mistake is one line on stderr and exit code 2,
an interruption is exit code 130, and only a bug shows a traceback.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TextIO

import click

from .. import __version__
from .._errors import InputError, LexicellError
from . import _cells, _embed, _labels, _panel, _sets, _store, _tools, _trajectory, _vulnerability, _words
from ._options import say

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lexicell")
def cli() -> None:
    """Describe single cells by what is written about the genes they express."""


for _command in (
    _cells.demo,
    _cells.run,
    _cells.genes,
    _cells.coverage,
    _embed.embed,
    _embed.merge,
    _panel.panel,
    _tools.split_counts,
    _tools.cluster,
    _vulnerability.vulnerability,
    _vulnerability.classify_vulnerability,
    _vulnerability.predict_vulnerability,
    _trajectory.trajectory,
    _trajectory.fates,
    _trajectory.trends,
    _trajectory.movement,
    _trajectory.progression,
    _words.concepts,
    _words.explain,
    _words.perturb,
    _words.rank_perturbations,
    _words.programmes,
    _sets.gene_neighbors,
    _sets.concept_sets,
    _tools.evaluate,
    _labels.annotate,
    _labels.transfer,
    _tools.report,
    _store.embedders,
    _store.cache,
):
    cli.add_command(_command)


def _one_line(message: str) -> str:
    return " ".join(message.split())


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
        say(f"lexicell: warning: {_one_line(str(message))}")


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    warnings.showwarning = _warn
    try:
        cli.main(args=argv, prog_name="lexicell", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        say("lexicell: interrupted; what was finished is kept, the same command goes on from there")
        sys.exit(130)
    except click.ClickException as error:
        say(f"lexicell: error: {_one_line(error.format_message())}")
        sys.exit(2)
    except LexicellError as error:
        say(f"lexicell: error: {_one_line(str(error))}")
        sys.exit(2)
    except (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        say(f"lexicell: error: {_one_line(str(InputError(error)))}")
        sys.exit(2)
    except OSError as error:
        if error.errno != 28:  # ENOSPC
            raise
        say(f"lexicell: error: the disk is full ({error.filename or 'output'})")
        sys.exit(2)
