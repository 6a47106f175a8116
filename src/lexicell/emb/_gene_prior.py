"""Which genes tell cell types apart, as their texts say, and gene panels made by it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, check_key, choices
from .._results import keep_results
from .._values import Values, read_values
from ..core.embedding import GeneEmbedding
from ..core.expression import residual_variance
from ..core.gene_prior import PriorModel, Target, evidence, family, fit, fold_of, targets, together

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["GenePrior", "gene_panel", "gene_prior", "reference_targets"]

_FILE = Path(__file__).parents[1] / "data" / "gene_prior"
_KINDS = ("total", "beyond")


@dataclass(frozen=True, eq=False)
class GenePrior:
    """What texts say of how much each gene tells about cell types, with the evidence for it.

    Attributes
    ----------
    table
        One row a gene, indexed by its name: ``informativeness`` (predicted normal score of the share of variance
        between cell types), ``prior`` (the same among genes of like mean expression), ``family`` (crude: see
        :func:`lexicell.core.gene_prior.family`). A gene is predicted by a model that saw none of its family.
    evidence
        One row a reference and kind of test: Spearman correlation of ``prior`` with what was measured, in families
        (and data sets) that were held out, beside shuffled texts and random vectors.
    params
        References and embedder: strings and numbers.
    """

    table: pd.DataFrame
    evidence: pd.DataFrame
    params: dict[str, Any]

    def write(self, adata: AnnData) -> None:
        """Write ``var["text_prior"]`` and ``uns["lexicell"]["gene_prior"]``; NaN for genes without text."""
        adata.var["text_prior"] = self.table["prior"].reindex(adata.var_names.astype(str)).to_numpy()
        plain = self.evidence.copy()
        plain.index = plain.index.astype(str)
        keep_results(adata, "gene_prior", {"evidence": plain, "params": dict(self.params)}, replace=True)


def gene_prior(
    genes: GeneEmbedding,
    references: Mapping[str, tuple[AnnData, str]] | None = None,
    *,
    layer: str | None = None,
    n_controls: int = 3,
    rng: int = 0,
) -> GenePrior:
    r"""Predict from texts how much each gene tells about cell types.

    In labelled references, :math:`\eta^2` of each gene is the share of its variance between types; ridge regression
    predicts its rank, and its rank among genes of like mean expression, from the text vector
    (:mod:`lexicell.core.gene_prior`). Five sets of coefficients, each learned without a fifth of the gene families,
    see to it that no gene is predicted by its relatives.

    The signal is real and weak: see ``evidence``. It is not used in clustering. What it is for is the choice of genes
    where there is no expression to choose by (:func:`gene_panel`), with references of a tissue like the one studied:
    a prior from blood chose worse than chance in motor cortex (``docs/gene_panels.md``).

    Parameters
    ----------
    genes
        From :func:`lexicell.emb.genes`.
    references
        Name -> (cells, column of ``obs`` with their types). Their genes are joined to `genes` by name, capitals or not.
        None: coefficients that ship with lexicell, learned from blood, motor cortex and lung cancer lines; for vectors
        of the default embedder only.
    layer
        Layer with counts in the references; None: ``X``.
    n_controls
        Seeds of each control in the evidence; 0: no evidence is computed, for speed.
    rng
        Seed of the controls.

    Returns
    -------
    GenePrior

    Raises
    ------
    MissingKeyError
        If a column does not exist.
    InputError
        If a reference has one type, fewer than 200 genes can be learned from, or the shipped coefficients do not fit.

    Examples
    --------
    >>> import lexicell as lx
    >>> genes = lx.emb.genes(["CD3E", "KRT18", "NDUFA4", "PSMB7"], organism="human")
    >>> table = lx.emb.gene_prior(genes).table
    >>> bool(table.loc["CD3E", "prior"] > table.loc["PSMB7", "prior"])
    True
    """
    families = [family(s) for s in _symbols(genes)]
    folds = fold_of(families)
    if references is None:
        models, found, params = _shipped(genes)
    else:
        models, found, params = _learned(genes, references, families, layer, n_controls, rng)
    table = pd.DataFrame(
        {
            "informativeness": models["total"].predict(genes.vectors, folds),
            "prior": models["beyond"].predict(genes.vectors, folds),
            "family": families,
        },
        index=pd.Index(genes.ids.astype(str), name="gene"),
    )
    return GenePrior(table, found, {**params, "gene_embedding": genes.hash})


def _symbols(genes: GeneEmbedding) -> list[str]:
    if "symbol" in genes.table:
        found = genes.table["symbol"].astype(str).to_numpy()
        return [s or str(i) for s, i in zip(found, genes.ids, strict=True)]
    return [str(i) for i in genes.ids]


def reference_targets(
    genes: GeneEmbedding, references: Mapping[str, tuple[AnnData, str]], layer: str | None = None
) -> dict[str, Target]:
    """What each reference measured of `genes`, NaN where it did not measure a gene."""
    place = {s.upper(): i for i, s in reversed(list(enumerate(_symbols(genes))))}
    place |= {str(n).upper(): i for i, n in reversed(list(enumerate(genes.ids)))}
    found = {}
    for name, (adata, column) in references.items():
        check_key(column, [str(c) for c in adata.obs.columns], f"column in obs of the reference '{name}'")
        values = read_values(adata, layer=layer)
        known = adata.obs[column].notna().to_numpy()
        labels, names = pd.factorize(adata.obs[column].astype(str).where(known))
        sizes = np.bincount(labels[labels >= 0], minlength=len(names))
        large = np.flatnonzero(sizes >= 5)  # types of fewer cells say little and weigh as much as the others
        codes = np.full(len(labels), -1)
        for new, old in enumerate(large):
            codes[labels == old] = new
        rows = np.flatnonzero(codes >= 0)
        got = targets(values.log[rows], codes[rows], len(large))
        total, beyond = np.full(len(genes), np.nan), np.full(len(genes), np.nan)
        for column_here, gene in enumerate(values.genes):
            row = place.get(str(gene).upper(), -1)
            if row >= 0:
                total[row], beyond[row] = got.total[column_here], got.beyond[column_here]
        found[name] = Target(total, beyond)
    return found


def _learned(
    genes: GeneEmbedding,
    references: Mapping[str, tuple[AnnData, str]],
    families: list[str],
    layer: str | None,
    n_controls: int,
    rng: int,
) -> tuple[dict[str, PriorModel], pd.DataFrame, dict[str, Any]]:
    if not references:
        raise InputError("give at least one reference, or None for the coefficients that ship with lexicell")
    measured = reference_targets(genes, references, layer)
    folds = fold_of(families)
    models = {
        kind: fit(genes.vectors, together([getattr(t, kind) for t in measured.values()]), folds) for kind in _KINDS
    }
    found = pd.DataFrame()
    if n_controls:
        found = evidence(genes.vectors, measured, families, n_controls=n_controls, rng=rng)
    return models, found, {"references": ", ".join(measured), "coefficients": "learned here"}


def _shipped(genes: GeneEmbedding) -> tuple[dict[str, PriorModel], pd.DataFrame, dict[str, Any]]:
    models, found, about = load_prior()
    space = f"{genes.provenance.get('embedder', '')}@{genes.provenance.get('revision', '')}/{genes.dim}"
    if about["embedder"] != space and genes.provenance.get("vectors") != "control":
        raise InputError(
            f"the coefficients that ship with lexicell are for vectors of '{about['embedder']}', and these are of "
            f"'{space}'; pass references= to learn a prior from your own labelled cells"
        )
    return models, found, dict(about)


@lru_cache(maxsize=1)
def load_prior() -> tuple[dict[str, PriorModel], pd.DataFrame, dict[str, Any]]:
    """The coefficients that ship with lexicell, their evidence, and where they came from."""
    about = json.loads(_FILE.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(_FILE.with_suffix(".npz"), allow_pickle=False) as arrays:
        models = {
            kind: PriorModel(
                arrays["mean"].astype(np.float64), arrays[f"{kind}_coef"].astype(np.float64),
                arrays[f"{kind}_intercept"].astype(np.float64), float(arrays[f"{kind}_penalty"]),
            )
            for kind in _KINDS
        }  # fmt: skip
    known = {"references": str(about["references"]), "coefficients": "shipped", "embedder": str(about["embedder"])}
    return models, pd.DataFrame(about["evidence"]), known


def gene_panel(
    genes: GeneEmbedding,
    n_genes: int = 300,
    *,
    pilot: AnnData | None = None,
    prior: GenePrior | None = None,
    weight: float = 0.0,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    layer: str | None = None,
    library_size: str | None = None,
) -> pd.DataFrame:
    """Choose the genes of a panel, for a spatial assay or a targeted one.

    Without a pilot, genes are ranked by the text-predicted ``informativeness``: nothing of the tissue is known then.
    With a pilot, they are ranked by the normal score of their variance there (Pearson residuals), plus `weight` times
    the standardised ``prior``. A pilot of 100 cells was better than texts wherever it was tried, and texts beside it
    changed nothing beyond the spread over pilots; so `weight` is 0 unless you say otherwise.

    Parameters
    ----------
    genes
        Candidates, from :func:`lexicell.emb.genes`.
    n_genes
        Genes to choose.
    pilot
        Some cells of the tissue, with counts; no labels are needed. Genes it does not express come last.
    prior
        From :func:`gene_prior`; None: the coefficients that ship with lexicell.
    weight
        Weight of the prior beside a pilot; 0 is the pilot alone. .5 was tried in ``evaluation/gene_prior``.
    include
        Genes that must be on the panel; they come first.
    exclude
        Genes that must not.
    layer, library_size
        Where counts stand in the pilot.

    Returns
    -------
    One row a chosen gene, best first, indexed by gene: ``rank``, ``score``, ``informativeness``, ``prior``,
    ``family``, ``reason`` (``asked for``, ``text``, ``pilot`` or ``pilot and text``) and, with a pilot, ``variance``
    (of Pearson residuals; of log values where there are no counts).

    Raises
    ------
    InputError
        If `n_genes` is below 1 or above the number of candidates, or no gene of the pilot is a candidate.
    MissingKeyError
        If a gene of `include` is no candidate.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> panel = lx.emb.gene_panel(lx.emb.genes(adata), 50, pilot=adata, include=["CD3E"])
    >>> panel.index[0], len(panel)
    ('CD3E', 50)
    """
    prior = gene_prior(genes) if prior is None else prior
    table = prior.table.copy()
    wanted, unwanted = [str(g) for g in include], {str(g) for g in exclude}
    if missing := [g for g in wanted if g not in table.index]:
        raise MissingKeyError(f"no candidate {choices(missing, limit=5)}: no text is known for it, or its name differs")
    if both := sorted(unwanted & set(wanted)):
        raise InputError(f"{choices(both, limit=5)} cannot be both included and excluded")
    if not weight >= 0:
        raise InputError(f"weight must not be negative, got {weight}")
    table["score"], table["reason"] = table["informativeness"], "text"
    if pilot is not None:
        values = read_values(pilot, layer=layer, library_size=library_size)
        table["variance"] = _variance(values, table.index)
        table["score"], table["reason"] = _blend(table, weight), "pilot and text" if weight else "pilot"
    table.loc[wanted, "reason"] = "asked for"
    table = table[~table.index.isin(list(unwanted))]
    if not 1 <= n_genes <= len(table) or len(wanted) > n_genes:
        raise InputError(
            f"n_genes must lie between {max(1, len(wanted))} and {len(table)}, the number of candidates; got {n_genes}"
        )
    first = table.index.isin(wanted)
    order = np.lexsort((np.arange(len(table)), -table["score"].to_numpy(), ~first))[:n_genes]
    panel = table.iloc[order].copy()
    panel.insert(0, "rank", np.arange(1, n_genes + 1))
    columns = ["rank", "score", "informativeness", "prior", *(["variance"] if pilot is not None else []), "family"]
    return panel[[*columns, "reason"]]


def _variance(values: Values, candidates: pd.Index[Any]) -> NDArray[np.float64]:
    columns = values.rows(candidates.to_numpy(dtype=object))
    if not (columns >= 0).any():
        raise InputError(
            f"no gene of the pilot is a candidate: it has {choices(values.genes[:3])}, "
            f"the candidates are {choices(candidates[:3])}"
        )
    if values.counts is not None:
        each = residual_variance(values.counts)
    else:
        square = values.log.copy()
        square.data = square.data**2
        each = np.asarray(square.mean(axis=0)).ravel() - np.asarray(values.log.mean(axis=0)).ravel() ** 2
    return np.where(columns >= 0, each[np.maximum(columns, 0)], 0.0)


def _blend(table: pd.DataFrame, weight: float) -> NDArray[np.float64]:
    """Normal score of the variance plus the weighted, standardised prior; genes without variance last."""
    from scipy.stats import norm

    seen = (table["variance"] > 0).to_numpy()
    score = np.full(len(table), -np.inf)
    rank = table.loc[seen, "variance"].rank().to_numpy()
    prior = table.loc[seen, "prior"].to_numpy()
    score[seen] = norm.ppf((rank - 0.5) / seen.sum()) + weight * (prior - prior.mean()) / max(prior.std(), 1e-12)
    return score
