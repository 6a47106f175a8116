"""What the command line says of an error: one line, or the traceback of a bug."""

from __future__ import annotations

import binascii
import csv
import errno
import json
import re
import sqlite3
import struct
import traceback
import zipfile
import zlib
from pathlib import Path

import click

from .._errors import LexicellError
from ._help import example_of

__all__ = ["explain", "in_flags", "one_line"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = ("no space left on device", "disk quota exceeded", "file too large")
# What the readers of the standard library, pandas and HDF5 raise on a file that is damaged or of another kind.
_DAMAGED = (
    json.JSONDecodeError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    binascii.Error,
    sqlite3.Error,
    EOFError,
    UnicodeError,
)
# Libraries that read files: an error raised inside them speaks of a file, whatever its type.
_READERS = (
    "/anndata/_io/",
    "/anndata/io",
    "/h5py/",
    "h5py/",  # frames of compiled code are named without a folder
    "/zarr/",
    "/numcodecs/",
    "/scanpy/readwrite.py",
    "/pandas/io/",
    "pandas/_libs/parsers",
    "/numpy/lib/_npyio_impl.py",
    "/numpy/lib/_format_impl.py",
    "/numpy/lib/format.py",
    "/json/",
    "/csv.py",
    "/zipfile",
    "/gzip.py",
    "/pyarrow/",
    "/safetensors/",
)


def one_line(message: object) -> str:
    """`message` without line breaks and without what a terminal would obey or cannot show."""
    text = str(message).encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))


def in_flags(message: str, group: click.Group) -> str:
    """Write arguments and functions of Python, as messages of the package name them, as options and commands.

    ``use_raw=True`` becomes ``--use-raw``, and ``lexicell.emb.cells`` becomes 'lexicell embed'.

    Parameters
    ----------
    message
        Of an error or a warning.
    group
        All commands.
    """
    flags = _flags(group)

    def option(found: re.Match[str]) -> str:
        if found["name"] not in flags:
            return found[0]
        on, off = flags[found["name"]]
        value = (found["value"] or "").strip("'")
        if value == "False" and off:
            return off
        return on if value in ("", "True") else f"{on} {value}"

    def command(found: re.Match[str]) -> str:
        name = {"cells": "embed"}.get(found["name"], found["name"]).replace("_", "-")
        return f"'lexicell {name}'" if name in group.commands else found[0]

    message = re.sub(r"\b(?:lexicell|lx)\.(?:emb\.|tl\.|)(?P<name>[a-z_]+)\b(?:\([^()]*\))?", command, message)
    return re.sub(
        r"(?<![\w.\[(-])(?P<name>[a-z_]+)=(?P<value>'[^']*'|True|False|\d+(?:\.\d+)?)?(?![=\w])", option, message
    )


def _flags(group: click.Group) -> dict[str, tuple[str, str]]:
    """Parameter -> the options that set it and unset it, of all commands."""
    found: dict[str, tuple[str, str]] = {}
    for command in group.commands.values():
        if isinstance(command, click.Group):
            found.update(_flags(command))
            continue
        for option in command.params:
            if isinstance(option, click.Option) and option.name:
                on, off = max(option.opts, key=len), max(option.secondary_opts, key=len, default="")
                if isinstance(option.type, click.Choice) and {"yes", "no"} <= set(option.type.choices):
                    on, off = f"{on} yes", f"{on} no"
                found.setdefault(option.name.removesuffix("_file"), (on, off))
    return found


def explain(error: BaseException, group: click.Group) -> str | None:
    """Say in one line what is wrong and what to do next; None for what only a bug raises.

    Parameters
    ----------
    error
        What a command raised.
    group
        All commands.
    """
    if isinstance(error, click.ClickException):
        example = ""
        if isinstance(error, click.MissingParameter) and error.ctx is not None:
            example = example_of(str(error.ctx.info_name))
        return one_line(error.format_message() + (f" For example: {example}" if example else ""))
    if isinstance(error, LexicellError):
        return in_flags(one_line(error), group)
    if _is_full(error):
        name = getattr(error, "filename", None)
        return one_line(f"the disk is full ({name or 'while the output was written'}); free some space and try again")
    if isinstance(error, MemoryError):
        return one_line(
            f"not enough memory{_told(error)}; take fewer cells, a machine with more memory, or, to embed or score "
            "phrases, --stream"
        )
    if isinstance(error, RecursionError) and _in_a_reader(error):
        return "a file is nested too deeply to be read; it is damaged, or of another kind"
    if isinstance(error, OSError):
        return _explain_os(error)
    if isinstance(error, _DAMAGED) or _in_a_reader(error):
        return one_line(
            f"a file cannot be read or written{_told(error)}; it is damaged or of another kind: make it again"
        )
    return None


def _explain_os(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        return "too many files are open; raise the limit (ulimit -n 4096) and try again"
    if error.strerror and error.filename is not None:
        return one_line(f"'{error.filename}': {error.strerror}; check the path and your permissions")
    return one_line(f"a file cannot be read or written{_told(error)}; check that it is whole, and your permissions")


def _told(error: BaseException) -> str:
    """What an error says, to be put behind a statement; nothing where it says nothing."""
    lines = str(error).strip().splitlines()
    return f" ({lines[0][:300]})" if lines else ""


def _is_full(error: BaseException) -> bool:
    # HDF5 tells of a full disk within the text of an error of any type.
    told = str(error).lower()
    return getattr(error, "errno", None) in _FULL or any(words in told for words in _FULL_WORDS)


def _in_a_reader(error: BaseException) -> bool:
    """Whether the innermost frame but those of this package lies in a library that reads files."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = [Path(frame.filename).as_posix() for frame in frames[-3:]]
    return any(part in name for name in inner for part in _READERS)
