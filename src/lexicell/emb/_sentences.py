"""Cells as sentences of their most expressed genes, from an AnnData (preset ``genept-s``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import embedders
from .._errors import InputError, check_key, choices
from .._keys import X_TEXT
from .._results import keep_results
from .._slots import find_slot
from ..core._tiebreak import tie_ranks
from ..core.embedding import GeneEmbedding
from ..embedders import Embedder
from ..embedders.sentences import MAX_CELLS, PREFIX, embed_sentences
from ..embedders.sentences import sentences as write_sentences
from ..store import Store

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cell_sentences", "embed_cell_sentences", "sentences"]


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
    return write_sentences(slot.rows, words, tie_ranks(names), top_n=top_n, prefix=prefix, chunk_size=chunk_size)


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


def sentences(
    adata: AnnData,
    embedder: str | Embedder = "local",
    *,
    top_n: int = 1000,
    symbols: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    yes: bool = False,
    max_cells: int = MAX_CELLS,
    key_added: str = X_TEXT,
    store: Store | None = None,
    show_progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Embed each cell as one sentence of its most expressed genes: the preset ``genept-s``.

    The sentence is "A cell with genes ranked by expression: " and the symbols of the `top_n` genes, the highest first.
    One text a cell, against one text a gene for :func:`lexicell.emb.cells`: slow, and costly with a paid embedder. The
    order of a cell's genes reaches the embedder's provider, which no other function does; so it has to be agreed to.

    Parameters
    ----------
    adata
        Cells x genes.
    embedder
        Name or embedder, as in :func:`lexicell.emb.genes`. The default reads only the first 256 tokens, some 100 genes.
    top_n
        Genes in a sentence; those without expression are left out.
    symbols
        Column of ``var`` with gene symbols; None: ``var_names``.
    layer, use_raw, normalization
        Where expression stands, as in :func:`lexicell.emb.cells`.
    yes
        Go on where more than `max_cells` sentences are to be embedded, or where they leave this machine.
    max_cells
        Sentences embedded without asking.
    key_added
        Key of the result in ``obsm``.
    store, show_progress
        As in :func:`lexicell.emb.genes`. Finished batches are kept, so that an interrupted run goes on.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``obsm[key_added]``, ``(n_cells, dim)`` float32, zeros for cells without expression,
    and ``uns["lexicell"][key_added]`` with ``params`` and ``provenance``.

    Raises
    ------
    InputError
        If it has to be agreed to, with what it would cost; or if names are no symbols.

    References
    ----------
    Chen and Zou, GenePT, bioRxiv 2023.10.16.562533.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.sentences(adata[:50].copy(), "local", top_n=20)  # doctest: +SKIP
    """
    chosen = embedders.get(embedder) if isinstance(embedder, str) else embedder
    vectors = embed_cell_sentences(
        adata,
        chosen,
        top_n=top_n,
        symbols=symbols,
        layer=layer,
        use_raw=use_raw,
        normalization=normalization,
        yes=yes,
        max_cells=max_cells,
        store=store,
        show_progress=show_progress,
    )
    target = adata.copy() if copy else adata
    target.obsm[key_added] = vectors
    entry = {
        "params": {"preset": "genept-s", "top_n": int(top_n), "layer": layer or "", "use_raw": bool(use_raw)},
        "provenance": {"embedder": chosen.name, "revision": chosen.revision, "dim": int(vectors.shape[1])},
    }
    keep_results(target, key_added, entry, replace=True)
    return target if copy else None


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
