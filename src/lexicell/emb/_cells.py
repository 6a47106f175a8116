"""Gene vectors and expression -> cell embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _keys
from .._errors import InputError, check_key_added
from .._expression import Expression, find_slot, library_sizes
from .._results import keep_results
from ..core.genes.embedding import GeneEmbedding
from ..core.pooling.pool import pool
from ..core.pooling.pooler import BadValueError
from ..core.pooling.presets import OWN, find_preset, numpydoc_table
from ..core.pooling.tiebreak import tie_ranks
from .joining import describe, join, make_entry, named, text_sources, warn_empty

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cells"]


def cells(
    adata: AnnData,
    genes: GeneEmbedding,
    *,
    preset: str = "paper",
    top_n: int | str | None = OWN,
    n_components: int | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    library_size: str | None = None,
    key_added: str = _keys.X_TEXT,
    store_genes: bool = False,
    copy: bool = False,
) -> AnnData | None:
    r"""Embed cells by the texts of the genes they express.

    For one cell, x are counts, n is the library size over all genes, :math:`l_g = \log(1 + 10^4 x_g / n)`, v are the
    gene vectors, T are the genes with a text and G is the number of genes of the matrix. The presets:

    %PRESETS%

    mu and sigma are the mean and the population standard deviation of l over the cells of `adata`; whitened vectors are
    those of :class:`lexicell.core.genes.gene_space.GeneSpace`.

    Genes are joined by exact name: ``genes.ids`` against the names of the matrix. Genes without text count in n, in G
    and in sums over all genes, and nowhere else. Equal values at the cut are decided by the blake2b hash of the gene
    name, smaller first. The result has the same bits for any order of cells, number of threads and form of the matrix
    (sparse, dense, on disk); another order of genes selects the same genes and changes values by rounding.

    There is one thread for each processor this process may use; ``NUMBA_NUM_THREADS`` in the environment limits them.

    Parameters
    ----------
    adata
        Cells x genes: in memory, backed, or with a zarr- or dask-backed matrix. `X` and layers are only read.
    genes
        Gene vectors, from :func:`lexicell.emb.genes`.
    preset
        Formula, from the list above.
    top_n
        Genes kept per cell; the others count as not expressed, except in denominators over all genes. None: all genes.
        Default: the preset's own, 1000 for ``paper`` (the paper does not state its N), all for the others.
    n_components
        Directions of the whitened gene space, for ``whitened``; default: the smaller of the rank of the gene vectors
        and a quarter of the number of genes.
    layer, use_raw
        Which matrix is read: ``adata.layers[layer]``, ``adata.raw``, or, by default, ``adata.X``. No other matrix is
        used instead.
    normalization
        What the values are. ``"counts"``: raw counts. ``"abundance"``: not whole and not logged (FPKM, TPM, CP10k):
        scaled to 10,000 and logged like counts. ``"log1p"``: used as given. ``"auto"``: decided from the values, with
        an error where they do not tell; the decision is recorded in ``params``.
    library_size
        Column of ``obs`` with each cell's total over all genes, where the matrix holds only some of them. Default: the
        sum over the matrix.
    key_added
        Key of the result in ``obsm``.
    store_genes
        Whether to keep the gene vectors and texts in `adata` too, so that tools need no other file.
    copy
        Whether to return a changed copy and leave `adata` alone.

    Returns
    -------
    None, or the copy. Written, with ``text`` for `key_added` without its ``X_``:

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
        If values are negative, not finite, or of a kind that cannot be told; if gene names are not unique or none
        matches; if an argument is out of range. Nothing is written then.
    MissingKeyError
        If `layer`, ``adata.raw`` or `library_size` does not exist.

    Warns
    -----
    UserWarning
        If cells express no gene that has text.

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
            "the preset 'genept-s' embeds one sentence per cell, not one text per gene: "
            "call lexicell.emb.sentences(adata, embedder), or 'lexicell embed --preset genept-s'"
        )
    find_preset(preset)
    check_key_added(key_added)
    if adata.isbacked and (copy or adata.is_view):
        what = "copy=True" if copy else "a view"
        raise InputError(f"adata is on disk, and {what} would need it in memory: call adata.to_memory() first")
    if not isinstance(genes, GeneEmbedding):
        raise InputError(f"genes must be a GeneEmbedding, from lexicell.emb.genes; got {type(genes).__name__}")
    expression = Expression(layer, use_raw, normalization, library_size)
    slot = find_slot(adata, expression)
    joined = join(slot, genes)
    try:
        pooled = pool(
            slot.rows,
            genes.vectors,
            joined.columns,
            rows=joined.rows,
            preset=preset,
            top_n=top_n,
            logged=slot.logged,
            library_size=library_sizes(adata, library_size),
            ranks=tie_ranks(genes.ids[joined.rows]),
            n_components=n_components,
        )
    except BadValueError as error:
        raise named(error, adata, slot, library_size) from None
    warn_empty(int((pooled.n_genes == 0).sum()), adata.n_obs)
    if copy:
        adata = adata.copy()
    elif adata.is_view:
        # Writing to a view copies it with a warning; scanpy does the same, silently.
        adata._init_as_actual(adata.copy())
    params = describe(slot, joined, expression, preset, top_n)
    entry = make_entry(genes, joined, params, moments=pooled.moments, space=pooled.space, store_genes=store_genes)
    name = _keys.prefix(key_added)
    adata.obsm[key_added] = pooled.embedding
    adata.obs[_keys.coverage(name)] = pooled.coverage
    adata.var[_keys.gene_source(name)] = text_sources(adata.var_names, genes, joined)
    keep_results(adata, key_added, entry, replace=True)
    return adata if copy else None


cells.__doc__ = str(cells.__doc__).replace("%PRESETS%", numpydoc_table())
