"""Write docs/clustering.md and docs/search_for_gain.md: templates here, every number from the committed CSVs.

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
CONTROLS = ("shuffled texts", "random vectors")
REPRESENTATIONS = ("fused", "whitened", "paper")


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
            for c in CONTROLS
        )


def results_table(c: Clusters) -> str:
    """Mean ARI of each representation and of its controls, with the bundled texts."""
    head = ["data set", "best expression"]
    for name in REPRESENTATIONS:
        head += [name, "its shuffled", "its random"]
    rows = []
    for data in c.sets:
        row = [data, short(c.best(data))]
        for name in REPRESENTATIONS:
            row.append(short(c(data, name)))
            row += [short(c(data, f"{name}, {control}")) for control in CONTROLS]
        rows.append(row)
    return table(rows, head)


def classifier_table(c: Clusters) -> str:
    """Balanced accuracy of kNN, with the bundled texts."""
    shown = [*REPRESENTATIONS, "fused, shuffled texts"]
    rows = []
    for data in c.sets:
        best = short(c.best(data, what="knn"))
        rows.append([data, best, *(short(c(data, name, what="knn")) for name in shown)])
    return table(rows, ["data set", "best expression", "fused", "whitened", "paper", "fused, shuffled"])


def goal_table(c: Clusters) -> str:
    """Fused against the best expression PCA on Kang's control cells; the goal is a difference of .03."""
    rows = []
    for text in (BUNDLED, SUMMARIES, NAMES):
        fused = c(KANG[0], "fused", text)
        pca, which = c.best_pca(KANG[0], text)
        genes = which.split(", ")[1]
        controls = [short(c(KANG[0], f"fused, {control}", text)) for control in CONTROLS]
        rows.append([text, short(fused), f"{short(pca)} ({genes})", *controls, met(fused - pca + 0.03)])
    return table(rows, ["text", "fused", "best PCA", "fused, shuffled", "fused, random", "goal"])


def named(c: Clusters, pairs: list[tuple[str, str]]) -> str:
    """Data sets, each with its texts where not all of them."""
    found = []
    for data in dict.fromkeys(data for data, _ in pairs):
        mine = [text for other, text in pairs if other == data]
        found.append(data if mine == c.texts(data) else f"{data} ({', '.join(mine)})")
    return "; ".join(found) if found else "none"


def verdicts() -> str:
    """How often `evaluate` gave which verdict."""
    said = pd.read_csv(HERE / "clustering" / "verdicts.csv")["verdict"].str.split(r" here[ :]", regex=True).str[0]
    return "; ".join(f"{n} of {len(said)}: {verdict}" for verdict, n in said.value_counts().items())


def clustering_values() -> Values:
    c = Clusters()
    kinds = [(data, text) for data in c.sets for text in c.texts(data)]
    paper = {data: c(data, "paper") - c.best(data) for data in c.sets}
    paper_relative = [c(data, "paper") / c.best(data) - 1 for data in c.sets]
    fused_relative = [c(data, "fused") / c.best(data) - 1 for data in c.sets]
    fused = {(data, text): c(data, "fused", text) - c.best(data, text) for data, text in kinds}
    worst = min(fused, key=lambda kind: fused[kind])
    signal = {name: [kind for kind in kinds if c.owed(kind[0], name, kind[1])] for name in REPRESENTATIONS}
    best = {data: c.best_name(data) for data in c.sets}
    raw = pd.read_csv(HERE / "clustering" / "raw.csv").set_index(["data", "text"])["ari"]
    gained = [c(data, "whitened", text) - raw[data, text] for data in KANG for text in (BUNDLED, SUMMARIES, NAMES)]

    def whitening(data: str, text: str) -> str:
        return f"{short(c(data, 'paper', text))} to {short(c(data, 'whitened', text))}"

    return {
        "main_table": results_table(c),
        "knn_table": classifier_table(c),
        "bars": goal_table(c),
        "whitening_gain": spread(gained),
        "n_sets": words(len(c.sets)),
        "n_rows": f"{len(c.scores):,}",
        "paper_below": words(sum(gain < 0 for gain in paper.values())),
        "paper_far_below": words(sum(gain < -c.margin(data) for data, gain in paper.items())),
        "paper_above": named(c, [(data, BUNDLED) for data, gain in paper.items() if gain >= 0]),
        "paper_relative": f"{min(paper_relative):+.0%} to {max(paper_relative):+.0%}",
        "paper_relative_mean": f"{sum(paper_relative) / len(paper_relative):+.0%}",
        "paper_15": words(sum(r >= 0.15 for r in paper_relative)),
        "fused_relative": f"{min(fused_relative):+.0%} to {max(fused_relative):+.0%}",
        "random_over_paper": words(sum(c(data, "paper, random vectors") > c(data, "paper") for data in c.sets)),
        "white_ctrl": whitening(KANG[0], BUNDLED),
        "white_stim": whitening(KANG[1], BUNDLED),
        "white_ctrl_summaries": whitening(KANG[0], SUMMARIES),
        "white_stim_summaries": whitening(KANG[1], SUMMARIES),
        "white_shuffled": " and ".join(short(c(data, "whitened, shuffled texts")) for data in KANG),
        "white_signal": named(c, signal["whitened"]),
        "paper_signal": named(c, signal["paper"]),
        "fused_signal": named(c, signal["fused"]),
        "fused_below": named(c, [kind for kind in fused if fused[kind] < -c.margin(kind[0])]),
        "fused_worst": f"{worst[0]} ({worst[1]}), {short(fused[worst])}",
        "fused_pca": spread([c(data, "fused") - c.best_pca(data)[0] for data in c.sets]),
        "best_which": "; ".join(f"{d}: {name}" for d, name in best.items() if not name.startswith("expression PCA")),
        "fused_gain": spread(list(fused.values())),
        "verdict_counts": verdicts(),
        **transfer_values(),
    }


def transfer_values() -> Values:
    """What the page on transfer confirms, and whose CSV it is."""
    found = pd.read_csv(HERE / "transfer" / "table.csv").set_index(["data", "text", "method", "control"])
    key = ("Kang control, 5 types", "bundled", "aligned")

    def pair(control: str) -> str:
        row = found.loc[(*key, control)]
        return f"{short(float(row['mean']))} ± {short(float(row['sd']))}"

    return {"transfer": pair("none"), "transfer_shuffled": pair("shuffled"), "transfer_random": pair("random")}


# -- docs/search_for_gain.md

NEEDED = 0.02  # above expression and above the shuffled controls, to be chosen
ALONE = "names + GO, alone"
FIRST = {"kang5 stim": "Kang", "mixology celseq2": "mixology", "pbmc68k": "pbmc68k"}
CALLED = {
    "names": "names",
    "names + GO": "names and GO terms (bundled)",
    "names + summary": "names and RefSeq summaries",
    "LSA, names + GO + summary": "all three, word counts (LSA)",
    "GO gene sets": "GO gene sets, no text",
}


def search_values() -> Values:
    return {**first_values(), **second_values(), **transfer_values()}


def mean_score(trials: pd.DataFrame, regime: str, variant: str, arm: str = "text", data: str = "") -> float:
    """Mean over data sets (or of one) of the mean over seeds and draws."""
    part = trials[(trials["regime"] == regime) & (trials["variant"] == variant) & (trials["arm"] == arm)]
    if data:
        part = part[part["data"] == data]
    return float(part.groupby("data")["score"].mean().mean())


def best_expression(trials: pd.DataFrame, regime: str, data: str = "") -> float:
    """Best expression baseline of each data set (or of one), mean over sets."""
    part = trials[(trials["regime"] == regime) & (trials["arm"] == "expression")]
    if data:
        part = part[part["data"] == data]
    means = part.groupby(["data", "variant"])["score"].mean()
    return float(means.groupby("data").max().mean())


def fused_table(trials: pd.DataFrame) -> str:
    """Mean ARI of fusion with each kind of text, by data set."""
    rows = []
    for name, called in CALLED.items():
        variant = f"{name}, fused"
        each = [short(mean_score(trials, "clusters", variant, data=data)) for data in FIRST]
        text = mean_score(trials, "clusters", variant)
        control = mean_score(trials, "clusters", variant, "shuffled")
        rows.append([called, *each, short(text, 3), short(control, 3)])
    each = [short(best_expression(trials, "clusters", data)) for data in FIRST]
    rows.append(["expression alone (best PCA of each set)", *each, short(best_expression(trials, "clusters"), 3), ""])
    return table(rows, ["fused (`a` = .25)", *FIRST.values(), "mean", "its shuffled texts"])


def against_shuffled(trials: pd.DataFrame, data: str) -> str:
    """Whitened text alone with one labeled cell per type."""
    text, control = (mean_score(trials, "1 labelled", ALONE, arm, data) for arm in ("text", "shuffled"))
    return f"{short(text)} against {short(control)}"


def degraded(trials: pd.DataFrame, regime: str) -> str:
    """Whitened text alone on degraded cells."""
    text, control = (mean_score(trials, regime, ALONE, arm) for arm in ("text", "shuffled"))
    return f"text {short(text)}, shuffled {short(control)}, best PCA {short(best_expression(trials, regime))}"


def without_labels(trials: pd.DataFrame, data: str) -> str:
    """Names of types as queries."""
    part = trials[(trials["regime"] == "no labels") & (trials["data"] == data)]
    control = part.loc[part["arm"] == "shuffled", "score"]
    text = mean_score(part, "no labels", "names + GO, ten genes a query")
    return f"{short(text)} against {short(control.mean())} ± {short(control.std())}"


def weights_on_control(trials: pd.DataFrame) -> str:
    """Mean ARI of each weight of text, 20 components."""
    tried = trials[trials["variant"].str.match(r"names \+ GO, a = .*20 PCs") & (trials["regime"] == "clusters")]
    found = []
    for variant, score in tried.groupby("variant", sort=False)["score"].mean().items():
        weight = float(str(variant).split(" = ")[1].split(",")[0])
        found.append(f"{short(weight)}: {short(score, 3)}")
    return "; ".join(found)


def first_values() -> Values:
    folder = HERE / "search"
    trials = pd.read_csv(folder / "trials_choose.csv")
    confirmed = pd.read_csv(folder / "trials_confirm.csv")
    shares = trials[trials["variant"].str.startswith("names + GO, a = ") & (trials["regime"] == "clusters")]
    thinned = sorted(trials.loc[trials["regime"] == "a by thinning", "score"])
    few = ("1 labelled", "3 labelled", "10 labelled")
    rare = mean_score(trials, "rare types", "names, fused")
    rare_shuffled = mean_score(trials, "rare types", "names, fused", "shuffled")
    rare_expression = best_expression(trials, "rare types")
    control = confirmed[confirmed["data"] == "kang5 ctrl"]
    default = mean_score(control, "clusters", "names + GO, a = 0.25, 20 PCs")
    best = best_expression(control, "clusters")
    return {
        "first_table": fused_table(trials),
        "facets": short(mean_score(trials, "clusters", "facets as blocks, fused"), 3),
        "facets_shuffled": short(mean_score(trials, "clusters", "facets as blocks, fused", "shuffled"), 3),
        "shares": spread(shares.groupby("variant")["score"].mean()),
        "thinned": ", ".join(short(x) if x else "0" for x in thinned),
        "few_expression": ", ".join(short(best_expression(trials, regime)) for regime in few),
        "few_fused": ", ".join(short(mean_score(trials, regime, "names + GO, fused")) for regime in few),
        "few_alone_kang": against_shuffled(trials, "kang5 stim"),
        "few_alone_pbmc": against_shuffled(trials, "pbmc68k"),
        "rare": f"names fused {short(rare)}, expression {short(rare_expression)}, shuffled {short(rare_shuffled)}",
        "hurt_depth": degraded(trials, "damage: depth 1/4"),
        "hurt_half": degraded(trials, "damage: half at 3/10"),
        "hurt_batch": degraded(trials, "damage: batch"),
        "mixing_half": degraded(trials, "mixing: half at 3/10"),
        "mixing_batch": degraded(trials, "mixing: batch"),
        "zero_kang5_stim": without_labels(trials, "kang5 stim"),
        "zero_pbmc68k": without_labels(trials, "pbmc68k"),
        "zero_kang5_ctrl": without_labels(confirmed, "kang5 ctrl"),
        "zero_kang13_ctrl": without_labels(confirmed, "kang13 ctrl"),
        "ctrl_default": short(default, 3),
        "ctrl_best": short(best, 3),
        "ctrl_bar": met(default - best + 0.03),
        "ctrl_grid": weights_on_control(control),
        "lead": lead(pd.read_csv(folder / "summary.csv")),
    }


def lead(summary: pd.DataFrame) -> str:
    """Whitened text alone on the confirming sets, where half of the cells have other capture rates."""
    part = summary[(summary["stage"] == "confirm") & (summary["regime"] == "damage: batch")]
    row = part[part["variant"] == ALONE].iloc[0]
    text, best, control = (short(row[column], 3) for column in ("text", "expression", "shuffled"))
    return f"{text} against {best} (best PCA) and {control} (shuffled)"


SETTINGS = {"clusters": "clusters", "1 labelled": "1 labeled"}
FEWEST_SETS = 3  # of the four choosing sets, for a variant to be chosen
REGIMES = {
    "clusters": "clusters",
    "1 labelled": "1 labeled cell per type",
    "3 labelled": "3 labeled cells per type",
    "10 labelled": "10 labeled cells per type",
    "rare types": "types below 5%",
    "planted rare type": "a type reduced to 2%",
    "damage: depth 1/4": "a quarter of the depth",
    "damage: half at 3/10": "half of the cells at 3/10 of the depth",
    "damage: batch": "different capture rates in half of the cells",
    "damage: drop-out": "dropout in half of the cells",
}


def nearest_table(chosen: pd.DataFrame) -> str:
    """What came nearest to a gain in each regime, and whether it was chosen."""
    rows = []
    for regime, called in REGIMES.items():
        part = chosen[chosen["regime"] == regime]
        judged = part[part["sets"] >= FEWEST_SETS]
        able = judged[(judged["gain"] > NEEDED) & (judged["over_shuffled"] > NEEDED)]
        if len(able):
            shown, said = able, "chosen"
        elif len(judged):
            shown, said = judged, "none"
        else:
            shown, said = part, "not judged: too few sets"
        row = shown.loc[shown["gain"].idxmax()]
        figures = [short(row[column], 3) for column in ("text", "shuffled", "expression")]
        rows.append([called, str(row["variant"]), *figures, str(int(row["sets"])), said])
    head = ["regime", "nearest to a gain", "text", "its shuffled texts", "best expression", "sets", "chosen"]
    return table(rows, head)


def priors_table(prior: pd.DataFrame) -> str:
    """Each use of the gene prior: clusters, and one labeled cell per type."""
    columns = {"text": "text", "shuffled": "shuffled", "measured": "measured", "expression": "best PCA"}
    by_regime = {regime: prior[prior["regime"] == regime].set_index("variant") for regime in SETTINGS}
    rows = []
    for variant in by_regime["clusters"].index:
        row = [str(variant).removeprefix("prior, ")]
        for found in by_regime.values():
            row += [short(found.loc[variant, column], 3) for column in columns]
        rows.append(row)
    head = ["prior as"]
    for setting in SETTINGS.values():
        head += [f"{name}, {setting}" for name in columns.values()]
    return table(rows, head)


def best_text(chosen: pd.DataFrame) -> str:
    """The best of all texts, embedders and learned weights that were run on enough sets."""
    part = chosen[(chosen["regime"] == "clusters") & (chosen["sets"] >= FEWEST_SETS)]
    part = part[~part["variant"].str.startswith("prior")]
    row = part.loc[part["gain"].idxmax()]
    text, control, best = (short(row[column], 3) for column in ("text", "shuffled", "expression"))
    return f"{row['variant']}, {text}, shuffled {control}, best PCA {best}"


def second_values() -> Values:
    folder = HERE / "search"
    summary = pd.read_csv(folder / "second_summary.csv")
    trials = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("second_c*.csv"))])
    chosen = summary[summary["stage"] == "choose"]
    prior = chosen[chosen["variant"].str.startswith("prior")]
    return {
        "second_sets": words(trials[trials["stage"] == "choose"]["data"].nunique()),
        "second_trials": f"{len(trials):,}",
        "second_table": nearest_table(chosen),
        "second_priors": priors_table(prior),
        "second_priors_sets": words(int(prior.loc[prior["regime"] == "clusters", "sets"].min())),
        "second_best_text": best_text(chosen),
        "second_shares": shares_table(summary),
        "picked": picked(trials),
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
    """Every share of text on the choosing and on the confirming sets."""
    part = summary[summary["regime"] == "share"]
    columns = {"text": "mean", "gain": "over best PCA", "worst_loss": "worst", "shuffled": "shuffled"}
    by_stage = {stage: part[part["stage"] == stage].set_index("variant") for stage in ("choose", "confirm")}
    rows = []
    for variant in part["variant"].unique():
        row = [str(variant)]
        for found in by_stage.values():
            values = found.loc[variant, list(columns)]
            row += ["" if pd.isna(value) else short(value, 3) for value in values]
        rows.append(row)
    head = ["share"]
    for stage in by_stage:
        head += [f"{name}, {stage}" for name in columns.values()]
    return table(rows, head)


def picked(trials: pd.DataFrame) -> str:
    """The share of text that thinning chose with no tolerance: mean over draws, then over data sets."""
    part = trials[(trials["regime"] == "share") & (trials["variant"] == "a auto")]
    mean = part.groupby(["arm", "data"])["share"].mean().groupby("arm").mean()
    return f"mean over data sets {short(mean['text'])} against {short(mean['shuffled'])}"


def render(template: str, values: Values) -> str:
    """Replace every <<name>>; a name that is unknown, or never used, is an error."""
    asked = set(re.findall(r"<<(\w+)>>", template))
    if asked != set(values):
        raise KeyError(f"not computed: {sorted(asked - set(values))}; not used: {sorted(set(values) - asked)}")
    return re.sub(r"<<(\w+)>>", lambda m: values[m.group(1)], template)


PAGES: dict[str, Callable[[], Values]] = {"clustering": clustering_values, "search": search_values}
NAMES_IN_DOCS = {
    "clustering": "clustering.md",
    "search": "search_for_gain.md",
}  # Sphinx writes a search.html of its own


def main() -> None:
    for name, values in PAGES.items():
        text = render((HERE / name / "page.md").read_text(encoding="utf-8"), values())
        (DOCS / NAMES_IN_DOCS[name]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
