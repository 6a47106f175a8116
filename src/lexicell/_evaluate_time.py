"""Does text help to order cells? Every representation's pseudotime, scored against measured time or ordered stages."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._errors import InputError, MissingKeyError, check_key
from ._progress import progress
from .core.ordering import branch_f1, time_values

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Truth", "evaluate_time", "time_verdict", "truth_of"]

Job = tuple[str, str, int, Callable[[], NDArray[Any]]]

SHARE = 0.8  # of the cells in each draw
_FEWEST = 30  # cells, as in tl.trajectory
_FEWEST_FIRST = 5  # cells of the first time; with fewer, as with continuous time, the first twentieth counts
_TIE = 0.05  # differences in rank correlation below this are ties (0.10 below 300 cells), whatever their spread
_CONTROLS = ("shuffled texts", "random vectors")


@dataclass(frozen=True, eq=False)
class Truth:
    """What the order is scored against.

    Attributes
    ----------
    keep
        Rows of the cells with a time.
    time
        Their time, shape ``(n,)``.
    root
        Whether a cell may be the root, shape ``(n,)``, bool: the medoid of those is the root.
    root_name
        Where the root came from.
    branch
        True branch of each cell; None where none was given.
    trunk
        Name of the trunk among the branches.
    n_missing
        Cells without a time, which are left out.
    """

    keep: NDArray[np.int64]
    time: NDArray[np.float64]
    root: NDArray[np.bool_]
    root_name: str
    branch: NDArray[Any] | None
    trunk: str
    n_missing: int


def truth_of(
    adata: AnnData, *, time: str, order: list[str] | None, root: str | None, branch: str | None, trunk: str
) -> Truth:
    """Read and check the columns before anything is computed."""
    columns = [str(c) for c in adata.obs.columns]
    for column in (time, *([branch] if branch else [])):
        check_key(column, columns, "column in obs")
    values = time_values(adata.obs[time], order=order)
    keep = np.flatnonzero(np.isfinite(values)).astype(np.int64)
    if len(keep) < _FEWEST or np.ptp(values[keep]) == 0:
        raise InputError(
            f"{len(keep)} cells with {len(np.unique(values[keep]))} different values in obs['{time}'] cannot score an "
            f"order; at least {_FEWEST} cells and two times are needed"
        )
    known = values[keep]
    if root is None:
        first = known == known.min()
        name = f"cells of the first {time} ({known.min():g})"
        if first.sum() < _FEWEST_FIRST:
            first = known <= np.quantile(known, 0.05)
            name = f"the first twentieth of {time}"
    else:
        first, name = _given_root(adata, root)[keep], root
        if not first.any():
            raise InputError(f"the root '{root}' holds no cell with a value in obs['{time}']")
    labels = None
    if branch is not None:
        column = adata.obs[branch].iloc[keep]
        if column.isna().any():
            raise InputError(
                f"{int(column.isna().sum())} cells have no value in obs['{branch}']; give '{trunk}' or one"
            )
        labels = column.astype(str).to_numpy(dtype=object)
        if len(set(labels) - {trunk}) < 2:
            raise InputError(f"obs['{branch}'] names fewer than two branches beside '{trunk}': {sorted(set(labels))}")
    return Truth(keep, known, first, name, labels, trunk, adata.n_obs - len(keep))


def _given_root(adata: AnnData, root: str) -> NDArray[np.bool_]:
    from .tl._roots import find_roots

    if root.startswith(("markers:", "words:", "cluster:")):
        raise InputError(
            f"root='{root}' depends on a representation; to compare representations give the same cells to all: "
            "a cell name or 'column=value'"
        )
    found = find_roots(adata, root, use_rep="", groupby=None, genes=None, layer=None, use_raw=None)
    return np.isin(np.arange(adata.n_obs), np.concatenate([f.rows for f in found]))


def evaluate_time(
    jobs: Iterable[Job], truth: Truth, *, n_draws: int, n_neighbors: int, rng: int, show_progress: bool | None
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Score every representation on all cells and on the same draws of 80 % of them, each with a graph of its own.

    Returns
    -------
    The table, the scores (one row a representation, seed and draw; draw -1 is all cells) and the verdict, as
    :func:`lexicell.evaluate` describes them.
    """
    if n_draws < 2:
        raise InputError(f"an interval needs at least 2 draws of cells; got {n_draws}")
    n = len(truth.time)
    size = max(_FEWEST, round(SHARE * n))
    own = np.random.default_rng(rng).spawn(n_draws)
    draws = [np.arange(n), *(np.sort(generator.choice(n, size=size, replace=False)) for generator in own)]
    # A draw without a candidate for the root has no beginning.
    draws = [d if truth.root[d].any() else np.union1d(d, np.flatnonzero(truth.root)[:1]) for d in draws]
    jobs = list(jobs)
    rows: list[dict[str, Any]] = []
    with progress("evaluating", len(jobs), show=show_progress) as advance:
        for name, kind, seed, make in jobs:
            matrix = np.asarray(make(), dtype=np.float32)
            for i, drawn in enumerate(draws):
                found = _score(matrix[drawn], truth, drawn, n_neighbors)
                rows.append({"representation": name, "kind": kind, "seed": seed, "draw": i - 1, **found})
            advance()
    scores = pd.DataFrame(rows)
    table = _summary(scores)
    return table, scores, time_verdict(table, n)


def _score(points: NDArray[np.float32], truth: Truth, drawn: NDArray[np.int64], n_neighbors: int) -> dict[str, float]:
    import anndata
    from scipy.stats import kendalltau, spearmanr

    from .tl import trajectory

    obs = pd.DataFrame(
        # Some groups must be named, or Leiden would look for them: it takes most of the time and changes no score.
        {"start": np.where(truth.root[drawn], "yes", "no"), "half": np.arange(len(drawn)) % 2},
        index=pd.Index([f"c{i}" for i in drawn]),
    )
    cells = anndata.AnnData(obs=obs, obsm={"X_scored": points})
    near = min(n_neighbors, len(drawn) // 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the graph falls into|no edge runs between")
        trajectory(cells, root="start=yes", use_rep="X_scored", groupby="half", n_neighbors=near, n_bootstraps=0)
    order, time = cells.obs["scored_pseudotime"].to_numpy(), truth.time[drawn]
    known = np.isfinite(order)
    both = (order[known], time[known])
    if known.sum() < 3 or min(np.ptp(v) for v in both) == 0:
        rho = tau = 0.0  # nothing was ordered
    else:
        rho, tau = float(spearmanr(*both)[0]), float(kendalltau(*both)[0])
    parts = cells.obs["scored_component"].nunique()
    found = {"spearman": rho, "kendall": tau, "missing": float((~known).mean()), "parts": float(parts)}
    if truth.branch is not None:
        named = cells.obs["scored_branch"].astype(object).fillna("none").astype(str)
        # "branch 1+2" is undecided between two, as the trunk is between all.
        named = named.where((named != "trunk") & ~named.str.contains("+", regex=False), truth.trunk)
        found["branch_f1"], _ = branch_f1(truth.branch[drawn], named.to_numpy(), trunk=truth.trunk)
        found["branches"] = float(len(cells.uns["lexicell"]["X_scored"]["trajectory"]["table"]))
    return found


def _summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of a control; intervals over the draws of each draw's mean over seeds."""
    whole = scores[scores["draw"] < 0].groupby("representation", sort=False)
    numbers = [c for c in scores.columns if c not in ("representation", "kind", "seed", "draw")]
    table = whole[numbers].mean()
    table.insert(0, "kind", whole["kind"].first())
    drawn = scores[scores["draw"] >= 0]
    for name in ("spearman", "kendall", *(["branch_f1"] if "branch_f1" in scores else [])):
        each = _per_draw(drawn, name)
        table[f"{name}_low"], table[f"{name}_high"] = each.quantile(0.025), each.quantile(0.975)
    each = _per_draw(drawn, "spearman")
    table["spearman_mean"] = each.mean()
    table["spearman_sd"] = (
        drawn.groupby(["representation", "seed"], sort=False)["spearman"].mean().groupby(level=0).std().fillna(0.0)
    )
    best = str(table.loc[table["kind"] == "expression", "spearman_mean"].idxmax())
    gain = each.sub(each[best], axis=0)
    table["gain"], table["gain_low"], table["gain_high"] = gain.mean(), gain.quantile(0.025), gain.quantile(0.975)
    behind = pd.DataFrame({f"fused, {c}": each["fused"] - each[f"fused, {c}"] for c in _CONTROLS})
    table["behind_fused"], table["behind_fused_low"] = behind.mean(), behind.quantile(0.025)
    return table


def _per_draw(drawn: pd.DataFrame, score: str) -> pd.DataFrame:
    """Draws x representations."""
    return drawn.groupby(["draw", "representation"], sort=False)[score].mean().unstack("representation")


def time_verdict(table: pd.DataFrame, n_cells: int) -> str:
    """Say in words what the table says, by a fixed rule.

    The text representation judged is ``fused``, the default, chosen before looking. Its mean Spearman correlation over
    the draws is compared, draw by draw, with the best expression baseline and with each control. A difference counts
    where its mean exceeds the tie margin (.05; .10 below 300 cells) and all but 2.5 % of the draws agree.
    """
    margin = _TIE if n_cells >= 300 else 2 * _TIE
    mean = {str(k): float(v) for k, v in table["spearman_mean"].items()}
    best = str(table.loc[table["kind"] == "expression", "spearman_mean"].idxmax())
    gain = table.loc["fused"]
    controls = [table.loc[f"fused, {c}"] for c in _CONTROLS]
    owed = all(c["behind_fused"] > margin and c["behind_fused_low"] > 0 for c in controls)
    against = [f"{c} {mean[f'fused, {c}']:.2f}" for c in _CONTROLS]
    numbers = f"fused rho {mean['fused']:.2f}, best expression baseline {mean[best]:.2f} ({best}), {', '.join(against)}"
    if gain["gain"] > margin and gain["gain_low"] > 0:
        said = (
            "Text helps to order these cells" if owed else "Fusion orders these cells better, but its controls do too"
        )
        return f"{said} ({numbers})."
    if gain["gain"] < -margin and gain["gain_high"] < 0:
        return f"Text costs accuracy here: expression alone orders these cells better ({numbers})."
    said = "and is above its own controls" if owed else "and its controls do as well"
    return f"Text adds nothing to expression in ordering these cells: fusion equals it {said} ({numbers})."


def check_one(label: str | None, time: str | None) -> None:
    """Refuse neither and both: one question a call."""
    if (label is None) == (time is None):
        raise MissingKeyError("name what to score against: label=, a column of known labels, or time=, one of times")
