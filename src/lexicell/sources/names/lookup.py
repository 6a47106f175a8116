"""Names that a source does not know itself, found by the gene that the bundled table of the species knows them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..._errors import InputError
from .._gene_table import GeneTable
from .mapping import match
from .patterns import ENSEMBL, guess_organism
from .species import species

__all__ = ["bundled_match", "find_keys", "find_rows"]

# How surely a key names its gene: of two keys of one gene the surer one is used.
_SURENESS = ("symbol", "ensembl", "entrez", "previous", "synonym", "case", "")
_FACTS = ("gene_id", "symbol", "name", "gene_type", "matched_by", "note")


def bundled_match(names: Sequence[str], organism: str) -> pd.DataFrame | None:
    """Match names to the bundled table, with columns ``name`` and ``gene_type``; None for a species without one."""
    table = _bundled_table(organism)
    if table is None:
        return None
    found = match(names, table)
    for column in ("name", "gene_type"):
        found[column] = table.take(column, found["row"])
    return found


def find_rows(names: Sequence[str], table: GeneTable, *, history: Mapping[str, str] | None = None) -> pd.DataFrame:
    """`match`, and for what it leaves open the GeneID that the bundled table knows the name by.

    Registries keep former symbols apart from other synonyms, which NCBI's files do not; so a name that is ambiguous
    there is often plain here.
    """
    found = match(names, table, history=history)
    unmatched = [i for i, row in enumerate(found["row"]) if row < 0]
    known = bundled_match([names[i] for i in unmatched], table.organism)
    if known is None or not unmatched:
        return found
    columns = {column: found[column].tolist() for column in found.columns}
    for i, one in zip(unmatched, known.to_dict("records"), strict=True):
        row = table.row_of_gene_id.get(one["gene_id"], -1)
        if row < 0:
            continue
        note = f"GeneID from the bundled table ({one['symbol']})"
        columns["row"][i] = row
        columns["gene_id"][i] = one["gene_id"]
        columns["symbol"][i] = table.symbol[row]
        columns["matched_by"][i] = one["matched_by"]
        columns["note"][i] = f"{note}; {one['note']}" if one["note"] else note
    better = pd.DataFrame(columns, index=found.index)
    better.attrs.update(found.attrs)
    return better


def find_keys(
    keys: Sequence[str], names: Sequence[str], *, organism: str, keys_organism: str | None = None
) -> pd.DataFrame:
    """Find the key of each name: by itself, else by the gene both mean, else by the human orthologue.

    Parameters
    ----------
    keys
        What a file that somebody else made calls its genes: symbols, Ensembl ids or GeneIDs; unique.
    names
        What the data calls its genes.
    organism
        Species of the data.
    keys_organism
        Species of the file; None: guessed from the keys, or that of the data where they do not tell.

    Returns
    -------
    pandas.DataFrame
        Indexed by `names`: ``gene_id``, ``symbol``, ``name``, ``gene_type``, ``matched_by``, ``note``, ``key`` (row in
        `keys`, -1 where there is none), ``text_gene_id``, ``orthologue`` (bool).
    """
    kind = species(organism).name
    bundled = _bundled_table(kind)
    theirs = kind
    if keys_organism:
        theirs = species(keys_organism).name
    elif bundled is not None:
        theirs = guess_organism(keys).organism or kind
    by_gene = _by_gene(keys, theirs)
    human = {}
    if theirs == "human" and bundled is not None:
        human = {own: other for own, other in zip(bundled.gene_id, bundled.human_gene_id, strict=True) if own and other}
    own = match(names, _as_table(keys, kind))
    known = bundled_match(names, kind)
    facts: Sequence[Any] = [None] * len(own) if known is None else known.to_dict("records")
    rows = []
    for mine, fact in zip(own.to_dict("records"), facts, strict=True):
        row: dict[str, Any] = dict.fromkeys(_FACTS, "")
        key = mine["row"]
        # Names that are equal only in another case are no orthologues: Sod1 is not SOD1.
        if theirs != kind and (keys_organism or mine["matched_by"] == "case"):
            key = -1
        if key >= 0:
            row.update(gene_id=mine["gene_id"], symbol=mine["symbol"], matched_by="table", note=mine["note"])
        if fact is not None and (fact["row"] >= 0 or key < 0):
            row.update((column, fact[column]) for column in _FACTS)
        gene_id, orthologue = row["gene_id"], False
        if key < 0 and theirs == kind:
            key = by_gene.get(gene_id, -1)
        if key < 0 and gene_id in human:
            gene_id = human[gene_id]
            key = by_gene.get(gene_id, -1)
            orthologue = key >= 0
        row.update(key=key, text_gene_id=gene_id if key >= 0 else "", orthologue=orthologue)
        rows.append(row)
    return pd.DataFrame(rows, index=own.index, columns=[*_FACTS, "key", "text_gene_id", "orthologue"])


def _bundled_table(organism: str) -> GeneTable | None:
    """The bundled genes of a species; None where there are none."""
    from ..bundled import ORGANISMS, load_table

    if organism not in ORGANISMS:
        return None
    try:
        return load_table(organism)
    except InputError:  # a source checkout in which the bundle has not been built
        return None


def _as_table(keys: Sequence[str], organism: str) -> GeneTable:
    """The keys as a gene table, each under what it looks like."""
    rows = []
    for key in keys:
        found = ENSEMBL.match(key) if key.startswith("ENS") else None
        if key.isdigit():
            rows.append({"gene_id": key})
        elif found is None:
            rows.append({"symbol": key})
        elif key.endswith("_PAR_Y"):
            rows.append({})
        else:
            rows.append({"ensembl": f"{found[1]}G{found[3].rjust(11, '0')}"})
    return GeneTable.from_rows(organism, rows)


def _by_gene(keys: Sequence[str], organism: str) -> dict[str, int]:
    """GeneID -> row of the key that names it most surely."""
    known = bundled_match(keys, organism)
    if known is None:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for row, (gene_id, by) in enumerate(zip(known["gene_id"], known["matched_by"], strict=True)):
        candidate = (_SURENESS.index(by), row)
        if gene_id:
            found[gene_id] = min(candidate, found.get(gene_id, candidate))
    return {gene_id: row for gene_id, (_, row) in found.items()}
