"""What a vulnerability result says, in sentences for a reader who knows the disease and not the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._keys import OTHER_GENES
from ._html import probability

__all__ = ["FIRST", "findings", "leading_concepts", "leading_genes"]

FIRST = 3
"""Sentences of a comparison that open the page; the others stand in its section."""

_LEVEL = 0.05


def findings(result: dict[str, Any], name: str) -> list[str]:
    """Sentences on one comparison: what shifts, why, what is lost, which shifts further, and what controls find."""
    rows = _of(result["table"], name)
    tested = rows[rows["p"].notna()]
    said = [_shifted(result, tested, name)]
    for _, row in tested[tested["p_max_t"] <= _LEVEL].sort_values("d2", ascending=False).head(5).iterrows():
        said.append(_why(result, row, name))
    said += _lost(_of(result["depletion"], name))
    said += _further(_of(result["pairwise"], name))
    untested = rows[rows["p"].isna()]
    if len(untested):
        said.append(f"Not tested (too few donors or cells): {_list(untested['cell_type'])}.")
    if "controls" in result:
        said += _controls(result, name)
    return said


def _shifted(result: dict[str, Any], tested: pd.DataFrame, name: str) -> str:
    """Which types shift; where none can reach p .05 with these donors, that alone."""
    if not len(tested):
        return "No cell type could be tested."
    what = "over the stages" if name == "trend" else f"in “{name}” compared with “{result['params']['reference']}”"
    smallest = float(tested["p_floor"].min())
    shifted = tested[tested["p_max_t"] <= _LEVEL].sort_values("d2", ascending=False)
    if len(shifted):
        names = _list([f"{r['cell_type']} (family-wise p {probability(r['p_max_t'])})" for _, r in shifted.iterrows()])
        verb = "shifts" if len(shifted) == 1 else "shift"
        return (
            f"{len(shifted)} of {len(tested)} cell types {verb} {what} beyond the differences between donors, largest "
            f"shift first: {names}."
        )
    if smallest > _LEVEL:
        return (
            f"This design cannot reach p < .05: with these donors the smallest possible p is {probability(smallest)}. "
            f"No conclusion about a shift {what} can be drawn from p alone; effect sizes are below."
        )
    best = tested.sort_values("p_max_t").iloc[0]
    return (
        f"None of {len(tested)} cell types shifts {what} beyond the differences between donors. The strongest evidence "
        f"is for {best['cell_type']} (p {probability(best['p'])}, family-wise {probability(best['p_max_t'])}). The "
        f"smallest possible p with these donors is {probability(smallest)}."
    )


def _why(result: dict[str, Any], row: pd.Series, name: str) -> str:
    """Genes and concepts of one shift, and whether it depends on one donor."""
    kind, parts = str(row["cell_type"]), []
    if genes := leading_genes(result, kind, name, 6):
        parts.append(f"led by {genes}{_share(result, kind, name, 6)}")
    if concepts := leading_concepts(result, kind, name, 3):
        parts.append(f"in words: {concepts}")
    elif "concepts" in result:
        parts.append("no concept stands out (all q > .1)")
    why = "; ".join(parts) or "genes and concepts were not computed"
    if row["d2_min"] <= 0:
        return f"{kind}: {why}. The shift depends on donor {row['influential_donor']}: without it, it disappears."
    return f"{kind}: {why}. It does not depend on any single donor."


def leading_genes(result: dict[str, Any], kind: str, name: str, n: int) -> str:
    """Genes with the largest parts, with arrows up and down; empty where there are none."""
    if "genes" not in result:
        return ""
    rows = _of(result["genes"], name)
    rows = rows[(rows["cell_type"] == kind) & (rows["gene"] != OTHER_GENES)].head(n)
    return ", ".join(f"{r['gene']} {_arrow(r['change'])}" for _, r in rows.iterrows())


def _share(result: dict[str, Any], kind: str, name: str, n: int) -> str:
    """What the first genes make together, where parts add up."""
    rows = _of(result["genes"], name)
    parts = rows[(rows["cell_type"] == kind) & (rows["gene"] != OTHER_GENES)]["part"].head(n)
    return f", together {100 * parts.sum():.0f} % of the shift" if parts.notna().all() else ""


def leading_concepts(result: dict[str, Any], kind: str, name: str, n: int) -> str:
    """Concepts with q of at most .1, the smallest p first; empty where there are none."""
    if "concepts" not in result:
        return ""
    rows = _of(result["concepts"], name)
    rows = rows[(rows["cell_type"] == kind) & (rows["q"] <= 0.1)].nsmallest(n, "p")
    return ", ".join(f"{r['concept']} {_arrow(r['change'])} (q {probability(r['q'])})" for _, r in rows.iterrows())


def _lost(rows: pd.DataFrame) -> list[str]:
    known = rows[rows["p"].notna()]
    if not len(known):
        return [f"Loss of cells: {rows['status'].iloc[0]}."] if len(rows) else []
    lost = known[(known["q"] <= _LEVEL) & (known["log2_ratio"] < 0)].sort_values("log2_ratio")
    if not len(lost):
        return ["No cell type loses cells beyond chance, relative to the most stable cell types."]
    names = [
        f"{r['cell_type']} (down to {100 * 2 ** r['log2_ratio']:.0f} %, q {probability(r['q'])})"
        for _, r in lost.iterrows()
    ]
    return [f"Cells are lost, relative to the most stable cell types, in {_list(names)}."]


def _further(rows: pd.DataFrame) -> list[str]:
    """Which type shifts further than which, one sentence per type."""
    known = rows[rows["q"] <= _LEVEL]
    if not len(known):
        return ["No cell type is shown to shift further than another (all pairs compared, q > .05)."]
    first = np.where(known["difference"] > 0, known["cell_type"], known["other"])
    second = np.where(known["difference"] > 0, known["other"], known["cell_type"])
    beaten = pd.Series(second).groupby(first).agg(list)
    return [f"{kind} shifts further than {_list(others)} (pairs compared, q ≤ .05)." for kind, others in beaten.items()]


def _controls(result: dict[str, Any], name: str) -> list[str]:
    rows = _of(result["controls"], name)
    hits = rows.assign(hit=rows["p_max_t"] <= _LEVEL).groupby(["space", "copy"])["hit"].sum().groupby("space").mean()
    if not {"text", "shuffled texts"} <= set(hits.index):
        return []
    return [
        f"Cell types found in the same test: {hits['text']:.0f} with text, {hits['shuffled texts']:.1f} with shuffled "
        f"texts, {hits['random vectors']:.1f} with random vectors (means over copies), {hits['genes']:.0f} with all "
        "genes. What the controls find as well comes from expression, not from the text."
    ]


def _of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["comparison"].astype(str) == name]


def _arrow(change: float) -> str:
    return "↑" if change > 0 else "↓"


def _list(names: Any) -> str:
    words = [str(n) for n in names]
    shown = words[:8]
    more = f" and {len(words) - 8} others" if len(words) > 8 else ""
    return ", ".join(shown) + more if more or len(shown) < 2 else ", ".join(shown[:-1]) + " and " + shown[-1]
