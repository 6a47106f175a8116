"""Look-ups over a gene table: symbol, former symbol, synonym, Ensembl id -> rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .._gene_table import GeneTable

__all__ = ["Index", "Names"]


class Names:
    """Name -> row, and the few names that belong to several rows."""

    def __init__(self, names: Sequence[str], rows: Sequence[int]) -> None:
        self._names, self._rows = names, rows
        self._one = dict(zip(names, rows, strict=True))
        self._many: dict[str, tuple[int, ...]] = {}
        if len(self._one) < len(names):
            for name, row in zip(names, rows, strict=True):
                if self._one[name] != row:
                    self._many[name] = (*self._many.get(name, (self._one[name],)), row)

    @classmethod
    def of_lists(cls, column: Sequence[str]) -> Names:
        """From a column whose cells hold several names, joined by bars."""
        filled = [row for row, cell in enumerate(column) if cell]
        cells = [column[row] for row in filled]
        # Split once, over all cells: a list for each of them would cost more than the rest together.
        names = "|".join(cells).split("|") if cells else []
        counts = [cell.count("|") + 1 for cell in cells]
        return cls(names, np.repeat(np.asarray(filled, dtype=np.int64), counts).tolist())

    def get(self, name: str) -> tuple[int, ...]:
        """Rows of a name; empty where it is unknown."""
        row = self._one.get(name, -1)
        if row < 0:
            return ()
        return self._many.get(name) or (row,)

    @cached_property
    def folded(self) -> Names:
        """The same names without regard to case."""
        return Names([name.casefold() for name in self._names], self._rows)


class Index:
    """Look-ups over one table."""

    def __init__(self, table: GeneTable) -> None:
        self.organism, self.symbols, self.gene_ids = table.organism, table.symbol, table.row_of_gene_id
        self.symbol = Names(table.symbol, range(len(table)))
        self.types = table.gene_type
        self.previous = Names.of_lists(table.previous)
        self.synonym = Names.of_lists(table.synonyms)
        self._ensembl_cells = table.ensembl

    @cached_property
    def ensembl(self) -> Names:
        """Rows by Ensembl id."""
        return Names.of_lists(self._ensembl_cells)

    def labels(self, rows: Iterable[int]) -> str:
        """Symbols of some rows, for a message."""
        return ", ".join(sorted({self.symbols[row] for row in rows}))
