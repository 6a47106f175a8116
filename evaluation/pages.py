"""Write docs/clustering.md and docs/search.md: templates beside the scripts, every number from the committed CSVs.

    python evaluation/pages.py

A name between << and >> in clustering/page.md or search/page.md is replaced by what is computed here. A test compares
the pages with what this would write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
Values = dict[str, str]


def short(x: float, digits: int = 2) -> str:
    """.72, -.05, 1.00: no zero before the point."""
    text = f"{x:.{digits}f}"
    if float(text) == 0:
        return f"{0:.{digits}f}"[1:]
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def spread(x: pd.Series | list[float]) -> str:
    """From the least to the largest: ".62 to .64"."""
    low, high = short(min(x)), short(max(x))
    return low if low == high else f"{low} to {high}"


def words(n: int) -> str:
    names = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    return names[n] if n < len(names) else str(n)


def met(room: float) -> str:
    """What to say of a bar that was passed by so much."""
    return "met" if room >= 0 else f"missed by {short(-room, 3)}"


def table(rows: list[list[str]], head: list[str]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# -- docs/clustering.md

BUNDLED, NAMES, SUMMARIES = "GO in text", "names only", "RefSeq summary"
MARGIN, FEW, FEW_MARGIN = 0.05, 300, 0.10  # as in lexicell.evaluate
KANG = ("Kang 5 types, control", "Kang 5 types, stimulated")


class Clusters:
    """evaluation/clustering/table.csv, asked by data set, text and representation."""

    def __init__(self) -> None:
        self.scores = pd.read_csv(HERE / "clustering" / "scores.csv")
        whole = pd.read_csv(HERE / "clustering" / "table.csv")
        self.parts = {key: part.set_index("representation") for key, part in whole.groupby(["data", "text"])}
        self.sets = list(dict.fromkeys(self.scores["data"]))
        self.cells = self.scores.groupby("data")["cells"].first()

    def __call__(self, data: str, representation: str, text: str = BUNDLED, what: str = "ari") -> float:
        return float(self.parts[data, text].loc[representation, what])

    def best(self, data: str, text: str = BUNDLED, what: str = "ari") -> float:
        part = self.parts[data, text]
        return float(part.loc[part["kind"] == "expression", what].max())

    def best_name(self, data: str) -> str:
        part = self.parts[data, BUNDLED]
        return str(part[part["kind"] == "expression"]["ari"].idxmax())

    def best_pca(self, data: str, text: str = BUNDLED) -> tuple[float, str]:
        part = self.parts[data, text]
        rows = part[part.index.str.startswith("expression PCA")]["ari"]
        return float(rows.max()), str(rows.idxmax())

    def margin(self, data: str) -> float:
        return FEW_MARGIN if self.cells[data] < FEW else MARGIN

    def texts(self, data: str) -> list[str]:
        return [t for t in (BUNDLED, NAMES, SUMMARIES) if (data, t) in self.parts]

    def owed(self, data: str, representation: str, text: str) -> bool:
        """The rule of lexicell.evaluate: above both controls by the margin and twice their spread."""
        mine = self(data, representation, text)
        return all(
            mine - self(data, f"{representation}, {c}", text)
            > max(self.margin(data), 2 * self(data, f"{representation}, {c}", text, "ari_sd"))
            for c in ("shuffled texts", "random vectors")
        )


def clustering_values() -> Values:
    c = Clusters()
    columns = ["fused", "whitened", "paper"]
    rows = []
    for data in c.sets:
        cells = [short(c.best(data))]
        for name in columns:
            cells += [short(c(data, x)) for x in (name, f"{name}, shuffled texts", f"{name}, random vectors")]
        rows.append([data, *cells])
    head = ["data set", "best expression", *(x for n in columns for x in (n, "its shuffled", "its random"))]
    knn = [
        [data, *(short(v) for v in (c.best(data, what="knn"), *(c(data, n, what="knn") for n in columns),
                                    c(data, "fused, shuffled texts", what="knn")))]
        for data in c.sets
    ]  # fmt: skip
    kinds = [(d, t) for d in c.sets for t in c.texts(d)]
    gain = {d: c(d, "paper") - c.best(d) for d in c.sets}
    relative = {d: c(d, "paper") / c.best(d) - 1 for d in c.sets}
    lost = {(d, t): c(d, "fused", t) - c.best(d, t) for d, t in kinds}
    signal = {n: [(d, t) for d, t in kinds if c.owed(d, n, t)] for n in columns}

    def sets(pairs: list[tuple[str, str]]) -> str:
        """Data sets, each with its texts where not all of them."""
        out = []
        for data in dict.fromkeys(d for d, _ in pairs):
            mine = [t for d, t in pairs if d == data]
            out.append(data + ("" if mine == c.texts(data) else f" ({', '.join(mine)})"))
        return "; ".join(out) if out else "none"

    worst = sorted(lost, key=lambda k: lost[k])
    bars = []
    for text in (BUNDLED, SUMMARIES, NAMES):
        fused, (pca, which) = c(KANG[0], "fused", text), c.best_pca(KANG[0], text)
        controls = [c(KANG[0], f"fused, {x}", text) for x in ("shuffled texts", "random vectors")]
        bars.append([
            f"fused, Kang control, {text}", "at least the best PCA - .03",
            f"{short(fused)}; best PCA {short(pca)} ({which.split(', ')[1]}), shuffled {short(controls[0])}, "
            f"random {short(controls[1])}", met(fused - pca + 0.03),
        ])  # fmt: skip
    raw = pd.read_csv(HERE / "clustering" / "raw.csv").set_index(["data", "text"])["ari"]
    for data in KANG:
        for text in (BUNDLED, SUMMARIES, NAMES):
            white, plain = c(data, "whitened", text), float(raw[data, text])
            bars.append([
                f"whitened over raw, {data.split(', ')[1]}, {text}", "at least +.20",
                f"{short(white)} against {short(plain)}: +{short(white - plain)}", met(white - plain - 0.2),
            ])  # fmt: skip
    whitening = {
        (d, t): f"{short(c(d, 'paper', t))} to {short(c(d, 'whitened', t))}" for d in KANG for t in (BUNDLED, SUMMARIES)
    }
    return {
        "main_table": table(rows, head),
        "knn_table": table(knn, ["data set", "best expression", "fused", "whitened", "paper", "fused, shuffled"]),
        "bars": table(bars, ["what", "bar", "seen", ""]),
        "n_sets": words(len(c.sets)),
        "n_rows": f"{len(c.scores):,}",
        "paper_below": words(sum(g < 0 for g in gain.values())),
        "paper_far_below": words(sum(g < -c.margin(d) for d, g in gain.items())),
        "paper_above": sets([(d, BUNDLED) for d, g in gain.items() if g >= 0]),
        "paper_relative": f"{min(relative.values()):+.0%} to {max(relative.values()):+.0%}".replace("%", " %"),
        "paper_relative_mean": f"{sum(relative.values()) / len(relative):+.0%}".replace("%", " %"),
        "paper_15": words(sum(r >= 0.15 for r in relative.values())),
        "fused_relative": f"{min((c(d, 'fused') / c.best(d) - 1) for d in c.sets):+.0%} to "
        f"{max((c(d, 'fused') / c.best(d) - 1) for d in c.sets):+.0%}".replace("%", " %"),
        "random_over_paper": words(sum(c(d, "paper, random vectors") > c(d, "paper") for d in c.sets)),
        "white_ctrl": whitening[KANG[0], BUNDLED],
        "white_stim": whitening[KANG[1], BUNDLED],
        "white_ctrl_summaries": whitening[KANG[0], SUMMARIES],
        "white_stim_summaries": whitening[KANG[1], SUMMARIES],
        "white_shuffled": " and ".join(short(c(d, "whitened, shuffled texts")) for d in KANG),
        "white_signal": sets(signal["whitened"]),
        "paper_signal": sets(signal["paper"]),
        "fused_signal": sets(signal["fused"]),
        "fused_below": sets([k for k in lost if lost[k] < -c.margin(k[0])]),
        "fused_worst": f"{worst[0][0]} ({worst[0][1]}), {short(lost[worst[0]])}",
        "fused_pca": spread([c(d, "fused") - c.best_pca(d)[0] for d in c.sets]),
        "best_which": "; ".join(f"{d}: {b}" for d in c.sets if not (b := c.best_name(d)).startswith("expression PCA")),
        "fused_gain": spread(list(lost.values())),
        "verdict_counts": "; ".join(
            f"{n} of {len(kinds)}: {v}" for v, n in pd.read_csv(HERE / "clustering" / "verdicts.csv")["verdict"]
            .str.split(r" here[ :]", regex=True).str[0].value_counts().items()
        ),
        **transfer_values(),
    }  # fmt: skip


def transfer_values() -> Values:
    """What the page on transfer confirms, and whose CSV it is."""
    found = pd.read_csv(HERE / "transfer" / "table.csv").set_index(["data", "text", "method", "control"])
    key = ("Kang control, 5 types", "bundled", "aligned")

    def pair(control: str) -> str:
        row = found.loc[(*key, control)]
        return f"{short(float(row['mean']))} ± {short(float(row['sd']))}"

    return {"transfer": pair("none"), "transfer_shuffled": pair("shuffled"), "transfer_random": pair("random")}


# -- docs/search.md

NEEDED = 0.02  # above expression and above the shuffled controls, to be chosen
FIRST = {"kang5 stim": "Kang", "mixology celseq2": "mixology", "pbmc68k": "pbmc68k"}
CALLED = {
    "names": "names", "names + GO": "names and GO terms (bundled)", "names + summary": "names and RefSeq summaries",
    "LSA, names + GO + summary": "all three, word counts (LSA)", "GO gene sets": "GO gene sets, no text",
}  # fmt: skip


def search_values() -> Values:
    return {**first_values(), **second_values(), **transfer_values()}


def first_values() -> Values:
    folder = HERE / "search"
    trials = pd.read_csv(folder / "trials_choose.csv")
    confirmed = pd.read_csv(folder / "trials_confirm.csv")

    def score(of: pd.DataFrame, regime: str, variant: str, arm: str = "text", data: str = "", **more: object) -> float:
        """Mean over data sets of the mean over seeds and draws."""
        part = of[(of["regime"] == regime) & (of["variant"] == variant) & (of["arm"] == arm)]
        part = part[part["data"] == data] if data else part
        for column, value in more.items():
            part = part[part[column] == value]
        return float(part.groupby("data")["score"].mean().mean())

    def best(of: pd.DataFrame, regime: str, data: str = "") -> float:
        """Best expression baseline of each set, mean over sets."""
        part = of[(of["regime"] == regime) & (of["arm"] == "expression")]
        part = part[part["data"] == data] if data else part
        return float(part.groupby(["data", "variant"])["score"].mean().groupby("data").max().mean())

    rows = []
    for name, called in CALLED.items():
        variant = f"{name}, fused"
        each = [short(score(trials, "clusters", variant, data=d)) for d in FIRST]
        whole, control = score(trials, "clusters", variant), score(trials, "clusters", variant, "shuffled")
        rows.append([called, *each, short(whole, 3), short(control, 3)])
    rows.append(["expression alone (best PCA of each set)", *(short(best(trials, "clusters", d)) for d in FIRST),
                 short(best(trials, "clusters"), 3), ""])  # fmt: skip
    shares = trials[trials["variant"].str.startswith("names + GO, a = ") & (trials["regime"] == "clusters")]
    thinned = trials[trials["regime"] == "a by thinning"]["score"]
    few = ("1 labelled", "3 labelled", "10 labelled")

    def three(variant: str) -> str:
        return ", ".join(short(score(trials, r, variant) if variant else best(trials, r)) for r in few)

    def pair(regime: str, variant: str, data: str) -> str:
        text, control = (score(trials, regime, variant, arm, data) for arm in ("text", "shuffled"))
        return f"{short(text)} against {short(control)}"

    def hurt(regime: str, variant: str = "names + GO, alone") -> str:
        text, control = (score(trials, regime, variant, arm) for arm in ("text", "shuffled"))
        return f"text {short(text)}, shuffled {short(control)}, best PCA {short(best(trials, regime))}"

    asked = "names + GO, ten genes a query"

    def zero(of: pd.DataFrame, data: str) -> str:
        control = of[(of["regime"] == "no labels") & (of["data"] == data) & (of["arm"] == "shuffled")]["score"]
        text = score(of, "no labels", asked, data=data)
        return f"{short(text)} against {short(control.mean())} ± {short(control.std())}"

    ctrl = confirmed[confirmed["data"] == "kang5 ctrl"]
    grid = ctrl[ctrl["variant"].str.match(r"names \+ GO, a = .*20 PCs") & (ctrl["regime"] == "clusters")]
    default, top = score(ctrl, "clusters", "names + GO, a = 0.25, 20 PCs"), best(ctrl, "clusters")
    return {
        "first_table": table(rows, ["fused (`a` = .25)", *FIRST.values(), "mean", "its shuffled texts"]),
        "facets": short(score(trials, "clusters", "facets as blocks, fused"), 3),
        "facets_shuffled": short(score(trials, "clusters", "facets as blocks, fused", "shuffled"), 3),
        "shares": spread(shares.groupby("variant")["score"].mean()),
        "thinned": ", ".join(short(x) if x else "0" for x in sorted(thinned)),
        "few_expression": three(""),
        "few_fused": three("names + GO, fused"),
        "few_alone_kang": pair("1 labelled", "names + GO, alone", "kang5 stim"),
        "few_alone_pbmc": pair("1 labelled", "names + GO, alone", "pbmc68k"),
        "rare": f"names fused {short(score(trials, 'rare types', 'names, fused'))}, expression "
        f"{short(best(trials, 'rare types'))}, shuffled "
        f"{short(score(trials, 'rare types', 'names, fused', 'shuffled'))}",
        "hurt_depth": hurt("damage: depth 1/4"),
        "hurt_half": hurt("damage: half at 3/10"),
        "hurt_batch": hurt("damage: batch"),
        "mixing_half": hurt("mixing: half at 3/10"),
        "mixing_batch": hurt("mixing: batch"),
        "zero_kang5_stim": zero(trials, "kang5 stim"),
        "zero_pbmc68k": zero(trials, "pbmc68k"),
        "zero_kang5_ctrl": zero(confirmed, "kang5 ctrl"),
        "zero_kang13_ctrl": zero(confirmed, "kang13 ctrl"),
        "ctrl_default": short(default, 3),
        "ctrl_best": short(top, 3),
        "ctrl_bar": met(default - top + 0.03),
        "ctrl_grid": "; ".join(
            f"{short(float(v.split(' = ')[1].split(',')[0]))}: {short(x, 3)}"
            for v, x in grid.groupby("variant", sort=False)["score"].mean().items()
        ),
        "first_confirm": confirm_table(pd.read_csv(folder / "summary.csv")),
    }  # fmt: skip


def confirm_table(summary: pd.DataFrame) -> str:
    """Every variant with controls that was run on the confirming sets: clusters, of whole and of damaged cells."""
    part = summary[(summary["stage"] == "confirm") & summary["shuffled"].notna()]
    part = part[(part["regime"] == "clusters") | part["regime"].str.startswith("damage")]
    rows = [
        [REGIMES[str(r.regime)], str(r.variant), short(r.text, 3), short(r.shuffled, 3), short(r.expression, 3),
         str(int(r.sets))]
        for r in part.sort_values("regime", kind="stable").itertuples()
    ]  # fmt: skip
    return table(rows, ["regime", "variant", "text", "its shuffled texts", "best PCA", "sets"])


FEWEST_SETS = 3  # of the four choosing sets, for a variant to be chosen
REGIMES = {
    "clusters": "clusters", "1 labelled": "1 labelled cell a type", "3 labelled": "3", "10 labelled": "10",
    "rare types": "types below 5 %", "planted rare type": "a type cut to 2 %",
    "damage: depth 1/4": "a quarter of the depth", "damage: half at 3/10": "half of the cells at 3/10",
    "damage: batch": "other capture rates in half of the cells", "damage: drop-out": "drop-out in half of the cells",
}  # fmt: skip


def second_values() -> Values:
    folder = HERE / "search"
    summary = pd.read_csv(folder / "second_summary.csv")
    trials = pd.concat([pd.read_csv(p) for p in sorted(folder.glob("second_c*.csv"))])
    rows = []
    for regime, called in REGIMES.items():
        part = summary[(summary["stage"] == "choose") & (summary["regime"] == regime)]
        judged = part[part["sets"] >= FEWEST_SETS]
        able = judged[(judged["gain"] > NEEDED) & (judged["over_shuffled"] > NEEDED)]
        shown = able if len(able) else judged if len(judged) else part
        said = "chosen" if len(able) else "none" if len(judged) else "not judged: too few sets"
        rows.extend(
            [
                called,
                str(r.variant),
                short(r.text, 3),
                short(r.shuffled, 3),
                short(r.expression, 3),
                str(int(r.sets)),
                said,
            ]
            for r in shown.nlargest(1, "gain").itertuples()
        )
    head = ["regime", "nearest to a gain", "text", "its shuffled texts", "best expression", "sets", "chosen"]
    prior = summary[(summary["stage"] == "choose") & summary["variant"].str.startswith("prior")]
    columns = ["text", "shuffled", "measured", "expression"]
    of = {r: prior[prior["regime"] == r].set_index("variant")[columns] for r in ("clusters", "1 labelled")}
    priors = [
        [str(v).removeprefix("prior, "), *(short(of[r].loc[v, c], 3) for r in of for c in columns)]
        for v in of["clusters"].index
    ]
    texts = summary[(summary["stage"] == "choose") & (summary["regime"] == "clusters")]
    texts = texts[~texts["variant"].str.startswith("prior")].sort_values(["sets", "gain"], ascending=False)
    kinds = [
        [str(r.variant), short(r.text, 3), short(r.shuffled, 3), short(r.expression, 3), str(int(r.sets))]
        for r in texts.itertuples()
    ]
    return {
        "second_sets": words(trials[trials["stage"] == "choose"]["data"].nunique()),
        "second_trials": f"{len(trials):,}",
        "second_table": table(rows, head),
        "second_priors": table(
            priors, ["prior as", *(f"{c}, {r}" for r in of for c in ("text", "shuffled", "measured", "best PCA"))]
        ),
        "second_priors_sets": words(int(prior.loc[prior["regime"] == "clusters", "sets"].min())),
        "second_texts": table(kinds, ["variant", "text", "its shuffled texts", "best PCA", "sets"]),
        "second_shares": shares_table(summary),
        "second_picked": picked(trials),
        "share_decision": share_decision(summary),
        "share_ctrl": share_on_control(trials),
        "share_confirm": share_confirmed(summary),
    }


def share_decision(summary: pd.DataFrame) -> str:
    """The rule of the protocol: by how much another share must be better than .25 to replace it."""
    part = summary[(summary["regime"] == "share") & (summary["stage"] == "choose")].set_index("variant")
    now = part.loc["a = 0.25"]
    better = part["text"] > now["text"] + 0.01
    safer = (part["worst_loss"] > now["worst_loss"] + 0.02) & (part["text"] >= now["text"])
    names = [str(v) for v in part.index[better | safer]]
    first = part["text"].drop("a = 0.25").idxmax()
    ahead = f"the largest mean is that of {first}, {short(part.loc[first, 'text'] - now['text'], 3)} ahead of .25"
    return f"{', '.join(names)} passes the rule ({ahead})" if names else f"no share passes the rule ({ahead})"


def share_confirmed(summary: pd.DataFrame) -> str:
    row = summary[(summary["stage"] == "confirm") & (summary["variant"] == "a = 0.25")].iloc[0]
    gain, worst = short(row["gain"], 3), short(row["worst_loss"], 3)
    return f"{gain} on the mean of {words(int(row['sets']))} sets, {worst} on the worst"


def share_on_control(trials: pd.DataFrame) -> str:
    part = trials[(trials["data"] == "kang5 ctrl") & (trials["regime"] == "share") & (trials["arm"] != "shuffled")]
    mean = part.groupby(["arm", "variant"])["score"].mean()
    best = mean["expression"].max()
    room = float(mean["text", "a = 0.25"]) - float(best) + 0.03
    return f"{short(mean['text', 'a = 0.25'], 3)} against {short(best, 3)}: {met(room)}"


def shares_table(summary: pd.DataFrame) -> str:
    part = summary[summary["regime"] == "share"]
    both = part.pivot_table(
        index="variant", columns="stage", values=["text", "gain", "worst_loss", "shuffled"], sort=False
    )
    stages = [s for s in ("choose", "confirm") if s in set(part["stage"])]
    rows = [
        [str(v), *(short(r[what, s], 3) if pd.notna(r[what, s]) else "" for s in stages
                   for what in ("text", "gain", "worst_loss", "shuffled"))]
        for v, r in both.iterrows()
    ]  # fmt: skip
    return table(
        rows, ["share", *(f"{w}, {s}" for s in stages for w in ("mean", "over best PCA", "worst", "shuffled"))]
    )


def picked(trials: pd.DataFrame) -> str:
    """The shares of text that thinning picked, mean over draws."""
    part = trials[(trials["regime"] == "share") & trials["variant"].str.startswith("a auto")]
    found = part.groupby(["data", "variant", "arm"], sort=False)["share"].mean().unstack(["variant", "arm"])
    rows = [[str(d), *(short(x) if x else "0" for x in r)] for d, r in found.iterrows()]
    return table(rows, ["data set", *(f"{v.removeprefix('a ')}, {arm}" for v, arm in found.columns)])


def render(template: str, values: Values) -> str:
    """Replace every <<name>>; a name that is unknown, or never used, is an error."""
    asked = set(re.findall(r"<<(\w+)>>", template))
    if asked != set(values):
        raise KeyError(f"not computed: {sorted(asked - set(values))}; not used: {sorted(set(values) - asked)}")
    return re.sub(r"<<(\w+)>>", lambda m: values[m.group(1)], template)


PAGES: dict[str, Callable[[], Values]] = {"clustering": clustering_values, "search": search_values}


def main() -> None:
    for name, values in PAGES.items():
        text = render((HERE / name / "page.md").read_text(encoding="utf-8"), values())
        (DOCS / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
