"""Where lexicell may write, and how: aside first, then renamed, so that a path holds the old output or the new one.

Nothing else in the package decides where a file may go, makes a temporary name or replaces an output.

A file is written beside its place as ``.NAME.lexicell-new-OWNER.SUFFIX`` and renamed. A folder (a zarr store) cannot be
renamed onto a folder that holds something, so it is swapped::

    .NAME.lexicell-new-OWNER/NAME    the new store, while it is written
    .NAME.lexicell-old-OWNER/NAME    the old store, between the two renames of a swap

OWNER tells the machine, the process and 16 random digits. `sweep` reads from these names what a killed process left
behind: an old store whose place is empty is put back, everything else is deleted.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from ._errors import InputError

__all__ = [
    "check_apart",
    "check_file",
    "check_folder",
    "check_work_folder",
    "check_zarr",
    "discard",
    "swap_folder",
    "sweep",
    "write_file",
    "write_folder",
]

_NAME_LENGTH = 80  # characters of an output's name that its temporary name repeats; file systems allow 255 bytes
_LEFT_ALONE = 7 * 86_400  # seconds without a change, after which files of another machine are taken for abandoned
_HEAD = 1 << 16  # bytes of a file in which its kind is looked for
_OURS = re.compile(
    r"\..*\.lexicell-(?P<kind>new|old)-(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{16}(\.[^.]*)?", re.S
)
# What anndata and lexicell write at the top of a store of cells; .DS_Store is macOS's own.
_ZARR_ENTRIES = frozenset(
    {".zgroup", ".zattrs", ".zmetadata", "zarr.json", ".DS_Store"}
    | {"X", "layers", "obs", "obsm", "obsp", "raw", "uns", "var", "varm", "varp"}
)
_umask_lock = threading.Lock()

PathLike = str | os.PathLike[str]


# Where anything may be written


def check_file(path: PathLike, *, inputs: Iterable[PathLike] = ()) -> Path:
    """Check that a file can be written to `path`, before any costly work.

    A regular file that is there is replaced; anything else that is there is refused.

    Parameters
    ----------
    path
        Where the file is to be written. Missing folders above it are made when it is written.
    inputs
        What the same work reads.

    Returns
    -------
    `path`, as a Path.

    Raises
    ------
    InputError
        If `path` is a folder, a link, a device, a pipe, a socket, a mount point or write-protected, names no file, lies
        where nothing can be written, or is one of `inputs`.
    """
    path = Path(path)
    mode = _check_place(path, inputs)
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"'{path}' is a folder; name a file, e.g. '{path / 'output'}'")
    return path


def check_zarr(path: PathLike, *, inputs: Iterable[PathLike] = ()) -> Path:
    """Check that a zarr store of cells can be written to `path`; as `check_file`.

    A folder that is there is replaced only if it is such a store itself and holds nothing else.
    """
    path = Path(path)
    mode = _check_place(path, inputs)
    if mode is None:
        return path
    if not stat.S_ISDIR(mode):
        raise InputError(f"'{path}' is a file, and a zarr store is a folder; remove the file or name another output")
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in _ZARR_ENTRIES)
    if others:
        raise InputError(
            f"the folder '{path}' holds '{others[0]}', which is no part of an AnnData; name another output"
        )
    if not _is_anndata(path):
        raise InputError(f"the folder '{path}' is not a zarr store that anndata wrote; name another output")
    return path


def check_folder(
    path: PathLike, files: Sequence[str], *, mark: str = "", words: str = "", inputs: Iterable[PathLike] = ()
) -> Path:
    """Check that `files` can be written into the folder `path`, and would replace nobody else's.

    Parameters
    ----------
    path
        The folder; it may be missing, and may be a link to a folder.
    files
        Names of the files, or patterns as of ``glob``.
    mark
        The one of them that shows, by holding `words` in its first 64 kB, that an earlier run of the same kind
        wrote the folder. Without it, none of `files` may be there.
    words
        What `mark` holds.
    inputs
        What the same work reads.

    Returns
    -------
    `path`, as a Path.

    Raises
    ------
    InputError
        If the folder, or one of its files, cannot be written or is not ours to replace.
    """
    path, inputs = Path(path), list(inputs)
    # os.path.isdir says no, where Path.is_dir raises, of a name that is too long.
    if path.name in ("", "..") or not os.path.isdir(path):  # noqa: PTH112
        mode = _check_place(path, inputs)
        if mode is not None and not stat.S_ISDIR(mode):
            raise InputError(f"'{path}' cannot be written: it is a file, and a folder is needed; name another")
        return path
    _refuse_unwritable(path, path)
    _refuse_within(path, inputs)
    sweep(path)
    for below in {(path / pattern).parent for pattern in files}:
        if os.path.lexists(below) and not below.is_dir():
            raise InputError(f"'{below}' is a file where a folder is to be made; name another folder than '{path}'")
    there = sorted({found for pattern in files for found in path.glob(pattern)})
    for found in there:
        check_file(found, inputs=inputs)
    if there and not (mark and words in _head(path / mark)):
        raise InputError(
            f"the folder '{path}' holds '{there[0].name}', which no earlier run wrote and this one would replace; "
            "name another folder"
        )
    return path


def check_work_folder(path: PathLike, mark: str, begun: Sequence[str] = ()) -> Path:
    """Check that `path`, where a long run keeps its work, is free or was left by such a run.

    Parameters
    ----------
    path
        The folder of the run.
    mark
        A file that only such a folder holds.
    begun
        Names, or patterns as of ``fnmatch``, of what a run writes before `mark`: a folder that holds nothing else was
        left by a run killed at its start.

    Returns
    -------
    `path`, as a Path.

    Raises
    ------
    InputError
        If something else is there, or the folder cannot be written.
    """
    path = Path(path)
    mode = _check_place(path, ())
    if mode is None:
        return path
    ours = stat.S_ISDIR(mode) and (
        (path / mark).is_file() or all(any(fnmatch(p.name, name) for name in begun) for p in path.iterdir())
    )
    if not ours:
        raise InputError(
            f"'{path}' is where the work is kept until it is done, and something else is there; move it away, or "
            "name another output"
        )
    return path


def check_apart(paths: Iterable[PathLike]) -> None:
    """Check that outputs of the same work differ from each other.

    Raises
    ------
    InputError
        If two of them are the same file.
    """
    seen: list[Path] = []
    for path in map(Path, paths):
        for other in seen:
            if _same(path, other):
                raise InputError(f"'{path}' is named for two outputs; name another file for one of them")
        seen.append(path)


def _check_place(path: Path, inputs: Iterable[PathLike]) -> int | None:
    """Refuse what no output may ever be; the mode of what is there, None if nothing is."""
    if path.name in ("", ".."):
        raise InputError(
            f"'{path}' cannot be written; name a file or folder of its own, not the one you are in or above"
        )
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} is no name of a file")
    folder = path.parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.exists():
        raise InputError(f"'{path}' cannot be written: '{folder}' is a link to what is not there")
    if not folder.is_dir():
        raise InputError(f"'{path}' cannot be written: '{folder}' is a file")
    if folder == path.parent:
        sweep(folder)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}; name another output") from error
    # An input is looked for first, since "is an input" tells more than "is a link".
    _refuse_inputs(path, inputs)
    if mode is not None:
        _refuse_kind(path, mode)
    _refuse_unwritable(path, folder)
    return mode


def _refuse_kind(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise InputError(f"'{path}' is a link to '{path.readlink()}'; name that file itself, or remove the link")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"'{path}' is a device, a pipe or a socket, and no file; name another output")
    if os.path.ismount(path):
        raise InputError(f"'{path}' is a mount point, which cannot be replaced; name a file or folder inside it")
    # os.access allows everything to the superuser, and renaming ignores the mode of what is replaced.
    if not mode & 0o222:
        raise InputError(f"'{path}' is write-protected; name another output, or allow writing (chmod u+w)")


def _refuse_unwritable(path: Path, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"'{path}' cannot be written: no permission in '{folder}'; name another output")


def _refuse_inputs(path: Path, inputs: Iterable[PathLike]) -> None:
    inputs = list(inputs)
    for given in map(Path, inputs):
        if _same(path, given):
            raise InputError(f"the output is the input, '{given}', which is never changed; name another file")
        if path.is_dir() and _inside(given, path):
            raise InputError(
                f"the output '{path}' holds the input '{given}', which is never changed; name another file"
            )
    _refuse_within(path, inputs)


def _refuse_within(path: Path, inputs: Iterable[PathLike]) -> None:
    for given in map(Path, inputs):
        if given.is_dir() and (_same(path, given) or _inside(path, given)):
            raise InputError(
                f"the output '{path}' lies in the input '{given}', which is never changed; name another file"
            )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)


def _inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def _is_anndata(folder: Path) -> bool:
    """Whether a folder says of itself, as zarr of either format, that it holds an AnnData."""
    try:
        if (folder / "zarr.json").is_file():
            attributes = json.loads((folder / "zarr.json").read_bytes())["attributes"]
        else:
            attributes = json.loads((folder / ".zattrs").read_bytes())
        return bool(attributes["encoding-type"] == "anndata")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).decode(errors="replace")
    except OSError:
        return ""


# Writing


def write_file(path: PathLike, write: Callable[[Path], object], *, inputs: Iterable[PathLike] = ()) -> None:
    """Write a file aside and rename it, so that `path` holds the old file or the whole new one.

    Parameters
    ----------
    path
        Where the file goes; missing folders above it are made.
    write
        Called with the path of an empty file of mode 0600 in the same folder, which it fills; its name ends as that of
        `path` does.
    inputs
        What the same work reads; see `check_file`.

    Raises
    ------
    InputError
        If `path` is not to be written to; see `check_file`.
    """
    path = check_file(path, inputs=inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path, "new", path.suffix)
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        write(aside)
        aside.chmod(0o666 & ~_umask())
        _sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    _sync(path.parent)


def write_folder(path: PathLike, write: Callable[[Path], object], *, inputs: Iterable[PathLike] = ()) -> None:
    """Write a zarr store aside and swap it into place, so that `path` holds the old store or the whole new one.

    Parameters
    ----------
    path
        Where the store goes; missing folders above it are made.
    write
        Called with a path at which it makes the folder; nobody else can look into the folder around it.
    inputs
        What the same work reads; see `check_zarr`.

    Raises
    ------
    InputError
        If `path` is not to be written to; see `check_zarr`.
    """
    path = check_zarr(path, inputs=inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    around = _aside(path, "new")
    around.mkdir(mode=0o700)
    try:
        write(around / path.name)
        swap_folder(around / path.name, path)
    finally:
        shutil.rmtree(around, ignore_errors=True)


def swap_folder(new: PathLike, path: PathLike) -> None:
    """Put the finished folder `new` in the place of `path`; both lie on one file system.

    What was at `path` is kept until `new` is there, and put back if that fails. Whether it may be replaced is not
    asked: call `check_zarr` first.
    """
    new, path = Path(new), Path(path)
    for folder, _, names in os.walk(new):
        for name in names:
            _sync(Path(folder, name))
    if not os.path.lexists(path):
        new.rename(path)
        _sync(path.parent)
        return
    around = _aside(path, "old")
    around.mkdir(mode=0o700)
    old = around / path.name
    try:
        path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists() and not os.path.lexists(path):
            old.rename(path)
        with contextlib.suppress(OSError):
            around.rmdir()
        raise
    # The new store must be named on disk before the old one is deleted.
    _sync(path.parent)
    shutil.rmtree(around, ignore_errors=True)


def discard(path: PathLike) -> None:
    """Delete a file or folder of ours; a folder disappears at once, and a kill leaves nothing that looks whole."""
    path = Path(path)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    around = _aside(path, "new")
    around.mkdir(mode=0o700)
    try:
        path.rename(around / path.name)
    finally:
        shutil.rmtree(around, ignore_errors=True)


def _aside(path: Path, kind: str, suffix: str = "") -> Path:
    """A new name beside `path`, which nobody can guess."""
    stem = path.name[:_NAME_LENGTH].encode()[:160].decode(errors="ignore")
    return path.with_name(f".{stem}.lexicell-{kind}-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{suffix[:20]}")


def _umask() -> int:
    # The mask can only be read by setting it; what another thread makes meanwhile is private rather than open.
    with _umask_lock:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk; file systems that cannot do it go without."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# What killed processes left behind


def sweep(folder: PathLike) -> None:
    """Delete what killed processes of this user left in `folder`, and put back stores whose swap was cut short.

    Files of a process that runs are left alone. So are those of another machine, or of another container, whose
    processes cannot be seen from here, unless nothing in them has changed for a week.
    """
    with contextlib.suppress(OSError):
        for found in list(_abandoned(Path(folder))):
            with contextlib.suppress(OSError):
                _clear(found)


def _abandoned(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            named = _OURS.fullmatch(entry.name)
            if named is None or entry.is_symlink():
                continue
            if hasattr(os, "getuid") and entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            path = Path(entry.path)
            if named["machine"] == _machine() and os.name == "posix":
                gone = not _runs(int(named["pid"]))
            else:
                gone = time.time() - _last_change(path) > _LEFT_ALONE
            if gone:
                yield path


def _clear(found: Path) -> None:
    if not found.is_dir():
        found.unlink(missing_ok=True)
        return
    if ".lexicell-old-" in found.name:
        for old in found.iterdir():
            place = found.with_name(old.name)
            # An empty place: the process was killed between the two renames of a swap.
            if not os.path.lexists(place):
                old.rename(place)
    shutil.rmtree(found)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _last_change(path: Path) -> float:
    inside = list(path.rglob("*")) if path.is_dir() else []
    return max(entry.lstat().st_mtime for entry in [path, *inside])


@functools.cache
def _machine() -> str:
    """Eight digits for what numbers processes: this machine since it was started, and this container."""
    told = [socket.gethostname()]
    with contextlib.suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        told.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return hashlib.blake2b("\n".join(told).encode(), digest_size=4).hexdigest()
