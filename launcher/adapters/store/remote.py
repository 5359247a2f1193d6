"""A bucket of a cloud as a store, through fsspec's file systems: one object a key, every call with a deadline.

What comes back of a call is one of four things (`providers`): done, KeyExists or KeyMissing, StoreUnusable with a remedy,
StoreUnknown. Nothing is retried here beyond what the provider's library does by itself, bounded; callers do
(`adapters/retry`). An answer may get lost after the store has acted: then `create` says StoreUnknown or even KeyExists of the
caller's own bytes, so whoever must know reads back and compares, as the journal and the commits do.

A listing is a hint. Caches are off: one hid another writer's new key. The file system is made at the first call of each
process, since none of them survives a fork.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from fsspec import asyn

from launcher.adapters.store.base import Chunks, ObjectMeta, Span
from launcher.adapters.store.providers.base import Provider, sorted_error
from launcher.errors import KeyMissing, StoreError, UsageError
from launcher.units import Bytes, Seconds

CALL_S: Seconds = 30.0  # the libraries alone may wait for ever for a server that does not answer
_SLOWEST: Bytes = 2**20  # a second; what is larger than a record gets more time by its size


class RemoteStore:
    """`url` is scheme, bucket and prefix; `call_s` what one small call may take."""

    def __init__(self, url: str, provider: Provider, *, call_s: Seconds = CALL_S) -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.rstrip("/").partition("/")
        if not bucket:
            raise UsageError(f"{url!r} names no bucket; write {scheme}://BUCKET/FOLDER")
        if "@" in bucket or "?" in rest or "#" in rest:
            raise UsageError(f"{scheme}://… may hold a bucket and a folder only, no key or query; put credentials elsewhere")
        self._url = f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"
        self._bucket = bucket
        self._base = f"{bucket}/{prefix}/" if prefix else f"{bucket}/"
        self._provider = provider
        self._call_s = call_s
        self._made: tuple[int, Any] | None = None  # the process and its file system

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, data: Chunks) -> None:
        whole = data if isinstance(data, bytes) else b"".join(data)
        self._call(key, "_pipe_file", self._base + key, whole, mode="create", size=len(whole))

    def replace(self, key: str, data: bytes) -> None:
        self._call(key, "_pipe_file", self._base + key, data, size=len(data))

    def get(self, key: str, span: Span | None = None) -> bytes:
        if span is None:
            return bytes(self._call(key, "_cat_file", self._base + key))
        if span.start >= span.end:
            return b""
        try:
            size = span.end - span.start
            return bytes(self._call(key, "_cat_file", self._base + key, start=span.start, end=span.end, size=size))
        except StoreError:
            if span.start >= self._size(key):
                return b""  # which the stores refuse to read
            raise

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        folder = self._base + prefix[: prefix.rfind("/") + 1]
        found = self._call(prefix, "_find", folder.rstrip("/"), detail=True, withdirs=False, missing={})
        described = dict(found)  # adlfs gives an empty list for nothing
        metas = (ObjectMeta(path.removeprefix(self._base), int(info["size"])) for path, info in described.items())
        return iter(sorted((m for m in metas if m.key.startswith(prefix)), key=lambda m: m.key))

    def delete(self, key: str) -> None:
        self._call(key, "_rm_file", self._base + key, missing=None)

    def _size(self, key: str) -> Bytes:
        return int(self._call(key, "_info", self._base + key)["size"])

    def _call(self, key: str, method: str, *args: Any, size: Bytes = 0, missing: Any = KeyMissing, **kwargs: Any) -> Any:
        """One call of the file system. `missing` is the answer where there is nothing, unless that is an error."""
        try:
            fs = self._file_system()
            work: Callable[..., Any] = getattr(fs, method)
            return asyn.sync(fs.loop, work, *args, timeout=self._call_s + size / _SLOWEST, **kwargs)
        except StoreError:
            raise
        except Exception as error:
            sorted_as = sorted_error(self._provider, error, url=self._url, bucket=self._bucket, key=key)
        if isinstance(sorted_as, KeyMissing) and missing is not KeyMissing:
            return missing
        raise sorted_as

    def _file_system(self) -> Any:
        if self._made is None or self._made[0] != os.getpid():
            self._made = (os.getpid(), self._provider.connect(self._bucket))
        return self._made[1]
