"""Whether pseudotime increases with disease stage, tested over donors, and which genes make the difference."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, LexicellError, check_column, choices
from .._results import check_rep, keep_results, recorded, stack_tables
from ..core.donors.design import StudyDesign
from ..core.donors.permutation import arrangements
from ..core.donors.vulnerability import adjust_bh, exceed, max_t, standardize
from ..core.genes.embedding import GeneEmbedding
from ..core.trajectory.order import dpt_distances, medoid
from ..core.trajectory.scores import time_values
from . import _splits
from ._explain import gene_rows
from ._linear import linear_form
from ._ordered import Ordered, find_ordered

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["progression"]

_FEWEST_DONORS = 4
_N_GENES = 25  # listed per cell type; the others are summed in one row


def progression(
    adata: AnnData,
    design: StudyDesign,
    *,
    use_rep: str = _keys.X_FUSED,
    component: str = "0",
    genes: GeneEmbedding | None = None,
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Test at the donor level whether pseudotime increases with ordered stages, for each cell type.

    The mean pseudotime of each donor's cells is correlated with the donor's stage (Spearman). Stages are then permuted
    between whole donors: all arrangements if there are at most 5,000, a sample otherwise. If the root was chosen by
    stage (``root="stage=control"``), it depends on the labels that are tested. So in every arrangement the root is
    chosen again, as the medoid of the cells that now carry that stage. Otherwise donors of the first stage would be
    nearer to the root by construction.

    If the representation is a sum over genes, the difference between the mean of a cell type's cells of the last stage
    and that of the first is split into genes exactly, as :func:`lexicell.tl.explain` does for any two groups of cells:
    :math:`a_g = \Delta w_g\, e_g \cdot \delta / |\delta|^2`, which sum to 1. This describes the difference; the
    test is on pseudotime.

    Parameters
    ----------
    adata
        Cells with a trajectory.
    design
        Columns of ``obs``: :class:`lexicell.StudyDesign`. Its ``condition`` holds the stage, one per donor: numbers, an
        ordered categorical, or names whose order (or numbers) ``stages`` gives. Without ``cell_type``, all cells are
        tested together. With ``batch``, stages change places within batches only. ``reference``, if given, is the first
        stage; ``covariates`` and pairs are not supported.
    use_rep
        Representation that :func:`lexicell.tl.trajectory` was run on.
    component
        Connected part of the graph: pseudotime does not compare between parts.
    genes
        Gene vectors; None: those behind the representation.
    rng
        Seed or generator.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][use_rep]["progression"]``:

    ``table``
        One row per cell type: ``rho`` (Spearman of donor means with stage), ``p`` (one-sided: it increases with stage),
        ``q`` (Benjamini-Hochberg), ``p_max_t`` (Westfall-Young), ``smallest_p`` (that the design can reach),
        ``n_donors``, ``first`` and ``last`` (mean pseudotime of the donors of the first and of the last stage),
        ``reason`` if a type was not tested.
    ``donors``
        One row per donor and type: ``donor``, ``cell_type``, ``stage``, ``n_cells``, ``pseudotime`` (mean).
    ``genes``
        One row per tested cell type and gene, largest parts first: ``cell_type``, ``rank``, ``gene``, ``part`` (of the
        difference between last and first stage), ``part_text`` and ``part_expression`` (which sum to it), ``change``
        (of the gene's mean weight: of mean z if the representation is made of z-scores). 25 genes per type; a row of
        rank 0 has the sum of all others, so that the parts of a type sum to 1. Missing if the representation is not a
        sum over genes.
    ``params``
        With ``root_rechosen``, ``exact`` and ``no_genes`` (why there is no ``genes``, else empty).

    Raises
    ------
    MissingKeyError
        If a column or the trajectory does not exist.
    InputError
        If the stage column is not ordered, a donor has several stages, there are fewer than 4 donors or 2 stages, or
        the design has what is not supported; if `genes` is given and the representation cannot be split into genes.

    Warns
    -----
    UserWarning
        If the representation was made by lexicell and still cannot be split into genes, for example because counts
        were changed since.

    Examples
    --------
    >>> import numpy as np
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.obs["donor"] = np.arange(adata.n_obs) % 8
    >>> adata.obs["stage"] = adata.obs["donor"] % 2  # random: there is nothing to find
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=0)
    >>> design = lx.StudyDesign(condition="stage", donor="donor")
    >>> lx.tl.progression(adata, design, use_rep="X_expression")
    >>> found = adata.uns["lexicell"]["X_expression"]["progression"]
    >>> bool(found["table"]["p"].iloc[0] > 0.05)
    True
    >>> round(float(found["genes"]["part"].sum()), 6)
    1.0
    """
    adata = adata.copy() if copy else adata
    ordered = find_ordered(adata, use_rep)
    stage, times = _stages(adata.obs, design)
    known = np.isfinite(times) & adata.obs[design.donor].notna().to_numpy()
    rows = ordered.rows(component)
    rows = rows[known[rows]]
    times = times[rows]
    obs = adata.obs.iloc[rows]
    donors, codes, stages = _donors(obs[design.donor].astype(str).to_numpy(), times, design.donor, stage)
    types = np.full(len(rows), "all cells")
    if design.cell_type is not None:
        types = obs[design.cell_type].astype(str).to_numpy()
    groups = _Groups.of(types, codes, len(donors), design.min_cells)

    blocks = None if design.batch is None else _batches(obs[design.batch], codes, design.batch)
    # Whole donors change stage: cells of one donor are not independent.
    drawn = arrangements(stages, blocks, n_draws=design.n_permutations, rng=rng)
    root = _StageRoot.of(adata, ordered, stage, times, rows, component)
    observed = groups.means(ordered.pseudotime[rows])
    statistics = np.empty((len(drawn), len(groups.names)))
    for i, labels in enumerate(drawn.rows):
        # The observed labels go through the same steps as all others, or the test would not be exact.
        means = observed if root is None else groups.means(root.pseudotime(labels[codes]))
        statistics[i] = [_spearman(m, labels) for m in means]
    table = _table(groups.names, observed, stages, statistics, drawn.smallest_p)
    tested = [str(name) for name in table.index[table["reason"] == ""]]
    cells = pd.DataFrame({"row": rows, "cell_type": types, "time": times})
    behind, no_genes = _genes_behind(adata, use_rep, cells, tested, genes)
    result: dict[str, Any] = {
        "table": table.sort_values(["p", "rho"], ascending=[True, False], kind="stable"),
        "donors": _donor_table(groups, donors, stages, observed),
        "params": {
            "stage": stage,
            "donor": design.donor,
            "cell_type": design.cell_type or "",
            "component": component,
            "min_cells": design.min_cells,
            "n_permutations": len(drawn),
            "exact": drawn.exact,
            "root_rechosen": root is not None,
            "no_genes": no_genes,
        },
    }
    if behind is not None:
        result["genes"] = behind
    keep_results(adata, use_rep, {"progression": result})
    return adata if copy else None


def _stages(obs: pd.DataFrame, design: StudyDesign) -> tuple[str, NDArray[np.float64]]:
    """The column with stages, and the number of each cell's stage, NaN if it has none."""
    stage = design.condition
    if stage is None or design.covariates or design.paired is True:
        raise InputError(
            "progression needs condition=, the column with the stages, in lexicell.StudyDesign, and takes neither "
            "covariates nor pairs"
        )
    for column in design.columns:
        check_column(obs, column)
    order = None if design.stages is None else list(design.stages)
    times = time_values(obs[stage], order=order, argument="stages")
    if isinstance(design.stages, Mapping):
        numbers = np.array([*design.stages.values(), np.nan], dtype=np.float64)
        times = numbers[np.where(np.isfinite(times), times, -1).astype(np.int64)]
    if design.reference is not None and np.isfinite(times).any():
        first = sorted({str(name) for name in obs.loc[times == np.nanmin(times), stage]})
        # A reference that is not first would silently reverse what "increases" means.
        if first != [str(design.reference)]:
            raise InputError(f"reference '{design.reference}' is not the first stage, {choices(first)}")
    return stage, times


def _batches(column: pd.Series, codes: NDArray[np.int64], name: str) -> NDArray[Any]:
    """The batch of each donor."""
    groups = column.astype(str).groupby(codes)
    if (groups.nunique() > 1).any():
        raise InputError(f"obs['{name}'] differs within donors; it must be the same for all cells of a donor")
    return groups.first().to_numpy()


def _donor_table(
    groups: _Groups, donors: NDArray[Any], stages: NDArray[np.float64], observed: NDArray[np.float64]
) -> pd.DataFrame:
    """One row per donor and cell type."""
    n_types = len(groups.names)
    return pd.DataFrame(
        {
            "donor": np.tile(donors, n_types),
            "cell_type": np.repeat(groups.names, len(donors)),
            "stage": np.tile(stages, n_types),
            "n_cells": groups.sizes.ravel(),
            "pseudotime": observed.ravel(),
        }
    )


def _table(
    names: NDArray[Any],
    observed: NDArray[np.float64],
    stages: NDArray[np.float64],
    statistics: NDArray[np.float64],
    smallest_p: float,
) -> pd.DataFrame:
    """One row per cell type, from the donors' mean pseudotimes and the statistics of all arrangements."""
    reasons = [_reason(m, stages) for m in observed]
    tested = np.array([reason == "" for reason in reasons])
    statistics[:, ~tested] = np.nan
    # One-sided, and the observed arrangement is among those counted, so that p is never 0.
    p = np.where(tested, exceed(statistics), np.nan)
    return pd.DataFrame(
        {
            "rho": statistics[0],
            "p": p,
            "q": adjust_bh(p),
            "p_max_t": max_t(standardize(statistics)),
            "smallest_p": np.where(tested, smallest_p, np.nan),
            "n_donors": np.isfinite(observed).sum(axis=1),
            "first": [_mean(m[stages == stages.min()]) for m in observed],
            "last": [_mean(m[stages == stages.max()]) for m in observed],
            "reason": reasons,
        },
        index=pd.Index(names, name="cell_type"),
    )


def _donors(
    names: NDArray[Any], times: NDArray[np.float64], donor: str, stage: str
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Names of the donors, the donor of each cell, and the stage of each donor."""
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
            f"at least {_FEWEST_DONORS} donors and 2 stages are needed, because the test is over donors"
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
        # A mean of a few cells is noise that a rank correlation over donors would take at face value.
        return np.where(self.sizes >= max(self.min_cells, 1), sums / np.maximum(self.sizes, 1), np.nan)


@dataclass(frozen=True, eq=False)
class _StageRoot:
    """A root that is the medoid of the cells of one stage, so that it depends on the labels."""

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    points: NDArray[np.floating]
    stage: float

    @classmethod
    def of(
        cls,
        adata: AnnData,
        ordered: Ordered,
        stage: str,
        times: NDArray[np.float64],
        rows: NDArray[np.int64],
        component: str,
    ) -> _StageRoot | None:
        """The root's stage and what its pseudotime is computed from; None if the root does not depend on stages."""
        given = [str(r) for r in np.atleast_1d(ordered.result["params"]["root"])]
        stages = [_stage_of_root(adata, root, times, rows) for root in given]
        if all(found is None for found in stages):
            if any(root.startswith(f"{stage}=") for root in given):
                raise InputError(f"component {component} has no cells of the root, {given[0]}; test another component")
            return None
        if len(given) > 1:
            raise InputError("with several roots, one of which is a stage, the test cannot choose the root again")
        evals = np.asarray(ordered.result["evals"], dtype=np.float64)[int(component)]
        known = np.isfinite(evals)
        vectors = np.asarray(adata.obsm[f"X_{ordered.prefix}_diffmap"], dtype=np.float64)[rows][:, known]
        points = check_rep(adata, ordered.use_rep)[rows]
        return cls(evals[known], vectors, points, float(stages[0] or 0.0))

    def pseudotime(self, stages: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of each cell from the root that these stages of the cells give."""
        root = medoid(self.points, np.flatnonzero(stages == self.stage))
        return np.asarray(dpt_distances(self.values, self.vectors, [root])[0])


def _stage_of_root(adata: AnnData, root: str, times: NDArray[np.float64], rows: NDArray[np.int64]) -> float | None:
    """The stage whose cells are those that the root was chosen from, in whatever column; None where there is none."""
    column, _, value = root.partition("=")
    if column not in adata.obs:
        return None
    chosen = adata.obs[column].astype(str).to_numpy()[rows] == value
    stages = np.unique(times[chosen])
    # Other columns may hold the stage in other words; what counts is that the same cells are chosen.
    if len(stages) == 1 and np.array_equal(chosen, times == stages[0]):
        return float(stages[0])
    return None


def _genes_behind(
    adata: AnnData, use_rep: str, cells: pd.DataFrame, tested: list[str], genes: GeneEmbedding | None
) -> tuple[pd.DataFrame | None, str]:
    """Genes that differ between the last and the first stage of each type, or why there are none."""
    ends = {}
    for name in tested:
        mine = cells[cells["cell_type"] == name]
        first = mine["row"][mine["time"] == cells["time"].min()].to_numpy()
        last = mine["row"][mine["time"] == cells["time"].max()].to_numpy()
        if min(len(first), len(last)) > 1:
            ends[name] = first, last
    if not ends:
        return None, "no tested cell type has two cells of the first and two of the last stage"
    try:
        split = _splits.embedding(linear_form(adata, use_rep, genes))
        blocks = []
        for name, (first, last) in ends.items():
            block = gene_rows(split(last, first), _N_GENES)
            block.insert(0, "cell_type", name)
            blocks.append(block)
    except LexicellError as error:
        if genes is not None:
            raise
        # A representation made elsewhere never has genes, which is no reason to warn.
        if "params" in recorded(adata, use_rep):
            warnings.warn(f"no genes behind the progression: {error}", UserWarning, stacklevel=3)
        return None, str(error)
    return stack_tables(blocks), ""


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Rank correlation over the known values of `x`; NaN where it is not defined, without scipy's warnings."""
    from scipy.stats import rankdata

    known = np.isfinite(x)
    if known.sum() < 3:
        return np.nan
    a = rankdata(x[known])
    b = rankdata(y[known])
    a -= a.mean()
    b -= b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float(a @ b) / scale if scale > 0 else np.nan


def _reason(means: NDArray[np.float64], stages: NDArray[np.float64]) -> str:
    """Why a type cannot be tested; empty if it can."""
    known = np.isfinite(means)
    if known.sum() < _FEWEST_DONORS:
        return f"{int(known.sum())} donors with enough cells; {_FEWEST_DONORS} are needed"
    if len(np.unique(stages[known])) < 2:
        return "all donors with enough cells are of one stage"
    return ""


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan
