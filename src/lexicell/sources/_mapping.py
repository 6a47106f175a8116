"""From the gene names of a data set to the rows of a gene table, with every name accounted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from .._errors import check_choice
from ._index import Index, index_of
from ._names import (
    ENSEMBL,
    OrganismGuess,
    guess_organism,
    is_clone_like,
    is_mitochondrial,
    is_ribosomal,
    split_genome,
    spreadsheet_names,
)
from ._table import GeneTable

__all__ = [
    "ID_TYPES",
    "OrganismGuess",
    "guess_organism",
    "is_clone_like",
    "is_mitochondrial",
    "is_ribosomal",
    "match",
]

ID_TYPES = ("auto", "symbol", "ensembl", "entrez")
_ENSEMBL_PREFIX = {"human": "ENS", "mouse": "ENSMUS", "rat": "ENSRNO"}
_SPECIES_OF = {prefix: organism for organism, prefix in _ENSEMBL_PREFIX.items()}
_JOINED = re.compile(r"(?P<a>.+?)[_|:](?P<b>.+)$")
_SCIENTIFIC = re.compile(r"\d(\.\d+)?[Ee]\+\d+$")
_SUFFIX = re.compile(r"(?P<base>.+)(?P<mark>[.\-])(?P<number>\d{1,2})$")
# Members of these families differ by such a number: SNORA40.5 is another gene than SNORA40.
_NUMBERED = re.compile(
    r"(?i)(sno[ru]|scarna|rnu\d|rna?\d|rny|mir|hsa-|u\d|y_rna|\d+s|7sk|trn|ig[hkl][vdj]|tr[abgd][vdj])"
)


class _Hit(NamedTuple):
    row: int  # -1: none
    by: str
    note: str


_NONE = _Hit(-1, "", "")


def match(
    names: Sequence[str] | pd.Index[str],
    table: GeneTable,
    *,
    id_type: str = "auto",
    history: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Find the row of each name in a gene table.

    An official symbol beats a former symbol, which beats an unambiguous synonym. What only resembles a name
    (a genome prefix, a suffix that makes names unique, dots for dashes, a spreadsheet's date, another case) is tried
    after, and the note says so. A name that stands for several genes matches none; the note lists them.

    Parameters
    ----------
    names
        Gene names as they stand in the data: symbols, Ensembl ids with or without version, NCBI GeneIDs.
    table
        The genes of the species.
    id_type
        ``symbol``, ``ensembl``, ``entrez``, or ``auto``: each name by its own form, where names that are numbers
        alone count as NCBI GeneIDs only if at least half of all names are such.
    history
        Discontinued GeneID -> its successor (empty or ``-`` if it has none).

    Returns
    -------
    pandas.DataFrame
        Indexed by `names`, in their order. ``row`` (int, -1 where nothing matched), ``gene_id``, ``symbol``,
        ``matched_by`` (``symbol``, ``previous``, ``synonym``, ``ensembl``, ``entrez``, ``case`` or empty) and
        ``note``. ``attrs["id_type"]`` says in one sentence which kinds of names were seen.

    Raises
    ------
    InputError
        If `id_type` is none of the choices.

    Examples
    --------
    >>> from lexicell.sources._table import GeneTable
    >>> table = GeneTable.from_rows("human", [{"gene_id": "4735", "symbol": "SEPTIN2", "previous": "SEPT2"}])
    >>> match(["SEPTIN2", "SEPT2", "2-Sep", "NONE1"], table)["matched_by"].tolist()
    ['symbol', 'previous', 'previous', '']
    """
    check_choice(id_type, ID_TYPES, "id_type")
    words = [str(name) for name in names]
    index = index_of(table)
    seen = _kinds(words)
    finder = _Finder(
        index, set(words), history or {}, numbers=id_type == "entrez" or seen["entrez"] * 2 >= len(words) > 0
    )
    hits = _tell_twins(words, finder.all(words, id_type))
    rows = [hit.row for hit in hits]
    frame = pd.DataFrame(
        {
            "row": rows,
            "gene_id": [table.gene_id[row] if row >= 0 else "" for row in rows],
            "symbol": [table.symbol[row] if row >= 0 else "" for row in rows],
            "matched_by": [hit.by for hit in hits],
            "note": [hit.note for hit in hits],
        },
        index=pd.Index(words, dtype=object),
    )
    frame.attrs["id_type"] = (
        f"{seen['ensembl']} of {len(words)} names look like Ensembl ids, {seen['entrez']} are numbers alone"
        + ("" if id_type == "auto" else f"; read as {id_type} because id_type='{id_type}' was given")
    )
    return frame


def _kinds(words: Sequence[str]) -> dict[str, int]:
    return {
        "ensembl": sum(word.startswith("ENS") and ENSEMBL.match(word) is not None for word in words),
        "entrez": sum(word.isdigit() for word in words),
    }


def _tell_twins(words: Sequence[str], hits: list[_Hit]) -> list[_Hit]:
    """Note where several names mean one gene: all are kept, for a data set may hold a gene under two names."""
    first: dict[int, str] = {}
    for official in (True, False):
        for word, hit in zip(words, hits, strict=True):
            if (hit.by == "symbol") is official:
                first.setdefault(hit.row, word)
    return [
        hit
        if hit.row < 0 or first[hit.row] == word
        else hit._replace(note=_join(hit.note, f"same gene as {first[hit.row]}"))
        for word, hit in zip(words, hits, strict=True)
    ]


class _Finder:
    """The rules, from the plain to the far-fetched, for one set of names."""

    def __init__(self, index: Index, names: set[str], history: Mapping[str, str], *, numbers: bool) -> None:
        self.index, self.names, self.history, self.numbers = index, names, history, numbers

    def all(self, words: Sequence[str], id_type: str) -> list[_Hit]:
        plain = {"auto": self.plain, "symbol": self.symbol, "ensembl": self.ensembl, "entrez": self.entrez}[id_type]
        hits = [plain(word) for word in words]
        if id_type in {"auto", "symbol"}:
            open_ = [i for i, hit in enumerate(hits) if hit is _NONE]
            for i in open_:
                hits[i] = self.resembling(words[i], plain)
            self._drop_doubtful_case(words, hits)
        return [
            hit if hit.row >= 0 or hit.note else _Hit(-1, "", self.why_not(word))
            for word, hit in zip(words, hits, strict=True)
        ]

    def plain(self, word: str) -> _Hit:
        """A name taken as it stands, whatever its kind."""
        if word.startswith("ENS") and ENSEMBL.match(word):
            return self.ensembl(word)
        if word.isdigit():
            return self.entrez(word) if self.numbers else _NONE
        return self.symbol(word)

    def symbol(self, word: str) -> _Hit:
        index = self.index
        rows = index.symbol.get(word)
        if rows:
            also = self._also(rows, "a former symbol", index.previous.get(word))
            return self._one(rows, "symbol", also, "the symbol")
        rows = index.previous.get(word)
        if rows:
            also = self._also(rows, "another name", index.synonym.get(word))
            hit = self._one(rows, "previous", also, "a former symbol")
            return self._prefixed(hit, "now")
        rows = index.synonym.get(word)
        if rows:
            return self._prefixed(self._one(rows, "synonym", "", "another name"), "another name of")
        if word.startswith("LOC") and word[3:].isdigit():
            hit = self.entrez(word[3:])
            return (
                hit._replace(note=_join("the number of a LOC symbol is a GeneID", hit.note)) if hit.row >= 0 else _NONE
            )
        return _NONE

    def ensembl(self, word: str) -> _Hit:
        found = ENSEMBL.match(word)
        if found is None:
            return _Hit(-1, "", "not an Ensembl id")
        prefix, kind, digits, par = found.groups()
        if kind not in {"G", "GR"}:
            return _Hit(-1, "", "an Ensembl id of a transcript, protein or exon; give that of the gene")
        species = _SPECIES_OF.get(prefix, f"another species ({prefix}G)")
        if self.index.organism in _ENSEMBL_PREFIX and species != self.index.organism:
            return _Hit(-1, "", f"an Ensembl id of {species}, not of {self.index.organism}")
        rows = self.index.ensembl.get(f"{prefix}G{digits.rjust(11, '0')}")
        note = "the copy on chromosome Y (pseudoautosomal)" if par or kind == "GR" else ""
        return self._one(rows, "ensembl", note, "this Ensembl id") if rows else _NONE

    def entrez(self, word: str) -> _Hit:
        row = self.index.gene_ids.get(word)
        if row is not None:
            return _Hit(row, "entrez", "")
        if word not in self.history:
            return _NONE
        now = self.history[word]
        for _ in range(10):  # a successor may itself be discontinued
            if now in self.index.gene_ids:
                return _Hit(self.index.gene_ids[now], "entrez", f"GeneID {word} was replaced by {now}")
            now = self.history.get(now, "")
        return _Hit(-1, "", f"GeneID {word} is discontinued and has no successor here")

    def _also(self, rows: tuple[int, ...], what: str, others: tuple[int, ...]) -> str:
        others = tuple(row for row in others if row not in rows)
        return f"also {what} of {self.index.labels(others)}" if others else ""

    def _one(self, rows: tuple[int, ...], by: str, note: str, what: str) -> _Hit:
        if len(rows) == 1:
            return _Hit(rows[0], by, note)
        genes = tuple(row for row in rows if self.index.types[row] != "pseudo")
        if len(genes) == 1:
            others = self.index.labels(row for row in rows if row not in genes)
            return _Hit(genes[0], by, _join(note, f"pseudogenes have this name too: {others}"))
        return _Hit(-1, "", f"ambiguous: {what} of {self.index.labels(rows)}")

    def _prefixed(self, hit: _Hit, words: str) -> _Hit:
        return hit._replace(note=_join(f"{words} {self.index.symbols[hit.row]}", hit.note)) if hit.row >= 0 else hit

    def resembling(self, word: str, plain: Callable[[str], _Hit]) -> _Hit:
        """A name that is not in the table as it stands."""
        species, genome, rest = split_genome(word)
        if genome:
            if self.index.organism in _ENSEMBL_PREFIX and species != self.index.organism:
                return _Hit(-1, "", f"a {species} gene (genome {genome})")
            hit = plain(rest)
            hit = hit if hit is not _NONE else self.resembling(rest, plain)
            return hit._replace(note=_join(f"genome {genome}", hit.note)) if hit.row >= 0 or hit.note else _NONE
        if word != word.strip():
            return self._noted(plain(word.strip()), "spaces around the name")
        if "," in word:
            return self._several(word.split(","), plain)
        if word.isdigit() and not self.numbers:
            return _Hit(-1, "", "a number alone; if it is an NCBI GeneID, pass id_type='entrez'")
        dates = spreadsheet_names(word)
        if dates:
            return self._date(dates)
        hit = self._rewritten(word, plain)
        if hit is not _NONE or is_clone_like(word):
            return hit
        for attempt in (self._joined, self._suffix, self._case):
            hit = attempt(word, plain)
            if hit is not _NONE:
                return hit
        return _NONE

    def _date(self, candidates: Sequence[str]) -> _Hit:
        """What the symbols that became this date stand for; symbols, present or former, rather than synonyms."""
        hits: dict[int, tuple[str, _Hit]] = {}
        for name in (*candidates, *(name.capitalize() for name in candidates)):
            hit = self.symbol(name)
            if hit.row >= 0:
                hits.setdefault(hit.row, (name, hit))
        borne = {row: found for row, found in hits.items() if found[1].by in {"symbol", "previous"}}
        hits = borne or hits
        if len(hits) == 1:
            ((name, hit),) = hits.values()
            return hit._replace(note=_join(f"a spreadsheet's date for {name}", hit.note))
        if hits:
            both = " or ".join(f"{name} ({self.index.symbols[row]})" for row, (name, _) in hits.items())
            return _Hit(-1, "", f"ambiguous: a spreadsheet's date for {both}")
        return _Hit(-1, "", "a date, made by a spreadsheet from a gene symbol that cannot be told")

    def _rewritten(self, word: str, plain: Callable[[str], _Hit]) -> _Hit:
        """What R's make.names and Seurat do to names."""
        # R puts an X before a name that begins with a digit, and a dot for every dash.
        forms = [(word[1:], "an X put before it")] if re.match(r"X\d", word) else []
        forms += [
            (text.replace(".", "-"), "dots for dashes") for text in (word, *(form for form, _ in forms)) if "." in text
        ]
        forms += [(word.replace("-", "_"), "a dash for an underscore")] if "-" in word else []
        for form, note in forms:
            hit = self._noted(plain(form), note)
            if hit is not _NONE:
                return hit
        return _NONE

    def _several(self, parts: Sequence[str], plain: Callable[[str], _Hit]) -> _Hit:
        """Overlapping genes that a program counted as one: ``RBM14-RBM4,RBM4``."""
        hits = {hit.row: hit for hit in map(plain, parts) if hit.row >= 0}
        if len(hits) == 1:
            (hit,) = hits.values()
            return hit._replace(note=_join("the one named gene of several in this name", hit.note))
        return _Hit(-1, "", f"ambiguous: several genes, {self.index.labels(hits)}") if hits else _NONE

    def _joined(self, word: str, plain: Callable[[str], _Hit]) -> _Hit:
        """Two names in one, of which one is an Ensembl id: ``ENSG00000142168_SOD1``."""
        found = _JOINED.match(word)
        if found is None:
            return _NONE
        for id_, other in ((found["a"], found["b"]), (found["b"], found["a"])):
            if ENSEMBL.match(id_):
                hit = self.ensembl(id_)
                return self._noted(hit if hit.row >= 0 else self.symbol(other), f"read from {word}")
        return _NONE

    def _suffix(self, word: str, plain: Callable[[str], _Hit]) -> _Hit:
        """A number that makes a repeated name unique: ``TBCE.1`` in R, ``TBCE-1`` in Python."""
        found = _SUFFIX.match(word)
        if found is None or _NUMBERED.match(word):
            return _NONE
        base, mark = found["base"], found["mark"]
        hit = plain(base)
        hit = hit if hit is not _NONE or mark == "-" else self._rewritten(base, plain)
        # Symbols of true genes end so too: the plain name must stand in the data, or be one that a gene bears.
        if base in self.names or hit.by in {"symbol", "previous", "ensembl"}:
            return self._noted(hit, f"'{mark}{found['number']}' dropped: a repeated name made unique")
        return _NONE

    def _case(self, word: str, plain: Callable[[str], _Hit]) -> _Hit:
        key = word.casefold()
        for names in (self.index.symbol, self.index.previous, self.index.synonym):
            rows = names.folded.get(key)
            if rows:
                return self._prefixed(self._one(rows, "case", "", "in another case, a name"), "written")
        return _NONE

    def _noted(self, hit: _Hit, note: str) -> _Hit:
        return hit._replace(note=_join(note, hit.note)) if hit.row >= 0 else _NONE

    def _drop_doubtful_case(self, words: Sequence[str], hits: list[_Hit]) -> None:
        """Capitals are no orthologue map: where most genes match only in another case, the species is in doubt.

        A data set whose names are all in capitals (or all in small letters) was rewritten by someone and is let
        through.
        """
        case = [i for i, hit in enumerate(hits) if hit.by == "case"]
        exact = sum(hit.row >= 0 for hit in hits) - len(case)
        uniform = all(words[i].isupper() for i in range(len(words))) or all(word.islower() for word in words)
        if len(case) < 50 or exact >= len(case) or uniform:
            return
        guess = guess_organism(words)
        hint = f": {guess.evidence}" if guess.organism not in {"", self.index.organism} else ""
        for i in case:
            hits[i] = _Hit(-1, "", f"matches {self.index.organism} genes only in another case{hint}")

    def why_not(self, word: str) -> str:
        if is_clone_like(word):
            return "a clone, contig or predicted locus without a name"
        if _SCIENTIFIC.match(word):
            return "a number, made by a spreadsheet from a name such as 2310009E13Rik that cannot be told"
        if word.startswith("ERCC-"):
            return "a spike-in, not a gene"
        if ENSEMBL.match(word):
            return f"no named {self.index.organism} gene of the table has this Ensembl id"
        return f"no {self.index.organism} gene of the table has this name"


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
