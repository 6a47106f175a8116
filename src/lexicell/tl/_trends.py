"""Genes and concepts along a pseudotime, and those that set its branches apart."""

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
from .._results import keep_results, recorded
from .._values import read_values
from ..core import trends as core
from ..core.embedding import GeneEmbedding
from ..core.vulnerability import adjust_bh
from . import _words
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


def trends(
    adata: AnnData,
    *,
    key: str = _keys.X_FUSED,
    branch: str | None = None,
    component: str = "0",
    features: Sequence[str] | None = None,
    queries: Sequence[str] | None = None,
    words: bool = True,
    min_share: float = 0.02,
    n_splines: int = 6,
    n_grid: int = 100,
    n_curves: int = 100,
    test_layer: str | None = None,
    genes: GeneEmbedding | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Smooth genes and concepts along a pseudotime, rank them by how much they change, and say where they turn.

    No p values as a rule. The pseudotime was computed from the same expression, so some genes follow it even in pure
    noise. The table ranks and describes; whether a change holds is a question to other data, to measured time, to
    donors (:func:`lexicell.tl.progression`), or to molecules kept apart: with `test_layer`, genes are read and tested
    (:func:`lexicell.core.trends.trend_test`) in the half of a split that the pseudotime has not seen.

    Parameters
    ----------
    adata
        Cells with a trajectory.
    key
        Key under which :func:`lexicell.tl.trajectory` wrote: its `use_rep`, or its `key_added`.
    branch
        Terminal branch: only cells on the way to it take part. None: all cells of the part.
    component
        Connected part of the graph.
    features
        Genes to look at. None: all that at least `min_share` of the cells express.
    queries
        Phrases to follow along the pseudotime, embedded by the embedder of the gene vectors. None: the concepts of the
        shipped lexicon, where their vectors fit the genes'.
    words
        Whether to follow concepts at all.
    min_share
        Smallest share of cells that express a gene.
    n_splines
        Degrees of freedom of a curve.
    n_grid
        Points of a curve.
    n_curves
        Curves kept of genes and of concepts, those with the most explained variance; all of `features` and `queries`.
    test_layer
        The other half of :func:`lexicell.tl.split_counts`, where the representation was made from the first. Values,
        curves and p values of genes then come from it.
    genes
        Gene vectors for the concepts; None: those behind the representation.
    layer, use_raw
        Where expression stands; default: where the representation was computed from.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][key]["trends"]``:

    ``table``
        One row a gene or concept, genes first, by falling ``explained``: ``feature``, ``kind``, ``rank`` within the
        kind, ``explained`` (share of variance the curve predicts in cells left out), ``amplitude`` (range of the curve:
        log1p of counts per 10,000 for genes, mean z of its genes for concepts), ``spearman``, ``peak`` (pseudotime of
        the highest value), ``steepest`` (of the fastest change), ``turning_points`` (positions, joined by ``;``). With
        `test_layer`: ``p`` and ``q`` (Benjamini-Hochberg over the genes tested), NaN for concepts.
    ``curves``
        DataFrame, one column a feature, index the pseudotime.
    ``branches``
        Where there are branches: for each pair, ``feature``, ``kind``, ``branch``, ``against`` and ``d`` (difference of
        the means over the pooled standard deviation), by falling size of d.
    ``params``
        With ``note``, which says that all this is descriptive, or what the p values hold for.

    Raises
    ------
    MissingKeyError
        If there is no such trajectory.
    InputError
        If a feature, branch or part is not there, too few cells take part, or `test_layer` holds molecules that the
        pseudotime has seen.

    Warns
    -----
    UserWarning
        If concepts were wanted and there are none, with the reason.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=0)
    >>> lx.tl.trends(adata, key="X_expression", words=False)
    >>> "p" in adata.uns["lexicell"]["X_expression"]["trends"]["table"]
    False
    """
    adata = adata.copy() if copy else adata
    ordered = find_ordered(adata, key)
    rows = ordered.rows(component, branch)
    like = recorded(adata, ordered.use_rep).get("params") or _words.text_entry(adata, ordered.use_rep).get("params")
    if test_layer is not None:
        if layer is not None or use_raw:
            raise InputError("test_layer is read in place of layer and use_raw; give one of them")
        check_split(adata, test_layer, str((like or {}).get("slot") or ""))
        values = read_values(adata, layer=test_layer, normalization="counts")
    else:
        values = read_values(adata, layer=layer, use_raw=use_raw, like=like)
    columns = _columns(values.genes, values.log[rows], features, min_share)
    kinds = [("gene", values.genes[columns].astype(str), sp.csr_matrix(values.log[:, columns]))]
    if words:
        found = _concepts(adata, ordered, values, genes, queries)
        if found is not None:
            kinds.append(("concept", *found))

    tables, curves, branches = [], [], []
    for kind, names, matrix in kinds:
        fitted = core.trends(ordered.pseudotime[rows], matrix[rows], n_splines=n_splines, n_grid=n_grid)
        table = _table(fitted, names, kind)
        if test_layer is not None:
            p = _p_values(ordered.pseudotime[rows], values, rows, columns, n_splines) if kind == "gene" else np.nan
            table["p"] = pd.Series(p, index=range(len(names)))
            table["q"] = adjust_bh(table["p"].to_numpy())
        asked = features if kind == "gene" else queries
        keep = table.index if asked is not None else table.index[:n_curves]
        curves.append(pd.DataFrame(fitted.curves[:, keep], columns=pd.Index(names[keep]), index=fitted.grid))
        tables.append(table)
        branches.append(_branches(ordered, component, matrix, names, kind))
    result: dict[str, Any] = {
        "table": pd.concat(tables, ignore_index=True),
        "curves": _joined(curves),
        "branches": pd.concat(branches, ignore_index=True),
        "params": {
            "branch": branch or "", "component": component, "n_cells": len(rows), "n_splines": n_splines,
            "min_share": min_share, "expression": values.params.get("slot", ""),
            "note": DESCRIPTIVE if test_layer is None else TESTED,
            "test_layer": test_layer or "",
        },
    }  # fmt: skip
    keep_results(adata, key, {"trends": result})
    return adata if copy else None


def _columns(
    names: NDArray[Any], log: sp.csr_matrix, features: Sequence[str] | None, min_share: float
) -> NDArray[np.int64]:
    if features is not None:
        at = pd.Index(names).get_indexer(pd.Index([str(f) for f in features]))
        if (at < 0).any() or len(at) == 0:
            missing = [str(f) for f, i in zip(features, at, strict=True) if i < 0]
            raise InputError(f"genes not in the data: {choices(missing)}; the data has {choices(names[:5])}, ...")
        return np.asarray(at, dtype=np.int64)
    share = np.bincount(log.indices[log.data > 0], minlength=log.shape[1]) / max(log.shape[0], 1)
    kept = np.flatnonzero(share >= max(min_share, 1e-12))
    if not len(kept):
        raise InputError(f"no gene is expressed in {min_share:.0%} of the cells; lower min_share")
    return kept


def _p_values(
    time: NDArray[np.float64], values: Any, rows: NDArray[np.int64], columns: NDArray[np.int64], n_splines: int
) -> NDArray[np.float64]:
    counts = sp.csr_matrix(values.counts[rows])
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    # A thinned cell may be left without a molecule; it tells nothing and is left out.
    some = totals > 0
    return core.trend_test(time[some], counts[some][:, columns], totals[some], n_splines=n_splines)[1]


def _concepts(
    adata: AnnData, ordered: Ordered, values: Any, genes: GeneEmbedding | None, queries: Sequence[str] | None
) -> tuple[NDArray[Any], NDArray[np.float64]] | None:
    """Names and scores, cells x concepts; None, with a warning, where there are no vectors to make them from."""
    from ..core.concepts import cell_scores

    try:
        known = _words.gene_vectors(adata, ordered.use_rep, genes)
        phrases = _words.shipped_lexicon(known) if queries is None else _words.phrases_of(queries, known)
        if phrases is None:
            raise InputError("the shipped lexicon has no vectors of this embedder; pass queries=")
        z = _words.zscores(values, known)
    except LexicellError as error:
        if queries is not None:
            raise
        warnings.warn(f"no concepts along the trajectory: {error}", UserWarning, stacklevel=3)
        return None
    scores = cell_scores(z.deviations, z.baseline, phrases.sets(z.vectors))
    return phrases.names.astype(str), scores


def _table(fitted: core.Trends, names: NDArray[Any], kind: str) -> pd.DataFrame:
    """One row a feature; the index is its column in `fitted`, the order that of the ranks."""
    slope = np.abs(np.gradient(fitted.curves, fitted.grid, axis=0))
    turns = [core.turning_points(fitted.grid, curve) for curve in fitted.curves.T]
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
            "turning_points": [";".join(f"{t:.3f}" for t in one) for one in turns],
        }
    ).sort_values("explained", ascending=False, kind="stable")
    table["rank"] = np.arange(1, len(table) + 1)
    return table


def _joined(curves: list[pd.DataFrame]) -> pd.DataFrame:
    """Genes and concepts side by side; a concept that is called like a gene is told apart, and '/' cannot be stored."""
    table = pd.concat(curves, axis=1)
    seen: dict[str, int] = {}
    names = []
    for column in table.columns:
        name = str(column).replace("/", "-")
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    table.columns = pd.Index(names)
    table.index.name = "pseudotime"
    return table


def _branches(ordered: Ordered, component: str, matrix: Any, names: NDArray[Any], kind: str) -> pd.DataFrame:
    ends = [str(e) for e in ordered.result["table"].query("component == @component").index]
    rows = {e: np.flatnonzero((ordered.component == component) & (ordered.branch == e)) for e in ends}
    tables = []
    for one, other in combinations([e for e in ends if len(rows[e]) > 1 and len(ends) > 1], 2):
        d = core.separation(matrix, rows[one], rows[other])
        table = pd.DataFrame({"feature": names, "kind": kind, "branch": one, "against": other, "d": d})
        tables.append(table.iloc[np.argsort(-np.abs(d), kind="stable")])
    empty = pd.DataFrame({"feature": [], "kind": [], "branch": [], "against": [], "d": []}).astype(
        {"feature": str, "kind": str, "branch": str, "against": str, "d": float}
    )
    return pd.concat(tables) if tables else empty
