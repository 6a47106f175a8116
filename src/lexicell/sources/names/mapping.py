"""From the gene names of a data set to the rows of a gene table, with every name accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from ..._errors import check_choice
from .._gene_table import GeneTable
from .index import Index
from .patterns import (
    ENSEMBL,
    OrganismGuess,
    guess_organism,
    is_clone_like,
    is_missing,
    is_mitochondrial,
    is_ribosomal,
    split_genome,
    spreadsheet_names,
)

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


def match(
    names: Sequence[str] | pd.Index[str],
    table: GeneTable,
    *,
    id_type: str = "auto",
    history: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Find the row of each name in a gene table.

    An official symbol beats a former symbol, which beats an unambiguous synonym. What only resembles a name (a genome
    prefix, a suffix that makes names unique, dots for dashes, a spreadsheet's date, another case) is tried after, and
    the note says so. A name of several genes matches none; the note lists them. What programs write for a missing name
    (``nan``, ``NA``, an empty string) matches none.

    Parameters
    ----------
    names
        Gene names as they are in the data: symbols, Ensembl ids with or without version, NCBI GeneIDs.
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
    >>> from lexicell.sources._gene_table import GeneTable
    >>> table = GeneTable.from_rows("human", [{"gene_id": "4735", "symbol": "SEPTIN2", "previous": "SEPT2"}])
    >>> match(["SEPTIN2", "SEPT2", "2-Sep", "NONE1"], table)["matched_by"].tolist()
    ['symbol', 'previous', 'previous', '']
    """
    check_choice(id_type, ID_TYPES, "id_type")
    words = [str(name) for name in names]
    n_ensembl = sum(word.startswith("ENS") and ENSEMBL.match(word) is not None for word in words)
    n_numbers = sum(word.isdigit() for word in words)
    numbers = id_type == "entrez" or n_numbers * 2 >= len(words) > 0
    finder = _Finder(table.index, set(words), history or {}, id_type, numbers=numbers)
    hits = _note_twins(words, finder.find_all(words))
    frame = pd.DataFrame(hits, columns=["row", "matched_by", "note"], index=pd.Index(words, dtype=object))
    frame.insert(1, "gene_id", table.take("gene_id", frame["row"]))
    frame.insert(2, "symbol", table.take("symbol", frame["row"]))
    seen = f"{n_ensembl} of {len(words)} names look like Ensembl ids, {n_numbers} are numbers alone"
    if id_type != "auto":
        seen += f"; read as {id_type} because id_type='{id_type}' was given"
    frame.attrs["id_type"] = seen
    return frame


class _Hit(NamedTuple):
    row: int  # -1: none
    by: str
    note: str

    def noted(self, note: str) -> _Hit:
        """The hit with one more note in front; no hit stays none."""
        if self.row < 0:
            return _NONE
        return self._replace(note=_join(note, self.note))


_NONE = _Hit(-1, "", "")


def _refused(why: str) -> _Hit:
    """No gene, and why: no further rule is tried."""
    return _Hit(-1, "", why)


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _note_twins(words: Sequence[str], hits: list[_Hit]) -> list[_Hit]:
    """Note where several names mean one gene: all are kept, for a data set may hold a gene under two names."""
    first: dict[int, str] = {}
    # The official symbol counts as the first, wherever it is in the data.
    for word, hit in zip(words, hits, strict=True):
        if hit.by == "symbol":
            first.setdefault(hit.row, word)
    noted = []
    for word, hit in zip(words, hits, strict=True):
        if hit.row >= 0 and first.setdefault(hit.row, word) != word:
            hit = hit._replace(note=_join(hit.note, f"same gene as {first[hit.row]}"))
        noted.append(hit)
    return noted


class _Finder:
    """The rules, from the plain to the far-fetched, for one set of names."""

    def __init__(
        self, index: Index, names: set[str], history: Mapping[str, str], id_type: str, *, numbers: bool
    ) -> None:
        self.index, self.names, self.history, self.numbers = index, names, history, numbers
        self.guessing = id_type in {"auto", "symbol"}
        rules = {"auto": self.by_form, "symbol": self.symbol, "ensembl": self.ensembl, "entrez": self.entrez}
        self.plain = rules[id_type]

    def find_all(self, words: Sequence[str]) -> list[_Hit]:
        """The hit of each name; where there is none, its note says why."""
        hits = [self.find(word) for word in words]
        if self.guessing:
            self._drop_doubtful_case(words, hits)
        for i, word in enumerate(words):
            if hits[i] is _NONE:
                hits[i] = _refused(self.why_not(word))
        return hits

    def find(self, word: str) -> _Hit:
        """A name as it is, else what it resembles."""
        if is_missing(word):
            return _refused(f"no {self.index.organism} gene: programs write this where a name is missing")
        hit = self.plain(word)
        if hit is _NONE and self.guessing:
            return self.resembling(word)
        return hit

    def by_form(self, word: str) -> _Hit:
        """A name taken as it is, whatever its kind."""
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
            return self._renamed(self._one(rows, "previous", also, "a former symbol"), "now")
        rows = index.synonym.get(word)
        if rows:
            return self._renamed(self._one(rows, "synonym", "", "another name"), "another name of")
        if word.startswith("LOC") and word[3:].isdigit():
            return self.entrez(word[3:]).noted("the number of a LOC symbol is a GeneID")
        return _NONE

    def ensembl(self, word: str) -> _Hit:
        found = ENSEMBL.match(word)
        if found is None:
            return _refused("not an Ensembl id")
        prefix, kind, digits, par = found.groups()
        if kind not in {"G", "GR"}:
            return _refused("an Ensembl id of a transcript, protein or exon; give that of the gene")
        species = _SPECIES_OF.get(prefix, f"another species ({prefix}G)")
        if self.index.organism in _ENSEMBL_PREFIX and species != self.index.organism:
            return _refused(f"an Ensembl id of {species}, not of {self.index.organism}")
        rows = self.index.ensembl.get(f"{prefix}G{digits.rjust(11, '0')}")
        if not rows:
            return _NONE
        note = "the copy on chromosome Y (pseudoautosomal)" if par or kind == "GR" else ""
        return self._one(rows, "ensembl", note, "this Ensembl id")

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
        return _refused(f"GeneID {word} is discontinued and has no successor here")

    def _also(self, rows: tuple[int, ...], what: str, others: tuple[int, ...]) -> str:
        labels = self.index.labels(set(others) - set(rows))
        return f"also {what} of {labels}" if labels else ""

    def _one(self, rows: tuple[int, ...], by: str, note: str, what: str) -> _Hit:
        """The one gene of these rows, or the only one that is no pseudogene."""
        if len(rows) == 1:
            return _Hit(rows[0], by, note)
        genes = tuple(row for row in rows if self.index.types[row] != "pseudo")
        if len(genes) == 1:
            others = self.index.labels(row for row in rows if row not in genes)
            return _Hit(genes[0], by, _join(note, f"pseudogenes have this name too: {others}"))
        return _refused(f"ambiguous: {what} of {self.index.labels(rows)}")

    def _renamed(self, hit: _Hit, words: str) -> _Hit:
        """The hit with its symbol in the note."""
        return hit.noted(f"{words} {self.index.symbols[hit.row]}") if hit.row >= 0 else hit

    def resembling(self, word: str) -> _Hit:
        """A name that is not in the table as it is."""
        species, genome, rest = split_genome(word)
        if genome:
            if self.index.organism in _ENSEMBL_PREFIX and species != self.index.organism:
                return _refused(f"a {species} gene (genome {genome})")
            hit = self.find(rest)
            return hit if hit is _NONE else hit._replace(note=_join(f"genome {genome}", hit.note))
        if word != word.strip():
            return self.plain(word.strip()).noted("spaces around the name")
        if "," in word:
            return self._several(word.split(","))
        if word.isdigit() and not self.numbers:
            return _refused("a number alone; if it is an NCBI GeneID, pass id_type='entrez'")
        dates = spreadsheet_names(word)
        if dates:
            return self._date(dates)
        hit = self._rewritten(word)
        if is_clone_like(word):
            return hit
        for attempt in (self._joined, self._suffix, self._case):
            if hit is _NONE:
                hit = attempt(word)
        return hit

    def _date(self, candidates: Sequence[str]) -> _Hit:
        """The gene of the symbols that became this date; symbols, present or former, rather than synonyms."""
        official: dict[int, tuple[str, _Hit]] = {}
        others: dict[int, tuple[str, _Hit]] = {}
        for name in (*candidates, *(name.capitalize() for name in candidates)):
            hit = self.symbol(name)
            if hit.by in {"symbol", "previous"}:
                official.setdefault(hit.row, (name, hit))
            elif hit.row >= 0:
                others.setdefault(hit.row, (name, hit))
        hits = official or others
        if not hits:
            return _refused("a date, made by a spreadsheet from a gene symbol that cannot be told")
        if len(hits) == 1:
            ((name, hit),) = hits.values()
            return hit.noted(f"a spreadsheet's date for {name}")
        both = " or ".join(f"{name} ({self.index.symbols[row]})" for row, (name, _) in hits.items())
        return _refused(f"ambiguous: a spreadsheet's date for {both}")

    def _rewritten(self, word: str) -> _Hit:
        """What R's make.names and Seurat do to names."""
        # R puts an X before a name that begins with a digit, and a dot for every dash.
        forms = [(word.replace(".", "-"), "dots for dashes"), (word.replace("-", "_"), "a dash for an underscore")]
        if re.match(r"X\d", word):
            without = word[1:]
            forms.insert(0, (without, "an X put before it"))
            forms.insert(2, (without.replace(".", "-"), "dots for dashes"))
        for form, note in forms:
            hit = self.plain(form).noted(note)
            if form != word and hit is not _NONE:
                return hit
        return _NONE

    def _several(self, parts: Sequence[str]) -> _Hit:
        """Overlapping genes that a program counted as one: ``RBM14-RBM4,RBM4``."""
        hits = {hit.row: hit for hit in map(self.plain, parts) if hit.row >= 0}
        if len(hits) == 1:
            (hit,) = hits.values()
            return hit.noted("the one named gene of several in this name")
        if not hits:
            return _NONE
        return _refused(f"ambiguous: several genes, {self.index.labels(hits)}")

    def _joined(self, word: str) -> _Hit:
        """Two names in one, of which one is an Ensembl id: ``ENSG00000142168_SOD1``."""
        found = _JOINED.match(word)
        if found is None:
            return _NONE
        for id_, other in ((found["a"], found["b"]), (found["b"], found["a"])):
            if ENSEMBL.match(id_):
                hit = self.ensembl(id_)
                if hit.row < 0:
                    hit = self.symbol(other)
                return hit.noted(f"read from {word}")
        return _NONE

    def _suffix(self, word: str) -> _Hit:
        """A number that makes a repeated name unique: ``TBCE.1`` in R, ``TBCE-1`` in Python."""
        found = _SUFFIX.match(word)
        if found is None or _NUMBERED.match(word):
            return _NONE
        base, mark = found["base"], found["mark"]
        hit = self.plain(base)
        if hit is _NONE and mark == ".":
            hit = self._rewritten(base)
        # Symbols of true genes end so too: the plain name must be in the data, or be a gene's own.
        if base in self.names or hit.by in {"symbol", "previous", "ensembl"}:
            return hit.noted(f"'{mark}{found['number']}' dropped: a repeated name made unique")
        return _NONE

    def _case(self, word: str) -> _Hit:
        key = word.casefold()
        for names in (self.index.symbol, self.index.previous, self.index.synonym):
            rows = names.folded.get(key)
            if rows:
                return self._renamed(self._one(rows, "case", "", "in another case, a name"), "written")
        return _NONE

    def _drop_doubtful_case(self, words: Sequence[str], hits: list[_Hit]) -> None:
        """Capitals are no orthologue map: where most genes match only in another case, the species is in doubt.

        A data set whose names are all in capitals (or all in small letters) was rewritten by someone and is let
        through.
        """
        n_case = sum(hit.by == "case" for hit in hits)
        n_exact = sum(hit.row >= 0 for hit in hits) - n_case
        uniform = all(word.isupper() for word in words) or all(word.islower() for word in words)
        if n_case < 50 or n_exact >= n_case or uniform:
            return
        note = f"matches {self.index.organism} genes only in another case"
        guess = guess_organism(words)
        if guess.organism not in {"", self.index.organism}:
            note += f": {guess.evidence}"
        for i, hit in enumerate(hits):
            if hit.by == "case":
                hits[i] = _refused(note)

    def why_not(self, word: str) -> str:
        """Why a name that no rule knows has no gene."""
        if is_clone_like(word):
            return "a clone, contig or predicted locus without a name"
        if _SCIENTIFIC.match(word):
            return "a number, made by a spreadsheet from a name such as 2310009E13Rik that cannot be told"
        if word.startswith("ERCC-"):
            return "a spike-in, not a gene"
        if ENSEMBL.match(word):
            return f"no named {self.index.organism} gene of the table has this Ensembl id"
        return f"no {self.index.organism} gene of the table has this name"
