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
from .._errors import InputError, LexicellError, choices
from .._expression import DEFAULT_SLOT, Expression, Values, read_values
from .._results import keep_results, recorded_params
from ..core.donors.vulnerability import adjust_bh
from ..core.genes.embedding import GeneEmbedding
from ..core.trajectory import trends as core
from . import words as _words
from ._ordered import Ordered, find_ordered
from ._split_counts import check_split

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["trends"]

DESCRIPTIVE = (
    "descriptive: pseudotime was computed from these values, so no p value is given; ranks and effect sizes only"
)
TESTED = (
    "genes were tested in molecules that the pseudotime has not seen; that holds for these cells, not for new donors"
)
_N_CURVES = 100  # curves kept of genes and of concepts, unless they were named


def trends(
    adata: AnnData,
    *,
    use_rep: str = _keys.X_FUSED,
    branch: str | None = None,
    component: str = "0",
    features: Sequence[str] | None = None,
    queries: Sequence[str] | None = None,
    min_share: float = 0.02,
    n_splines: int = 6,
    test_layer: str | None = None,
    genes: GeneEmbedding | None = None,
    expression: Expression | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Smooth genes and concepts along a pseudotime, rank them by how much they change, and find where they turn.

    By default there are no p values. The pseudotime was computed from the same expression, so genes follow it even in
    pure noise. The table ranks and describes. Whether a change is real is decided by other data, measured time, donors
    (:func:`lexicell.tl.progression`), or molecules kept apart: with `test_layer`, genes are read and tested
    (:func:`lexicell.core.trajectory.trends.trend_test`) in the half of a split that the pseudotime has not seen.

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
    min_share
        Smallest fraction of cells that express a gene.
    n_splines
        Degrees of freedom of a curve, at least 4.
    test_layer
        The other half of :func:`lexicell.tl.split_counts`, if the representation was made from the first. Values,
        curves and p values of genes are then computed from it.
    genes
        Gene vectors for the concepts; None: those behind the representation.
    expression
        Which matrix is read; None: the one the representation was computed from. Not with `test_layer`.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][use_rep]["trends"]``:

    ``table``
        One row per gene or concept, genes first, by decreasing ``explained``: ``feature``, ``kind`` (``gene`` or
        ``concept``), ``rank`` within the kind, ``explained`` (fraction of variance the curve predicts in cells left
        out), ``amplitude`` (range of the curve: log1p of counts per 10,000 for genes, mean z of its genes for
        concepts), ``spearman``, ``peak`` (pseudotime of the highest value), ``steepest`` (of the fastest change),
        ``turning_points`` (positions, joined by ``;``). With `test_layer`: ``p`` and ``q`` (Benjamini-Hochberg over the
        genes tested), NaN for concepts.
    ``curves``
        DataFrame, one column per feature, 100 rows, index the pseudotime: the 100 genes and the 100 concepts with the
        most explained variance, or all of `features` and `queries`.
    ``branches``
        If there are branches, for each pair: ``feature``, ``kind``, ``branch``, ``against`` and ``d`` (difference of
        the means over the pooled standard deviation), by decreasing size of d.
    ``params``
        With ``note``, which says that all this is descriptive, or what the p values are valid for.

    Raises
    ------
    MissingKeyError
        If there is no such trajectory.
    InputError
        If a feature, branch or part does not exist, there are too few cells, or `test_layer` contains molecules that
        the pseudotime has seen.

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
    rows = ordered.rows(component, branch)
    time = ordered.pseudotime[rows]
    values = _values(adata, use_rep, expression, test_layer)
    columns = _columns(values.genes, values.log[rows], features, min_share)
    names = values.genes[columns].astype(str)
    log = sp.csr_matrix(values.log[:, columns])

    fitted = core.trends(time, log[rows], n_splines=n_splines)
    table = _table(fitted, names, "gene")
    if test_layer is not None:
        assert values.counts is not None  # halves of a split are counts
        table["p"] = pd.Series(_p_values(time, values.counts[rows], columns, n_splines))
        table["q"] = adjust_bh(table["p"].to_numpy())
    tables = [table]
    curves = [_curves(fitted, names, table, keep_all=features is not None)]
    branches = [_branches(ordered, component, log, names, "gene")]
    concepts = _concepts(adata, use_rep, values, genes, queries)
    if concepts is not None:
        names, scores = concepts
        fitted = core.trends(time, scores[rows], n_splines=n_splines)
        table = _table(fitted, names, "concept")
        if test_layer is not None:
            table[["p", "q"]] = np.nan
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
            "n_splines": n_splines,
            "min_share": min_share,
            "expression": values.params.get("slot", ""),
            "note": DESCRIPTIVE if test_layer is None else TESTED,
            "test_layer": test_layer or "",
        },
    }
    keep_results(adata, use_rep, {"trends": result})
    return adata if copy else None


def _values(adata: AnnData, use_rep: str, expression: Expression | None, test_layer: str | None) -> Values:
    """Expression of the genes, from the half of the molecules that the pseudotime has not seen if one is named."""
    like = recorded_params(adata, use_rep) or {}
    if test_layer is None:
        return read_values(adata, expression or DEFAULT_SLOT, like=like)
    if expression is not None:
        raise InputError("genes are read from test_layer; leave out expression")
    check_split(adata, test_layer, str(like.get("slot") or ""))
    return read_values(adata, Expression(test_layer, normalization="counts"))


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
    time: NDArray[np.float64], counts: sp.csr_matrix, columns: NDArray[np.int64], n_splines: int
) -> NDArray[np.float64]:
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    # A thinned cell may have no molecules left; it says nothing about any gene.
    some = totals > 0
    counts = sp.csr_matrix(counts)[some]
    return core.trend_test(time[some], counts[:, columns], totals[some], n_splines=n_splines)[1]


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
