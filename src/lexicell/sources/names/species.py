"""Species by the names people use, as NCBI numbers them and files their genes."""

from __future__ import annotations

from dataclasses import dataclass

from ..._errors import InputError, choices

__all__ = ["HUMAN", "Species", "species"]


@dataclass(frozen=True)
class Species:
    """One species.

    Attributes
    ----------
    taxon
        NCBI Taxonomy number, as NCBI's files write it.
    name
        The name lexicell uses: ``human``, ``mouse``, ``rat``, ``pig`` ... or the number where it has no name here.
    scientific
        Latin name; empty where unknown.
    gene_info
        NCBI's smallest file that holds the genes of the species, below ``gene/DATA/``.
    """

    taxon: str
    name: str
    scientific: str = ""
    gene_info: str = "gene_info.gz"


def _known(taxon: int, name: str, scientific: str, folder: str, file: str = "") -> Species:
    file = file or scientific.replace(" ", "_")
    return Species(str(taxon), name, scientific, f"GENE_INFO/{folder}/{file}.gene_info.gz")


HUMAN = _known(9606, "human", "Homo sapiens", "Mammalia")
# Species without a file of their own are in the file of their group, which is far smaller than that of all species.
_SPECIES = (
    HUMAN,
    _known(10090, "mouse", "Mus musculus", "Mammalia"),
    _known(10116, "rat", "Rattus norvegicus", "Mammalia"),
    _known(9598, "chimpanzee", "Pan troglodytes", "Mammalia"),
    _known(9544, "rhesus macaque", "Macaca mulatta", "Mammalia", "All_Mammalia"),
    _known(9541, "crab-eating macaque", "Macaca fascicularis", "Mammalia", "All_Mammalia"),
    _known(9483, "marmoset", "Callithrix jacchus", "Mammalia", "All_Mammalia"),
    _known(9823, "pig", "Sus scrofa", "Mammalia"),
    _known(9913, "cow", "Bos taurus", "Mammalia"),
    _known(9940, "sheep", "Ovis aries", "Mammalia", "All_Mammalia"),
    _known(9796, "horse", "Equus caballus", "Mammalia", "All_Mammalia"),
    _known(9615, "dog", "Canis lupus familiaris", "Mammalia", "Canis_familiaris"),
    _known(9986, "rabbit", "Oryctolagus cuniculus", "Mammalia", "All_Mammalia"),
    _known(9031, "chicken", "Gallus gallus", "Non-mammalian_vertebrates"),
    _known(8364, "frog", "Xenopus tropicalis", "Non-mammalian_vertebrates"),
    _known(7955, "zebrafish", "Danio rerio", "Non-mammalian_vertebrates"),
    _known(7227, "fly", "Drosophila melanogaster", "Invertebrates"),
    _known(6239, "worm", "Caenorhabditis elegans", "Invertebrates"),
    _known(559292, "yeast", "Saccharomyces cerevisiae S288C", "Fungi", "Saccharomyces_cerevisiae"),
    _known(3702, "arabidopsis", "Arabidopsis thaliana", "Plants"),
)
_BY_NAME = {name.casefold(): one for one in _SPECIES for name in (one.taxon, one.name, one.scientific)}


def species(organism: str | int) -> Species:
    """Find a species by common name, Latin name or NCBI taxon number.

    Raises
    ------
    InputError
        If the name is not known; any taxon number is taken.

    Examples
    --------
    >>> species("Mus musculus").taxon, species("mouse").taxon, species(10090).name
    ('10090', '10090', 'mouse')
    """
    word = " ".join(str(organism).replace("_", " ").split())
    found = _BY_NAME.get(word.casefold())
    if found is not None:
        return found
    if word.isdigit():
        return Species(str(int(word)), str(int(word)))
    raise InputError(
        f"unknown organism '{organism}'; give one of {choices(one.name for one in _SPECIES)}, its Latin name, or the "
        "NCBI Taxonomy number of any other species"
    )
