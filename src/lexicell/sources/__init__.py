"""Where gene texts come from: what ships with the package, NCBI Gene, UniProt, or a table of your own.

Names resolve through :func:`get`; each source is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import InputError, check_choice

if TYPE_CHECKING:
    from ._base import GeneSource

__all__ = ["get", "names"]

# Name -> module and class; what stands after the colon of "table:PATH" is the first argument.
_SOURCES = {
    "bundled": ("bundled", "BundledSource"),
    "bundled-names": ("bundled", "BundledSource"),
    "ncbi": ("ncbi", "NcbiSource"),
    "uniprot": ("uniprot", "UniprotSource"),
    "table": ("table", "TableSource"),
}


def get(name: str, **options: Any) -> GeneSource:
    """Return a source of gene texts.

    Parameters
    ----------
    name
        ``"bundled"`` (symbol, full name, GO terms; ships with the package), ``"bundled-names"`` (symbol and full name
        only), ``"ncbi"``, ``"uniprot"``, or ``"table:PATH"`` for a file of your own.
    **options
        Options of the source, as its class documents them.

    Raises
    ------
    InputError
        If there is no such source, it takes no such option, or ``table:`` names no file.

    Examples
    --------
    >>> from lexicell import sources
    >>> sources.get("bundled").name
    'bundled'
    """
    kind, colon, rest = name.partition(":")
    check_choice(kind, _SOURCES, "source")
    module, class_name = _SOURCES[kind]
    arguments: tuple[Any, ...] = (kind,) if module == "bundled" else ()
    if kind == "table":
        if not rest:
            raise InputError("the source 'table' needs a file: 'table:PATH'")
        arguments = (Path(rest),)
    elif colon:
        raise InputError(f"the source '{kind}' takes nothing after a colon; write '{kind}'")
    source = getattr(importlib.import_module(f".{module}", __name__), class_name)
    try:
        made: GeneSource = source(*arguments, **options)
    except TypeError as error:
        # Only the call itself, not an error from within it, means that an option is unknown.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise InputError(f"the source '{kind}' does not take these options: {error}") from error
        raise
    return made


def names() -> list[str]:
    """Names that :func:`get` knows, as they are to be written."""
    return ["table:PATH" if name == "table" else name for name in _SOURCES]
