"""Which gene's removal would bring diseased cells closer to control: a ranking with a null of whole donors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, check_key
from .._keys import X_TEXT
from .._results import check_rep, keep_results, stack_tables
from ..core.donors.design import Comparison, Study, StudyDesign
from ..core.donors.means import donor_means
from ..core.donors.vulnerability import adjust_bh, exceed, max_t, standardize
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.perturbation import removal_effects
from ._linear import LinearForm, linear_form

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["rank_perturbations"]


def rank_perturbations(
    adata: AnnData,
    design: StudyDesign,
    *,
    only: str | None = None,
    min_share: float = 0.1,
    n_genes: int = 50,
    use_rep: str = X_TEXT,
    genes: GeneEmbedding | None = None,
    key_added: str = "rank_perturbations",
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Rank genes by how much closer to control their removal brings diseased cells.

    With donor means m, the way back is :math:`u = \bar m_{\text{control}} - \bar m_{\text{case}}`. Removing gene g
    from the cells of the cases (library size held fixed) changes their mean by :math:`\Delta_g`, and

    .. math:: r_g = \frac{\Delta_g \cdot u}{|u|^2}

    is the share of the way that this closes; negative where the removal leads away. Since u is made from the same
    cells, every gene that rises in disease closes some of it, by chance too. So the null is that of whole donors:
    conditions are permuted over donors (both samples of a donor swapped where each donor gives both), and u and
    :math:`\Delta_g` are computed again. What is tested is the movement along the way, :math:`r_g |u|`.

    A gene near the top is high in the diseased cells and its text points where they went. That is a candidate to look
    at, not a prediction that removing it helps.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``, made by lexicell.
    design
        Columns of ``obs``, with the reference as control: :class:`lexicell.StudyDesign` without batch, covariates and
        stages.
    only
        One cell type; None: each in turn.
    min_share
        Genes expressed in a smaller share of the type's diseased cells are left out.
    n_genes
        Genes kept per type, from the top.
    use_rep
        Key of the representation in ``obsm``.
    genes
        The gene vectors; None: those that the representation was made from.
    key_added
        Name of the result.
    rng
        Seed or generator of the permutations.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][use_rep][key_added]``:

    ``table``
        One row per cell type and gene: ``cell_type``, ``comparison``, ``rank``, ``gene``, ``closes`` (r), ``movement``
        (r times the length of u), ``donors`` (cases that move towards control, of all), ``share`` (of diseased cells
        that express it), ``p`` (one-sided, over arrangements of donors), ``q`` (Benjamini-Hochberg over the genes of a
        type), ``p_max`` (Westfall-Young max-T over the genes, each standardized by its arrangements).
    ``totals``
        One row per cell type: ``gap`` (length of u), ``donors``, ``donors_reference``, ``genes``, ``arrangements``,
        ``smallest_p``.
    ``params``

    Raises
    ------
    MissingKeyError
        If a column, the cell type or the gene vectors do not exist.
    InputError
        If the design does not fit ``obs`` or has batch, covariates or stages, the representation is not a sum over
        genes, or no type has enough cells in two donors per arm.

    Notes
    -----
    In ``paper``, ``scelmo-wa`` the weights of a cell sum to 1 (over what is summed; over all genes of the matrix), and
    the others grow when a gene goes, which is taken into account; a gene that would enter the top N instead is not.
    Presets that scale cells to unit length are ranked before scaling. :func:`lexicell.tl.perturb` computes the change
    of chosen genes without these limits.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), preset="whitened", n_components=100, library_size="n_counts")
    >>> adata.obs["donor"] = [f"d{i % 6}" for i in range(adata.n_obs)]
    >>> adata.obs["state"] = ["sick" if i % 6 < 3 else "well" for i in range(adata.n_obs)]
    >>> design = lx.StudyDesign(cell_type="cell_type", condition="state", reference="well", donor="donor")
    >>> lx.tl.rank_perturbations(adata, design, only="CD14+ Monocyte")
    >>> table = adata.uns["lexicell"]["X_text"]["rank_perturbations"]["table"]
    >>> int((table["q"] < 0.05).sum())
    0
    """
    adata = adata.copy() if copy else adata
    check_rep(adata, use_rep)
    if n_genes < 1 or not 0 <= min_share <= 1:
        raise InputError(f"n_genes must be at least 1 and min_share between 0 and 1, got {n_genes} and {min_share}")
    if design.batch or design.covariates or design.stages:
        raise InputError(
            "rank_perturbations compares two arms: leave batch, covariates and stages out of the design, or see "
            "lexicell.tl.vulnerability"
        )
    study = design.check(adata.obs)
    if only is not None:
        check_key(only, study.types, f"cell type in obs['{design.cell_type}']")
    form = linear_form(adata, use_rep, genes)
    if form.is_normalized and not form.by_text.all():
        raise InputError(
            f"'{use_rep}' is a fusion with a text embedding whose weights are shares of each cell's genes, which this "
            'ranking cannot take apart; fuse one of preset="whitened"'
        )
    generator = np.random.default_rng(rng)
    tables: list[pd.DataFrame] = []
    totals: list[dict[str, Any]] = []
    for comparison in study.comparisons:
        for t, name in enumerate(study.types):
            if only not in (None, name):
                continue
            found = _arrangements(study, comparison, t, generator)
            if found is None:
                continue
            case, exact, samples = found
            label = {"cell_type": name, "comparison": comparison.name}
            table, total = _rank(form, samples, case, min_share, n_genes)
            tables.append(table.assign(**label)[[*label, *table.columns]])
            totals.append({**label, **total, "smallest_p": 1 / len(case), "exact": exact})
    if not tables:
        raise InputError(
            f"no cell type has two donors per arm with at least {design.min_cells} cells; lower min_cells, or see "
            "lexicell.tl.vulnerability, which says what each type lacks"
        )
    result = {
        "table": stack_tables(tables),
        "totals": stack_tables([pd.DataFrame(totals)]),
        "params": {
            "cell_type": design.cell_type,
            "condition": design.condition,
            "reference": study.reference,
            "donor": design.donor,
            "min_cells": design.min_cells,
            "min_share": min_share,
            "n_permutations": design.n_permutations,
            "before_scaling": form.is_scaled,
        },
    }
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _arrangements(
    study: Study, comparison: Comparison, t: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], bool, NDArray[np.int64]] | None:
    """Which samples are cases in each arrangement, the observed first; whether all are listed; each cell's sample.

    None with fewer than two donors in an arm.
    """
    here = comparison.present(study.present)[t]
    design = comparison.design.subset(here)
    if min(design.arms) < 2:
        return None
    permutations = design.permutations(n_draws=study.design.n_permutations, rng=rng)
    used = comparison.rows[here]
    case = np.asarray(permutations.rows) > 0
    if comparison.is_paired:
        # A flipped sign swaps the two samples of a donor.
        used = np.concatenate([used, comparison.partners[here]])
        case = np.concatenate([case, ~case], axis=1)
    place = np.full(len(study.samples) + 1, -1)
    place[used] = np.arange(len(used))
    codes = np.where(study.type_codes == t, study.sample_codes, -1)
    return case, permutations.exact, place[codes]


def _rank(
    form: LinearForm, samples: NDArray[np.int64], case: NDArray[np.bool_], min_share: float, n_genes: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Genes of one type in one comparison, from the top, and what the whole comparison measured."""
    n = case.shape[1]
    rows = np.flatnonzero(samples >= 0)
    embedding = np.zeros((len(samples), form.vectors.shape[1]))
    embedding[rows] = form.embed(rows)
    means = donor_means(embedding, np.where(samples >= 0, 0, -1), samples, n_types=1, n_donors=n, min_cells=1).means[0]
    sick = np.flatnonzero(case[0])
    ids = np.unique(form.ids.astype(str))
    log = sp.csr_matrix(form.values.log[np.isin(samples, sick)][:, form.values.rows(ids.astype(object))])
    share = np.asarray((log > 0).mean(axis=0)).ravel()
    ids, share = ids[share >= min_share], share[share >= min_share]
    if not len(ids):
        raise InputError(f"no gene is expressed in {min_share:.0%} of the diseased cells; lower min_share")
    place = pd.Index(ids).get_indexer(pd.Index(form.ids.astype(str)))
    kept = np.flatnonzero(place >= 0)
    weights = sp.csr_matrix(form.weights[:, kept])
    effects = removal_effects(weights, embedding, form.vectors[kept], samples, means, is_normalized=form.is_normalized)
    # A gene of a fused representation acts by its text and by its expression: both go.
    effects = np.stack([_gather(e, place[kept], len(ids)) for e in effects])
    gram = means @ means.T
    moves = np.empty((len(case), len(ids)))
    gaps = np.empty(len(case))
    for i, arm in enumerate(case):
        way = np.where(arm, -1 / arm.sum(), 1 / (~arm).sum())
        gaps[i] = np.sqrt(max(float(way @ gram @ way), 1e-300))
        moves[i] = (effects[arm].mean(axis=0) @ way) / gaps[i]
    observed = np.where(case[0], -1 / case[0].sum(), 1 / (~case[0]).sum())
    towards = (effects[sick] @ observed > 0).sum(axis=0)
    p = exceed(moves)
    table = pd.DataFrame(
        {
            "gene": ids,
            "closes": moves[0] / gaps[0],
            "movement": moves[0],
            "donors": towards,
            "share": share,
            "p": p,
            "q": adjust_bh(p),
            "p_max": max_t(standardize(moves)),
        }
    )
    table = table.iloc[np.argsort(-moves[0], kind="stable")[:n_genes]]
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    total = {
        "gap": float(gaps[0]),
        "donors": int(case[0].sum()),
        "donors_reference": int((~case[0]).sum()),
        "genes": len(ids),
        "arrangements": len(case),
    }
    return table, total


def _gather(effects: NDArray[np.float64], place: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Sum the effects of the columns that belong to one gene."""
    out = np.zeros((n, effects.shape[1]))
    np.add.at(out, place, effects)
    return out
