"""Where a trajectory starts: from a cell's name, a label, marker genes or words to the cells they mean."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, check_choice, check_key, choices
from .._results import recorded
from .._values import read_values
from ..core.embedding import GeneEmbedding
from ..core.expression import column_stats, zscore_block

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Root", "RootSpec", "find_roots"]

RootSpec = str | Mapping[str, Any] | Sequence[Any]

WAYS = "a cell name, 'cluster:3', 'column=value', 'markers:SOX2,NES' or 'words:proliferating progenitor'"
_LEAST, _SHARE = 10, 0.02  # candidates behind a score
_NAMES = 20_000  # cell names among which near ones are looked for


@dataclass(frozen=True, eq=False)
class Root:
    """Cells that may be the root, or a score that says which.

    Attributes
    ----------
    name
        What was asked for, as it goes into the record.
    rows
        Rows of the candidates, rising; empty where `score` decides.
    score
        One value a cell, larger for a better root; None where `rows` stand.
    """

    name: str
    rows: NDArray[np.int64]
    score: NDArray[np.float64] | None = None

    def candidates(self, connectivities: sp.csr_matrix) -> NDArray[np.int64]:
        """Rows of the candidates; a score is first averaged over each cell's neighbours.

        One cell's expression of a few genes is mostly noise, and its neighbours' mean is not.
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
    layer: str | None,
    use_raw: bool | None,
) -> list[Root]:
    """Read the `root` argument of :func:`lexicell.tl.trajectory`; several roots give several entries."""
    single = isinstance(root, (str, Mapping))
    if not single and not isinstance(root, Sequence | np.ndarray | pd.Index):
        raise InputError(f"root={root!r} is none of {WAYS}; for row i give adata.obs_names[i]")
    specs = [root] if single else list(root)
    if not specs:
        raise InputError(f"root is empty; give {WAYS}")

    found = []
    for spec in specs:
        kind, value = _read(adata, spec)
        if kind == "cell":
            found.append(_cell(adata, str(value)))
        elif kind == "markers":
            found.append(_markers(adata, value, use_rep, layer, use_raw))
        elif kind == "words":
            found.append(_words_root(adata, str(value), use_rep, genes, layer, use_raw))
        elif kind == "cluster":
            if groupby is None:
                raise InputError(
                    f"root='cluster:{value}' needs to know which clusters: pass groupby=, the column of obs with them"
                )
            found.append(_label(adata, groupby, value, f"cluster:{value}"))
        else:
            found.append(_label(adata, kind, value, f"{kind}={value}"))
    return found


def _read(adata: AnnData, spec: Any) -> tuple[str, Any]:
    """Kind and value of one root; a kind that is none of our words is a column of obs."""
    if isinstance(spec, Mapping):
        if len(spec) != 1:
            raise InputError(f"a root given as a dict has one entry, such as {{'cell_type': 'HSC'}}; got {dict(spec)}")
        kind, value = next(iter(spec.items()))
        return str(kind), value
    if not isinstance(spec, str):
        raise InputError(f"root={spec!r} is none of {WAYS}; for row i give adata.obs_names[i]")
    # A cell may be called anything, so its name counts before what the string could also mean.
    if spec in adata.obs_names:
        return "cell", spec
    kind, colon, value = spec.partition(":")
    if colon and kind in ("cell", "cluster", "markers", "words"):
        return kind, value.strip()
    column, equals, value = spec.partition("=")
    if equals:
        return column.strip(), value.strip()
    return "cell", spec


def _cell(adata: AnnData, name: str) -> Root:
    if name not in adata.obs_names:
        near = difflib.get_close_matches(name, adata.obs_names[:_NAMES].tolist(), n=3)
        hint = f"the nearest are {choices(near)}" if near else f"names look like {choices(adata.obs_names[:3])}"
        raise InputError(f"no cell '{name}' in obs_names; {hint}. A root is {WAYS}")
    return Root(f"cell:{name}", np.flatnonzero(adata.obs_names == name).astype(np.int64))


def _label(adata: AnnData, column: str, value: Any, name: str) -> Root:
    check_key(column, [str(c) for c in adata.obs.columns], "column in obs")
    labels = adata.obs[column]
    text = labels.astype(object).where(labels.notna(), None).map(lambda v: None if v is None else str(v))
    check_choice(str(value), sorted(set(text.dropna())), f"value of obs['{column}']")
    return Root(name, np.flatnonzero((text == str(value)).to_numpy()).astype(np.int64))


def _markers(adata: AnnData, value: Any, use_rep: str, layer: str | None, use_raw: bool | None) -> Root:
    names = [v.strip() for v in value.split(",")] if isinstance(value, str) else [str(v) for v in value]
    names = [n for n in names if n]
    if not names:
        raise InputError("no marker genes given; write root='markers:SOX2,NES'")
    values = read_values(adata, layer=layer, use_raw=use_raw, like=recorded(adata, use_rep).get("params"))
    columns = values.rows(np.asarray(names, dtype=object))
    if (columns < 0).any():
        missing = [n for n, c in zip(names, columns, strict=True) if c < 0]
        near = difflib.get_close_matches(missing[0], [str(g) for g in values.genes[: 3 * _NAMES]], n=3)
        raise InputError(f"marker genes not in the data: {choices(missing)}; near '{missing[0]}' are {choices(near)}")
    log = sp.csr_matrix(values.log[:, columns])
    mean, sd = column_stats(log)
    if not (sd > 0).any():
        raise InputError(f"the marker genes {choices(names)} do not vary between the cells, so they mark none")
    return Root("markers:" + ",".join(names), np.zeros(0, np.int64), zscore_block(log, mean, sd).mean(axis=1))


def _words_root(
    adata: AnnData, words: str, use_rep: str, genes: GeneEmbedding | None, layer: str | None, use_raw: bool | None
) -> Root:
    from ..core.concepts import cell_scores
    from . import _words

    known = _words.gene_vectors(adata, use_rep, genes)
    like = recorded(adata, use_rep).get("params") or _words.text_entry(adata, use_rep).get("params")
    z = _words.zscores(read_values(adata, layer=layer, use_raw=use_raw, like=like), known)
    query = _words.phrases_of([words], known)
    sets = query.sets(z.vectors)
    return Root(f"words:{words}", np.zeros(0, np.int64), cell_scores(z.deviations, z.baseline, sets)[:, 0])
