"""Where files may be written, and that the old output outlives every interruption of its replacement."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lexicell import _files
from lexicell._errors import InputError
from lexicell._files import (
    check_apart,
    check_file,
    check_folder,
    check_work_folder,
    check_zarr,
    discard,
    swap_folder,
    sweep,
    write_file,
    write_folder,
)


def store(path: Path, content: str = "old", *, version: int = 2) -> Path:
    """A folder that says of itself that it holds an AnnData, as zarr of either format does."""
    (path / "obs").mkdir(parents=True)
    (path / "obs" / "0").write_text(content)
    attributes = {"encoding-type": "anndata"}
    if version == 2:
        (path / ".zattrs").write_text(json.dumps(attributes))
    else:
        (path / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    return path


def content(path: Path) -> str:
    return (path / "obs" / "0").read_text()


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# Where anything may be written


def _socket(path: Path) -> None:
    # The path of a socket may have a hundred characters only.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def _read_only(path: Path) -> None:
    path.write_text("kept")
    path.chmod(0o444)


@pytest.mark.parametrize("check", [check_file, check_zarr], ids=["file", "zarr"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda p: p.symlink_to("elsewhere"), "is a link to 'elsewhere'", id="dangling-link"),
        pytest.param(lambda p: p.symlink_to(p.parent), "is a link to", id="link-to-a-folder"),
        pytest.param(os.mkfifo, "is a device, a pipe or a socket", id="pipe"),
        pytest.param(_socket, "is a device, a pipe or a socket", id="socket"),
        pytest.param(_read_only, "is write-protected", id="write-protected"),
        pytest.param(lambda p: (p / "notes").mkdir(parents=True), "folder", id="folder"),
        pytest.param(Path.mkdir, "folder", id="empty-folder"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_what_is_no_output_is_refused(
    check: Callable[..., Path], make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    make(tmp_path / "out")
    with pytest.raises(InputError, match=words):
        check(tmp_path / "out")


@pytest.mark.parametrize("path", [".", "..", "a/..", "/", "", "/dev/null", "a\0b", "n" * 300])
def test_paths_that_name_no_output_are_refused(path: str) -> None:
    for check in (check_file, check_zarr, lambda p: check_folder(p, ["a"])):
        with pytest.raises(InputError):
            check(path)


def test_a_mount_point_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path / "out.zarr")
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "out.zarr")
    with pytest.raises(InputError, match="is a mount point"):
        check_zarr(tmp_path / "out.zarr")


def test_a_path_below_a_file_or_a_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="is a file"):
        check_file(tmp_path / "file" / "out")
    with pytest.raises(InputError, match="is a link to what is not there"):
        check_file(tmp_path / "link" / "out")
    assert check_file(tmp_path / "new" / "deep" / "out") == tmp_path / "new" / "deep" / "out"


@pytest.mark.parametrize("version", [2, 3])
def test_only_a_store_of_cells_that_holds_nothing_else_is_replaced(version: int, tmp_path: Path) -> None:
    path = store(tmp_path / "out.zarr", version=version)
    assert check_zarr(path) == path
    with pytest.raises(InputError, match="is a folder; name a file"):
        check_file(path)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'notes\.txt', which is no part of an AnnData"):
        check_zarr(path)


@pytest.mark.parametrize("attributes", ["{}", "[]", "not json", '{"encoding-type": "raster"}', "[" * 100_000])
def test_a_store_of_something_else_is_refused(attributes: str, tmp_path: Path) -> None:
    path = store(tmp_path / "out.zarr")
    (path / ".zattrs").write_text(attributes)
    with pytest.raises(InputError, match="is not a zarr store that anndata wrote"):
        check_zarr(path)


def test_an_input_is_no_output_by_any_name(tmp_path: Path) -> None:
    given = tmp_path / "cells.h5ad"
    given.write_text("cells")
    (tmp_path / "hard").hardlink_to(given)
    (tmp_path / "soft").symlink_to(given)
    (tmp_path / "folder").symlink_to(tmp_path)
    for output in (given, tmp_path / "hard", tmp_path / "soft", tmp_path / "folder" / "cells.h5ad"):
        with pytest.raises(InputError, match="the output is the input"):
            check_file(output, inputs=[tmp_path / "other", given])


def test_an_output_neither_lies_in_an_input_nor_holds_one(tmp_path: Path) -> None:
    path = store(tmp_path / "cells.zarr")
    with pytest.raises(InputError, match="lies in the input"):
        check_file(path / "table.tsv", inputs=[path])
    with pytest.raises(InputError, match="holds the input"):
        check_zarr(path, inputs=[path / "obs" / "0"])
    with pytest.raises(InputError, match="lies in the input"):
        check_folder(path, ["a.tsv"], inputs=[path])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    check_apart([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(InputError, match="named for two outputs"):
        check_apart([tmp_path / "a", tmp_path / "b", tmp_path / "c" / ".." / "a"])


def test_files_in_a_folder_are_replaced_only_where_the_mark_is(tmp_path: Path) -> None:
    files = ["run.json", "table*.tsv"]
    check = lambda: check_folder(tmp_path / "out", files, mark="run.json", words='"lexicell"')  # noqa: E731
    check()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    check()
    (tmp_path / "out" / "table_1.tsv").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'table_1\.tsv', which no earlier run wrote"):
        check()
    (tmp_path / "out" / "run.json").write_text('{"other": 1}')
    with pytest.raises(InputError, match="which no earlier run wrote"):
        check()
    (tmp_path / "out" / "run.json").write_text('{"lexicell": 1}')
    check()


def test_a_folder_of_work_is_free_or_ours(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr.partial"
    check = lambda: check_work_folder(path, "job.json", ["vectors.npy", ".*.tmp"])  # noqa: E731
    check()
    path.mkdir()
    check()
    (path / "vectors.npy").write_text("begun")
    check()
    (path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="something else is there"):
        check()
    (path / "job.json").write_text("{}")
    check()


# Writing


def test_a_file_is_private_while_it_is_written_and_of_the_masks_mode_after(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def write(aside: Path) -> None:
        seen.append((aside.name, stat.S_IMODE(aside.stat().st_mode), aside.stat().st_size))
        assert aside.parent == tmp_path
        aside.write_text("new")

    before = os.umask(0o027)
    try:
        write_file(tmp_path / "out.tsv", write)
        write_file(tmp_path / "out.tsv", write)
    finally:
        os.umask(before)
    assert [mode for _, mode, _ in seen] == [0o600, 0o600]
    assert seen[0][0] != seen[1][0]
    assert all(name.endswith(".tsv") for name, _, _ in seen)
    assert stat.S_IMODE((tmp_path / "out.tsv").stat().st_mode) == 0o640
    assert names(tmp_path) == ["out.tsv"]


def test_a_temporary_name_that_is_taken_is_not_written_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_text("kept")
    monkeypatch.setattr(_files.secrets, "token_hex", lambda n: "0" * 16)
    _files._aside(tmp_path / "out", "new").symlink_to("victim")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "out", lambda aside: aside.write_text("new"))
    assert (tmp_path / "victim").read_text() == "kept"


def test_long_and_odd_names_are_written(tmp_path: Path) -> None:
    for name in ("n" * 250, "ü" * 120, "a\nb", " ", "-o", "x." + "s" * 200):
        write_file(tmp_path / name, lambda aside: aside.write_text("new"))
        assert (tmp_path / name).read_text() == "new"
    assert len(names(tmp_path)) == 6


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_output_and_nothing_else(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "out.tsv").write_text("old")
    store(tmp_path / "out.zarr")

    def fail_file(aside: Path) -> None:
        aside.write_text("half")
        raise error

    def fail_folder(aside: Path) -> None:
        store(aside, "half")
        raise error

    with pytest.raises(error):
        write_file(tmp_path / "out.tsv", fail_file)
    with pytest.raises(error):
        write_folder(tmp_path / "out.zarr", fail_folder)
    assert (tmp_path / "out.tsv").read_text() == "old"
    assert content(tmp_path / "out.zarr") == "old"
    assert names(tmp_path) == ["out.tsv", "out.zarr"]


def test_a_store_is_written_where_none_is_and_over_an_older_one(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_folder(tmp_path / "new" / "out.zarr", lambda aside, text=text: store(aside, text))
        assert content(tmp_path / "new" / "out.zarr") == text
        assert names(tmp_path / "new") == ["out.zarr"]


def test_a_swap_that_fails_puts_the_old_store_back(tmp_path: Path) -> None:
    store(tmp_path / "out.zarr")
    with pytest.raises(FileNotFoundError):
        swap_folder(tmp_path / "missing", tmp_path / "out.zarr")
    assert content(tmp_path / "out.zarr") == "old"
    assert names(tmp_path) == ["out.zarr"]


def test_discard_deletes_files_folders_and_links_but_not_what_they_point_to(tmp_path: Path) -> None:
    store(tmp_path / "kept")
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "file").write_text("")
    store(tmp_path / "folder")
    for name in ("link", "file", "folder", "missing"):
        discard(tmp_path / name)
    assert names(tmp_path) == ["kept"]
    assert content(tmp_path / "kept") == "old"


# Killed processes

KILL = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_files import store
from lexicell import _files
path, step = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def watched(name):
    plain = getattr(Path, name)
    def call(self, *args, **kwargs):
        global calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, *args, **kwargs)
    setattr(Path, name, call)
for name in ("mkdir", "rename", "write_text"):
    watched(name)
plain = _files.shutil.rmtree
def rmtree(*args, **kwargs):
    global calls
    calls += 1
    if calls == step:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*args, **kwargs)
_files.shutil.rmtree = rmtree
_files.write_folder(path, lambda aside: store(aside, "new"))
"""


def test_a_store_is_the_old_or_the_new_one_after_a_kill_at_any_step(tmp_path: Path) -> None:
    code = KILL.format(tests=str(Path(__file__).parent))
    step, ends = 0, []
    while True:
        step += 1
        folder = tmp_path / str(step)
        path = store(folder / "out.zarr")
        done = subprocess.run([sys.executable, "-c", code, str(path), str(step)], capture_output=True, text=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        check_zarr(path)  # as the next start does
        ends.append(content(path))
        assert names(folder) == ["out.zarr"]
        assert step < 30
    assert ends[0] == "old"
    assert ends[-1] == "new"
    assert len(ends) >= 8
    assert ends == sorted(ends, reverse=True), "once new, always new"


def _left(folder: Path, *, pid: int, machine: str | None = None, kind: str = "new") -> Path:
    return folder / f".out.lexicell-{kind}-{machine or _files._machine()}-{pid}-{'0' * 16}.h5ad"


@pytest.fixture
def dead() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_files_of_processes_that_ended_are_swept_and_all_others_kept(dead: int, tmp_path: Path) -> None:
    kept = [
        _left(tmp_path, pid=os.getpid()),
        _left(tmp_path, pid=dead, machine="0" * 8),
        tmp_path / ".out.lexicell-new-notes.h5ad",
        tmp_path / ".out.tmp",
    ]
    for path in [*kept, _left(tmp_path, pid=dead)]:
        path.write_text("half")
    (tmp_path / f".link.lexicell-new-{_files._machine()}-{dead}-{'0' * 16}").symlink_to(".out.tmp")
    kept.append(tmp_path / f".link.lexicell-new-{_files._machine()}-{dead}-{'0' * 16}")
    sweep(tmp_path)
    assert names(tmp_path) == sorted(p.name for p in kept)


def test_files_of_another_machine_are_swept_after_a_week(dead: int, tmp_path: Path) -> None:
    path = _left(tmp_path, pid=dead, machine="0" * 8)
    path.write_text("half")
    os.utime(path, (0, 0))
    sweep(tmp_path)
    assert names(tmp_path) == []
    sweep(tmp_path / "missing")
