r"""Genes of a phrase: by the meaning of their texts, by their words, by what is curated, and by name.

For a phrase q and a gene g

.. math::
    s_{qg} = w_M\, m_{qg} + w_T\, t_{qg} + w_A\, a_{qg} + w_L\, l_{qg} + w_N\, n_{qg}

each part between 0 and about 1:

m, meaning
    :math:`\kappa_q \max(0, c_{qg}) / \max_g c_{qg}` with c the cosine of phrase and text after the common direction of
    the texts and the usual cosine of phrases with this gene are taken away. :math:`\kappa_q` is the share of the
    phrase's words, by rarity, that are whole words of the texts: a model breaks a word that it does not know into
    pieces, and what it then finds is spelled alike.
t, words
    BM25 over whole words and word pairs (:class:`lexicell.core.genes.words.WordIndex`), of texts without the symbol.
a, annotation
    :math:`\max_k u_{qk} \sqrt{e_{gk}} + 0.1 \min(1, \sum_k u_{qk}^2 e_{gk})` over the curated terms k that the gene has
    or inherits: :math:`u_{qk}` is how well the phrase and a name or synonym of the term share their words, times how
    specific the term is, and :math:`e_{gk}` how good the evidence is.
l, lexicon
    :math:`\sigma^3 (1 - 0.1\, r_g)` for the genes of an entry of the lexicon that the phrase names by its name or a
    synonym: :math:`\sigma` is the share of the phrase's words that name it, r the place of the gene in the entry's list
    from 0 to 1.
n, names
    Gene symbols that the phrase holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError
from .words import WordCounts, WordIndex, words_of

__all__ = [
    "N_GENES",
    "WEIGHTS",
    "Entry",
    "Found",
    "Lexicon",
    "PhraseSearch",
    "Terms",
    "close_over_parents",
    "gene_sets",
    "leading",
]

WEIGHTS = {"meaning": 0.3, "words": 0.5, "annotation": 1.0, "lexicon": 5.0, "named": 2.0}
"""Weights of the five parts; chosen on half of the sets of evaluation/concepts, confirmed on the other half."""
EVIDENCE = np.array([1.0, 0.75, 0.9, 0.7, 0.55])
"""Weight of an annotation by the tier of its evidence: one experiment, many genes, a statement, similarity, machine."""
N_GENES = 50
"""Genes that stand for a phrase, at most."""
FLOOR = 0.35
"""A gene takes part whose score reaches this share of the best gene of all."""
N_TERMS = 60
"""Terms that a phrase is compared with in the end."""


@dataclass(frozen=True)
class Entry:
    """One entry of the lexicon.

    Attributes
    ----------
    name, category, id
        Name, what it is (``cell type``, ``disease`` ...), its ontology id or nothing.
    parents
        Names of the more general entries.
    tissues, synonyms
        Where it is found, and what else it is called.
    genes
        Symbols of its well-known genes, best known first.
    """

    name: str
    category: str = ""
    id: str = ""
    parents: tuple[str, ...] = ()
    tissues: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    genes: tuple[str, ...] = ()


class Lexicon:
    """Entries that a phrase may name.

    Parameters
    ----------
    entries
        With unique names; of two that share a synonym the first has it.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self._of: dict[tuple[str | None, ...], int] = {}
        for number, entry in enumerate(self.entries):
            self._of.setdefault(tuple(words_of(entry.name)), number)
        for number, entry in enumerate(self.entries):
            for synonym in entry.synonyms:
                self._of.setdefault(tuple(words_of(synonym)), number)
        self._longest = max((len(key) for key in self._of), default=0)

    def find(self, phrase: str) -> list[tuple[Entry, float]]:
        """Entries that the phrase names, longest name first, each with the share of the phrase's words that name it."""
        words = words_of(phrase)
        left: list[str | None] = list(words)
        found = []
        for length in range(min(len(words), self._longest), 0, -1):
            for start in range(len(words) - length + 1):
                key = tuple(left[start : start + length])
                if key in self._of and (length == len(words) or _is_telling(key)):
                    found.append((self.entries[self._of[key]], length / len(words)))
                    left[start : start + length] = [None] * length
        return found


def _is_telling(key: tuple[str | None, ...]) -> bool:
    """Whether words within a longer phrase name an entry: one short word such as "rod" may mean anything."""
    return len(key) > 1 or len(str(key[0])) > 7


@dataclass(frozen=True, eq=False)
class Terms:
    """Curated terms and the genes that have them.

    Attributes
    ----------
    ids, names
        One id per term, and its name followed by its synonyms.
    genes
        Genes x terms, CSR: weight of the best evidence, that of descendants included, 0 to 1.
    counts
        Words of `all_names`, where they were counted before.
    """

    ids: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    genes: sp.csr_matrix
    counts: WordCounts | None = None
    index: WordIndex = field(init=False)
    owner: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        owner = np.repeat(np.arange(len(self.names)), [len(n) for n in self.names])
        counts = WordCounts.of(self.all_names) if self.counts is None else self.counts
        object.__setattr__(self, "index", WordIndex(counts, b=0.0))
        object.__setattr__(self, "owner", owner)

    @property
    def all_names(self) -> list[str]:
        """Names and synonyms of all terms in one list."""
        return [name for names in self.names for name in names]

    def of_genes(self, rows: NDArray[np.int64]) -> Terms:
        """The same terms with other genes: row of each, -1 for a gene without annotation."""
        pick = sp.csr_matrix(
            (np.ones((rows >= 0).sum()), (np.flatnonzero(rows >= 0), rows[rows >= 0])),
            shape=(len(rows), self.genes.shape[0]),
        )
        other = object.__new__(Terms)
        for name in ("ids", "names", "counts", "index", "owner"):
            object.__setattr__(other, name, getattr(self, name))
        object.__setattr__(other, "genes", sp.csr_matrix(pick @ self.genes))
        return other


def close_over_parents(direct: sp.csr_matrix, child: NDArray[np.int64], parent: NDArray[np.int64]) -> sp.csr_matrix:
    """Give every gene the terms above its own; the best weight wins. `direct` is genes x terms."""
    n_terms = direct.shape[1]
    up = sp.csr_matrix((np.ones(len(child)), (child, parent)), shape=(n_terms, n_terms))
    above = sp.identity(n_terms, format="csr")
    while True:
        further = sp.csr_matrix(((above @ up + above) > 0).astype(float))
        if further.nnz == above.nnz:
            break
        above = further
    closed = sp.csr_matrix(direct.shape)
    # From the weakest to the strongest level, so that the best evidence of a gene below a term is what remains.
    for level in np.unique(direct.data):
        has = sp.csr_matrix(((direct == level).astype(float) @ above) > 0).astype(float)
        closed = closed.maximum(has * level)
    return sp.csr_matrix(closed)


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found for one phrase.

    Attributes
    ----------
    phrase
        What was searched.
    score
        Shape ``(n_genes,)``.
    parts
        The weighted parts that sum to it, by name.
    terms
        Numbers of the terms that speak for genes, best first, and how well each fits.
    entries
        The lexicon's entries that the phrase names.
    known
        Share of the phrase's words, by rarity, that any text, term or entry holds: below 1 a word of it is unknown.
    """

    phrase: str
    score: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]
    terms: tuple[tuple[int, float], ...]
    entries: tuple[Entry, ...]
    known: float


class PhraseSearch:
    """Search the genes of one data set or gene embedding by phrase.

    Parameters
    ----------
    symbols
        One per gene; human symbols where the genes are of another species.
    texts
        One per gene, as embedded. The symbol at the start does not count.
    vectors
        Shape ``(n_genes, d)``; None leaves meaning out.
    terms
        Curated terms with rows in the order of the genes; None leaves annotation out.
    lexicon
        Entries; None leaves the lexicon out.
    background
        Vectors of phrases of all kinds, which tell how near any phrase is to a gene.
    aliases
        Other names of genes, in upper case, and the symbol of each.
    counts
        Words of the texts without their symbols, where they were counted before.
    weights
        Of the five parts; default :data:`WEIGHTS`.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        texts: Sequence[str],
        *,
        vectors: NDArray[np.float32] | None = None,
        terms: Terms | None = None,
        lexicon: Lexicon | None = None,
        background: NDArray[np.float32] | None = None,
        aliases: Mapping[str, str] | None = None,
        counts: WordCounts | None = None,
        weights: Mapping[str, float] = WEIGHTS,
    ) -> None:
        self.symbols = [str(s) for s in symbols]
        self.texts = [_without_symbol(t, s) for t, s in zip(texts, self.symbols, strict=True)]
        self.words = WordIndex(self.texts if counts is None else counts)
        self._has_texts = any(self.texts)
        self._aliases = aliases or {}
        self.terms, self.lexicon, self.weights = terms, lexicon, dict(weights)
        self._row: dict[str, list[int]] = {}
        for row, symbol in enumerate(self.symbols):
            self._row.setdefault(symbol.upper(), []).append(row)
        self.raw_vectors = vectors
        self._vectors: NDArray[np.float32] | None = None
        if vectors is not None:
            self._mean = np.asarray(vectors, dtype=np.float64).mean(axis=0)
            self._vectors = _unit(np.asarray(vectors) - self._mean).astype(np.float32)
            self._usual = np.zeros(len(self.symbols))
            if background is not None:
                self._usual = self._vectors @ _unit(background - self._mean).mean(axis=0)
        if terms is not None:
            self._having = np.asarray((terms.genes > 0).sum(axis=0)).ravel()
            # Specific terms say more; those of a handful of genes say no more than those of ten.
            many = np.log(np.maximum(self._having, 10) / 10) / np.log(max(len(self.symbols), 100) / 10)
            self._specific = np.where(self._having > 0, 1 - 0.6 * many, 0.0)
            self._by_term = sp.csc_matrix(terms.genes)

    def find(self, phrase: str, vector: NDArray[np.float32] | None = None) -> Found:
        """Search one phrase; `vector` of the embedder that made the gene vectors, None leaves meaning out."""
        entries = self.lexicon.find(phrase) if self.lexicon is not None else []
        ways = [phrase]
        if entries and entries[0][1] == 1.0:
            entry = entries[0][0]
            ways += [w for w in (entry.name, *entry.synonyms) if w != phrase]
        trust = self._trust(phrase)
        known = 1.0 if len(ways) > 1 else trust
        terms, annotation = self._annotation(ways)
        parts = {
            "meaning": trust * self._meaning(vector),
            "words": np.max([self.words.scores(way) for way in ways], axis=0),
            "annotation": annotation,
            # An entry that is only a part of the phrase leaves the rest to the other parts.
            "lexicon": self._listed(entries),
            "named": self._named(phrase),
        }
        parts = {name: self.weights[name] * part for name, part in parts.items()}
        return Found(phrase, np.sum(list(parts.values()), axis=0), parts, terms, tuple(e for e, _ in entries), known)

    def _trust(self, phrase: str) -> float:
        """Share of the phrase's words that are known; 1 where genes have vectors and no texts, so that none can be."""
        if not self._has_texts:
            return 1.0
        known = self.words.known(phrase)
        return known if self.terms is None else max(known, self.terms.index.known(phrase))

    def _meaning(self, vector: NDArray[np.float32] | None) -> NDArray[np.float64]:
        if vector is None or self._vectors is None:
            return np.zeros(len(self.symbols))
        cosine = self._vectors @ _unit(np.asarray(vector) - self._mean).astype(np.float32)
        line = np.maximum(np.where(cosine > 0, cosine - self._usual, 0.0), 0.0).astype(np.float64)
        return np.asarray(line / max(line.max(), 1e-9))

    def _annotation(self, ways: Sequence[str]) -> tuple[tuple[tuple[int, float], ...], NDArray[np.float64]]:
        if self.terms is None:
            return (), np.zeros(len(self.symbols))
        named = np.max([self.terms.index.overlap(way) for way in ways], axis=0)
        fit = np.zeros(len(self.terms.ids))
        np.maximum.at(fit, self.terms.owner, named)
        fit = fit * self._specific
        best = np.argsort(-fit, kind="stable")[:N_TERMS]
        best = best[fit[best] > 0.15]
        if not len(best):
            return (), np.zeros(len(self.symbols))
        found = sp.csr_matrix(self._by_term[:, best] @ sp.diags(fit[best] ** 2))
        highest = found.max(axis=1).toarray().ravel()
        total = np.asarray(found.sum(axis=1)).ravel()
        # The best term decides, and every further one adds a little.
        score = np.sqrt(highest) + 0.1 * np.minimum(total, 1.0)
        return tuple((int(k), float(fit[k])) for k in best), score

    def _listed(self, entries: Sequence[tuple[Entry, float]]) -> NDArray[np.float64]:
        out = np.zeros(len(self.symbols))
        for entry, share in entries:
            for place, gene in enumerate(entry.genes):
                rows = self._row.get(gene.upper(), [])
                out[rows] = np.maximum(out[rows], share**3 * (1 - 0.1 * place / len(entry.genes)))
        return out

    def _named(self, phrase: str) -> NDArray[np.float64]:
        out = np.zeros(len(self.symbols))
        for word in re.findall(r"[A-Za-z0-9][A-Za-z0-9.-]+", phrase):
            is_symbol = len(word) > 2 and word == word.upper() and any(c.isalpha() for c in word)
            if is_symbol or re.fullmatch(r"C\d+orf\d+", word):
                symbol = word.upper() if word.upper() in self._row else self._aliases.get(word.upper(), "")
                out[self._row.get(symbol.upper(), [])] = 1.0
        return out

    def reason(self, found: Found, gene: int) -> str:
        """Why a gene was found, in words, the weightiest reason first; empty for a gene that was not."""
        said: list[str] = []
        for name in sorted(found.parts, key=lambda name: -found.parts[name][gene]):
            part = found.parts[name]
            # A part that barely says anything of this gene is no reason.
            if part[gene] > 0 and part[gene] >= 0.5 * part.max() and (name != "meaning" or not said):
                said.append(self._why(name, found, gene))
        if not said and found.score[gene] > 0:
            said.append(self._why(max(found.parts, key=lambda name: found.parts[name][gene]), found, gene))
        return "; ".join(said)

    def _why(self, part: str, found: Found, gene: int) -> str:
        if part == "named":
            return "named in the phrase"
        if part == "lexicon":
            names = [e.name for e in found.entries if self.symbols[gene].upper() in {g.upper() for g in e.genes}]
            return f"known gene of '{names[0]}'"
        if part == "annotation" and self.terms is not None:
            have = self.terms.genes[gene].toarray().ravel()
            term = max(found.terms, key=lambda t: t[1] ** 2 * have[t[0]])[0]
            return f"annotated to {self.terms.ids[term]} {self.terms.names[term][0]}"
        if part == "words":
            return f"text: {_passage(self.texts[gene], found.phrase)}"
        return "similar text"


def _passage(text: str, phrase: str) -> str:
    """The item of a text that holds most words of the phrase."""
    asked = set(words_of(phrase))
    items = [item.strip(" .") for item in re.split(r"[;.] ", text)]
    best = max(items, key=lambda item: len(asked & set(words_of(item))))
    return best if len(best) <= 80 else f"{best[:77]}..."


def gene_sets(
    scores: NDArray[np.float64] | sp.csr_matrix,
    columns: NDArray[np.int64],
    *,
    n_genes: int = N_GENES,
    floor: float = FLOOR,
) -> sp.csr_matrix:
    """Weights of the genes of a data set that stand for each phrase.

    Parameters
    ----------
    scores
        Of all genes that were searched, shape ``(n_phrases, n_searched)``, dense or sparse (:func:`leading`).
    columns
        Row of the search of each gene of the data, -1 for a gene that was not searched.
    n_genes
        Genes per phrase at most; half of the data's genes if that is less.
    floor
        A gene takes part whose score reaches this share of the best score of all searched genes, in the data or not: in
        a panel that holds none of a phrase's genes, faintly related ones do not stand for it.

    Returns
    -------
    CSR, float64, ``(n_phrases, n_genes_of_the_data)``; rows sum to 1, or are empty where the data holds no gene of the
    phrase.

    Raises
    ------
    InputError
        If `n_genes` is below 1.
    """
    if n_genes < 1:
        raise InputError(f"n_genes must be at least 1, got {n_genes}")
    scores = sp.csr_matrix(np.atleast_2d(scores) if isinstance(scores, np.ndarray) else scores)
    keep = max(1, min(n_genes, len(columns) // 2))
    rows, picked, weights = [], [], []
    for q in range(scores.shape[0]):
        everywhere = scores[q].toarray().ravel()
        line = np.where(columns >= 0, everywhere[columns], 0.0)
        best = np.argsort(-line, kind="stable")[:keep]
        best = np.sort(best[(line[best] > 0) & (line[best] >= floor * everywhere.max())])
        rows.append(np.full(len(best), q))
        picked.append(best)
        weights.append(line[best] / max(line[best].sum(), 1e-12))
    shape = (scores.shape[0], len(columns))
    return sp.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(picked))), shape=shape)


def leading(score: NDArray[np.float64], floor: float = FLOOR) -> sp.csr_matrix:
    """Scores of one phrase that reach the floor of :func:`gene_sets`, one sparse row: all that it looks at."""
    return sp.csr_matrix(np.where(score >= floor * score.max(), score, 0.0)[None, :])


def _without_symbol(text: str, symbol: str) -> str:
    head, colon, rest = text.partition(":")
    return rest.strip() if colon and " " not in head.strip() else text


def _unit(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    length = np.linalg.norm(matrix, axis=-1, keepdims=True)
    return matrix / np.where(length > 0, length, 1.0)
