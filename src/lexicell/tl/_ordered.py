"""What the tools that look along a trajectory share: finding its result, and choosing its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, check_choice, check_key
from .._results import find_results

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Ordered", "find_ordered"]


@dataclass(frozen=True, eq=False)
class Ordered:
    """One trajectory as it stands in an AnnData.

    Attributes
    ----------
    key
        Key in ``uns["lexicell"]``.
    result
        What :func:`lexicell.tl.trajectory` wrote there.
    prefix
        Prefix of its keys.
    use_rep
        The representation it was computed from.
    pseudotime
        Shape ``(n_cells,)``, NaN where missing.
    component, branch
        Name of the connected part and of the branch of each cell; None where there is none.
    """

    key: str
    result: dict[str, Any]
    prefix: str
    use_rep: str
    pseudotime: NDArray[np.float64]
    component: NDArray[Any]
    branch: NDArray[Any]

    def rows(self, component: str, branch: str | None) -> NDArray[np.int64]:
        """Cells of a connected part that have a pseudotime; with a branch: all that lie on the way to it."""
        check_choice(component, [str(c) for c in self.result["components"].index], "component")
        here = (self.component == component) & np.isfinite(self.pseudotime)
        if branch is None:
            return np.flatnonzero(here).astype(np.int64)
        ends = self.result["table"].query("component == @component").index.astype(str).tolist()
        check_choice(branch, ends, f"terminal branch of component {component}")
        mine = branch.rsplit(" ", 1)[-1]
        lead = [b is not None and (b.endswith("trunk") or mine in b.rsplit(" ", 1)[-1].split("+")) for b in self.branch]
        return np.flatnonzero(here & np.asarray(lead)).astype(np.int64)


def find_ordered(adata: AnnData, key: str) -> Ordered:
    """Open the trajectory that was written under `key`, or say which there are."""
    result = find_results(adata, key, "trajectory", "lexicell.tl.trajectory(adata, root=...)")["trajectory"]
    params = result["params"]
    prefix = str(params["prefix"])
    column = "dpt_pseudotime" if params["scanpy_keys"] else f"{prefix}_pseudotime"
    check_key(column, [str(c) for c in adata.obs.columns], "column in obs")
    if len(adata.obs[column]) == 0:
        raise InputError("there are no cells")
    time = adata.obs[column].to_numpy(dtype=np.float64)
    component, branch = (_names(adata.obs[f"{prefix}_{name}"]) for name in ("component", "branch"))
    return Ordered(key, result, prefix, str(params["use_rep"]), time, component, branch)


def _names(column: pd.Series[Any]) -> NDArray[Any]:
    plain = column.astype(object)
    return np.array([None if missing else str(v) for v, missing in zip(plain, plain.isna(), strict=True)], dtype=object)
