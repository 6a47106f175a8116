"""Cells as sentences of their most expressed genes, from an AnnData (preset ``genept-s``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .. import embedders
from .._errors import InputError, check_key, choices
from .._expression import DEFAULT_SLOT, Expression, find_slot, gene_rows
from .._keys import X_TEXT
from .._results import keep_results
from ..core.pooling.tiebreak import tie_ranks
from ..embedders import Embedder
from ..embedders.sentences import embed_sentences
from ..embedders.sentences import sentences as write_sentences
from ..store import Store

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cell_sentences", "sentences"]


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
    key_added: str = X_TEXT,
    store: Store | None = None,
    show_progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Embed each cell as one sentence of its most expressed genes: the preset ``genept-s``.

    The sentence is "A cell with genes ranked by expression: " and the symbols of the `top_n` genes, the highest first.
    This is one text per cell, while :func:`lexicell.emb.cells` needs one text per gene: slow, and costly with a paid
    embedder. The provider of the embedder sees the order of each cell's genes, which no other function sends, so you
    have to agree to it.

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
        Which matrix is read and what its values are, as in :func:`lexicell.emb.cells`.
    yes
        Agree to embed more than 1,000 sentences, or to send sentences to another machine.
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
        If `yes` is needed: the message states the cost. If the genes are named by Ensembl ids and no `symbols` are
        given, or the values cannot be used.
    MissingKeyError
        If `layer` or `symbols` does not exist.

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
    expression = Expression(layer, use_raw, normalization)
    texts = cell_sentences(adata, top_n=top_n, symbols=symbols, expression=expression)
    vectors = embed_sentences(texts, chosen, yes=yes, store=store, show_progress=show_progress)
    target = adata.copy() if copy else adata
    target.obsm[key_added] = vectors
    entry = {
        "params": {"preset": "genept-s", "top_n": int(top_n), "layer": layer or "", "use_raw": bool(use_raw)},
        "provenance": {"embedder": chosen.name, "revision": chosen.revision, "dim": int(vectors.shape[1])},
    }
    keep_results(target, key_added, entry, replace=True)
    return target if copy else None


def cell_sentences(
    adata: AnnData, *, top_n: int = 1000, symbols: str | None = None, expression: Expression = DEFAULT_SLOT
) -> list[str]:
    """Write one sentence per cell; empty for a cell without expression. Arguments as in :func:`sentences`.

    Genes are sorted by their value. Equal values are decided by the blake2b hash of the gene's name in `adata`, smaller
    first, so that another order of genes or cells gives the same sentences.

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
    slot = find_slot(adata, expression)
    names = pd.Index([str(name) for name in slot.genes])
    if symbols is None:
        words = _symbols(names)
    else:
        var = adata.raw.var if slot.name == "raw" else adata.var
        check_key(symbols, [str(column) for column in var.columns], "column in var")
        words = ["" if pd.isna(word) else str(word).strip() for word in var[symbols][gene_rows(var)]]
    return write_sentences(slot.rows, words, tie_ranks(names), top_n=top_n)


def _symbols(names: pd.Index[str]) -> list[str]:
    """The names, unless they are Ensembl ids."""
    ids = names.str.fullmatch(r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?")
    if ids.mean() > 0.5:
        raise InputError(
            f"the genes are named by Ensembl ids ({choices(names[ids][:3])}), which say nothing to a language model; "
            "pass symbols= with the column of var that holds gene symbols"
        )
    return list(names)
