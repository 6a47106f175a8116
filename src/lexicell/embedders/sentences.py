"""Cells as sentences: the names of a cell's most expressed genes, in order, embedded as one text (GenePT-s).

The only place where something that was measured, the order of a cell's genes, becomes a text. It goes to a provider
only after the caller has agreed to the price and to that.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._expression import Dense, Rows, block_rows
from ..store import Store
from ._base import Embedder
from ._cost import CostEstimate, estimate_cost
from ._embed import embed
from ._registry import get

__all__ = ["MAX_CELLS", "PREFIX", "embed_sentences", "sentences"]

PREFIX = "A cell with genes ranked by expression: "  # GenePT's own words
MAX_CELLS = 1000  # more sentences than this are embedded only after yes=True


def sentences(
    rows: Rows,
    words: Sequence[str],
    ranks: NDArray[np.int32],
    *,
    top_n: int = 1000,
    prefix: str = PREFIX,
    chunk_size: int | None = None,
) -> list[str]:
    """Write one sentence per cell: `prefix`, then the words of its expressed genes, the highest value first.

    Parameters
    ----------
    rows
        Cells x genes, from :func:`lexicell.core.expression.rows.open_rows`. Counts, normalized and logged values give
        the same sentences, as far as their order is the same.
    words
        Name of each gene; genes with an empty name are passed over.
    ranks
        Which gene comes first where values are equal: smaller first.
    top_n
        At most so many genes per cell. Genes without expression never count.
    prefix
        What every sentence begins with.
    chunk_size
        Cells read at a time.

    Returns
    -------
    One string per cell; empty for a cell that expresses no gene with a name.

    Raises
    ------
    InputError
        If a value is negative or not finite.
    """
    named = np.asarray([bool(word) for word in words])
    out = []
    for start, stop in block_rows(rows, chunk_size):
        for cell, (columns, values) in enumerate(_cells(rows, start, stop), start):
            if not np.isfinite(values).all() or (values < 0).any():
                raise InputError(f"cell {cell} (counted from 0) holds negative values, NaN or infinity")
            keep = named[columns] & (values > 0)
            columns, values = columns[keep], values[keep]
            order = np.lexsort((ranks[columns], -values))[:top_n]
            out.append(prefix + " ".join(words[column] for column in columns[order]) if len(order) else "")
    return out


def _cells(rows: Rows, start: int, stop: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Columns and values of each cell, each column once."""
    block = rows.read(start, stop)
    if isinstance(block, Dense):
        everything = np.arange(rows.shape[1])
        for row in block.values:
            yield everything, np.asarray(row, dtype=np.float64)
        return
    for first, last in zip(block.indptr[:-1] - block.indptr[0], block.indptr[1:] - block.indptr[0], strict=True):
        columns, places = np.unique(block.indices[first:last], return_inverse=True)
        # An entry may come in several parts, which add up.
        values = np.bincount(places, weights=block.data[first:last], minlength=len(columns))
        yield columns.astype(np.int64), values.astype(np.float64)


def embed_sentences(
    texts: Sequence[str],
    embedder: str | Embedder,
    *,
    yes: bool = False,
    max_cells: int = MAX_CELLS,
    store: Store | None = None,
    show_progress: bool | None = None,
) -> NDArray[np.float32]:
    """Turn the sentences of cells into vectors, after the price was agreed to.

    Equal sentences are embedded once, stored ones not at all, and an interrupted run goes on where it stopped.

    Parameters
    ----------
    texts
        From :func:`sentences`; empty ones get a row of zeros.
    embedder
        A name or an embedder.
    yes
        Agree to the estimated cost, and, where the embedder is on another machine, to
        the order of each cell's genes going there.
    max_cells
        So many sentences are embedded on this machine without `yes`.
    store
        Where vectors are kept; None is the user's own store.
    show_progress
        As in :func:`lexicell.embedders.embed`.

    Returns
    -------
    ``(len(texts), dim)`` float32, as the embedder gives them; zeros where a sentence is empty.

    Raises
    ------
    InputError
        If the price was not agreed to; the message states it.
    ProviderError
        If the embedder fails; what was embedded by then is stored.

    Warns
    -----
    UserWarning
        If sentences leave this machine, or are longer than the model reads.
    """
    model = get(embedder) if isinstance(embedder, str) else embedder
    written = [text for text in texts if text]
    cost = estimate_cost(written, model, store=store)
    leaving = bool(cost.to_send) and model.leaves_machine
    if not yes and (leaving or cost.to_send > max_cells):
        raise InputError(_question(cost, leaving, max_cells))
    if leaving:
        warnings.warn(
            f"the order of the most expressed genes of {cost.to_send:,} cells goes to '{model.name}'; no name, value "
            "or metadata of a cell does",
            UserWarning,
            stacklevel=2,
        )
    vectors = np.zeros((len(texts), model.dim), dtype=np.float32)
    if written:
        rows = np.flatnonzero([bool(text) for text in texts])
        vectors[rows] = embed(written, model, store=store, show_progress=show_progress)
    return vectors


def _question(cost: CostEstimate, leaving: bool, max_cells: int) -> str:
    why = f"more than {max_cells:,} sentences of cells are asked for"
    if leaving:
        why = (
            f"sentences of cells would go to '{cost.embedder}': they tell the order of each cell's most expressed genes"
        )
    return f"{why}. Cost: {cost}. Pass yes=True (on the command line: --yes) to go on, or embed fewer cells"
