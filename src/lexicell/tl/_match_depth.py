"""Donors sequenced to different depths, brought to the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._errors import check_key
from .._slots import find_slot
from ..core.thinning import keep_shares, thin

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["match_depth"]


def match_depth(
    adata: AnnData,
    *,
    cell_type: str,
    donor: str,
    condition: str | None = None,
    layer: str | None = None,
    rng: int | np.random.Generator = 0,
    key_added: str = "depth_matched",
    copy: bool = False,
) -> AnnData | None:
    r"""Thin counts until all donors have the same mean depth in each cell type.

    Shallow cells look alike, because zeros and noise look alike: donors sequenced less deeply shift together, and any
    test between conditions of unequal depth finds differences. Each molecule of donor d in type s is kept with
    probability :math:`\min_{d'} \bar n_{sd'} / \bar n_{sd}`. That throws counts away; it is for studies in which depth
    and condition go together, as the warning of :func:`lexicell.tl.vulnerability` says.

    Parameters
    ----------
    adata
        Cells with counts.
    cell_type, donor
        Columns of ``obs``.
    condition
        Column of ``obs``, where donors give samples to several conditions: each sample is then matched.
    layer
        Layer with counts; None: ``X``.
    rng
        Seed or generator.
    key_added
        Layer to write.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``layers[key_added]``, CSR float32 counts. Pass ``layer=key_added`` to
    :func:`lexicell.emb.cells`, without ``library_size``.

    Raises
    ------
    MissingKeyError
        If a column or the layer does not exist.
    InputError
        If the values are not counts.

    Examples
    --------
    >>> import numpy as np
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.obs["donor"] = np.arange(adata.n_obs) % 4
    >>> lx.tl.match_depth(adata, cell_type="cell_type", donor="donor")
    >>> bool(adata.layers["depth_matched"].sum() < adata.X.sum())
    True
    """
    adata = adata.copy() if copy else adata
    names = [cell_type, donor, *([condition] if condition else [])]
    for column in names:
        check_key(column, [str(c) for c in adata.obs.columns], "column in obs")
    # Refuses what is not counts; the values themselves are then taken as they stand.
    find_slot(adata, layer=layer, use_raw=False, normalization="counts")
    counts = sp.csr_matrix(adata.X if layer is None else adata.layers[layer])
    known = adata.obs[names].notna().all(axis=1).to_numpy()
    types = np.where(known, pd.factorize(adata.obs[cell_type])[0], -1)
    owners = pd.MultiIndex.from_frame(adata.obs[names[1:]].astype(str))
    donors = np.where(known, pd.factorize(owners)[0], -1)
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    adata.layers[key_added] = thin(counts, keep_shares(totals, types, donors), rng)
    return adata if copy else None
