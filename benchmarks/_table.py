"""From measurements to the table of ratios, the figure and the page; everything comes from the CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "performance.md"
D = 1536


class Bar(NamedTuple):
    """One line of the table: what is compared, the least that must hold, what is aimed at, and how it is read."""

    what: str
    floor: float
    goal: float
    unit: str
    at_least: bool
    value: Callable[[pd.Series], float]


def _cells(what: str, top_n: str, unit: str = "CPU us a cell", dim: int = D) -> tuple[str, int, str, str, str]:
    return ("cells", dim, top_n, what, unit)


def _over(peer: str, top_n: str, ours: str = "emb.cells") -> Callable[[pd.Series], float]:
    return lambda v: v[_cells(peer, top_n)] / v[_cells(ours, top_n)]


def _cold(what: str) -> Callable[[pd.Series], float]:
    return lambda v: v[("cold", 0, "", what, "CPU s")]


BARS = [
    Bar("GenePT's dense product, all genes", 5, 8, "x", True, _over("GenePT dense", "all", "emb.cells, genept-w")),
    Bar("scanpy + scipy, all genes", 7, 11, "x", True, _over("scanpy + scipy", "all")),
    Bar("scanpy + scipy, N = 1000", 8, 11, "x", True, _over("scanpy + scipy", "1000")),
    Bar("scanpy + scipy, N = 200", 4, 7, "x", True, _over("scanpy + scipy", "200")),
    Bar("torch.sparse.mm, all genes, product only", 8, 13, "x", True, _over("torch.sparse.mm", "all")),
    Bar("torch embedding_bag over our gather, all genes", 1.4, 2.3, "x", True,
        _over("torch embedding_bag", "all", "gather")),
    Bar("gather rate over cache read rate, all genes", 75, 90, "%", True,
        lambda v: 100 * v[_cells("gather", "all", "GB/s")] / v[_cells("cache-resident read", "all", "GB/s")]),
    Bar("selection, slowest N", 8, 4, "ns per nonzero", False,
        lambda v: max(v[_cells("selection", n, "ns a nonzero")] for n in ("50", "200", "1000", "all"))),
    Bar("largest relative error against float64", 2e-6, 7e-7, "", False,
        lambda v: v[v.index.get_level_values("part") == "error"].max()),
    Bar("two threads over one, wall time, all genes", 1.8, 1.9, "x", True,
        lambda v: v[("threads", D, "all", "1 threads", "wall us a cell")]
        / v[("threads", D, "all", "2 threads", "wall us a cell")]),
    Bar("compiled loops from cache in a new process", 0.5, 0.2, "s", False, _cold("compiled loops from cache")),
    Bar("import lexicell", 0.5, 0.3, "s", False, _cold("import lexicell")),
    Bar("lexicell --help", 0.5, 0.3, "s", False, _cold("lexicell --help")),
]  # fmt: skip

MISSING = "Not measured yet."
KEY = ["part", "dim", "top_n", "what", "unit"]


def values(rows: pd.DataFrame) -> pd.Series:
    """Figures by (part, dim, top_n, what, unit)."""
    return rows.set_index(KEY)["value"]


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """The table of goals with what was measured; "-" where something was not measured."""
    by_key = values(rows)
    lines = []
    for bar in BARS:
        try:
            seen = float(bar.value(by_key))
        except KeyError:
            seen = float("nan")
        lines.append((bar.what, _text(bar.floor, bar), _text(bar.goal, bar), _text(seen, bar), _verdict(seen, bar)))
    return pd.DataFrame(lines, columns=["against", "floor", "goal", "measured", "reached"])


def _text(value: float, bar: Bar) -> str:
    if value != value:
        return "-"
    shown = f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.3g}"
    return f"{shown}{'' if bar.unit in ('x', '%', '') else ' '}{bar.unit}"


def _verdict(seen: float, bar: Bar) -> str:
    if seen != seen:
        return "not measured"
    for name in ("goal", "floor"):
        bound = getattr(bar, name)
        if (seen >= bound) if bar.at_least else (seen <= bound):
            return name
    return "no"


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


ORDER = ["emb.cells", "emb.cells, genept-w", "emb.cells, scelmo-wa", "gather", "selection", "scanpy + scipy",
         "scipy product alone", "torch embedding_bag", "torch.sparse.mm", "GenePT dense", "scELMo dense"]  # fmt: skip
TOP_N = ["50", "200", "1000", "all"]


def times(rows: pd.DataFrame) -> pd.DataFrame:
    """CPU microseconds per cell: what is run by N, for each width."""
    chosen = rows[(rows.part == "cells") & (rows.unit == "CPU us a cell")]
    wide = chosen.pivot_table(index="what", columns=["dim", "top_n"], values="value")
    columns = [(d, n) for d in sorted(chosen.dim.unique()) for n in TOP_N if (d, n) in wide.columns]
    wide = wide.reindex([w for w in ORDER if w in wide.index])[columns]
    shown = wide.map(lambda v: "" if v != v else f"{v:,.0f}" if v >= 100 else f"{v:.1f}")
    shown.columns = [f"D {d}, N {n}" for d, n in columns]
    return shown.reset_index()


STEPS = ["ranks of gene names", "packing vectors", "checking rows", "selection", "merging pairs", "sums", "scaling",
         "the rest", "total"]  # fmt: skip


def profile(rows: pd.DataFrame) -> pd.DataFrame:
    """CPU microseconds per cell of each step, by N."""
    wide = rows[rows.part == "profile"].pivot_table(index="what", columns="top_n", values="value")
    return wide.reindex(index=STEPS, columns=TOP_N).map("{:.1f}".format).rename_axis("N =", axis=0).reset_index()


def figure(rows: pd.DataFrame) -> None:
    """Cells per CPU-second by N, one panel per width."""
    import matplotlib.pyplot as plt

    chosen = rows[(rows.part == "cells") & (rows.unit == "CPU us a cell") & ~rows.what.isin(["gather", "selection"])]
    dims = sorted(chosen.dim.unique())
    fig, axes = plt.subplots(1, len(dims), figsize=(4.2 * len(dims), 3.6), sharey=True, squeeze=False)
    colors = dict(zip(ORDER, plt.get_cmap("tab20").colors, strict=False))
    for ax, dim in zip(axes[0], dims, strict=True):
        for what in ORDER:
            line = chosen[(chosen.dim == dim) & (chosen.what == what)].set_index("top_n")["value"]
            line = line.reindex([n for n in TOP_N if n in line.index])
            if len(line):
                ours = what.startswith("emb.cells")
                ax.plot([TOP_N.index(n) for n in line.index], 1e6 / line, marker="o", label=what, color=colors[what],
                        lw=2.5 if ours else 1.2, ls="-" if ours else "--")  # fmt: skip
        ax.set(title=f"D = {dim}", xlabel="genes kept per cell", yscale="log")
        ax.set_xticks(range(len(TOP_N)), TOP_N)
        ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("cells per CPU-second")
    handles = {h.get_label(): h for ax in axes[0] for h in ax.get_lines()}
    fig.legend(handles.values(), handles.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    fig.savefig(RESULTS / "speed.png", dpi=110, bbox_inches="tight")
    plt.close(fig)


def page() -> str:
    """docs/performance.md, made of the committed CSV files and the words in performance.md.in."""
    rows, about = load(), (RESULTS / "about.txt").read_text(encoding="utf-8").strip()
    text = (HERE / "performance.md.in").read_text(encoding="utf-8")
    memory = rows[rows.part == "memory"][["what", "value"]]
    memory = memory.assign(value=[f"{v:,.0f}" for v in memory.value]).set_axis(["what", "MB"], axis=1)
    rates = rows[rows.part == "machine"][["what", "value"]]
    rates = rates.assign(value=[f"{v:.0f}" for v in rates.value]).set_axis(["what", "GB/s"], axis=1)
    shares = rows[(rows.part == "cells") & (rows.what == "selection") & (rows.unit == "ns a nonzero") & (rows.dim == D)]
    selection = shares.set_index("top_n").value.reindex(TOP_N).map("{:.1f}".format).to_frame("ns per nonzero")
    errors = rows[rows.part == "error"].set_index("top_n").value.reindex(TOP_N).map("{:.1e}".format)
    kernels = RESULTS / "kernels.csv"
    pipeline = RESULTS / "pipeline.csv"
    filled = {
        "PIPELINE": markdown(pipeline_table(pd.read_csv(pipeline))) if pipeline.exists() else MISSING,
        "ABOUT": about,
        "RATIOS": markdown(ratios(rows)),
        "TIMES": markdown(times(rows)),
        "MEMORY": markdown(memory),
        "PROFILE": markdown(profile(rows)) if (rows.part == "profile").any() else MISSING,
        "RATES": markdown(rates),
        "SELECTION": markdown(selection.assign(error=errors).rename_axis("N").reset_index()),
        "KERNELS": markdown(kernels_table(pd.read_csv(kernels, dtype={"top_n": str}))) if kernels.exists() else MISSING,
    }
    for name, value in filled.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def kernels_table(rows: pd.DataFrame) -> pd.DataFrame:
    """CPU microseconds per cell of each step now, and how many times those of the earlier commit that is."""
    table = rows[["cells", "dim", "top_n"]].drop_duplicates().set_axis(["cells", "D", "N"], axis=1)
    for step in rows.step.unique():
        chosen = rows[rows.step == step]
        ratios = chosen.now_us / chosen.before_us
        table[step] = [f"{us:.1f} ({ratio:.2f}x)" for us, ratio in zip(chosen.now_us, ratios, strict=True)]
    return table


def pipeline_table(rows: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds and peak memory of each step of `lexicell run` and of scanpy's tutorial pipeline."""
    return pd.DataFrame(
        {
            "cells": [f"{n:,}" for n in rows["cells"]],
            "pipeline": rows["tool"],
            "step": rows["step"],
            "CPU s": [f"{seconds:.1f}" for seconds in rows["cpu_seconds"]],
            "peak GB so far": [f"{peak:.2f}" for peak in rows["peak_gb"]],
        }
    )


def load() -> pd.DataFrame:
    """The committed measurements."""
    return pd.read_csv(RESULTS / "speed.csv", dtype={"top_n": str}, keep_default_na=False)


def save(rows: pd.DataFrame, old: pd.DataFrame | None) -> pd.DataFrame:
    """Put new rows in the place of old ones with the same key; returns all."""
    new = rows if old is None else pd.concat([old, rows]).drop_duplicates(KEY, keep="last")
    RESULTS.mkdir(exist_ok=True)
    new = new.sort_values(KEY, kind="stable")
    new.to_csv(RESULTS / "speed.csv", index=False, float_format="%.5g")
    return new
