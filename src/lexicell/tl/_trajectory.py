"""Pseudotime, branches and their uncertainty on any representation of the cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_column, check_repeats
from .._expression import DEFAULT_SLOT, Expression
from .._results import check_rep, keep_results
from ..core.genes.embedding import GeneEmbedding
from ..core.trajectory import order as core
from . import _paths
from ._paths import N_DCS, SMALLEST, Part
from ._roots import RootSpec, find_roots

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["trajectory"]

_FEWEST = 30


def trajectory(
    adata: AnnData,
    *,
    root: RootSpec,
    use_rep: str = _keys.X_FUSED,
    groupby: str | None = None,
    n_neighbors: int = 15,
    n_bootstraps: int | None = None,
    genes: GeneEmbedding | None = None,
    expression: Expression | None = None,
    rng: int | np.random.Generator = 0,
    show_progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Order cells from a root, estimate how reliable the order is, and find where it ends.

    Exact Euclidean neighbors, then scanpy's connectivities, diffusion map, diffusion pseudotime (DPT) and PAGA. Results
    are stored under lexicell's own keys; the user's ``neighbors``, ``dpt_pseudotime`` and ``paga`` are not changed.
    With a connected graph and one root, the pseudotime equals that of ``scanpy.tl.dpt``.

    The root changes a pseudotime more than the representation does. A root that describes many cells (a label, markers,
    words) is their medoid, the cell nearest to their mean. For the interval, 80 % of the cells are drawn `n_bootstraps`
    times; in each draw the graph is built anew, the root is drawn again among its candidates, and the pseudotime is
    computed and scaled to the full one. The interval contains 95 % of these values. It reflects the choice of cells and
    of the root cell. It cannot tell whether this is the right place to start.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``; at least 30.
    root
        Where the process starts: a cell name; ``"cluster:3"`` (of `groupby`); ``"column=value"`` (cells with that value
        in ``obs``); ``"markers:SOX2,NES"`` (cells whose neighborhoods express them most); or ``"words:proliferating
        progenitor"`` (the same with the genes whose texts are nearest to the words). With a list of these, pseudotime
        is the distance to the nearest root.
    use_rep
        Key of the representation in ``obsm``: text, fused or expression.
    groupby
        Column of ``obs`` with the groups of PAGA. None: the Leiden clusters of :func:`lexicell.tl.cluster` on this
        representation if there are any, else new ones on this graph.
    n_neighbors
        Neighbors per cell; counts the cell itself, as in scanpy.
    n_bootstraps
        Draws for the interval. None: 50 up to 10,000 cells, 20 above. 0: no intervals.
    genes
        Gene vectors for a root in words; None: those behind `use_rep`.
    expression
        Which matrix is read for a root given by markers or words; None: the one `use_rep` was computed from.
    rng
        Seed or generator.
    show_progress
        Whether to draw a progress bar; None: if stderr is a terminal.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes, with the prefix p of `use_rep` (``text_fused`` for ``X_text_fused``),

    ``obs["p_pseudotime"]``
        float64, 0 at the root, 1 at the farthest cell of each connected part; NaN in parts of fewer than 10 cells.
    ``obs["p_pseudotime_low"]``, ``obs["p_pseudotime_high"]``
        Ends of the interval, float64; NaN if fewer than 5 draws reached the cell.
    ``obs["p_component"]``
        Connected part, categorical, ``"0"`` the largest.
    ``obs["p_branch"]``
        Categorical: ``"trunk"``, ``"branch 1"``, ...; ``"branch 1+2"`` before those two separate; in part 2 each of
        these begins with ``"2: "``.
    ``obs["p_trajectory_groups"]``
        New Leiden clusters, if no groups were given or found.
    ``obsm["X_p_diffmap"]``, ``uns["p_trajectory_neighbors"]``, ``obsp["p_trajectory_connectivities"|"_distances"]``
        Diffusion map (float32, one per connected part) and the graph, in scanpy's convention.
    ``uns["p_paga"]``
        PAGA: ``connectivities``, ``connectivities_tree``, ``groups``, ``pos`` (mean of the first two dimensions of the
        representation). ``sc.pl.paga`` reads it after ``adata.uns["paga"] = adata.uns["p_paga"]``.
    ``uns["lexicell"][use_rep]["trajectory"]``
        ``table``: terminal states (``cell``, ``component``, ``n_cells``, ``pseudotime``, ``group``, ``support``: the
        fraction of draws that found it again). ``components``: size, root, where the root came from (``given``,
        ``nearest`` or ``none``), mean width of the interval. ``roots``: up to 50 candidate cells and the Spearman
        correlation of the pseudotime from each with the reported one. ``evals``: eigenvalues, components x 10.
        ``notes``: the warnings. ``params``.

    Raises
    ------
    MissingKeyError
        If the representation or a column does not exist.
    InputError
        If the root is not found (the nearest names are listed) or lies in a connected part of fewer than 10 cells,
        there are fewer than 30 cells, or the representation contains NaN.

    Warns
    -----
    UserWarning
        If the graph is not connected (parts without a root start at their cell nearest to it, and pseudotime does not
        compare between parts), or PAGA has no edge between groups.

    Notes
    -----
    Branches: :func:`lexicell.core.trajectory.order.find_branches`. A terminal state is where the graph ends, not
    necessarily a fate: cell types that do not descend from the root end somewhere, too.

    References
    ----------
    Haghverdi et al., Nature Methods 2016, doi:10.1038/nmeth.3971 (DPT); Wolf et al., Genome Biology 2019,
    doi:10.1186/s13059-019-1663-x (PAGA).

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=5)
    >>> bool(adata.obs["expression_pseudotime"].min() == 0)
    True
    """
    adata = adata.copy() if copy else adata
    points = check_rep(adata, use_rep)
    if n_bootstraps is None:
        n_bootstraps = 50 if adata.n_obs <= 10_000 else 20
    _check(adata.n_obs, n_neighbors, n_bootstraps)
    prefix = _keys.prefix(use_rep)
    groupby = _find_groups(adata, groupby, prefix)
    choice = expression or DEFAULT_SLOT
    roots = find_roots(adata, root, use_rep=use_rep, groupby=groupby, genes=genes, choice=choice)
    generator = np.random.default_rng(rng)
    # Drawn once and first, so that clusters do not depend on the number of draws below.
    seed = int(generator.integers(2**31 - 1))

    space = _paths.Space.of(points, n_neighbors)
    graph = space.graph()
    parts, labels = _paths.split(graph, roots, points)
    for part in parts:
        if part.candidates:
            _paths.order_part(part, graph, space)
    _paths.bootstrap(parts, space, n_bootstraps, generator, show_progress=show_progress)

    notes = _parts_notes(parts)
    if groupby is None:
        groupby = f"{prefix}_trajectory_groups"
        adata.obs[groupby] = _leiden(graph, seed)
    paga = _paga(graph, adata.obs[groupby], points)
    n_groups = len(paga["pos"])
    if paga["connectivities"].nnz == 0 and n_groups > 1:
        notes.append(f"no edge runs between the {n_groups} groups of '{groupby}', so PAGA shows them unconnected")
    _write_cells(adata, prefix, parts, labels)
    _write_graph(adata, prefix, graph, {"n_neighbors": n_neighbors, "use_rep": use_rep})
    adata.uns[f"{prefix}_paga"] = paga
    result = _tables(parts, adata.obs_names, adata.obs[groupby])
    result["notes"] = np.asarray(notes, dtype=object)
    result["params"] = {
        "root": np.asarray([r.name for r in roots], dtype=object),
        "use_rep": use_rep,
        "groupby": groupby,
        "n_neighbors": n_neighbors,
        "n_dcs": N_DCS,
        "n_bootstraps": n_bootstraps,
    }
    keep_results(adata, use_rep, {"trajectory": result})
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return adata if copy else None


def _check(n_cells: int, n_neighbors: int, n_bootstraps: int) -> None:
    if n_cells < _FEWEST:
        raise InputError(f"{n_cells} cells are too few to order; at least {_FEWEST} are needed")
    if not 3 <= n_neighbors <= n_cells // 2:
        raise InputError(
            f"n_neighbors must be between 3 and half the number of cells, {n_cells // 2}; got {n_neighbors}"
        )
    if n_bootstraps < 0:
        raise InputError(f"n_bootstraps must not be negative, got {n_bootstraps}; 0 gives no intervals")
    check_repeats(n_bootstraps, "n_bootstraps")


def _find_groups(adata: AnnData, groupby: str | None, prefix: str) -> str | None:
    """The column with the groups, or the clusters of the representation if there are any."""
    if groupby is None:
        return _keys.leiden(prefix) if _keys.leiden(prefix) in adata.obs else None
    check_column(adata.obs, groupby)
    column = adata.obs[groupby]
    if column.isna().any():
        raise InputError(
            f"{int(column.isna().sum())} cells have no value in obs['{groupby}']; give them one or remove them first"
        )
    if column.nunique() > len(column) // 2:
        raise InputError(
            f"obs['{groupby}'] has {column.nunique()} values for {len(column)} cells, so it does not hold groups; "
            "name a column with clusters or cell types in groupby="
        )
    return groupby


def _parts_notes(parts: list[Part]) -> list[str]:
    """What to say of a graph that is not connected; nothing if it is."""
    if len(parts) == 1:
        return []
    sizes = ", ".join(str(len(p.rows)) for p in parts[:6])
    if len(parts) > 6:
        sizes += ", ..."
    text = (
        f"the graph falls into {len(parts)} unconnected parts of {sizes} cells; do not compare pseudotime between them"
    )
    n_nearest = sum(p.root_from == "nearest" for p in parts)
    if n_nearest:
        text += f"; {n_nearest} without a root start at their cell nearest to it"
    n_missing = sum(len(p.rows) for p in parts if p.root_from == "none")
    if n_missing:
        text += f"; {n_missing} cells get NaN (in parts of fewer than {SMALLEST})"
    return [text]


def _leiden(graph: AnnData, seed: int) -> pd.Categorical:
    import scanpy as sc

    sc.tl.leiden(graph, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
    return pd.Categorical(graph.obs["leiden"].to_numpy())


def _paga(graph: AnnData, groups: pd.Series[Any], points: NDArray[Any]) -> dict[str, Any]:
    """PAGA as scanpy computes it, with positions; empty where no edge runs between groups, where scanpy raises."""
    import scanpy as sc

    if not isinstance(groups.dtype, pd.CategoricalDtype):
        groups = groups.astype(str)
    kept = pd.Categorical(groups).remove_unused_categories()
    n = len(kept.categories)
    edges = sp.coo_matrix(graph.obsp["distances"])
    names = ("connectivities", "connectivities_tree")
    # scanpy.tl.paga fails on a graph without an edge between groups.
    if (kept.codes[edges.row] != kept.codes[edges.col]).any():
        graph.obs["groups"] = kept
        sc.tl.paga(graph, groups="groups")
        found = {name: sp.csr_matrix(graph.uns["paga"][name]) for name in names}
    else:
        found = {name: sp.csr_matrix((n, n)) for name in names}
    plane = points[:, :2]
    if points.shape[1] == 1:
        plane = np.column_stack([points[:, 0], np.zeros(len(points))])
    positions = np.array([plane[kept.codes == code].mean(axis=0) for code in range(n)], dtype=np.float64)
    return {**found, "groups": str(groups.name), "pos": positions}


def _tables(parts: list[Part], names: pd.Index[Any], groups: pd.Series[Any]) -> dict[str, Any]:
    """Tables of components, terminal states and other roots, and the eigenvalues."""
    ends, components, roots = [], [], []
    evals = np.full((len(parts), max(2, *(len(p.values) for p in parts))), np.nan)
    for number, part in enumerate(parts):
        low, high = core.interval(part.times)
        width = high - low
        components.append(
            {
                "n_cells": len(part.rows),
                "root": "; ".join(names[part.roots]),
                "root_from": part.root_from,
                "interval_width": float(np.nanmean(width)) if np.isfinite(width).any() else np.nan,
            }
        )
        if part.branches is not None:
            evals[number, : len(part.values)] = part.values
            ends += _terminal_states(part, part.branches, number, names, groups)
            roots.append(_other_roots(part, number, names))
    index = pd.Index([str(i) for i in range(len(parts))], name="component")
    return {
        "table": pd.DataFrame(ends).set_index("branch"),
        "components": pd.DataFrame(components, index=index),
        "roots": pd.concat(roots, ignore_index=True),
        "evals": evals,
    }


def _terminal_states(
    part: Part, branches: core.Branches, number: int, names: pd.Index[Any], groups: pd.Series[Any]
) -> list[dict[str, Any]]:
    """One row per terminal state of a part."""
    n_tips = len(branches.tips)
    rows = []
    for b, tip in enumerate(branches.tips):
        member = branches.codes == b
        support = np.nan
        if n_tips == 1:  # no branch: every cell leads to the one end, and every draw finds an end
            member = np.ones(len(part.rows), dtype=bool)
        elif len(part.found_again):
            support = float(part.found_again[:, b].mean())
        rows.append(
            {
                "branch": _branch_name([b], n_tips, number),
                "cell": str(names[part.rows[tip]]),
                "component": str(number),
                "n_cells": int(member.sum()),
                "pseudotime": float(part.pseudotime[tip]),
                "group": str(groups.iloc[part.rows[member]].astype(str).mode().iloc[0]),
                "support": support,
            }
        )
    return rows


def _other_roots(part: Part, number: int, names: pd.Index[Any]) -> pd.DataFrame:
    """Rank correlation of the pseudotime from each of up to 50 other candidate roots with the one given."""
    from scipy.stats import spearmanr

    rows = np.unique(np.concatenate(part.candidates))
    # Evenly over the candidates, so that the number does not depend on how many there are.
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(50, len(rows))).astype(int))]
    distances = core.dpt_distances(part.values, part.vectors, np.searchsorted(part.rows, rows))
    rho = np.full(len(rows), np.nan)
    if np.ptp(part.pseudotime) > 0:
        rho = np.array([spearmanr(d, part.pseudotime)[0] for d in distances])
    return pd.DataFrame({"cell": names[rows].astype(str), "component": str(number), "spearman": rho})


def _branch_name(branches: list[int], n: int, component: int) -> str:
    name = "trunk"
    if len(branches) < n:
        name = "branch " + "+".join(str(b + 1) for b in branches)
    return name if component == 0 else f"{component}: {name}"


def _write_cells(adata: AnnData, prefix: str, parts: list[Part], labels: NDArray[np.int64]) -> None:
    """Write what belongs to a cell: pseudotime with its interval, component, branch and diffusion map."""
    time = np.full(adata.n_obs, np.nan)
    low = time.copy()
    high = time.copy()
    branch = np.full(adata.n_obs, None, dtype=object)
    n_dcs = max(2, *(len(p.values) for p in parts))
    diffmap = np.full((adata.n_obs, n_dcs), np.nan, dtype=np.float32)
    for number, part in enumerate(parts):
        if part.branches is None:
            continue
        time[part.rows] = part.pseudotime
        low[part.rows], high[part.rows] = core.interval(part.times)
        diffmap[part.rows, : part.vectors.shape[1]] = part.vectors
        # A cell before a branch point leads to several ends; cells with the same ends form one branch.
        for pattern in np.unique(part.branches.leads_to, axis=0):
            rows = part.rows[(part.branches.leads_to == pattern).all(axis=1)]
            branch[rows] = _branch_name(np.flatnonzero(pattern).tolist(), len(pattern), number)
    adata.obs[f"{prefix}_pseudotime"] = time
    adata.obs[f"{prefix}_pseudotime_low"] = low
    adata.obs[f"{prefix}_pseudotime_high"] = high
    names = pd.Index([str(i) for i in range(len(parts))])
    adata.obs[f"{prefix}_component"] = pd.Categorical.from_codes(labels, categories=names)
    adata.obs[f"{prefix}_branch"] = pd.Categorical(branch)
    adata.obsm[f"X_{prefix}_diffmap"] = diffmap


def _write_graph(adata: AnnData, prefix: str, graph: AnnData, params: dict[str, Any]) -> None:
    """Write the graph in scanpy's convention, under our own keys."""
    name = f"{prefix}_trajectory"
    adata.obsp[_keys.connectivities(name)] = graph.obsp["connectivities"]
    adata.obsp[_keys.distances(name)] = graph.obsp["distances"]
    adata.uns[_keys.neighbors(name)] = {
        "connectivities_key": _keys.connectivities(name),
        "distances_key": _keys.distances(name),
        "params": {"method": "umap", "metric": "euclidean", **params},
    }
