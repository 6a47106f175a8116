"""Words of texts as a search sees them (one spelling, no endings, the field's synonyms), and how well texts match."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["WordCounts", "WordIndex", "words_of"]

# Each line: what texts and phrases say (alternatives with "|") and the words in which it is compared, on both sides.
_SYNONYMS = """
motoneuron|motoneurons|motor neurone|motor neurones = motor neuron
nerve cell|nerve cells|neuronal|neurone|neurones = neuron
nerve fiber|nerve fibers|nerve fibre|nerve fibres|axonal = axon
dendritic = dendrite
synaptic|synapses = synapse
astroglia|astroglial|astrocytic = astrocyte
microglial = microglia
oligodendroglia|oligodendroglial = oligodendrocyte
muller = mueller
glial = glia
cardiac = heart
cardiomyocyte|cardiomyocytes = heart muscle cell
renal = kidney
hepatic = liver
pulmonary = lung
vascular = blood vessel
vasculature = blood vessel
als = amyotrophic lateral sclerosis
ftd = frontotemporal dementia
sma = spinal muscular atrophy
endoplasmic reticulum = er
nmj|neuromuscular synapse|neuromuscular synapses|neuromuscular synaptic = neuromuscular junction
gabaergic = gaba
glutamatergic = glutamate
dopaminergic = dopamine
serotonergic = serotonin
cholinergic|acetylcholinergic = acetylcholine
adrenergic|epinephrine = adrenaline
noradrenergic|norepinephrine = noradrenaline
t lymphocyte|t lymphocytes = t cell
b lymphocyte|b lymphocytes = b cell
nk cell|nk cells = natural killer cell
red blood cell|red blood cells = erythrocyte
white blood cell|white blood cells = leukocyte
thrombocyte|thrombocytes = platelet
clotting|clot = coagulation
odor|odors|odour|odours|odorant|odorants|olfactory|olfaction = smell
mitochondrion|mitochondrial = mitochondria
mitophagy = mitophagy autophagy of mitochondria
chromosomal = chromosome
lysosomal = lysosome
ribosomal = ribosome
proteasomal = proteasome
endosomal = endosome
autophagosomal = autophagosome
ciliary|cilia = cilium
flagella|flagellar = flagellum
messenger rna = mrna
pre messenger rna = pre mrna
transfer rna = trna
ribosomal rna|ribosome rna = rrna
fibre|fibres|fibers = fiber
tumour|tumours = tumor
myelination|myelinating|myelinated = myelin
immunity = immune
major histocompatibility complex = mhc
breakdown = degradation
eat|eats|eating|engulfing|engulf = phagocytosis
making|making of|synthesis|synthesizing|biosynthetic|biogenesis of = biosynthesis
made from|made of = biosynthesis from
uptake|taking up|take up = import
glycolytic = glycolysis
phagocytic = phagocytosis
apoptotic = apoptosis
pyroptotic = pyroptosis
ferroptotic = ferroptosis
meiotic = meiosis
mitotic = mitosis
angiogenic = angiogenesis
epithelia|epithelial = epithelium
endothelial = endothelium
fat = lipid
fibroblast growth factor = fgf
hepatocyte growth factor = hgf
nerve growth factor = ngf
epidermal growth factor = egf
platelet derived growth factor = pdgf
"""


def _rules() -> dict[tuple[str, ...], tuple[str, ...]]:
    rules = {}
    for line in _SYNONYMS.strip().split("\n"):
        said, instead = line.split(" = ")
        for one in said.split("|"):
            rules[tuple(one.split())] = tuple(instead.split())
    return rules


_RULES = _rules()
_LONGEST_RULE = max(len(said) for said in _RULES)
_SPELLING = [
    ("haem", "hem"),
    ("leuco", "leuko"),
    ("oedema", "edema"),
    ("oestro", "estro"),
    ("ise", "ize"),
    ("isation", "ization"),
    ("defence", "defense"),
]
_WORD = re.compile(r"[a-z0-9]+")
_LISTS = {
    "endings": "ations ation ating ated ates ate ions ion ings ing ed ives ive ic al e",
    "stop": "a an and as at by for from in of on or the to via with",
    "empty": "are be into is it its out that their this was within cell process protein gene keep together",
}
_ENDINGS = tuple(_LISTS["endings"].split())
_STOP = frozenset(_LISTS["stop"].split())
_EMPTY = _STOP | frozenset(_LISTS["empty"].split())


def words_of(text: str) -> list[str]:
    """Stems of the words of a text in their order, with the field's synonyms put in one form.

    Examples
    --------
    >>> words_of("Motoneurons, axonal transport")
    ['motor', 'neuron', 'axon', 'transport']
    """
    said = _WORD.findall(text.lower().replace("'s", ""))
    words: list[str] = []
    place = 0
    while place < len(said):
        for length in range(min(_LONGEST_RULE, len(said) - place), 0, -1):
            instead = _RULES.get(tuple(said[place : place + length]))
            if instead is not None:
                words += instead
                place += length
                break
        else:
            words.append(said[place])
            place += 1
    return [_stem(w) for w in words]


_STEMS: dict[str, str] = {}


def _stem(word: str) -> str:
    if word in _STEMS:
        return _STEMS[word]
    stem = word
    for british, american in _SPELLING:
        if british in stem and len(british) > 3:
            stem = stem.replace(british, american)
    if len(stem) > 4 and stem.endswith("ies"):
        stem = stem[:-3] + "y"
    elif len(stem) > 3 and stem.endswith("s") and not stem.endswith(("ss", "us", "is")):
        stem = stem[:-1]
    for ending in _ENDINGS:
        if stem.endswith(ending) and len(stem) - len(ending) >= 4:
            stem = stem[: -len(ending)]
            break
    _STEMS[word] = stem
    return stem


_EMPTY_STEMS = frozenset(_stem(w) for w in _EMPTY)


def _grams(words: Sequence[str]) -> list[str]:
    """Words and neighboring pairs; words that say nothing only in pairs."""
    single = [w for w in words if w not in _EMPTY_STEMS]
    return single + [f"{a} {b}" for a, b in pairwise(words) if a not in _STOP or b not in _STOP]


@dataclass(frozen=True, eq=False)
class WordCounts:
    """How often each text holds each word and each pair of neighboring words.

    Attributes
    ----------
    grams
        Words and pairs, as :func:`words_of` writes them.
    counts
        CSR, ``(n_texts, n_grams)``.
    """

    grams: tuple[str, ...]
    counts: sp.csr_matrix

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordCounts:
        """Count the words of texts."""
        place: dict[str, int] = {}
        columns: list[int] = []
        counts: list[int] = []
        items: dict[str, list[str]] = {}
        starts = np.zeros(len(texts) + 1, dtype=np.int64)
        for row, text in enumerate(texts):
            # Gene texts are lists that share their items.
            grams: Counter[str] = Counter()
            for item in re.split(r"[;.:] ?", text):
                if item not in items:
                    items[item] = _grams(words_of(item))
                grams.update(items[item])
            columns += [place.setdefault(gram, len(place)) for gram in grams]
            counts += grams.values()
            starts[row + 1] = len(columns)
        arrays = (np.asarray(counts, dtype=np.int32), np.asarray(columns, dtype=np.int32), starts)
        return cls(tuple(place), sp.csr_matrix(arrays, shape=(len(texts), len(place))))


class WordIndex:
    r"""Which texts hold the words of a phrase.

    BM25 (Robertson and Zaragoza, 2009) over words and word pairs, as a share of what a text reaches that holds every
    word and pair of the phrase once and is of mean length:

    .. math::
        s_{qt} = \frac{\sum_{w \in q} \mathrm{idf}_w\, f_{tw}}{\sum_{w \in q} \mathrm{idf}_w\, f_1}, \qquad
        f_{tw} = \frac{n_{tw} (k + 1)}{n_{tw} + k (1 - b + b\, l_t / \bar l)}

    Parameters
    ----------
    texts
        One string per text, or their words, counted already.
    k, b
        Saturation and the part that length plays.
    """

    def __init__(self, texts: Sequence[str] | WordCounts, *, k: float = 1.2, b: float = 0.5) -> None:
        counted = texts if isinstance(texts, WordCounts) else WordCounts.of(texts)
        matrix = counted.counts.astype(np.float64)
        self._place = {gram: number for number, gram in enumerate(counted.grams)}
        n_texts, n_grams = matrix.shape
        lengths = np.asarray(matrix.sum(axis=1)).ravel()
        written = np.bincount(matrix.indices, minlength=n_grams)
        self.idf = np.log1p((n_texts - written + 0.5) / (written + 0.5))
        self._rarest = float(np.log1p(n_texts + 0.5))
        longest = k * (1 - b + b * lengths / max(lengths.mean(), 1e-9))
        rows = np.repeat(np.arange(n_texts), np.diff(matrix.indptr))
        matrix.data = matrix.data * (k + 1) / (matrix.data + longest[rows])
        present = matrix.copy()
        present.data = np.where([" " in g for g in counted.grams], 0.5, 1.0)[matrix.indices] * self.idf[matrix.indices]
        self._said = np.asarray(present.sum(axis=1)).ravel()
        self._matrix = matrix.tocsc()

    def known(self, phrase: str) -> float:
        """Share of the phrase's words that stand in any text, by how rare they are; 1 for a phrase without words."""
        words = {w for w in words_of(phrase) if w not in _EMPTY_STEMS}
        places = [self._place.get(w, -1) for w in words]
        weight = np.asarray([self.idf[p] if p >= 0 else self._rarest for p in places])
        found = np.asarray([p >= 0 for p in places])
        return float(weight[found].sum() / weight.sum()) if len(weight) else 1.0

    def scores(self, phrase: str) -> NDArray[np.float64]:
        """Match of every text, shape ``(n_texts,)``, 0 to somewhat above 1."""
        grams = list(dict.fromkeys(_grams(words_of(phrase))))
        total = sum(self._weight(gram) for gram in grams)
        here = [self._place[g] for g in grams if g in self._place]
        if not here or total == 0:
            return np.zeros(self._matrix.shape[0])
        weights = np.asarray([self._weight(g) for g in grams if g in self._place])
        return np.asarray(self._matrix[:, here] @ weights).ravel() / total

    def overlap(self, phrase: str) -> NDArray[np.float64]:
        """Cosine-like match of short texts such as names: words said by both, against all words of either.

        Shape ``(n_texts,)``, 0 to 1, which only a text of the phrase's own words reaches.
        """
        grams = list(dict.fromkeys(_grams(words_of(phrase))))
        total = sum(self._weight(gram) for gram in grams)
        here = [self._place[g] for g in grams if g in self._place]
        if not here or total == 0:
            return np.zeros(self._matrix.shape[0])
        weights = np.asarray([self._weight(g) for g in grams if g in self._place])
        both = np.asarray((self._matrix[:, here] > 0) @ weights).ravel()
        return np.asarray(both / np.sqrt(total * np.maximum(self._said, 1e-9)))

    def _weight(self, gram: str) -> float:
        # A pair that no text holds is a matter of wording; a word that none holds is missing knowledge.
        if gram in self._place:
            return float(self.idf[self._place[gram]]) * (0.5 if " " in gram else 1.0)
        return 0.0 if " " in gram else self._rarest
