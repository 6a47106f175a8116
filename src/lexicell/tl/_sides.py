"""One side of a comparison of two data sets: its components, gene vectors and labels, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, check_key
from .._results import recorded
from .._values import Values, read_values, variable_genes
from ..core.embedding import GeneEmbedding
from ..core.expression import column_stats, principal_components, zscore_block, zscore_pca
from ..core.transfer import Panel
from . import _words

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Side", "genome", "on_shared_genes", "own_components", "side_of", "unit"]


@dataclass(frozen=True, eq=False)
class Side:
    """A data set ready to be compared.

    Attributes
    ----------
    panel
        Its components with their text vectors.
    loadings, vectors, genes
        Of the genes in the components, in one order: ``(n_genes, k)``, ``(n_genes, d)``, ``(n_genes,)``.
    values, columns
        Log values of the cells that take part, and the columns of genes that vary, with their names `all_genes`.
    labels
        Label of each cell, or None.
    batches
        Code of each cell's batch; all 0 without batches.
    space
        Embedder, revision and dimensions.
    """

    panel: Panel
    loadings: NDArray[np.float64]
    vectors: NDArray[np.float64]
    genes: NDArray[Any]
    values: Values
    labels: NDArray[Any] | None
    batches: NDArray[np.int64]
    space: str

    @property
    def all_genes(self) -> NDArray[Any]:
        """Genes that vary, with and without a text."""
        _, sd = column_stats(self.values.log)
        return np.asarray(self.values.genes[sd > 0])

    def shuffles(self, n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Axes ``(n, k, d)`` and loads ``(n, k)`` with gene vectors exchanged between genes."""
        rng = np.random.default_rng(seed)
        axes = [self.loadings.T @ self.vectors[rng.permutation(len(self.vectors))] for _ in range(n)]
        return np.asarray(axes), np.tile(self.panel.loads, (n, 1))


def side_of(
    adata: AnnData,
    genes: GeneEmbedding | None,
    *,
    use_rep: str,
    n_components: int,
    n_top_genes: int | None,
    batch: str | None,
    layer: str | None,
    use_raw: bool | None,
    library_size: str | None,
    label: str | None = None,
) -> Side:
    """Read a data set, keep its labelled cells where `label` is given, and find its components.

    Raises
    ------
    InputError
        If too few genes have a text, or labels have one class.
    MissingKeyError
        If a column or the gene vectors are not there.
    """
    if label is not None:
        check_key(label, [str(c) for c in adata.obs.columns], "column in obs")
        adata = _labelled(adata, label)
    known = _words.gene_vectors(adata, use_rep, genes)
    like = None if genes is not None and use_rep not in adata.obsm else _like(adata, use_rep)
    values = read_values(adata, layer=layer, use_raw=use_raw, library_size=library_size, like=like)
    rows = known.rows(values.genes)
    columns = np.flatnonzero(rows >= 0)
    if len(columns) < 3:
        raise InputError(
            f"{len(columns)} genes of the data have a vector: the data has '{values.genes[0]}', the gene embedding "
            f"'{known.ids[0]}'; pass the gene embedding of each data set (genes=, target_genes=)"
        )
    spoken = Values(
        values.genes[columns], sp.csr_matrix(values.log[:, columns]),
        None if values.counts is None else sp.csr_matrix(values.counts[:, columns]), values.params,
    )  # fmt: skip
    batches = _batches(adata, batch)
    chosen, scores, loadings = own_components(spoken, n_components, n_top_genes, batches)
    vectors = known.vectors[rows[columns[chosen]]].astype(np.float64)
    labels = None if label is None else adata.obs[label].astype(object).map(str).to_numpy(dtype=object)
    space = "{}@{}/{}".format(known.provenance.get("embedder", ""), known.provenance.get("revision", ""), known.dim)
    return Side(
        Panel.of(scores, loadings, vectors), loadings, vectors, spoken.genes[chosen], values, labels, batches, space
    )


def own_components(
    values: Values, n_components: int, n_top_genes: int | None, batches: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Columns, scores and loadings of the principal components of z-scores of a data set's own variable genes."""
    chosen = variable_genes(values, len(values.genes) if n_top_genes is None else n_top_genes)
    n_cells = values.log.shape[0]
    most = min(n_components, n_cells - 1, len(chosen))
    if most < 1:
        raise InputError("no gene with a text varies between the cells, so there is nothing to compare")
    found = zscore_pca(sp.csr_matrix(values.log[:, chosen]), most)
    codes = np.zeros(n_cells, dtype=np.int64) if batches is None else batches
    return chosen, _centre_batches(found.scores.astype(np.float64), codes), found.loadings


def on_shared_genes(
    source: Side | None, target: Side, n_components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both data sets in components of the shared genes' z-scores, fitted on the source."""
    assert source is not None
    shared = sorted(set(source.all_genes) & set(target.all_genes))
    at = source.values.rows(np.asarray(shared, dtype=object))
    own = Values(
        source.values.genes[at], sp.csr_matrix(source.values.log[:, at]),
        None if source.values.counts is None else sp.csr_matrix(source.values.counts[:, at]), source.values.params,
    )  # fmt: skip
    names = own.genes[variable_genes(own, 1000)]
    S, T = (sp.csr_matrix(side.values.log[:, side.values.rows(names)]) for side in (source, target))
    (mean_s, sd_s), (mean_t, sd_t) = column_stats(S), column_stats(T)
    k = min(n_components, S.shape[0] - 1, len(names))
    found = principal_components(lambda a, b: zscore_block(S[a:b], mean_s, sd_s), S.shape[0], k)
    placed = zscore_block(T, mean_t, sd_t) @ found.loadings
    return (
        _centre_batches(found.scores.astype(np.float64), source.batches),
        _centre_batches(placed, target.batches),
    )


def genome(space: str) -> NDArray[np.float64]:
    """Vectors of all bundled human genes.

    Raises
    ------
    InputError
        If `space` is not that of the bundle.
    """
    from ..sources import bundled

    shipped = "{embedder}@{revision}".format(**bundled.load_manifest()["vectors"])
    if space.rpartition("/")[0] != shipped:
        raise InputError(f"space='genome' needs vectors of the bundle's embedder '{shipped}', not '{space}'")
    table = bundled.load_table("human")
    rows = np.asarray([int(r) for r in table.extra["text_row"]])
    return np.asarray(bundled.load_vectors()[np.unique(rows[rows >= 0])], dtype=np.float64)


def unit(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of unit length; zeros stay."""
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(X / np.where(length > 0, length, 1.0))


def _like(adata: AnnData, use_rep: str) -> dict[str, Any] | None:
    return recorded(adata, use_rep).get("params") or _words.text_entry(adata, use_rep).get("params")


def _labelled(adata: AnnData, label: str) -> AnnData:
    known = adata.obs[label].notna().to_numpy()
    kinds = adata.obs[label][known].map(str).nunique()
    if kinds < 2:
        raise InputError(f"obs['{label}'] holds {kinds} classes; at least two are needed to tell them apart")
    return adata if known.all() else adata[known].copy()


def _batches(adata: AnnData, batch: str | None) -> NDArray[np.int64]:
    if batch is None or batch not in adata.obs:
        return np.zeros(adata.n_obs, dtype=np.int64)
    import pandas as pd

    return np.asarray(pd.factorize(adata.obs[batch].astype(str))[0], dtype=np.int64)


def _centre_batches(scores: NDArray[np.float64], batches: NDArray[np.int64]) -> NDArray[np.float64]:
    member = sp.csr_matrix((np.ones(len(batches)), (batches, np.arange(len(batches)))))
    means = np.asarray(member @ scores) / np.bincount(batches)[:, None]
    return np.asarray(scores - means[batches])
