"""What can be told from a gene name alone: clone names, mitochondrial and ribosomal genes, dates, species."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "ENSEMBL",
    "OrganismGuess",
    "guess_organism",
    "is_clone_like",
    "is_missing",
    "is_mitochondrial",
    "is_ribosomal",
    "row_numbers",
    "split_genome",
    "spreadsheet_names",
]

# ENSG00000141510, ENSMUSG..., with or without version; ENSGR... is an older way to write the copy on chromosome Y.
ENSEMBL = re.compile(r"(ENS(?:[A-Z]{3,4})?)(G|T|P|E|GR)(\d{10,11})(?:\.\d+)?(_PAR_Y)?$")

_CLONE = re.compile(
    "(?:"
    + "|".join(
        (
            # Clones of the genome projects: RP11-34P13.7, CTD-2132N18.3, XXbac-BPG300A18.13, LA16c-306E5.2
            r"(?:RP|CT[ABCD]|CH|KB|GS1?|GHc|LL|LA16c|XX?[by]ac|XX|CITF|WI2|hCG|bP|yR|ABC|DAQB|CMB|SC)[A-Z0-9]*"
            r"-[0-9_]*[A-Z][A-Z0-9_]*(?:[.:\-]\d+)?",
            # Accessions of sequences and contigs: AC073569.2, AL590822.1, BX284668.5, Z98884.1, AABR07000001.1
            r"(?:A[BCDEFJLPU]|B[BCSXK]|C[RTU]|F[OPQ]|K[CF]|AADN|AABR|[LUZDMXY])\d{5,8}(?:\.\d+)?(?:-\d+)?",
            # Expressed sequences: AI506816, BC055324, C77080, D10Ertd709e
            r"A[AIUVW]\d{6}|B[BCE]\d{6}|C\d{5,6}|D[\dXY]+[A-Z][a-z]+\d+e?",
            # Serial numbers of predicted loci: LOC105378914, Gm12345, MGC4859, FLJ20712, DKFZp434A062, RGD1306063
            r"(?:LOC|Gm|MGC|FLJ|DKFZ[Pp]|RGD|OTTHUMG|OTTMUSG)\d+[A-Za-z0-9]*(?:\.\d+)?",
            r".+Rik\d*",
            # Families of small RNAs by their Rfam name, and microRNAs by miRBase's: Y_RNA, snoU13, hsa-mir-1253
            r".*_RNA|Metazoa_SRP|7SK|5S_rRNA|5_8S_rRNA|Vault|sno[A-Z]+\d+|uc_338|U\d|ACA\d+[a-z]?|hsa-[a-z0-9\-]+",
        )
    )
    + r")(?:[.\-_]\d+)?$"
)
_RIBOSOMAL = re.compile(r"(?i)RP(L|S)(\d+[AXYL]?\d?L?|P\d|A)(-?PS\d*)?$")
_MITOCHONDRIAL = re.compile(r"(MT|mt|Mt)[-.]")


def is_clone_like(name: str) -> bool:
    """Whether a name is that of a clone, a contig, a predicted locus or an unnamed family, not of a named gene.

    Such loci (``RP11-34P13.7``, ``AC073569.2``, ``LOC105378914``, ``Gm12345``, ``2310009E13Rik``) have no description.
    """
    return _CLONE.match(name) is not None


# How programs write a name that is not there; NaN and NA are also old names of the genes SCN11A and XK.
_MISSING = frozenset({"", "nan", "NaN", "NA", "<NA>", "None", "null", "NULL"})


def is_missing(name: str) -> bool:
    """Whether a name is what programs write where there is none: empty, ``nan``, ``NA``, ``None``."""
    return name.strip() in _MISSING


def row_numbers(names: Sequence[str]) -> bool:
    """Whether names are the numbers of rows, 0 or 1 to n with perhaps some left out, rather than NCBI GeneIDs.

    GeneIDs of a real data set go up to many millions.
    """
    if len(names) < 2 or not all(name.isdigit() for name in names):
        return False
    numbers = {int(name) for name in names}
    # A few small GeneIDs given by hand (2, 9, 10 ...) are no rows, unless they are numbered through.
    most = 2 * len(names) if len(names) >= 50 else len(names)
    return len(numbers) == len(names) and max(numbers) <= most


def is_mitochondrial(symbol: str) -> bool:
    """Whether a gene lies on the mitochondrial genome, by its symbol: ``MT-ND1``, ``mt-Nd1``, ``Mt-nd1``."""
    return _MITOCHONDRIAL.match(symbol) is not None


def is_ribosomal(symbol: str) -> bool:
    """Whether a gene encodes a protein of the cytosolic ribosome, by its symbol; kinases (``RPS6KA1``) are not."""
    return _RIBOSOMAL.match(symbol) is not None


_GENOMES = {
    "human": r"GRCh3[78]|hg19|hg38|hs37d5|T2T[A-Za-z0-9]*|CHM13",
    "mouse": r"GRCm3[89]|mm10|mm9|mm39",
    "rat": r"Rnor_?6(?:\.0)?|rn[567]|mRatBN7[._]2|GRCr8",
}
_GENOME = re.compile(
    "(?:" + "|".join(f"(?P<{species}>{words})" for species, words in _GENOMES.items()) + r")(?:[_\-]+)(?P<name>.+)$"
)


def split_genome(name: str) -> tuple[str, str, str]:
    """Split the genome off a name of a matrix of several genomes: ``GRCh38_SOD1`` -> ``("human", "GRCh38", "SOD1")``.

    Returns two empty strings and the name where there is no such prefix.
    """
    match = _GENOME.match(name)
    if match is None:
        return "", "", name
    species = next(species for species in _GENOMES if match[species])
    return species, name[: match.start("name")].rstrip("_-"), match["name"]


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Two months have two gene families that a spreadsheet turns into the same date.
_FAMILIES = {"mar": ("MARCH", "MARC"), "sep": ("SEPT", "SEP")}
_DATES = (
    re.compile(r"(?P<day>\d{1,2})[-/ ](?P<month>[A-Za-z]{3})(?:[-/ ]\d{2,4})?$"),  # 2-Sep
    re.compile(r"(?P<month>[A-Za-z]{3})[-/ ](?P<day>\d{1,2})$"),  # Sep-02
    re.compile(r"(?:19|20)\d\d-(?P<number>\d\d)-(?P<day>\d\d)(?: 00:00:00)?$"),  # 2022-09-02
)


def spreadsheet_names(name: str) -> list[str]:
    """Gene names that a spreadsheet may have turned into this date; empty if it is none.

    Examples
    --------
    >>> spreadsheet_names("2-Sep"), spreadsheet_names("2001-03-01"), spreadsheet_names("SOD1")
    (['SEPT2', 'SEP2'], ['MARCH1', 'MARC1'], [])
    """
    for pattern in _DATES:
        match = pattern.match(name)
        if match is None:
            continue
        found = match.groupdict()
        month = found.get("month", "").lower()
        if "number" in found and 1 <= int(found["number"]) <= 12:
            month = _MONTHS[int(found["number"]) - 1]
        if month not in _MONTHS:
            return []
        return [f"{family}{int(found['day'])}" for family in _FAMILIES.get(month, (month.upper(),))]
    return []


@dataclass(frozen=True)
class OrganismGuess:
    """A species and what speaks for it.

    Attributes
    ----------
    organism
        ``human``, ``mouse``, ``rat``, or empty where the names do not tell.
    evidence
        One sentence for a message.
    """

    organism: str
    evidence: str


_PREFIXES = {"ENS": "human", "ENSMUS": "mouse", "ENSRNO": "rat"}
_RODENT = re.compile(r"(?:[A-Z][a-z]+[a-z0-9]*|mt-|Mt-)")
_ONLY_MOUSE = re.compile(r"Gm\d+$|mt-[A-Z]|.*Rik\d*$")
_ONLY_RAT = re.compile(r"RGD\d+|AABR\d|Mt-[a-z]|LOC\d+$")


def guess_organism(names: Iterable[str]) -> OrganismGuess:
    """Guess the species from gene names alone: Ensembl prefixes, genome prefixes, else the case of the symbols.

    Parameters
    ----------
    names
        Gene names as they are in the data.

    Returns
    -------
    OrganismGuess
        With an empty ``organism`` where the names do not tell, or tell of several species.

    Examples
    --------
    >>> guess_organism(["Sod1", "Actb", "Gm1992", "mt-Nd1"]).organism
    'mouse'
    """
    names = [str(name) for name in names]
    if not names:
        return OrganismGuess("", "there are no gene names")
    for by, votes in (("genomes", _genomes(names)), ("Ensembl ids", _ensembl(names))):
        total = sum(votes.values())
        if total * 2 >= len(names):
            organism, n = votes.most_common(1)[0]
            if n < 0.95 * total:
                mixed = ", ".join(f"{count} {species}" for species, count in votes.most_common(3))
                return OrganismGuess("", f"the {by} are of several species: {mixed}")
            if organism not in _GENOMES:
                return OrganismGuess(
                    "", f"{n} of {len(names)} names are Ensembl ids of another species ({organism}G...)"
                )
            return OrganismGuess(organism, f"{n} of {len(names)} names have {organism} {by}")
    return _by_case(names)


def _genomes(names: Sequence[str]) -> Counter[str]:
    votes = Counter(split_genome(name)[0] for name in names)
    del votes[""]
    return votes


def _ensembl(names: Sequence[str]) -> Counter[str]:
    votes: Counter[str] = Counter()
    for name in names:
        match = ENSEMBL.match(name)
        if match is not None:
            votes[_PREFIXES.get(match[1], match[1])] += 1
    return votes


def _by_case(names: Sequence[str]) -> OrganismGuess:
    words = [name for name in names if len(name) > 1 and name[0].isalpha() and not name.startswith(("LOC", "ENS"))]
    rodent = sum(_RODENT.match(word) is not None and not word.isupper() for word in words)
    human = sum(word.replace("orf", "ORF").isupper() for word in words)
    if not words or max(rodent, human) < 0.6 * len(words):
        return OrganismGuess("", "the names follow neither human (SOD1) nor mouse and rat (Sod1) spelling")
    if human >= rodent:
        return OrganismGuess("human", f"{human} of {len(words)} symbols are in capitals, as human genes are written")
    mouse = sum(_ONLY_MOUSE.match(name) is not None for name in names)
    rat = sum(_ONLY_RAT.match(name) is not None for name in names)
    if rat > mouse:
        return OrganismGuess(
            "rat", f"{rodent} of {len(words)} symbols are spelled like Sod1, {rat} are rat loci (LOC, RGD, Mt-)"
        )
    marks = f", {mouse} are mouse loci (Gm, Rik, mt-)" if mouse else "; rat genes are written alike"
    return OrganismGuess("mouse", f"{rodent} of {len(words)} symbols are spelled like Sod1{marks}")
