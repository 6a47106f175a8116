"""Cells as sentences of their most expressed genes, from an AnnData (preset ``genept-s``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, check_key, choices
from .._slots import find_slot
from ..core._tiebreak import tie_ranks
from ..core.embedding import GeneEmbedding
from ..embedders import Embedder
from ..embedders.sentences import MAX_CELLS, PREFIX, embed_sentences, sentences
from ..store import Store

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cell_sentences", "embed_cell_sentences"]


def cell_sentences(
    adata: AnnData,
    *,
    top_n: int = 1000,
    genes: GeneEmbedding | None = None,
    symbols: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    prefix: str = PREFIX,
    chunk_size: int | None = None,
) -> list[str]:
    """Write one sentence a cell: the symbols of its most expressed genes, the highest first [1]_.

    Genes without expression are dropped, the others sorted by their value, the first `top_n` kept. Equal values are
    decided by the blake2b hash of the gene's name in `adata`, smaller first, so that another order of genes or cells
    gives the same sentences.

    Parameters
    ----------
    adata
        Cells x genes; only read.
    top_n
        Genes a sentence, GenePT's 1000 by default. Many models read fewer words: MiniLM about 100 symbols, BERT 200.
    genes
        A gene embedding made for this data: its ``table["symbol"]`` gives the words, and genes it does not know are
        left out. Needed where `adata` names genes by Ensembl ids.
    symbols
        Column of ``var`` with the words instead.
    layer, use_raw, normalization
        Where the expression stands and what it is, as in :func:`lexicell.emb.cells`. Scaled values are refused.
    prefix
        What every sentence begins with.
    chunk_size
        Cells read at a time.

    Returns
    -------
    One string a cell, in the order of the cells; empty for a cell without expression.

    Raises
    ------
    InputError
        If the names are Ensembl ids and no symbols are given, or the values cannot be used.
    MissingKeyError
        If `layer` or `symbols` is not there.

    References
    ----------
    .. [1] Chen and Zou, GenePT, bioRxiv 2023.10.16.562533 (GenePT-s).

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> from lexicell.emb._sentences import cell_sentences
    >>> names = pd.Index(["SOD1", "TARDBP", "FUS"])
    >>> adata = anndata.AnnData(np.array([[3.0, 5, 0]], dtype="float32"), var=pd.DataFrame(index=names))
    >>> cell_sentences(adata)
    ['A cell with genes ranked by expression: TARDBP SOD1']
    """
    if top_n < 1:
        raise InputError(f"top_n must be at least 1, not {top_n}")
    slot = find_slot(adata, layer=layer, use_raw=use_raw, normalization=normalization)
    names = pd.Index([str(name) for name in slot.genes])
    words = _words(adata, names, genes, symbols, raw=slot.name == "raw")
    return sentences(slot.rows, words, tie_ranks(names), top_n=top_n, prefix=prefix, chunk_size=chunk_size)


def embed_cell_sentences(
    adata: AnnData,
    embedder: str | Embedder,
    *,
    top_n: int = 1000,
    genes: GeneEmbedding | None = None,
    symbols: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    yes: bool = False,
    max_cells: int = MAX_CELLS,
    store: Store | None = None,
    show_progress: bool | None = None,
) -> NDArray[np.float32]:
    """Embed cells as sentences; arguments as in :func:`cell_sentences` and in ``embedders.sentences``.

    Returns
    -------
    ``(n_cells, dim)`` float32; zeros for a cell without expression.

    Raises
    ------
    InputError
        If more than `max_cells` sentences, or any that leave this machine, were asked for without ``yes=True``; the
        message says what it would cost.
    """
    texts = cell_sentences(
        adata, top_n=top_n, genes=genes, symbols=symbols, layer=layer, use_raw=use_raw, normalization=normalization
    )
    return embed_sentences(texts, embedder, yes=yes, max_cells=max_cells, store=store, show_progress=show_progress)


def _words(
    adata: AnnData, names: pd.Index[str], genes: GeneEmbedding | None, symbols: str | None, *, raw: bool
) -> list[str]:
    if genes is not None and symbols is not None:
        raise InputError("give either genes= or symbols=, not both")
    if symbols is not None:
        var = adata.raw.var if raw else adata.var
        check_key(symbols, [str(column) for column in var.columns], "column in var")
        return ["" if pd.isna(word) else str(word).strip() for word in var[symbols]]
    if genes is not None:
        if "symbol" not in genes.table:
            raise InputError("this gene embedding knows no symbols; pass symbols= with a column of var, or neither")
        rows = genes.rows(names)
        known = genes.table["symbol"].astype(str).to_numpy()
        words = ["" if row < 0 else known[row] for row in rows]
        if not any(words):
            raise InputError(f"no gene of the data is in the gene embedding: the data has {choices(names[:5])}")
        return words
    ids = names.str.fullmatch(r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?")
    if ids.mean() > 0.5:
        raise InputError(
            f"the genes are named by Ensembl ids ({choices(names[ids][:3])}), which say nothing to a language model; "
            "pass genes= (from lexicell.emb.genes) or symbols= with the column of var"
        )
    return list(names)
