"""Transfer to genes named and described as mouse genes, without an ortholog table.

    python evaluation/transfer/species.py DATA_FOLDER

writes species.csv (finished blocks are kept) and species_table.csv beside this script. There is no labeled human and
mouse pair of one tissue at hand, so the cells of both sides are human (Kang's control cells, five types); only what is
known of the target's genes is the mouse's. Each gene of the target gets the symbol of its mouse orthologue, and

- "human text": the human text itself (the figure to compare with);
- "mouse, bundled": the bundled text of the mouse gene, which is the orthologue's: an orthologue table in disguise;
- "mouse, own": the mouse gene's own full name and its own RefSeq summary, which few mouse genes have;
- "mouse, names": the mouse gene's own full name alone;

against `full name. RefSeq summary` of human genes at the source. "halves": no gene's orthologue is on the other side.
"orthologues": both sides hold the same genes under two names, and nothing but text says so.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from _draws import HERE, Row, in_two, moved, recall, run
from run import gene_vectors, halves, read

import lexicell as lx
from lexicell.core.controls import random_vectors, shuffled
from lexicell.sources import bundled


def orthologues(human: lx.GeneEmbedding) -> pd.DataFrame:
    """Mouse gene of each human one that has exactly one, by human symbol: `mouse` symbol and `gene_id`."""
    table = bundled.load_table("mouse")
    mouse = pd.DataFrame({"mouse": table.symbol, "gene_id": table.gene_id, "human": table.human_gene_id})
    mouse = mouse[~mouse["human"].astype(str).isin(["", "0", "nan", "None"])].drop_duplicates("human", keep=False)
    ids = pd.Series(human.table["gene_id"].astype(str).to_numpy(), index=human.ids)
    return mouse.set_index(mouse["human"].astype(str)).reindex(ids).set_index(ids.index).dropna()


def mouse_texts(pairs: pd.DataFrame, folder: Path, *, summaries: bool) -> lx.GeneEmbedding:
    """Vectors of the mouse genes' own names, with their own summaries where asked and where there is one."""
    named = lx.emb.genes(list(pairs["mouse"]), source="bundled-names", organism="mouse")
    texts = [str(t) for t in named.texts]
    if summaries:
        table = pd.read_csv(folder / "gene_summaries_mouse.tsv.gz", sep="\t", dtype=str).drop_duplicates("Gene_ID")
        own = table.set_index("Gene_ID")["Gene_summary"].reindex(named.table["gene_id"].astype(str)).fillna("")
        texts = [f"{t} {s}".strip() for t, s in zip(texts, own, strict=True)]
        print(f"{(own != '').sum()} of {len(own)} mouse genes have a summary of their own")
    return lx.GeneEmbedding.from_vectors(named.ids, lx.embedders.embed(texts, "local"), texts=texts, table=named.table)


def main() -> None:
    folder = Path(sys.argv[1])
    kang = read(folder, "kang_donors.h5ad", "cluster_id", ("group_id", "ctrl"), None)
    bundle = lx.emb.genes(list(kang.var_names), organism="human")
    pairs = orthologues(bundle)
    kang = kang[:, [g in pairs.index for g in kang.var_names]].copy()
    to_mouse = pairs["mouse"].to_dict()
    human = gene_vectors(list(kang.var_names), "human", "RefSeq summary", folder)
    mouse_bundle = lx.emb.genes(list(pairs["mouse"]), organism="mouse")
    own, names = (mouse_texts(pairs, folder, summaries=s) for s in (True, False))
    print(
        f"{kang.n_vars} genes with one orthologue, {sum(a != b.upper() for a, b in to_mouse.items())} of another symbol"
    )

    def as_mouse(adata: anndata.AnnData) -> anndata.AnnData:
        new = adata.copy()
        new.var_names = [to_mouse[g] for g in adata.var_names]
        return new

    def rows_of(design: str, seed: int) -> list[Row]:
        rng = np.random.default_rng(seed)
        one, other = halves(kang, rng) if design == "halves" else in_two(kang, rng, 400)
        other_mouse = as_mouse(other)
        tried = {
            "human text": (human, human, other), "mouse, bundled": (bundle, mouse_bundle, other_mouse),
            "mouse, own": (human, own, other_mouse), "mouse, names": (human, names, other_mouse),
            "mouse, own, shuffled": (human, shuffled(own, seed=seed), other_mouse),
            "mouse, own, random": (human, random_vectors(own, seed=seed), other_mouse),
        }  # fmt: skip
        rows = []
        for text, (theirs, mine, target) in tried.items():
            new = moved(one, target, (theirs, mine), method="aligned")
            found = new.uns["lexicell"]["text_transfer"]["table"].iloc[0]
            rows.append({"target_text": text, "score": recall(new), "p": found["p"], "shared": found["shared_genes"]})
        return rows

    table = run("species", [(d, s) for d in ("halves", "orthologues") for s in range(5)], ["design", "seed"], rows_of)
    groups = table.groupby(["design", "target_text"], sort=False)
    means = groups["score"].agg(["mean", "std", "min", "max"])
    means["p_below_.05"] = groups["p"].agg(lambda p: (p < 0.05).mean())
    means.round(3).reset_index().to_csv(HERE / "species_table.csv", index=False)
    print(means.round(3).to_string())


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
