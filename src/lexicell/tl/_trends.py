"""Genes and concepts along a pseudotime, and those that differ between its branches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, LexicellError, check_column, choices
from .._expression import DEFAULT_SLOT, Expression, Values, read_values, variable_genes
from .._results import keep_results, recorded_params
from ..core.donors.vulnerability import adjust_bh
from ..core.genes.embedding import GeneEmbedding
from ..core.trajectory import trends as core
from ..core.trajectory.donor_trends import donor_trend_test, predict_order
from . import words as _words
from ._ordered import Ordered, find_ordered

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["trends"]

DESCRIPTIVE = (
    "descriptive: pseudotime was computed from these values, so no p value is given; ranks and effect sizes only"
)
TESTED = (
    "p and q are over donors: the order of each donor's cells was predicted from the other donors, without the gene "
    "that is tested"
)
_N_SPLINES = 6  # degrees of freedom of a curve
_N_CURVES = 100  # curves kept of genes and of concepts, unless they were named
_N_PREDICTORS = 1000  # variable genes that predict the order in the test over donors


def trends(
    adata: AnnData,
    *,
    use_rep: str = _keys.X_FUSED,
    branch: str | None = None,
    component: str = "0",
    features: Sequence[str] | None = None,
    queries: Sequence[str] | None = None,
    donor: str | None = None,
    min_share: float = 0.02,
    genes: GeneEmbedding | None = None,
    expression: Expression | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Smooth genes and concepts along a pseudotime, rank them by how much they change, and find where they turn.

    Without `donor` there are no p values. The pseudotime was computed from the same expression, so genes follow it even
    in pure noise: the table ranks and describes. With `donor`, genes are tested over donors
    (:func:`lexicell.core.trajectory.donor_trends.donor_trend_test`): the order of each donor's cells is predicted from
    the pseudotimes of all other donors, without the gene that is tested, and a moderated t asks whether the gene rises,
    falls or bends along it in the donors alike. Donors may differ in level. Whether
    pseudotime itself follows a disease is the question of :func:`lexicell.tl.progression`.

    Parameters
    ----------
    adata
        Cells with a trajectory.
    use_rep
        Representation that :func:`lexicell.tl.trajectory` was run on.
    branch
        Terminal branch: only cells on the way to it are used. None: all cells of the connected part.
    component
        Connected part of the graph.
    features
        Genes to look at. None: all that at least `min_share` of the cells express.
    queries
        Phrases to follow along the pseudotime, embedded by the embedder of the gene vectors. None: the concepts of the
        shipped lexicon, if they have vectors of the same embedder. An empty list: no concepts.
    donor
        Column of ``obs`` with donors, at least three of 20 cells each: genes are then tested. Needs counts.
    min_share
        Smallest fraction of cells that express a gene.
    genes
        Gene vectors for the concepts; None: those behind the representation.
    expression
        Which matrix is read; None: the one the representation was computed from.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][use_rep]["trends"]``:

    ``table``
        One row per gene or concept, genes first, by decreasing ``explained``: ``feature``, ``kind`` (``gene`` or
        ``concept``), ``rank`` within the kind, ``explained`` (fraction of variance the curve, a cubic spline of six
        degrees of freedom, predicts in cells left out), ``amplitude`` (range of the curve: log1p of counts per 10,000
        for genes, mean z of its genes for concepts), ``spearman``, ``peak`` (pseudotime of the highest value),
        ``steepest`` (of the fastest change), ``turning_points`` (positions, joined by ``;``). With `donor`: ``p`` and
        ``q`` (Benjamini-Hochberg over the genes tested), NaN for concepts.
    ``curves``
        DataFrame, one column per feature, 100 rows, index the pseudotime: the 100 genes and the 100 concepts with the
        most explained variance, or all of `features` and `queries`.
    ``branches``
        If there are branches, for each pair: ``feature``, ``kind``, ``branch``, ``against`` and ``d`` (difference of
        the means over the pooled standard deviation), by decreasing size of d.
    ``params``
        With ``note``, which says that all this is descriptive, or what was tested.

    Raises
    ------
    MissingKeyError
        If there is no such trajectory or column.
    InputError
        If a feature, branch or part does not exist, or there are too few cells; with `donor`, if there are fewer than
        three donors or 20 cells in one, or no counts.

    Warns
    -----
    UserWarning
        If there are no concepts, with the reason.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=0)
    >>> lx.tl.trends(adata, use_rep="X_expression", queries=[])
    >>> "p" in adata.uns["lexicell"]["X_expression"]["trends"]["table"]
    False
    """
    adata = adata.copy() if copy else adata
    ordered = find_ordered(adata, use_rep)
    if donor is not None:
        check_column(adata.obs, donor)
    rows = ordered.rows(component, branch)
    time = ordered.pseudotime[rows]
    values = read_values(adata, expression or DEFAULT_SLOT, like=recorded_params(adata, use_rep) or {})
    # Genes of the branch: one that only other branches express has no curve here.
    columns = _columns(values.genes, values.log[rows], features, min_share)
    names = values.genes[columns].astype(str)
    log = sp.csr_matrix(values.log[:, columns])
    fitted = core.trends(time, log[rows], n_splines=_N_SPLINES)
    table = _table(fitted, names, "gene")
    n_donors = 0
    if donor is not None:
        p, n_donors = _p_values(adata, donor, values, rows, time, columns)
        table["p"] = pd.Series(p)
        table["q"] = adjust_bh(table["p"].to_numpy())
    tables = [table]
    curves = [_curves(fitted, names, table, keep_all=features is not None)]
    branches = [_branches(ordered, component, log, names, "gene")]
    concepts = _concepts(adata, use_rep, values, genes, queries)
    if concepts is not None:
        names, scores = concepts
        fitted = core.trends(time, scores[rows], n_splines=_N_SPLINES)
        table = _table(fitted, names, "concept")
        tables.append(table)
        curves.append(_curves(fitted, names, table, keep_all=queries is not None))
        branches.append(_branches(ordered, component, scores, names, "concept"))
    result: dict[str, Any] = {
        "table": pd.concat(tables, ignore_index=True),
        "curves": _joined(curves),
        "branches": pd.concat(branches, ignore_index=True),
        "params": {
            "branch": branch or "",
            "component": component,
            "n_cells": len(rows),
            "min_share": min_share,
            "expression": values.params.get("slot", ""),
            "note": DESCRIPTIVE if donor is None else TESTED,
            "donor": donor or "",
            "n_donors": n_donors,
        },
    }
    keep_results(adata, use_rep, {"trends": result})
    return adata if copy else None


def _columns(
    names: NDArray[Any], log: sp.csr_matrix, features: Sequence[str] | None, min_share: float
) -> NDArray[np.int64]:
    """Columns of the genes to look at."""
    if features is not None:
        wanted = pd.Index([str(f) for f in features])
        at = pd.Index(names).get_indexer(wanted)
        if (at < 0).any() or len(at) == 0:
            missing = wanted[at < 0]
            raise InputError(f"genes not in the data: {choices(missing)}; the data has {choices(names[:5])}, ...")
        return np.asarray(at, dtype=np.int64)
    share = np.bincount(log.indices[log.data > 0], minlength=log.shape[1]) / max(log.shape[0], 1)
    kept = np.flatnonzero(share >= max(min_share, 1e-12))
    if not len(kept):
        raise InputError(f"no gene is expressed in {min_share:.0%} of the cells; lower min_share")
    return kept


def _p_values(
    adata: AnnData,
    donor: str,
    values: Values,
    rows: NDArray[np.int64],
    time: NDArray[np.float64],
    columns: NDArray[np.int64],
) -> tuple[NDArray[np.float64], int]:
    """P value of each gene over donors, and the number of donors."""
    if values.counts is None:
        raise InputError(
            "the test over donors (donor=) reads counts, and the representation was computed from log values; name the "
            "layer that holds counts with expression=lexicell.Expression(...)"
        )
    counts = sp.csr_matrix(values.counts[rows])
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    # A cell without counts has no order and no weight.
    known = adata.obs[donor].notna().to_numpy()[rows] & (totals > 0)
    codes = pd.factorize(adata.obs[donor].astype(object).to_numpy()[rows][known], sort=True)[0].astype(np.int64)
    # Chosen over all cells: which genes vary says nothing of how they change along the order.
    predictors = variable_genes(values, _N_PREDICTORS)
    log = sp.csr_matrix(values.log[rows][known][:, predictors])
    order = predict_order(log, time[known], codes)
    place = pd.Index(predictors).get_indexer(pd.Index(columns))
    p = donor_trend_test(order, log, counts[known][:, columns], totals[known], codes, place)
    return p, int(codes.max()) + 1


def _concepts(
    adata: AnnData, use_rep: str, values: Values, genes: GeneEmbedding | None, queries: Sequence[str] | None
) -> tuple[NDArray[Any], NDArray[np.float64]] | None:
    """Names and scores, cells x concepts; None, with a warning, if there are no vectors to compute them from."""
    from ..core.genes.concepts import cell_scores

    if queries is not None and len(queries) == 0:
        return None
    try:
        known = _words.gene_vectors(adata, use_rep, genes)
        phrases = _words.shipped_lexicon(known) if queries is None else _words.phrases_of(queries, known)
        if phrases is None:
            raise InputError(_words.NO_LEXICON)
        z = _words.zscores(values, known)
    except LexicellError as error:
        if queries is not None:
            raise
        warnings.warn(f"no concepts along the trajectory: {error}", UserWarning, stacklevel=3)
        return None
    scores = cell_scores(z.deviations, z.baseline, phrases.sets(z.ids))
    return phrases.names.astype(str), scores


def _table(fitted: core.Trends, names: NDArray[Any], kind: str) -> pd.DataFrame:
    """One row per feature, by decreasing explained variance; the index is its column in `fitted`."""
    slope = np.abs(np.gradient(fitted.curves, fitted.grid, axis=0))
    turns = []
    for curve in fitted.curves.T:
        positions = core.turning_points(fitted.grid, curve)
        turns.append(";".join(f"{t:.3f}" for t in positions))
    table = pd.DataFrame(
        {
            "feature": names,
            "kind": kind,
            "rank": 0,
            "explained": fitted.explained,
            "amplitude": fitted.amplitude,
            "spearman": fitted.spearman,
            "peak": fitted.grid[fitted.curves.argmax(axis=0)],
            "steepest": fitted.grid[slope.argmax(axis=0)],
            "turning_points": turns,
        }
    ).sort_values("explained", ascending=False, kind="stable")
    table["rank"] = np.arange(1, len(table) + 1)
    return table


def _curves(fitted: core.Trends, names: NDArray[Any], table: pd.DataFrame, *, keep_all: bool) -> pd.DataFrame:
    kept = table.index if keep_all else table.index[:_N_CURVES]
    return pd.DataFrame(fitted.curves[:, kept], columns=pd.Index(names[kept]), index=fitted.grid)


def _joined(curves: list[pd.DataFrame]) -> pd.DataFrame:
    """Genes and concepts side by side; a concept with the name of a gene gets a number."""
    table = pd.concat(curves, axis=1)
    seen: dict[str, int] = {}
    names = []
    for column in table.columns:
        name = _keys.column_name(column)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    table.columns = pd.Index(names)
    table.index.name = "pseudotime"
    return table


def _branches(ordered: Ordered, component: str, matrix: Any, names: NDArray[Any], kind: str) -> pd.DataFrame:
    """Features by the size of their difference, for each pair of branches."""
    tables = [
        pd.DataFrame({"feature": [], "kind": [], "branch": [], "against": [], "d": []}).astype(
            {"feature": str, "kind": str, "branch": str, "against": str, "d": float}
        )
    ]
    cells = {}
    for end in ordered.ends(component).index:
        rows = np.flatnonzero((ordered.component == component) & (ordered.branch == end))
        if len(rows) > 1:
            cells[end] = rows
    for one, other in combinations(cells, 2):
        d = core.separation(matrix, cells[one], cells[other])
        table = pd.DataFrame({"feature": names, "kind": kind, "branch": one, "against": other, "d": d})
        tables.append(table.iloc[np.argsort(-np.abs(d), kind="stable")])
    return pd.concat(tables)
