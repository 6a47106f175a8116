"""Study files: all options of a run in a file that can be kept, edited and run again."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import click

from .._errors import InputError

__all__ = ["STUDY", "RunCommand", "study_text"]

STUDY = "study.toml"


class RunCommand(click.Command):
    """A command that takes a study file in place of its cells; options on the command line win."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put what a study file says before what the command line says."""
        files = [word for word in args if word.endswith(".toml") and not word.startswith("-")]
        if files:
            args = [*_words(Path(files[0]), self), *(word for word in args if word != files[0])]
        return super().parse_args(ctx, args)


def _words(file: Path, command: click.Command) -> list[str]:
    """The options of a study file as the command line writes them; paths are meant from the file's folder."""
    if not file.is_file():
        raise InputError(f"no file '{file}'")
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{file}' is no study file: {error}") from None
    if "cells" not in told:
        raise InputError(f"'{file}' does not say which cells; add a line: cells = \"cells.h5ad\"")
    kinds = {str(p.name): p for p in command.params}
    words = []
    for key, value in told.items():
        name = {"seed": "rng"}.get(key, key).replace("-", "_")
        if name in kinds and isinstance(kinds[name].type, click.Path):
            value = os.path.normpath(file.parent / str(value))
        if name == "cells":
            words.append(str(value))
            continue
        flag = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not False:
            for one in value if isinstance(value, list) else [value]:
                words += [flag, str(one)]
    return words


def study_text(command: click.Command, cells: Path, output: Path, given: dict[str, Any]) -> str:
    """A study file for the folder `output` that repeats this run: the options that differ from their defaults."""
    context = click.Context(command)
    lines = [
        "# Run again: lexicell run study.toml. Options as on the command line; paths from the folder of this file.",
        f"cells = {json.dumps(Path(os.path.relpath(cells, output)).as_posix(), ensure_ascii=False)}",
        'output = "."',
    ]
    for option in command.params:
        value = given.get(str(option.name))
        if option.name == "top_n" and value is None:
            value = "all"
        if not isinstance(option, click.Option) or option.name in ("output", "quiet") or value in (None, False):
            continue
        if value == option.get_default(context):
            continue
        flag = max(option.opts, key=len).removeprefix("--").replace("-", "_")
        lines.append(f"{flag} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
