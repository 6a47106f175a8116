"""Which gene's removal would move diseased cells towards control: a ranking with a null of whole donors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_key
from .._results import keep_results
from .._values import check_rep
from ..core.donors import donor_means
from ..core.embedding import GeneEmbedding
from ..core.perturbation import removal_effects
from ..core.vulnerability import adjust_bh, exceed, max_t, standardise
from . import _describe
from ._linear import LinearForm, linear_form
from ._vulnerability._design import Comparison, read_study

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["rank_perturbations"]


def rank_perturbations(
    adata: AnnData,
    *,
    cell_type: str,
    condition: str,
    reference: str,
    donor: str,
    only: str | None = None,
    min_cells: int = 8,
    min_share: float = 0.1,
    n_genes: int = 50,
    n_permutations: int = 2000,
    use_rep: str = _keys.X_TEXT,
    genes: GeneEmbedding | None = None,
    key_added: str = "rank_perturbations",
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Rank genes by how far their removal moves diseased cells towards control.

    With donor means m, the way back is :math:`u = \bar m_{\text{control}} - \bar m_{\text{case}}`. Removing gene g
    from the cells of the cases (library size held fixed) moves their mean by :math:`\Delta_g`, and

    .. math:: r_g = \frac{\Delta_g \cdot u}{|u|^2}

    is the share of the way that this closes; negative where the removal leads away. Since u is made from the same
    cells, every gene that rises in disease closes some of it, by chance too. So the null is that of whole donors:
    conditions are permuted over donors (both samples of a donor swapped where each donor gives both), and u and
    :math:`\Delta_g` are made again. What is tested is the movement along the way in its direction, :math:`r_g |u|`.

    A gene near the top is high in the diseased cells and its text points where they went. That is a candidate to look
    at, not a prediction that removing it helps.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``, made by lexicell.
    cell_type, condition, reference, donor
        Columns of ``obs``, and the level of `condition` that is the control, as in
        :func:`lexicell.tl.vulnerability`.
    only
        One cell type; None: each in turn.
    min_cells
        A donor takes part with at least so many cells of the type.
    min_share
        Genes expressed in a smaller share of the type's diseased cells are left out.
    n_genes
        Genes kept a type, from the top.
    n_permutations
        Where not all arrangements of donors are listed.
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
        One row a cell type and gene: ``cell_type``, ``comparison``, ``rank``, ``gene``, ``closes`` (r), ``movement``
        (r times the length of u), ``donors`` (cases that move towards control, of all), ``share`` (of diseased cells
        that express it), ``p`` (one-sided, over arrangements of donors), ``q`` (Benjamini-Hochberg over the genes of a
        type), ``p_max`` (Westfall-Young max-T over the genes, each standardised by its arrangements).
    ``totals``
        One row a cell type: ``gap`` (length of u), ``donors``, ``donors_reference``, ``genes``, ``arrangements``,
        ``smallest_p``.
    ``params``

    Raises
    ------
    MissingKeyError
        If a column, the cell type or the gene vectors are not there.
    InputError
        If the representation is no sum over genes, or fewer than two donors an arm have enough cells everywhere.

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
    >>> lx.tl.rank_perturbations(
    ...     adata, cell_type="cell_type", condition="state", reference="well", donor="donor", only="CD14+ Monocyte"
    ... )
    >>> table = adata.uns["lexicell"]["X_text"]["rank_perturbations"]["table"]
    >>> int((table["q"] < 0.05).sum())
    0
    """
    adata = adata.copy() if copy else adata
    check_rep(adata, use_rep)
    if n_genes < 1 or not 0 <= min_share <= 1:
        raise InputError(f"n_genes must be at least 1 and min_share between 0 and 1, got {n_genes} and {min_share}")
    study = read_study(
        adata.obs, cell_type=cell_type, condition=condition, reference=reference, donor=donor, batch=None,
        covariates=(), paired="auto", stages=None,
    )  # fmt: skip
    if only is not None:
        check_key(only, study.types, f"cell type in obs['{cell_type}']")
    form = linear_form(adata, use_rep, genes)
    if form.is_normalised and not form.by_text.all():
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
            here = study.type_codes == t
            codes = np.where(here, study.sample_codes, -1)
            case, exact, samples = _arrangements(
                comparison, codes, len(study.samples), min_cells, n_permutations, generator
            )
            if case is None:
                continue
            label = {"cell_type": name, "comparison": comparison.name}
            table, total = _rank(form, samples, case, min_share, n_genes)
            tables.append(table.assign(**label)[[*label, *table.columns]])
            totals.append({**label, **total, "smallest_p": 1 / len(case), "exact": exact})
    if not tables:
        raise InputError(
            f"no cell type has two donors an arm with at least {min_cells} cells; lower min_cells, or see "
            "lexicell.tl.vulnerability, which says what each type lacks"
        )
    result = {
        "table": _describe.stack(tables),
        "totals": _describe.stack([pd.DataFrame(totals)]),
        "params": {
            "cell_type": cell_type, "condition": condition, "reference": reference, "donor": donor,
            "min_cells": min_cells, "min_share": min_share, "n_permutations": n_permutations,
            "before_scaling": form.is_scaled,
        },
    }  # fmt: skip
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _arrangements(
    comparison: Comparison,
    codes: NDArray[np.int64],
    n_samples: int,
    min_cells: int,
    n_permutations: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_] | None, bool, NDArray[np.int64]]:
    """Which samples are cases in each arrangement, the observed first; and each cell's place among those samples."""
    enough = np.bincount(codes[codes >= 0], minlength=n_samples) >= min_cells
    here = enough[comparison.rows] & (enough[comparison.partners] if comparison.is_paired else True)
    rows = comparison.rows[here]
    partners = comparison.partners[here] if comparison.is_paired else rows[:0]
    design = type(comparison.design).of(comparison.design.x[here], is_paired=comparison.is_paired)
    used = np.concatenate([rows, partners])
    few = len(rows) < 2 if comparison.is_paired else min(design.x.sum(), (1 - design.x).sum()) < 2
    if len(rows) == 0 or few or len(np.unique(comparison.design.x)) > 2:
        return None, False, codes
    permutations = design.permutations(n_draws=n_permutations, rng=rng)
    if comparison.is_paired:
        flipped = np.asarray(permutations.rows) < 0
        case = np.concatenate([~flipped, flipped], axis=1)
    else:
        case = np.asarray(permutations.rows) > 0
    place = np.full(n_samples + 1, -1)
    place[used] = np.arange(len(used))
    return case, permutations.exact, place[codes]


def _rank(
    form: LinearForm, samples: NDArray[np.int64], case: NDArray[np.bool_], min_share: float, n_genes: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
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
    effects = removal_effects(
        sp.csr_matrix(form.weights[:, kept]), embedding, form.vectors[kept], samples, means,
        is_normalised=form.is_normalised,
    )  # fmt: skip
    # A gene of a fused representation acts by its text and by its expression: both go.
    effects = np.stack([_gather(e, place[kept], len(ids)) for e in effects])
    gram = means @ means.T
    moves = np.empty((len(case), len(ids)))
    for i, arm in enumerate(case):
        way = np.where(arm, -1 / arm.sum(), 1 / (~arm).sum())
        length = np.sqrt(max(float(way @ gram @ way), 1e-300))
        moves[i] = (effects[arm].mean(axis=0) @ way) / length
        if i == 0:
            gap, own = length, effects[sick] @ way
    beaten, largest = exceed(moves), max_t(standardise(moves))
    order = np.argsort(-moves[0], kind="stable")
    table = pd.DataFrame(
        {
            "rank": np.arange(1, len(ids) + 1), "gene": ids[order], "closes": moves[0][order] / gap,
            "movement": moves[0][order], "donors": (own > 0).sum(axis=0)[order], "share": share[order],
            "p": beaten[order], "q": adjust_bh(beaten)[order], "p_max": largest[order],
        }
    ).head(n_genes)  # fmt: skip
    total = {
        "gap": float(gap), "donors": int(case[0].sum()), "donors_reference": int((~case[0]).sum()), "genes": len(ids),
        "arrangements": len(case),
    }  # fmt: skip
    return table, total


def _gather(effects: NDArray[np.float64], place: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    out = np.zeros((n, effects.shape[1]))
    np.add.at(out, place, effects)
    return out
