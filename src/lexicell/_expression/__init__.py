"""Expression: which matrix of an AnnData it is, of which kind, and its values by rows.

`slot` finds the matrix the user chose, `kind` tells counts from logarithms, `values` turns them into log values.
`core.expression.rows`, which reads ranges of rows of any matrix, is exported here too.
"""

from __future__ import annotations

from ..core.expression.rows import CsrRows, Dense, Rows, SomeColumns, Sparse, block_rows, open_rows
from .kind import look
from .slot import DEFAULT_SLOT, Expression, Slot, find_slot, gene_rows, layer_names, open_slot
from .values import LogRows, Values, library_sizes, open_values, read_values, values_kept, variable_genes

__all__ = [
    "DEFAULT_SLOT",
    "CsrRows",
    "Dense",
    "Expression",
    "LogRows",
    "Rows",
    "Slot",
    "SomeColumns",
    "Sparse",
    "Values",
    "block_rows",
    "find_slot",
    "gene_rows",
    "layer_names",
    "library_sizes",
    "look",
    "open_rows",
    "open_slot",
    "open_values",
    "read_values",
    "values_kept",
    "variable_genes",
]
