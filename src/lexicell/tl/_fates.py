"""Fate probabilities: how likely each cell is to reach each terminal state, by CellRank or Palantir."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, MissingDependencyError, check_choice, choices
from .._results import check_rep, keep_results
from ._ordered import Ordered, find_ordered

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["fates"]

_METHODS = ("cellrank", "palantir")


def fates(
    adata: AnnData,
    *,
    method: str = "cellrank",
    use_rep: str = _keys.X_FUSED,
    component: str = "0",
    n_terminal: int = 30,
    n_waypoints: int = 1200,
    rng: int = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Compute each cell's probability of reaching each terminal state of a trajectory.

    With ``"cellrank"``: CellRank's pseudotime kernel removes from the trajectory's graph the edges that lead back in
    pseudotime; the rest is a random walk with transition matrix T. The probability of a fate is the probability that
    the walk from a cell reaches the cells of that terminal state first. With ``"palantir"``: Palantir's own diffusion
    map, pseudotime and waypoints on the same representation, with the same root and the same terminal cells.

    .. math:: P = (1 - Q)^{-1} R, \qquad T = \begin{pmatrix} Q & R \\ 0 & 1 \end{pmatrix}

    Both need the extra ``traj``: ``pip install 'lexicell[traj]'``.

    Parameters
    ----------
    adata
        Cells with a trajectory that has at least two terminal states.
    method
        ``"cellrank"`` or ``"palantir"``.
    use_rep
        Representation that :func:`lexicell.tl.trajectory` was run on.
    component
        Connected part of the graph.
    n_terminal
        Cells in a terminal state, for CellRank: those of the branch nearest to its terminal cell in the
        representation, at most a fifth of the branch. Palantir uses the terminal cell alone.
    n_waypoints
        Waypoints of Palantir, at most the number of cells.
    rng
        Seed of Palantir.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes, with the prefix p of `use_rep`,

    ``obsm["p_fates"]``
        DataFrame, one column per terminal state, float64; rows sum to 1, NaN in other connected parts.
    ``obs["p_fate_entropy"]``
        Entropy of the row in bits: 0 if the fate is decided, log2 of the number of terminal states if all are equally
        likely.
    ``obs["p_palantir_pseudotime"]``
        For Palantir: its pseudotime, 0 to 1.
    ``uns["lexicell"][use_rep]["fates"]``
        ``table``, one row per terminal state: ``cell``, ``n_terminal``, ``mean``, ``mean_trunk`` and ``mean_branch``
        (mean probability over all cells, the trunk, and its own branch); ``params``.

    Raises
    ------
    MissingDependencyError
        If the method's package is not installed.
    MissingKeyError
        If there is no such trajectory.
    InputError
        If there are fewer than two terminal states, the pseudotime starts at several roots (Palantir), or the walk's
        equations cannot be solved (CellRank).

    Notes
    -----
    These are probabilities of a walk on the graph. Both methods take the terminal states and the direction as given;
    neither tests whether there is a process at all.

    References
    ----------
    Lange et al., Nature Methods 2022, doi:10.1038/s41592-021-01346-6 (CellRank); Setty et al., Nature Biotechnology
    2019, doi:10.1038/s41587-019-0068-4 (Palantir).

    Examples
    --------
    >>> lx.tl.fates(adata, use_rep="X_expression")  # doctest: +SKIP
    >>> adata.obsm["expression_fates"].idxmax(axis=1)  # doctest: +SKIP
    """
    adata = adata.copy() if copy else adata
    check_choice(method, _METHODS, "method")
    if n_terminal < 1 or n_waypoints < 10:
        raise InputError(f"n_terminal must be at least 1 and n_waypoints 10; got {n_terminal} and {n_waypoints}")
    ordered = find_ordered(adata, use_rep)
    rows = ordered.rows(component)
    ends = ordered.ends(component)
    if len(ends) < 2:
        raise InputError(
            f"component {component} has {len(ends)} terminal state, so there is no fate to decide; "
            "branches are found by lexicell.tl.trajectory"
        )
    if importlib.util.find_spec(method) is None:
        raise MissingDependencyError(f"fates by {method} need the package {method}: pip install 'lexicell[traj]'")
    points = check_rep(adata, use_rep)
    names = adata.obs_names[rows].astype(str)
    tips = ends["cell"].astype(str)
    if method == "cellrank":
        terminal = _terminal_cells(ordered, rows, points, adata.obs_names, tips, n_terminal)
        weights = sp.csr_matrix(adata.obsp[_keys.connectivities(f"{ordered.prefix}_trajectory")])
        found = _cellrank(weights[rows][:, rows], ordered.pseudotime[rows], names, terminal)
        sizes = {end: len(cells) for end, cells in terminal.items()}
    else:
        root = _one_root(ordered, component)
        found, time = _palantir(points[rows], names, root, tips, min(n_waypoints, len(rows)), rng)
        adata.obs[f"{ordered.prefix}_palantir_pseudotime"] = pd.Series(time, names).reindex(adata.obs_names)
        sizes = dict.fromkeys(tips.index, 1)
    found = found[list(tips.index)]
    whole = found.reindex(adata.obs_names)  # NaN in other parts of the graph
    adata.obsm[f"{ordered.prefix}_fates"] = whole
    adata.obs[f"{ordered.prefix}_fate_entropy"] = _entropy(whole.to_numpy())
    result = {
        "table": _table(found, ordered.branch[rows], tips, sizes),
        "params": {
            "method": method,
            "version": version(method),
            "component": component,
            "n_terminal": n_terminal,
            "n_waypoints": n_waypoints,
            "rng": rng,
        },
    }
    keep_results(adata, use_rep, {"fates": result})
    return adata if copy else None


def _table(found: pd.DataFrame, branch: NDArray[Any], tips: pd.Series[str], sizes: dict[str, int]) -> pd.DataFrame:
    """One row per terminal state."""
    trunk = np.array([b.endswith("trunk") for b in branch])
    own = {end: found.loc[branch == end, end].mean() for end in tips.index}
    return pd.DataFrame(
        {
            "cell": tips,
            "n_terminal": pd.Series(sizes),
            "mean": found.mean(),
            "mean_trunk": found[trunk].mean(),
            "mean_branch": pd.Series(own),
        }
    ).loc[tips.index]


def _terminal_cells(
    ordered: Ordered,
    rows: NDArray[np.int64],
    points: NDArray[Any],
    names: pd.Index[Any],
    tips: pd.Series[str],
    n: int,
) -> dict[str, list[str]]:
    """Names of the cells of each terminal state: its tip and the cells of its branch nearest to the tip."""
    found = {}
    for end, cell in tips.items():
        members = rows[ordered.branch[rows] == end]
        tip = names.get_loc(cell)
        distance = ((points[members] - points[tip]) ** 2).sum(axis=1)
        n_near = max(1, min(n, len(members) // 5))
        near = members[np.argsort(distance, kind="stable")[:n_near]]
        found[str(end)] = names[np.union1d(near, [tip])].astype(str).tolist()
    return found


def _one_root(ordered: Ordered, component: str) -> str:
    roots = str(ordered.result["components"].loc[component, "root"]).split("; ")
    if len(roots) > 1:
        raise InputError(f"Palantir starts at one cell, but component {component} has the roots {choices(roots)}")
    return roots[0]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep other packages' chatter off the user's terminal, and their changes of matplotlib's settings undone."""
    import matplotlib as mpl

    before = logging.root.manager.disable
    with warnings.catch_warnings(), mpl.rc_context(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _cellrank(
    weights: sp.csr_matrix, time: NDArray[np.float64], names: pd.Index[str], terminal: dict[str, list[str]]
) -> pd.DataFrame:
    import anndata

    with _quietly():
        cellrank: Any = importlib.import_module("cellrank")
        cells = anndata.AnnData(
            sp.csr_matrix((len(names), 1), dtype=np.float32), obs=pd.DataFrame({"time": time}, index=names)
        )
        cells.obsp["connectivities"] = weights
        cells.uns["neighbors"] = {"connectivities_key": "connectivities", "params": {}}
        kernel = cellrank.kernels.PseudotimeKernel(cells, time_key="time")
        kernel.compute_transition_matrix(threshold_scheme="hard", show_progress_bar=False)
        walk = cellrank.estimators.GPCCA(kernel)
        walk.set_terminal_states(terminal)
        _absorb(walk)
        found = walk.fate_probabilities
        return pd.DataFrame(np.asarray(found.X), index=names, columns=[str(n) for n in found.names], dtype=np.float64)


def _absorb(walk: Any) -> None:
    """Solve for the fate probabilities; the iterative solver is fast, the direct one works where it fails."""
    failed = ""
    for solver in ("gmres", "direct"):
        try:
            walk.compute_fate_probabilities(solver=solver, use_petsc=False, show_progress_bar=False, n_jobs=1)
        except ValueError as error:
            failed = str(error).split(". ")[0]
        else:
            return
    raise InputError(
        f"CellRank cannot solve for the probabilities of this graph: {failed}. Some cells have next to no way "
        "forward in pseudotime: order the cells with a larger n_neighbors in lexicell.tl.trajectory, or use "
        "method='palantir'"
    )


def _palantir(
    points: NDArray[Any], names: pd.Index[str], root: str, tips: pd.Series[str], n_waypoints: int, seed: int
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    with _quietly():
        utils: Any = importlib.import_module("palantir.utils")
        core: Any = importlib.import_module("palantir.core")
        near = min(30, len(names) // 3)
        maps = utils.run_diffusion_maps(pd.DataFrame(points, index=names), n_components=10, knn=near, seed=seed)
        scaled = utils.determine_multiscale_space(maps)
        ends = pd.Series(tips.index, index=tips.to_numpy())
        # Its own choice of a start would move the root to the edge of the map.
        run = core.run_palantir(
            scaled,
            root,
            terminal_states=ends,
            num_waypoints=n_waypoints,
            knn=near,
            n_jobs=1,
            seed=seed,
            use_early_cell_as_start=True,
        )
        chance = run.branch_probs.loc[names].rename(columns={c: ends.get(c, c) for c in run.branch_probs.columns})
        chance = chance.reindex(columns=tips.index, fill_value=0.0).clip(lower=0.0)
        return chance.div(chance.sum(axis=1), axis=0), run.pseudotime.loc[names].to_numpy(dtype=np.float64)


def _entropy(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of each row in bits, with 0 log 0 = 0; NaN stays NaN."""
    logs = np.log2(np.where(chance > 0, chance, 1.0))
    return np.asarray(-(chance * logs).sum(axis=1))
