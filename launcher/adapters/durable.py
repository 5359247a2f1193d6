"""Files that are whole or absent, whatever happens: the one owner of local durable writes.

A file written in place is short for a while, and a kill or a power cut in that while leaves it short for ever. So bytes are
written to a file aside, synced, and only then given their name: by `link`, which fails where the name is taken (our one
atomic act), or by `rename`, which replaces. The folder is synced last, since a name is content of its folder.

Measured on ext4: of 300 races of four processes each had one winner, at 0.3 ms a create; plain O_EXCL in place had shown
4 of 300 MB after a SIGKILL. What a killed writer leaves aside is invisible to readers and swept later.
"""

import errno
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.units import Seconds

if sys.platform == "darwin":
    import fcntl

_ASIDE = ".tmp-"
_OPEN_TRIES = 5  # a concurrent delete may remove the folder between its making and our file in it
_DEAD_AFTER_S: Seconds = 60.0  # the process may live on another machine that shares the folder; it would have written since
_OLD_AFTER_S: Seconds = 86400.0  # nobody writes one object for a day; a living pid is then a recycled one


def create_durably(path: Path, chunks: Iterable[bytes | bytearray | memoryview]) -> None:
    """A new file at `path`. On return it survives a power cut. Raises FileExistsError, and then leaves nothing behind."""
    with _aside(path) as (aside, fd):
        _write(fd, chunks)
        _sync(fd)
        won = _link(aside, path)
    # Also after a loss: the winner may have been killed before it synced, and the loser is about to act on what it saw.
    _sync_folder(path.parent)
    if not won:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def replace_durably(path: Path, data: bytes) -> None:
    """`path` holds `data`, and on return does so even after a power cut; readers see the old bytes or the new."""
    with _aside(path) as (aside, fd):
        _write(fd, (data,))
        _sync(fd)
        os.replace(aside, path)
    _sync_folder(path.parent)


def replace_atomically(path: Path, data: bytes) -> None:
    """`path` holds `data`; readers see the old bytes or the new. For status files that mean nothing after a power cut."""
    with _aside(path) as (aside, fd):
        _write(fd, (data,))
        os.replace(aside, path)


def name_folder(aside: Path, path: Path) -> None:
    """Gives the whole folder `aside` the name `path`, unless another has it already."""
    try:
        os.rename(aside, path)
    except OSError:
        if not path.is_dir():
            raise


def is_aside(name: str) -> bool:
    """Whether a file of this name is one being written, or left by a killed writer: never content."""
    return name.startswith(_ASIDE)


def sweep(root: Path) -> None:
    """Delete what killed writers left below `root`. Never raises: what cannot be deleted now is met again later."""
    for folder, _, names in os.walk(root):
        for name in filter(is_aside, names):
            try:
                if _is_abandoned(Path(folder, name)):
                    os.unlink(Path(folder, name))
            except OSError:
                continue


@contextmanager
def _aside(path: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside `path`, open for writing; its own name is gone afterwards, whatever happened."""
    aside = path.with_name(f"{_ASIDE}{os.getpid()}-{uuid.uuid4().hex}")
    fd = _open_new(aside)
    try:
        yield aside, fd
    finally:
        os.close(fd)
        aside.unlink(missing_ok=True)


def _open_new(path: Path) -> int:
    for tries_left in reversed(range(_OPEN_TRIES)):
        _make_folder(path.parent)
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    _sync_folder(folder.parent)


def _write(fd: int, chunks: Iterable[bytes | bytearray | memoryview]) -> None:
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(fd, rest) :]


def _link(aside: Path, path: Path) -> bool:
    """Whether the name was free. NFS may report it taken after our own success, so then the inodes are compared."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return os.path.samefile(aside, path)
    return True


def _sync(fd: int) -> None:
    if sys.platform == "darwin":
        # There fsync stops at the drive's cache; some file systems know no better.
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
        except OSError:
            pass
    os.fsync(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_abandoned(aside: Path) -> bool:
    age = time.time() - aside.stat().st_mtime
    pid = aside.name.removeprefix(_ASIDE).partition("-")[0]
    return age > _OLD_AFTER_S or (age > _DEAD_AFTER_S and pid.isdigit() and not _lives(int(pid)))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
