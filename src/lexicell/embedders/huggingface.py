"""Models of Hugging Face on this machine, through transformers and torch.

``hf:OWNER/MODEL[@REVISION]``, ``hf:/path/to/folder``, or an alias. See ``_recipe.py`` for how a vector is made of a
text, and ``_hub.py`` for where models are looked for.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingDependencyError, check_choice
from ._base import EmbedderInfo
from ._hub import cached, find, fingerprint
from ._recipe import POOLINGS, Recipe, read_recipe

__all__ = ["HuggingFace", "infos", "make"]


@dataclass(frozen=True)
class _Alias:
    model: str
    dim: int
    licence: str  # as its authors state it
    pooling: str | None = None  # where the authors use another than the mean, or than the folder says


_ALIASES = {
    "biobert": _Alias("dmis-lab/biobert-base-cased-v1.2", 768, "Apache-2.0"),
    "scibert": _Alias("allenai/scibert_scivocab_uncased", 768, "Apache-2.0"),
    "pubmedbert": _Alias("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext", 768, "MIT"),
    "sapbert": _Alias("cambridgeltl/SapBERT-from-PubMedBERT-fulltext", 768, "Apache-2.0", "cls"),
    "medcpt": _Alias("ncbi/MedCPT-Article-Encoder", 768, "public domain", "cls"),
    "minilm": _Alias("sentence-transformers/all-MiniLM-L6-v2", 384, "Apache-2.0"),
}
_DTYPES = ("float32", "float16", "bfloat16")


class HuggingFace:
    """Vectors of a transformers model; made by :func:`make`, which documents the options.

    Attributes
    ----------
    name
        ``"hf:OWNER/MODEL"``, or ``"hf:FOLDER"`` with the last part of a path: the rest of the path may be private.
    revision
        Commit of the hub, or a hash of the folder's files; then pooling, longest text and whatever else changes a
        vector.
    """

    leaves_machine = False

    def __init__(
        self,
        model: str,
        revision: str,
        *,
        download: bool,
        pooling: str | None,
        max_tokens: int | None,
        batch_size: int,
        device: str | None,
        dtype: str,
    ) -> None:
        folder = Path(model).expanduser()
        self._given = folder if folder.is_dir() else None
        self.name = f"hf:{folder.resolve().name if self._given else model}"
        self.batch_size = batch_size
        self._model, self._wanted, self._download = model, revision, download
        self._pooling, self._max_tokens = pooling, max_tokens
        self._device, self._dtype = device, dtype
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None
        self._read: Any = None

    def __repr__(self) -> str:
        return f"HuggingFace({self.name!r})"

    # What is known without loading ----------------------------------------------------------------------------------

    @cached_property
    def folder(self) -> Path:
        """Where the model's files are."""
        if self._given is not None:
            return self._given
        return find(self._model, self._wanted, allow_download=self._download)

    @cached_property
    def recipe(self) -> Recipe:
        """Pooling, unit length and longest text."""
        return read_recipe(self.folder, pooling=self._pooling, max_tokens=self._max_tokens)

    @cached_property
    def revision(self) -> str:
        """What exactly computes the vectors."""
        mark = f"{fingerprint(self.folder)}-{self.recipe.mark}"
        # Rounding differs a little from device to device, but between number formats by a thousandth.
        return mark if self._dtype == "float32" else f"{mark}-{self._dtype}"

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.recipe.dim

    # Batches --------------------------------------------------------------------------------------------------------

    def plan(self, texts: Sequence[str]) -> list[list[int]]:
        """Batches of texts of like length, the longest first: what fits in memory then fits to the end."""
        counts = self.token_counts(texts)
        order = sorted(range(len(texts)), key=lambda i: (-int(counts[i]), i))
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def token_counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text, uncut, with the marks around it; ``(len(texts),)``."""
        tokens = self._tokenizer()(self._worded(texts), add_special_tokens=True, truncation=False, verbose=False)
        return np.asarray([len(ids) for ids in tokens["input_ids"]], dtype=np.int64)

    @property
    def max_tokens(self) -> int:
        """Tokens the model reads."""
        return self.recipe.max_tokens

    def truncated(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Positions of the texts longer than the model reads."""
        return np.flatnonzero(self.token_counts(texts) > self.recipe.max_tokens)

    # Vectors --------------------------------------------------------------------------------------------------------

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, ``(len(texts), dim)`` float32.

        Raises
        ------
        MissingDependencyError
            If torch, transformers or the model are not on this machine.
        InputError
            If the folder does not hold a whole model.
        """
        network, tokenizer = self._load()
        import torch

        tokens = tokenizer(
            self._worded(texts),
            padding=True,
            truncation=True,
            max_length=self.recipe.max_tokens,
            return_tensors="pt",
        ).to(network.device)
        with torch.inference_mode():
            layer = network(**tokens).last_hidden_state.float()
            vectors = _pool(layer, tokens["attention_mask"], self.recipe)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)

    def _worded(self, texts: Sequence[str]) -> list[str]:
        if self.recipe.lower:
            texts = [text.lower() for text in texts]
        return [self.recipe.prompt + text for text in texts]

    def _tokenizer(self) -> Any:
        with self._lock:
            return self._the_tokenizer()

    def _the_tokenizer(self) -> Any:
        if self._read is None:
            _require()
            from transformers import AutoTokenizer

            with _quiet():
                options = {"do_lower_case": False} if _is_cased(self.folder) else {}
                self._read = AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True, **options)
        return self._read

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                tokenizer = self._the_tokenizer()
                self._loaded = self._network(), tokenizer
            return self._loaded

    def _network(self) -> Any:
        import torch
        from transformers import AutoModel

        with _quiet():
            try:
                network, told = AutoModel.from_pretrained(
                    str(self.folder), local_files_only=True, output_loading_info=True
                )
            except (OSError, ValueError) as error:
                words = " ".join(str(error).split())[:300]
                raise InputError(f"{self.folder} does not hold a model that transformers can load: {words}") from error
        # A weight that is not in the file is filled with chance. The pooler after BERT's last layer is not used here.
        missing = [name for name in told["missing_keys"] if not name.startswith("pooler.")]
        if missing:
            raise InputError(
                f"{self.folder} lacks {len(missing)} weights of the model, e.g. '{sorted(missing)[0]}'; the file is "
                "damaged or belongs to another model"
            )
        return network.eval().to(device=_device(self._device), dtype=getattr(torch, self._dtype))


def _pool(layer: Any, mask: Any, recipe: Recipe) -> Any:
    """One vector per text from the last layer (texts, tokens, hidden); padded places do not count.

    mean: sum of the vectors of the tokens (marks included) / their number. mean_sqrt_len: the same sum / the square
    root of their number. cls: the vector of the first token. max: the largest number of each place.
    """
    import torch

    weight = mask.unsqueeze(-1).to(layer.dtype)
    parts = []
    for how in recipe.pooling:
        if how == "cls":
            parts.append(layer[:, 0])
        elif how == "max":
            parts.append(layer.masked_fill(weight == 0, float("-inf")).max(dim=1).values)
        else:
            number = weight.sum(dim=1).clamp(min=1e-9)
            parts.append((layer * weight).sum(dim=1) / (number if how == "mean" else number.sqrt()))
    vectors = torch.cat(parts, dim=1)
    return torch.nn.functional.normalize(vectors, dim=1) if recipe.unit else vectors


def _device(wanted: str | None) -> str:
    import torch

    if wanted is not None:
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_cased(folder: Path) -> bool:
    """Whether a folder with nothing but ``vocab.txt`` holds a vocabulary with capital letters.

    transformers lowers texts where no file says otherwise, and a cased model then reads words it has hardly seen.
    """
    if (folder / "tokenizer.json").is_file() or (folder / "tokenizer_config.json").is_file():
        return False
    try:
        words = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return any(word != word.lower() and not word.startswith("[") for word in words)


def _require() -> None:
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"models of Hugging Face need {' and '.join(missing)}: pip install 'lexicell[hf]'")


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no advice from transformers: what matters is checked and said by us."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def make(
    model: str,
    *,
    revision: str | None = None,
    download: bool = False,
    pooling: str | None = None,
    max_tokens: int | None = None,
    batch_size: int = 32,
    device: str | None = None,
    dtype: str = "float32",
) -> HuggingFace:
    """Make the embedder of a Hugging Face model.

    Parameters
    ----------
    model
        ``OWNER/MODEL``, ``OWNER/MODEL@REVISION``, the path of a folder, or an alias: ``biobert``, ``scibert``,
        ``pubmedbert``, ``sapbert``, ``medcpt``, ``minilm``.
    revision
        Branch, tag or commit; default ``main`` as it lies in the Hugging Face cache. The commit found is recorded.
    download
        Fetch a model that is missing from the hub. The default is False: nothing here reaches a network unasked.
    pooling
        ``"mean"``, ``"cls"``, ``"max"`` or ``"mean_sqrt_len"``; None: what the folder says (sentence-transformers),
        what the authors of an alias use, else the mean over all tokens.
    max_tokens
        Tokens read of a text; None: what the folder says, else all that the model can read.
    batch_size
        Texts at once; texts of similar length are put together.
    device
        As torch names it; None: CUDA, else Apple's, else the processor.
    dtype
        ``"float32"``, ``"float16"`` or ``"bfloat16"``; anything but float32 is part of `revision`.

    Raises
    ------
    InputError
        If an option cannot be used.

    Examples
    --------
    >>> from lexicell.embedders.huggingface import make
    >>> make("biobert").name
    'hf:dmis-lab/biobert-base-cased-v1.2'
    """
    alias = _ALIASES.get(model)
    if alias is not None:
        model, pooling = alias.model, pooling or alias.pooling
    if not Path(model).expanduser().is_dir():
        model, _, pinned = model.partition("@")
        if pinned and revision:
            raise InputError(f"the revision is given twice: '@{pinned}' and revision='{revision}'")
        revision = pinned or revision
        if not model or model.startswith((".", "/", "~")) or model.count("/") > 1:
            raise InputError(f"'hf:{model}' is neither an existing folder nor a name like 'hf:OWNER/MODEL'")
    elif revision:
        raise InputError("a folder has no revision; leave revision= out")
    if pooling is not None:
        check_choice(pooling, POOLINGS, "pooling")
    check_choice(dtype, _DTYPES, "dtype")
    if batch_size < 1 or (max_tokens is not None and max_tokens < 3):
        raise InputError("batch_size must be at least 1, and max_tokens at least 3 (a text of one token and its marks)")
    return HuggingFace(
        model,
        revision or "main",
        download=download,
        pooling=pooling,
        max_tokens=max_tokens,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
    )


def infos() -> list[EmbedderInfo]:
    """Describe the embedders for :func:`lexicell.embedders.list`."""
    installed = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
    extra = [] if installed else ["pip install 'lexicell[hf]'"]
    rows = []
    for name, alias in _ALIASES.items():
        lacking = list(extra)
        if cached(alias.model, "main") is None:
            lacking.append(f"the model {alias.model} (download=True)")
        rows.append(EmbedderInfo(name, alias.dim, "; ".join(lacking), not lacking, alias.licence, leaves_machine=False))
    needs = "; ".join([*extra, "a model in the Hugging Face cache or a folder"])
    return [*rows, EmbedderInfo("hf:MODEL", 0, needs, installed, "the model's own", leaves_machine=False)]
