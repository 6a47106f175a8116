"""`embed`: the one way texts become vectors."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError, LexicellError, ProviderError
from .._keys import space_of
from .._progress import progress
from ..store import Store
from ._base import Embedder
from ._registry import get

Keep = Callable[[Sequence[int], object], None]

_BATCH_SIZE = 64
_SURELY_SHORT = 100  # characters: no model reads fewer tokens, so that its tokenizer need not be loaded to know


def embed(
    texts: Sequence[str],
    embedder: str | Embedder = "local",
    *,
    store: Store | Literal[False] | None = None,
    batch_size: int | None = None,
    show_progress: bool | None = None,
) -> NDArray[np.float32]:
    """Turn texts into vectors, each distinct text once.

    Texts whose vectors are in the store are not computed or sent again. Every finished batch is stored at once, so an
    interrupted run, started again, goes on where it stopped.

    Parameters
    ----------
    texts
        Strings, none of them empty. Equal texts get equal vectors and count once.
    embedder
        A name for :func:`get`, or an embedder.
    store
        Where vectors are kept; None is the user's own store, False keeps nothing.
    batch_size
        At most so many texts per call of the embedder; None leaves it to the embedder.
    show_progress
        Draw a progress bar with the time left on stderr; None means where a person is watching.

    Returns
    -------
    ``(len(texts), dim)`` float32, C-contiguous, row i belongs to ``texts[i]``.

    Raises
    ------
    InputError
        If a text is empty or no string, the embedder is unknown, or the store cannot be used (for an embedder that
        runs on this machine an unusable default store is a warning, and nothing is kept).
    ProviderError
        If the embedder fails, or answers with the wrong number of vectors, the wrong length, NaN or a zero vector.
        Batches that were right are stored.

    Warns
    -----
    UserWarning
        If texts are longer than the model reads, so that their ends do not count. Checked for the texts computed now,
        not for those already stored.

    Examples
    --------
    >>> import lexicell as lx
    >>> lx.embedders.embed(["axonal transport", "stress granule"]).shape  # doctest: +SKIP
    (2, 384)
    """
    texts = _checked(texts)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    model = get(embedder) if isinstance(embedder, str) else embedder
    opened = _open(store, model)
    space = space_of(model)

    unique = list(dict.fromkeys(texts))
    known = opened.get_many(space, unique) if opened is not None else {}
    waiting = [text for text in unique if text not in known]
    if waiting:
        _warn_truncated(model, waiting)
        with progress(f"embedding texts ({model.name})", len(waiting), show=show_progress) as advance:

            def keep(batch: Sequence[int], answer: object) -> None:
                sent = [waiting[i] for i in batch]
                block = _checked_answer(model, sent, answer)
                if opened is not None:
                    opened.put_many(space, sent, block)
                known.update(zip(sent, block, strict=True))
                advance(len(batch))

            _run(model, waiting, _batches(model, waiting, batch_size), keep)
    vectors = np.empty((len(texts), model.dim), dtype=np.float32)
    for row, text in enumerate(texts):
        vectors[row] = known[text]
    return vectors


def _run(model: Embedder, texts: Sequence[str], batches: Sequence[Sequence[int]], keep: Keep) -> None:
    """Embed all batches, as many at once as the embedder allows, and hand over each answer as it comes."""
    stop = threading.Event()

    def work(batch: Sequence[int]) -> None:
        if stop.is_set():
            return
        try:
            answer = model.embed([texts[i] for i in batch])
        except ProviderError as error:
            # A provider that failed half-way hands over what it had been answered (and paid) by then.
            done, vectors = getattr(error, "partial", ((), None))
            if len(done):
                keep([batch[i] for i in done], vectors)
            raise
        keep(batch, answer)

    workers = min(int(getattr(model, "concurrency", 1)), len(batches))
    if workers <= 1 and not model.leaves_machine:
        for batch in batches:
            work(batch)
        return
    # Answers of a provider are awaited and stored in threads of their own even where one call runs at a time: Ctrl-C
    # is delivered to the main thread, so it cannot fall between an answer that was paid for and the store.
    pool = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="lexicell-embed")
    try:
        for future in as_completed([pool.submit(work, batch) for batch in batches]):
            future.result()
    except BaseException:
        stop.set()
        cancel = getattr(model, "cancel", None)
        if cancel is not None:
            cancel()
        raise
    finally:
        # Waits for the calls in flight: what they return is stored although the run has failed.
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(model: Embedder, texts: Sequence[str], batch_size: int | None) -> list[Sequence[int]]:
    """Positions of the texts of each batch: as the embedder plans them, else in their order."""
    plan = getattr(model, "plan", None)
    if plan is None:
        size = int(getattr(model, "batch_size", _BATCH_SIZE))
        batches: list[Sequence[int]] = [range(i, min(i + size, len(texts))) for i in range(0, len(texts), size)]
    else:
        batches = [list(batch) for batch in plan(texts) if len(batch)]
        if sorted(i for batch in batches for i in batch) != list(range(len(texts))):
            raise ProviderError(f"embedder '{model.name}' planned batches that do not hold each text exactly once")
    if batch_size is not None:
        batches = [batch[i : i + batch_size] for batch in batches for i in range(0, len(batch), batch_size)]
    return batches


def _checked(texts: Sequence[str]) -> list[str]:
    """The texts as plain strings; an `InputError` names the first that cannot be embedded."""
    if isinstance(texts, str):
        raise InputError("texts must be a list of strings, not one string; write [text]")
    out = list(texts)
    for i, text in enumerate(out):
        if not isinstance(text, str):
            raise InputError(
                f"text {i} is {type(text).__name__}, not a string; drop entries without a text before embedding"
            )
        if not text.strip():
            raise InputError(f"text {i} is empty; drop entries without a text before embedding")
        if "\0" in text:
            raise InputError(f"text {i} holds a NUL character; remove it: {text[:40]!a}")
        # numpy's str_ is a str, but prints and pickles differently: store and providers get the plain kind.
        out[i] = str(text)
        try:
            out[i].encode()
        except UnicodeEncodeError:
            raise InputError(
                f"text {i} holds a broken character (a lone surrogate) and cannot be encoded: {text[:40]!a}"
            ) from None
    return out


def _checked_answer(model: Embedder, sent: Sequence[str], answer: object) -> NDArray[np.float32]:
    """An answer as ``(len(sent), dim)`` float32; a `ProviderError` says what is wrong with it."""
    try:
        block = np.ascontiguousarray(answer, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ProviderError(f"embedder '{model.name}' returned something that is no matrix: {error}") from error
    said = f"embedder '{model.name}' returned"
    if block.ndim != 2 or len(block) != len(sent):
        count = len(block) if block.ndim else 0
        raise ProviderError(
            f"{said} {count} vectors (shape {block.shape}) for {len(sent)} texts; the batch was not stored"
        )
    if block.shape[1] != model.dim:
        raise ProviderError(
            f"{said} vectors of length {block.shape[1]}, not {model.dim}; the batch was not stored. "
            "Check the model and its dimensions: some servers ignore the dimensions asked for"
        )
    wrong = ~np.isfinite(block).all(axis=1)
    if wrong.any():
        raise ProviderError(f"{said} NaN or infinity for {_quote(sent, wrong)}; the batch was not stored")
    wrong = ~block.any(axis=1)
    if wrong.any():
        raise ProviderError(f"{said} a zero vector for {_quote(sent, wrong)}; the batch was not stored")
    return block


def _quote(texts: Sequence[str], wrong: ArrayLike) -> str:
    """How many texts are concerned, and the beginning of the first."""
    rows = np.flatnonzero(wrong)
    text = texts[int(rows[0])]
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    return f"{len(rows)} of {len(texts)} texts, first '{shown}'"


def _warn_truncated(model: Embedder, texts: Sequence[str]) -> None:
    truncated = getattr(model, "truncated", None)
    rows = truncated(texts) if truncated is not None else ()
    if len(rows):
        wrong = np.zeros(len(texts), dtype=bool)
        wrong[list(rows)] = True
        message = f"texts longer than embedder '{model.name}' reads; their ends do not count: {_quote(texts, wrong)}"
        warnings.warn(message, UserWarning, stacklevel=3)


def cut_short(embedder: str, texts: Sequence[str]) -> list[tuple[str, int, int]]:
    """Texts longer than an embedder reads, stored ones included, with their tokens and how many are read.

    Both numbers are 0 where the embedder does not tell them. Where its tokenizer cannot be had nothing is said: then
    every vector comes from the store.
    """
    long = [text for text in texts if len(text) > _SURELY_SHORT]
    if not long:
        return []
    try:
        model = get(embedder)
        if not hasattr(model, "truncated"):
            return []
        cut = [long[int(row)] for row in model.truncated(long)]
        if not cut or not hasattr(model, "token_counts"):
            return [(text, 0, 0) for text in cut]
        window = int(getattr(model, "max_tokens", 0))
        return [(text, int(count), window) for text, count in zip(cut, model.token_counts(cut), strict=True)]
    except LexicellError:
        return []


def _open(store: Store | Literal[False] | None, model: Embedder) -> Store | None:
    """The store to use; None where nothing is to be kept, or cannot be and need not be."""
    if store is False:
        return None
    if store is not None:
        store.check_writable()
        return store
    try:
        store = Store()
        store.check_writable()
        return store
    except InputError as error:
        if model.leaves_machine:
            raise InputError(
                f"{error}. Embedder '{model.name}' sends texts to another machine, and its answers could not be kept, "
                "so nothing was sent; to go on without a store pass store=False"
            ) from error
        warnings.warn(f"{error}. Vectors are computed and not kept", UserWarning, stacklevel=3)
        return None
