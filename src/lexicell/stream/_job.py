"""A run from file to file: what is asked, and the folder that tells what is done.

``cells.zarr.partial/`` holds

- ``job.json``, ``genes.npz``, ``vectors.npy``, ``space.npz``: the question, so that any process can take part;
- ``moments.npz``, ``covariance.npz``: sums over the cells seen so far, where something must be known of all cells
  first; ``projection.npz``: what followed from them;
- ``store.zarr``: the result, an AnnData without X, whose arrays are cut into chunks of `Job.shard_rows` cells;
  ``store.json``: says that it is there with all its tables;
- ``done/000012.json``: one small file per finished shard with a checksum of its data, written once the data is on
  the disk;
- ``about.txt``: says whose folder this is.

Every file is written aside and renamed, and the result takes the place of an earlier output, by `_files`. A killed
process leaves shards that are not marked as done: they are computed and written again, with the same bits. So are
shards whose data has another checksum than their mark says.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._expression import Rows, Slot, Sparse
from .._files import discard, swap_folder, write_file
from ..core.genes.gene_space import GeneSpace

__all__ = ["Folder", "Job", "RunSettings", "checksum", "locked", "shard_rows"]

_SHARD_BYTES = 16 << 20
_GROUP_ROWS = 32_768  # a task costs the scheduler of Dask some milliseconds: give it seconds of work
_SAMPLE = (8, 8)
_ABOUT = "Unfinished work of lexicell. Give the same command again to finish it; delete this folder to give it up.\n"


@dataclass(frozen=True)
class RunSettings:
    """How a run from file to file is done; nothing here changes its result.

    Parameters
    ----------
    resume
        Whether to go on with an interrupted run. False: start anew.
    dask
        ``"local:N"`` for N worker processes on this machine, or the address of a scheduler, ``"tcp://..."``, whose
        workers must see input and output under the same paths. Needs ``pip install lexicell[dask]``.
    chunk_size
        Cells read at a time; default: as many as fit a few megabytes, up to 4,096.
    n_jobs
        Threads; default: as many as the process may use. Workers of Dask have their own.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.

    Examples
    --------
    >>> import lexicell as lx
    >>> lx.stream.RunSettings(dask="local:4").resume
    True
    """

    resume: bool = True
    dask: str | None = None
    chunk_size: int | None = None
    n_jobs: int | None = None
    show_progress: bool | None = None


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
    preset, top_n, n_components
        As in `emb.cells`; top_n 0 for all genes, n_components 0 for the default.
    project
        Dimensions of the projection, 0 for none.
    key, dtype
        Key in ``obsm`` and ``"float32"`` or ``"float16"``.
    n_cells, n_columns, shard_rows
        Cells, genes of the matrix, cells per shard.
    fingerprint
        Hash of a sample of the cells, the gene vectors and everything else here but the path.
    """

    input: str
    slot: str
    logged: bool
    library_size: str
    n_cells: int
    n_columns: int
    preset: str
    top_n: int
    key: str
    shard_rows: int
    dtype: str = "float32"
    n_components: int = 0
    project: int = 0
    fingerprint: str = ""

    @classmethod
    def of(cls, path: str, slot: Slot, library_size: str, asked: Mapping[str, NDArray[Any]], **options: Any) -> Job:
        """The job of reading a slot of a file, with its fingerprint; `asked`: arrays that belong to the question."""
        n_cells, n_columns = slot.rows.shape
        job = cls(path, slot.name, slot.logged, library_size, n_cells, n_columns, **options)
        return replace(job, fingerprint=_fingerprint(job, slot.rows, asked))

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
    """Cells per shard: a power of two that fills about 16 MB."""
    fit = _SHARD_BYTES // (dim * np.dtype(dtype).itemsize)
    return int(max(256, min(16_384, 1 << max(0, fit.bit_length() - 1))))


def checksum(parts: Iterable[NDArray[Any]]) -> str:
    """Checksum of the data of a shard: against loss, not against an attacker, so that it costs little."""
    value = 0
    for part in parts:
        value = zlib.crc32(np.ascontiguousarray(part).data, value)
    return f"{value:08x}"


def _fingerprint(job: Job, rows: Rows, asked: Mapping[str, NDArray[Any]]) -> str:
    """Hash of the question; of the matrix, a few rows spread over it are read."""
    digest = hashlib.blake2b(digest_size=16)
    question = {k: v for k, v in asdict(job).items() if k not in ("input", "fingerprint")}
    digest.update(json.dumps(question, sort_keys=True).encode())
    for name in sorted(asked):
        digest.update(name.encode() + np.ascontiguousarray(asked[name]).tobytes())
    runs, length = _SAMPLE
    for start in np.unique(np.linspace(0, max(0, rows.shape[0] - length), runs).astype(int)):
        block = rows.read(int(start), min(rows.shape[0], int(start) + length))
        parts = (block.data, block.indices, block.indptr) if isinstance(block, Sparse) else (block.values,)
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes; the system frees it when this one is killed.

    Raises
    ------
    InputError
        If another process holds it.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder and not in it: it outlives the folder, which is deleted to start anew.
    path = folder.with_name(f"{folder.name}.lock")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"another process is writing in '{folder}': wait until it has ended, or name another output"
        ) from None
    try:
        yield
    finally:
        # Before it is released: later, the file may be that of the next process.
        if os.name == "posix":
            path.unlink(missing_ok=True)
        lock.release()


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
        self._begin()
        self.save("vectors.npy", lambda f: np.save(f, vectors))
        self.save_arrays("genes", genes)
        if space is not None:
            self.save_arrays("space", space.to_dict())
        self.begin_job(job)

    def begin_job(self, job: Job) -> None:
        """Write a question that needs no more than its job."""
        self._begin()
        self.save("job.json", lambda f: f.write(json.dumps(asdict(job), indent=1).encode()))

    def _begin(self) -> None:
        (self.path / "done").mkdir(parents=True, exist_ok=True)
        self.save("about.txt", lambda f: f.write(_ABOUT.encode()))

    def resumes(self, asked: Job, output: Path, *, resume: bool) -> bool:
        """Whether an unfinished run can go on; anything else that is here is deleted.

        Raises
        ------
        InputError
            If the run asked something else.
        """
        # A result that was delivered and moved away is made again.
        moved = (self.path / "delivery.json").exists() and not self.store.exists() and not self.delivered(output)
        if not resume or not self.exists() or moved:
            discard(self.path)
            return False
        self._check(asked)
        return True

    def _check(self, asked: Job) -> None:
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
        """Write a file: `write` is called with the open file."""

        def fill(aside: Path) -> None:
            with aside.open("wb") as file:
                write(file)

        write_file(self.path / name, fill)

    def arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The content of ``name.npz``, None if it does not exist yet."""
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
        return {int(mark.stem) for mark in self._marks()}

    def _marks(self) -> Iterator[Path]:
        # Not *.json: workers write other marks aside meanwhile.
        return (self.path / "done").glob("[0-9]*.json")

    def mark(self, shard: int, n_empty: int, check: str) -> None:
        """Say that the data of a shard is written: its checksum, and how many of its cells have no gene with text."""
        content = json.dumps({"empty": n_empty, "checksum": check}).encode()
        self.save(f"done/{shard:06d}.json", lambda f: f.write(content))

    def unmark(self, shard: int) -> None:
        """Have a shard computed again."""
        self._mark(shard).unlink()

    def marked(self, shard: int) -> str:
        """Checksum of the data of a shard; empty where the mark cannot be read."""
        try:
            return str(json.loads(self._mark(shard).read_text())["checksum"])
        except (ValueError, KeyError, TypeError):
            return ""

    def _mark(self, shard: int) -> Path:
        return self.path / "done" / f"{shard:06d}.json"

    def n_empty(self) -> int:
        """Cells without any gene that has text, in all shards that are done."""
        return sum(json.loads(mark.read_text())["empty"] for mark in self._marks())

    def open_store(self, mode: str = "r+") -> Any:
        """The zarr group of the result."""
        import zarr

        return zarr.open_group(str(self.store), mode=mode)

    def replace(self, output: Path) -> None:
        """Move the result to `output`; what was there is kept until the result is."""
        stored = self.store.stat()
        self.save("delivery.json", lambda f: f.write(json.dumps([stored.st_dev, stored.st_ino]).encode()))
        swap_folder(self.store, output)

    def delivered(self, output: Path) -> bool:
        """Whether `output` is the result of this run, and a kill left the rest of the folder behind."""
        record = self.path / "delivery.json"
        if self.store.exists() or not record.exists() or not output.exists():
            return False
        found = output.stat()
        # A renamed folder keeps its number, so that another one at the same path is told apart.
        return bool(json.loads(record.read_text()) == [found.st_dev, found.st_ino])

    def remove(self) -> None:
        """Delete the folder."""
        discard(self.path)


def _last_change(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else []
    return max((p.stat().st_mtime for p in [path, *files]), default=0.0)
