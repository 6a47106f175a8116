"""The passes of a run over the cells of a file; each goes on where it was interrupted, here or on workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from .._progress import Advance, progress
from ..core._zscores import Moments, MomentSums
from ..core.pooling import PRESETS
from ._engine import Engine, Projection, Sums, add
from ._job import Folder, Job
from ._result import shard_writer

__all__ = ["Here", "Place", "known_moments", "look_at_all", "make_ready", "sum_over_cells", "write_embedding"]

_CHECKPOINT = 8  # groups of shards between two records of the sums over all cells


class Place(Protocol):
    """Where groups of shards are worked on."""

    def moments(self, groups: Sequence[Sequence[int]]) -> Iterable[Sums]:
        """As `Engine.moments`."""
        ...

    def covariance(self, groups: Sequence[Sequence[int]]) -> Iterable[Sums]:
        """As `Engine.covariance`."""
        ...

    def embed(self, groups: Sequence[Sequence[int]]) -> Iterator[int]:
        """Write and mark shards; gives the number of shards finished, from time to time."""
        ...


class Here:
    """The process itself."""

    def __init__(self, engine: Engine, folder: Folder) -> None:
        self._engine, self._folder = engine, folder
        self.moments, self.covariance = engine.moments, engine.covariance

    def embed(self, groups: Sequence[Sequence[int]]) -> Iterator[int]:
        """Write and mark shards."""
        write = shard_writer(self._folder, self._engine.job)
        for shard in self._engine.embed([shard for group in groups for shard in group]):
            write(shard.number, shard.embedding, shard.coverage, shard.n_empty)
            yield 1


def look_at_all(folder: Folder, job: Job, engine: Engine, place: Place, *, show: bool | None) -> None:
    """Find out what must be known of all cells before the first is written, and make `engine` ready to embed."""
    if PRESETS[job.preset].z_scored:
        with progress("Means and spreads of genes", job.n_shards, show=show) as advance:
            sum_over_cells(folder, "moments", job, place.moments, advance)
    engine.set_moments(known_moments(folder, job))
    if job.project:
        if folder.arrays("projection") is None:
            with progress("Principal axes", job.n_shards, show=show) as advance:
                sum_over_cells(folder, "covariance", job, place.covariance, advance)
            sums = folder.arrays("covariance") or {}
            folder.save_arrays("projection", Projection.fit(sums, engine.origin, job.project).arrays())
        make_ready(folder, job, engine)


def write_embedding(folder: Folder, job: Job, place: Place, shards: Iterable[int], *, show: bool | None) -> None:
    """Write the shards that are not written yet."""
    done = folder.done()
    left = [shard for shard in shards if shard not in done]
    if left:
        with progress("Embedding cells", len(left), show=show) as advance:
            for n in place.embed(job.groups(left)):
                advance(n)


def make_ready(folder: Folder, job: Job, engine: Engine) -> None:
    """Give `engine` what is known of all cells."""
    engine.set_moments(known_moments(folder, job))
    axes = folder.arrays("projection")
    if axes is not None:
        engine.set_projection(Projection.of(axes))


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
        sums = add(sums, part)
        advance(len(groups[i]))
        if (i + 1) % _CHECKPOINT == 0 or i + 1 == len(groups):
            folder.save_arrays(name, {**sums, "next": np.array(i + 1)})
