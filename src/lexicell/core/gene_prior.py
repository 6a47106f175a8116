r"""What texts say of how much a gene tells about cell types, learned from data sets whose types are known.

For each gene of a labelled reference, :math:`\eta^2` is the share of the variance of its log values that lies between
types, every type weighing the same. Two targets are made of it, both normal scores of ranks: of :math:`\eta^2` itself,
and of :math:`\eta^2` among genes of like mean expression, since highly expressed genes are measured better and would
win without telling anything. Ridge regression predicts both from the gene's text vector. A gene is predicted by a model
that saw no gene of its family, so that no paralogue hands it the answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError
from .expression import group_profiles

__all__ = [
    "N_FOLDS",
    "PriorModel",
    "Target",
    "evidence",
    "family",
    "fit",
    "fold_of",
    "informativeness",
    "targets",
    "together",
]

Floats = NDArray[np.float64]
N_FOLDS = 5
_BINS = 20  # of mean expression
_FEWEST_GENES = 200
_LEAST_SHARE = 0.01  # of the cells must express a gene that is learned from
_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def family(symbol: str) -> str:
    """Crude family of a gene: the first three letters of its symbol, or all before the first digit.

    ``KRT8`` and ``KRT18`` are ``KRT``, ``HLA-DRA`` is ``HLA``, all ``CD`` antigens are ``CD``. Coarser than gene
    families, which is the safe side; relatives of quite different names stay apart.
    """
    found = re.match(r"[A-Z]{2,3}|[A-Z][0-9]*", symbol.upper())
    return found.group() if found else symbol.upper()


def fold_of(families: Sequence[str], n_folds: int = N_FOLDS) -> NDArray[np.int64]:
    """Fold of each family: a hash of its name, so that it is the same for any list of genes."""
    digest = [hashlib.blake2b(f.encode(), digest_size=8).digest() for f in families]
    return np.array([int.from_bytes(d, "big") % n_folds for d in digest], dtype=np.int64)


def informativeness(values: sp.csr_matrix, codes: NDArray[np.integer], n_groups: int) -> Floats:
    r"""Share of each gene's variance that lies between groups, every group weighing the same: 0 to 1.

    :math:`\eta^2 = B / (B + W)`, B the variance over groups of the group means, W the mean over groups of the variance
    within. 0 for a gene without variance.

    Parameters
    ----------
    values
        Log values, cells x genes.
    codes
        Group of each cell; -1 for cells that belong to none.
    n_groups
        Number of groups, each with a cell.
    """
    squares = values.copy()
    squares.data = squares.data.astype(np.float64) ** 2
    mean = group_profiles(values, codes, n_groups).mean
    within = np.maximum(group_profiles(squares, codes, n_groups).mean - mean**2, 0).mean(axis=0)
    between = mean.var(axis=0)
    total = between + within
    return np.asarray(np.where(total > 0, between / np.where(total > 0, total, 1.0), 0.0))


@dataclass(frozen=True, eq=False)
class Target:
    r"""What is learned of each gene from one reference, NaN where it is hardly expressed.

    Attributes
    ----------
    total
        Normal score of the rank of :math:`\eta^2`.
    beyond
        The same among genes of like mean expression.
    """

    total: Floats
    beyond: Floats


def targets(values: sp.csr_matrix, codes: NDArray[np.integer], n_groups: int) -> Target:
    """Both targets of each gene of a reference; genes expressed in fewer than 1 % of its cells are left out.

    Raises
    ------
    InputError
        If fewer than two groups or fewer than 200 expressed genes are there.
    """
    if n_groups < 2:
        raise InputError(f"{n_groups} types tell nothing about genes; a reference needs at least two")
    share = np.bincount(values.indices[values.data > 0], minlength=values.shape[1]) / values.shape[0]
    kept = np.flatnonzero(share >= _LEAST_SHARE)
    if len(kept) < _FEWEST_GENES:
        raise InputError(f"{len(kept)} genes are expressed in the reference; at least {_FEWEST_GENES} are needed")
    part = sp.csr_matrix(values[:, kept])
    eta = informativeness(part, codes, n_groups)
    mean = np.asarray(part.mean(axis=0)).ravel()
    bins = (pd.Series(mean).rank(method="first").to_numpy() - 1) * _BINS // len(kept)
    total, beyond = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    total[kept] = _normal_scores(eta)
    for b in np.unique(bins):
        beyond[kept[bins == b]] = _normal_scores(eta[bins == b])
    return Target(total, beyond)


def _normal_scores(x: Floats) -> Floats:
    from scipy.stats import norm

    return np.asarray(norm.ppf((pd.Series(x).rank().to_numpy() - 0.5) / len(x)))


@dataclass(frozen=True, eq=False)
class PriorModel:
    """Ridge regression of a target on unit-length text vectors, one set of coefficients a fold.

    Attributes
    ----------
    mean
        Mean of the unit vectors of the genes learned from, ``(d,)``.
    coef
        ``(n_folds, d)``: row f was learned without the families of fold f.
    intercept
        ``(n_folds,)``.
    penalty
        The ridge penalty, chosen by held-out families.
    """

    mean: Floats
    coef: Floats
    intercept: Floats
    penalty: float

    def predict(self, vectors: ArrayLike, folds: NDArray[np.integer]) -> Floats:
        """Predict each gene by the coefficients that did not see its family, ``(n_genes,)``.

        Raises
        ------
        InputError
            If the vectors have another length than those learned from.
        """
        matrix = _unit(vectors)
        if matrix.shape[1] != len(self.mean):
            raise InputError(
                f"vectors of length {matrix.shape[1]} do not fit a prior of {len(self.mean)} dimensions; "
                "pass references= to learn one from these vectors"
            )
        scores = (matrix - self.mean) @ self.coef.T + self.intercept
        return np.asarray(scores[np.arange(len(matrix)), np.asarray(folds)])


def _unit(vectors: ArrayLike) -> Floats:
    matrix = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    return np.asarray(matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12))


def fit(vectors: ArrayLike, y: Floats, folds: NDArray[np.integer], n_folds: int = N_FOLDS) -> PriorModel:
    """Learn a prior; the penalty is the one that predicts held-out families best.

    Parameters
    ----------
    vectors
        ``(n_genes, d)`` text vectors; brought to unit length.
    y
        ``(n_genes,)`` target; NaN for genes not to learn from.
    folds
        ``(n_genes,)`` fold of each gene's family.
    n_folds
        Number of folds.

    Raises
    ------
    InputError
        If fewer than 200 genes can be learned from, or a fold holds all of them.
    """
    known = np.isfinite(y)
    if known.sum() < _FEWEST_GENES:
        raise InputError(f"{int(known.sum())} genes have a text and a value to learn; {_FEWEST_GENES} are needed")
    X, target, fold = _unit(vectors)[known], y[known], np.asarray(folds)[known]
    mean = X.mean(axis=0)
    X = X - mean
    grams = [(X[fold == f].T @ X[fold == f], X[fold == f].T @ target[fold == f]) for f in range(n_folds)]
    if any((fold != f).sum() == 0 for f in range(n_folds)):
        raise InputError("all genes belong to one fold of families; more families are needed")
    whole, right = sum(g for g, _ in grams), sum(r for _, r in grams)
    centre = np.array([target[fold != f].mean() for f in range(n_folds)])
    best: tuple[float, PriorModel] | None = None
    for penalty in _PENALTIES:
        coef = np.stack(
            [
                np.linalg.solve(whole - g + penalty * np.eye(len(mean)), right - r - c * _sums(X, fold, f))
                for f, ((g, r), c) in enumerate(zip(grams, centre, strict=True))
            ]
        )
        model = PriorModel(mean, coef, centre, float(penalty))
        guess = (X * coef[fold]).sum(axis=1) + centre[fold]
        error = float(((guess - target) ** 2).mean())
        if best is None or error < best[0]:
            best = error, model
    assert best is not None
    return best[1]


def _sums(X: Floats, fold: NDArray[np.integer], f: int) -> Floats:
    return np.asarray(X[fold != f].sum(axis=0))


def evidence(
    vectors: ArrayLike, found: Mapping[str, Target], families: Sequence[str], *, n_controls: int = 3, rng: int = 0
) -> pd.DataFrame:
    """How well texts predict informativeness beyond mean expression, beside shuffled and random vectors.

    Parameters
    ----------
    vectors
        ``(n_genes, d)``.
    found
        Targets of each reference, all over the same genes.
    families
        ``(n_genes,)`` family of each gene.
    n_controls
        Seeds of each control.
    rng
        Seed.

    Returns
    -------
    One row a reference and kind of test: ``reference``, ``held_out`` (``families``: other families of the same
    references; ``families and data``: other families of the other references, only with several), ``genes``,
    ``spearman`` of the text, and mean and sd of the same for ``shuffled`` and ``random`` vectors.
    """
    from scipy.stats import spearmanr

    fold = fold_of(families)
    matrix = _unit(vectors)
    generator = np.random.default_rng(rng)
    controls = {
        "shuffled": [matrix[generator.permutation(len(matrix))] for _ in range(n_controls)],
        "random": [generator.standard_normal(matrix.shape) for _ in range(n_controls)],
    }
    rows = []
    for held_out in ("families", "families and data"):
        for name, target in found.items():
            others = [t.beyond for n, t in found.items() if held_out == "families" or n != name]
            if not others:
                continue
            y, own = together(others), np.isfinite(target.beyond)

            def rho(v: Floats, y: Floats = y, own: NDArray[np.bool_] = own, truth: Floats = target.beyond) -> float:
                return float(spearmanr(fit(v, y, fold).predict(v, fold)[own], truth[own]).statistic)

            row: dict[str, object] = {"reference": name, "held_out": held_out, "genes": int(own.sum())}
            row["spearman"] = rho(matrix)
            for control, many in controls.items():
                scores = [rho(v) for v in many]
                row[control], row[f"{control}_sd"] = float(np.mean(scores)), float(np.std(scores))
            rows.append(row)
    return pd.DataFrame(rows)


def together(many: Sequence[Floats]) -> Floats:
    """Mean of a target over the references that measured the gene; NaN where none did."""
    stacked = np.stack(many)
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
