"""A bucket of a cloud as a store, through fsspec's file systems: one object a key, every call with a deadline.

Each try ends in one of four things (`providers`): done, KeyExists or KeyMissing, StoreUnusable with a remedy, StoreUnknown. What
passes is tried again until the deadline. An answer may get lost after the store has acted, so a `create` that had an unknown
outcome and then finds the key taken reads back: equal bytes are its own. The libraries repeat a lost request by themselves,
though, and then their first word is that the key is taken: only the caller can tell, by the nonce in its bytes.

A listing is a hint. Caches are off: one hid another writer's new key. The file system is made at the first call of each
process, since none of them survives a fork.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from fsspec import asyn

from launcher.adapters import retry
from launcher.adapters.store.base import Chunks, ObjectMeta, Span
from launcher.adapters.store.providers.base import BeyondEnd, Provider, no_bucket, sorted_error
from launcher.core.tempo import STORE_DEADLINE_S
from launcher.errors import KeyExists, KeyMissing, StoreError, StoreUnknown, UsageError
from launcher.units import Bytes, Seconds

CALL_S: Seconds = 30.0  # the libraries alone may wait for ever for a server that does not answer
_SLOWEST: Bytes = 2**20  # a second; what is larger than a record gets more time by its size


class RemoteStore:
    """`url` is scheme, bucket and prefix; one try of a small call may take `call_s`, all of them `deadline` and one more."""

    def __init__(self, url: str, provider: Provider, *, call_s: Seconds = CALL_S, deadline: Seconds = STORE_DEADLINE_S) -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.rstrip("/").partition("/")
        if not bucket:
            raise UsageError(f"{url!r} names no bucket; write {scheme}://BUCKET/FOLDER")
        if ("@" in bucket and scheme != "abfs") or "?" in rest or "#" in rest:
            raise UsageError(f"{scheme}://… may hold a bucket and a folder only, no key or query; put credentials elsewhere")
        self._url = f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"
        self._bucket = bucket
        container = bucket.partition("@")[0]  # abfs://CONTAINER@ACCOUNT/FOLDER
        self._base = f"{container}/{prefix}/" if prefix else f"{container}/"
        self._provider = provider
        self._call_s = call_s
        self._deadline = deadline
        self._made: tuple[int, Any] | None = None  # the process and its file system

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, data: Chunks) -> None:
        whole = data if isinstance(data, bytes) else b"".join(data)
        is_unsure = False

        def create_once() -> None:
            nonlocal is_unsure
            try:
                self._try(key, "_pipe_file", self._base + key, whole, mode="create", size=len(whole))
            except StoreUnknown:
                is_unsure = True
                raise
            except KeyExists:
                if not is_unsure or self._try(key, "_cat_file", self._base + key, size=len(whole)) != whole:
                    raise

        retry.store_calls(deadline=self._deadline)(create_once)

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
        except BeyondEnd:
            return b""

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        folder = self._base + prefix[: prefix.rfind("/") + 1]
        found = self._call(prefix, "_find", folder.rstrip("/"), detail=True, withdirs=False, missing={})
        described = found.items() if isinstance(found, dict) else ()  # adlfs gives a list where there is none below
        metas = (ObjectMeta(path.removeprefix(self._base), int(info["size"])) for path, info in described)
        return iter(sorted((m for m in metas if m.key.startswith(prefix)), key=lambda m: m.key))

    def delete(self, key: str) -> None:
        self._call(key, "_rm_file", self._base + key, missing=None)

    def _call(self, key: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """As `_try`, until the store answers."""
        return retry.store_calls(deadline=self._deadline)(self._try, key, method, *args, **kwargs)

    def _try(self, key: str, method: str, *args: Any, size: Bytes = 0, missing: Any = KeyMissing, **kwargs: Any) -> Any:
        """One call of the file system. `missing` is the answer where there is nothing, unless that is an error."""
        try:
            fs = self._file_system()
            work: Callable[..., Any] = getattr(fs, method)
            return asyn.sync(fs.loop, work, *args, timeout=self._call_s + size / _SLOWEST, **kwargs)
        except StoreError:
            raise
        except Exception as error:
            sorted_as = sorted_error(self._provider, error, url=self._url, bucket=self._bucket, key=key)
        if isinstance(sorted_as, KeyMissing) and method == "_pipe_file":
            raise no_bucket(self._url, self._bucket)
        if isinstance(sorted_as, KeyMissing) and missing is not KeyMissing:
            return missing
        raise sorted_as

    def _file_system(self) -> Any:
        if self._made is None or self._made[0] != os.getpid():
            self._made = (os.getpid(), self._provider.connect(self._bucket))
        return self._made[1]
