"""A folder as a store: an object is a file, its key the path below the root. The writing itself is in `adapters/durable`.

An object appears whole, by its last step, and survives a power cut once `create` has returned. Errors are sorted into two:
what no retry mends (no space, no permission, a file in the way) is StoreUnusable with its remedy; all else is StoreUnknown.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.adapters import durable
from launcher.adapters.store.base import Buffer, Chunks, ObjectMeta, Span
from launcher.errors import KeyExists, KeyMissing, StoreUnknown, StoreUnusable
from launcher.units import Bytes

_ELSEWHERE = "or choose another place with checkpoint.dir or --home"
_REMEDY = {
    errno.ENOSPC: f"the disk is full; free some space, {_ELSEWHERE}",
    errno.EDQUOT: f"the disk quota is used up; free some space, {_ELSEWHERE}",
    errno.EFBIG: f"a file may not grow so large here; raise RLIMIT_FSIZE (ulimit -f), {_ELSEWHERE}",
    errno.EROFS: f"the file system is read-only; mount it for writing, {_ELSEWHERE}",
    errno.EACCES: f"permission denied; change owner or mode, {_ELSEWHERE}",
    errno.EPERM: f"the operation is not permitted; change owner or mode, {_ELSEWHERE}",
    errno.ENOTDIR: f"a part of this path is a file, not a folder; move that file away, {_ELSEWHERE}",
    errno.ENAMETOOLONG: f"the path is too long; use a shorter one, {_ELSEWHERE}",
    errno.ELOOP: f"its symbolic links lead in a circle; mend them, {_ELSEWHERE}",
}
_NO_LINKS = f"its file system has no hard links, without which no write can be exclusive; use a local disk, {_ELSEWHERE}"
_NO_LINKS_ERRNO = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


class FileStore:
    """Many processes may share one root. `url` is "file://" and the absolute path."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))
        self._was_there = False
        self._is_swept = False

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def create(self, key: str, data: Chunks) -> None:
        path = self._path(key)
        source = _Source(data)
        with _translated(path, source):
            self._look()
            self._sweep_once()
            try:
                durable.create_durably(path, source.chunks())
            except FileExistsError as error:
                if error is source.failure:
                    raise
                raise KeyExists(key) from None

    def replace(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with _translated(path):
            self._look()
            self._sweep_once()
            durable.replace_durably(path, data)

    def get(self, key: str, span: Span | None = None) -> bytes:
        path = self._path(key)
        with _translated(path):
            self._look()
            try:
                return _read(path, span)
            except (FileNotFoundError, IsADirectoryError):
                raise KeyMissing(key) from None

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        folder = prefix[: prefix.rfind("/") + 1]
        with _translated(self._root):
            self._look()
        return _below(self._root, folder, prefix)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated(path):
            self._sweep_once()
            path.unlink(missing_ok=True)
            _remove_empty(path.parent, self._root)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        assert all(p not in ("", ".", "..") and not durable.is_aside(p) for p in parts), f"{key!r} is not a key"
        return self._root.joinpath(*parts)

    def _look(self) -> None:
        """Raises StoreUnknown where the root was there before: a disk that is not mounted any more is an outage.

        Made anew where that disk belongs, the root would take a journal and checkpoints that nobody sees once the disk is back.
        """
        is_there = self._root.is_dir()
        if self._was_there and not is_there:
            raise StoreUnknown(f"no answer for {self._root}: it was there before and is gone; is its disk mounted?")
        self._was_there = is_there

    def _sweep_once(self) -> None:
        """Readers never sweep: only who may write here should delete here."""
        if not self._is_swept:
            durable.sweep(self._root)
            self._is_swept = True


class _Source:
    """The bytes of an object to be, remembering its own failure: an error of the source is not one of the store."""

    def __init__(self, data: Chunks) -> None:
        self._data = data
        self.failure: Exception | None = None

    def chunks(self) -> Iterator[Buffer]:
        if isinstance(self._data, bytes):
            yield self._data
            return
        source = iter(self._data)
        while True:
            try:
                chunk = next(source)
            except StopIteration:
                return
            except Exception as failure:
                self.failure = failure
                raise
            yield chunk


@contextmanager
def _translated(path: Path, source: _Source | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if source is not None and error is source.failure:
            raise
        # Only link and rename name two files.
        if error.filename2 is not None and error.errno in _NO_LINKS_ERRNO:
            raise StoreUnusable(f"cannot use {path}: {_NO_LINKS}") from error
        if error.errno in _REMEDY:
            raise StoreUnusable(f"cannot use {path}: {_REMEDY[error.errno]}") from error
        raise StoreUnknown(f"no answer for {path}: {error}") from error


def _read(path: Path, span: Span | None) -> bytes:
    with open(path, "rb") as file:
        if span is None:
            return file.read()
        file.seek(span.start)
        return file.read(max(0, span.end - span.start))


def _below(root: Path, folder: str, prefix: str) -> Iterator[ObjectMeta]:
    """Objects below `folder` ("" or "a/b/") whose key starts with `prefix`, in order of their keys."""
    for name, size in _entries(root, folder):
        key = folder + name
        if size is not None and key.startswith(prefix):
            yield ObjectMeta(key, size)
        if size is None and (key.startswith(prefix) or prefix.startswith(key)):
            yield from _below(root, key, prefix)


def _entries(root: Path, below: str) -> list[tuple[str, Bytes | None]]:
    """Names and sizes in one folder; below an object there are none.

    A folder's name ends in "/" and sorts so, which makes the walk's order that of keys.
    """
    folder = root / below
    found: list[tuple[str, Bytes | None]] = []
    with _translated(folder):
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not durable.is_aside(entry.name):
                        found.append(_entry(entry))
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            if not root.is_dir():
                raise
            return []
    return sorted(item for item in found if item[0])


def _entry(entry: os.DirEntry[str]) -> tuple[str, Bytes | None]:
    """The name and size of one entry; the name "" where it was deleted meanwhile."""
    try:
        return (entry.name + "/", None) if entry.is_dir() else (entry.name, entry.stat().st_size)
    except FileNotFoundError:
        return "", None


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return
            raise
        folder = folder.parent
