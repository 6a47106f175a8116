"""Where gene texts come from: what ships with the package, NCBI Gene, UniProt, a table of your own, or a plugin.

:func:`get` returns a source by name, :func:`list` describes all; each is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import InputError, check_choice
from .._plugins import find_plugins, load_plugin, make

if TYPE_CHECKING:
    import pandas as pd

    from ._base import GeneSource, GeneTexts
    from ._reopen import record as record
    from ._reopen import reopen as reopen
    from .names.mapping import match as match
    from .names.patterns import guess_organism as guess_organism
    from .names.patterns import is_mitochondrial as is_mitochondrial
    from .names.patterns import is_ribosomal as is_ribosomal
    from .names.patterns import row_numbers as row_numbers

__all__ = ["GeneSource", "GeneTexts", "get", "list"]

GROUP = "lexicell.sources"
# Name -> module, class, text, species, network.
_SOURCES = {
    "bundled": ("bundled", "BundledSource", "symbol, full name, GO terms", "human, mouse, rat", "never"),
    "bundled-names": ("bundled", "BundledSource", "symbol, full name", "human, mouse, rat", "never"),
    "ncbi": ("ncbi", "NcbiSource", "symbol, full name, NCBI Gene's summary", "any", "once per snapshot"),
    "uniprot": ("uniprot", "UniprotSource", "symbol, name, UniProt's function text", "any", "never"),
    "table": ("table", "TableSource", "from your file", "any", "never"),
}
# These take a path after the colon, as first argument.
_PATHS = {"uniprot": "uniprot:PATH", "table": "table:PATH"}


# Imported when first touched, because they import numpy and pandas. All but the first two serve other packages of
# lexicell and are not public.
_FOR_THE_PACKAGE = {
    "GeneSource": "_base",
    "GeneTexts": "_base",
    "guess_organism": "names.patterns",
    "is_mitochondrial": "names.patterns",
    "is_ribosomal": "names.patterns",
    "match": "names.mapping",
    "record": "_reopen",
    "reopen": "_reopen",
    "row_numbers": "names.patterns",
}


def __getattr__(name: str) -> Any:
    if name in _FOR_THE_PACKAGE:
        return getattr(importlib.import_module(f".{_FOR_THE_PACKAGE[name]}", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def get(name: str, **options: Any) -> GeneSource:
    """Return a source of gene texts.

    Parameters
    ----------
    name
        ``"bundled"`` (symbol, full name, GO terms; ships with the package), ``"bundled-names"`` (symbol and full name
        only), ``"ncbi"``, ``"uniprot:PATH"`` for an export of UniProt, ``"table:PATH"`` for a file of your own, or the
        name of an installed plugin. :func:`lexicell.sources.list` shows them all.
    **options
        Options of the source, as its class documents them.

    Returns
    -------
    The source, to be given to :func:`lexicell.emb.genes`.

    Raises
    ------
    InputError
        If there is no such source, it takes no such option, a path is missing after the colon, or a plugin is broken.

    Examples
    --------
    >>> from lexicell import sources
    >>> sources.get("bundled").name
    'bundled'
    """
    kind, colon, rest = name.partition(":")
    plugins = find_plugins(GROUP, _SOURCES)
    check_choice(kind, [*_SOURCES, *plugins], "source")
    what = f"source '{kind}'"
    if kind in plugins:
        plugin: GeneSource = load_plugin(plugins[kind], what, "texts", [rest] if colon else [], options)
        return plugin
    arguments: Any = []
    if kind in _PATHS:
        if not rest:
            raise InputError(f"the source '{kind}' needs a path: '{_PATHS[kind]}'")
        arguments = [Path(rest)]
    elif colon:
        raise InputError(f"the source '{kind}' takes nothing after a colon; write '{kind}'")
    elif kind.startswith("bundled"):
        arguments = [kind]
    module, class_name, *_ = _SOURCES[kind]
    factory = getattr(importlib.import_module(f".{module}", __name__), class_name)
    made: GeneSource = make(factory, what, arguments, options)
    return made


def list() -> pd.DataFrame:  # noqa: A001  (lx.sources.list() is the public name, as lx.embedders.list() is)
    """List every source of gene texts, installed plugins last.

    Returns
    -------
    One row per source, indexed from 0: ``name`` (as :func:`get` takes it), ``text`` (what a text consists of),
    ``species``, ``network`` (when it reaches the network). All columns are strings.

    Examples
    --------
    >>> from lexicell import sources
    >>> sources.list()["name"].tolist()[:5]
    ['bundled', 'bundled-names', 'ncbi', 'uniprot:PATH', 'table:PATH']
    """
    import pandas as pd

    rows = [(_PATHS.get(name, name), *facts[2:]) for name, facts in _SOURCES.items()]
    for name, point in sorted(find_plugins(GROUP, _SOURCES).items()):
        rows.append((name, f"plugin {point.value}", "", ""))
    return pd.DataFrame(rows, columns=["name", "text", "species", "network"])
