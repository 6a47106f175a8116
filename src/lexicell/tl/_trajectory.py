"""Pseudotime, branches and their uncertainty on any representation of the cells."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_choice, check_key
from .._results import keep_results
from .._values import check_rep
from ..core import trajectory as core
from ..core.embedding import GeneEmbedding
from . import _paths
from ._paths import Part
from ._roots import RootSpec, find_roots

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["trajectory"]

_FEWEST = 30
_OTHERS = ("nearest", "missing")


def trajectory(
    adata: AnnData,
    *,
    root: RootSpec,
    use_rep: str = _keys.X_FUSED,
    groupby: str | None = None,
    n_neighbors: int = 15,
    n_dcs: int = 10,
    other_components: str = "nearest",
    n_bootstraps: int | None = None,
    share: float = 0.8,
    genes: GeneEmbedding | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    key_added: str | None = "auto",
    rng: int | np.random.Generator = 0,
    show_progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Order cells from a root, say how sure the order is, and find where it ends.

    Exact Euclidean neighbours; then scanpy's connectivities, diffusion map, diffusion pseudotime (DPT) and PAGA,
    computed in an object of our own, so that the user's ``neighbors``, ``dpt_pseudotime`` and ``paga`` stay.
    With a connected graph and one root the pseudotime is that of ``scanpy.tl.dpt``.

    The choice of the root moves a pseudotime more than the representation does. So a root that stands for many cells
    (a label, markers, words) is their medoid, and `n_bootstraps` times a share of the cells is drawn, their graph built
    anew, the root drawn again among its candidates, and the pseudotime computed. The interval holds 95 % of these
    values, each draw first scaled to the full one. It shows what hangs on the choice of cells and of the root cell,
    given what the root stands for; it knows nothing of whether that is the right place to start.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``; at least 30.
    root
        Where the process starts: a cell name; ``"cluster:3"`` (of `groupby`); ``"column=value"`` (cells with that value
        in ``obs``); ``"markers:SOX2,NES"`` (cells whose neighbourhoods express them most); ``"words:proliferating
        progenitor"`` (the same with the genes whose texts are nearest to the words); or the same as a dict:
        ``{"cluster": 3}``, ``{"cell_type": "HSC"}``, ``{"markers": [...]}``, ``{"words": "..."}``, ``{"cell": "..."}``.
        A list of these gives several roots; pseudotime then is the distance to the nearest.
    use_rep
        Key of the representation in ``obsm``: text, fused or expression.
    groupby
        Column of ``obs`` with the groups of PAGA. None: the Leiden clusters of :func:`lexicell.tl.cluster` on this
        representation where they stand, or new ones on this graph.
    n_neighbors
        Neighbours a cell, itself counted, as in scanpy.
    n_dcs
        Diffusion components, as in scanpy.
    other_components
        What happens in connected parts of the graph that hold no root: ``"nearest"`` starts each at its cell nearest to
        the root in the representation; ``"missing"`` gives NaN. Either way a warning says so, and values of different
        parts must not be compared.
    n_bootstraps
        Draws. None: 50 up to 10,000 cells, 20 above. 0: no intervals.
    share
        Share of the cells in each draw.
    genes
        Gene vectors for a root in words; None: those behind `use_rep`.
    layer, use_raw
        Where expression stands, for a root by markers or words; default: where `use_rep` was computed from.
    key_added
        Prefix p of the keys written. ``"auto"``: that of `use_rep`, ``text_fused`` for ``X_text_fused``. None: scanpy's
        own keys, so that ``sc.pl.paga`` and the like work; what scanpy has no key for has the prefix of `use_rep`.
    rng
        Seed or generator.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obs["p_pseudotime"]``
        float64, 0 at the root, 1 at the farthest cell of each connected part; NaN where there is none.
    ``obs["p_pseudotime_low"]``, ``obs["p_pseudotime_high"]``
        Ends of the interval, NaN where fewer than 5 draws reached the cell.
    ``obs["p_component"]``
        Connected part, categorical, ``"0"`` the largest.
    ``obs["p_branch"]``
        ``"trunk"``, ``"branch 1"``, ...; ``"branch 1+2"`` before those two part; with ``"2: "`` before it in part 2.
    ``obs["p_trajectory_groups"]``
        New Leiden clusters, where no groups were given or found.
    ``obsm["X_p_diffmap"]``, ``uns["p_trajectory_neighbors"]``, ``obsp["p_trajectory_connectivities"|"_distances"]``
        Diffusion map (float32, each part its own) and the graph, in scanpy's convention.
    ``uns["p_paga"]``
        PAGA: ``connectivities``, ``connectivities_tree``, ``groups``, ``pos`` (mean of the first two dimensions of the
        representation).
    ``uns["lexicell"][use_rep or key_added]["trajectory"]``
        ``table``: terminal states (``cell``, ``component``, ``n_cells``, ``pseudotime``, ``group``, ``support``: the
        share of draws that found it again). ``components``: size, root, where the root came from, mean width of the
        interval. ``roots``: up to 50 candidate cells and the Spearman correlation of the pseudotime from each with the
        one given. ``evals``: eigenvalues, components x n_dcs. ``notes``: what was warned of. ``params``.

    With ``key_added=None``: ``obs["dpt_pseudotime"]``, ``obsm["X_diffmap"]``, ``uns["diffmap_evals"|"iroot"]``,
    ``uns["neighbors"]``, ``obsp["connectivities"|"distances"]``, ``uns["paga"]``, ``uns["<groups>_sizes"]``.

    Raises
    ------
    MissingKeyError
        If the representation or a column is not there.
    InputError
        If the root is not found (nearest names are listed), lies in a connected part of fewer than 10 cells, there are
        fewer than 30 cells, or the representation holds NaN.

    Warns
    -----
    UserWarning
        If the graph falls into several parts, or PAGA has no edge between groups.

    Notes
    -----
    Branches: :func:`lexicell.core.trajectory.find_branches`. A terminal state is where the graph ends, not a fate: cell
    types that do not descend from the root end somewhere, too.

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
    _check(adata.n_obs, n_neighbors, n_dcs, n_bootstraps, share)
    check_choice(other_components, _OTHERS, "other_components")
    prefix = _keys.prefix(use_rep)
    name = prefix if key_added in ("auto", None) else str(key_added)
    if groupby is None and _keys.leiden(prefix) in adata.obs:
        groupby = _keys.leiden(prefix)
    if groupby is not None:
        _check_groups(adata, groupby)
    roots = find_roots(adata, root, use_rep=use_rep, groupby=groupby, genes=genes, layer=layer, use_raw=use_raw)
    generator = np.random.default_rng(rng)
    seed = int(generator.integers(2**31 - 1))

    lists = _paths.neighbour_lists(points, 2 * n_neighbors)
    graph = _paths.graph_of(points, _paths.first(lists, n_neighbors - 1), n_neighbors)
    notes: list[str] = []
    parts, labels = _paths.split(graph, roots, points, other_components, notes)
    for part in parts:
        if part.candidates:
            _paths.order_part(part, graph, points, n_dcs)
    n_draws = (50 if adata.n_obs <= 10_000 else 20) if n_bootstraps is None else n_bootstraps
    draws = _paths.bootstrap(parts, points, lists, n_neighbors, n_dcs, n_draws, share, generator, show_progress)

    run = _Run(adata, graph, parts, labels, draws, name, use_rep, notes)
    groups = groupby or _leiden(run, seed)
    paga = _paga(graph, adata.obs[groups], points, notes)
    key = use_rep if key_added in ("auto", None) else name
    result = _summary(run, adata.obs[groups])
    result["params"] = {
        "root": [r.name for r in roots], "use_rep": use_rep, "prefix": name, "groupby": groups,
        "n_neighbors": n_neighbors, "n_dcs": n_dcs, "other_components": other_components, "n_bootstraps": n_draws,
        "share": share, "scanpy_keys": key_added is None,
    }  # fmt: skip
    result["params"]["root"] = np.asarray(result["params"]["root"], dtype=object)
    _write(run, groups, paga, scanpy_keys=key_added is None, n_neighbors=n_neighbors)
    keep_results(adata, key, {"trajectory": result})
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return adata if copy else None


@dataclass(eq=False)
class _Run:
    """What one call has found, on the way into the AnnData."""

    adata: AnnData
    graph: AnnData
    parts: list[Part]
    labels: NDArray[np.int64]
    draws: list[tuple[NDArray[np.float64], NDArray[np.float64]]]  # per part: draws x cells, draws x branches
    name: str
    use_rep: str
    notes: list[str]


def _check(n_cells: int, n_neighbors: int, n_dcs: int, n_bootstraps: int | None, share: float) -> None:
    if n_cells < _FEWEST:
        raise InputError(f"{n_cells} cells are too few to be ordered; at least {_FEWEST} are needed")
    if not 3 <= n_neighbors <= n_cells // 2:
        raise InputError(
            f"n_neighbors must lie between 3 and half the number of cells, {n_cells // 2}; got {n_neighbors}"
        )
    if n_dcs < 2:
        raise InputError(f"n_dcs must be at least 2, got {n_dcs}")
    if (n_bootstraps is not None and n_bootstraps < 0) or not 0.1 <= share < 1:
        raise InputError(
            f"n_bootstraps must not be negative and share must lie in [0.1, 1); got {n_bootstraps} and {share}"
        )


def _check_groups(adata: AnnData, groupby: str) -> None:
    check_key(groupby, [str(c) for c in adata.obs.columns], "column in obs")
    column = adata.obs[groupby]
    if column.isna().any():
        raise InputError(
            f"{int(column.isna().sum())} cells have no value in obs['{groupby}']; give them one or remove them first"
        )
    if column.nunique() > len(column) // 2:
        raise InputError(
            f"obs['{groupby}'] has {column.nunique()} values for {len(column)} cells: it does not hold groups"
        )


def _leiden(run: _Run, seed: int) -> str:
    import scanpy as sc

    column = f"{run.name}_trajectory_groups"
    sc.tl.leiden(run.graph, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
    run.adata.obs[column] = pd.Categorical(run.graph.obs["leiden"].to_numpy())
    return column


def _paga(graph: AnnData, groups: pd.Series[Any], points: NDArray[Any], notes: list[str]) -> dict[str, Any]:
    """PAGA, or an empty one where no edge runs between groups (scanpy raises there)."""
    import scanpy as sc

    names = groups.astype(str) if not isinstance(groups.dtype, pd.CategoricalDtype) else groups
    kept = pd.Categorical(names).remove_unused_categories()
    codes = kept.codes
    edges = sp.coo_matrix(graph.obsp["distances"])
    n = len(kept.categories)
    if (codes[edges.row] != codes[edges.col]).any():
        graph.obs["groups"] = kept
        sc.tl.paga(graph, groups="groups")
        found = {k: sp.csr_matrix(graph.uns["paga"][k]) for k in ("connectivities", "connectivities_tree")}
    else:
        found = {k: sp.csr_matrix((n, n)) for k in ("connectivities", "connectivities_tree")}
        notes.append(f"no edge runs between the {n} groups of '{groups.name}', so PAGA shows them unconnected")
    plane = points[:, :2] if points.shape[1] > 1 else np.column_stack([points[:, 0], np.zeros(len(points))])
    pos = np.array([plane[codes == c].mean(axis=0) for c in range(n)], dtype=np.float64)
    return {**found, "groups": str(groups.name), "pos": pos, "sizes": np.bincount(codes, minlength=n)}


def _summary(run: _Run, groups: pd.Series[Any]) -> dict[str, Any]:
    """Tables of terminal states, components and roots."""
    names = run.adata.obs_names
    ends, components, roots = [], [], []
    evals = np.full((len(run.parts), max(2, *(len(p.values) for p in run.parts))), np.nan)
    for i, (part, (times, again)) in enumerate(zip(run.parts, run.draws, strict=True)):
        low, high = core.interval(times)
        components.append({
            "n_cells": len(part.rows),
            "root": "; ".join(names[part.roots]),
            "root_from": "none" if not part.roots else "nearest" if part.nearest else "given",
            "interval_width": float(np.nanmean(high - low)) if np.isfinite(low).any() else np.nan,
        })  # fmt: skip
        if part.branches is None:
            continue
        evals[i, : len(part.values)] = part.values
        roots.append(_other_roots(part, names, str(i)))
        codes = part.branches.codes
        for b, tip in enumerate(part.branches.tips):
            member = codes == b if len(part.branches.tips) > 1 else np.ones(len(codes), bool)
            ends.append({
                "branch": _branch_name([b], len(part.branches.tips), i),
                "cell": str(names[part.rows[tip]]),
                "component": str(i),
                "n_cells": int(member.sum()),
                "pseudotime": float(part.pseudotime[tip]),
                "group": str(groups.iloc[part.rows[member]].astype(str).mode().iloc[0]),
                "support": float(again[:, b].mean()) if len(again) and len(part.branches.tips) > 1 else np.nan,
            })  # fmt: skip
    index = pd.Index([str(i) for i in range(len(run.parts))], name="component")
    return {
        "table": pd.DataFrame(ends).set_index("branch"),
        "components": pd.DataFrame(components, index=index),
        "roots": pd.concat(roots, ignore_index=True),
        "evals": evals,
        "notes": np.asarray(run.notes, dtype=object),
    }


def _other_roots(part: Part, names: pd.Index[Any], component: str, most: int = 50) -> pd.DataFrame:
    """How much the order changes when another candidate is the root: one row of distances each."""
    from scipy.stats import spearmanr

    rows = np.unique(np.concatenate(part.candidates))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
    distance = core.dpt_distances(part.values, part.vectors, np.searchsorted(part.rows, rows))
    rho = [float(spearmanr(d, part.pseudotime)[0]) if np.ptp(part.pseudotime) > 0 else np.nan for d in distance]
    return pd.DataFrame({"cell": names[rows].astype(str), "component": component, "spearman": rho})


def _branch_name(branches: list[int], n: int, component: int) -> str:
    text = "trunk" if len(branches) == n else "branch " + "+".join(str(b + 1) for b in branches)
    return text if component == 0 else f"{component}: {text}"


def _write(run: _Run, groups: str, paga: dict[str, Any], *, scanpy_keys: bool, n_neighbors: int) -> None:
    adata, p = run.adata, run.name
    time, low, high = (np.full(adata.n_obs, np.nan) for _ in range(3))
    branch = np.full(adata.n_obs, None, dtype=object)
    diffmap = np.full((adata.n_obs, max(2, *(len(q.values) for q in run.parts))), np.nan, dtype=np.float32)
    for i, (part, (times, _)) in enumerate(zip(run.parts, run.draws, strict=True)):
        if part.branches is None:
            continue
        time[part.rows] = part.pseudotime
        low[part.rows], high[part.rows] = core.interval(times)
        diffmap[part.rows, : part.vectors.shape[1]] = part.vectors
        n = len(part.branches.tips)
        for pattern in np.unique(part.branches.leads_to, axis=0):
            rows = part.rows[(part.branches.leads_to == pattern).all(axis=1)]
            branch[rows] = _branch_name(np.flatnonzero(pattern).tolist(), n, i)
    adata.obs["dpt_pseudotime" if scanpy_keys else f"{p}_pseudotime"] = time
    adata.obs[f"{p}_pseudotime_low"], adata.obs[f"{p}_pseudotime_high"] = low, high
    parts = [str(i) for i in range(len(run.parts))]
    adata.obs[f"{p}_component"] = pd.Categorical.from_codes(run.labels, categories=pd.Index(parts))
    adata.obs[f"{p}_branch"] = pd.Categorical(branch)
    adata.obsm["X_diffmap" if scanpy_keys else f"X_{p}_diffmap"] = diffmap
    near, far = "connectivities", "distances"
    if not scanpy_keys:
        near, far = (f"{p}_trajectory_{k}" for k in (near, far))
    adata.obsp[near], adata.obsp[far] = run.graph.obsp["connectivities"], run.graph.obsp["distances"]
    adata.uns["neighbors" if scanpy_keys else f"{p}_trajectory_neighbors"] = {
        "connectivities_key": near,
        "distances_key": far,
        "params": {"n_neighbors": n_neighbors, "method": "umap", "metric": "euclidean", "use_rep": run.use_rep},
    }
    sizes = paga.pop("sizes")
    adata.uns["paga" if scanpy_keys else f"{p}_paga"] = paga
    if scanpy_keys:
        first = next(q for q in run.parts if q.roots)
        adata.uns["diffmap_evals"], adata.uns["iroot"] = first.values, first.roots[0]
        adata.uns[f"{groups}_sizes"] = sizes
        if not isinstance(adata.obs[groups].dtype, pd.CategoricalDtype):
            adata.obs[groups] = adata.obs[groups].astype("category")
