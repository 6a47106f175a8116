"""Genes that say the same, gene programmes named by concepts, and concepts as gene sets for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .. import _keys
from .._errors import InputError, check_key
from .._results import keep_results, recorded
from .._values import read_values, variable_genes
from ..core.concepts import N_GENES
from ..core.embedding import GeneEmbedding
from ..core.programmes import gene_programmes, nearest_genes, text_smoothing
from . import _describe, _words

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["concept_sets", "gene_neighbors", "programmes"]


def gene_neighbors(
    adata: AnnData,
    names: Sequence[str] | str | None = None,
    *,
    n_neighbors: int = 10,
    use_rep: str = _keys.X_TEXT,
    genes: GeneEmbedding | None = None,
) -> pd.DataFrame:
    r"""Look up the genes whose texts are nearest to a gene's: which genes say the same.

    Nearness is :math:`\cos(e_g - \mu, e_h - \mu)`, with :math:`\mu` the mean of the gene vectors: without centring all
    genes are near each other.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``; nothing is written.
    names
        Genes to look up; None: all of them.
    n_neighbors
        Neighbours a gene.
    use_rep, genes
        The embedding whose genes and vectors are used, or the vectors themselves.

    Returns
    -------
    One row a gene and neighbour: ``gene``, ``rank``, ``neighbor``, ``cosine``, ``same_text`` (whether both have the
    very same text, so that nothing can tell them apart).

    Raises
    ------
    MissingKeyError
        If a gene has no vector, or the vectors cannot be found.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> table = lx.tl.gene_neighbors(adata, "CD79A", n_neighbors=3)
    >>> "CD79B" in set(table["neighbor"])
    True
    """
    known = _words.gene_vectors(adata, use_rep, genes)
    ids = known.ids.astype(str)
    wanted = list(ids) if names is None else [names] if isinstance(names, str) else [str(n) for n in names]
    place = pd.Index(ids).get_indexer(pd.Index(wanted))
    for name, row in zip(wanted, place, strict=True):
        if row < 0:
            check_key(name, ids, "gene with a vector")
    near, cosine = nearest_genes(known.vectors, place, n_neighbors)
    texts = known.texts.astype(str)
    same = (texts[place][:, None] == texts[near]) & (texts[place] != "")[:, None]
    return pd.DataFrame(
        {
            "gene": np.repeat(np.asarray(wanted, dtype=object), n_neighbors),
            "rank": np.tile(np.arange(1, n_neighbors + 1), len(wanted)),
            "neighbor": ids[near].ravel().astype(object), "cosine": cosine.ravel(), "same_text": same.ravel(),
        }
    )  # fmt: skip


def concept_sets(
    adata: AnnData,
    queries: Sequence[str] | str | None = None,
    *,
    n_genes: int = N_GENES,
    query_vectors: ArrayLike | None = None,
    use_rep: str = _keys.X_TEXT,
    genes: GeneEmbedding | None = None,
) -> pd.DataFrame:
    """Concepts as weighted gene sets, in the long format of decoupler: ``source``, ``target``, ``weight``.

    They are the sets of :func:`lexicell.tl.concepts`, drawn from all genes of the embedding. Any tool that takes
    weighted gene sets takes them, such as ``decoupler.mt.ulm(adata, net)``.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``; nothing is written.
    queries, query_vectors
        Phrases, as in :func:`lexicell.tl.concepts`; None: the shipped lexicon.
    n_genes
        Genes a phrase.
    use_rep, genes
        The embedding whose genes and vectors are used, or the vectors themselves.

    Returns
    -------
    One row a phrase and gene, heaviest first: ``source`` (phrase), ``target`` (gene), ``weight`` (positive; they sum to
    1 over a phrase).

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> net = lx.tl.concept_sets(adata, ["B cell"], n_genes=5)
    >>> list(net.columns), len(net), round(float(net["weight"].sum()), 6)
    (['source', 'target', 'weight'], 5, 1.0)
    """
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases = _words.asked(queries, query_vectors, known)
    sets = phrases.sets(known.vectors, n_genes=n_genes).tocoo()
    net = pd.DataFrame(
        {
            "source": phrases.names[sets.row].astype(str).astype(object),
            "target": known.ids[sets.col].astype(str).astype(object), "weight": sets.data,
        }
    )  # fmt: skip
    order = np.lexsort((sets.col, -sets.data, sets.row))
    return net.iloc[order].reset_index(drop=True)


def programmes(
    adata: AnnData,
    *,
    n_programmes: int = 15,
    n_top_genes: int = 2000,
    smoothing: float = 0.5,
    n_neighbors: int = 10,
    n_genes: int = 25,
    n_words: int = 5,
    queries: Sequence[str] | str | None = None,
    query_vectors: ArrayLike | None = None,
    use_rep: str = _keys.X_TEXT,
    genes: GeneEmbedding | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    key_added: str = "programmes",
    copy: bool = False,
) -> AnnData | None:
    r"""Find the gene programmes that are active in the data, and name them by concepts.

    Expression is smoothed over genes whose texts are near (:func:`lexicell.core.programmes.text_smoothing`) and
    factored into non-negative, sparse programmes (:func:`lexicell.core.programmes.gene_programmes`): genes that go up
    together *and* mean similar things. With ``smoothing=0`` the texts take no part in finding them, only in naming.

    Parameters
    ----------
    adata
        Cells with expression; only gene vectors are taken from the representation.
    n_programmes
        How many at most; those that come out empty are left out.
    n_top_genes
        Variable genes used.
    smoothing
        Share of a gene's value that comes from its text neighbours, 0 to 1.
    n_neighbors
        Text neighbours a gene.
    n_genes, n_words
        Genes and concepts listed a programme.
    queries, query_vectors
        Phrases for names, as in :func:`lexicell.tl.concepts`; None: the shipped lexicon, and no names where it has no
        vectors of this embedder.
    use_rep, genes, layer, use_raw
        As in :func:`lexicell.tl.concepts`.
    key_added
        Name of the result.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obsm["text_programmes"]``
        DataFrame of cells x programmes (``P1`` ...), float32: how far each cell runs each programme; programmes in
        order of their share of the expression.
    ``uns["lexicell"][use_rep][key_added]``
        ``table``: one row a programme: ``programme``, ``share``, ``n_genes`` (with a weight), ``name`` (its first
        concept), ``genes``. ``genes``: one row a programme and gene: ``group`` (programme), ``rank``, ``gene``,
        ``weight``. ``concepts``: one row a programme and concept: ``group``, ``rank``, ``concept``, ``z`` (of the
        weights, against random gene sets of matched expression: a scale, not a test), ``genes``. ``params``, with the
        relative ``error`` of the factors.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.programmes(adata, n_programmes=6)
    >>> len(adata.obsm["text_programmes"])
    700
    """
    adata = adata.copy() if copy else adata
    if not 0 <= smoothing <= 1 or min(n_top_genes, n_neighbors, n_genes, n_words) < 1:
        raise InputError(
            "smoothing must lie between 0 and 1, and n_top_genes, n_neighbors, n_genes, n_words be at least 1"
        )
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases: _words.Phrases | None
    if queries is None and query_vectors is None:
        phrases = _words.shipped_lexicon(known)
    else:
        phrases = _words.asked(queries, query_vectors, known)
    like = recorded(adata, use_rep).get("params") or _words.text_entry(adata, use_rep).get("params")
    values = read_values(adata, layer=layer, use_raw=use_raw, like=like)
    z = _words.zscores(values, known)
    variable = set(values.genes[variable_genes(values, n_top_genes)])
    chosen = np.flatnonzero([g in variable for g in z.ids])
    if len(chosen) < 2:
        raise InputError("fewer than two variable genes have a text; raise n_top_genes")
    log = sp.csr_matrix(values.log[:, values.rows(z.ids[chosen])], dtype=np.float64)
    smooth = text_smoothing(z.vectors[chosen], n_neighbors=n_neighbors, share=smoothing)
    found = gene_programmes(log, smooth, n_programmes)
    names = [f"P{k + 1}" for k in range(len(found.share))]
    if not names:
        raise InputError("no programme was found: the genes do not vary together; lower smoothing or use more genes")
    weights = np.zeros((len(names), len(z.ids)))
    weights[:, chosen] = found.loadings
    result: dict[str, Any] = {"genes": _genes(names, weights, z.ids, n_genes)}
    named = np.full(len(names), "", dtype=object)
    if phrases is not None:
        # Against random genes of the same expression, among the genes that were factored.
        words = _describe.words(z, weights, names, phrases, n_words=n_words, among=chosen)
        result["concepts"] = words.drop(columns="score")
        first = result["concepts"].query("rank == 1").set_index("group")["concept"]
        named = np.asarray([first.get(n, "") for n in names], dtype=object)
    leading = [", ".join(result["genes"].query("group == @name")["gene"].head(5)) for name in names]
    result["table"] = _describe.stack([
        pd.DataFrame({"programme": names, "name": named, "share": found.share,
                      "n_genes": (weights > 0).sum(axis=1), "genes": leading})
    ])  # fmt: skip
    result["params"] = {
        "n_programmes": n_programmes, "n_top_genes": n_top_genes, "smoothing": smoothing, "n_neighbors": n_neighbors,
        "genes_used": len(chosen), "error": found.error, "words": phrases.source if phrases is not None else "",
    }  # fmt: skip
    adata.obsm[f"{_keys.prefix(use_rep)}_{key_added}"] = pd.DataFrame(
        found.usage.astype(np.float32), index=adata.obs_names, columns=names
    )
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _genes(names: list[str], weights: NDArray[np.float64], ids: NDArray[Any], n_genes: int) -> pd.DataFrame:
    blocks = []
    for name, row in zip(names, weights, strict=True):
        best = np.argsort(-row, kind="stable")[:n_genes]
        best = best[row[best] > 0]
        blocks.append(
            pd.DataFrame(
                {"group": name, "rank": np.arange(1, len(best) + 1), "gene": ids[best], "weight": row[best]}
            )
        )  # fmt: skip
    return _describe.stack(blocks)
