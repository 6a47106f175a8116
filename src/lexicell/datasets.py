"""Data for documentation and tests: real cells from an installed package, and a planted disease with a known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from ._errors import InputError, MissingKeyError, check_key, choices
from ._keys import UNS

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["pbmc68k_counts", "planted_vulnerability"]


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


def planted_vulnerability(
    adata: AnnData,
    *,
    cell_type: str,
    target: str | None,
    programme: Sequence[str] = (),
    layer: str | None = None,
    library_size: str | None = None,
    conditions: tuple[str, str] = ("control", "disease"),
    n_donors: int | tuple[int, int] = 4,
    cells_per_donor: float = 60,
    fold: float = 2.0,
    fraction: float = 0.5,
    remaining: Mapping[str, float] | None = None,
    donor_sd: float = 0.25,
    type_sd: float = 0.15,
    depth: float = 1.0,
    uneven: bool = True,
    paired: bool = False,
    n_neighbors: int = 8,
    min_cells: int = 8,
    rng: int | np.random.Generator = 0,
) -> AnnData:
    r"""Simulate donors, a disease and its truth from real cells.

    Everything here is planted: the donors, the conditions and the effect. Only the cells the simulation starts from
    are real. The truth stands in ``uns["lexicell"]["planted"]``, and the report says so.

    A simulated cell of type `t` from donor `d` starts from a real cell `i` of that type, with composition

    .. math:: q_i = \tfrac12 x_i / n_i + \tfrac12 \operatorname{mean}_{j \in N(i)} x_j / n_j,

    where :math:`N(i)` are its nearest neighbours within the type, so that the type's own structure stays and the
    sampling noise is softened. Gene by gene it is multiplied by :math:`\exp(a_{dg} + b_{dtg})`, with
    :math:`a \sim N(0, \text{donor\_sd}^2)` shared by all cells of the donor and
    :math:`b \sim N(0, \text{type\_sd}^2)` by those of one type. In diseased donors a share `fraction` of the
    target's cells has the genes of `programme` multiplied by `fold`. The composition is scaled back to its former sum,
    multiplied by the real cell's library size and by the donor's depth, and counts are drawn from a Poisson
    distribution.

    Parameters
    ----------
    adata
        Real cells with counts, best of one condition and without strong batches.
    cell_type
        Column of ``obs`` with the types.
    target
        The type the disease moves. None plants no shift: a null data set.
    programme
        Gene names (``var_names``) that the disease multiplies by `fold` in the target.
    layer
        Layer with counts; None: ``X``.
    library_size
        Column of ``obs`` with totals over all genes, where the matrix holds only some; None: row sums.
    conditions
        Names of the reference and of the disease.
    n_donors
        Donors in each condition, or (reference, disease).
    cells_per_donor
        Mean number of cells of a type in a donor, before unevenness.
    fold
        Factor on the programme's genes; below 1 is down-regulation.
    fraction
        Share of the target's cells that are hit, in diseased donors.
    remaining
        Share of cells that remain, by type, in diseased donors: ``{"motor neuron": 0.3}`` is a loss of 70 %.
    donor_sd, type_sd
        Standard deviation of the log-scale effect of a donor, and of a donor on a single type.
    depth
        Factor on the depth of diseased donors; 0.8 tests whether unequal depth passes for an effect.
    uneven
        Whether types differ in abundance, by factors between 0.3 and 2.
    paired
        Whether each donor gives cells to both conditions.
    n_neighbors
        Size of :math:`N(i)`.
    min_cells
        At least this many cells of each type in each donor, so that every type can be tested.
    rng
        Seed or generator.

    Returns
    -------
    AnnData
        ``X`` float32 CSR counts; ``obs``: `cell_type`, ``condition``, ``donor``, ``n_counts`` (total over all genes),
        ``planted_hit`` (whether the programme was planted into this cell), ``base_cell`` (the real cell it started
        from); ``uns["lexicell"]["planted"]``: the truth and all parameters under their names here, and ``seed``
        (-1 where a generator was given).

    Raises
    ------
    MissingKeyError
        If a column, the target or a gene of the programme does not exist.
    InputError
        If a type has fewer than three real cells, values are not counts, or a parameter is out of range.

    Examples
    --------
    >>> import lexicell as lx
    >>> base = lx.datasets.pbmc68k_counts()
    >>> sick = lx.datasets.planted_vulnerability(
    ...     base, cell_type="cell_type", target="Dendritic", programme=["HSPD1", "HSP90AB1"], library_size="n_counts"
    ... )
    >>> sorted(sick.obs["condition"].unique()), sick.obs["donor"].nunique()
    (['control', 'disease'], 8)
    """
    import anndata

    generator = np.random.default_rng(rng)
    arms = (n_donors, n_donors) if isinstance(n_donors, int) else n_donors
    if min(arms) < 1 or not 0 <= fraction <= 1 or fold <= 0 or depth <= 0 or cells_per_donor <= 0:
        raise InputError("n_donors, fold, depth and cells_per_donor must be positive, and fraction between 0 and 1")
    if paired and arms[0] != arms[1]:
        raise InputError(f"paired donors stand in both conditions, so n_donors cannot be {arms}")
    check_key(cell_type, [str(c) for c in adata.obs.columns], "column in obs")
    labels = adata.obs[cell_type].astype(str).to_numpy(dtype=object)
    types = sorted(set(labels))
    for wanted in [*([] if target is None else [target]), *(remaining or {})]:
        check_key(wanted, types, f"cell type in obs['{cell_type}']")
    genes = pd.Index(adata.var_names.astype(str))
    planted = genes.get_indexer(pd.Index(list(programme), dtype=object))
    if (planted < 0).any():
        raise MissingKeyError(
            f"genes of the programme are not in the data: {choices(np.asarray(programme)[planted < 0], limit=5)}"
        )
    profiles, sizes = _profiles(adata, labels, types, layer, library_size, n_neighbors)

    abundance = {t: generator.uniform(0.3, 2.0) if uneven else 1.0 for t in types}
    blocks: list[sp.csr_matrix] = []
    rows: list[pd.DataFrame] = []
    donors = [(f"donor_{i + 1}", i) for i in range(arms[0] if paired else sum(arms))]
    for name, number in donors:
        donor_effect = generator.normal(0, donor_sd, len(genes))
        donor_depth = np.exp(generator.normal(0, 0.15))
        for condition in conditions if paired else (conditions[int(number >= arms[0])],):
            sick = condition == conditions[1]
            for kind in types:
                effect = donor_effect + generator.normal(0, type_sd, len(genes))
                expected = cells_per_donor * abundance[kind] * np.exp(generator.normal(0, 0.25))
                expected *= (remaining or {}).get(kind, 1.0) if sick else 1.0
                n = max(min_cells, int(generator.poisson(expected)))
                base = generator.choice(np.flatnonzero(labels == kind), n)
                real = profiles[base].toarray()
                rates = real * np.exp(effect)
                hit = (generator.random(n) < fraction) & (sick and kind == target)
                rates[np.ix_(hit, planted)] *= fold
                rates *= (real.sum(axis=1) / rates.sum(axis=1))[:, None]
                total = sizes[base] * donor_depth * (depth if sick else 1.0)
                counts = generator.poisson(rates * total[:, None])
                rest = generator.poisson(np.maximum(1 - real.sum(axis=1), 0) * total)
                blocks.append(sp.csr_matrix(counts.astype(np.float32)))
                rows.append(
                    pd.DataFrame(
                        {
                            cell_type: kind,
                            "condition": condition,
                            "donor": name,
                            "n_counts": (counts.sum(axis=1) + rest).astype(np.float64),
                            "planted_hit": hit,
                            "base_cell": adata.obs_names[base].astype(str),
                        }
                    )
                )
    obs = pd.concat(rows, ignore_index=True)
    obs.index = pd.Index([f"cell_{i}" for i in range(len(obs))])
    for column in (cell_type, "condition", "donor"):
        obs[column] = pd.Categorical(obs[column], list(conditions) if column == "condition" else None)
    result = anndata.AnnData(sp.vstack(blocks, format="csr"), obs=obs, var=pd.DataFrame(index=genes))
    result.uns[UNS] = {
        "planted": {
            "note": "simulated donors, conditions and effect on top of real cells",
            "target": target or "",
            "programme": np.asarray(list(programme), dtype=object) if len(programme) else np.array([], dtype=object),
            "fold": float(fold),
            "fraction": float(fraction),
            "remaining": {str(k): float(v) for k, v in (remaining or {}).items()},
            "n_donors": np.asarray(arms, dtype=np.int64),
            "cells_per_donor": float(cells_per_donor),
            "min_cells": int(min_cells),
            "n_neighbors": int(n_neighbors),
            "uneven": bool(uneven),
            "seed": int(rng) if isinstance(rng, int | np.integer) else -1,
            "donor_sd": float(donor_sd),
            "type_sd": float(type_sd),
            "depth": float(depth),
            "paired": bool(paired),
            "conditions": np.asarray(conditions, dtype=object),
        }
    }
    return result


def _profiles(
    adata: AnnData,
    labels: NDArray[Any],
    types: Sequence[str],
    layer: str | None,
    library_size: str | None,
    n_neighbors: int,
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
        check_key(library_size, [str(c) for c in adata.obs.columns], "column in obs")
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
        k = min(n_neighbors, len(rows) - 1)
        near = NearestNeighbors(n_neighbors=k + 1).fit(axes).kneighbors(axes, return_distance=False)[:, 1:]
        mean = sp.csr_matrix(
            (np.full(near.size, 1 / k), near.ravel(), np.arange(0, near.size + 1, k)), (len(rows),) * 2
        )
        soft.append(sp.csr_matrix(0.5 * shares[rows] + 0.5 * (mean @ shares[rows])))
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    return sp.vstack(soft, format="csr")[back], sizes
