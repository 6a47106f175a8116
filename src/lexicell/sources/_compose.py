"""From facts to text: the one template behind the bundled vectors.

``SYMBOL: full name. term; term; term.`` with the names of Gene Ontology terms, and ``SYMBOL: full name.`` without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ._gene_table import GeneTable

__all__ = ["TEMPLATE", "TEMPLATE_VERSION", "compose", "full_text", "name_text"]

TEMPLATE = "{symbol}: {name}. {term}; {term}; {term}."
TEMPLATE_VERSION = 1  # raise it with any change to what `compose` returns: the bundled vectors belong to one version


def compose(symbol: str, name: str, terms: Iterable[str] = ()) -> str:
    """Write the text of one gene; empty where there is nothing to say beyond its symbol.

    Parameters
    ----------
    symbol
        Official symbol.
    name
        Full name.
    terms
        Names of Gene Ontology terms, in the order of the text.

    Examples
    --------
    >>> compose("CHAT", "choline O-acetyltransferase", ["acetylcholine biosynthetic process", "cytosol"])
    'CHAT: choline O-acetyltransferase. acetylcholine biosynthetic process; cytosol.'
    >>> compose("CHAT", "choline O-acetyltransferase")
    'CHAT: choline O-acetyltransferase.'
    """
    listed = "; ".join(terms)
    if not name and not listed:
        return ""
    text = f"{symbol}: {name}." if name else f"{symbol}."
    if listed:
        text += f" {listed}."
    return text


def full_text(table: GeneTable, row: int, terms: Mapping[str, str]) -> str:
    """The text of one row of a table with its Gene Ontology terms, whose names are looked up in `terms`."""
    ids = table.go[row].split("|") if table.go[row] else []
    return compose(table.symbol[row], table.name[row], [terms[term] for term in ids])


def name_text(table: GeneTable, row: int) -> str:
    """The text of one row of a table without its Gene Ontology terms."""
    return compose(table.symbol[row], table.name[row])
