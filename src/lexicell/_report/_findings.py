"""What a vulnerability result says, in sentences for a reader who knows the disease and not the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["findings", "leading_concepts", "leading_genes", "probability"]

_LEVEL = 0.05
_REST = "(all other genes)"


def findings(result: dict[str, Any], name: str) -> list[str]:
    """Sentences on one comparison: what is moved, why, what is lost, who is moved further, and what controls find."""
    rows = _of(result["table"], name)
    tested = rows[rows["p"].notna()]
    said = [_moved(result, tested, name)]
    for _, row in tested[tested["p_max_t"] <= _LEVEL].sort_values("d2", ascending=False).head(5).iterrows():
        said.append(_why(result, row, name))
    said += _lost(_of(result["depletion"], name))
    said += _further(_of(result["pairwise"], name))
    if len(untested := rows[rows["p"].isna()]):
        said.append(f"Not tested: {_list(untested['cell_type'])}, for want of donors or cells.")
    if "controls" in result:
        said += _controls(result, name)
    return said


def _moved(result: dict[str, Any], tested: pd.DataFrame, name: str) -> str:
    moved = tested[tested["p_max_t"] <= _LEVEL].sort_values("d2", ascending=False)
    what = "by the stages" if name == "trend" else f"in “{name}” against “{result['params']['reference']}”"
    floor = float(tested["p_floor"].min()) if len(tested) else np.nan
    if not len(moved):
        best = tested.sort_values("p_max_t").head(1)
        nearest = "".join(
            f" Nearest is {r['cell_type']} (p {probability(r['p'])}, family-wise {probability(r['p_max_t'])})."
            for _, r in best.iterrows()
        )
        return (
            f"None of {len(tested)} cell types is moved {what} beyond what donors differ by anyway.{nearest} The "
            f"smallest p that these donors can show is {probability(floor)}."
        )
    names = _list([f"{r['cell_type']} (family-wise p {probability(r['p_max_t'])})" for _, r in moved.iterrows()])
    verb = "is" if len(moved) == 1 else "are"
    return (
        f"{len(moved)} of {len(tested)} cell types {verb} moved {what} beyond what donors differ by anyway, the "
        f"furthest first: {names}."
    )


def _why(result: dict[str, Any], row: pd.Series, name: str) -> str:
    kind, parts = str(row["cell_type"]), []
    if genes := leading_genes(result, kind, name, 6):
        parts.append(f"led by {genes}{_share(result, kind, name, 6)}")
    if concepts := leading_concepts(result, kind, name, 3):
        parts.append(f"in words: {concepts}")
    elif "concepts" in result:
        parts.append("no concept stands out (all q > .1)")
    hangs = (
        f" It hangs on donor {row['influential_donor']}: without it nothing is left." if row["d2_min"] <= 0 else
        " No single donor carries it."
    )  # fmt: skip
    why = "; ".join(parts)
    return f"{kind}: {why or 'genes and words were not computed'}.{hangs}"


def leading_genes(result: dict[str, Any], kind: str, name: str, n: int) -> str:
    """Genes with the largest parts, with arrows up and down; empty where there are none."""
    if "genes" not in result:
        return ""
    rows = _of(result["genes"], name)
    rows = rows[(rows["cell_type"] == kind) & (rows["gene"] != _REST)].head(n)
    return ", ".join(f"{r['gene']} {_arrow(r['change'])}" for _, r in rows.iterrows())


def _share(result: dict[str, Any], kind: str, name: str, n: int) -> str:
    """What the first genes make together, where parts add up."""
    rows = _of(result["genes"], name)
    parts = rows[(rows["cell_type"] == kind) & (rows["gene"] != _REST)]["part"].head(n)
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
        return ["No cell type loses cells beyond chance, relative to the types that stay as they are."]
    names = [
        f"{r['cell_type']} (down to {100 * 2 ** r['log2_ratio']:.0f} %, q {probability(r['q'])})"
        for _, r in lost.iterrows()
    ]
    return [f"Cells are lost, relative to the types that stay as they are, in {_list(names)}."]


def _further(rows: pd.DataFrame) -> list[str]:
    """Who is moved further than whom, one sentence a type."""
    known = rows[rows["q"] <= _LEVEL]
    if not len(known):
        return ["No cell type is shown to be moved further than another (all pairs compared, q > .05)."]
    first = np.where(known["difference"] > 0, known["cell_type"], known["other"])
    second = np.where(known["difference"] > 0, known["other"], known["cell_type"])
    beaten = pd.Series(second).groupby(first).agg(list)
    return [
        f"{kind} is moved further than {_list(others)} (pairs compared, q ≤ .05)." for kind, others in beaten.items()
    ]


def _controls(result: dict[str, Any], name: str) -> list[str]:
    rows = _of(result["controls"], name)
    hits = rows.assign(hit=rows["p_max_t"] <= _LEVEL).groupby(["space", "copy"])["hit"].sum().groupby("space").mean()
    if not {"text", "shuffled texts"} <= set(hits.index):
        return []
    return [
        f"Controls: cell types that the same test finds: {hits['text']:.0f} with text, {hits['shuffled texts']:.1f} on "
        f"average with texts shuffled between genes, {hits['random vectors']:.1f} with random vectors, "
        f"{hits['genes']:.0f} with plain genes. What those find as well is owed to the expression, not to the texts."
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


def probability(value: Any) -> str:
    """Two digits, a dash where there is none."""
    value = float(value)
    if not np.isfinite(value):
        return "–"
    return f"{value:.2g}".replace("0.", ".") if value < 1 else "1"
