"""Where gene texts come from: what ships with the package, NCBI Gene, UniProt, or a table of your own.

Names resolve through :func:`get`; each source is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import InputError, check_choice

if TYPE_CHECKING:
    from ._base import GeneSource

__all__ = ["get", "names"]

# Name -> module and class; what stands after the colon of "table:PATH" and "frozen:DIR" is the first argument.
_SOURCES = {
    "bundled": ("bundled", "BundledSource"),
    "bundled-names": ("bundled", "BundledSource"),
    "ncbi": ("ncbi", "NcbiSource"),
    "uniprot": ("uniprot", "UniprotSource"),
    "table": ("table", "TableSource"),
    "frozen": ("ncbi", "NcbiSource.from_frozen"),
}
# What these take after the colon.
_PLACES = {"table": "table:PATH", "frozen": "frozen:DIR"}


def get(name: str, **options: Any) -> GeneSource:
    """Return a source of gene texts.

    Parameters
    ----------
    name
        ``"bundled"`` (symbol, full name, GO terms; ships with the package), ``"bundled-names"`` (symbol and full name
        only), ``"ncbi"``, ``"uniprot"``, ``"table:PATH"`` for a file of your own, or ``"frozen:DIR"`` for a folder
        written by ``freeze``.
    **options
        Options of the source, as its class documents them.

    Returns
    -------
    The source, to be given to :func:`lexicell.emb.genes`.

    Raises
    ------
    InputError
        If there is no such source, it takes no such option, or ``table:`` or ``frozen:`` names no place.

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
    if kind in _PLACES:
        if not rest:
            raise InputError(f"the source '{kind}' needs a place: '{_PLACES[kind]}'")
        arguments = (Path(rest),)
    elif colon:
        raise InputError(f"the source '{kind}' takes nothing after a colon; write '{kind}'")
    source = attrgetter(class_name)(importlib.import_module(f".{module}", __name__))
    try:
        made: GeneSource = source(*arguments, **options)
    except TypeError as error:
        # Only the call itself, not an error from within it, means that an option is unknown.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise InputError(f"the source '{kind}' does not take these options: {error}") from error
        raise
    return made


def names() -> list[str]:
    """Names that :func:`get` knows, as they are to be written.

    Examples
    --------
    >>> from lexicell import sources
    >>> sources.names()
    ['bundled', 'bundled-names', 'ncbi', 'uniprot', 'table:PATH', 'frozen:DIR']
    """
    return [_PLACES.get(name, name) for name in _SOURCES]
