"""The representations that `lexicell.evaluate` compares: each can be fitted on some cells and applied to others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._values import Values, read_values, variable_genes
from .core.controls import random_vectors, shuffled
from .core.embedding import GeneEmbedding
from .core.expression import principal_components

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["CONTROLS", "Fitted", "Representation", "representations"]

CONTROLS = {"shuffled texts": shuffled, "random vectors": random_vectors}
_KEY, _FUSED = "X_evaluated", "X_evaluated_fused"
Matrix = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A representation of the cells it was fitted on, and the same for other cells with nothing fitted anew."""

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
    """The public functions behind each representation, told where expression stands."""

    source: dict[str, Any] = field(default_factory=dict)

    def paper(self, adata: AnnData, genes: GeneEmbedding, top_n: int | str | None = "preset") -> Fitted:
        def embed(cells: AnnData) -> Matrix:
            from . import emb

            emb.cells(cells, genes, preset="paper", top_n=top_n, key_added=_KEY, **self.source)
            return np.asarray(cells.obsm[_KEY])

        return _reduced(embed(adata), embed)

    def whitened(self, adata: AnnData, genes: GeneEmbedding) -> Fitted:
        from . import emb

        emb.cells(adata, genes, preset="whitened", key_added=_KEY, **self.source)
        return _reduced(np.asarray(adata.obsm[_KEY]), partial(self._project, adata, genes, _KEY))

    def fused(self, adata: AnnData, genes: GeneEmbedding) -> Fitted:
        from . import emb

        emb.cells(adata, genes, preset="whitened", key_added=_KEY, **self.source)
        emb.fuse(adata, use_rep=_KEY, key_added=_FUSED, **self.source)
        return Fitted(np.asarray(adata.obsm[_FUSED]), partial(self._project, adata, genes, _FUSED))

    def expression(self, adata: AnnData, n_top_genes: int) -> Fitted:
        from . import emb

        emb.expression_pca(adata, n_top_genes=n_top_genes, key_added=_KEY, **self.source)
        return Fitted(np.asarray(adata.obsm[_KEY]), partial(self._project, adata, None, _KEY))

    def _project(self, fitted: AnnData, genes: GeneEmbedding | None, key: str, cells: AnnData) -> Matrix:
        from . import emb

        emb.project(cells, fitted, genes, use_rep=key, **self.source)
        return np.asarray(cells.obsm[key])

    def variable(self, adata: AnnData, n_top_genes: int) -> Fitted:
        """Log values of the variable genes as they are, without components."""
        values = read_values(adata, **self.source)
        chosen = variable_genes(values, n_top_genes)

        def pick(values: Values) -> Matrix:
            return np.asarray(values.log[:, chosen].toarray())

        return Fitted(pick(values), lambda cells: pick(read_values(cells, **self.source)))

    def scanpy_default(self, adata: AnnData) -> Fitted:
        """What scanpy's tutorial does: 2,000 variable genes by dispersion, scaled, 50 components."""
        import anndata
        import scanpy as sc

        values = read_values(adata, **self.source)
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
            log = read_values(cells, **self.source).log[:, columns].toarray()
            return np.asarray((np.clip((log - mean) / sd, -10, 10) - center) @ loadings)

        return Fitted(np.asarray(plain.obsm["X_pca"]), apply)


def _reduced(matrix: Matrix, embed: Callable[[AnnData], Matrix]) -> Fitted:
    """The first 50 principal components, so that representations enter the graph with a like number of columns."""
    parts = principal_components(
        lambda a, b: np.asarray(matrix[a:b], dtype=np.float64),
        len(matrix),
        min(50, matrix.shape[1], len(matrix) - 1),
    )
    return Fitted(parts.scores, lambda cells: (embed(cells) - parts.mean) @ parts.loadings)


def representations(genes: GeneEmbedding, n_controls: int, source: dict[str, Any]) -> Iterator[Representation]:
    """Every representation that is compared: text, expression baselines, and the controls of text.

    Parameters
    ----------
    genes
        The gene embedding; controls keep all of it but the vectors.
    n_controls
        Seeds of each control.
    source
        Where expression stands: arguments of :func:`lexicell.emb.cells`.
    """
    make = _Makers(source)
    texts = {"paper": make.paper, "whitened": make.whitened, "fused": make.fused}
    for name, fit in texts.items():
        yield Representation(name, "text", 0, partial(_with, fit, genes, None, 0))
    for name, n in {"top 50": 50, "top 200": 200, "all genes": None}.items():
        yield Representation(f"paper, {name}", "text", 0, partial(_with, partial(make.paper, top_n=n), genes, None, 0))
    for n in (300, 1000, 2000):
        yield Representation(f"expression PCA, {n} genes", "expression", 0, partial(make.expression, n_top_genes=n))
    yield Representation("variable genes, 2000", "expression", 0, partial(make.variable, n_top_genes=2000))
    yield Representation("scanpy default", "expression", 0, make.scanpy_default)
    for name, fit in texts.items():
        for control, vectors in CONTROLS.items():
            for seed in range(n_controls):
                yield Representation(f"{name}, {control}", "control", seed, partial(_with, fit, genes, vectors, seed))


def _with(
    fit: Callable[[AnnData, GeneEmbedding], Fitted],
    genes: GeneEmbedding,
    control: Callable[..., GeneEmbedding] | None,
    seed: int,
    adata: AnnData,
) -> Fitted:
    return fit(adata, genes if control is None else control(genes, seed=seed))
