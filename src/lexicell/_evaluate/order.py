"""Does text help to order cells? Every representation's pseudotime, scored against measured time or ordered stages."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_column
from .._expression import DEFAULT_SLOT, Expression
from .._progress import progress
from ..core.genes.embedding import GeneEmbedding
from ..core.trajectory.scores import branch_f1, pseudotime_score, time_values
from .representations import CONTROLS, Evaluation, Representation, check_compared, compared, tie_margin

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Truth", "evaluate_order", "order_scores", "order_verdict", "truth_of"]

TRUNK = "trunk"  # name of the cells before branches separate
SHARE = 0.8  # fraction of the cells in each draw
_FEWEST = 30  # cells, as in tl.trajectory
_FEWEST_FIRST = 5  # cells of the first time; with fewer, as with continuous time, the first 5 % are used
_N_NEIGHBORS = 15


def evaluate_order(
    adata: AnnData,
    *,
    time: str,
    order: list[str] | None = None,
    root: str | None = None,
    branches: str | None = None,
    genes: GeneEmbedding | None = None,
    use_reps: list[str] | None = None,
    expression: Expression | None = None,
    n_controls: int = 3,
    n_bootstraps: int = 20,
    rng: int = 0,
    show_progress: bool | None = None,
) -> Evaluation:
    """Score text representations on measured time, beside strong expression baselines and matched controls.

    Every representation orders the cells from the same root (:func:`lexicell.tl.trajectory`), and the order is
    compared with time, on all cells and on the same draws of 80 % of them. Representations and controls are those of
    :func:`lexicell.evaluate`.

    Parameters
    ----------
    adata
        Cells with counts (or abundances, or log values). Not changed. Cells without a time are left out.
    time
        Column of ``obs`` with measured times or ordered stages.
    order
        Stages from first to last, if the column is neither numbers nor ordered.
    root
        A cell name or ``"column=value"``. None: the cells of the first time (their medoid is the root).
    branches
        Column of ``obs`` with true branches, ``"trunk"`` before they separate; adds ``branch_f1``.
    genes
        From :func:`lexicell.emb.genes`; None: the bundled texts and vectors.
    use_reps
        Further keys of ``obsm`` to score as they are.
    expression
        Which matrix holds the expression; None: ``X``.
    n_controls
        Seeds of each control.
    n_bootstraps
        Draws of 80 % of the cells, each ordered anew; at least 2.
    rng
        Random seed.
    show_progress
        Whether to draw a progress bar; None: if stderr is a terminal.

    Returns
    -------
    Evaluation
        Scores: ``spearman`` and ``kendall`` (all cells; ``_low`` and ``_high``: 95 % of the draws), ``spearman_mean``
        over the draws, ``spearman_sd`` (over seeds of a control), ``gain`` (mean over draws of the difference to the
        best expression baseline on the same draw, with ``_low`` and ``_high``), ``missing`` (fraction of cells without
        pseudotime), ``parts`` (of the graph), and with `branches` ``branch_f1`` and ``branches`` (found). In
        ``scores``, draw -1 is all cells.

    Raises
    ------
    MissingKeyError
        If a column or a representation does not exist; the message lists those that do.
    InputError
        If the times have no order, fewer than 30 cells or two times are given, a representation contains NaN, or the
        values cannot be used.

    Examples
    --------
    >>> import lexicell as lx
    >>> found = lx.evaluate_order(adata, time="hours")  # doctest: +SKIP
    >>> print(found.verdict)  # doctest: +SKIP
    """
    from .. import emb

    choice = expression or DEFAULT_SLOT
    check_compared(adata, use_reps, n_controls, n_bootstraps)
    truth = truth_of(adata, time=time, order=order, root=root, branch=branches)
    work = adata[truth.keep].copy()
    if genes is None:
        genes = emb.genes(work, use_raw=bool(choice.use_raw))
    jobs = compared(genes, n_controls, choice, use_reps)
    scores = order_scores(jobs, work, truth, n_draws=n_bootstraps, rng=rng, show_progress=show_progress)
    table = _summary(scores)
    params = {
        "time": time,
        "root": truth.root_name,
        "branches": branches or "",
        "cells": len(truth.keep),
        "genes": len(genes),
        "gene_embedding": genes.hash,
        "n_controls": n_controls,
        "n_bootstraps": n_bootstraps,
        "seed": int(rng),
        **{name: str(value or "") for name, value in asdict(choice).items()},
    }
    n_missing = adata.n_obs - work.n_obs
    dropped = {"(no time)": n_missing} if n_missing else {}
    return Evaluation(table, scores, order_verdict(table, work.n_obs), dropped, params)


@dataclass(frozen=True, eq=False)
class Truth:
    """What the order is scored against.

    Attributes
    ----------
    keep
        Rows of the cells with a time; all other attributes are about these.
    time
        Their time, shape ``(n,)``.
    root
        Whether a cell may be the root, shape ``(n,)``, bool: the medoid of those is the root.
    root_name
        Where the root came from.
    branch
        True branch of each cell; None if none was given.
    """

    keep: NDArray[np.int64]
    time: NDArray[np.float64]
    root: NDArray[np.bool_]
    root_name: str
    branch: NDArray[np.object_] | None


def truth_of(adata: AnnData, *, time: str, order: list[str] | None, root: str | None, branch: str | None) -> Truth:
    """Read and check the columns before anything is computed."""
    check_column(adata.obs, time)
    values = time_values(adata.obs[time], order=order)
    keep = np.flatnonzero(np.isfinite(values)).astype(np.int64)
    known = values[keep]
    if len(keep) < _FEWEST or np.ptp(known) == 0:
        raise InputError(
            f"{len(keep)} cells with {len(np.unique(known))} different values in obs['{time}'] cannot score an "
            f"order; at least {_FEWEST} cells and two times are needed"
        )
    labels = None if branch is None else _true_branches(adata, branch, keep)
    if root is not None:
        first = _given_root(adata, root)[keep]
        if not first.any():
            raise InputError(f"the root '{root}' has no cell with a value in obs['{time}']")
        return Truth(keep, known, first, root, labels)
    first = known == known.min()
    name = f"cells of the first {time} ({known.min():g})"
    if first.sum() < _FEWEST_FIRST:
        first = known <= np.quantile(known, 0.05)
        name = f"the first twentieth of {time}"
    return Truth(keep, known, first, name, labels)


def _true_branches(adata: AnnData, branch: str, keep: NDArray[np.int64]) -> NDArray[np.object_]:
    check_column(adata.obs, branch)
    column = adata.obs[branch].iloc[keep]
    if column.isna().any():
        raise InputError(
            f"{int(column.isna().sum())} cells have no value in obs['{branch}']; name their branch, or '{TRUNK}'"
        )
    labels: NDArray[np.object_] = column.astype(str).to_numpy(dtype=object)
    if len(set(labels) - {TRUNK}) < 2:
        raise InputError(f"obs['{branch}'] names fewer than two branches beside '{TRUNK}': {sorted(set(labels))}")
    return labels


def _given_root(adata: AnnData, root: str) -> NDArray[np.bool_]:
    from ..tl import find_roots

    if root.startswith(("markers:", "words:", "cluster:")):
        raise InputError(
            f"root='{root}' depends on a representation; to compare representations give the same cells to all: "
            "a cell name or 'column=value'"
        )
    found = find_roots(adata, root, use_rep="", groupby=None, genes=None, choice=DEFAULT_SLOT)
    return np.isin(np.arange(adata.n_obs), np.concatenate([f.rows for f in found]))


def order_scores(
    jobs: Iterable[Representation],
    adata: AnnData,
    truth: Truth,
    *,
    n_draws: int,
    rng: int,
    show_progress: bool | None = None,
) -> pd.DataFrame:
    """Score every representation on all cells and on the same draws of 80 % of them, each with a graph of its own.

    Returns
    -------
    One row per representation, seed and draw; draw -1 is all cells.
    """
    if n_draws < 2:
        raise InputError(f"an interval needs at least 2 draws of cells; got {n_draws}")
    n = len(truth.time)
    size = max(_FEWEST, round(SHARE * n))
    draws = [np.arange(n)]
    for generator in np.random.default_rng(rng).spawn(n_draws):
        drawn = np.sort(generator.choice(n, size=size, replace=False))
        if not truth.root[drawn].any():  # without a root there is nowhere to start
            drawn = np.union1d(drawn, np.flatnonzero(truth.root)[:1])
        draws.append(drawn)
    jobs = list(jobs)
    rows = []
    with progress("evaluating", len(jobs), show=show_progress) as advance:
        for job in jobs:
            matrix = np.asarray(job.fit(adata).matrix, dtype=np.float32)
            for i, drawn in enumerate(draws):
                scores = _score(matrix[drawn], truth, drawn)
                rows.append({"representation": job.name, "kind": job.kind, "seed": job.seed, "draw": i - 1, **scores})
            advance()
    return pd.DataFrame(rows)


def _score(points: NDArray[np.float32], truth: Truth, drawn: NDArray[np.int64]) -> dict[str, float]:
    """Scores of the order of one draw."""
    import anndata

    from ..tl import trajectory

    obs = pd.DataFrame(
        {"start": np.where(truth.root[drawn], "yes", "no"), "half": np.arange(len(drawn)) % 2},
        index=pd.Index([f"c{i}" for i in drawn]),
    )
    cells = anndata.AnnData(obs=obs, obsm={"X_scored": points})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the graph falls into|no edge runs between")
        # Without groups, trajectory would compute Leiden clusters: they take most of the time and change no score.
        trajectory(
            cells,
            root="start=yes",
            use_rep="X_scored",
            groupby="half",
            n_neighbors=min(_N_NEIGHBORS, len(drawn) // 2),
            n_bootstraps=0,
        )
    order = cells.obs["scored_pseudotime"].to_numpy()
    try:
        rho, tau = pseudotime_score(order, truth.time[drawn])
    except InputError:  # nothing was ordered
        rho = tau = 0.0
    found = {
        "spearman": rho,
        "kendall": tau,
        "missing": float(np.isnan(order).mean()),
        "parts": float(cells.obs["scored_component"].nunique()),
    }
    if truth.branch is not None:
        named = cells.obs["scored_branch"].astype(object).fillna("none").astype(str)
        # "branch 1+2" is undecided between two, as the trunk is between all.
        named = named.where((named != "trunk") & ~named.str.contains("+", regex=False), TRUNK)
        found["branch_f1"], _ = branch_f1(truth.branch[drawn], named.to_numpy(), trunk=TRUNK)
        found["branches"] = float(len(cells.uns[_keys.UNS]["X_scored"]["trajectory"]["table"]))
    return found


def _summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of a control; intervals over the draws of each draw's mean over seeds."""
    whole = scores[scores["draw"] < 0].groupby("representation", sort=False)
    numbers = [c for c in scores.columns if c not in ("representation", "kind", "seed", "draw")]
    table = whole[numbers].mean()
    table.insert(0, "kind", whole["kind"].first())
    drawn = scores[scores["draw"] >= 0]
    for name in ("spearman", "kendall", "branch_f1"):
        if name in scores:
            each = _per_draw(drawn, name)
            table[f"{name}_low"] = each.quantile(0.025)
            table[f"{name}_high"] = each.quantile(0.975)
    each = _per_draw(drawn, "spearman")
    table["spearman_mean"] = each.mean()
    by_seed = drawn.groupby(["representation", "seed"], sort=False)["spearman"].mean()
    table["spearman_sd"] = by_seed.groupby(level=0).std().fillna(0.0)
    gain = each.sub(each[_best_baseline(table)], axis=0)
    table["gain"] = gain.mean()
    table["gain_low"] = gain.quantile(0.025)
    table["gain_high"] = gain.quantile(0.975)
    behind = pd.DataFrame({f"fused, {c}": each["fused"] - each[f"fused, {c}"] for c in CONTROLS})
    table["behind_fused"] = behind.mean()
    table["behind_fused_low"] = behind.quantile(0.025)
    return table


def _per_draw(drawn: pd.DataFrame, score: str) -> pd.DataFrame:
    """Draws x representations."""
    return drawn.groupby(["draw", "representation"], sort=False)[score].mean().unstack("representation")


def _best_baseline(table: pd.DataFrame) -> str:
    return str(table.loc[table["kind"] == "expression", "spearman_mean"].idxmax())


def order_verdict(table: pd.DataFrame, n_cells: int) -> str:
    """Say in words what the table says, by a fixed rule.

    The text representation judged is ``fused``, the default, chosen before looking. Its mean Spearman correlation over
    the draws is compared, draw by draw, with the best expression baseline and with each control. A difference counts
    if its mean exceeds the tie margin (.05; .10 below 300 cells) and all but 2.5 % of the draws agree.
    """
    margin = tie_margin(n_cells)
    mean = table["spearman_mean"]
    best = _best_baseline(table)
    fused = table.loc["fused"]
    controls = table.loc[[f"fused, {c}" for c in CONTROLS]]
    from_text = ((controls["behind_fused"] > margin) & (controls["behind_fused_low"] > 0)).all()
    numbers = [f"fused rho {mean['fused']:.2f}", f"best expression baseline {mean[best]:.2f} ({best})"]
    numbers += [f"{c} {mean[f'fused, {c}']:.2f}" for c in CONTROLS]
    if fused["gain"] > margin and fused["gain_low"] > 0 and from_text:
        said = "Text helps to order these cells"
    elif fused["gain"] > margin and fused["gain_low"] > 0:
        said = "Fusion orders these cells better, but its controls do too"
    elif fused["gain"] < -margin and fused["gain_high"] < 0:
        said = "Text costs accuracy here: expression alone orders these cells better"
    else:
        said = "Text adds nothing to expression in ordering these cells: fusion equals it "
        said += "and is above its own controls" if from_text else "and its controls do as well"
    return f"{said} ({', '.join(numbers)})."
