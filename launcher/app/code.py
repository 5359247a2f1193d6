"""The user's code and our own, frozen at the run's start: all attempts run the same files, whatever is edited or upgraded since.

The archive is a function of the files alone (sorted names, no times, no owners), so its SHA-256 is its name and packing the same
folder twice makes one object. What no program needs is left out.
"""

import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

import launcher
from launcher.adapters import durable
from launcher.adapters.store.base import ObjectStore
from launcher.app.staying import Stays, none_stays, stays_in
from launcher.errors import Damaged, KeyExists, UsageError
from launcher.units import Bytes, Seconds, show_size

CODE_BYTES_MAX: Bytes = 512 * 10**6  # more is data, which belongs into `data:`; the archive is held in memory
CODE_PREFIX = "code/"
THAWED_KEPT_S: Seconds = 90 * 86400.0
LEFT_OUT = frozenset(".git .hg .svn .venv venv __pycache__ node_modules .mypy_cache .ruff_cache .pytest_cache".split())


def frozen_code(store: ObjectStore, workdir: str | None) -> str | None:
    """The key of the archive of `workdir` in the store, made there unless it is; None where the recipe names none."""
    return None if workdir is None else _frozen(store, packed(Path(workdir)))


def frozen_agent(store: ObjectStore) -> str:
    """The key of our own package in the store, made there unless it is: what the machines of a run on clouds are started with."""
    return _frozen(store, _archive(Path(launcher.__file__).parent, none_stays))


def _frozen(store: ObjectStore, data: bytes) -> str:
    key = key_of(data)
    with contextlib.suppress(KeyExists):
        store.create(key, data)
    return key


def thawed(store: ObjectStore, key: str, folder: Path) -> Path:
    """The files of the archive at `key`, unpacked below `folder` unless they are. Raises KeyMissing, Damaged, UsageError."""
    place = folder / key.removeprefix(CODE_PREFIX).removesuffix(".tar")
    if place.is_dir():
        with contextlib.suppress(OSError):  # a disk that may only be read keeps it anyway
            os.utime(place)
        return place
    data = store.get(key)
    if key_of(data) != key:
        raise Damaged(key, "its SHA-256 is not the one in its name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside, tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(Path(aside, "whole"))
            durable.name_folder(Path(aside, "whole"), place)
        _throw_away_old(folder)
    except OSError as error:
        told = f"{folder}, where the run's agent is to be unpacked, cannot be used: {error.strerror}"
        raise UsageError(f"{told}; name another home with --home or LAUNCH_HOME") from None
    return place


def _throw_away_old(folder: Path) -> None:
    """What no supervisor has started with for longer than any lives; what was cut off while it was unpacked too."""
    for found in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another was faster
            if time.time() - found.stat().st_mtime > THAWED_KEPT_S:
                shutil.rmtree(found, ignore_errors=True)


def key_of(data: bytes) -> str:
    """What an archive is called in the store: the same files, the same name."""
    return f"{CODE_PREFIX}{hashlib.sha256(data).hexdigest()}.tar"


def packed(folder: Path) -> bytes:
    """A tar of everything below `folder` that a program may need. Raises UsageError where that is too much or unreadable."""
    return _archive(folder, stays_in(folder) if folder.is_dir() else none_stays)


def has_module(name: str, folders: Sequence[str]) -> bool:
    """Whether `python -m name` would find what to run, in `folders` or where this Python looks; imports nothing of it."""
    first, *rest = name.split(".")
    found = PathFinder.find_spec(first, folders) or importlib.util.find_spec(first)
    for part in rest:
        found = PathFinder.find_spec(part, list((found and found.submodule_search_locations) or ()))
    if found is not None and found.submodule_search_locations is not None:
        found = PathFinder.find_spec("__main__", list(found.submodule_search_locations))
    return found is not None


def left_behind(folder: Path) -> list[str]:
    """What of it stays here and a program may miss, relative to it. Raises UsageError where git will not say."""
    found: list[str] = []
    stays = stays_in(folder)

    def noted(path: Path) -> bool:
        if stays(path):
            found.append(path.relative_to(folder).as_posix())
            return True
        return False

    with contextlib.suppress(OSError):  # who packs it says what cannot be read
        list(_paths(folder, noted))
    return found


def _archive(folder: Path, stays: Stays) -> bytes:
    if not folder.is_dir():
        raise UsageError(
            f"workdir: {folder} is no folder any more; go where the program's files are now, and add workdir=. to the command"
        )
    size: Bytes = 0
    out = io.BytesIO()
    try:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in _paths(folder, stays):
                info = _info(path, folder)
                size += info.size
                if size > CODE_BYTES_MAX:
                    raise UsageError(_too_large(folder))
                _add(tar, path, info)
    except OSError as error:
        raise UsageError(f"workdir: {error.filename or folder} cannot be read: {error.strerror}") from None
    return out.getvalue()


def _paths(folder: Path, stays: Stays) -> Iterator[Path]:
    """Files, links and folders in one order on every machine; sockets and devices are no code."""
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        path = Path(entry.path)
        if entry.name in LEFT_OUT or stays(path):
            continue
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield path
            yield from _paths(path, stays)
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            yield path


def _info(path: Path, folder: Path) -> tarfile.TarInfo:
    """Name, kind, size and the executable bit: nothing that differs between two checkouts of the same code."""
    found = path.lstat()
    info = tarfile.TarInfo(path.relative_to(folder).as_posix())
    info.mode = 0o755 if stat.S_ISDIR(found.st_mode) or found.st_mode & 0o100 else 0o644
    if stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(found.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, _inside(path, folder)
    else:
        info.size = found.st_size
    return info


def _inside(link: Path, folder: Path) -> str:
    """The target of a link. One that leads out of the folder would lead nowhere on another machine."""
    target = os.readlink(link)
    landing = os.path.normpath(link.parent.absolute() / target)
    if os.path.isabs(target) or not Path(landing).is_relative_to(folder.absolute()):
        raise UsageError(f"workdir: {link} leads out of it, to {target}; copy the file in, or name a URL under `data:`")
    return target


def _add(tar: tarfile.TarFile, path: Path, info: tarfile.TarInfo) -> None:
    if not info.isreg():
        tar.addfile(info)
        return
    with path.open("rb") as file:
        tar.addfile(info, file)


def _too_large(folder: Path) -> str:
    return (
        f"workdir {folder} holds more than {show_size(CODE_BYTES_MAX)}; keep data out of it (`data:` names URLs), "
        "or name a smaller folder"
    )
