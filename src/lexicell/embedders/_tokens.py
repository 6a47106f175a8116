"""Token counts on this machine, exact where the vocabulary is at hand and a safe upper bound where it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Tokens", "pack"]

_FETCH_SECONDS = 20.0  # tiktoken sets no time-out of its own when it fetches a vocabulary

_lock = threading.Lock()
_encodings: dict[str, Any] = {}


class Tokens:
    """Counts and cuts texts in the tokens of one vocabulary.

    tiktoken fetches a vocabulary from the network when it is first used and keeps it. Where that is impossible the
    number of UTF-8 bytes is used: every token of these vocabularies covers at least one byte, so it is never too
    low. Gene texts have between four and five bytes per token.

    Parameters
    ----------
    encoding
        Name of a vocabulary of tiktoken; empty where the model's vocabulary is not known.
    """

    def __init__(self, encoding: str = "") -> None:
        self._encoding = _load(encoding) if encoding else None

    @property
    def exact(self) -> bool:
        """Whether counts are exact; False means upper bounds."""
        return self._encoding is not None

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        if self._encoding is None:
            return [len(text.encode()) for text in texts]
        # "ordinary": a text that spells a control token, e.g. <|endoftext|>, is text all the same.
        return [len(ids) for ids in self._encoding.encode_ordinary_batch(list(texts), num_threads=1)]

    def cut(self, text: str, limit: int) -> str:
        """The longest beginning of `text` of at most `limit` tokens; the whole text where counts are not exact."""
        if self._encoding is None or len(text.encode()) <= limit:
            return text
        ids = self._encoding.encode_ordinary(text)
        while len(ids) > limit:
            # A cut can fall within a character, and the end of what is left can fall into other tokens than before.
            # Every turn drops at least one token, so this ends.
            text = self._encoding.decode(ids[:limit], errors="ignore")
            ids = self._encoding.encode_ordinary(text)
        return text


def pack(counts: Sequence[int], *, max_texts: int, max_tokens: int) -> list[list[int]]:
    """Positions in batches, in order, each within both limits; a text above `max_tokens` is alone."""
    batches: list[list[int]] = []
    total = 0
    for i, count in enumerate(counts):
        if not batches or len(batches[-1]) == max_texts or total + count > max_tokens:
            batches.append([])
            total = 0
        batches[-1].append(i)
        total += count
    return batches


def _load(name: str) -> Any:
    """The vocabulary, or None; tried once per process."""
    with _lock:
        if name not in _encodings:
            _encodings[name] = _within(_FETCH_SECONDS, lambda: _tiktoken(name))
        return _encodings[name]


def _tiktoken(name: str) -> Any:
    import tiktoken

    return tiktoken.get_encoding(name)


def _within(seconds: float, action: Callable[[], Any]) -> Any:
    """What `action` returns, or None if it fails or takes longer (its thread is left to itself)."""
    made: list[Any] = []

    def work() -> None:
        # Anything may go wrong here: no package, no network, a proxy's error page, a full disk. None of it matters,
        # for an upper bound serves as well.
        try:
            made.append(action())
        except Exception:
            return

    thread = threading.Thread(target=work, daemon=True, name="lexicell-vocabulary")
    thread.start()
    thread.join(seconds)
    return made[0] if made else None
