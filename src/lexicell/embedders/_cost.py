"""What embedding texts would cost, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import InputError
from .._keys import space_of
from ..store import Store
from ._base import Embedder
from ._prices import PRICES_DATE
from ._registry import get

__all__ = ["CostEstimate", "Quote", "estimate_cost"]


@dataclass(frozen=True)
class Quote:
    """What an embedder says about sending some texts.

    Attributes
    ----------
    tokens
        Tokens it would read.
    requests
        Requests it would send.
    money
        US dollars; None where the price is not known.
    exact
        Whether `tokens`, and with it the rest, is exact; False means an upper bound.
    """

    tokens: int
    requests: int
    money: float | None
    exact: bool


@dataclass(frozen=True)
class CostEstimate:
    """What :func:`lexicell.emb.cost` found; ``str()`` of it is a sentence for people.

    Attributes
    ----------
    embedder
        Its name.
    texts
        Texts asked for.
    unique
        Different ones among them.
    stored
        Of these, how many are in the store and cost nothing.
    tokens, requests, money, exact
        For the rest, as in :class:`Quote`. `money` is in US dollars, None where the price is not known.
    truncated
        Texts that are longer than the model reads and would be cut, as far as known.
    leaves_machine
        Whether texts would leave this machine.
    prices_date
        When the prices were read; empty where none was used.
    """

    embedder: str
    texts: int
    unique: int
    stored: int
    tokens: int
    requests: int
    money: float | None
    exact: bool
    truncated: int
    leaves_machine: bool
    prices_date: str

    @property
    def to_send(self) -> int:
        """Texts that would have to be embedded."""
        return self.unique - self.stored

    def __str__(self) -> str:
        count = f"{self.texts:,} texts ({self.unique:,} different, {self.stored:,} of them already stored)"
        if not self.to_send:
            return f"{count}: nothing is left to embed with '{self.embedder}'"
        if not self.leaves_machine:
            return f"{count}: {self.to_send:,} to embed with '{self.embedder}' on this machine, at no cost"
        most, note = "", ""
        if not self.exact:
            most = "at most "
            note = " (counted in bytes, for want of the model's vocabulary; English text usually has a quarter of that)"
        price = "at a price not known here"
        if self.money is not None:
            shown = max(self.money, 0.01) if self.money else 0.0
            price = f"{most}${shown:,.2f}"
        if self.money is not None and self.prices_date:
            price += f" at the prices of {self.prices_date}"
        if self.truncated:
            price += f"; {self.truncated:,} texts are too long and would be cut"
        return (
            f"{count}: {self.to_send:,} to send to '{self.embedder}' in {most}{self.requests:,} requests, "
            f"{most}{self.tokens:,} tokens{note}, {price}"
        )


def estimate_cost(
    texts: Sequence[str], embedder: str | Embedder = "local", *, store: Store | None = None, **options: Any
) -> CostEstimate:
    """Tell what embedding texts would cost. Sends none of them and spends nothing.

    Equal texts count once. Where the model's vocabulary cannot be had (it is fetched once, by tiktoken), counts are
    upper bounds and ``exact`` is False. `options` are those of the embedder where `embedder` is a name.
    """
    if isinstance(texts, str):
        raise InputError("texts must be a list of strings, not one string; write [text]")
    if not isinstance(embedder, str) and options:
        raise InputError("options go with the name of an embedder, not with one that exists already")
    model = get(embedder, **options) if isinstance(embedder, str) else embedder
    unique = list(dict.fromkeys(str(text) for text in texts))
    # The length of the vectors is part of the store's key, and asking a server for it would be a request.
    known: dict[str, Any] = {}
    if getattr(model, "dim_known", True):
        known = (Store() if store is None else store).get_many(space_of(model), unique)
    waiting = [text for text in unique if text not in known]
    quote = _quote(model, waiting)
    n_long = 0
    if waiting and model.leaves_machine and hasattr(model, "truncated"):
        n_long = len(model.truncated(waiting))
    return CostEstimate(
        embedder=model.name,
        texts=len(texts),
        unique=len(unique),
        stored=len(known),
        tokens=quote.tokens,
        requests=quote.requests,
        money=quote.money,
        exact=quote.exact,
        truncated=n_long,
        leaves_machine=model.leaves_machine,
        prices_date=PRICES_DATE if quote.money and model.leaves_machine else "",
    )


def _quote(model: Embedder, waiting: Sequence[str]) -> Quote:
    if not waiting:
        return Quote(0, 0, 0.0, exact=True)
    own = getattr(model, "quote", None)
    if own is not None:
        return own(waiting)  # type: ignore[no-any-return]
    size = int(getattr(model, "batch_size", 64))
    tokens = sum(len(text.encode()) for text in waiting)
    return Quote(tokens, -(-len(waiting) // size), None if model.leaves_machine else 0.0, exact=False)
