"""A cell embedding as weights of genes times vectors of genes.

Every preset but `genept-s`, the fusion with expression and the expression baseline are linear in the genes. That form
is rebuilt from what was recorded and checked against the embedding itself, so that statements about genes are about the
numbers in the object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, choices
from .._expression import Expression, Values, find_slot, read_values
from .._results import recorded
from ..core.expression.log_values import zscore_sparse
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.gene_space import GeneSpace
from ..core.genes.perturbation import Change
from ..core.pooling.moments import Moments
from ..core.pooling.presets import PRESETS
from ..core.pooling.tiebreak import tie_ranks
from . import words as _words

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["LinearForm", "linear_form"]

_CHECKED = 16  # cells whose embedding is computed again
_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class LinearForm:
    """``embedding = (weights + baseline) @ vectors + offset``, before scaling to unit length.

    Attributes
    ----------
    ids
        Gene of each row of `vectors`; a gene may have two rows, one for its text and one for its expression.
    by_text
        Whether a row acts through its text.
    weights, baseline
        Cells x rows, sparse, and one row that every cell has in addition.
    vectors
        ``(n_rows, dim)`` float64.
    offset
        ``(dim,)``.
    is_scaled
        Whether the embedding itself was scaled to unit length afterwards.
    values
        The expression behind it.
    is_normalized
        Whether the weights of a cell are shares of a sum over its genes, so that all change when one does.
    """

    ids: NDArray[Any]
    by_text: NDArray[np.bool_]
    weights: sp.csr_matrix
    baseline: NDArray[np.float64]
    vectors: NDArray[np.float64]
    offset: NDArray[np.float64]
    is_scaled: bool
    values: Values
    is_normalized: bool = False

    def mean_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean weight of every gene over some cells."""
        total = np.asarray(self.weights[rows].sum(axis=0), dtype=np.float64).ravel()
        return np.asarray(total / len(rows) + self.baseline)

    def embed(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The embedding of some cells, before scaling to unit length."""
        full = self.weights[rows] @ self.vectors + self.baseline @ self.vectors + self.offset
        return np.asarray(full, dtype=np.float64)

    def embed_scaled(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The embedding of some cells as ``obsm`` holds it."""
        made = self.embed(rows)
        if self.is_scaled:
            made = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-300)
        return made


def linear_form(
    adata: AnnData, use_rep: str, genes: GeneEmbedding | None = None, *, change: Change | None = None
) -> LinearForm:
    """Build the linear form of a representation, and check it on some cells.

    With a `change`, it is that of the cells after the change: moments, gene space and components stay as recorded, and
    the top N and sums over a cell's genes are computed again. That form is not checked.

    Raises
    ------
    InputError
        If the representation is not linear in genes or lexicell recorded nothing about it, or if the cells or the
        counts were changed since it was made.
    MissingKeyError
        If the gene vectors cannot be found.
    """
    entry = recorded(adata, use_rep)
    if "gene_embedding" in entry:
        form = _text(adata, use_rep, entry, genes, change)
    elif "based_on" in entry:
        form = _fused(adata, entry, genes, change)
    elif "hvg" in entry:
        form = _expression(adata, entry, change)
    else:
        raise InputError(
            f"nothing is recorded on how obsm['{use_rep}'] was made, so it cannot be taken apart into genes; use an "
            "embedding made by lexicell.emb.cells, lexicell.emb.fuse or lexicell.emb.expression_pca"
        )
    if change is None:
        _check(adata, use_rep, form)
    return form


def _read(adata: AnnData, params: dict[str, Any], change: Change | None) -> Values:
    values = read_values(adata, like=params)
    if change is None:
        return values
    columns = values.rows(np.asarray(change.genes, dtype=object))
    if (columns < 0).any():
        missing = [g for g, column in zip(change.genes, columns, strict=True) if column < 0]
        raise MissingKeyError(f"{len(missing)} of the genes to change are not in the data: {choices(missing, limit=5)}")
    log = change.log(values.log, columns, logged=values.params["normalization"] == "log1p")
    return replace(values, log=log)


def _check(adata: AnnData, use_rep: str, form: LinearForm) -> None:
    # A few cells are enough: whatever changed since (counts, vectors, order of cells) changes nearly all of them.
    rows = np.unique(np.linspace(0, adata.n_obs - 1, _CHECKED).astype(np.int64))
    stored = np.asarray(adata.obsm[use_rep])[rows].astype(np.float64)
    made = form.embed_scaled(rows)
    if made.shape != stored.shape or np.linalg.norm(made - stored) > _TOLERANCE * np.linalg.norm(stored):
        raise InputError(
            f"obsm['{use_rep}'] is not what its genes give now: cells, counts or gene vectors were changed since it "
            "was made; make it again"
        )


def _text(
    adata: AnnData, use_rep: str, entry: dict[str, Any], genes: GeneEmbedding | None, change: Change | None
) -> LinearForm:
    """The form of a text embedding."""
    params = entry["params"]
    preset = str(params["preset"])
    if preset not in PRESETS:
        raise InputError(f"preset '{preset}' is not a sum over genes, so it cannot be taken apart into genes")
    used = np.asarray(entry["genes"]).astype(object)
    known = _words.gene_vectors(adata, use_rep, genes).subset(used)
    # Log values over all genes of the matrix: some presets divide by sums that include genes without text.
    values = _read(adata, params, change)
    columns = values.rows(used)
    log = _kept(adata, values, columns, known.ids, params, change)
    chosen, moments, vectors = PRESETS[preset], None, known.vectors
    if chosen.z_scored:
        moments = Moments(np.asarray(entry["mean"]), np.asarray(entry["sd"]))
        vectors = GeneSpace.from_dict(entry["space"]).transform(vectors)
    weights, baseline = chosen.weights(log, values.log, moments)
    return LinearForm(
        ids=used,
        by_text=np.ones(len(used), dtype=bool),
        weights=sp.csr_matrix(weights),
        baseline=baseline,
        vectors=vectors.astype(np.float64),
        offset=np.zeros(vectors.shape[1]),
        is_scaled=bool(params["l2"]),
        values=values,
        is_normalized=chosen.is_normalized,
    )


def _kept(
    adata: AnnData,
    values: Values,
    columns: NDArray[np.int64],
    ids: NDArray[Any],
    params: dict[str, Any],
    change: Change | None,
) -> sp.csr_matrix:
    """Log values of the genes with text, cut to the top N of each cell as the embedding cut them."""
    log = sp.csr_matrix(values.log[:, columns])
    if str(params.get("top_n", "all")) == "all":
        return log
    # Equal counts are equal before the logarithm and may differ after it; the cut is made on what is stored.
    found = find_slot(adata, Expression.recorded(params))
    raw = found.rows.read(0, found.rows.shape[0])
    parts = raw.values if hasattr(raw, "values") else (raw.data, raw.indices, raw.indptr)
    stored = sp.csr_matrix(parts, shape=found.rows.shape)
    if change is not None:
        # The library divides all genes of a cell alike, so it does not change their order.
        factor = np.ones(stored.shape[1])
        factor[values.rows(np.asarray(change.genes, dtype=object))] = change.fold
        stored = values.log if found.logged else sp.csr_matrix(stored @ sp.diags_array(factor))
    part = sp.csr_matrix(stored[:, columns])
    part.sum_duplicates()
    part.eliminate_zeros()
    log.eliminate_zeros()
    keep = _first(part, tie_ranks(ids), int(params["top_n"]))
    return sp.csr_matrix(log.multiply(keep))


def _first(values: sp.csr_matrix, ranks: NDArray[np.int32], top_n: int) -> sp.csr_matrix:
    """Ones at the `top_n` largest values of each row; among equals the gene of smaller rank."""
    row = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))
    # The tie rule of the embedding itself, or equal counts at the cut would give another set of genes.
    order = np.lexsort((ranks[values.indices], -values.data, row))
    place = np.arange(len(order)) - values.indptr[row[order]]
    chosen = order[place < top_n]
    return sp.csr_matrix((np.ones(len(chosen)), (row[chosen], values.indices[chosen])), shape=values.shape)


def _expression(adata: AnnData, entry: dict[str, Any], change: Change | None) -> LinearForm:
    """The form of the expression baseline."""
    values = _read(adata, entry["params"], change)
    used, weights, baseline = _zscored(values, entry)
    loadings = np.asarray(entry["loadings"], dtype=np.float64)
    # Components are of centered z-scores; the center belongs to no cell and no single gene.
    offset = -np.asarray(entry["center"]) @ loadings
    return LinearForm(used, np.zeros(len(used), dtype=bool), weights, baseline, loadings, offset, False, values)


def _fused(adata: AnnData, entry: dict[str, Any], genes: GeneEmbedding | None, change: Change | None) -> LinearForm:
    """The form of text and expression fused: components over both."""
    basis = str(entry["based_on"])
    text = _text(adata, basis, recorded(adata, basis), genes, change)
    values = _read(adata, entry["params"], change)
    used, weights, baseline = _zscored(values, entry)
    loadings = np.asarray(entry["loadings"], dtype=np.float64)
    scale = np.asarray(entry["scale"], dtype=np.float64)
    p = len(used)
    return LinearForm(
        np.concatenate([used, text.ids]),
        np.concatenate([np.zeros(p, dtype=bool), text.by_text]),
        sp.csr_matrix(sp.hstack([weights, text.weights])),
        np.concatenate([baseline, text.baseline]),
        # The second stage rotates concatenated blocks, so each block's vectors are its own rows of the loadings.
        np.vstack([scale[0] * loadings[:p], scale[1] * text.vectors @ loadings[p:]]),
        -np.asarray(entry["center"]) @ loadings,
        False,
        values,
        text.is_normalized,
    )


def _zscored(values: Values, entry: dict[str, Any]) -> tuple[NDArray[Any], sp.csr_matrix, NDArray[np.float64]]:
    used = np.asarray(entry["hvg"]).astype(object)
    columns = values.rows(used)
    if (columns < 0).any():
        raise InputError(f"{int((columns < 0).sum())} of the variable genes are no longer in the data")
    log = sp.csr_matrix(values.log[:, columns])
    weights, baseline = zscore_sparse(log, np.asarray(entry["mean"]), np.asarray(entry["sd"]))
    return used, weights, baseline
