"""Match the genes of a data set to those of a file that somebody else made, whatever each of them calls a gene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ._mapping import match
from ._names import ENSEMBL, guess_organism
from ._resolve import bundled_match
from ._species import species
from ._table import GeneTable

__all__ = ["find_keys"]

# How sure a key stands for its gene: where two keys stand for one gene, the surer one is used.
_SURENESS = ("symbol", "ensembl", "entrez", "previous", "synonym", "case")


def find_keys(
    keys: Sequence[str], names: Sequence[str], *, organism: str, keys_organism: str | None = None
) -> pd.DataFrame:
    """Find the key of each name: by itself, else by the gene both stand for, else by the human orthologue.

    Parameters
    ----------
    keys
        What the file calls its genes: symbols, Ensembl ids or GeneIDs; unique.
    names
        What the data calls its genes.
    organism
        Species of the data.
    keys_organism
        Species of the file; None: guessed from the keys, or that of the data where they do not tell.

    Returns
    -------
    pandas.DataFrame
        Indexed by `names`: ``key`` (row in `keys`, -1 where there is none), ``gene_id``, ``symbol``, ``name``,
        ``gene_type``, ``matched_by``, ``note``, ``text_gene_id``, ``orthologue`` (bool).
    """
    kind = species(organism).name
    theirs = species(keys_organism).name if keys_organism else _guess(keys, kind)
    known = bundled_match(names, kind)
    own = match(names, _as_table(keys, kind))
    if theirs != kind:
        # Names that are equal only in another case are no orthologues: Sod1 is not SOD1.
        own.loc[(own["matched_by"] == "case") | bool(keys_organism), "row"] = -1
    by_gene = _by_gene(keys, theirs)
    partners = _partners(kind) if theirs == "human" and kind != "human" else {}
    frame = _frame(names, known, own)
    found: list[dict[str, Any]] = []
    for i, one in enumerate(frame.to_dict("records")):
        key = int(own["row"].iloc[i])
        text_gene, orthologue = one["gene_id"], False
        if key < 0:
            key = by_gene.get(one["gene_id"], -1) if theirs == kind else -1
        if key < 0 and one["gene_id"] in partners:
            text_gene = partners[one["gene_id"]]
            key = by_gene.get(text_gene, -1)
            orthologue = key >= 0
        found.append({"key": key, "text_gene_id": text_gene if key >= 0 else "", "orthologue": orthologue})
    more = pd.DataFrame(found, index=frame.index, columns=["key", "text_gene_id", "orthologue"])
    return pd.concat([frame, more], axis=1)


def _guess(keys: Sequence[str], organism: str) -> str:
    from .bundled import ORGANISMS

    return (guess_organism(keys).organism or organism) if organism in ORGANISMS else organism


def _as_table(keys: Sequence[str], organism: str) -> GeneTable:
    """The keys as a gene table, each under what it looks like."""
    ids = [ENSEMBL.match(key) if key.startswith("ENS") else None for key in keys]
    return GeneTable.from_columns(
        organism,
        {
            "gene_id": [key if key.isdigit() else "" for key in keys],
            "symbol": ["" if found or key.isdigit() else key for key, found in zip(keys, ids, strict=True)],
            "ensembl": [
                f"{found[1]}G{found[3].rjust(11, '0')}" if found and not key.endswith("_PAR_Y") else ""
                for key, found in zip(keys, ids, strict=True)
            ],
        },
    )


def _by_gene(keys: Sequence[str], organism: str) -> dict[str, int]:
    """GeneID -> row of the key that stands for it."""
    known = bundled_match(keys, organism)
    if known is None:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for row, (gene_id, by) in enumerate(zip(known["gene_id"], known["matched_by"], strict=True)):
        sureness = _SURENESS.index(by) if by in _SURENESS else len(_SURENESS)
        if gene_id and (gene_id not in found or sureness < found[gene_id][0]):
            found[gene_id] = (sureness, row)
    return {gene_id: row for gene_id, (_, row) in found.items()}


def _partners(organism: str) -> dict[str, str]:
    """GeneID -> GeneID of the human orthologue, by the bundled table."""
    from .bundled import ORGANISMS, load_table

    if organism not in ORGANISMS:
        return {}
    table = load_table(organism)
    return {own: human for own, human in zip(table.gene_id, table.human_gene_id, strict=True) if own and human}


def _frame(names: Sequence[str], known: pd.DataFrame | None, own: pd.DataFrame) -> pd.DataFrame:
    """What is known of each name: by the bundled table, else by the file alone."""
    columns = ["gene_id", "symbol", "name", "gene_type", "matched_by", "note"]
    empty = dict.fromkeys(columns, "")
    rows = []
    for i in range(len(names)):
        row = dict(empty)
        if own["row"].iloc[i] >= 0:
            row.update(gene_id=own["gene_id"].iloc[i], symbol=own["symbol"].iloc[i])
            # The bundled table's word for how a name was read stands below where it knows the name.
            row.update(matched_by="table", note=own["note"].iloc[i])
        if known is not None and (known["row"].iloc[i] >= 0 or not row["matched_by"]):
            row.update({column: str(known[column].iloc[i]) for column in columns})
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(list(names), dtype=object), columns=columns)
