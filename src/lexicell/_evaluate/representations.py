"""The representations that evaluations compare: each can be fitted on some cells and applied to others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, check_key, check_repeats
from .._expression import Expression, Values, read_values, variable_genes
from .._results import check_rep
from ..core.controls import random_vectors, shuffled
from ..core.expression.components import principal_components
from ..core.genes.embedding import GeneEmbedding

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["CONTROLS", "Evaluation", "Fitted", "Representation", "check_compared", "compared", "tie_margin"]

CONTROLS = {"shuffled texts": shuffled, "random vectors": random_vectors}
_KEY, _FUSED = "X_evaluated", "X_evaluated_fused"
Matrix = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What :func:`lexicell.evaluate` or :func:`lexicell.evaluate_order` found.

    Attributes
    ----------
    table
        One row per representation (controls averaged over their seeds): ``kind`` (``text``, ``expression``,
        ``control``, ``given``) and the mean of each score.
    scores
        One row per representation and seed (and draw), all scores.
    verdict
        The answer in words, by a fixed rule.
    dropped
        Labels left out, with their number of cells.
    params
        What was evaluated and how.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    verdict: str
    dropped: dict[str, int]
    params: dict[str, Any]


def check_compared(adata: AnnData, use_reps: list[str] | None, n_controls: int, n_bootstraps: int) -> None:
    """Refuse what cannot be compared before anything is computed."""
    for key in use_reps or []:
        check_key(key, adata.obsm.keys(), "representation in obsm")
        check_rep(adata, key)
    if n_controls < 1:
        raise InputError("n_controls must be at least 1: a text result without a control says nothing")
    if n_bootstraps < 1:
        raise InputError(f"n_bootstraps must be at least 1 to give an interval; got {n_bootstraps}")
    check_repeats(n_controls, "n_controls")
    check_repeats(n_bootstraps, "n_bootstraps")


def tie_margin(n_cells: int) -> float:
    """Differences below this are ties, however small their spread; few cells need a wider margin."""
    return 0.05 if n_cells >= 300 else 0.10


@dataclass(frozen=True, eq=False)
class Fitted:
    """A representation of the cells it was fitted on, and a function that gives it for other cells."""

    matrix: Matrix
    apply: Callable[[AnnData], Matrix]


@dataclass(frozen=True, eq=False)
class Representation:
    """One row of the table: its name, its kind (``text``, ``expression``, ``control``), its seed, how it is fitted."""

    name: str
    kind: str
    seed: int
    fit: Callable[[AnnData], Fitted]


@dataclass(frozen=True, eq=False)
class _Makers:
    """The public functions behind each representation; `choice` is the matrix that holds the expression."""

    choice: Expression

    def paper(self, adata: AnnData, genes: GeneEmbedding, top_n: int | str | None = "preset") -> Fitted:
        def embed(cells: AnnData) -> Matrix:
            from .. import emb

            emb.cells(cells, genes, preset="paper", top_n=top_n, key_added=_KEY, **asdict(self.choice))
            return np.asarray(cells.obsm[_KEY])

        return _reduced(embed(adata), embed)

    def whitened(self, adata: AnnData, genes: GeneEmbedding) -> Fitted:
        from .. import emb

        emb.cells(adata, genes, preset="whitened", key_added=_KEY, **asdict(self.choice))
        return _reduced(np.asarray(adata.obsm[_KEY]), partial(self._project, adata, genes, _KEY))

    def fused(self, adata: AnnData, genes: GeneEmbedding) -> Fitted:
        from .. import emb

        emb.cells(adata, genes, preset="whitened", key_added=_KEY, **asdict(self.choice))
        emb.fuse(adata, use_rep=_KEY, key_added=_FUSED, **asdict(self.choice))
        return Fitted(np.asarray(adata.obsm[_FUSED]), partial(self._project, adata, genes, _FUSED))

    def expression(self, adata: AnnData, n_top_genes: int) -> Fitted:
        from .. import emb

        emb.expression_pca(adata, n_top_genes=n_top_genes, key_added=_KEY, **asdict(self.choice))
        return Fitted(np.asarray(adata.obsm[_KEY]), partial(self._project, adata, None, _KEY))

    def _project(self, fitted: AnnData, genes: GeneEmbedding | None, key: str, cells: AnnData) -> Matrix:
        from .. import emb

        emb.project(cells, fitted, genes, use_rep=key, **asdict(self.choice))
        return np.asarray(cells.obsm[key])

    def variable(self, adata: AnnData, n_top_genes: int) -> Fitted:
        """Log values of the variable genes, without components."""
        values = read_values(adata, self.choice)
        chosen = variable_genes(values, n_top_genes)

        def pick(values: Values) -> Matrix:
            return np.asarray(values.log[:, chosen].toarray())

        return Fitted(pick(values), lambda cells: pick(read_values(cells, self.choice)))

    def scanpy_default(self, adata: AnnData) -> Fitted:
        """Scanpy's tutorial: 2,000 variable genes by dispersion, scaled, 50 components."""
        import anndata
        import scanpy as sc

        values = read_values(adata, self.choice)
        plain = anndata.AnnData(values.log.copy(), var=pd.DataFrame(index=values.genes.astype(str)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sc.pp.filter_genes(plain, min_cells=3)
            sc.pp.highly_variable_genes(plain, n_top_genes=min(2000, plain.n_vars))
            plain = plain[:, plain.var["highly_variable"]].copy()
            sc.pp.scale(plain, max_value=10)
            sc.pp.pca(plain, n_comps=min(50, plain.n_obs - 1, plain.n_vars - 1), random_state=0)
        columns = values.rows(plain.var_names.to_numpy())
        mean, sd = plain.var["mean"].to_numpy(), plain.var["std"].to_numpy()
        center, loadings = np.asarray(plain.X.mean(axis=0)), np.asarray(plain.varm["PCs"])

        def apply(cells: AnnData) -> Matrix:
            log = read_values(cells, self.choice).log[:, columns].toarray()
            return np.asarray((np.clip((log - mean) / sd, -10, 10) - center) @ loadings)

        return Fitted(np.asarray(plain.obsm["X_pca"]), apply)


def _reduced(matrix: Matrix, embed: Callable[[AnnData], Matrix]) -> Fitted:
    """The first 50 principal components, so that all representations have a similar number of columns."""
    parts = principal_components(
        lambda a, b: np.asarray(matrix[a:b], dtype=np.float64),
        len(matrix),
        min(50, matrix.shape[1], len(matrix) - 1),
    )
    return Fitted(parts.scores, lambda cells: (embed(cells) - parts.mean) @ parts.loadings)


def compared(
    genes: GeneEmbedding, n_controls: int, choice: Expression, use_reps: list[str] | None = None
) -> list[Representation]:
    """Every representation that is compared: text, expression baselines, the controls of text, and the user's own.

    Parameters
    ----------
    genes
        The gene embedding; controls keep all of it but the vectors.
    n_controls
        Seeds of each control.
    choice
        The matrix that holds the expression.
    use_reps
        Keys of ``obsm`` that are scored as they are.
    """
    make = _Makers(choice)
    texts = {"paper": make.paper, "whitened": make.whitened, "fused": make.fused}
    found = [Representation(name, "text", 0, partial(fit, genes=genes)) for name, fit in texts.items()]
    for name, n in {"top 50": 50, "top 200": 200, "all genes": None}.items():
        found.append(Representation(f"paper, {name}", "text", 0, partial(make.paper, genes=genes, top_n=n)))
    for n in (300, 1000, 2000):
        pca = partial(make.expression, n_top_genes=n)
        found.append(Representation(f"expression PCA, {n} genes", "expression", 0, pca))
    found.append(Representation("variable genes, 2000", "expression", 0, partial(make.variable, n_top_genes=2000)))
    found.append(Representation("scanpy default", "expression", 0, make.scanpy_default))
    for name, fit in texts.items():
        for control, vectors in CONTROLS.items():
            for seed in range(n_controls):
                # Made when it is fitted: all controls at once would be large.
                made = partial(_with_control, fit, genes, vectors, seed)
                found.append(Representation(f"{name}, {control}", "control", seed, made))
    found += [Representation(key, "given", 0, partial(_given, key)) for key in use_reps or []]
    return found


def _with_control(
    fit: Callable[..., Fitted],
    genes: GeneEmbedding,
    control: Callable[..., GeneEmbedding],
    seed: int,
    adata: AnnData,
) -> Fitted:
    return fit(adata, genes=control(genes, seed=seed))


def _given(key: str, adata: AnnData) -> Fitted:
    def read(cells: AnnData) -> Matrix:
        return np.asarray(cells.obsm[key])

    return Fitted(read(adata), read)
