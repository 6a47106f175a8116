"""From a gene's facts to its text: a template, words to leave out, a limit on length."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .._errors import InputError, choices

__all__ = ["FIELDS", "TEMPLATES", "TextRules", "informative"]

FIELDS = ("symbol", "name", "summary", "go", "function", "gene_type", "synonyms")
TEMPLATES = {
    "default": "{symbol}[: {name}].[ {summary}][ {go}][ {function}]",
    "summary": "{summary}",
    "name": "{symbol}[: {name}].",
    "genept": "Gene Symbol {symbol} {summary}[ {function}]",
}
# A text that holds none of these says nothing but what the gene is called.
_CONTENT = frozenset({"name", "summary", "go", "function"})
_FIELD = re.compile(r"\{(\w*)\}")
_SECTION = re.compile(r"\[([^\[\]]*)\]")
_EMPTY_NAME = re.compile(
    r"(?i)(?:(?:putative |predicted |probable )?(?:un|not )characteri[sz]ed|hypothetical"
    r"|novel (?:gene|transcript|protein)|predicted gene|RIKEN cDNA|expressed sequence|cDNA sequence|DNA segment"
    r"|gene model|LOC\d+|unknown\b)"
)


def informative(name: str, symbol: str) -> bool:
    """Whether a full name says more than that there is a gene.

    Examples
    --------
    >>> informative("superoxide dismutase 1", "SOD1"), informative("uncharacterized LOC105378914", "LOC105378914")
    (True, False)
    """
    return bool(name) and name != symbol and _EMPTY_NAME.match(name) is None


@dataclass(frozen=True)
class TextRules:
    """How facts become a text.

    Attributes
    ----------
    template
        A name from `TEMPLATES`, or a text with fields in braces. A part in square brackets is left out where one of its
        fields is empty.
    max_words
        Texts end after so many words; None: no limit.
    mask_terms
        Words or phrases taken out of every text, whole and in any case, so that a text cannot give away the answer of
        an evaluation.

    Raises
    ------
    InputError
        If the template names a field that does not exist, or has an unpaired bracket, or `max_words` is below 1.

    Examples
    --------
    >>> rules = TextRules("{symbol}[: {name}].[ {summary}]", mask_terms=("zinc",))
    >>> rules.text({"symbol": "SOD1", "name": "superoxide dismutase 1", "summary": "Binds copper and zinc."})
    'SOD1: superoxide dismutase 1. Binds copper and.'
    >>> rules.text({"symbol": "SOD1"})
    ''
    """

    template: str = "default"
    max_words: int | None = None
    mask_terms: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.mask_terms, str):
            raise InputError(f"mask_terms is a list of words, not one string: pass ['{self.mask_terms}']")
        object.__setattr__(self, "mask_terms", tuple(sorted({t.strip() for t in self.mask_terms} - {""})))
        object.__setattr__(self, "template", TEMPLATES.get(self.template, self.template))
        unknown = [field for field in _FIELD.findall(self.template) if field not in FIELDS]
        if unknown:
            raise InputError(f"the template has no field '{{{unknown[0]}}}'; choose among {choices(FIELDS)}")
        if not _FIELD.search(self.template):
            raise InputError(
                f"the template '{self.template}' has no field in braces; write one such as '{TEMPLATES['default']}', "
                f"or name one of {choices(TEMPLATES)}"
            )
        if re.search(r"[\[\]{}]", _FIELD.sub("", _SECTION.sub(r"\1", self.template))):
            raise InputError(f"the template '{self.template}' has a bracket without its partner, or one within another")
        if self.max_words is not None and self.max_words < 1:
            raise InputError(f"max_words must be at least 1, not {self.max_words}")

    @cached_property
    def fields(self) -> frozenset[str]:
        """Fields the template uses."""
        return frozenset(_FIELD.findall(self.template))

    def text(self, facts: Mapping[str, str]) -> str:
        """The text of one gene; empty where its facts say nothing beyond its symbol."""
        if not any(facts.get(field) for field in self.fields & _CONTENT):
            return ""
        parts = []
        for i, piece in enumerate(_SECTION.split(self.template)):
            # Splitting by a pattern with one group puts what was within brackets at the odd places.
            optional = i % 2 == 1
            if not optional or all(facts.get(field) for field in _FIELD.findall(piece)):
                parts.append(_FIELD.sub(lambda field: facts.get(field[1], ""), piece))
        text = " ".join("".join(parts).split())
        if self.mask_terms:
            text = _masked(text, self.mask_terms)
        if self.max_words is not None:
            text = " ".join(text.split()[: self.max_words])
        return text

    def provenance(self) -> dict[str, object]:
        """What has to be known to compose the same texts again."""
        return {
            "template": self.template,
            "max_words": self.max_words or 0,
            "mask_terms": "|".join(self.mask_terms),
        }


def _masked(text: str, terms: Sequence[str]) -> str:
    """The text without some words, and without the brackets and commas that they leave behind."""
    # Longest first, so that "cell death" goes before "cell" can take its half.
    words = sorted(terms, key=len, reverse=True)
    either = "|".join(r"\s+".join(re.escape(word) for word in term.split()) for term in words)
    left, n = re.subn(rf"(?i)(?<!\w)(?:{either})(?!\w)", " ", text)
    if not n:
        return text
    left = re.sub(r"[(\[]\s*[)\]]", " ", left)
    left = re.sub(r"\s+([.,;:)\]])", r"\1", " ".join(left.split()))
    left = re.sub(r"([,;:.])(?:\s*[,;:.])+", r"\1", left)
    return left.strip() if re.search(r"\w", left) else ""
