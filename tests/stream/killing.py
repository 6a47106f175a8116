"""A process that embeds a file and can be killed at a named phase of its work.

``python -m tests.stream.killing`` warms up once (imports, compiled loops), then forks a child for each request on
stdin, so that many kills cost little. A child says on stdout which phase it enters, and waits there if it is asked to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

# Besides these, "aside" and "swap": before an earlier zarr output is renamed, and before the new one takes its place.
PHASES = ("first pass", "tables", "embedding", "chunk", "unmarked", "mark", "delivery")


class Hooks:
    """Marks put into the library where each phase begins."""

    def __init__(self, phase: str = "", nth: int = 0, pause: float = 0.0, torn: bool = False) -> None:
        self.phase, self.nth, self.pause, self.torn = phase, nth, pause, torn
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()

    def reach(self, phase: str, before: Any = None) -> None:
        with self.lock:
            self.seen[phase] += 1
            here = (phase, self.seen[phase]) == (self.phase, self.nth)
        if here and before is not None:
            before()
        os.write(1, f"{phase} {self.seen[phase]}\n".encode())
        if here:
            time.sleep(self.pause)

    def install(self) -> None:
        from zarr.storage import LocalStore

        from lexicell.stream import _embed as _file
        from lexicell.stream import _engine, _job, _result

        store, save, mark, work = LocalStore.set, _job.Folder.save, _job.Folder.mark, _engine.Engine._work
        array, finish, remove = _result.new_array, _result.finish, _job.Folder.remove

        async def slow_set(this: Any, key: str, value: Any, **options: Any) -> None:
            if "obsm/X_text/" not in key or key.endswith(("json", "zarray", "zattrs")):
                return await store(this, key, value, **options)

            def tear() -> None:
                path = this.root / key
                path.parent.mkdir(parents=True, exist_ok=True)
                whole = value.to_bytes()
                path.write_bytes(whole[: len(whole) // 2])

            self.reach("chunk", tear if self.torn else None)
            await store(this, key, value, **options)
            os.write(1, b"chunk written\n")
            return None

        def slow_save(this: Any, name: str, write: Any) -> None:
            def hooked(file: Any) -> None:
                if name == "moments.npz" or name.startswith("done/"):
                    self.reach("mark" if name.startswith("done/") else "first pass", lambda: file.write(b"half"))
                    file.seek(0)
                    file.truncate()
                write(file)

            save(this, name, hooked)

        def slow_mark(this: Any, shard: int, n_empty: int, check: str) -> None:
            self.reach("unmarked")
            mark(this, shard, n_empty, check)
            os.write(1, b"embedding on\n")

        def slow_work(this: Any, *args: Any) -> Any:
            self.reach("embedding")
            return work(this, *args)

        def slow_array(*args: Any) -> None:
            self.reach("tables")
            array(*args)

        def slow_finish(folder: Any, output: Path) -> None:
            def slow_remove(this: Any) -> None:
                self.reach("delivery")
                remove(this)

            _job.Folder.remove = slow_remove
            finish(folder, output)

        rename = Path.rename

        def slow_rename(this: Path, target: Any) -> Path:
            if ".lexicell-old-" in Path(target).parent.name:
                self.reach("aside")
            if this.name == "store.zarr" and Path(target).name != "store.zarr":
                self.reach("swap")
            return rename(this, target)

        Path.rename = slow_rename
        LocalStore.set, _job.Folder.save, _job.Folder.mark = slow_set, slow_save, slow_mark
        _engine.Engine._work, _result.new_array, _file.finish = slow_work, slow_array, slow_finish


class Process:
    """The warm process, seen from the test."""

    def __init__(self, shard_rows: int | None = None, group_rows: int | None = None) -> None:
        root = Path(__file__).parents[2]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]), "OMP_NUM_THREADS": "1",
               "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
        command = [sys.executable, "-m", "tests.stream.killing", json.dumps([shard_rows, group_rows])]
        self._pipe = subprocess.Popen(
            command, cwd=root, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1
        )

    def start(self, job: dict[str, Any], **hooks: Any) -> int:
        """Fork a child for `job`, the arguments of `embed_file`; gives its pid."""
        assert self._pipe.stdin is not None
        self._pipe.stdin.write(json.dumps([job, hooks]) + "\n")
        self._pipe.stdin.flush()
        return int(self.line().removeprefix("pid "))

    def line(self) -> str:
        """The next thing it says."""
        assert self._pipe.stdout is not None
        said = self._pipe.stdout.readline().strip()
        if not said:
            raise RuntimeError("the process ended")
        return said

    def until(self, wanted: str) -> str:
        """Listen until it says `wanted` or its child ends; gives the last line."""
        said = self.line()
        while said != wanted and not said.startswith("end "):
            said = self.line()
        return said

    def close(self) -> None:
        """End the process."""
        self._pipe.communicate(timeout=30)


def _child(job: dict[str, Any], hooks: dict[str, Any], settings: list[int | None]) -> None:
    import lexicell as lx
    from lexicell.stream import _embed as _file
    from lexicell.stream import _job

    warnings.simplefilter("ignore")
    if settings[0] is not None:
        _file.shard_rows = lambda dim, dtype: settings[0]
        _job._GROUP_ROWS = settings[1]
    Hooks(**hooks).install()
    genes = lx.GeneEmbedding.load(job.pop("genes"))
    of_run = {name: job.pop(name) for name in ("n_jobs", "resume") if name in job}
    lx.stream.embed(genes=genes, run=lx.stream.RunSettings(show_progress=False, **of_run), **job)


def _serve() -> None:
    import anndata  # noqa: F401
    import numpy as np

    from lexicell.core.pooling.pool import pool

    warnings.simplefilter("ignore")
    counts, vectors = np.ones((3, 9), np.float32), np.random.default_rng(0).normal(size=(9, 3))
    counts[0, 0] = 2
    for preset in ("paper", "whitened"):
        pool(counts, vectors, np.arange(9), preset=preset, n_jobs=1)
    settings = json.loads(sys.argv[1])
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                _child(*json.loads(line), settings)
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
                os._exit(1)
            os._exit(0)
        os.write(1, f"pid {pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"end {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    _serve()
