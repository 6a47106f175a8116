"""Gene vectors and expression -> cell embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_choice, check_key
from .._results import keep_results
from .._slots import find_slot
from ..core._tiebreak import tie_ranks
from ..core.embedding import GeneEmbedding
from ..core.pooling import PRESETS, BadValueError, PooledCells, pool
from ._shared import (
    OWN,
    Joined,
    check_key_added,
    describe,
    join,
    make_entry,
    named,
    text_sources,
    warn_empty,
)

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cells"]


def cells(
    adata: AnnData,
    genes: GeneEmbedding,
    *,
    preset: str = "paper",
    top_n: int | str | None = OWN,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    library_size: str | None = None,
    l2: bool | None = None,
    n_components: int | None = None,
    method: str = "sparse",
    precision: str = "float32",
    key_added: str = _keys.X_TEXT,
    chunk_size: int | None = None,
    n_jobs: int | None = None,
    store_genes: bool = False,
    copy: bool = False,
) -> AnnData | None:
    r"""Embed cells by the texts of the genes they express.

    With counts x of a cell, library size n over all genes, :math:`l = \log(1 + 10^4 x / n)`, gene vectors g:

    ==============  =====================================================================================
    ``paper``       :math:`\sum l g / \sum l` over the `top_n` most expressed genes that have text
    ``genept-w``    :math:`\sum l g / G`, G the number of genes of the matrix; then unit length
    ``scelmo-wa``   :math:`\sum l g / \sum l`, the lower sum over all genes of the matrix
    ``scelmo-aa``   :math:`\sum l g / G`
    ``whitened``    :math:`\sum z w`, z the z-score of l over cells (population sd, clipped to +-10), w the
                    whitened gene vectors (:class:`lexicell.core.space.GeneSpace`)
    ==============  =====================================================================================

    Genes are joined by exact name: ``genes.ids`` against the names of the matrix. Genes without text count in n, in G
    and in sums over all genes, and nowhere else. Equal values at the cut are decided by the blake2b hash of the gene
    name, smaller first. The result has the same bits for any order of cells, chunk size, number of threads and form
    of the matrix (sparse, dense, on disk); another order of genes selects the same genes and changes values by
    rounding.

    Parameters
    ----------
    adata
        Cells x genes: in memory, backed, or with a zarr- or dask-backed matrix. `X` and layers are only read.
    genes
        Gene vectors, from :func:`lexicell.emb.genes`.
    preset
        Formula, from the table above.
    top_n
        Genes kept a cell; the others count as not expressed, except in denominators over all genes. None: all genes.
        Default: the preset's own, 1000 for ``paper`` (the paper does not say its N), all for the others.
    layer, use_raw
        Where the expression stands: ``adata.layers[layer]``, ``adata.raw``, or, by default, ``adata.X``. No other
        place is ever taken in silence.
    normalization
        What the values are. ``"counts"``: raw counts. ``"abundance"``: not whole and not logged (FPKM, TPM, CP10k):
        scaled to 10,000 and logged like counts. ``"log1p"``: used as l as they are. ``"auto"``: decided from the
        structure of the values, refused where that does not tell; the decision stands in ``params``.
    library_size
        Column of ``obs`` with each cell's total over all genes, where the matrix holds only some of them. Default: the
        sum over the matrix.
    l2
        Whether to scale each cell to unit length; None: the preset's own.
    n_components
        Directions of the whitened gene space, for ``whitened``; default: the smaller of the rank of the gene vectors
        and a quarter of the number of genes.
    method
        ``"sparse"``: each cell's genes are added one by one. ``"hybrid"``: genes that many of the first 512 cells keep
        are added densely, by the tile unit for whole numbers (AMX) of Intel's server processors from Sapphire Rapids
        on: a third faster from some 1,000 genes a cell on, as exact; but the last bits then depend on which cells come
        first. Refused on other processors.
    precision
        Of gene vectors inside sums. ``"float32"``, or ``"half"``: rounded to sixteen bits, which changes entries by
        up to a thousandth of a cell's largest and is a quarter faster, with ``hybrid`` twice as fast. Vectors given in
        float16 are taken as they are, in float32.
    key_added
        Key of the result in ``obsm``.
    chunk_size
        Cells worked on at a time; default: as many as fit a few megabytes.
    n_jobs
        Threads; default: as many as the process may use.
    store_genes
        Whether to keep the gene vectors and texts in `adata` too, so that tools need no other file.
    copy
        Whether to return a changed copy and leave `adata` alone.

    Returns
    -------
    None, or the copy. Written, with ``text`` standing for `key_added` without its ``X_``:

    ``obsm["X_text"]``
        Cell embedding, ``(n_cells, dim)`` float32. Cells without any expressed gene that has text are zeros.
    ``obs["text_coverage"]``
        Share of the cell's counts whose gene has text, 0 to 1, float64; of ``expm1(l)`` where values are logged;
        0 for an empty cell.
    ``var["gene_text_source"]``
        Where the text of each gene used came from; empty for the others.
    ``uns["lexicell"]["X_text"]``
        ``genes``: names used, in the order of the matrix; ``gene_embedding``: hash of `genes`; ``params``;
        ``provenance``; for ``whitened`` also ``mean`` and ``sd`` of l of each gene and ``space``; with `store_genes`
        ``gene_vectors`` (``ids``, ``vectors``, ``texts``).

    Raises
    ------
    InputError
        If the values are negative, not finite, or of a kind that cannot be told; if names stand twice or no gene
        matches; if an argument is out of range. Nothing is written then.
    MissingKeyError
        If `layer`, ``adata.raw`` or `library_size` is not there.

    Warns
    -----
    UserWarning
        If cells express no gene that has text.

    References
    ----------
    ``paper``: arXiv:2505.07896. ``genept-w``: Chen and Zou, GenePT, bioRxiv 2023.10.16.562533. ``scelmo-wa`` and
    ``scelmo-aa``: Liu et al., scELMo, bioRxiv 2023.12.07.569910.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> import lexicell as lx
    >>> names = pd.Index(["SOD1", "TARDBP", "unknown"])
    >>> adata = anndata.AnnData(np.array([[3.0, 1, 0], [0, 4, 4]], dtype="float32"), var=pd.DataFrame(index=names))
    >>> genes = lx.GeneEmbedding.from_vectors(["SOD1", "TARDBP"], np.eye(2))
    >>> lx.emb.cells(adata, genes)
    >>> adata.obsm["X_text"].round(2)
    array([[0.53, 0.47],
           [0.  , 1.  ]], dtype=float32)
    >>> adata.obs["text_coverage"].tolist()
    [1.0, 0.5]
    """
    if preset == "genept-s":
        raise InputError(
            "the preset 'genept-s' embeds a sentence a cell, not a text a gene: "
            "call lexicell.emb.sentences(adata, embedder), or 'lexicell embed --preset genept-s'"
        )
    check_choice(preset, PRESETS, "preset")
    check_key_added(key_added)
    _check_target(adata, copy=copy)
    if not isinstance(genes, GeneEmbedding):
        raise InputError(f"genes must be a GeneEmbedding, from lexicell.emb.genes; got {type(genes).__name__}")
    slot = find_slot(adata, layer=layer, use_raw=use_raw, normalization=normalization)
    joined = join(slot, genes)
    sizes = _library_sizes(adata, library_size)
    try:
        pooled = pool(
            slot.rows,
            genes.vectors,
            joined.columns,
            rows=joined.rows,
            preset=preset,
            top_n=top_n,
            l2=l2,
            logged=slot.logged,
            library_size=sizes,
            ranks=tie_ranks(genes.ids[joined.rows]),
            n_components=n_components,
            method=method,
            precision=precision,
            chunk_size=chunk_size,
            n_jobs=n_jobs,
        )
    except BadValueError as error:
        raise named(error, adata, slot, library_size) from None
    warn_empty(int((pooled.n_genes == 0).sum()), adata.n_obs)
    params = describe(
        slot, joined, preset=preset, top_n=top_n, l2=l2, library_size=library_size, method=method, precision=precision
    )
    target = adata.copy() if copy else _writable(adata)
    _write(target, pooled, genes, joined, params, key_added, store_genes=store_genes)
    return target if copy else None


def _check_target(adata: AnnData, *, copy: bool) -> None:
    if adata.isbacked and (copy or adata.is_view):
        what = "copy=True" if copy else "a view"
        raise InputError(f"adata stands on disk, and {what} would need it in memory: call adata.to_memory() first")


def _library_sizes(adata: AnnData, column: str | None) -> NDArray[np.float64] | None:
    if column is None:
        return None
    check_key(column, [str(c) for c in adata.obs.columns], "column in obs")
    try:
        return adata.obs[column].to_numpy(dtype=np.float64)  # type: ignore[no-any-return]
    except (TypeError, ValueError):
        raise InputError(f"obs['{column}'] holds no numbers; library_size= needs totals over all genes") from None


def _writable(adata: AnnData) -> AnnData:
    # Writing to a view copies it with a warning; scanpy does the same, silently.
    if adata.is_view:
        adata._init_as_actual(adata.copy())
    return adata


def _write(
    adata: AnnData,
    pooled: PooledCells,
    genes: GeneEmbedding,
    joined: Joined,
    params: dict[str, Any],
    key: str,
    *,
    store_genes: bool,
) -> None:
    name = _keys.prefix(key)
    entry = make_entry(genes, joined, params, moments=pooled.moments, space=pooled.space, store_genes=store_genes)
    adata.obsm[key] = pooled.embedding
    adata.obs[_keys.coverage(name)] = pooled.coverage
    adata.var[_keys.gene_source(name)] = text_sources(adata.var_names, genes, joined)
    keep_results(adata, key, entry, replace=True)
