"""Row blocks of a file through a `Pooler`: read ahead in one thread, embedded in others, handed back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._expression import Dense, Rows, Sparse, block_rows
from ..core.expression.sums import Sums, add_sums
from ..core.pooling.moments import Moments
from ..core.pooling.pooler import Pooler, expressed
from ..core.pooling.presets import PRESETS
from ..core.pooling.threads import in_threads
from ._job import Job

__all__ = ["Engine", "principal_axes"]

_READ_ROWS = 4096  # a block on its way from disk
_WORK_ROWS = 1024  # a block in a thread; also the unit of the covariance
_AHEAD = 2  # blocks read and not yet embedded


Arrays = Mapping[str, NDArray[Any]]


def principal_axes(sums: Sums, origin: NDArray[np.float64], k: int) -> dict[str, NDArray[Any]]:
    """Principal axes of an embedding, from what `Engine.covariance` gives for all cells.

    ``mean`` ``(dim,)``; ``V`` ``(dim, k)``, the largest entry of each axis positive; ``variance`` along each axis, and
    ``total_variance``.
    """
    from threadpoolctl import threadpool_limits

    n = int(sums["n"])
    mean = sums["total"] / n
    with threadpool_limits(limits=1):
        variance, V = np.linalg.eigh((sums["square"] - n * np.outer(mean, mean)) / (n - 1))
    variance, V = np.clip(variance[::-1], 0.0, None), V[:, ::-1][:, :k]
    V = np.ascontiguousarray(V * np.sign(V[np.abs(V).argmax(axis=0), np.arange(k)]))
    return {"mean": origin + mean, "V": V, "variance": variance[:k], "total_variance": np.array(variance.sum())}


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
        self._axes: Arrays | None = None
        self._pooler = self._new_pooler()

    @property
    def dim(self) -> int:
        """Length of a cell embedding."""
        return int(self._vectors.shape[1] if self._axes is None else self._axes["V"].shape[1])

    def _new_pooler(self) -> Pooler:
        """The pooler of the job, still without vectors."""
        job = self.job
        preset = PRESETS[job.preset]
        self._l2 = preset.l2
        if job.project:
            # A projected embedding is scaled by the length it has before: see `set_axes`.
            preset = replace(preset, l2=False)
        return Pooler(
            job.n_columns,
            self.columns,
            preset,
            top_n=job.top_n or None,
            logged=job.logged,
            ranks=self._ranks,
            seen=expressed(self._rows.read(0, min(128, job.n_cells)), self.columns),
        )

    def set_moments(self, moments: Moments | None) -> None:
        """Make ready to embed; `moments` where the preset is z-scored."""
        self._moments = moments
        self._pooler.set_vectors(self._vectors, moments=moments)

    def set_axes(self, axes: Arrays) -> None:
        """Embed into principal axes, as from `principal_axes`, from now on.

        The embedding is linear in the gene vectors, so that they are projected, not the cells. Where cells have unit
        length, the full vectors come along to tell the length.
        """
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            short = self._vectors.astype(np.float64) @ axes["V"]
        both = np.hstack([short, self._vectors]) if self._l2 else short
        self._axes = axes
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

    def embed(self, shards: Sequence[int]) -> Iterator[tuple[int, NDArray[Any], NDArray[np.float64], int]]:
        """Number, embedding and coverage of each shard, in order, and how many of its cells have no gene with text."""
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
                yield shard, _narrow(out, self.job.dtype), coverage, n_empty

    def _work(
        self, block: Sparse | Dense, library: NDArray[np.float64], start: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        out = np.empty((_length(block), self._pooler.dim), dtype=np.float32)
        coverage, n_genes = self._pooler.run(block, library, out, first_row=start)
        return out, coverage, n_genes

    def _whole(self, block: Sparse | Dense, library: NDArray[np.float64], start: int) -> NDArray[np.float64]:
        """The embedding before projection."""
        values = self._work(block, library, start)[0].astype(np.float64)
        return values / _norms(values)[:, None] if self._l2 else values

    def _project(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coordinates along the principal axes, if there are any."""
        if self._axes is None:
            return block
        values = block[:, : self.dim].astype(np.float64)
        if self._l2:
            values /= _norms(block[:, self.dim :].astype(np.float64))[:, None]
        offset = np.einsum("d,dk->k", self._axes["mean"], self._axes["V"])
        return np.asarray(values - offset, dtype=np.float32)

    def _summed(self, groups: Iterable[Sequence[int]], work: Callable[..., Sums]) -> Iterator[Sums]:
        """Sums of what `work` gives for the blocks of each group of shards."""
        groups = list(groups)
        ends = {self.job.rows(group[-1])[1] for group in groups}
        sums: Sums = {}
        for _, _, stop, part in self._each([shard for group in groups for shard in group], work):
            sums = add_sums([sums, part])
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

        def work_on(shard: int, start: int, stop: int, block: Sparse | Dense, library: NDArray[np.float64]) -> Any:
            return shard, start, stop, work(block, library, start)

        # One thread reads ahead, while others work on what it has read.
        read = in_threads(self._read_part, self._parts(shards), 1, ahead=_AHEAD)
        return in_threads(work_on, _blocks(read), self._n_jobs)

    def _parts(self, shards: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(shard, first row, row behind the last) of what is read at a time."""
        for shard in shards:
            first, last = self.job.rows(shard)
            for start in range(first, last, self._chunk):
                yield shard, start, min(last, start + self._chunk)

    def _read_part(self, shard: int, start: int, stop: int) -> tuple[Any, ...]:
        return (shard, start, stop, *self._read(start, stop))


def _blocks(parts: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """What was read at a time, cut into blocks of work."""
    for shard, first, last, rows, library in parts:
        for start in range(first, last, _WORK_ROWS):
            stop = min(last, start + _WORK_ROWS)
            a, b = start - first, stop - first
            yield shard, start, stop, _slice(rows, a, b), library[a:b]


def _read_size(rows: Rows) -> int:
    start, stop = next(iter(block_rows(rows, None, default=_READ_ROWS)))
    return stop - start


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
