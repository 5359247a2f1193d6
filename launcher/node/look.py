"""One look at folders that somebody else writes into, and what two looks prove.

We know nothing of the program. What we can see is whether a process of it holds a file open for writing, and whether a file's
size, mtime and inode stay the same. A file for which nobody has a pen in hand, and that did not change over two seconds, is
taken for whole. Files belong together (weights and optimizer, say), so a folder counts only when all are whole in one look.

A program that saves without pause, each time by renaming a new file onto one name, lets no two looks agree. But the file of a
look may be kept open and judged although another has its name by now: what stood still between two looks is that file. It counts
with all others only where nothing but its name changed since the look before it: so a save of several files, caught between
the first and the last, is no more taken for whole than it is where names stand still.

In one look the open files are read first and the stats after: who closes a file in between has changed its mtime since the look
before, and who opens it afterwards is caught by the check that follows the copy.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.core.contract import EMPTY_FOLDER
from launcher.core.tempo import PUBLISH_LOOKS_S
from launcher.processes import ProcessId
from launcher.units import Bytes, Seconds

_PROC = Path("/proc")
_UNFINISHED = ".tmp-"
LOOKS_IN_VAIN = 4  # a program's first file is new at one look, perhaps half written at the next

Inode = tuple[int, int]  # device, inode: a file under any of its names


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A file or symlink as it was. Two equal ones have, as far as can be told from outside, the same content."""

    size: Bytes
    mtime_ns: int
    inode: Inode
    mode: int  # with the type bits, so that a symlink is told from a file
    target: str | None = None  # of a symlink

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All files of the folders at one moment, by the path they are published under. `busy` are open for writing.

    `held` is whatever is open for writing, under any name or none. `left_out` is a path prefix that was not looked at.
    """

    at: Seconds  # monotonic, real
    files: Mapping[str, Seen]
    busy: frozenset[str]
    held: frozenset[Inode] = frozenset()
    left_out: str | None = None

    def without(self, prefix: str) -> "Look":
        files = {path: seen for path, seen in self.files.items() if not path.startswith(prefix)}
        return replace(self, files=files, busy=self.busy & files.keys(), left_out=prefix)


def look(folders: Mapping[str, Path], group: Sequence[ProcessId]) -> Look:
    """`folders` maps a path prefix ("", "outputs/") to a folder; `group` are the processes that might be writing.

    What lies in a folder under another one's prefix is left out: two files cannot be published under one path.
    """
    held = held_for_writing(group)
    at = time.monotonic()
    files: dict[str, Seen] = {}
    for prefix, folder in folders.items():
        others = tuple(other for other in folders if other and other != prefix)
        files |= {prefix + path: seen for path, seen in _walk(folder) if not path.startswith(others) and _can_be_key(path)}
    return Look(at=at, files=files, busy=frozenset(path for path, seen in files.items() if seen.inode in held), held=held)


def is_whole(before: Look, now: Look) -> bool:
    """True where every file of `now` is whole: the two looks are far enough apart, and between them nothing moved.

    A file that was busy before is not whole yet, even if it stands still: perhaps its writer was killed with the pen in hand.
    """
    apart = now.at - before.at >= PUBLISH_LOOKS_S
    busy = now.busy or any(path in before.busy for path in now.files)
    return apart and not busy and all(before.files.get(path) == seen for path, seen in now.files.items())


def changed(before: Look, now: Look) -> frozenset[str]:
    """Paths that came, went, or are not as they were."""
    paths = before.files.keys() | now.files.keys()
    return frozenset(path for path in paths if before.files.get(path) != now.files.get(path))


def sole_change(before: Look, now: Look) -> str | None:
    """The one file that came or was replaced between the looks, where nothing else changed: worth keeping open."""
    paths = changed(before, now)
    path = next(iter(paths), "")
    is_file = path in now.files and not now.files[path].is_link
    return path if len(paths) == 1 and is_file and not (before.busy - paths) and not now.busy else None


def was_whole(kept: str, then: Look, now: Look) -> bool:
    """True where every file of `then` was whole: `kept` was its sole change, and is the only name that changed since.

    The caller has the file at `kept` open and asks of it whether it is as it was. A writer that goes on writing into it, be it
    under no name any more, would change it or hold it open.
    """
    apart = now.at - then.at >= PUBLISH_LOOKS_S
    passed_on = kept in now.files and changed(then, now) == {kept}
    return apart and passed_on and not then.busy and now.busy <= {kept} and then.files[kept].inode not in now.held


def obstacle(looks: Sequence[Look]) -> str:
    """Why the newest looks in a row, none of which proved anything, publish nothing. Empty while that may be chance."""
    if not looks[-1].files:
        return EMPTY_FOLDER
    if len(looks) < LOOKS_IN_VAIN:
        return ""
    before, now = looks[-2:]
    if busy := now.busy | (before.busy & now.files.keys()):
        return f"{_named(busy)} open for writing"
    return f"{_named(changed(before, now))} kept changing between looks {PUBLISH_LOOKS_S:g} s apart"


def _named(paths: frozenset[str]) -> str:
    first, *others = sorted(paths)
    return f"{first} and {len(others)} more" if others else first


def held_for_writing(group: Sequence[ProcessId]) -> frozenset[Inode]:
    """Files that any process of `group` holds open for writing. Empty where there is no /proc: there, two looks must do."""
    return frozenset(inode for process in group for inode in _held_by(process.pid))


def seen_of(status: os.stat_result, target: str | None = None) -> Seen:
    return Seen(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=(status.st_dev, status.st_ino),
        mode=status.st_mode,
        target=target,
    )


def _walk(folder: Path) -> Iterator[tuple[str, Seen]]:
    """Files and symlinks below `folder` with their paths relative to it; what vanishes meanwhile is left out."""
    for parent, folders, names in os.walk(folder):
        for name in sorted([*names, *folders]):
            path = Path(parent, name)
            try:
                seen = _seen_at(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if seen.is_link or stat.S_ISREG(seen.mode):
                yield path.relative_to(folder).as_posix(), seen


def _seen_at(path: Path) -> Seen:
    """A link that was replaced by a file between two questions has no target: it equals nothing, so it counts as in flux."""
    status = path.lstat()
    if not stat.S_ISLNK(status.st_mode):
        return seen_of(status)
    try:
        return seen_of(status, os.readlink(path))
    except OSError as error:
        if error.errno != errno.EINVAL:  # readlink(2): it is no symlink
            raise
        return seen_of(status)


def _can_be_key(path: str) -> bool:
    """Names that no store takes as they are: bytes that are no text, and what stores call their own unfinished files."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return not any(part.startswith(_UNFINISHED) for part in path.split("/"))


def _held_by(pid: int) -> Iterator[Inode]:
    try:
        handles = os.listdir(_PROC / str(pid) / "fd")
    except OSError:  # it ended, or there is no /proc
        return
    for handle in handles:
        try:
            flags = (_PROC / str(pid) / "fdinfo" / handle).read_text()
            if _writes(flags):
                status = os.stat(_PROC / str(pid) / "fd" / handle)
                yield status.st_dev, status.st_ino
        except OSError:  # closed meanwhile
            continue


def _writes(fdinfo: str) -> bool:
    """proc(5): a line "flags:" holds the open flags in octal; the two lowest bits say how it was opened."""
    for line in fdinfo.splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
