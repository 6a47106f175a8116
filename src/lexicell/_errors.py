"""Every exception lexicell raises on purpose.

LexicellError
├── InputError (ValueError)               what was passed or read is wrong
├── MissingKeyError (KeyError)            a column, layer, slot or gene is not there
├── MissingDependencyError (ImportError)  an extra is not installed
└── ProviderError (RuntimeError)          a server or a download failed

The command line turns these into one line and exit code 2; anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class LexicellError(Exception):
    """Base of every error raised on purpose: its message says what is wrong and what to do next."""


class InputError(LexicellError, ValueError):
    """Something passed to lexicell, or read from a file, cannot be used."""


class MissingKeyError(LexicellError, KeyError):
    """A named column, layer, slot or gene does not exist."""

    # KeyError prints the repr of its argument, which would quote and escape the whole sentence.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependencyError(LexicellError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""


class ProviderError(LexicellError, RuntimeError):
    """A server, a download or another outside service failed for good (retries included)."""


def choices(options: Iterable[object], *, limit: int = 30) -> str:
    """Write the valid choices for an error message: sorted by the caller, quoted, cut after `limit`."""
    names = [f"'{option}'" for option in options]
    if not names:
        return "none"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def check_choice(value: str, options: Iterable[str], what: str) -> str:
    """Return `value` if it is one of `options`; otherwise raise an `InputError` that lists them and the nearest."""
    options = list(options)
    if value in options:
        return value
    near = difflib.get_close_matches(str(value), options, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(f"unknown {what} '{value}'; choose one of {choices(options)}.{hint}")


def check_key(value: str, options: Iterable[object], what: str) -> str:
    """Return `value` if it is one of the keys that exist; otherwise raise a `MissingKeyError` that lists them."""
    # Since anndata 0.13, layers list X itself under the key None.
    names = [str(option) for option in options if option is not None]
    if value in names:
        return value
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise MissingKeyError(f"no {what} '{value}'; there is {choices(names)}.{hint}")


def check_repeats(value: int, name: str, *, most: int = 10_000) -> None:
    """Refuse more repeats, draws or controls than can be meant: a slip of the hand would compute for days."""
    if value > most:
        raise InputError(f"{name} may be at most {most:,}; got {value:,}")


def check_key_added(key: str) -> None:
    """Refuse a key that cannot be written into an AnnData."""
    if not isinstance(key, str) or not key or "/" in key:
        raise InputError(f"key_added must be a name without '/', got {key!r}")


def check_column(table: pd.DataFrame, name: str, what: str = "column in obs") -> None:
    """Raise a `MissingKeyError` that lists the columns of `table` (``adata.obs``) unless `name` is one of them."""
    check_key(name, table.columns, what)
