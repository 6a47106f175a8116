"""Counts split in two, so that clusters can be found in one half and tested in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .. import _keys
from .._errors import InputError, MissingKeyError, check_key, check_key_added
from .._expression import Expression, find_slot
from .._results import keep_results
from ..core.expression.thinning import split

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["check_split", "split_counts"]


def split_counts(
    adata: AnnData,
    *,
    share: float = 0.5,
    layer: str | None = None,
    rng: int | np.random.Generator = 0,
    key_added: str = "split",
    copy: bool = False,
) -> AnnData | None:
    r"""Split each count at random into two layers, one to cluster on and one to test on.

    Genes that differ between clusters found in the same counts differ partly because the clusters were chosen for it,
    and their p values are not valid. With a count x, :math:`x_a \sim \text{Binomial}(x, \epsilon)` and
    :math:`x_b = x - x_a`: where x is Poisson around its cell's and gene's own rate, both halves are Poisson and
    independent given the rates, so that noise that shaped the clusters in a is not in b.

    Two limits: variation of the rates themselves (a cell's size, stress, batch) is in both halves and is tested as
    real, and each half has fewer counts than the whole.

    Parameters
    ----------
    adata
        Cells with raw counts.
    share
        :math:`\epsilon`, the share of molecules that go to the first half, between 0 and 1.
    layer
        Layer with counts; None: ``X``.
    rng
        Seed or generator.
    key_added
        Prefix of the two layers.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``layers["split_a"]`` and ``layers["split_b"]``, CSR float32 counts that sum to
    the whole, and ``uns["lexicell"]["split"]`` (``first``, ``second``, ``share``, ``of``). Embed with
    ``layer="split_a"``, then pass ``test_layer="split_b"`` to :func:`lexicell.tl.cluster`.

    Raises
    ------
    MissingKeyError
        If the layer does not exist.
    InputError
        If the values are not counts or `share` is not between 0 and 1.

    References
    ----------
    Neufeld, Gao, Popp, Battle and Witten, Biostatistics 2024, doi:10.1093/biostatistics/kxac047.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.tl.split_counts(adata)
    >>> bool((adata.layers["split_a"] + adata.layers["split_b"] != adata.X).nnz)
    False
    """
    if not 0 < share < 1:
        raise InputError(f"share must be between 0 and 1, got {share}")
    check_key_added(key_added)
    adata = adata.copy() if copy else adata
    find_slot(adata, Expression(layer, normalization="counts"))
    counts = sp.csr_matrix(adata.X if layer is None else adata.layers[layer])
    first, second = split(counts, share, rng)
    names = f"{key_added}_a", f"{key_added}_b"
    adata.layers[names[0]], adata.layers[names[1]] = first, second
    about = {"first": names[0], "second": names[1], "share": float(share), "of": layer or "X"}
    keep_results(adata, key_added, about, replace=True)
    return adata if copy else None


def check_split(adata: AnnData, test_layer: str, slot: str) -> None:
    """Refuse a test on counts that the clusters were, or may have been, found in."""
    check_key(test_layer, [str(k) for k in adata.layers if k is not None], "layer")
    splits: list[dict[str, Any]] = [
        v for v in adata.uns.get(_keys.UNS, {}).values() if isinstance(v, dict) and "second" in v and "first" in v
    ]
    pairs = {str(v["first"]): str(v["second"]) for v in splits} | {str(v["second"]): str(v["first"]) for v in splits}
    if test_layer not in pairs:
        raise MissingKeyError(
            f"layers['{test_layer}'] is not one half of a split: make both halves with lexicell.tl.split_counts"
        )
    if slot != pairs[test_layer]:
        raise InputError(
            f"clusters would be found in '{slot or 'unknown counts'}' and tested in '{test_layer}', which holds the "
            f"same molecules: embed the cells with layer='{pairs[test_layer]}' first"
        )
