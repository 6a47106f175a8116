"""Clusters of cells on any representation, each with its genes and its words."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, LexicellError, check_choice
from .._results import keep_results, recorded
from .._values import Values, check_rep, read_values
from ..core.agreement import adjusted_rand, stability
from ..core.embedding import GeneEmbedding
from . import _describe, _words
from ._graph import graph_of, kmeans, leiden, resolution_for, umap_of
from ._split_counts import check_split

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cluster"]

_METHODS = ("leiden", "kmeans")
_FEWEST = 5


def cluster(
    adata: AnnData,
    *,
    use_rep: str = _keys.X_TEXT,
    method: str = "leiden",
    resolution: float = 1.0,
    n_clusters: int | None = None,
    n_neighbors: int = 15,
    metric: str = "euclidean",
    n_repeats: int = 5,
    umap: bool = True,
    genes: GeneEmbedding | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    test_layer: str | None = None,
    key_added: str | None = None,
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells and describe each cluster by its genes and by words.

    Neighbours, Leiden (igraph's modularity, two iterations) and UMAP are scanpy's, on our own keys: nothing that stands
    under ``neighbors``, ``leiden`` or ``X_umap`` is touched, and ``sc.pl`` and ``sc.tl`` work on the results
    (``neighbors_key="text_neighbors"``).

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``.
    use_rep
        Key of the representation in ``obsm``.
    method
        ``"leiden"`` or ``"kmeans"``.
    resolution
        Leiden's resolution: larger gives more clusters. Not used where `n_clusters` is given.
    n_clusters
        Wanted number of clusters. Leiden then searches its resolution for it, and warns where it can only come near.
        Needed for k-means.
    n_neighbors
        Neighbours a cell in the graph. Fewer where there are fewer cells, with a warning.
    metric
        Distance for the graph. k-means is always Euclidean.
    n_repeats
        Further runs with other seeds, to see which clusters are found again; 0 for none.
    umap
        Whether to compute a two-dimensional map.
    genes
        The gene vectors the words are compared with; None: those that `use_rep` was made from. Where there are none,
        clusters get no words, and a warning says so.
    layer, use_raw
        Where expression stands, for the genes of the clusters; default: where `use_rep` was computed from.
    test_layer
        The half of :func:`lexicell.tl.split_counts` that `use_rep` was not computed from. The genes of the clusters
        are then tested in it, and get p values that mean what they say.
    key_added
        Column of ``obs`` for the clusters. Default: ``text_leiden`` for ``X_text``, ``text_fused_leiden`` for
        ``X_text_fused``, ``text_kmeans`` and so on.
    rng
        Seed. An integer is passed on to scanpy as it is.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. With p the prefix of `use_rep` (``text`` for ``X_text``), writes

    ``obs[key_added]``
        Clusters, categorical, ``"0"`` the largest.
    ``obsp["p_connectivities"]``, ``obsp["p_distances"]``, ``uns["p_neighbors"]``
        The neighbour graph, in scanpy's convention.
    ``obsm["X_p_umap"]``
        The map, ``(n_cells, 2)`` float32, where `umap`.
    ``uns["lexicell"][use_rep]["cluster"]``
        ``table``: one row a cluster: ``cells``, ``share``, ``stability`` (best Jaccard overlap in a repeat, averaged;
        NaN without repeats), ``genes`` and ``concepts`` (the first five). ``markers``: genes of each cluster, ranked by
        difference in mean log value to all other cells; no p values, since clusters found in counts cannot be tested
        on them. With `test_layer` also ``difference_test``, ``p`` (Wilcoxon rank-sum) and ``q`` (Benjamini-Hochberg
        over all rows), from the other half. ``concepts``: words of each cluster. ``params``: with ``resolution``,
        ``n_clusters``, ``seed`` and ``repeat_ari`` (mean adjusted Rand index between the clustering and its repeats).

    Raises
    ------
    MissingKeyError
        If `use_rep` is not there, or `test_layer` is not half of a split; the message lists what is.
    InputError
        If `use_rep` was computed from the counts of `test_layer`, there are fewer than five cells, the representation
        holds NaN, or a parameter is out of range.

    Warns
    -----
    UserWarning
        If `n_clusters` was not reached, neighbours had to be fewer, or genes or words are missing, with the reason.

    References
    ----------
    Traag, Waltman and van Eck, Scientific Reports 2019, doi:10.1038/s41598-019-41695-z (Leiden).

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.cluster(adata, use_rep="X_expression", n_clusters=6, umap=False, genes=lx.emb.genes(adata))
    >>> adata.obs["expression_leiden"].nunique()
    6
    """
    adata = adata.copy() if copy else adata
    check_choice(method, _METHODS, "clustering method")
    matrix = check_rep(adata, use_rep)
    _check(adata.n_obs, method, resolution, n_clusters, n_neighbors, n_repeats)
    if test_layer is not None:
        check_split(adata, test_layer, str(recorded(adata, use_rep).get("params", {}).get("slot", "")))
    if n_neighbors >= adata.n_obs:
        warnings.warn(
            f"{adata.n_obs} cells have {adata.n_obs - 1} neighbours, not {n_neighbors}", UserWarning, stacklevel=2
        )
        n_neighbors = adata.n_obs - 1
    seed = int(rng) if isinstance(rng, (int, np.integer)) else int(np.random.default_rng(rng).integers(2**31 - 1))
    prefix = _keys.prefix(use_rep)
    column = key_added or (_keys.leiden(prefix) if method == "leiden" else _keys.kmeans(prefix))

    graph = None
    if method == "leiden" or umap:
        graph = graph_of(matrix, n_neighbors, metric, seed)
    if method == "leiden":
        run = leiden(graph)
        if n_clusters is not None:
            resolution = resolution_for(lambda r: run(r, seed), n_clusters)
        codes = run(resolution, seed)
        repeats = [run(resolution, seed + i) for i in range(1, n_repeats + 1)]
    else:
        codes, *repeats = (kmeans(matrix, int(n_clusters or 0), seed + i) for i in range(n_repeats + 1))
    found = int(codes.max()) + 1
    if n_clusters is not None and found != n_clusters:
        warnings.warn(
            f"asked for {n_clusters} clusters, Leiden comes no nearer than {found}; method='kmeans' gives any number",
            UserWarning,
            stacklevel=2,
        )
    result = _describe_clusters(adata, use_rep, codes, repeats, genes, layer, use_raw)
    if test_layer is not None and "markers" in result:
        counts = read_values(adata, layer=test_layer, normalization="counts")
        result["markers"] = _describe.tested(result["markers"], counts, codes, [str(k) for k in range(found)])
    result["params"] = {
        "method": method, "use_rep": use_rep, "key_added": column, "n_clusters": found, "n_neighbors": n_neighbors,
        "metric": metric, "resolution": float(resolution) if method == "leiden" else float("nan"), "seed": seed,
        "n_repeats": n_repeats, "test_layer": test_layer or "", **result["params"],
        "repeat_ari": _mean_ari(codes, repeats),
    }  # fmt: skip
    names = [str(k) for k in range(found)]
    adata.obs[column] = pd.Categorical.from_codes(codes, categories=pd.Index(names))
    # Colours of an earlier clustering would be read as those of this one.
    adata.uns.pop(f"{column}_colors", None)
    if graph is not None:
        _write_graph(adata, graph, prefix, use_rep, n_neighbors, metric, seed)
        if umap:
            adata.obsm[_keys.umap(prefix)] = umap_of(graph, seed)
    keep_results(adata, use_rep, {"cluster": result})
    return adata if copy else None


def _check(
    n_cells: int, method: str, resolution: float, n_clusters: int | None, n_neighbors: int, n_repeats: int
) -> None:
    if n_cells < _FEWEST:
        raise InputError(f"{n_cells} cells cannot be clustered; at least {_FEWEST} are needed")
    if not resolution > 0 or n_neighbors < 2 or n_repeats < 0:
        raise InputError("resolution must be above 0, n_neighbors at least 2 and n_repeats not negative")
    if n_clusters is None and method == "kmeans":
        raise InputError("k-means needs n_clusters=")
    if n_clusters is not None and not 1 <= n_clusters <= n_cells:
        raise InputError(f"n_clusters must lie between 1 and the number of cells, {n_cells}; got {n_clusters}")


def _mean_ari(codes: NDArray[np.int64], repeats: list[NDArray[np.int64]]) -> float:
    return float(np.mean([adjusted_rand(codes, other) for other in repeats])) if repeats else float("nan")


def _write_graph(
    adata: AnnData, graph: AnnData, prefix: str, use_rep: str, n_neighbors: int, metric: str, seed: int
) -> None:
    near, far = _keys.connectivities(prefix), _keys.distances(prefix)
    adata.obsp[near], adata.obsp[far] = graph.obsp["connectivities"], graph.obsp["distances"]
    adata.uns[_keys.neighbors(prefix)] = {
        "connectivities_key": near,
        "distances_key": far,
        "params": {
            "n_neighbors": n_neighbors, "method": "umap", "metric": metric, "use_rep": use_rep, "random_state": seed,
        },
    }  # fmt: skip


def _describe_clusters(
    adata: AnnData,
    use_rep: str,
    codes: NDArray[np.int64],
    repeats: list[NDArray[np.int64]],
    genes: GeneEmbedding | None,
    layer: str | None,
    use_raw: bool | None,
) -> dict[str, Any]:
    names = [str(k) for k in range(int(codes.max()) + 1)]
    size = np.bincount(codes)
    table = pd.DataFrame(
        {"cells": size, "share": size / len(codes), "stability": stability(codes, repeats)}, index=pd.Index(names)
    )
    result: dict[str, Any] = {"table": table, "params": {"expression": "", "words": ""}}
    try:
        like = recorded(adata, use_rep).get("params") or _words.text_entry(adata, use_rep).get("params")
        values = read_values(adata, layer=layer, use_raw=use_raw, like=like)
    except InputError as error:
        warnings.warn(f"clusters get no genes and no words: {error}", UserWarning, stacklevel=3)
        return result
    result["markers"] = _describe.markers(values, codes, names)
    result["params"]["expression"] = values.params["slot"]
    table["genes"] = _first(result["markers"], "gene", names, ", ")
    found = _find_words(adata, use_rep, values, codes, names, genes)
    if found is not None:
        result["concepts"], result["params"]["words"] = found
        table["concepts"] = _first(result["concepts"], "concept", names, "; ")
    return result


def _find_words(
    adata: AnnData,
    use_rep: str,
    values: Values,
    codes: NDArray[np.int64],
    names: list[str],
    genes: GeneEmbedding | None,
) -> tuple[pd.DataFrame, str] | None:
    try:
        known = _words.gene_vectors(adata, use_rep, genes)
        phrases = _words.shipped_lexicon(known)
        if phrases is None:
            raise InputError(
                f"the shipped lexicon has no vectors of embedder '{_words.embedder_of(known)}'; "
                "give your own phrases to lexicell.tl.concepts"
            )
        if len(names) < 2:
            return None
        z = _words.zscores(values, known)
    except LexicellError as error:
        warnings.warn(f"clusters get no words: {error}", UserWarning, stacklevel=4)
        return None
    changes = _describe.against_rest(z, codes, len(names))
    return _describe.words(z, changes, names, phrases), phrases.source


def _first(table: pd.DataFrame, column: str, names: list[str], between: str, n: int = 5) -> list[str]:
    groups = {str(k): list(v) for k, v in table.groupby("group", sort=False)[column]}
    return [between.join(groups.get(name, [])[:n]) for name in names]
