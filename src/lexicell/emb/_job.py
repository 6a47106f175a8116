"""A run from file to file: what is asked, and the folder that tells what is done.

``cells.zarr.partial/`` holds

- ``job.json``, ``genes.npz``, ``vectors.npy``, ``space.npz``: the question, so that any process can take part;
- ``moments.npz``, ``covariance.npz``: sums over the cells seen so far, where something must be known of all cells
  first; ``projection.npz``: what followed from them;
- ``store.zarr``: the result, an AnnData without X, whose arrays are cut into chunks of `Job.shard_rows` cells;
  ``store.json``: says that it is there with all its tables;
- ``done/000012.json``: one small file a finished shard, written after the shard's data.

Every file is written aside and renamed. A killed process leaves shards that are not marked as done: they are computed
and written again, with the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._matrix import Rows, Sparse
from ..core.space import GeneSpace

__all__ = ["Folder", "Job", "fingerprint", "shard_rows"]

_SHARD_BYTES = 16 << 20
_GROUP_ROWS = 32_768  # a task costs the scheduler of Dask some milliseconds: give it seconds of work
_SAMPLE = (8, 8)


@dataclass(frozen=True)
class Job:
    """A question as numbers and words; equal jobs give equal bits.

    Attributes
    ----------
    input
        Path of the file of cells.
    slot, logged
        ``"X"``, ``"raw"`` or a layer; whether its values are l already.
    library_size
        Column of ``obs`` or an empty string.
    preset, top_n, l2, n_components
        As in `emb.cells`; top_n 0 for all genes, n_components 0 for the default.
    project
        Dimensions of the projection, 0 for none.
    key, dtype
        Key in ``obsm`` and ``"float32"`` or ``"float16"``.
    n_cells, n_columns, shard_rows
        Cells, genes of the matrix, cells a shard.
    fingerprint
        Hash of the cells looked at, the gene vectors and everything else here but the path.
    method, precision
        As in `emb.cells`.
    """

    input: str
    slot: str
    logged: bool
    library_size: str
    preset: str
    top_n: int
    l2: bool
    n_components: int
    project: int
    key: str
    dtype: str
    n_cells: int
    n_columns: int
    shard_rows: int
    fingerprint: str = ""
    method: str = "sparse"
    precision: str = "float32"

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.n_cells // self.shard_rows)

    def rows(self, shard: int) -> tuple[int, int]:
        """First row of a shard and the row behind its last."""
        return shard * self.shard_rows, min(self.n_cells, (shard + 1) * self.shard_rows)

    def groups(self, shards: Sequence[int] | None = None) -> list[list[int]]:
        """Shards by the task; of all shards the groups are always the same, and sums over cells run in their order."""
        every = list(range(self.n_shards) if shards is None else shards)
        size = max(1, _GROUP_ROWS // self.shard_rows)
        return [every[i : i + size] for i in range(0, len(every), size)]


def shard_rows(dim: int, dtype: str) -> int:
    """Cells a shard: a power of two that fills about 16 MB."""
    fit = _SHARD_BYTES // (dim * np.dtype(dtype).itemsize)
    return int(max(256, min(16_384, 1 << max(0, fit.bit_length() - 1))))


def fingerprint(job: Job, rows: Rows, genes: Mapping[str, NDArray[Any]]) -> str:
    """Hash of the question: a few rows spread over the matrix stand for all of it."""
    digest = hashlib.blake2b(digest_size=16)
    question = {k: v for k, v in asdict(job).items() if k not in ("input", "fingerprint")}
    digest.update(json.dumps(question, sort_keys=True).encode())
    for name in sorted(genes):
        digest.update(name.encode() + np.ascontiguousarray(genes[name]).tobytes())
    runs, length = _SAMPLE
    for start in np.unique(np.linspace(0, max(0, rows.shape[0] - length), runs).astype(int)):
        block = rows.read(int(start), min(rows.shape[0], int(start) + length))
        for part in (block.data, block.indices, block.indptr) if isinstance(block, Sparse) else (block.values,):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


class Folder:
    """The folder of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "store.zarr"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "job.json").exists()

    def job(self) -> Job:
        """The question."""
        return Job(**json.loads((self.path / "job.json").read_text()))

    def genes(self) -> dict[str, NDArray[Any]]:
        """``columns``, ``ranks`` and ``vectors`` (a memory map) of the genes with text."""
        return {**(self.arrays("genes") or {}), "vectors": np.load(self.path / "vectors.npy", mmap_mode="r")}

    def space(self) -> GeneSpace | None:
        """The gene space, where vectors are whitened."""
        stored = self.arrays("space")
        return None if stored is None else GeneSpace.from_dict(stored)

    def begin(
        self, job: Job, genes: Mapping[str, NDArray[Any]], vectors: NDArray[np.float32], space: GeneSpace | None
    ) -> None:
        """Write the question; the job last, since it says that all is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.save("vectors.npy", lambda f: np.save(f, vectors))
        self.save_arrays("genes", genes)
        if space is not None:
            self.save_arrays("space", space.to_dict())
        self.begin_job(job)

    def begin_job(self, job: Job) -> None:
        """Write a question that needs no more than its job."""
        (self.path / "done").mkdir(parents=True, exist_ok=True)
        self.save("job.json", lambda f: f.write(json.dumps(asdict(job), indent=1).encode()))

    def check(self, asked: Job) -> None:
        """Refuse to go on with a run that asked something else, or whose input was written to since.

        Raises
        ------
        InputError
            Names what differs.
        """
        stored = self.job()
        way = "delete it, or pass resume=False (--no-resume) to start anew"
        if stored.fingerprint != asked.fingerprint:
            old, new = asdict(stored), asdict(asked)
            what = [k for k in old if old[k] != new[k] and k not in ("input", "fingerprint")]
            differs = ", ".join(f"{k}: {old[k]!r} there, {new[k]!r} now" for k in what) or "other cells or gene vectors"
            raise InputError(f"'{self.path}' holds an unfinished run that asked something else ({differs}); {way}")
        if "://" not in asked.input and _last_change(Path(asked.input)) > (self.path / "job.json").stat().st_mtime:
            raise InputError(f"'{asked.input}' was written to after the unfinished run in '{self.path}' began; {way}")

    def save(self, name: str, write: Callable[[Any], object]) -> None:
        """Write a file aside and rename it."""
        aside = self.path / f".{name.replace('/', '-')}.{os.getpid()}.tmp"
        with aside.open("wb") as file:
            write(file)
        aside.replace(self.path / name)

    def arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        """What stands in ``name.npz``, None if it is not there yet."""
        path = self.path / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path) as stored:
            return {key: stored[key] for key in stored.files}

    def save_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write ``name.npz``."""
        self.save(f"{name}.npz", lambda f: np.savez(f, **dict(arrays)))  # type: ignore[arg-type]

    def done(self) -> set[int]:
        """Shards whose data is written."""
        return {int(p.stem) for p in (self.path / "done").glob("*.json")}

    def mark(self, shard: int, n_empty: int) -> None:
        """Say that the data of a shard is written, and how many of its cells have no gene with text."""
        self.save(f"done/{shard:06d}.json", lambda f: f.write(json.dumps({"empty": n_empty}).encode()))

    def n_empty(self, shard: int | None = None) -> int:
        """Cells without any gene that has text, in one shard or in all that are done."""
        marks = (self.path / "done").glob("*.json" if shard is None else f"{shard:06d}.json")
        return sum(json.loads(p.read_text())["empty"] for p in marks)

    def open_store(self, mode: str = "r+") -> Any:
        """The zarr group of the result."""
        import zarr

        return zarr.open_group(str(self.store), mode=mode)

    def delivered(self) -> bool:
        """Whether the result was moved to its place already, and a kill left the rest of the folder behind."""
        return (self.path / "store.json").exists() and not self.store.exists()

    def remove(self) -> None:
        """Delete the folder, in one moment as far as a later run can tell."""
        gone = self.path.with_name(self.path.name + ".deleted")
        if gone.exists():
            shutil.rmtree(gone)
        if self.path.exists():
            self.path.replace(gone)
            shutil.rmtree(gone)


def _last_change(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else []
    return max((p.stat().st_mtime for p in [path, *files]), default=0.0)
