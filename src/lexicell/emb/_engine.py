"""Row blocks of a file through a `Pooler`: read ahead in one thread, embedded in others, handed back in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._matrix import Dense, Rows, Sparse, block_rows
from ..core._hot import SAMPLE
from ..core._pooler import Pooler, expressed
from ..core._zscores import Moments
from ..core.pooling import make_pooler
from ._job import Job

__all__ = ["Engine", "Projection", "Shard", "Sums", "add", "pieces"]

Sums = dict[str, NDArray[Any]]
"""Sums over some cells; those of two ranges of cells are added entry by entry."""

_READ_ROWS = 4096  # a block on its way from disk
_WORK_ROWS = 1024  # a block in a thread; also the unit of the covariance
_AHEAD = 2  # blocks read and not yet embedded


@dataclass(frozen=True)
class Shard:
    """A finished shard: its number, embedding and coverage, and how many of its cells have no gene with text."""

    number: int
    embedding: NDArray[Any]
    coverage: NDArray[np.float64]
    n_empty: int


@dataclass(frozen=True)
class Projection:
    """Principal axes of an embedding: mean ``(dim,)``, V ``(dim, k)``, variance along each, and in all."""

    mean: NDArray[np.float64]
    V: NDArray[np.float64]
    variance: NDArray[np.float64]
    total: float

    @classmethod
    def fit(cls, sums: Sums, origin: NDArray[np.float64], k: int) -> Projection:
        """From what `Engine.covariance` gives for all cells; the largest entry of each axis is positive."""
        from threadpoolctl import threadpool_limits

        n = int(sums["n"])
        mean = sums["total"] / n
        with threadpool_limits(limits=1):
            variance, V = np.linalg.eigh((sums["square"] - n * np.outer(mean, mean)) / (n - 1))
        variance, V = np.clip(variance[::-1], 0.0, None), V[:, ::-1][:, :k]
        V = V * np.sign(V[np.abs(V).argmax(axis=0), np.arange(k)])
        return cls(origin + mean, np.ascontiguousarray(V), variance[:k], float(variance.sum()))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a file or ``uns``."""
        return {"mean": self.mean, "V": self.V, "variance": self.variance, "total_variance": np.array(self.total)}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Projection:
        """What `arrays` gave."""
        return cls(stored["mean"], stored["V"], stored["variance"], float(stored["total_variance"]))


class Engine:
    """Embeds rows of one matrix for one job.

    Parameters
    ----------
    job, genes
        As `Folder` gives them.
    rows
        The matrix.
    library
        Totals over all genes, ``(n_cells,)``, an array or on disk; None: the sums of the rows.
    n_jobs, chunk_size
        Threads; rows read at a time, None for as many as fit a few megabytes.
    """

    def __init__(
        self,
        job: Job,
        genes: Mapping[str, NDArray[Any]],
        rows: Rows,
        library: Any = None,
        *,
        n_jobs: int,
        chunk_size: int | None = None,
    ) -> None:
        self.job, self._rows, self._library, self._n_jobs = job, rows, library, n_jobs
        self._vectors = np.asarray(genes["vectors"], dtype=np.float32)
        self.columns, self._ranks = genes["columns"], genes["ranks"]
        # Whole blocks of work: the sums behind a projection run over them.
        self._chunk = -(-(chunk_size or _read_size(rows)) // _WORK_ROWS) * _WORK_ROWS
        self._moments: Moments | None = None
        self._projection: Projection | None = None
        self._pooler = self._new_pooler()

    @property
    def dim(self) -> int:
        """Length of a cell embedding."""
        return int(self._vectors.shape[1]) if self._projection is None else self._projection.V.shape[1]

    def _new_pooler(self) -> Pooler:
        job = self.job
        pooler = make_pooler(
            job.n_columns,
            self.columns,
            preset=job.preset,
            top_n=job.top_n or None,
            # A projected embedding is scaled by the length it has before: see `set_projection`.
            l2=job.l2 and not job.project,
            logged=job.logged,
            ranks=self._ranks,
            seen=expressed(self._rows.read(0, min(128, job.n_cells)), self.columns),
            precision=job.precision,
        )
        if job.method == "hybrid":
            pooler.choose_hot(*self._read(0, min(SAMPLE, job.n_cells)))
        return pooler

    def set_moments(self, moments: Moments | None) -> None:
        """Make ready to embed; `moments` where the preset is z-scored."""
        self._moments = moments
        self._pooler.set_vectors(self._vectors, moments=moments)

    def set_projection(self, projection: Projection) -> None:
        """Embed into principal axes from now on.

        The embedding is linear in the gene vectors, so that they are projected, not the cells. Where cells have unit
        length, the full vectors come along to tell the length.
        """
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            short = self._vectors.astype(np.float64) @ projection.V
        both = np.hstack([short, self._vectors]) if self.job.l2 else short
        self._projection = projection
        self._pooler.set_vectors(np.ascontiguousarray(both, dtype=np.float32), moments=self._moments)

    def moments(self, groups: Iterable[Sequence[int]]) -> Iterator[Sums]:
        """Sums of l and its square over each group of shards, as whole numbers."""

        def work(block: Sparse | Dense, library: NDArray[np.float64], start: int) -> Sums:
            sums = self._pooler.add_moments(block, library, first_row=start)
            return {"sums": sums, "n": np.array(_length(block))}

        return self._summed(groups, work)

    def covariance(self, groups: Iterable[Sequence[int]]) -> Iterator[Sums]:
        """Sums of the embedding, less `origin`, and of its products over each group of shards.

        The sums run over blocks of 1,024 cells in their order, so that neither threads nor machines change a bit.
        """
        from threadpoolctl import threadpool_limits

        origin = self.origin

        def work(block: Sparse | Dense, library: NDArray[np.float64], start: int) -> Sums:
            values = self._whole(block, library, start) - origin
            return {"n": np.array(len(values)), "total": values.sum(axis=0), "square": values.T @ values}

        with threadpool_limits(limits=1):
            yield from self._summed(groups, work)

    @cached_property
    def origin(self) -> NDArray[np.float64]:
        """Mean of the first cells: near the mean of all, so that the covariance does not cancel."""
        block, library = self._read(0, min(_WORK_ROWS, self.job.n_cells))
        return np.asarray(self._whole(block, library, 0).mean(axis=0))

    def embed(self, shards: Sequence[int]) -> Iterator[Shard]:
        """Embed shards, in their order."""
        out = np.empty((0, self.dim), dtype=np.float32)
        coverage, n_empty = np.empty(0), 0
        for shard, start, stop, (block, part, n_genes) in self._each(shards, self._work):
            first, last = self.job.rows(shard)
            if start == first:
                out = np.empty((last - first, self.dim), dtype=np.float32)
                coverage, n_empty = np.empty(last - first), 0
            out[start - first : stop - first] = self._project(block)
            coverage[start - first : stop - first] = part
            n_empty += int((n_genes == 0).sum())
            if stop == last:
                yield Shard(shard, _narrow(out, self.job.dtype), coverage, n_empty)

    def _work(
        self, block: Sparse | Dense, library: NDArray[np.float64], start: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        out = np.empty((_length(block), self._pooler.dim), dtype=np.float32)
        coverage, n_genes = self._pooler.run(block, library, out, first_row=start)
        return out, coverage, n_genes

    def _whole(self, block: Sparse | Dense, library: NDArray[np.float64], start: int) -> NDArray[np.float64]:
        """The embedding before projection."""
        values = self._work(block, library, start)[0].astype(np.float64)
        return values / _norms(values)[:, None] if self.job.l2 else values

    def _project(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._projection is None:
            return block
        values = block[:, : self.dim].astype(np.float64)
        if self.job.l2:
            values /= _norms(block[:, self.dim :].astype(np.float64))[:, None]
        offset = np.einsum("d,dk->k", self._projection.mean, self._projection.V)
        return np.asarray(values - offset, dtype=np.float32)

    def _summed(self, groups: Iterable[Sequence[int]], work: Callable[..., Sums]) -> Iterator[Sums]:
        groups = list(groups)
        ends = {self.job.rows(group[-1])[1] for group in groups}
        sums: Sums = {}
        for _, _, stop, part in self._each([shard for group in groups for shard in group], work):
            sums = add(sums, part)
            if stop in ends:
                yield sums
                sums = {}

    def _read(self, start: int, stop: int) -> tuple[Sparse | Dense, NDArray[np.float64]]:
        library = np.empty(0) if self._library is None else np.asarray(self._library[start:stop], dtype=np.float64)
        return self._rows.read(start, stop), library

    def _each(
        self, shards: Sequence[int], work: Callable[[Sparse | Dense, NDArray[np.float64], int], Any]
    ) -> Iterator[tuple[int, int, int, Any]]:
        """(shard, first row, row behind the last, result) of every block, in order."""
        stop = threading.Event()
        ahead: queue.Queue[Any] = queue.Queue(_AHEAD)
        reader = threading.Thread(target=self._fill, args=(shards, ahead, stop), daemon=True)
        reader.start()
        waiting: deque[tuple[int, int, int, Future[Any]]] = deque()
        try:
            with ThreadPoolExecutor(self._n_jobs) as threads:
                try:
                    while (item := ahead.get()) is not None:
                        if isinstance(item, BaseException):
                            raise item
                        shard, first, last, (block, library) = item
                        for a in range(first, last, _WORK_ROWS):
                            b = min(last, a + _WORK_ROWS)
                            part = _slice(block, a - first, b - first), library[a - first : b - first], a
                            waiting.append((shard, a, b, threads.submit(work, *part)))
                            if len(waiting) > self._n_jobs:
                                yield _result(waiting.popleft())
                        del block, item
                    while waiting:
                        yield _result(waiting.popleft())
                finally:
                    for *_, future in waiting:
                        future.cancel()
        finally:
            stop.set()
            while reader.is_alive():
                try:
                    ahead.get(timeout=0.05)
                except queue.Empty:
                    continue

    def _fill(self, shards: Sequence[int], ahead: queue.Queue[Any], stop: threading.Event) -> None:
        try:
            for shard in shards:
                first, last = self.job.rows(shard)
                for start in range(first, last, self._chunk):
                    end = min(last, start + self._chunk)
                    ahead.put((shard, start, end, self._read(start, end)))
                    if stop.is_set():
                        return
            ahead.put(None)
        # Whatever happens in this thread must surface in the other.
        except BaseException as error:
            ahead.put(error)


def add(sums: Sums, part: Sums) -> Sums:
    """Sums over the cells of both; an empty dict is nothing."""
    return {name: sums[name] + part[name] for name in part} if sums else part


def pieces(n_shards: int, part: tuple[int, int]) -> range:
    """The shards that part i of n works on: neighbours, so that it reads one stretch; part 0 has the first shard."""
    i, n = part
    return range(-(-i * n_shards // n), -(-(i + 1) * n_shards // n))


def _read_size(rows: Rows) -> int:
    start, stop = next(iter(block_rows(rows, None, default=_READ_ROWS)))
    return stop - start


def _result(item: tuple[int, int, int, Future[Any]]) -> tuple[int, int, int, Any]:
    shard, start, stop, future = item
    return shard, start, stop, future.result()


def _length(block: Sparse | Dense) -> int:
    return len(block.values) if isinstance(block, Dense) else len(block.indptr) - 1


def _slice(block: Sparse | Dense, start: int, stop: int) -> Sparse | Dense:
    if isinstance(block, Dense):
        return Dense(block.values[start:stop])
    a, b = int(block.indptr[start]), int(block.indptr[stop])
    return Sparse(block.data[a:b], block.indices[a:b], block.indptr[start : stop + 1] - a)


def _norms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.sqrt(np.einsum("cd,cd->c", values, values))
    return np.where(length > 0, length, 1.0)


def _narrow(out: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    if dtype == "float32":
        return out
    limit = float(np.finfo(np.float16).max)
    if np.abs(out).max(initial=0.0) > limit:
        raise InputError(f"the embedding reaches {np.abs(out).max():.4g}, beyond float16; use dtype='float32'")
    return out.astype(np.float16)
