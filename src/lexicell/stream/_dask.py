"""Groups of shards on the workers of Dask: each task reads its rows, embeds them and writes its own shards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from .._errors import InputError, MissingDependencyError
from ..core.expression.sums import Sums
from ._engine import Engine
from ._job import Folder, Job
from ._passes import LocalRunner, known_moments, make_ready

__all__ = ["DaskRunner"]

_PATIENCE = "20s"  # for a scheduler to answer
_RETRIES = 2  # of a task that fails; those of a lost worker are given to another anyway
_WAITING = 4  # tasks given out for each thread of the cluster: enough to keep it busy, few enough to hold in memory


class DaskRunner:
    """Works in processes of Dask that share a run's folder.

    Parameters
    ----------
    address
        ``"local:N"`` or the address of a scheduler.
    folder, job
        The run; workers open the job, the gene vectors (mapped into memory) and the input from the paths it names.

    Raises
    ------
    InputError
        If `address` is neither, or no scheduler answers.
    """

    def __init__(self, address: str, folder: Folder, job: Job) -> None:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise MissingDependencyError("dask= needs Dask: pip install 'lexicell[dask]'") from None
        self._run = (str(folder.path.resolve()), job.fingerprint)
        self._cluster: Any = None
        kind, _, number = address.partition(":")
        if kind == "local":
            if not number.isdigit() or int(number) < 1:
                raise InputError(f"dask='{address}': give local:N with N worker processes")
            self._cluster = LocalCluster(n_workers=int(number), threads_per_worker=1, dashboard_address=":0")
            self.client = Client(self._cluster, set_as_default=False)
            return
        try:
            self.client = Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"dask='{address}': no scheduler answers there ({error}); give local:N, or tcp://HOST:PORT as "
                "'dask scheduler' prints it"
            ) from None

    def __enter__(self) -> DaskRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()

    def moments(self, groups: Sequence[Sequence[int]]) -> Iterator[Sums]:
        """As `Engine.moments`."""
        return self._map(_moments, groups)

    def covariance(self, groups: Sequence[Sequence[int]]) -> Iterator[Sums]:
        """As `Engine.covariance`."""
        return self._map(_covariance, groups)

    def embed(self, groups: Sequence[Sequence[int]]) -> Iterator[int]:
        """Write and mark shards."""
        return self._map(_embed, groups)

    def _map(self, task: Callable[..., Any], groups: Sequence[Sequence[int]]) -> Iterator[Any]:
        """Results in the order of the groups."""
        from distributed import KilledWorker

        waiting: deque[Any] = deque()
        try:
            for group in groups:
                waiting.append(self.client.submit(task, self._run, list(group), retries=_RETRIES, pure=False))
                if len(waiting) > _WAITING * max(1, sum(self.client.nthreads().values())):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except KilledWorker as error:
            raise InputError(
                f"workers died again and again on the same rows ({error}): most likely they have too little memory; "
                "what was finished is kept, the same command goes on from there"
            ) from None
        finally:
            for future in waiting:
                future.cancel()


_lock = Lock()  # a worker with several threads gives them all to one task at a time


@lru_cache(maxsize=1)
def _engine(run: tuple[str, str], stage: str) -> tuple[Engine, Folder]:
    """The engine of a run, kept by the worker from task to task."""
    from distributed import get_worker

    from .._expression import open_slot
    from ._open_cells import open_cells

    folder = Folder(Path(run[0]))
    job = folder.job()
    source = open_cells(job.input)
    library = source.column(job.library_size) if job.library_size else None
    threads = get_worker().state.nthreads
    rows, _ = open_slot(source, job.slot)
    assert rows is not None  # checked before the run began
    engine = Engine(job, folder.genes(), rows, library, n_jobs=threads)
    if stage == "covariance":
        engine.set_moments(known_moments(folder, job))
    elif stage == "embed":
        make_ready(folder, job, engine)
    return engine, folder


def _moments(run: tuple[str, str], group: list[int]) -> Sums:
    with _lock:
        return next(iter(_engine(run, "moments")[0].moments([group])))


def _covariance(run: tuple[str, str], group: list[int]) -> Sums:
    with _lock:
        return next(iter(_engine(run, "covariance")[0].covariance([group])))


def _embed(run: tuple[str, str], group: list[int]) -> int:
    with _lock:
        engine, folder = _engine(run, "embed")
        done = folder.done()
        left = [shard for shard in group if shard not in done]
        if left:
            sum(LocalRunner(engine, folder).embed([left]))
        return len(group)
