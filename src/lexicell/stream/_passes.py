"""The passes of a run over the cells of a file, in this process or on workers; each can be interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from .._progress import Advance, progress
from ..core.expression.sums import Sums, add_sums
from ..core.pooling.moments import Moments, MomentSums
from ..core.pooling.presets import PRESETS
from ._engine import Engine, principal_axes
from ._job import Folder, Job
from ._result import embedding_arrays

__all__ = ["LocalRunner", "Runner", "known_moments", "look_at_all", "make_ready", "sum_over_cells", "write_embedding"]

_CHECKPOINT = 8  # groups of shards between two records of the sums over all cells


class Runner(Protocol):
    """Works on groups of shards: the first two as those of `Engine`; the last gives numbers of shards finished."""

    def moments(self, groups: Sequence[Sequence[int]]) -> Iterable[Sums]: ...

    def covariance(self, groups: Sequence[Sequence[int]]) -> Iterable[Sums]: ...

    def embed(self, groups: Sequence[Sequence[int]]) -> Iterator[int]: ...


class LocalRunner:
    """Works in this process."""

    def __init__(self, engine: Engine, folder: Folder) -> None:
        self._engine, self._folder = engine, folder
        self.moments, self.covariance = engine.moments, engine.covariance

    def embed(self, groups: Sequence[Sequence[int]]) -> Iterator[int]:
        """Write and mark shards."""
        arrays = embedding_arrays(self._folder, self._engine.job)
        for shard, embedding, coverage, n_empty in self._engine.embed([shard for group in groups for shard in group]):
            arrays.write(shard, [embedding, coverage], n_empty)
            yield 1


def look_at_all(folder: Folder, job: Job, engine: Engine, runner: Runner, *, show: bool | None) -> None:
    """Find out what must be known of all cells before the first is written, and make `engine` ready to embed."""
    if PRESETS[job.preset].z_scored:
        with progress("Means and spreads of genes", job.n_shards, show=show) as advance:
            sum_over_cells(folder, "moments", job, runner.moments, advance)
    engine.set_moments(known_moments(folder, job))
    if job.project:
        if folder.arrays("projection") is None:
            with progress("Principal axes", job.n_shards, show=show) as advance:
                sum_over_cells(folder, "covariance", job, runner.covariance, advance)
            sums = folder.arrays("covariance") or {}
            folder.save_arrays("projection", principal_axes(sums, engine.origin, job.project))
        make_ready(folder, job, engine)


def write_embedding(folder: Folder, job: Job, runner: Runner, *, show: bool | None) -> None:
    """Write the shards that are not written yet, and check that all are there.

    Raises
    ------
    InputError
        If a chunk was lost under way.
    """
    arrays = embedding_arrays(folder, job)
    arrays.recheck()
    left = sorted(set(range(job.n_shards)) - folder.done())
    if left:
        with progress("Embedding cells", len(left), show=show) as advance:
            for n in runner.embed(job.groups(left)):
                advance(n)
    arrays.check_whole()


def make_ready(folder: Folder, job: Job, engine: Engine) -> None:
    """Give `engine` what is known of all cells."""
    engine.set_moments(known_moments(folder, job))
    axes = folder.arrays("projection")
    if axes is not None:
        engine.set_axes(axes)


def known_moments(folder: Folder, job: Job) -> Moments | None:
    """Mean and sd of l of each gene over all cells, where the preset needs them."""
    if not PRESETS[job.preset].z_scored:
        return None
    stored = folder.arrays("moments")
    assert stored is not None  # summed by the first pass
    sums = MomentSums(stored["sums"].shape[1])
    sums.add(stored["sums"], int(stored["n"]))
    return sums.moments()


def sum_over_cells(folder: Folder, name: str, job: Job, work: Callable[..., Iterable[Sums]], advance: Advance) -> None:
    """Add up what `work` gives for groups of shards, in their order, and record the sums from time to time."""
    groups = job.groups()
    sums: Sums = folder.arrays(name) or {}
    first = int(sums.pop("next", np.array(0)))
    advance(sum(len(group) for group in groups[:first]))
    for i, part in enumerate(work(groups[first:]), first):
        sums = add_sums([sums, part])
        advance(len(groups[i]))
        if (i + 1) % _CHECKPOINT == 0 or i + 1 == len(groups):
            folder.save_arrays(name, {**sums, "next": np.array(i + 1)})
