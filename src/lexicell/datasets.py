"""Data for documentation and tests: real cells from an installed package, and a planted disease with a known truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from ._errors import InputError, MissingKeyError, check_column, check_key, choices
from ._keys import UNS

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["PlantedDonors", "pbmc68k_counts", "planted_vulnerability"]

_N_NEIGHBORS = 8
_MIN_CELLS = 8  # of each type in each donor, so that every type can be tested


def pbmc68k_counts() -> AnnData:
    """700 human blood cells that come with scanpy, with counts restored.

    scanpy's ``pbmc68k_reduced`` holds scaled values in ``X`` and ``log1p`` of counts per 10,000 of 765 genes in
    ``raw``, rounded to three decimals. Counts are ``round(expm1(raw) * n_counts / 1e4)``, where ``n_counts`` is the
    cell's total over all genes.

    Returns
    -------
    AnnData
        700 cells x 765 genes; ``X`` float32 CSR counts; ``obs["n_counts"]`` the total over all genes, to be passed as
        ``library_size="n_counts"``; ``obs["cell_type"]`` the study's labels, which were transferred from bulk profiles
        and are noisy.

    References
    ----------
    Zheng et al., Nature Communications 2017, doi:10.1038/ncomms14049.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.shape
    (700, 765)
    """
    import warnings

    import anndata
    import scanpy

    with warnings.catch_warnings():
        # The shipped file is of an old AnnData version, which scanpy's reader points out at every call.
        warnings.simplefilter("ignore")
        reduced = scanpy.datasets.pbmc68k_reduced()
    logged = sp.csr_matrix(reduced.raw.X)
    total = reduced.obs["n_counts"].to_numpy(dtype=np.float64)
    counts = logged.astype(np.float64)
    counts.data = np.round(np.expm1(counts.data) * np.repeat(total, np.diff(counts.indptr)) / 1e4)
    counts.eliminate_zeros()
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(reduced.obs["bulk_labels"].astype(str).to_numpy(dtype=object)),
            "n_counts": total,
        },
        index=reduced.obs_names.astype(str),
    )
    adata = anndata.AnnData(
        counts.astype(np.float32), obs=obs, var=pd.DataFrame(index=reduced.raw.var_names.astype(str))
    )
    adata.uns["provenance"] = "scanpy.datasets.pbmc68k_reduced; Zheng et al. 2017, doi:10.1038/ncomms14049"
    return adata


@dataclass(frozen=True)
class PlantedDonors:
    """Simulated donors: how many, with how many cells, and how they differ.

    Parameters
    ----------
    n
        Donors in each condition, or (reference, disease).
    cells
        Mean number of cells of a type in a donor, before unevenness; at least 8 are drawn.
    sd, type_sd
        Standard deviation of the log-scale effect of a donor, and of a donor on a single type.
    depth
        Factor on the depth of diseased donors; 0.8 tests whether unequal depth passes for an effect.
    uneven
        Whether types differ in abundance, by factors between 0.3 and 2.
    paired
        Whether each donor gives cells to both conditions.

    Raises
    ------
    InputError
        If a number is not positive, or pairs have different numbers of donors.

    Examples
    --------
    >>> import lexicell as lx
    >>> lx.datasets.PlantedDonors(3, paired=True).arms
    (3, 3)
    """

    n: int | tuple[int, int] = 4
    cells: float = 60
    sd: float = 0.25
    type_sd: float = 0.15
    depth: float = 1.0
    uneven: bool = True
    paired: bool = False

    def __post_init__(self) -> None:
        if min(self.arms) < 1 or self.cells <= 0 or self.depth <= 0:
            raise InputError("n, cells and depth of planted donors must be positive")
        if self.paired and self.arms[0] != self.arms[1]:
            raise InputError(f"paired donors appear in both conditions, so n cannot be {self.n}")

    @property
    def arms(self) -> tuple[int, int]:
        """Donors of the reference and of the disease."""
        return (self.n, self.n) if isinstance(self.n, int) else self.n


def planted_vulnerability(
    adata: AnnData,
    *,
    cell_type: str,
    target: str | None,
    program: Sequence[str] = (),
    fold: float = 2.0,
    fraction: float = 0.5,
    remaining: Mapping[str, float] | None = None,
    donors: PlantedDonors = PlantedDonors(),
    conditions: tuple[str, str] = ("control", "disease"),
    layer: str | None = None,
    library_size: str | None = None,
    rng: int | np.random.Generator = 0,
) -> AnnData:
    r"""Simulate donors, a disease and its truth from real cells.

    Everything here is planted: the donors, the conditions and the effect. Only the cells the simulation starts from
    are real. The truth is stored in ``uns["lexicell"]["planted"]``, and the report shows it.

    A simulated cell of type `t` from donor `d` starts from a real cell `i` of that type, with composition

    .. math:: q_i = \tfrac12 x_i / n_i + \tfrac12 \operatorname{mean}_{j \in N(i)} x_j / n_j,

    where :math:`N(i)` are its 8 nearest neighbors within the type, so that the type's own structure stays and the
    sampling noise is softened. Gene by gene it is multiplied by :math:`\exp(a_{dg} + b_{dtg})`, with
    :math:`a \sim N(0, \text{sd}^2)` shared by all cells of the donor and
    :math:`b \sim N(0, \text{type\_sd}^2)` by those of one type. In diseased donors a share `fraction` of the
    target's cells has the genes of `program` multiplied by `fold`. The composition is scaled back to its former sum,
    multiplied by the real cell's library size and by the donor's depth, and counts are drawn from a Poisson
    distribution.

    Parameters
    ----------
    adata
        Real cells with counts, best of one condition and without strong batches.
    cell_type
        Column of ``obs`` with the types.
    target
        The type that the disease changes. None plants no shift: a null data set.
    program
        Gene names (``var_names``) that the disease multiplies by `fold` in the target.
    fold
        Factor on the program's genes; below 1 is down-regulation.
    fraction
        Share of the target's cells that are hit, in diseased donors.
    remaining
        Share of cells that remain, by type, in diseased donors: ``{"motor neuron": 0.3}`` is a loss of 70 %.
    donors
        How many donors, with how many cells, and how they differ.
    conditions
        Names of the reference and of the disease.
    layer
        Layer with counts; None: ``X``.
    library_size
        Column of ``obs`` with totals over all genes, where the matrix holds only some; None: row sums.
    rng
        Seed or generator.

    Returns
    -------
    AnnData
        ``X`` float32 CSR counts; ``obs``: `cell_type`, ``condition``, ``donor``, ``n_counts`` (total over all genes),
        ``planted_hit`` (whether the program was planted into this cell), ``base_cell`` (the real cell it started
        from); ``uns["lexicell"]["planted"]``: the truth and all parameters under their names here, and ``seed``
        (-1 where a generator was given).

    Raises
    ------
    MissingKeyError
        If a column, the target or a gene of the program does not exist.
    InputError
        If a type has fewer than three real cells, values are not counts, or a parameter is out of range.

    Examples
    --------
    >>> import lexicell as lx
    >>> base = lx.datasets.pbmc68k_counts()
    >>> sick = lx.datasets.planted_vulnerability(
    ...     base, cell_type="cell_type", target="Dendritic", program=["HSPD1", "HSP90AB1"], library_size="n_counts"
    ... )
    >>> sorted(sick.obs["condition"].unique()), sick.obs["donor"].nunique()
    (['control', 'disease'], 8)
    """
    import anndata

    generator = np.random.default_rng(rng)
    if not 0 <= fraction <= 1 or fold <= 0:
        raise InputError("fold must be positive, and fraction between 0 and 1")
    remaining = dict(remaining or {})
    check_column(adata.obs, cell_type)
    labels = adata.obs[cell_type].astype(str).to_numpy(dtype=object)
    types = sorted(set(labels))
    for wanted in [*([] if target is None else [target]), *remaining]:
        check_key(wanted, types, f"cell type in obs['{cell_type}']")
    genes = pd.Index(adata.var_names.astype(str))
    planted = genes.get_indexer(pd.Index(list(program), dtype=object))
    if (planted < 0).any():
        raise MissingKeyError(
            f"genes of the program are not in the data: {choices(np.asarray(program)[planted < 0], limit=5)}"
        )
    profiles, sizes = _profiles(adata, labels, types, layer, library_size)
    abundance = {kind: generator.uniform(0.3, 2.0) if donors.uneven else 1.0 for kind in types}
    blocks: list[sp.csr_matrix] = []
    rows: list[pd.DataFrame] = []
    for name, condition, donor_effect, donor_depth in _arms(donors, conditions, len(genes), generator):
        sick = condition == conditions[1]
        for kind in types:
            effect = donor_effect + generator.normal(0, donors.type_sd, len(genes))
            expected = donors.cells * abundance[kind] * np.exp(generator.normal(0, 0.25))
            if sick:
                expected *= remaining.get(kind, 1.0)
            n = max(_MIN_CELLS, int(generator.poisson(expected)))
            base = generator.choice(np.flatnonzero(labels == kind), n)
            hit = (generator.random(n) < fraction) & (sick and kind == target)
            depth = donor_depth * (donors.depth if sick else 1.0)
            real = profiles[base].toarray()
            rates = real * np.exp(effect)
            rates[np.ix_(hit, planted)] *= fold
            counts, total = _draw(rates, real.sum(axis=1), sizes[base] * depth, generator)
            blocks.append(counts)
            cells = {"n_counts": total, "planted_hit": hit, "base_cell": adata.obs_names[base].astype(str)}
            rows.append(pd.DataFrame({cell_type: kind, "condition": condition, "donor": name, **cells}))
    obs = pd.concat(rows, ignore_index=True)
    obs.index = pd.Index([f"cell_{i}" for i in range(len(obs))])
    for column in (cell_type, "condition", "donor"):
        obs[column] = pd.Categorical(obs[column], list(conditions) if column == "condition" else None)
    result = anndata.AnnData(sp.vstack(blocks, format="csr"), obs=obs, var=pd.DataFrame(index=genes))
    truth = {
        "note": "simulated donors, conditions and effect on top of real cells",
        "target": target or "",
        "program": np.asarray(list(program), dtype=object),
        "fold": float(fold),
        "fraction": float(fraction),
        "remaining": {str(kind): float(share) for kind, share in remaining.items()},
        "donors": {**asdict(donors), "n": np.asarray(donors.arms, dtype=np.int64)},
        "conditions": np.asarray(conditions, dtype=object),
        "seed": int(rng) if isinstance(rng, int | np.integer) else -1,
    }
    result.uns[UNS] = {"planted": truth}
    return result


def _arms(
    donors: PlantedDonors, conditions: tuple[str, str], n_genes: int, generator: np.random.Generator
) -> Iterator[tuple[str, str, NDArray[np.float64], float]]:
    """Name, condition, log-scale effect and depth of each donor; paired donors come twice."""
    reference, disease = donors.arms
    for number in range(reference if donors.paired else reference + disease):
        effect = generator.normal(0, donors.sd, n_genes)
        depth = float(np.exp(generator.normal(0, 0.15)))
        own = conditions if donors.paired else (conditions[int(number >= reference)],)
        for condition in own:
            yield f"donor_{number + 1}", condition, effect, depth


def _draw(
    rates: NDArray[np.float64], inside: NDArray[np.float64], size: NDArray[np.float64], generator: np.random.Generator
) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    """Counts of cells with these relative rates, and totals over all genes, of which a share `inside` is known."""
    rates = rates * (inside / rates.sum(axis=1))[:, None]
    counts = generator.poisson(rates * size[:, None])
    rest = generator.poisson(np.maximum(1 - inside, 0) * size)
    return sp.csr_matrix(counts.astype(np.float32)), (counts.sum(axis=1) + rest).astype(np.float64)


def _profiles(
    adata: AnnData,
    labels: NDArray[Any],
    types: Sequence[str],
    layer: str | None,
    library_size: str | None,
) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    """Compositions of the real cells, softened within their type, and their library sizes."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    if layer is not None:
        check_key(layer, list(adata.layers.keys()), "layer")
    counts = sp.csr_matrix(adata.X if layer is None else adata.layers[layer], dtype=np.float64)
    if counts.nnz and (counts.data.min() < 0 or (counts.data != np.round(counts.data)).any()):
        raise InputError("the simulation needs counts; name the layer that holds them with layer=")
    if library_size is None:
        sizes = np.asarray(counts.sum(axis=1)).ravel()
    else:
        check_column(adata.obs, library_size)
        sizes = adata.obs[library_size].to_numpy(dtype=np.float64)
    if (sizes <= 0).any():
        raise InputError(f"{int((sizes <= 0).sum())} cells have no counts; remove them first")
    shares = sp.diags_array(1 / sizes) @ counts
    soft: list[sp.csr_matrix] = []
    order: list[NDArray[np.int64]] = []
    for kind in types:
        rows = np.flatnonzero(labels == kind)
        if len(rows) < 3:
            raise InputError(f"cell type '{kind}' has {len(rows)} cells; at least 3 are needed to simulate from")
        logged = np.log1p(1e4 * shares[rows].toarray())
        axes = PCA(min(20, len(rows) - 1, logged.shape[1]), svd_solver="full").fit_transform(logged)
        k = min(_N_NEIGHBORS, len(rows) - 1)
        near = NearestNeighbors(n_neighbors=k + 1).fit(axes).kneighbors(axes, return_distance=False)[:, 1:]
        mean = sp.csr_matrix(
            (np.full(near.size, 1 / k), near.ravel(), np.arange(0, near.size + 1, k)), (len(rows),) * 2
        )
        soft.append(sp.csr_matrix(0.5 * shares[rows] + 0.5 * (mean @ shares[rows])))
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    return sp.vstack(soft, format="csr")[back], sizes
