"""What a source of gene texts takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["GeneSource", "GeneTexts"]


@dataclass(frozen=True, eq=False)
class GeneTexts:
    """One text for each input name, with every name accounted for.

    Attributes
    ----------
    table
        Indexed by the input names, all of them, in their order. String columns: ``gene_id`` (NCBI GeneID), ``symbol``,
        ``name`` (full name), ``gene_type``, ``matched_by`` (``symbol``, ``previous``, ``synonym``, ``ensembl``,
        ``entrez``, ``case``; empty where nothing matched), ``note`` (why a name did not match, or what to know of the
        match), ``text_source`` (empty where the gene has no text), ``text_gene_id`` (the gene whose facts the text
        states: the human orthologue's where a mouse gene's own are thin).
    texts
        The text of each row; empty where there is none.
    provenance
        Source, version, date, licence, hashes: strings, numbers, bools, nested dicts.
    vectors
        ``(n_names, dim)`` float32 from `vectors_from`, zero rows where there is no text;
        None where the source ships none.
    vectors_from
        Name of the embedder that made `vectors`, with its revision.
    """

    table: pd.DataFrame
    texts: NDArray[Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    vectors: NDArray[np.float32] | None = None
    vectors_from: str = ""


class GeneSource(Protocol):
    """A source of gene texts."""

    name: str

    def texts(self, names: Sequence[str], *, organism: str) -> GeneTexts:
        """Find the text of each name; unknown names get an empty row, never an exception."""
        ...
