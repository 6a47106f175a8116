"""Does pseudotime go with the stage of a disease? Donor by donor, with the root chosen again in every permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_key, choices
from .._results import keep_results
from .._values import check_rep
from ..core._permutation import arrangements
from ..core.ordering import time_values
from ..core.trajectory import dpt_distances, medoid
from ..core.vulnerability import adjust_bh, exceed, max_t, standardise
from ._ordered import Ordered, find_ordered

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["progression"]

_FEWEST_DONORS = 4


def progression(
    adata: AnnData,
    *,
    stage: str,
    donor: str,
    order: Sequence[Any] | None = None,
    cell_type: str | None = None,
    key: str = _keys.X_FUSED,
    component: str = "0",
    min_cells: int = 8,
    n_permutations: int = 2000,
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Test, at the level of donors, whether pseudotime rises with ordered stages, and where each cell type stands.

    The mean pseudotime of each donor's cells is correlated with the donor's stage (Spearman). Stages are then exchanged
    between whole donors: every arrangement where that is feasible, a sample otherwise. Where the root is the group of
    cells of one stage (``root="stage=control"``), it depends on the labels that are tested; so in every arrangement the
    root is chosen again, as the medoid of the cells that now carry that stage. Without this, donors of the first stage
    would lie nearer to the root by construction.

    Parameters
    ----------
    adata
        Cells with a trajectory.
    stage
        Column of ``obs`` with numbers or an ordered categorical; each donor has one stage.
    donor
        Column of ``obs`` with the donors.
    order
        Stages from first to last, where the column itself has no order.
    cell_type
        Column of ``obs`` with cell types, each tested on its own. None: all cells together.
    key
        Key under which :func:`lexicell.tl.trajectory` wrote.
    component
        Connected part of the graph: positions in different parts do not compare.
    min_cells
        Fewer cells of a type give a donor no mean.
    n_permutations
        Arrangements drawn where there are more than 5,000 of them.
    rng
        Seed or generator.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][key]["progression"]``:

    ``table``
        One row a cell type: ``rho`` (Spearman of donor means with stage), ``p`` (one-sided: it rises with stage),
        ``q`` (Benjamini-Hochberg), ``p_max_t`` (Westfall-Young), ``smallest_p``, ``n_donors``, ``first`` and ``last``
        (mean pseudotime of the donors of the first and of the last stage), ``reason`` where a type was not tested.
    ``donors``
        One row a donor and type: ``donor``, ``cell_type``, ``stage``, ``n_cells``, ``pseudotime`` (mean).
    ``params``
        With ``root_rechosen`` and ``exact``.

    Raises
    ------
    MissingKeyError
        If a column or the trajectory is not there.
    InputError
        If the stage column is not ordered, a donor has several stages, or there are fewer than 4 donors or 2 stages.

    Examples
    --------
    >>> import numpy as np
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.obs["donor"] = np.arange(adata.n_obs) % 8
    >>> adata.obs["stage"] = adata.obs["donor"] % 2  # drawn by lot: nothing to be found
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=0)
    >>> lx.tl.progression(adata, stage="stage", donor="donor", key="X_expression")
    >>> table = adata.uns["lexicell"]["X_expression"]["progression"]["table"]
    >>> bool(table["p"].iloc[0] > 0.05)
    True
    """
    adata = adata.copy() if copy else adata
    ordered = find_ordered(adata, key)
    for column in [stage, donor, *([cell_type] if cell_type else [])]:
        check_key(column, [str(c) for c in adata.obs.columns], "column in obs")
    times = time_values(adata.obs[stage], order=order)
    inside = np.zeros(adata.n_obs, dtype=bool)
    inside[ordered.rows(component, None)] = True
    rows = np.flatnonzero(inside & np.isfinite(times) & adata.obs[donor].notna().to_numpy())
    donors, codes, stages = _donors(adata.obs[donor].astype(str).to_numpy()[rows], times[rows], donor, stage)
    types = adata.obs[cell_type].astype(str).to_numpy()[rows] if cell_type else np.full(len(rows), "all cells")
    groups = _Groups.of(types, codes, len(donors), min_cells)

    drawn = arrangements(stages, n_draws=n_permutations, rng=rng)
    again = _Rechosen.of(adata, ordered, stage, times, rows, component)
    observed = groups.means(ordered.pseudotime[rows])
    statistics = np.empty((len(drawn), len(groups.names)))
    for i, labels in enumerate(drawn.rows):
        # The observed labels go through the same steps as all others, or the test would not be exact.
        means = observed if again is None else groups.means(again.pseudotime(labels[codes]))
        statistics[i] = [_spearman(m, labels) for m in means]
    tested = np.array([_reason(m, stages) == "" for m in observed])
    statistics[:, ~tested] = np.nan
    p = np.where(tested, exceed(statistics), np.nan)
    table = pd.DataFrame(
        {
            "rho": statistics[0],
            "p": p,
            "q": adjust_bh(p),
            "p_max_t": max_t(standardise(statistics)),
            "smallest_p": np.where(tested, drawn.smallest_p, np.nan),
            "n_donors": np.isfinite(observed).sum(axis=1),
            "first": [_mean(m[stages == stages.min()]) for m in observed],
            "last": [_mean(m[stages == stages.max()]) for m in observed],
            "reason": [_reason(m, stages) for m in observed],
        },
        index=pd.Index(groups.names, name="cell_type"),
    )
    result = {
        "table": table.sort_values(["p", "rho"], ascending=[True, False], kind="stable"),
        "donors": pd.DataFrame(
            {
                "donor": np.tile(donors, len(groups.names)),
                "cell_type": np.repeat(groups.names, len(donors)),
                "stage": np.tile(stages, len(groups.names)),
                "n_cells": groups.sizes.ravel(),
                "pseudotime": observed.ravel(),
            }
        ),
        "params": {
            "stage": stage, "donor": donor, "cell_type": cell_type or "", "component": component,
            "min_cells": min_cells, "n_permutations": len(drawn), "exact": drawn.exact,
            "root_rechosen": again is not None,
        },
    }  # fmt: skip
    keep_results(adata, key, {"progression": result})
    return adata if copy else None


def _donors(
    names: NDArray[Any], times: NDArray[np.float64], donor: str, stage: str
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    table = pd.DataFrame({"donor": names, "stage": times}).groupby("donor", sort=True)["stage"].agg(["min", "max"])
    mixed = table.index[table["min"] != table["max"]]
    if len(mixed):
        raise InputError(
            f"donors with cells of several stages in obs['{stage}']: {choices(mixed, limit=5)}; "
            f"each value of obs['{donor}'] must have one"
        )
    if len(table) < _FEWEST_DONORS or table["min"].nunique() < 2:
        raise InputError(
            f"{len(table)} donors of {table['min'].nunique()} stages are too few; "
            f"at least {_FEWEST_DONORS} donors and 2 stages are needed, because donors are what is tested"
        )
    donors = table.index.to_numpy(dtype=object)
    codes = pd.Index(donors).get_indexer(pd.Index(names)).astype(np.int64)
    return donors, codes, table["min"].to_numpy(dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Groups:
    """Cell types x donors, and the cells of each."""

    names: NDArray[Any]
    group: NDArray[np.int64]
    sizes: NDArray[np.int64]
    min_cells: int

    @classmethod
    def of(cls, types: NDArray[Any], donors: NDArray[np.int64], n_donors: int, min_cells: int) -> _Groups:
        names, codes = np.unique(types.astype(str), return_inverse=True)
        group = codes * n_donors + donors
        sizes = np.bincount(group, minlength=len(names) * n_donors).reshape(len(names), n_donors)
        return cls(names.astype(object), group, sizes, min_cells)

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each type and donor, NaN where there are too few cells."""
        sums = np.bincount(self.group, weights=values, minlength=self.sizes.size).reshape(self.sizes.shape)
        return np.where(self.sizes >= max(self.min_cells, 1), sums / np.maximum(self.sizes, 1), np.nan)


@dataclass(frozen=True, eq=False)
class _Rechosen:
    """Pseudotime from the root that other labels would have given."""

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    points: NDArray[np.floating]
    first: float

    @classmethod
    def of(
        cls,
        adata: AnnData,
        ordered: Ordered,
        stage: str,
        times: NDArray[np.float64],
        rows: NDArray[Any],
        component: str,
    ) -> _Rechosen | None:
        """None where the root does not depend on the stages."""
        asked = [str(r) for r in np.atleast_1d(ordered.result["params"]["root"])]
        if not any(r.startswith(f"{stage}=") for r in asked):
            return None
        if len(asked) > 1:
            raise InputError("with several roots, one of which is a stage, the test cannot choose the root again")
        at = adata.obs[stage].astype(str).to_numpy() == asked[0].partition("=")[2]
        key = "X_diffmap" if ordered.result["params"]["scanpy_keys"] else f"X_{ordered.prefix}_diffmap"
        evals = np.asarray(ordered.result["evals"], dtype=np.float64)[int(component)]
        known = np.isfinite(evals)
        vectors = np.asarray(adata.obsm[key], dtype=np.float64)[rows][:, known]
        return cls(evals[known], vectors, check_rep(adata, ordered.use_rep)[rows], float(times[at][0]))

    def pseudotime(self, stages: NDArray[np.float64]) -> NDArray[np.float64]:
        root = medoid(self.points, np.flatnonzero(stages == self.first))
        return np.asarray(dpt_distances(self.values, self.vectors, [root])[0])


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    known = np.isfinite(x)
    if known.sum() < 3:
        return float("nan")
    a, b = (pd.Series(v[known]).rank().to_numpy() for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float(a @ b) / scale if scale > 0 else float("nan")


def _reason(means: NDArray[np.float64], stages: NDArray[np.float64]) -> str:
    known = np.isfinite(means)
    if known.sum() < _FEWEST_DONORS:
        return f"{int(known.sum())} donors with enough cells; {_FEWEST_DONORS} are needed"
    if len(np.unique(stages[known])) < 2:
        return "all donors with enough cells are of one stage"
    return ""


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
