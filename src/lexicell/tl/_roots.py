"""Where a trajectory starts: from a cell's name, a label, marker genes or words to the cells they mean."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, check_choice, check_column, choices
from .._expression import Expression, read_values
from .._results import recorded, recorded_params
from ..core.expression.log_values import column_stats, zscore_block
from ..core.genes.embedding import GeneEmbedding

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Root", "RootSpec", "find_roots"]

RootSpec = str | Sequence[str]

WAYS = "a cell name, 'cluster:3', 'column=value', 'markers:SOX2,NES' or 'words:proliferating progenitor'"
_NOT_A_ROOT = f"root={{!r}} is not {WAYS}; for row i pass adata.obs_names[i]"
_LEAST, _SHARE = 10, 0.02  # candidates chosen by a score: at least this number, and this fraction of the cells
_NAMES = 20_000  # names compared with a misspelled one


@dataclass(frozen=True, eq=False)
class Root:
    """Cells that may be the root, or a score that tells which.

    Attributes
    ----------
    name
        What was asked for, as it is recorded.
    rows
        Rows of the candidates, ascending; empty if `score` decides.
    score
        One value per cell, larger for a better root; None if `rows` are given.
    """

    name: str
    rows: NDArray[np.int64]
    score: NDArray[np.float64] | None = None

    def candidates(self, connectivities: sp.csr_matrix) -> NDArray[np.int64]:
        """Rows of the candidates: those given, or the 2 % of cells with the best score.

        A score is first averaged over each cell's neighbors: one cell's expression of a few genes is mostly noise.
        """
        if self.score is None:
            return self.rows
        degree = np.asarray(connectivities.sum(axis=1)).ravel()
        smooth = (connectivities @ self.score + self.score) / (degree + 1)
        n = min(len(smooth), max(_LEAST, int(_SHARE * len(smooth))))
        return np.sort(np.argsort(-smooth, kind="stable")[:n]).astype(np.int64)


def find_roots(
    adata: AnnData,
    root: RootSpec,
    *,
    use_rep: str,
    groupby: str | None,
    genes: GeneEmbedding | None,
    choice: Expression,
) -> list[Root]:
    """Read the `root` argument of :func:`lexicell.tl.trajectory`; several roots give several entries."""
    specs = [root] if isinstance(root, str) else root
    if not isinstance(specs, Sequence | np.ndarray | pd.Index):
        raise InputError(_NOT_A_ROOT.format(root))
    if len(specs) == 0:
        raise InputError(f"root is empty; give {WAYS}")
    found = []
    for spec in specs:
        kind, value = _read(adata, spec)
        if kind == "cell":
            found.append(_cell(adata, value))
        elif kind == "markers":
            found.append(_markers(adata, value, use_rep, choice))
        elif kind == "words":
            found.append(_words(adata, value, use_rep, genes, choice))
        elif kind != "cluster":
            found.append(_label(adata, kind, value, f"{kind}={value}"))
        elif groupby is None:
            raise InputError(f"for root='cluster:{value}', pass groupby=, the column of obs with the clusters")
        else:
            found.append(_label(adata, groupby, value, f"cluster:{value}"))
    return found


def _read(adata: AnnData, spec: str) -> tuple[str, str]:
    """Kind and value of one root; a kind that is not one of ours is a column of obs."""
    if not isinstance(spec, str):
        raise InputError(_NOT_A_ROOT.format(spec))
    # A cell may have any name, so cell names are looked up before the string is taken apart.
    if spec in adata.obs_names:
        return "cell", spec
    # Only our own prefixes: names of cells and values may hold a colon.
    kind, colon, value = spec.partition(":")
    if colon and kind in ("cell", "cluster", "markers", "words"):
        return kind, value.strip()
    column, equals, value = spec.partition("=")
    if equals:
        return column.strip(), value.strip()
    return "cell", spec


def _cell(adata: AnnData, name: str) -> Root:
    if name not in adata.obs_names:
        hint = f"names look like {choices(adata.obs_names[:3])}"
        near = difflib.get_close_matches(name, adata.obs_names[:_NAMES].tolist(), n=3)
        if near:
            hint = f"the nearest are {choices(near)}"
        raise InputError(f"no cell '{name}' in obs_names; {hint}. A root is {WAYS}")
    return Root(f"cell:{name}", np.flatnonzero(adata.obs_names == name).astype(np.int64))


def _label(adata: AnnData, column: str, value: str, name: str) -> Root:
    check_column(adata.obs, column)
    labels = adata.obs[column]
    text = labels[labels.notna()].astype(str)
    check_choice(value, sorted(set(text)), f"value of obs['{column}']")
    mine = (labels.astype(str) == value) & labels.notna()
    return Root(name, np.flatnonzero(mine.to_numpy()).astype(np.int64))


def _markers(adata: AnnData, value: str, use_rep: str, choice: Expression) -> Root:
    names = [v.strip() for v in value.split(",") if v.strip()]
    if not names:
        raise InputError("no marker genes given; write root='markers:SOX2,NES'")
    values = read_values(adata, choice, like=recorded(adata, use_rep).get("params"))
    columns = values.rows(np.asarray(names, dtype=object))
    if (columns < 0).any():
        missing = [n for n, c in zip(names, columns, strict=True) if c < 0]
        near = difflib.get_close_matches(missing[0], values.genes[: 3 * _NAMES].astype(str).tolist(), n=3)
        hint = f"similar to '{missing[0]}': {choices(near)}" if near else "no gene has a similar name"
        raise InputError(f"no gene {choices(missing)} in this data; {hint}")
    log = sp.csr_matrix(values.log[:, columns])
    mean, sd = column_stats(log)
    if not (sd > 0).any():
        raise InputError(f"the marker genes {choices(names)} do not vary between cells; choose other markers")
    return Root("markers:" + ",".join(names), np.zeros(0, np.int64), zscore_block(log, mean, sd).mean(axis=1))


def _words(adata: AnnData, words: str, use_rep: str, genes: GeneEmbedding | None, choice: Expression) -> Root:
    from ..core.genes.concepts import cell_scores
    from .words import gene_vectors, phrases_of, zscores

    known = gene_vectors(adata, use_rep, genes)
    z = zscores(read_values(adata, choice, like=recorded_params(adata, use_rep)), known)
    sets = phrases_of([words], known).sets(z.ids)
    return Root(f"words:{words}", np.zeros(0, np.int64), cell_scores(z.deviations, z.baseline, sets)[:, 0])
