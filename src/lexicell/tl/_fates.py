"""Where each cell may end: probabilities of the terminal states, by CellRank or Palantir."""

from __future__ import annotations

import contextlib
import importlib
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
from .._errors import InputError, MissingDependencyError, check_choice
from .._results import keep_results
from .._values import check_rep
from ._ordered import Ordered, find_ordered

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["fates"]

_METHODS = ("cellrank", "palantir")


def fates(
    adata: AnnData,
    *,
    method: str = "cellrank",
    key: str = _keys.X_FUSED,
    component: str = "0",
    n_terminal: int = 30,
    n_waypoints: int = 1200,
    rng: int = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Probability of each cell to end in each terminal state of a trajectory.

    With ``"cellrank"``: CellRank's pseudotime kernel takes from the trajectory's graph the edges that lead back in
    pseudotime; the rest is a random walk with transition matrix T, and a fate probability is the probability that the
    walk from a cell is absorbed in the cells of one terminal state first. With ``"palantir"``: Palantir's own diffusion
    map, pseudotime and waypoints on the same representation, with the same root and the same terminal cells.

    .. math:: P = (1 - Q)^{-1} R, \qquad T = \begin{pmatrix} Q & R \\ 0 & 1 \end{pmatrix}

    Both need the extra ``traj``: ``pip install 'lexicell[traj]'``.

    Parameters
    ----------
    adata
        Cells with a trajectory that has at least two terminal states.
    method
        ``"cellrank"`` or ``"palantir"``.
    key
        Key under which :func:`lexicell.tl.trajectory` wrote.
    component
        Connected part of the graph.
    n_terminal
        Cells that make a terminal state for CellRank: those of the branch nearest to its terminal cell in the
        representation, at most a fifth of the branch. Palantir takes the terminal cell alone.
    n_waypoints
        Waypoints of Palantir, at most the number of cells.
    rng
        Seed of Palantir.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes, with the prefix p of the trajectory,

    ``obsm["p_fates"]``
        DataFrame, one column a terminal state, float64; rows sum to 1, NaN in other connected parts.
    ``obs["p_fate_entropy"]``
        Entropy of the row in bits: 0 where the fate is settled, the logarithm of the number of ends where all are open.
    ``obs["p_palantir_pseudotime"]``
        For Palantir: its pseudotime, 0 to 1.
    ``uns["lexicell"][key]["fates"]``
        ``table``, one row a terminal state: ``cell``, ``n_terminal``, ``mean``, ``mean_trunk`` and ``mean_branch``
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
    A probability of a walk over the graph, not of a cell in the world: both methods take the terminal states and the
    direction as given, and say nothing about whether there is a process.

    References
    ----------
    Lange et al., Nature Methods 2022, doi:10.1038/s41592-021-01346-6 (CellRank); Setty et al., Nature Biotechnology
    2019, doi:10.1038/s41587-019-0068-4 (Palantir).

    Examples
    --------
    >>> lx.tl.fates(adata, key="X_expression")  # doctest: +SKIP
    >>> adata.obsm["expression_fates"].idxmax(axis=1)  # doctest: +SKIP
    """
    adata = adata.copy() if copy else adata
    check_choice(method, _METHODS, "method")
    if n_terminal < 1 or n_waypoints < 10:
        raise InputError(f"n_terminal must be at least 1 and n_waypoints 10; got {n_terminal} and {n_waypoints}")
    ordered = find_ordered(adata, key)
    rows = ordered.rows(component, None)
    ends = ordered.result["table"].query("component == @component")
    if len(ends) < 2:
        raise InputError(
            f"component {component} has {len(ends)} terminal state, so there is no fate to decide; "
            "branches are found by lexicell.tl.trajectory"
        )
    _check_installed(method)
    points = check_rep(adata, ordered.use_rep)
    names = adata.obs_names[rows].astype(str)
    tips = pd.Series(ends["cell"].astype(str).to_numpy(), index=ends.index.astype(str))
    if method == "cellrank":
        terminal = _terminal_cells(ordered, rows, points, adata.obs_names, tips, n_terminal)
        found = _cellrank(_graph(adata, ordered, rows), ordered.pseudotime[rows], names, terminal)
        sizes = {end: len(cells) for end, cells in terminal.items()}
    else:
        root = _one_root(ordered, component)
        found, time = _palantir(points[rows], names, root, tips, min(n_waypoints, len(rows)), rng)
        adata.obs[f"{ordered.prefix}_palantir_pseudotime"] = _spread(time, rows, adata.n_obs)
        sizes = dict.fromkeys(tips.index, 1)
    found = found[list(tips.index)]
    table = pd.DataFrame(_spread(found.to_numpy(), rows, adata.n_obs), index=adata.obs_names, columns=found.columns)
    adata.obsm[f"{ordered.prefix}_fates"] = table
    adata.obs[f"{ordered.prefix}_fate_entropy"] = _entropy(table.to_numpy())
    branch = ordered.branch[rows].astype(str)
    result = {
        "table": pd.DataFrame(
            {
                "cell": tips,
                "n_terminal": pd.Series(sizes),
                "mean": found.mean(),
                "mean_trunk": found[[b.endswith("trunk") for b in branch]].mean(),
                "mean_branch": pd.Series({end: found.loc[branch == end, end].mean() for end in tips.index}),
            }
        ).loc[tips.index],
        "params": {
            "method": method, "version": version(method), "component": component, "n_terminal": n_terminal,
            "n_waypoints": n_waypoints, "rng": rng,
        },
    }  # fmt: skip
    keep_results(adata, key, {"fates": result})
    return adata if copy else None


def _check_installed(method: str) -> None:
    from importlib.util import find_spec

    if find_spec(method) is None:
        raise MissingDependencyError(f"fates by {method} need the package {method}: pip install 'lexicell[traj]'")


def _terminal_cells(
    ordered: Ordered,
    rows: NDArray[np.int64],
    points: NDArray[Any],
    names: pd.Index[Any],
    tips: pd.Series[str],
    n: int,
) -> dict[str, list[str]]:
    found = {}
    for end, cell in tips.items():
        members = rows[ordered.branch[rows] == end]
        tip = int(names.get_indexer(pd.Index([cell]))[0])
        distance = ((points[members] - points[tip]) ** 2).sum(axis=1)
        near = members[np.argsort(distance, kind="stable")[: max(1, min(n, len(members) // 5))]]
        found[str(end)] = names[np.union1d(near, [tip])].astype(str).tolist()
    return found


def _graph(adata: AnnData, ordered: Ordered, rows: NDArray[np.int64]) -> sp.csr_matrix:
    plain = bool(ordered.result["params"]["scanpy_keys"])
    whole = sp.csr_matrix(adata.obsp["connectivities" if plain else f"{ordered.prefix}_trajectory_connectivities"])
    return sp.csr_matrix(whole[rows][:, rows])


def _one_root(ordered: Ordered, component: str) -> str:
    roots = str(ordered.result["components"].loc[component, "root"]).split("; ")
    if len(roots) != 1 or not roots[0]:
        raise InputError(f"Palantir starts at one cell; component {component} has the roots {roots}")
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
        return pd.DataFrame(np.asarray(found.X), index=names, columns=[str(n) for n in found.names])


def _absorb(walk: Any) -> None:
    # The iterative solver is quick; where it does not converge, the direct one may still do.
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
            scaled, root, terminal_states=ends, num_waypoints=n_waypoints, knn=near, n_jobs=1, seed=seed,
            use_early_cell_as_start=True,
        )  # fmt: skip
        chance = run.branch_probs.loc[names].rename(columns={c: ends.get(c, c) for c in run.branch_probs.columns})
        chance = chance.reindex(columns=tips.index, fill_value=0.0).clip(lower=0.0)
        return chance.div(chance.sum(axis=1), axis=0), run.pseudotime.loc[names].to_numpy(dtype=np.float64)


def _spread(values: NDArray[Any], rows: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    whole = np.full((n, *values.shape[1:]), np.nan)
    whole[rows] = values
    return whole


def _entropy(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(chance > 0, -chance * np.log2(chance), np.where(np.isnan(chance), np.nan, 0.0))
    return np.asarray(terms.sum(axis=1))
