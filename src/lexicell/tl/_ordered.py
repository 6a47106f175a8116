"""What the tools that look along a trajectory share: finding its result, and choosing its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import check_choice, check_column
from .._results import find_results

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Ordered", "find_ordered"]


@dataclass(frozen=True, eq=False)
class Ordered:
    """A trajectory as it is stored in an AnnData.

    Attributes
    ----------
    use_rep
        The representation it was computed from, and its key in ``uns["lexicell"]``.
    prefix
        Prefix of its keys.
    result
        What :func:`lexicell.tl.trajectory` wrote into ``uns``.
    pseudotime
        Shape ``(n_cells,)``, NaN if missing.
    component, branch
        Connected part and branch of each cell, as text; empty if it has none.
    """

    use_rep: str
    prefix: str
    result: dict[str, Any]
    pseudotime: NDArray[np.float64]
    component: NDArray[Any]
    branch: NDArray[Any]

    def ends(self, component: str) -> pd.DataFrame:
        """Terminal states of a connected part, by branch."""
        check_choice(component, [str(c) for c in self.result["components"].index], "component")
        table: pd.DataFrame = self.result["table"]
        mine = table[table["component"].astype(str) == component]
        return mine.set_axis(mine.index.astype(str))

    def rows(self, component: str, branch: str | None = None) -> NDArray[np.int64]:
        """Cells of a connected part that have a pseudotime; with a branch: those on the way to it."""
        ends = self.ends(component)
        chosen = (self.component == component) & np.isfinite(self.pseudotime)
        if branch is not None:
            check_choice(branch, ends.index.tolist(), f"terminal branch of component {component}")
            number = branch.rsplit(" ", 1)[-1]
            # "branch 1+2" and the trunk lead to "branch 1", too.
            leads = [b.endswith("trunk") or number in b.rsplit(" ", 1)[-1].split("+") for b in self.branch]
            chosen &= np.array(leads)
        return np.flatnonzero(chosen).astype(np.int64)


def find_ordered(adata: AnnData, use_rep: str) -> Ordered:
    """Open the trajectory on a representation, or say which there are."""
    result = find_results(adata, use_rep, "trajectory", "lexicell.tl.trajectory(adata, root=...)")["trajectory"]
    prefix = _keys.prefix(use_rep)
    columns = []
    for name in ("pseudotime", "component", "branch"):
        check_column(adata.obs, f"{prefix}_{name}")
        columns.append(adata.obs[f"{prefix}_{name}"])
    time, component, branch = columns
    return Ordered(use_rep, prefix, result, time.to_numpy(dtype=np.float64), _text(component), _text(branch))


def _text(column: pd.Series[Any]) -> NDArray[Any]:
    """The column as strings, empty if missing."""
    return np.asarray(column.astype(object).where(column.notna(), "").astype(str), dtype=object)
