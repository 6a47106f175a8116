"""Which genes move the embedding between two stretches of a trajectory: an exact sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_choice, check_key
from .._results import keep_results, recorded
from .._values import check_rep, read_values
from ..core.attribution import attribute
from ..core.embedding import GeneEmbedding
from ..core.expression import zscore_block
from ..core.space import GeneSpace
from . import _words
from ._ordered import Ordered, find_ordered

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["movement"]

_TOLERANCE = 1e-3
_ROWS = 4096


def movement(
    adata: AnnData,
    *,
    start: str | tuple[float, float],
    end: str | tuple[float, float],
    key: str = _keys.X_FUSED,
    component: str = "0",
    genes: GeneEmbedding | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Split the way the embedding moves between two stretches of a trajectory into genes, without a rest.

    A cell of ``whitened`` text is :math:`c = \sum_g z_g w_g`, and of the fusion
    :math:`c = \sum_g z_g v_g + \text{const}` with :math:`v_g = s_1 L_g + s_2 w_g L_\text{text}` (the loadings of
    :func:`lexicell.emb.fuse`). So the movement :math:`\delta` of the mean splits into
    :math:`a_g = \Delta z_g\, v_g \cdot \delta / |\delta|^2`, which sum to 1.

    Parameters
    ----------
    adata
        Cells with a trajectory on a ``whitened`` text embedding, its fusion, or :func:`lexicell.emb.expression_pca`.
    start, end
        Stretches: an interval of pseudotime such as ``(0, 0.2)``, a branch (``"branch 1"``, ``"trunk"``), or
        ``"column=value"``.
    key
        Key under which :func:`lexicell.tl.trajectory` wrote.
    component
        Connected part of the graph.
    genes
        Gene vectors; None: those behind the representation.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``uns["lexicell"][key]["movement"]``: ``table``, one row a gene by falling ``part``:
    ``gene``, ``part`` (parts sum to 1), ``change`` (of mean z); ``params``, with ``rest``, the largest difference
    between the sum over genes and the movement of ``obsm``, as a share of its length.

    Raises
    ------
    MissingKeyError
        If there is no such trajectory, or no record of how the representation was made.
    InputError
        If a stretch holds fewer than two cells, the representation is not linear in z, or the data are no longer those
        it was computed from.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.trajectory(adata, root="cell_type=CD34+", use_rep="X_expression", groupby="cell_type", n_bootstraps=0)
    >>> lx.tl.movement(adata, start=(0, 0.2), end=(0.8, 1), key="X_expression")
    >>> table = adata.uns["lexicell"]["X_expression"]["movement"]["table"]
    >>> round(float(table["part"].sum()), 6)
    1.0
    """
    adata = adata.copy() if copy else adata
    ordered = find_ordered(adata, key)
    points = check_rep(adata, ordered.use_rep).astype(np.float64)
    stretches = [_stretch(adata, ordered, component, s, w) for s, w in ((start, "start"), (end, "end"))]
    names, change, vectors = _linear(adata, ordered.use_rep, stretches, genes)
    found = attribute(change, vectors)
    whole = points[stretches[1]].mean(axis=0) - points[stretches[0]].mean(axis=0)
    rest = float(np.abs(found.difference - whole).max() / np.linalg.norm(whole))
    if rest > _TOLERANCE:
        raise InputError(
            f"the genes add up to another movement than obsm['{ordered.use_rep}'] shows (off by {rest:.1%}): "
            "the counts or the cells have changed since it was computed; compute it and the trajectory again"
        )
    table = pd.DataFrame({"gene": names.astype(str), "part": found.parts, "change": change})
    result = {
        "table": table.sort_values("part", ascending=False, kind="stable").reset_index(drop=True),
        "params": {
            "start": str(start), "end": str(end), "component": component, "rest": rest,
            "n_start": len(stretches[0]), "n_end": len(stretches[1]), "length": float(np.linalg.norm(whole)),
        },
    }  # fmt: skip
    keep_results(adata, key, {"movement": result})
    return adata if copy else None


def _stretch(adata: AnnData, ordered: Ordered, component: str, spec: Any, which: str) -> NDArray[np.int64]:
    inside = np.zeros(adata.n_obs, dtype=bool)
    inside[ordered.rows(component, None)] = True
    if isinstance(spec, str) and "=" in spec:
        column, _, value = spec.partition("=")
        check_key(column.strip(), [str(c) for c in adata.obs.columns], "column in obs")
        labels = adata.obs[column.strip()].astype(str).to_numpy()
        check_choice(value.strip(), sorted(set(labels)), f"value of obs['{column.strip()}']")
        rows = np.flatnonzero(inside & (labels == value.strip()))
    elif isinstance(spec, str):
        check_choice(spec, sorted({str(b) for b in ordered.branch[inside]}), f"{which}: branch")
        rows = np.flatnonzero(inside & (ordered.branch == spec))
    elif isinstance(spec, (tuple, list)) and len(spec) == 2:
        low, high = float(spec[0]), float(spec[1])
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(inside & (ordered.pseudotime >= low) & (ordered.pseudotime <= high))
    else:
        raise InputError(f"{which}={spec!r} is no interval (0, 0.2), branch name or 'column=value'")
    if len(rows) < 2:
        raise InputError(f"{which}={spec!r} holds {len(rows)} cells of component {component}; at least two are needed")
    return rows.astype(np.int64)


def _linear(
    adata: AnnData, use_rep: str, stretches: list[NDArray[np.int64]], genes: GeneEmbedding | None
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Genes, the change of their mean z, and the vector each z is multiplied with."""
    entry = recorded(adata, use_rep)
    if "loadings" not in entry:
        return _text_part(adata, use_rep, stretches, genes)
    names = np.asarray(entry["hvg"], dtype=object)
    change = _change(adata, entry, names, stretches)
    loadings = np.asarray(entry["loadings"], dtype=np.float64)
    if "based_on" not in entry:
        return names, change, loadings
    scale = np.asarray(entry["scale"], dtype=np.float64)
    text_names, text_change, text_vectors = _text_part(adata, str(entry["based_on"]), stretches, genes)
    combined = scale[1] * text_vectors @ loadings[len(names) :]
    # Both blocks standardise l over all cells, so a gene that stands in both has one z and the sum of two vectors.
    place = pd.Index(text_names).get_indexer(pd.Index(names))
    both = place >= 0
    combined[place[both]] += scale[0] * loadings[: len(names)][both]
    return (
        np.concatenate([text_names, names[~both]]),
        np.concatenate([text_change, change[~both]]),
        np.concatenate([combined, scale[0] * loadings[: len(names)][~both]]),
    )


def _text_part(
    adata: AnnData, use_rep: str, stretches: list[NDArray[np.int64]], genes: GeneEmbedding | None
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    entry = recorded(adata, use_rep)
    preset = str(entry.get("params", {}).get("preset", "unknown"))
    if preset != "whitened":
        raise InputError(
            f"obsm['{use_rep}'] was made with preset '{preset}', whose movement is not a fixed sum over genes; "
            'use preset="whitened", its fusion or expression_pca'
        )
    known = _words.gene_vectors(adata, use_rep, genes)
    names = np.asarray(entry["genes"], dtype=object)
    vectors = GeneSpace.from_dict(entry["space"]).transform(known.subset(names).vectors)
    return names, _change(adata, entry, names, stretches), vectors.astype(np.float64)


def _change(
    adata: AnnData, entry: dict[str, Any], names: NDArray[Any], stretches: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    values = read_values(adata, like=entry.get("params"))
    log = sp.csr_matrix(values.log[:, values.rows(names)])
    mean, sd = (np.asarray(entry[k], dtype=np.float64) for k in ("mean", "sd"))
    means = []
    for rows in stretches:
        blocks = [rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)]
        means.append(sum(zscore_block(log[b], mean, sd).sum(axis=0) for b in blocks) / len(rows))
    return np.asarray(means[1] - means[0], dtype=np.float64)
