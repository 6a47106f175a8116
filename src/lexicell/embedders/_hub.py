"""Folders of Hugging Face models on this machine, and their download where it was asked for."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from .._errors import InputError, MissingDependencyError, ProviderError
from .local.weights import _hub_cache as hub_cache

__all__ = ["cached", "download", "find", "fingerprint", "hub_cache"]

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What changes a vector: weights, vocabulary and every setting. Readme, licence and copies in other formats do not.
_COUNTS = re.compile(r".*\.(safetensors|bin|json|txt|model)$")
_SMALL_FILES = ["*.json", "*.txt", "*.model", "1_Pooling/*"]


def cached(model: str, revision: str) -> Path | None:
    """The snapshot of a model in the Hugging Face cache, or None."""
    folder = hub_cache() / f"models--{model.replace('/', '--')}"
    commit = revision
    if not _COMMIT.fullmatch(revision):
        try:
            commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
        except OSError:
            return None
    snapshot = folder / "snapshots" / commit
    return snapshot if _complete(snapshot) else None


def find(model: str, revision: str, *, allow_download: bool) -> Path:
    """The snapshot of a model; fetched if it is missing and that was allowed.

    Raises
    ------
    MissingDependencyError
        If it is not on this machine and may not be fetched.
    """
    folder = cached(model, revision)
    if folder is not None:
        return folder
    if allow_download:
        return download(model, revision)
    raise MissingDependencyError(
        f"the model '{model}' (revision {revision}) is not on this machine, and lexicell reaches no network unasked. "
        f"Allow one download by lexicell.embedders.get('hf:{model}', download=True), or name the folder of a copy: "
        f"'hf:/path/to/folder'. Looked in {hub_cache()}"
    )


def download(model: str, revision: str) -> Path:
    """Fetch a model from the hub into its cache: settings, vocabulary and one kind of weights.

    Raises
    ------
    MissingDependencyError
        If huggingface_hub is not installed.
    InputError
        If ``HF_HUB_OFFLINE`` forbids it.
    ProviderError
        If it fails.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise InputError(
            f"'{model}' is not on this machine and HF_HUB_OFFLINE forbids to fetch it; unset it, or copy the model"
        )
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError:
        raise MissingDependencyError("models of Hugging Face need: pip install 'lexicell[hf]'") from None
    try:
        names = {file.rfilename for file in HfApi().model_info(model, revision=revision).siblings or []}
        if "model.safetensors" in names or "model.safetensors.index.json" in names:
            weights = ["model*.safetensors"]
        else:
            weights = ["pytorch_model*.bin"]
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=[*_SMALL_FILES, *weights]))
    except Exception as error:  # the hub's own errors share no base with those of the network below it
        words = " ".join(str(error).split())[:300]
        raise ProviderError(f"'{model}' could not be fetched from the hub: {type(error).__name__}: {words}") from None
    if not _complete(folder):
        raise ProviderError(f"'{model}' has no config.json or no weights that transformers with torch can read")
    return folder


def fingerprint(folder: Path) -> str:
    """The first 16 digits of a sha256 over the files of a folder that change a vector.

    A snapshot of the hub's cache is named by its commit, and that name is returned instead.
    """
    if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and _COUNTS.fullmatch(name) and not name.startswith((".", "onnx/", "openvino/")):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def _complete(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in _WEIGHTS)
