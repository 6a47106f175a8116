"""What a transfer of labels reads from a data set: its components, gene vectors and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, check_column
from .._expression import Expression, Values, read_values, variable_genes
from .._keys import X_TEXT
from .._results import recorded_params
from ..core.expression.components import principal_components, zscore_pca
from ..core.expression.log_values import column_stats, zscore_block
from ..core.genes.embedding import GeneEmbedding
from ..core.transfer.align import Panel
from . import words as _words

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "N_COMPONENTS",
    "N_TOP_GENES",
    "TransferInput",
    "on_shared_genes",
    "own_components",
    "read_input",
    "shared_genes",
]

Floats = NDArray[np.float64]

# Chosen on stimulated Kang cells; other numbers did not hold on other data (docs/transfer.md).
N_COMPONENTS = 20
N_TOP_GENES = 2000
_N_SHARED = 1000  # variable genes that are used where expression itself is compared


@dataclass(frozen=True, eq=False)
class TransferInput:
    """A data set ready to be compared with another.

    Attributes
    ----------
    panel
        Its components with their text vectors.
    loadings, vectors, genes
        Of the genes in the components, in one order: ``(n_genes, k)``, ``(n_genes, d)``, ``(n_genes,)``.
    values
        Log values of the cells that take part.
    varying
        Names of all genes that vary, with and without a text.
    labels
        Label of each cell, or None.
    batches
        Code of each cell's batch; all 0 without batches.
    space
        Embedder, revision and dimensions of the gene vectors.
    """

    panel: Panel
    loadings: Floats
    vectors: Floats
    genes: NDArray[Any]
    values: Values
    varying: NDArray[Any]
    labels: NDArray[Any] | None
    batches: NDArray[np.int64]
    space: str


def read_input(
    adata: AnnData, genes: GeneEmbedding | None, batch: str | None, expression: Expression, label: str | None = None
) -> TransferInput:
    """Read a data set, keep its labeled cells where `label` is given, and find its components.

    Raises
    ------
    InputError
        If too few genes have a text, or labels have one class.
    MissingKeyError
        If a column or the gene vectors are not found.
    """
    labels = None
    if label is not None:
        adata = _labeled(adata, label)
        labels = adata.obs[label].astype(object).map(str).to_numpy(dtype=object)
    known = _words.gene_vectors(adata, X_TEXT, genes)
    like = None if genes is not None and X_TEXT not in adata.obsm else recorded_params(adata, X_TEXT)
    values = read_values(adata, expression, like=like)
    rows = known.rows(values.genes)
    columns = np.flatnonzero(rows >= 0)
    if len(columns) < 3:
        raise InputError(
            f"{len(columns)} genes of the data have a vector: the data has '{values.genes[0]}', the gene embedding "
            f"'{known.ids[0]}'; pass the gene embeddings of both data sets, genes=(of labeled, of adata)"
        )
    with_text = values.subset(columns)
    if batch is None or batch not in adata.obs:
        batches = np.zeros(adata.n_obs, dtype=np.int64)
    else:
        batches = np.asarray(pd.factorize(adata.obs[batch].astype(str))[0], dtype=np.int64)
    chosen, scores, loadings = own_components(with_text, N_COMPONENTS, N_TOP_GENES, batches)
    vectors = known.vectors[rows[columns[chosen]]].astype(np.float64)
    panel = Panel.of(scores, loadings, vectors)
    # Genes without a text count as shared genes, too: expression needs no text.
    varying = np.asarray(values.genes[column_stats(values.log)[1] > 0])
    genes_used = with_text.genes[chosen]
    space = known.embedder_space
    return TransferInput(panel, loadings, vectors, genes_used, values, varying, labels, batches, space)


def own_components(
    values: Values, n_components: int, n_top_genes: int, batches: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Columns, scores and loadings of the principal components of z-scores of a data set's own variable genes."""
    chosen = variable_genes(values, n_top_genes)
    n_cells = values.log.shape[0]
    most = min(n_components, n_cells - 1, len(chosen))
    if most < 1:
        raise InputError("no gene with a text varies between the cells, so there is nothing to compare")
    found = zscore_pca(sp.csr_matrix(values.log[:, chosen]), most)
    if batches is None:
        batches = np.zeros(n_cells, dtype=np.int64)
    return chosen, _center_batches(found.scores.astype(np.float64), batches), found.loadings


def shared_genes(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the genes that two lists of names have in common, in the same order.

    Within a species, genes with the same name; across species, orthologs by the bundled tables, and of the others those
    with the same name in another case. What several genes of one list correspond to is left out.
    """
    from ..sources import guess_organism

    organisms = [guess_organism(names).organism for names in (one, other)]
    if not all(organisms) or organisms[0] == organisms[1]:
        return _same(pd.Index(one), pd.Index(other))
    # Orthologs before names: some genes share a name across species without being orthologs.
    first, second = _same(_human_genes(one, organisms[0]), _human_genes(other, organisms[1]))
    rest_one, rest_other = np.delete(np.arange(len(one)), first), np.delete(np.arange(len(other)), second)
    more = _same(pd.Index(one[rest_one]).str.upper(), pd.Index(other[rest_other]).str.upper())
    return np.concatenate([first, rest_one[more[0]]]), np.concatenate([second, rest_other[more[1]]])


def _same(one: pd.Index[Any], other: pd.Index[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of what occurs exactly once in each of two lists, sorted; empty strings are left out."""
    common = one[~one.duplicated(keep=False)].intersection(other[~other.duplicated(keep=False)]).sort_values()
    common = common[common != ""]
    return one.get_indexer_for(common).astype(np.int64), other.get_indexer_for(common).astype(np.int64)


def _human_genes(names: NDArray[Any], organism: str) -> pd.Index[str]:
    """GeneID of each gene's human ortholog (of a human gene, its own); empty where there is none."""
    from ..sources import bundled, match

    table = bundled.load_table(organism)
    human = table.gene_id if organism == "human" else table.human_gene_id
    rows = match(pd.Index(names), table)["row"]
    return pd.Index([human[row] if row >= 0 else "" for row in rows])


def on_shared_genes(
    source: TransferInput, target: TransferInput, shared: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[Floats, Floats]:
    """Both data sets in components of the shared genes' z-scores, fitted on the source.

    `shared` holds the positions of the shared genes among the varying genes of each, from :func:`shared_genes`.
    """
    own = source.values.subset(source.values.rows(source.varying[shared[0]]))
    others = target.values.subset(target.values.rows(target.varying[shared[1]]))
    variable = variable_genes(own, _N_SHARED)
    S, T = own.subset(variable).log, others.subset(variable).log
    mean, sd = column_stats(S)
    k = min(N_COMPONENTS, S.shape[0] - 1, S.shape[1])
    found = principal_components(lambda start, stop: zscore_block(S[start:stop], mean, sd), S.shape[0], k)
    # Each data set is scaled by its own moments, which removes a constant batch effect on a gene.
    placed = zscore_block(T, *column_stats(T)) @ found.loadings
    return _center_batches(found.scores.astype(np.float64), source.batches), _center_batches(placed, target.batches)


def _labeled(adata: AnnData, label: str) -> AnnData:
    """The cells that have a label, of two classes at least."""
    check_column(adata.obs, label)
    known = adata.obs[label].notna().to_numpy()
    kinds = adata.obs[label][known].map(str).nunique()
    if kinds < 2:
        raise InputError(f"obs['{label}'] holds {kinds} classes; at least two are needed to tell them apart")
    return adata if known.all() else adata[known].copy()


def _center_batches(scores: Floats, batches: NDArray[np.int64]) -> Floats:
    """Scores less the mean of each cell's batch."""
    member = sp.csr_matrix((np.ones(len(batches)), (batches, np.arange(len(batches)))))
    means = np.asarray(member @ scores) / np.bincount(batches)[:, None]
    return np.asarray(scores - means[batches])
