"""Gene texts and vectors that ship with the package: no network, no model, no key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, check_choice
from ._base import GeneTexts
from ._compose import full_text, name_text
from ._gene_table import GeneTable
from .names.mapping import match

__all__ = ["ORGANISMS", "BundledSource", "load_manifest", "load_table", "load_terms", "load_texts", "load_vectors"]

ORGANISMS = ("human", "mouse", "rat")
DATA = Path(__file__).parents[1] / "data"
_ROW_COLUMN = {"bundled": "text_row", "bundled-names": "name_row"}


class BundledSource:
    """Texts made from the facts of gene registries, and their vectors, as they ship with lexicell.

    Parameters
    ----------
    name
        ``"bundled"``: ``SYMBOL: full name. GO term; GO term; ...`` with as many terms as the default embedder reads.
        ``"bundled-names"``: ``SYMBOL: full name.`` alone, for evaluations in which GO terms would leak the answer.

    Notes
    -----
    A mouse or rat gene with a human orthologue has the orthologue's text, since offline facts about mouse genes are
    little more than their names; ``text_source`` then says ``human orthologue`` and ``text_gene_id`` whose text it is.
    An orthologue that is a pseudogene in human is not used where the gene has a name of its own.

    Examples
    --------
    >>> from lexicell.sources.bundled import BundledSource
    >>> found = BundledSource("bundled-names").texts(["SOD1", "no-such-gene"], organism="human")
    >>> list(found.texts)
    ['SOD1: superoxide dismutase 1.', '']
    >>> found.vectors.shape
    (2, 384)
    """

    def __init__(self, name: str = "bundled") -> None:
        self.name = check_choice(name, _ROW_COLUMN, "bundled source")

    def __repr__(self) -> str:
        return f"BundledSource('{self.name}')"

    def texts(self, names: Sequence[str], *, organism: str) -> GeneTexts:
        """Find the text and the vector of each name.

        Parameters
        ----------
        names
            Gene names as they are in the data: symbols, Ensembl ids, NCBI GeneIDs.
        organism
            ``human``, ``mouse`` or ``rat``.

        Returns
        -------
        GeneTexts
            With a row for every name, and vectors ``(n_names, 384)`` float32. Beside the columns every source gives,
            the table has ``accession`` (HGNC, MGI or RGD).

        Raises
        ------
        InputError
            If the organism is another, or the files of the bundle are incomplete.
        """
        if organism not in ORGANISMS:
            raise InputError(
                f"the bundled texts cover {', '.join(ORGANISMS)}, not '{organism}'; "
                "for another species use source='ncbi', or your own texts with source='table:PATH'"
            )
        table = load_table(organism)
        frame = match(names, table)
        for column in ("name", "gene_type", "accession"):
            frame[column] = table.take(column, frame["row"])
        vectors = np.zeros((len(frame), load_vectors().shape[1]), dtype=np.float32)
        facts: dict[str, list[str]] = {"note": [], "text_source": [], "text_gene_id": []}
        texts = []
        for i, (row, note) in enumerate(zip(frame["row"], frame["note"], strict=True)):
            spoken = _Spoken("", "", "", -1)
            if row >= 0:
                spoken = _speak(table, row, self.name)
                if not spoken.text:
                    note = "; ".join(filter(None, (note, "no name is known for this gene")))
            if spoken.vector_row >= 0:
                vectors[i] = load_vectors()[spoken.vector_row]
            texts.append(spoken.text)
            facts["note"].append(note)
            facts["text_source"].append(spoken.text_source)
            facts["text_gene_id"].append(spoken.gene_id)
        frame = frame.assign(**facts)
        return GeneTexts(
            table=frame[_COLUMNS],
            texts=np.array(texts, dtype=object),
            provenance=self._provenance(str(frame.attrs["id_type"])),
            vectors=vectors,
            vectors_from="{embedder}@{revision}".format(**load_manifest()["vectors"]),
        )

    def _provenance(self, id_type: str) -> dict[str, Any]:
        manifest = load_manifest()
        return {
            "source": self.name,
            "version": manifest["tool"],
            "template": f"{manifest['template']['version']}: {manifest['template']['text']}",
            "licence": "see LICENSES.md in lexicell/data: NCBI Gene, Gene Ontology (CC BY 4.0), HGNC, MGI, RGD",
            "dates": dict(manifest["dates"]),
            "id_type": id_type,
            "texts_sha256": manifest["texts"]["sha256"],
            "vectors_sha256": manifest["vectors"]["sha256"],
        }


_COLUMNS = [
    "gene_id",
    "symbol",
    "name",
    "gene_type",
    "matched_by",
    "note",
    "text_source",
    "text_gene_id",
    "accession",
]


class _Spoken(NamedTuple):
    """The text of a gene, what it is made of, whose facts it states, and the row of its vector."""

    text: str
    text_source: str
    gene_id: str
    vector_row: int


def _speak(table: GeneTable, row: int, variant: str) -> _Spoken:
    """The text of one gene, from its own facts or those of its human orthologue."""
    source = "name"
    if variant == "bundled" and table.go[row]:
        source = "name and GO terms"
    if table.human_gene_id[row]:
        human = load_table("human")
        human_row = human.row_of_gene_id[table.human_gene_id[row]]
        # The builder decided whose facts the text states; the row of the vector tells.
        if human.extra["name_row"][human_row] == table.extra["name_row"][row]:
            table, row, source = human, human_row, "human orthologue"
    text = name_text(table, row)
    if variant == "bundled":
        text = full_text(table, row, load_terms())
    vector_row = int(table.extra[_ROW_COLUMN[variant]][row])
    if not text:
        return _Spoken("", "", "", vector_row)
    return _Spoken(text, source, table.gene_id[row], vector_row)


@lru_cache(maxsize=len(ORGANISMS))
def load_table(organism: str) -> GeneTable:
    """The bundled genes of one species, read once per process."""
    check_choice(organism, ORGANISMS, "organism of the bundled table")
    return GeneTable.read(_file(f"genes_{organism}.tsv.gz"), organism)


@lru_cache(maxsize=1)
def load_terms() -> dict[str, str]:
    """Gene Ontology id -> name of the term, for the ids the table uses."""
    import gzip

    lines = gzip.decompress(_file("go_terms.tsv.gz").read_bytes()).decode().split("\n")[1:]
    return dict(line.split("\t") for line in lines if line)


@lru_cache(maxsize=1)
def load_vectors() -> NDArray[np.float16]:
    """The vectors of all texts, ``(n_texts, 384)`` float16, mapped into memory rather than read."""
    vectors: NDArray[np.float16] = np.load(_file("vectors.npy"), mmap_mode="r", allow_pickle=False)
    return vectors


@lru_cache(maxsize=1)
def load_manifest() -> dict[str, Any]:
    """How the bundle was made: inputs, counts, template, hashes."""
    manifest: dict[str, Any] = json.loads(_file("manifest.json").read_text())
    return manifest


def load_texts() -> list[str]:
    """Every distinct text of the bundle, in the order of the rows of the vectors."""
    texts = [""] * int(load_manifest()["texts"]["n"])
    for organism in ORGANISMS:
        table = load_table(organism)
        for variant in _ROW_COLUMN:
            for row in range(len(table)):
                spoken = _speak(table, row, variant)
                if spoken.vector_row >= 0:
                    texts[spoken.vector_row] = spoken.text
    return texts


def _file(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        raise InputError(
            f"the bundled file {name} is missing from {DATA}: reinstall lexicell, or, in a source checkout, "
            "run tools/build_gene_table.py and then tools/build_vectors.py"
        )
    return path
