"""A folder of files as files of a checkpoint, and back: symlinks, modes and sub-folders included.

A symlink is stored as a small file whose mode says so and whose content is where it points. One that points into the folder by
an absolute path is stored relative, since on the next machine the folder lies elsewhere. Links are made last, so that no file
is ever written through one.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from launcher.adapters.store.base import Buffer
from launcher.checkpoint.format import Source
from launcher.core.checkpoint.manifest import FileEntry
from launcher.errors import Damaged
from launcher.node.held import Held
from launcher.node.look import Seen, seen_of
from launcher.units import Bytes

COPY_BYTES: Bytes = 2**20
_MODE_BITS = 0o777


class InFlux(Exception):
    """A file changed while it was copied: what was read is no whole file, and this commit is off."""


def source_of(path: str, folders: Mapping[str, Path], seen: Seen, last_check: Callable[[], None]) -> Source:
    """The file published under `path`, to be uploaded. `last_check` runs behind its last byte and may raise InFlux too."""
    place, folder = locate(path, folders)
    if seen.is_link:
        target = _portable_target(place, folder, seen)
        return Source(path=path, chunks=lambda: _link_chunks(target, last_check), mode=stat.S_IFLNK | _MODE_BITS)
    return Source(path=path, chunks=lambda: _file_chunks(place, seen, last_check), mode=seen.mode & _MODE_BITS)


def source_of_held(held: Held, last_check: Callable[[], None]) -> Source:
    """As `source_of`, for a file that is kept open: who has its name meanwhile does not matter."""
    return Source(path=held.path, chunks=lambda: _held_chunks(held, last_check), mode=held.seen.mode & _MODE_BITS)


def _held_chunks(held: Held, last_check: Callable[[], None]) -> Iterator[bytes]:
    try:
        yield from held.chunks(COPY_BYTES)
    except OSError as error:
        raise InFlux(f"{held.path}: {error.strerror}") from error
    if not held.is_as_seen():
        raise InFlux(f"{held.path} changed while it was copied")
    last_check()


def _portable_target(place: Path, folder: Path, seen: Seen) -> str:
    assert seen.target is not None, "a symlink has a target"
    if os.path.isabs(seen.target) and Path(os.path.normpath(seen.target)).is_relative_to(folder):
        return os.path.relpath(os.path.normpath(seen.target), place.parent)
    return seen.target


def _link_chunks(target: str, last_check: Callable[[], None]) -> Iterator[bytes]:
    yield os.fsencode(target)
    last_check()


def _file_chunks(place: Path, seen: Seen, last_check: Callable[[], None]) -> Iterator[bytes]:
    """The file's bytes, on one handle: what happens to its name meanwhile does not matter, what happens to it does."""
    try:
        with place.open("rb") as file:
            while chunk := file.read(COPY_BYTES):
                yield chunk
            if seen_of(os.fstat(file.fileno())) != seen:
                raise InFlux(f"{place} changed while it was copied")
    except OSError as error:
        raise InFlux(f"{place}: {error.strerror}") from error
    last_check()


def locate(path: str, folders: Mapping[str, Path]) -> tuple[Path, Path]:
    """Where a published path lies on this disk, and in which folder: that of the longest prefix that fits."""
    prefix = max((prefix for prefix in folders if path.startswith(prefix)), key=len)
    return Path(os.path.normpath(folders[prefix] / path.removeprefix(prefix))), folders[prefix]


class FolderSink:
    """Where a restore puts files. Call `finish` for their modes and the links."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._links: dict[Path, bytes] = {}
        self.entries: dict[str, FileEntry] = {}

    def clear(self) -> None:
        """Take back what a damaged candidate left."""
        for entry in self.entries.values():
            self._place(entry).unlink(missing_ok=True)
        self.entries.clear()
        self._links.clear()

    def write(self, entry: FileEntry, piece: Buffer) -> None:
        place = self._place(entry)
        is_new = entry.path not in self.entries
        self.entries[entry.path] = entry
        if stat.S_ISLNK(entry.mode):
            self._links[place] = self._links.get(place, b"") + bytes(piece)
            return
        if is_new:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
        with place.open("ab") as file:
            file.write(piece)

    def finish(self) -> None:
        for entry in self.entries.values():
            if not stat.S_ISLNK(entry.mode):
                self._place(entry).chmod(entry.mode & _MODE_BITS)  # last: a read-only file could not be written piecewise
        for place, target in self._links.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(os.fsdecode(target))

    def _place(self, entry: FileEntry) -> Path:
        place, folder = locate(entry.path, self._folders)
        if not place.is_relative_to(folder):
            raise Damaged(entry.key, f"its path {entry.path!r} leads out of the folder")
        return place
