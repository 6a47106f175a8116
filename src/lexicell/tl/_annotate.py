"""Cell types suggested by their names or descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .. import __version__
from .._errors import InputError, check_column, choices
from .._expression import Expression, read_values
from .._keys import SUGGESTED, X_TEXT, column_name
from .._results import keep_results, recorded_params, stack_tables
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.word_selection import allowed_words
from ..core.transfer.align import smooth
from ..core.transfer.annotate import probabilities, settle, standardized, type_scores, types_found
from ..sources.annotation import load_lexicon
from . import _describe
from . import words as _words
from ._graph import kmeans
from ._transfer_input import own_components
from .words import Phrases, ZScores

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["annotate"]

UNSURE = "unsure"
NONE = "none of these"
_CELLS_PER_GROUP, _FEWEST_GROUPS, _MOST_GROUPS = 60, 8, 25
Floats = NDArray[np.float64]


def annotate(
    adata: AnnData,
    types: Mapping[str, str] | Mapping[str, ArrayLike] | Sequence[str] | None = None,
    *,
    tissue: str | Sequence[str] | None = None,
    groupby: str | None = None,
    use_rep: str = X_TEXT,
    min_confidence: float = 0.5,
    genes: GeneEmbedding | None = None,
    expression: Expression | None = None,
    key_added: str = SUGGESTED,
    copy: bool = False,
) -> AnnData | None:
    """Suggest a cell type for each cell and group. These are suggestions, not labels.

    Each candidate is represented by the genes that a search finds for its name or description, as in
    :func:`lexicell.tl.concepts`. First, candidates without cells are left out: cells are split into 8 to 25 groups
    (k-means in 20 principal components of expression), and a candidate stays if some group stands out for it more than
    for any other and more than random orders of the genes allow
    (:func:`lexicell.core.transfer.annotate.types_found`). Cells of groups that stand out for no candidate are "none of
    these". All others get probabilities of the types found, from the weighted mean z of their genes, standardized over
    the cells and smoothed over their 15 nearest neighbors in the same components.

    General types come before finer ones: of two types that were found, one above the other in the lexicon (T cell above
    naive helper T cell), a cell is called by the finer one only if that has more than half of the probability of both.

    Parameters
    ----------
    adata
        Cells with expression.
    types
        Candidates: names of cell types, or name -> description, in which gene symbols count as markers; or name ->
        vector of the embedder of the genes. None: all cell types of the lexicon that occur in `tissue`.
    tissue
        Where the cells come from, such as ``"brain"`` or ``["blood", "lung"]``, if `types` is None. None: guessed from
        the cell types that groups of cells stand out for, and noted in ``params``.
    groupby
        Column of ``obs``, such as clusters: a suggestion for each group as well.
    use_rep
        The embedding whose gene vectors, matrix and library sizes are used.
    min_confidence
        A cell or group is ``"unsure"`` if the probability of its best type is smaller.
    genes
        The gene vectors; None: those that `use_rep` was made from.
    expression
        Which matrix is read, and what its values are; None: that of `use_rep`.
    key_added
        Prefix of what is written.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obs[key_added]``
        Suggested type, categorical; or ``"unsure"`` or ``"none of these"``.
    ``obs[key_added + "_best"]``, ``"_runner_up"``, ``"_confidence"``
        The best type whatever its probability; the most likely type that is neither above nor below it; and the
        probability that the cell is of the best type or a finer one (calibrated: docs/transfer.md). Missing where there
        is none.
    ``obsm[key_added]``
        Probabilities, DataFrame of cells x types that were found, float32; rows sum to 1, the share of a finer type not
        being part of that of the general one. A "/" in a name is written as "∕" there.
    ``uns["lexicell"][key_added]``
        ``types`` (a row per candidate: description, ``found``, whether cells stand out for it, and the first ten of
        its ``genes``), ``table`` (with `groupby`, a row per group: ``cells``, ``suggested``, ``best``, ``runner_up``,
        ``confidence``, ``share`` of its cells with that best type, and ``genes`` of the type that go up most),
        ``scores`` (mean probability of each group and type found), ``params``.

    Raises
    ------
    InputError
        If there are fewer than two candidates, one is empty, or options exclude each other.
    MissingKeyError
        If a column or the gene vectors are not found.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> kinds = ["T cell", "B cell", "natural killer cell", "monocyte", "dendritic cell", "astrocyte"]
    >>> lx.tl.annotate(adata, kinds, groupby="cell_type")
    >>> table = adata.uns["lexicell"]["text_suggested"]["table"].set_index("group")
    >>> table.loc["CD19+ B", "suggested"]
    'B cell'
    """
    if not 0 <= min_confidence <= 1:
        raise InputError(f"min_confidence must be between 0 and 1; got {min_confidence}")
    adata = adata.copy() if copy else adata
    if groupby is not None:
        check_column(adata.obs, groupby)
    if types is not None and tissue is not None:
        raise InputError("tissue= chooses among the cell types of the lexicon; leave it out where types= names others")
    known = _words.gene_vectors(adata, use_rep, genes)
    named = None if types is None else _named(types, known)
    choice = (expression or Expression()).or_recorded(recorded_params(adata, use_rep))
    values = read_values(adata, choice)
    z = _words.zscores(values, known)
    cells = own_components(values, 20, 1000)[1]
    found, result, params = _from_words(z, cells, known, named, tissue)
    _write(adata, found, key_added, min_confidence)
    if groupby is not None:
        result["table"], result["scores"] = _by_group(adata.obs[groupby], found, min_confidence, z)
    result["params"] = {
        **params,
        "groupby": groupby or "",
        "use_rep": use_rep,
        "min_confidence": float(min_confidence),
        "expression": values.params["slot"],
        "key_added": key_added,
        "lexicell": __version__,
    }
    keep_results(adata, key_added, result, replace=True)
    return adata if copy else None


@dataclass(frozen=True, eq=False)
class _Found:
    """Types that were found, and how likely each cell is of them.

    Attributes
    ----------
    names
        One per type.
    shares
        Cells x types; rows sum to 1.
    parents
        The next more general type of each that was found too, -1 for none.
    is_none
        Cells that are of none of these types.
    sets
        Weights of the genes of each type.
    """

    names: list[str]
    shares: Floats
    parents: NDArray[np.int64]
    is_none: NDArray[np.bool_]
    sets: sp.csr_matrix


def _named(
    types: Mapping[str, str] | Mapping[str, ArrayLike] | Sequence[str], genes: GeneEmbedding
) -> tuple[Phrases, list[str]]:
    """Candidates that the user names, and their descriptions."""
    names = [types] if isinstance(types, str) else [str(t) for t in types]
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(f"suggestions need two or more distinct types to choose from; got {choices(names)}")
    if not isinstance(types, Mapping):
        return _words.phrases_of(names, genes), names
    if not all(isinstance(said, str) for said in types.values()):
        return _words.phrases_of({str(k): np.asarray(v) for k, v in types.items()}, genes), names
    descriptions = [str(said).strip() for said in types.values()]
    for name, description in zip(names, descriptions, strict=True):
        if not description:
            raise InputError(f"the description of '{name}' is empty; say what such cells do")
    if len(set(descriptions)) != len(descriptions):
        raise InputError("two descriptions say the same; candidates must differ")
    phrases = _words.phrases_of(descriptions, genes)
    return replace(phrases, names=np.asarray(names, dtype=object)), descriptions


def _from_words(
    z: ZScores,
    cells: Floats,
    genes: GeneEmbedding,
    named: tuple[Phrases, list[str]] | None,
    tissue: str | Sequence[str] | None,
) -> tuple[_Found, dict[str, Any], dict[str, Any]]:
    """Types found among the candidates; the table of candidates; what was asked."""
    # Enough groups for rare types to have their own, few enough for means of a group to be quiet.
    n_groups = int(np.clip(len(cells) // _CELLS_PER_GROUP, _FEWEST_GROUPS, _MOST_GROUPS))
    groups = kmeans(cells, min(n_groups, len(cells)), 0)
    changes = _describe.against_rest(z, groups, int(groups.max()) + 1)
    tissues: list[str] = []
    if named is not None:
        phrases, descriptions = named
    else:
        shipped = _words.shipped_lexicon(genes)
        if shipped is None:
            raise InputError(_words.NO_LEXICON.replace("queries=", "types="))
        kinds = shipped.part(shipped.cell_types)
        if tissue is None:
            # Without a tissue, hundreds of types compete, and relatives of the right one win by chance.
            tissues = _describe.tissues_of(z, changes, kinds)
        else:
            tissues = [tissue] if isinstance(tissue, str) else list(tissue)
        phrases = kinds.part(allowed_words(kinds.tissues, tissues))
        descriptions = [str(name) for name in phrases.names]
    sets = phrases.sets(z.ids)
    leader = types_found(changes, sets, z.mean)
    above = _more_general([str(n) for n in phrases.names])
    present = np.unique(leader[leader >= 0])
    # A cell's own counts are too few to score a type; its neighbors have the same type and their own noise.
    shares = probabilities(standardized(smooth(type_scores(z.deviations, z.baseline, sets[present]), cells)))
    parents = np.asarray([_nearest(number, present, above) for number in present], dtype=np.int64)
    names = [str(n) for n in phrases.names[present]]
    # A group that no candidate leads is of none of them, whatever its cells score.
    found = _Found(names, shares, parents, (leader == -1)[groups], sets[present])
    first = [z.ids[row.indices[np.argsort(-row.data, kind="stable")[:10]]] for row in sets]
    table = pd.DataFrame(
        {
            "type": phrases.names,
            "description": descriptions,
            "found": np.isin(np.arange(len(descriptions)), present),
            "genes": [", ".join(ids.astype(str)) for ids in first],
        }
    )
    params = {"source": phrases.source, "tissue": ", ".join(tissues), "candidates": len(descriptions)}
    return found, {"types": stack_tables([table])}, params


def _more_general(names: Sequence[str]) -> NDArray[np.bool_]:
    """Whether the lexicon has candidate j above candidate i, ``(n, n)``."""
    lexicon = load_lexicon()
    parents = {entry.name: entry.parents for entry in lexicon.entries}
    own = []
    for name in names:
        fits = [entry.name for entry, share in lexicon.find(name) if share == 1]
        own.append(fits[0] if fits else name)

    def ancestors(name: str) -> set[str]:
        direct = parents.get(name, ())
        return {*direct}.union(*(ancestors(parent) for parent in direct))

    return np.asarray([[other in ancestors(name) for other in own] for name in own])


def _nearest(number: int, present: NDArray[np.int64], above: NDArray[np.bool_]) -> int:
    """Place in `present` of the least general type above this one; -1 for none."""
    general = [place for place, other in enumerate(present) if above[number, other]]
    return max(general, key=lambda place: int(above[present[place]].sum()), default=-1)


def _ranked(found: _Found, shares: Floats, is_none: NDArray[np.bool_], min_confidence: float) -> pd.DataFrame:
    """One row per row of probabilities: suggested, best and second type, and confidence."""
    if not found.names:
        nothing = np.full(len(shares), None, dtype=object)
        columns = {"suggested": NONE, "best": nothing, "runner_up": nothing, "confidence": np.nan}
        return pd.DataFrame(columns, index=range(len(shares)))
    best, second, confidence = settle(shares, found.parents)
    kinds = np.asarray([*found.names, None], dtype=object)
    suggested = np.where(confidence >= min_confidence, kinds[best], UNSURE)
    suggested[is_none] = NONE
    return pd.DataFrame(
        {"suggested": suggested, "best": kinds[best], "runner_up": kinds[second], "confidence": confidence}
    )


def _write(adata: AnnData, found: _Found, key: str, min_confidence: float) -> None:
    cells = _ranked(found, found.shares, found.is_none, min_confidence)
    answers = [*found.names, *(a for a in (UNSURE, NONE) if a not in found.names)]
    adata.obs[key] = pd.Categorical(cells["suggested"], categories=answers)
    for column in ("best", "runner_up"):
        adata.obs[f"{key}_{column}"] = pd.Categorical(cells[column], categories=found.names)
    adata.obs[f"{key}_confidence"] = cells["confidence"].to_numpy(dtype=np.float64)
    columns = [column_name(n) for n in found.names]
    adata.obsm[key] = pd.DataFrame(found.shares.astype(np.float32), index=adata.obs_names, columns=columns)


def _by_group(labels: pd.Series, found: _Found, min_confidence: float, z: ZScores) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Suggestions for groups of cells, and their mean probabilities."""
    known = labels.notna().to_numpy()
    groups = sorted(set(labels[known].map(str)))
    codes = pd.Index(groups).get_indexer(pd.Index(labels.astype(object).map(str)))
    codes[~known] = -1
    means = np.stack([found.shares[codes == k].mean(axis=0) for k in range(len(groups))])
    is_none = np.asarray([found.is_none[codes == k].mean() > 0.5 for k in range(len(groups))])
    table = _ranked(found, means, is_none, min_confidence)
    table.insert(0, "group", groups)
    table.insert(1, "cells", np.bincount(codes[known], minlength=len(groups)))
    # Cells vote one by one for `share`, whereas the suggestion comes from the group's mean probabilities.
    each = _ranked(found, found.shares, found.is_none, min_confidence)["best"].to_numpy()
    table["share"] = [float(np.mean(each[codes == k] == best)) for k, best in enumerate(table["best"])]
    table[["best", "runner_up"]] = table[["best", "runner_up"]].fillna("")
    part = replace(z, deviations=sp.csr_matrix(z.deviations[np.flatnonzero(known)]))
    changes = _describe.against_rest(part, codes[known], len(groups))
    table["genes"] = [
        _describe.leading(found.sets[found.names.index(best)], changes[k], z.ids) if best else ""
        for k, best in enumerate(table["best"])
    ]
    columns = [column_name(n) for n in found.names]
    return stack_tables([table]), pd.DataFrame(means, index=pd.Index(groups, dtype=object), columns=columns)
