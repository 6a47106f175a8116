"""New cells brought into the space of others: the z-scores, directions and components of an earlier run."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, choices
from .._expression import Expression, Values, read_values
from .._keys import UNS, X_TEXT
from .._results import keep_results, recorded
from ..core.expression.log_values import zscore_block, zscore_sparse
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.gene_space import GeneSpace

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["project"]

_ROWS = 4096
_FEW = 0.5  # share of the genes of the space below which the user is warned


def project(
    adata: AnnData,
    onto: AnnData,
    genes: GeneEmbedding | None = None,
    *,
    use_rep: str = X_TEXT,
    layer: str | None = None,
    use_raw: bool | None = None,
    normalization: str = "auto",
    library_size: str | None = None,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Embed cells in the space of other cells, with nothing fitted anew.

    Means and standard deviations of genes, the gene space, variable genes and components are those stored in
    ``onto.uns["lexicell"][use_rep]``. The same cells get the same values, to rounding; a classifier or a map made
    on `onto` can be used on the new cells. Genes are joined by exact name. A gene of the space that the new
    data lacks counts as average: its z-score is 0.

    Parameters
    ----------
    adata
        New cells.
    onto
        Cells with ``obsm[use_rep]``, written by :func:`cells` (``preset="whitened"``), :func:`fuse` or
        :func:`expression_pca`. Other presets fit nothing on cells: call :func:`cells` with the same genes.
    genes
        The gene vectors that ``use_rep`` was made from; not needed for :func:`expression_pca`.
    use_rep
        Key of the representation in ``onto.obsm``.
    layer, use_raw, normalization, library_size
        Which matrix of `adata` is read, as in :func:`cells`. Default: the one that was read in `onto`.
    key_added
        Key of the result in ``adata.obsm``; default: `use_rep`.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``obsm[key_added]``, ``(n_cells, dim)`` float32, and
    ``uns["lexicell"][key_added]``: the record of `use_rep` in `onto`, with ``params["projected"]`` true.

    Raises
    ------
    MissingKeyError
        If `use_rep` is not recorded in `onto`, or a column or layer does not exist.
    InputError
        If the representation cannot be projected, `genes` are others, no gene is shared, or values cannot be used.

    Warns
    -----
    UserWarning
        If less than half of the genes of the space are in the new data.

    Examples
    --------
    >>> import numpy as np
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> known, new = adata[:600].copy(), adata[600:].copy()
    >>> lx.emb.expression_pca(known, library_size="n_counts")
    >>> lx.emb.project(new, known, use_rep="X_expression")
    >>> new.obsm["X_expression"].shape
    (100, 20)
    """
    adata = adata.copy() if copy else adata
    entry = _entry(onto, use_rep)
    values = read_values(adata, Expression(layer, use_raw, normalization, library_size), like=entry.get("params"))
    whole = "loadings" in entry
    matrix = _components(values, onto, entry, genes) if whole else _whitened(values, entry, genes)
    key = key_added or use_rep
    adata.obsm[key] = matrix.astype(np.float32)
    params = {**entry.get("params", {}), **values.params, "projected": True}
    keep_results(adata, key, {**entry, "params": params}, replace=True)
    return adata if copy else None


def _entry(onto: AnnData, key: str) -> dict[str, Any]:
    """What is recorded about the representation, if it can be projected."""
    entry = recorded(onto, key)
    if not entry:
        known = sorted(k for k, v in onto.uns.get(UNS, {}).items() if isinstance(v, dict) and "params" in v)
        raise MissingKeyError(
            f"`onto` has no record of '{key}' in uns['{UNS}']; there is {choices(known)}. "
            "Make it with lexicell.emb.cells, lexicell.emb.fuse or lexicell.emb.expression_pca"
        )
    if "loadings" not in entry and "space" not in entry:
        preset = entry.get("params", {}).get("preset", "another formula")
        raise InputError(
            f"'{key}' was made with preset='{preset}', which fits nothing on cells: "
            "call lexicell.emb.cells on the new cells with the same genes"
        )
    return entry


def _columns(values: Values, wanted: NDArray[Any], what: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns of the new data, and the places in the space that they fill."""
    columns = values.rows(np.asarray(wanted, dtype=object))
    here = np.flatnonzero(columns >= 0)
    if not len(here):
        raise InputError(
            f"none of the {len(columns):,} genes of the {what} is in the data: it has {choices(values.genes[:3])}, "
            f"the space has {choices([str(g) for g in wanted[:3]])}"
        )
    if len(here) < _FEW * len(columns):
        warnings.warn(
            f"{len(here):,} of the {len(columns):,} genes of the {what} are in the data; the others count as average",
            UserWarning,
            stacklevel=4,
        )
    return columns[here], here


def _whitened(values: Values, entry: dict[str, Any], genes: GeneEmbedding | None) -> NDArray[np.float64]:
    """``z @ whitened vectors`` with the mean, sd and space of `onto`."""
    if genes is None:
        raise InputError("pass genes=, the gene vectors that `onto` was embedded with")
    if genes.hash != str(entry["gene_embedding"]):
        raise InputError("these gene vectors are not those that `onto` was embedded with (their hash differs)")
    columns, here = _columns(values, entry["genes"], "text space")
    vectors = GeneSpace.from_dict(entry["space"]).transform(genes.vectors[genes.rows(entry["genes"][here])])
    z, baseline = zscore_sparse(
        sp.csr_matrix(values.log[:, columns]), np.asarray(entry["mean"])[here], np.asarray(entry["sd"])[here]
    )
    weights = vectors.astype(np.float64)
    return np.asarray(z @ weights + baseline @ weights)


def _components(
    values: Values, onto: AnnData, entry: dict[str, Any], genes: GeneEmbedding | None
) -> NDArray[np.float64]:
    """``(features * scale - center) @ loadings``, the features those of `onto`."""
    columns, here = _columns(values, entry["hvg"], "expression components")
    p = len(entry["hvg"])
    mean, sd = np.asarray(entry["mean"])[here], np.asarray(entry["sd"])[here]
    log = sp.csr_matrix(values.log[:, columns])
    loadings = np.asarray(entry["loadings"], dtype=np.float64)
    scale = np.asarray(entry.get("scale", [1.0]), dtype=np.float64)
    out = np.tile(-np.asarray(entry["center"], dtype=np.float64) @ loadings, (log.shape[0], 1))
    for start in range(0, len(out), _ROWS):
        out[start : start + _ROWS] += zscore_block(log[start : start + _ROWS], mean, sd) @ (scale[0] * loadings[here])
    if "based_on" in entry:
        text = _whitened(values, _entry(onto, str(entry["based_on"])), genes)
        out += text @ (scale[1] * loadings[p:])
    return out
