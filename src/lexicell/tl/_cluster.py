"""Clusters of cells on any representation, each with its genes and its words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, LexicellError, check_repeats
from .._expression import Values, read_values
from .._results import check_rep, keep_results, recorded_params
from ..core.agreement import adjusted_rand, stability
from ..core.genes.embedding import GeneEmbedding
from . import _describe
from . import words as _words
from ._graph import cells_on_map, graph_of, leiden, resolution_for, umap_of

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["cluster"]

NO_WORD = "no clear word"
_FEWEST = 5


def cluster(
    adata: AnnData,
    *,
    use_rep: str = _keys.X_TEXT,
    resolution: float = 1.0,
    n_clusters: int | None = None,
    n_neighbors: int = 15,
    n_repeats: int = 5,
    umap: bool = True,
    tissue: str | Sequence[str] | None = None,
    genes: GeneEmbedding | None = None,
    key_added: str | None = None,
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells and describe each cluster by its genes and by words.

    Neighbors (Euclidean; exact up to 20,000 cells, by faiss above), Leiden (igraph's modularity, two iterations) and
    UMAP (of 50,000 cells at most, the others placed beside those nearest to them) are scanpy's, under our own keys:
    ``neighbors``, ``leiden`` and ``X_umap`` are not touched, and ``sc.pl`` and ``sc.tl`` work on the results
    (``neighbors_key="text_neighbors"``).

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``.
    use_rep
        Key of the representation in ``obsm``.
    resolution
        Leiden's resolution: larger gives more clusters. Not used if `n_clusters` is given.
    n_clusters
        Wanted number of clusters. The resolution is then searched for it, with a warning if no resolution gives it.
    n_neighbors
        Neighbors per cell in the graph. Fewer if there are fewer cells, with a warning.
    n_repeats
        Further runs with other seeds, to see which clusters are found again; 0 for none.
    umap
        Whether to compute a two-dimensional map.
    tissue
        Where the cells come from, such as ``"brain"`` or ``["blood", "lung"]``: only cell types that occur there are
        named. None: guessed from the leading words, and noted in ``params``.
    genes
        The gene vectors the words are compared with; None: those that `use_rep` was made from. If there are none,
        clusters get no words, and a warning says so.
    key_added
        Column of ``obs`` for the clusters. Default: ``text_leiden`` for ``X_text``, ``text_fused_leiden`` for
        ``X_text_fused``.
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
        The neighbor graph, in scanpy's convention.
    ``obsm["X_p_umap"]``
        The map, ``(n_cells, 2)`` float32, if `umap`.
    ``uns["lexicell"][use_rep]["cluster"]``
        ``table``: one row per cluster: ``cells``, ``share``, ``stability`` (best Jaccard overlap in a repeat, averaged;
        NaN without repeats), ``genes`` (the first five), ``cell_types`` and ``processes`` (at most five each, or
        "no clear word"). ``markers``: genes of each cluster, ranked by
        difference in mean log value to all other cells; no p values, since clusters found in counts cannot be tested
        on them. ``concepts``: words of each cluster with their ``kind``, ``z`` and
        ``genes``; a word is shown only where its genes go up further than the best of all words in random orders of
        the genes (:mod:`lexicell.core.genes.word_selection`). ``params``: with ``tissue``, ``resolution``,
        ``n_clusters``, ``seed``, ``map_cells`` (cells that UMAP laid out) and ``repeat_ari`` (mean adjusted
        Rand index between the clustering and its repeats).

    Raises
    ------
    MissingKeyError
        If `use_rep` is not there; the message lists what is.
    InputError
        If there are fewer than five cells, the representation holds NaN, or a parameter is out of range.

    Warns
    -----
    UserWarning
        If `n_clusters` was not reached, there are fewer neighbors than asked for, or genes or words are missing, with
        the reason.

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
    matrix = check_rep(adata, use_rep)
    _check(adata.n_obs, resolution, n_clusters, n_neighbors, n_repeats)
    most = adata.n_obs - 1
    if n_neighbors > most:
        warnings.warn(f"{adata.n_obs} cells have {most} neighbors, not {n_neighbors}", UserWarning, stacklevel=2)
        n_neighbors = most
    # scanpy's own results for an integer seed are reproduced.
    seed = int(rng) if isinstance(rng, (int, np.integer)) else int(np.random.default_rng(rng).integers(2**31 - 1))
    column = key_added or _keys.leiden(_keys.prefix(use_rep))
    graph = graph_of(matrix, n_neighbors, seed)
    run = leiden(graph)
    if n_clusters is not None:
        resolution = resolution_for(lambda r: run(r, seed), n_clusters)
    codes, *repeats = (run(resolution, seed + i) for i in range(n_repeats + 1))
    found = int(codes.max()) + 1
    if n_clusters is not None and found != n_clusters:
        warnings.warn(f"asked for {n_clusters} clusters, Leiden comes no nearer than {found}", stacklevel=2)
    names = [str(k) for k in range(found)]
    result = _describe_clusters(adata, use_rep, codes, names, repeats, genes, tissue)
    result["params"] |= {
        "method": "leiden",
        "use_rep": use_rep,
        "key_added": column,
        "n_clusters": found,
        "n_neighbors": n_neighbors,
        "resolution": float(resolution),
        "seed": seed,
        "n_repeats": n_repeats,
        "repeat_ari": float(np.mean([adjusted_rand(codes, r) for r in repeats])) if repeats else float("nan"),
    }
    adata.obs[column] = pd.Categorical.from_codes(codes, categories=pd.Index(names))
    # Colors of an earlier clustering would be read as those of this one.
    adata.uns.pop(f"{column}_colors", None)
    _write_graph(adata, graph, use_rep, n_neighbors, seed)
    if umap:
        adata.obsm[_keys.umap(_keys.prefix(use_rep))] = umap_of(graph, seed)
        result["params"]["map_cells"] = cells_on_map(adata.n_obs)
    keep_results(adata, use_rep, {"cluster": result})
    return adata if copy else None


def _check(n_cells: int, resolution: float, n_clusters: int | None, n_neighbors: int, n_repeats: int) -> None:
    if n_cells < _FEWEST:
        raise InputError(f"{n_cells} cells cannot be clustered; at least {_FEWEST} are needed")
    if not resolution > 0 or n_neighbors < 2 or n_repeats < 0:
        raise InputError("resolution must be above 0, n_neighbors at least 2 and n_repeats not negative")
    check_repeats(n_repeats, "n_repeats")
    if n_clusters is not None and not 1 <= n_clusters <= n_cells:
        raise InputError(f"n_clusters must be between 1 and the number of cells, {n_cells}; got {n_clusters}")


def _write_graph(adata: AnnData, graph: AnnData, use_rep: str, n_neighbors: int, seed: int) -> None:
    prefix = _keys.prefix(use_rep)
    near, far = _keys.connectivities(prefix), _keys.distances(prefix)
    adata.obsp[near] = graph.obsp["connectivities"]
    adata.obsp[far] = graph.obsp["distances"]
    adata.uns[_keys.neighbors(prefix)] = {
        "connectivities_key": near,
        "distances_key": far,
        "params": {
            "n_neighbors": n_neighbors,
            "method": "umap",
            "metric": "euclidean",
            "use_rep": use_rep,
            "random_state": seed,
        },
    }


def _describe_clusters(
    adata: AnnData,
    use_rep: str,
    codes: NDArray[np.int64],
    names: list[str],
    repeats: list[NDArray[np.int64]],
    genes: GeneEmbedding | None,
    tissue: str | Sequence[str] | None,
) -> dict[str, Any]:
    """Size and stability of the clusters, and their genes and words where there are expression and gene vectors."""
    size = np.bincount(codes)
    table = pd.DataFrame(
        {"cells": size, "share": size / len(codes), "stability": stability(codes, repeats)}, index=pd.Index(names)
    )
    result: dict[str, Any] = {"table": table, "params": {"expression": "", "words": ""}}
    try:
        values = read_values(adata, like=recorded_params(adata, use_rep))
    except InputError as error:
        warnings.warn(
            f"clusters get no genes and no words: {error} Which matrix is read is what lexicell.emb.cells was given.",
            UserWarning,
            stacklevel=3,
        )
        return result
    result["markers"] = _describe.markers(values, codes, names)
    result["params"]["expression"] = values.params["slot"]
    table["genes"] = _describe.first_of_each(result["markers"], "gene", names, ", ")
    try:
        found = _find_words(adata, use_rep, values, codes, names, genes, tissue)
    except LexicellError as error:
        warnings.warn(f"clusters get no words: {error}", UserWarning, stacklevel=3)
        return result
    if found is not None:
        concepts, result["params"]["words"], tissues = found
        # A string: an empty list would not survive an h5ad.
        result["params"]["tissue"] = ", ".join(tissues)
        result["concepts"] = concepts
        for kind, column in (("cell type", "cell_types"), ("process", "processes")):
            words = _describe.first_of_each(concepts[concepts["kind"] == kind], "concept", names, "; ")
            table[column] = [shown or NO_WORD for shown in words]
    return result


def _find_words(
    adata: AnnData,
    use_rep: str,
    values: Values,
    codes: NDArray[np.int64],
    names: list[str],
    genes: GeneEmbedding | None,
    tissue: str | Sequence[str] | None,
) -> tuple[pd.DataFrame, str, list[str]] | None:
    """Words of each cluster, where the phrases come from, and tissues; None for a single cluster."""
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases = _words.shipped_lexicon(known)
    if phrases is None:
        raise InputError(_words.NO_LEXICON.replace("name phrases with queries=", "ask lexicell.tl.concepts"))
    if len(names) < 2:
        return None
    z = _words.zscores(values, known)
    changes = _describe.against_rest(z, codes, len(names))
    if tissue is None:
        tissues = _describe.tissues_of(z, changes, phrases)
    else:
        tissues = [tissue] if isinstance(tissue, str) else list(tissue)
    return _describe.clear_words(z, changes, names, phrases, tissues), phrases.source, tissues
