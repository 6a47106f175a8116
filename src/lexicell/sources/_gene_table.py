"""`GeneTable`: the facts about the genes of one species, as columns of strings."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import InputError
from .._files import write_file

if TYPE_CHECKING:
    from .names.index import Index

__all__ = ["COLUMNS", "GeneTable", "read_columns"]

COLUMNS = (
    "gene_id",
    "symbol",
    "name",
    "gene_type",
    "synonyms",
    "previous",
    "ensembl",
    "go",
    "human_gene_id",
)


@dataclass(eq=False, repr=False)
class GeneTable:
    """Facts about the genes of one species: one list per column, all of one length, one place per gene.

    Lists within a cell are joined by ``|``; an unknown fact is the empty string.

    Attributes
    ----------
    organism
        ``human``, ``mouse``, ``rat`` or any other name.
    gene_id
        NCBI GeneID; empty where the origin knows none.
    symbol
        Official symbol.
    name
        Full name.
    gene_type
        ``protein-coding``, ``ncRNA``, ``pseudo`` ... in NCBI's words.
    synonyms, previous
        Other symbols in use; symbols the gene had before.
    ensembl
        Ensembl gene ids without version.
    go
        Gene Ontology term ids, in the fixed order in which the text names them.
    human_gene_id
        NCBI GeneID of the human orthologue; empty if there is none, and for human itself.
    extra
        Further columns of the same length, e.g. ``accession`` (``HGNC:11179``, ``MGI:98351``).

    Examples
    --------
    >>> from lexicell.sources._gene_table import GeneTable
    >>> table = GeneTable.from_rows("human", [{"gene_id": "6647", "symbol": "SOD1", "synonyms": "ALS1|SOD"}])
    >>> len(table), table.symbol, table.previous
    (1, ['SOD1'], [''])
    """

    organism: str
    gene_id: list[str]
    symbol: list[str]
    name: list[str]
    gene_type: list[str]
    synonyms: list[str]
    previous: list[str]
    ensembl: list[str]
    go: list[str]
    human_gene_id: list[str]
    extra: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {column: len(self.column(column)) for column in (*COLUMNS, *self.extra)}
        if len(set(lengths.values())) > 1:
            raise InputError(f"the columns of a gene table must have one length, not {lengths}")

    @classmethod
    def from_columns(cls, organism: str, columns: Mapping[str, Sequence[str]]) -> GeneTable:
        """Build from named columns; a missing one is empty, one not in `COLUMNS` goes to `extra`."""
        length = max((len(values) for values in columns.values()), default=0)
        known = {column: list(columns.get(column, [""] * length)) for column in COLUMNS}
        extra = {column: list(values) for column, values in columns.items() if column not in COLUMNS}
        return cls(organism, **known, extra=extra)

    @classmethod
    def from_rows(cls, organism: str, rows: Iterable[Mapping[str, str]]) -> GeneTable:
        """Build from one mapping per gene; missing facts are empty."""
        rows = list(rows)
        more = sorted({key for row in rows for key in row} - set(COLUMNS))
        return cls.from_columns(organism, {key: [row.get(key, "") for row in rows] for key in (*COLUMNS, *more)})

    @classmethod
    def read(cls, path: str | Path, organism: str) -> GeneTable:
        """Read a tab-separated file (gzipped if it ends in ``.gz``) whose first line names the columns."""
        raw = Path(path).read_bytes()
        if str(path).endswith(".gz"):
            raw = gzip.decompress(raw)
        return cls.from_columns(organism, read_columns(raw.decode(), path))

    def write(self, path: str | Path) -> None:
        """Write what :meth:`read` reads; the same table gives the same bytes."""
        names = (*COLUMNS, *self.extra)
        lines = ["\t".join(names)]
        lines += ["\t".join(row) for row in zip(*(self.column(name) for name in names), strict=True)]
        text = ("\n".join(lines) + "\n").encode()
        if str(path).endswith(".gz"):
            buffer = io.BytesIO()
            # No time stamp and no file name in the header, so that the bytes depend on the table alone.
            with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as stream:
                stream.write(text)
            text = buffer.getvalue()
        write_file(path, lambda aside: aside.write_bytes(text))

    def column(self, name: str) -> list[str]:
        """One column, by name."""
        values: list[str] = self.extra[name] if name in self.extra else getattr(self, name)
        return values

    def take(self, name: str, rows: Iterable[int]) -> list[str]:
        """Values of one column at some rows; empty for row -1."""
        values = self.column(name)
        return [values[row] if row >= 0 else "" for row in rows]

    def __len__(self) -> int:
        return len(self.symbol)

    def __repr__(self) -> str:
        return f"GeneTable: {len(self):,} {self.organism} genes"

    def __iter__(self) -> Iterator[dict[str, str]]:
        names = (*COLUMNS, *self.extra)
        for row in zip(*(self.column(name) for name in names), strict=True):
            yield dict(zip(names, row, strict=True))

    @cached_property
    def index(self) -> Index:
        """Rows by symbol, former symbol, synonym and Ensembl id; made when first asked for."""
        from .names.index import Index

        return Index(self)

    @cached_property
    def row_of_gene_id(self) -> dict[str, int]:
        """Row of each NCBI GeneID; the first where one is there twice."""
        rows: dict[str, int] = {}
        for row, gene_id in enumerate(self.gene_id):
            if gene_id:
                rows.setdefault(gene_id, row)
        return rows


def read_columns(text: str, path: str | Path) -> dict[str, list[str]]:
    """Columns of a tab-separated text whose first line names them; `path` is for messages."""
    head, _, body = text.rstrip("\n").partition("\n")
    names = head.lstrip("#").split("\t")
    if not body:
        return {name: [] for name in names}
    # One split of the whole text and strided slices: several times faster than line by line.
    cells = body.replace("\n", "\t").split("\t")
    if len(cells) != (body.count("\n") + 1) * len(names):
        raise InputError(f"{path}: every line must have the {len(names)} columns of the first")
    return {name: cells[i :: len(names)] for i, name in enumerate(names)}
