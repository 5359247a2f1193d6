"""From a store's URL to the store: the one place that knows which schemes there are."""

import contextlib
import difflib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.files import FileStore
from launcher.adapters.store.memory import MemoryStore
from launcher.adapters.store.providers.azure import Azure
from launcher.adapters.store.providers.base import Provider
from launcher.adapters.store.providers.gcs import Gcs
from launcher.adapters.store.providers.s3 import S3
from launcher.errors import UsageError

_LOCAL = ("file", "memory")
_REMOTE: dict[str, Callable[[], Provider]] = {"s3": S3, "gs": Gcs, "az": Azure, "abfs": Azure}
_in_memory: dict[str, MemoryStore] = {}  # "memory://x" names the same objects everywhere in this process


def open_store(url: str) -> ObjectStore:
    """The store at a URL or plain path; touches nothing yet. Raises UsageError, naming the schemes there are."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return FileStore(Path(url).expanduser())
    if scheme == "file":
        return FileStore(_path_of(url))
    if scheme == "memory":
        return _in_memory.setdefault(rest.rstrip("/"), MemoryStore(url.rstrip("/") if rest else url))
    if scheme in _REMOTE:
        from launcher.adapters.store.remote import RemoteStore  # fsspec takes its time to load, and most commands need none

        return RemoteStore(url, _REMOTE[scheme]())
    raise UsageError(_refusal(url, scheme))


def is_remote(url: str | None) -> bool:
    """Whether `url` names a bucket, of which opening takes a library."""
    return url is not None and url.partition("://")[0] in _REMOTE and "://" in url


def has_folder(url: str) -> bool:
    """Whether there is a folder for the store at `url` to lie in. Of one on a disk that is not mounted there is none."""
    return not url.startswith("file://") or os.path.isdir(_path_of(url).parent)


def may_be_unmounted(url: str) -> bool:
    """Whether the folder for the store at `url` to lie in is not there, or empty as the place of a disk that is not mounted."""
    if not url.startswith("file://"):
        return False
    try:
        return not os.listdir(_path_of(url).parent)
    except OSError as error:
        return isinstance(error, FileNotFoundError)


@contextlib.contextmanager
def left_as_it_was(url: str) -> Iterator[None]:
    """Folders that are made for the store at `url` meanwhile are taken away again, unless something else lies in them."""
    root = _path_of(url) if url.startswith("file://") else None
    missing = [folder for folder in (root, *root.parents) if not os.path.lexists(folder)] if root else []
    try:
        yield
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()


def prepare(url: str) -> None:
    """Load beforehand what opening the store at `url` and asking it takes. What goes wrong shows when it is asked."""
    if is_remote(url):
        with contextlib.suppress(Exception):  # a library may raise anything of an environment that it does not like
            _REMOTE[url.partition("://")[0]]().connect(urlsplit(url).netloc)


def child(url: str, name: str) -> str:
    """The URL of the store `name` inside the one at `url`; both may be plain paths."""
    base = url if url.endswith("://") else url.rstrip("/")
    tail = quote(name) if url.startswith("file://") else name
    return f"{base}{tail}" if base.endswith("://") else f"{base}/{tail}"


def _path_of(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise UsageError(f"{url!r} names no absolute path; write file:///folder (three slashes) or the plain path")
    return Path(unquote(url.split("://", 1)[1].removeprefix("localhost")))


def _refusal(url: str, scheme: str) -> str:
    near = difflib.get_close_matches(scheme.lower(), (*_LOCAL, *_REMOTE), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}://?" if near else ""
    return f"{url!r} has the unknown scheme {scheme!r}; known are a plain path, {', '.join((*_LOCAL, *_REMOTE))}{hint}"
