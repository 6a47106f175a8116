"""Ways to score and to follow up suggestions of cell types: chosen on two data sets, confirmed on two.

    python evaluation/transfer/annotate_tries.py DATA_FOLDER

writes annotate_tries.csv beside this script: balanced accuracy of each way, with two shuffles of the texts. Kang's
stimulated cells and pbmc68k chose ("self+ 0.02 3", which is `refine` of tl.annotate); Kang's control cells confirm.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from annotate import FIVE, SEVEN
from run import COARSE, MAIN, labelled, read
from sklearn.cluster import KMeans

import lexicell as lx
from lexicell._values import read_values
from lexicell.core.annotation import few_shot, refined, standardised, suggestion_weights
from lexicell.core.concepts import cell_scores, concept_sets
from lexicell.core.controls import shuffled
from lexicell.core.transfer import smooth
from lexicell.sources import cell_types, lexicon
from lexicell.tl import _sides, _words
from lexicell.tl._annotate import _candidates

HERE = Path(__file__).parent
SIZES = (10, 25, 50, 100)


def raw_scores(z: _words.ZScores, types: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Scores of cells by sets of several sizes, for each way to choose the genes of a description."""
    E, V, everything = z.vectors.astype(float), types.astype(float), cell_types.load("immune")[1]
    middle = E.mean(axis=0)
    apart = V - V.mean(axis=0) + middle
    U = V / np.linalg.norm(V, axis=1, keepdims=True)
    cosine = U @ U.T
    np.fill_diagonal(cosine, -9)
    near = np.argsort(-cosine, axis=1)[:, :2]
    two = V - 0.5 * V.mean(axis=0) - 0.5 * V[near].mean(axis=1) + middle
    sets = {
        "base": suggestion_weights(E, V),
        "more": [concept_sets(E, apart, n_genes=n) for n in (5, 15, 200, 400)],
        "lexbg": [concept_sets(E, V, n_genes=n, background=lexicon.load()[1]) for n in SIZES],
        "typebg": [concept_sets(E, V, n_genes=n, background=everything) for n in SIZES],
        "half": [concept_sets(E, V - 0.7 * V.mean(axis=0) + 0.7 * middle, n_genes=n) for n in SIZES],
        "near2": [concept_sets(E, two, n_genes=n) for n in SIZES],
    }
    return {name: [cell_scores(z.deviations, z.baseline, s) for s in several] for name, several in sets.items()}


def balanced_mass(S: np.ndarray, tau: float, mix: float) -> np.ndarray:
    """Every type gets the same share of all cells (Sinkhorn)."""
    P = np.exp((S - S.max(axis=1, keepdims=True)) / tau)
    for _ in range(50):
        P *= (len(P) / P.shape[1] / P.sum(axis=0)) ** mix
        P /= P.sum(axis=1, keepdims=True)
    return P


def trained(S: np.ndarray, X: np.ndarray, share: float, rounds: int) -> np.ndarray:
    """Nearness to the clearest cells alone, without the scores of descriptions."""
    now = S
    for _ in range(rounds):
        others = np.where(np.eye(S.shape[1], dtype=bool)[None], -np.inf, now[:, None, :]).max(axis=2)
        best, codes = np.argsort(-(now - others), axis=0), np.full(len(S), -1)
        for k in range(S.shape[1]):
            codes[best[: max(10, int(share * len(S))), k]] = k
        now = standardised(few_shot(X, codes, S.shape[1]))
    return now


def by_clusters(S: np.ndarray, X: np.ndarray, n: int) -> np.ndarray:
    """Mean score of each of n clusters of expression."""
    codes = KMeans(n, n_init=3, random_state=0).fit_predict(X)
    return np.stack([S[codes == i].mean(axis=0) for i in range(n)])[codes]


def ways(scores: dict[str, list[np.ndarray]], X: np.ndarray) -> dict[str, np.ndarray]:
    def total(several: list[np.ndarray]) -> np.ndarray:
        return standardised(sum(standardised(s) for s in several))

    def smoothed(several: list[np.ndarray]) -> np.ndarray:
        return standardised(smooth(total(several), X))

    B, more = scores["base"], scores["more"]
    S = smoothed(B)
    found = {"default": S, "unsmoothed": total(B)}
    found |= {name: smoothed(scores[name]) for name in ("lexbg", "typebg", "half", "near2")}
    found |= {f"base+{name}": standardised(S + found[name]) for name in ("typebg", "near2")}
    found |= {"100-400": smoothed([B[3], *more[2:]]), "5-25": smoothed([more[0], B[0], more[1], B[1]])}
    found |= {"5-400": smoothed([*more, *B]), "row centred": standardised(S - S.mean(axis=1, keepdims=True))}
    for ridge in (0.05, 0.1, 1.0):
        found[f"partial {ridge}"] = standardised(S @ np.linalg.inv(np.corrcoef(S.T) + ridge * np.eye(S.shape[1])))
    values, vectors = np.linalg.eigh(np.corrcoef(S.T) + 0.3 * np.eye(S.shape[1]))
    found["decorrelated"] = standardised(S @ (vectors / np.sqrt(values)) @ vectors.T)
    found |= {f"sinkhorn {tau} {mix}": balanced_mass(S, tau, mix) for tau in (0.5, 1.0) for mix in (0.5, 1.0)}
    for share in (0.01, 0.02, 0.05):
        found |= {f"self {share} {rounds}": trained(S, X, share, rounds) for rounds in (1, 3)}
        found[f"self+ {share} 3"] = refined(S, X, share=share, rounds=3)
    away = S - np.median(S, axis=0)
    found |= {"median/mad": away / np.median(np.abs(away), axis=0), "rank": np.argsort(np.argsort(S, axis=0), axis=0)}
    found |= {f"clusters {n}": by_clusters(S, X, n) for n in (15, 30, 60)}
    found["clusters 30 self .02"] = by_clusters(found["self 0.02 3"], X, 30)
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    blood = lx.datasets.pbmc68k_counts()
    stim, ctrl = (("kang_pbmc.h5ad", "cell_type", ("condition", c)) for c in ("stim", "ctrl"))
    studies = [
        ("stim7", "chosen on", read(folder, *stim, MAIN), SEVEN),
        ("stim5", "chosen on", read(folder, *stim, COARSE), FIVE),
        ("pbmc5", "chosen on", labelled(blood, blood.obs["cell_type"].astype(str), COARSE), FIVE),
        ("ctrl7", "confirmed", read(folder, *ctrl, MAIN), SEVEN),
        ("ctrl5", "confirmed", read(folder, *ctrl, COARSE), FIVE),
    ]
    rows = []
    for name, role, adata, names in studies:
        genes, values = lx.emb.genes(adata, organism="human"), read_values(adata, library_size="n_counts")
        X, kinds = _sides.own_components(values, 20, 1000)[1], list(names.values())
        real = np.array([kinds.index(names[label]) for label in adata.obs["label"]])
        for control in ("none", "shuffled 0", "shuffled 1"):
            known = genes if control == "none" else shuffled(genes, seed=int(control[-1]))
            types = _candidates(kinds, None, None, known)[3].vectors
            for way, S in ways(raw_scores(_words.zscores(values, known), types), X).items():
                recall = [(S.argmax(axis=1)[real == k] == k).mean() for k in range(len(kinds))]
                row = {"data": name, "role": role, "control": control, "way": way}
                rows.append({**row, "balanced_accuracy": np.mean(recall)})
        print(name, flush=True)
    pd.DataFrame(rows).round(3).to_csv(HERE / "annotate_tries.csv", index=False)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
