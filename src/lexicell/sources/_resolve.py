"""Names that a source does not know itself, found through the bundled table of the species."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from .._errors import InputError
from ._mapping import match
from ._table import GeneTable

__all__ = ["bundled_match", "find_rows"]


def bundled_match(names: Sequence[str], organism: str) -> pd.DataFrame | None:
    """Match names to the bundled table, with columns ``name`` and ``gene_type``; None for a species without one."""
    from .bundled import ORGANISMS, load_table

    if organism not in ORGANISMS:
        return None
    try:
        table = load_table(organism)
    except InputError:  # a source checkout in which the bundle has not been built
        return None
    found = match(names, table)
    for column in ("name", "gene_type"):
        values = table.column(column)
        found[column] = [values[row] if row >= 0 else "" for row in found["row"]]
    return found


def find_rows(names: Sequence[str], table: GeneTable, *, history: Mapping[str, str] | None = None) -> pd.DataFrame:
    """`match`, and for what it leaves open the GeneID that the bundled table knows the name by.

    Registries keep former symbols apart from other synonyms, which NCBI's files do not; so a name that is ambiguous
    there is often plain here.
    """
    found = match(names, table, history=history)
    open_ = [i for i, row in enumerate(found["row"]) if row < 0]
    known = bundled_match([names[i] for i in open_], table.organism) if open_ else None
    if known is None:
        return found
    rows, ids, symbols, by, notes = (list(found[c]) for c in ("row", "gene_id", "symbol", "matched_by", "note"))
    for i, one in zip(open_, known.to_dict("records"), strict=True):
        row = table.row_of_gene_id.get(one["gene_id"], -1) if one["gene_id"] else -1
        if row >= 0:
            rows[i], ids[i], symbols[i], by[i] = row, one["gene_id"], table.symbol[row], one["matched_by"]
            notes[i] = "; ".join(filter(None, (f"GeneID from the bundled table ({one['symbol']})", one["note"])))
    attrs = found.attrs
    found = found.assign(row=rows, gene_id=ids, symbol=symbols, matched_by=by, note=notes)
    found.attrs.update(attrs)
    return found
