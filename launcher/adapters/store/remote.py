"""A bucket of a cloud as a store, through fsspec's file systems: one object a key, every call with a deadline.

Each try ends in one of four things (`providers`): done, KeyExists or KeyMissing, StoreUnusable with a remedy, StoreUnknown. What
passes is tried again until the deadline. An answer may get lost after the store has acted, and the libraries below repeat a
lost request by themselves, so "exists" may mean our own object. Therefore each `create` leaves a mark of its own in the object's
metadata, and where the key is taken the mark tells by whom: one more request, only then. A create that ended without an
answer keeps its mark for the next one of the same bytes.

A listing is a hint. Caches are off: one hid another writer's new key. The file system is made at the first call of each
process, since none of them survives a fork.
"""

import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

from fsspec import asyn

from launcher.adapters import retry
from launcher.adapters.store.base import Chunks, LifecycleRule, ObjectMeta, Span
from launcher.adapters.store.forked import connected
from launcher.adapters.store.providers.base import (
    BeyondEnd,
    Place,
    Provider,
    Stamp,
    keep_back_credentials,
    no_bucket,
    sorted_error,
)
from launcher.core.tempo import STORE_DEADLINE_S
from launcher.errors import KeyExists, KeyMissing, StoreError, StoreUnknown, StoreUnusable, UsageError
from launcher.units import Bytes, Seconds, Utc

CALL_S: Seconds = 30.0  # the libraries alone may wait for ever for a server that does not answer
PIECE_BYTES: Bytes = 16 * 2**20  # read with one request, so that each has its own deadline and is repeated alone
FIRST_BYTES: Bytes = 2**20  # of an object of unknown size: nearly all are smaller, and a silent server is left the sooner
_SLOWEST: Bytes = 2**20  # a second; what is larger than a record gets more time by its size

Work = Callable[[Any], Coroutine[Any, Any, Any]]  # of a file system


class RemoteStore:
    """`url` is scheme, bucket and prefix; one try of a small call may take `call_s`, all of them `deadline` and one more."""

    def __init__(self, url: str, provider: Provider, *, call_s: Seconds = CALL_S, deadline: Seconds = STORE_DEADLINE_S) -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.rstrip("/").partition("/")
        if not bucket:
            raise UsageError(f"{url!r} names no bucket; write {scheme}://BUCKET/FOLDER")
        if ("@" in bucket and scheme != "abfs") or ":" in bucket or "?" in rest or "#" in rest:
            raise UsageError(f"{scheme}://… may hold a bucket and a folder only, no key or query; put credentials elsewhere")
        self._url = f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"
        self._bucket = bucket
        self._container = bucket.partition("@")[0]  # abfs://CONTAINER@ACCOUNT/FOLDER
        self._base = f"{prefix}/" if prefix else ""
        self._provider = provider
        self._call_s = call_s
        self._deadline = deadline
        self._made: tuple[int, Any] | None = None  # the process and its file system
        self._unsettled: dict[str, tuple[bytes, str]] = {}  # digest and mark of each create that ended without an answer

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, data: Chunks) -> None:
        whole = data if isinstance(data, bytes) else b"".join(data)
        digest = hashlib.sha256(whole).digest()
        before, mark = self._unsettled.get(key, (b"", ""))
        if before != digest:
            mark = uuid.uuid4().hex
        try:
            retry.store_calls(deadline=self._deadline)(self._create_once, key, whole, mark)
        except StoreUnknown:
            self._unsettled[key] = (digest, mark)
            raise
        except StoreError:
            self._unsettled.pop(key, None)
            raise
        self._unsettled.pop(key, None)

    def replace(self, key: str, data: bytes) -> None:
        with_bucket = self._in_bucket(lambda fs: self._provider.replace(fs, self._place(key), data))
        self._call(key, with_bucket, size=len(data))

    def get(self, key: str, span: Span | None = None) -> bytes:
        """In pieces, until one is short."""
        start, end = (span.start, span.end) if span is not None else (0, None)
        pieces: list[bytes] = []
        while end is None or start < end:
            stop = start + (PIECE_BYTES if pieces else FIRST_BYTES) if end is None else min(start + PIECE_BYTES, end)
            try:
                pieces.append(self._piece(key, start, stop))
            except BeyondEnd:
                break
            if len(pieces[-1]) < stop - start:
                break
            start = stop
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        listing = self._in_bucket(lambda fs: self._provider.names(fs, self._container, self._base + prefix))
        found = self._call(prefix, listing)
        return iter(sorted((ObjectMeta(name.removeprefix(self._base), size) for name, size in found), key=lambda m: m.key))

    def delete(self, key: str) -> None:
        try:
            self._call(key, lambda fs: self._provider.delete(fs, self._place(key)))
        except KeyMissing:
            return

    def written_at(self, key: str) -> Utc:
        stamp: Stamp = self._call(key, lambda fs: self._provider.stamp(fs, self._place(key)))
        return stamp.written_at

    def lifecycle(self) -> tuple[LifecycleRule, ...] | None:
        try:
            rules = self._call("", lambda fs: self._provider.lifecycle(fs, self._container))
        except StoreUnusable:  # rarely among the rights of who writes checkpoints
            return None
        return None if rules is None else tuple(rule for found in rules for rule in self._touching(found))

    def _touching(self, rule: LifecycleRule) -> Iterator[LifecycleRule]:
        """The rule as this store's keys see it, where it concerns them."""
        if self._base.startswith(rule.prefix):
            yield replace(rule, prefix="")
        elif rule.prefix.startswith(self._base):
            yield replace(rule, prefix=rule.prefix.removeprefix(self._base))

    def _create_once(self, key: str, data: bytes, mark: str) -> None:
        place = self._place(key)
        try:
            self._try(key, self._in_bucket(lambda fs: self._provider.create(fs, place, data, mark)), size=len(data))
            return
        except KeyExists as error:
            taken = error
        # Asked outside of the handler: what goes wrong here must not look as if it came of the key being taken.
        try:
            standing: Stamp = self._try(key, lambda fs: self._provider.stamp(fs, place))
        except KeyMissing:
            raise StoreUnknown(f"{self._url}/{key} was there and is not") from None
        if standing.mark != mark:
            raise taken

    def _piece(self, key: str, start: Bytes, stop: Bytes) -> bytes:
        data: bytes = self._call(key, lambda fs: self._provider.read(fs, self._place(key), start, stop), size=stop - start)
        return data

    def _place(self, key: str) -> Place:
        return Place(self._container, self._base + key)

    def _in_bucket(self, work: Work) -> Work:
        """Where what is missing can only be the bucket."""

        async def working(fs: Any) -> Any:
            try:
                return await work(fs)
            except FileNotFoundError:
                raise no_bucket(self._url, self._bucket) from None

        return working

    def _call(self, key: str, work: Work, *, size: Bytes = 0) -> Any:
        """As `_try`, until the store answers."""
        return retry.store_calls(deadline=self._deadline)(self._try, key, work, size=size)

    def _try(self, key: str, work: Work, *, size: Bytes = 0) -> Any:
        """One call of the file system."""
        try:
            fs = self._file_system()
            return asyn.sync(fs.loop, work, fs, timeout=self._call_s + size / _SLOWEST)
        except StoreError:
            raise
        except Exception as error:
            raise sorted_error(self._provider, error, url=self._url, bucket=self._bucket, key=key) from error

    def _file_system(self) -> Any:
        if self._made is None or self._made[0] != os.getpid():
            self._made = (os.getpid(), connected(_within(self._call_s, self._connect)))
        return self._made[1]

    def _connect(self) -> Any:
        keep_back_credentials()
        return self._provider.connect(self._bucket)


def _within(seconds: Seconds, make: Callable[[], Any]) -> Any:
    """What `make` gives, on a thread of its own: it may ask the network who we are, and nothing else bounds that."""
    made: list[Any] = []
    failures: list[Exception] = []

    def working() -> None:
        try:
            made.append(make())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=working, name="store-connect", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not made:
        raise StoreUnknown(f"no credentials within {seconds:.0f} s")
    return made[0]
