"""A bucket of a cloud as a store, through fsspec's file systems: one object a key, every call with a deadline (`calls`).

An answer may get lost after the store has acted, and the libraries below repeat a lost request by themselves, so "exists" may
mean our own object. Therefore each `create` leaves a mark of its own in the object's metadata, and where the key is taken the
mark tells by whom: one more request, only then. A create that ended without an answer keeps its mark for the next one of the
same bytes.

What is too large for one request goes in parts (`bulk`); a reader of many pieces has several under way at once.

A listing is a hint. Caches are off: one hid another writer's new key.
"""

import contextlib
import functools
import hashlib
import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

from launcher.adapters import retry
from launcher.adapters.store import bulk
from launcher.adapters.store.base import Buffer, Chunks, LifecycleRule, ObjectMeta, Span
from launcher.adapters.store.calls import Calls, Work
from launcher.adapters.store.providers.base import Abandoned, BeyondEnd, Part, Place, Provider, Receipt, Stamp
from launcher.core.tempo import STORE_DEADLINE_S
from launcher.errors import KeyExists, KeyMissing, StoreError, StoreUnknown, StoreUnusable, UsageError
from launcher.units import Bytes, Seconds, Utc, show_size

CALL_S: Seconds = 30.0  # the libraries alone may wait for ever for a server that does not answer
PIECE_BYTES: Bytes = 16 * 2**20  # read with one request, so that each has its own deadline and is repeated alone
FIRST_BYTES: Bytes = 2**20  # of an object of unknown size: nearly all are smaller, and a silent server is left the sooner
_PART_TAKES: Bytes = 2**14  # to finish an upload takes as long as so many bytes for each of its parts


class RemoteStore:
    """`url` is scheme, bucket and prefix.

    One try of a call may take `call_s`, all of them `deadline`; each has a second more for every MiB that it moves.
    """

    def __init__(self, url: str, provider: Provider, *, call_s: Seconds = CALL_S, deadline: Seconds = STORE_DEADLINE_S) -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.rstrip("/").partition("/")
        if not bucket:
            raise UsageError(f"{url!r} names no bucket; write {scheme}://BUCKET/FOLDER")
        if ("@" in bucket and scheme != "abfs") or ":" in bucket or "?" in rest or "#" in rest:
            raise UsageError(f"{scheme}://… may hold a bucket and a folder only, no key or query; put credentials elsewhere")
        self._url = f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"
        self._container = bucket.partition("@")[0]  # abfs://CONTAINER@ACCOUNT/FOLDER
        self._base = f"{prefix}/" if prefix else ""
        self._provider = provider
        self._calls = Calls(self._url, bucket, provider, call_s=call_s, deadline=deadline)
        self._is_swept = False
        self._unsettled: dict[str, tuple[bytes, str]] = {}  # digest and mark of each create that ended without an answer

    @property
    def url(self) -> str:
        return self._url

    def create(self, key: str, data: Chunks) -> None:
        whole = bulk.at_once(data)
        if isinstance(whole, bytes):
            self._create_whole(key, whole)
            return
        with retry.unhurried():
            self._upload(key, whole)

    def replace(self, key: str, data: bytes) -> None:
        place = self._place(key)
        self._calls.ask(key, self._calls.in_bucket(lambda fs: self._provider.replace(fs, place, data)), size=len(data))

    def get(self, key: str, span: Span | None = None) -> bytes:
        """In pieces, until one is short."""
        start, end = (span.start, span.end) if span is not None else (0, None)
        pieces: list[bytes] = []
        while end is None or start < end:
            stop = start + (PIECE_BYTES if pieces else FIRST_BYTES) if end is None else min(start + PIECE_BYTES, end)
            try:
                with retry.unhurried() if pieces else contextlib.nullcontext():
                    pieces.append(self._piece(key, start, stop))
            except BeyondEnd:
                break
            if len(pieces[-1]) < stop - start:
                break
            start = stop
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_ahead(self, wanted: Iterable[tuple[str, Span]]) -> Generator[Buffer, None, None]:
        self._calls.connect()
        return bulk.read_ahead(wanted, self._read_into)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        listing = self._calls.in_bucket(lambda fs: self._provider.names(fs, self._container, self._base + prefix))
        found = self._calls.ask(prefix, listing)
        return iter(sorted((ObjectMeta(name.removeprefix(self._base), size) for name, size in found), key=lambda m: m.key))

    def delete(self, key: str) -> None:
        with contextlib.suppress(KeyMissing):
            self._calls.ask(key, lambda fs: self._provider.delete(fs, self._place(key)))

    def written_at(self, key: str) -> Utc:
        stamp: Stamp = self._calls.ask(key, lambda fs: self._provider.stamp(fs, self._place(key)))
        return stamp.written_at

    def lifecycle(self) -> tuple[LifecycleRule, ...] | None:
        try:
            rules = self._calls.ask("", lambda fs: self._provider.lifecycle(fs, self._container))
        except StoreUnusable:  # rarely among the rights of who writes checkpoints
            return None
        return None if rules is None else tuple(rule for found in rules for rule in self._touching(found))

    def abandoned_uploads(self) -> tuple[str, ...]:
        return tuple(left.place.name.removeprefix(self._base) for left in bulk.old(self._unfinished(), time.time()))

    def sweep_uploads(self) -> None:
        self._throw_away(bulk.old(self._unfinished(), time.time()))

    def abandon_uploads(self) -> None:
        self._throw_away(self._unfinished())

    def _touching(self, rule: LifecycleRule) -> Iterator[LifecycleRule]:
        """The rule as this store's keys see it, where it concerns them."""
        if self._base.startswith(rule.prefix):
            yield replace(rule, prefix="")
        elif rule.prefix.startswith(self._base):
            yield replace(rule, prefix=rule.prefix.removeprefix(self._base))

    def _piece(self, key: str, start: Bytes, stop: Bytes) -> bytes:
        place = self._place(key)
        data: bytes = self._calls.ask(key, lambda fs: self._provider.read(fs, place, start, stop), size=stop - start)
        return data

    def _read_into(self, key: str, span: Span, into: memoryview) -> Bytes:
        place = self._place(key)
        try:
            done: Bytes = self._calls.ask(key, lambda fs: self._provider.read_into(fs, place, span.start, into), size=len(into))
        except BeyondEnd:
            return 0
        return done

    def _place(self, key: str) -> Place:
        return Place(self._container, self._base + key)

    # --- creating ------------------------------------------------------------------------------------------------------------

    def _create_whole(self, key: str, whole: bytes) -> None:
        digest = hashlib.sha256(whole).digest()
        before, mark = self._unsettled.get(key, (b"", ""))
        if before != digest:
            mark = uuid.uuid4().hex
        place = self._place(key)
        act = self._calls.in_bucket(lambda fs: self._provider.create(fs, place, whole, mark))
        try:
            self._create_by(act, key, mark, size=len(whole))
        except StoreUnknown:
            self._unsettled[key] = (digest, mark)
            raise
        except StoreError:
            self._unsettled.pop(key, None)
            raise
        self._unsettled.pop(key, None)

    def _upload(self, key: str, chunks: Iterator[Buffer]) -> None:
        """In parts; nothing is visible before the last act, which is the create.

        Where the key is taken, it may take hours to get there: so that is asked first.
        """
        self._sweep_once()
        with contextlib.suppress(KeyMissing):
            self.written_at(key)
            raise KeyExists(key)
        provider, place, mark = self._provider, self._place(key), uuid.uuid4().hex
        upload: str = self._calls.ask(key, self._calls.in_bucket(lambda fs: provider.begin(fs, place, mark)))
        try:
            send = functools.partial(self._send, key, upload)
            receipts = bulk.sent(chunks, send, num_at_once=provider.parts_at_once)
            size = len(receipts) * _PART_TAKES
            self._create_by(lambda fs: provider.finish(fs, place, upload, receipts, mark), key, mark, size=size)
        except Exception:
            with contextlib.suppress(StoreError):  # else somebody sweeps it up
                self._calls.once(key, lambda fs: provider.abandon(fs, place, upload))
            raise

    def _send(self, key: str, upload: str, part: Part) -> Receipt:
        place = self._place(key)
        if part.number > bulk.NUM_PARTS_MOST:
            most = show_size(bulk.size_most())
            raise StoreUnusable(f"{self._url}/{key} is larger than {most}, the most that an upload holds; split it in two")
        try:
            receipt: Receipt = self._calls.ask(key, lambda fs: self._provider.send(fs, place, upload, part), size=part.size)
        except KeyMissing:
            raise StoreUnknown(f"{self._url}/{key}: another has thrown its upload away") from None
        return receipt

    def _create_by(self, act: Work, key: str, mark: str, *, size: Bytes) -> None:
        self._calls.until_answered(lambda: self._create_once(act, key, mark, size))

    def _create_once(self, act: Work, key: str, mark: str, size: Bytes) -> None:
        """Create `key` by a call that leaves `mark` on it. An upload that is gone may have been finished by the try before."""
        with contextlib.suppress(KeyExists, KeyMissing):
            self._calls.once(key, act, size=size)
            return
        # Asked outside of the handler: what goes wrong here must not look as if it came of the key being taken.
        try:
            standing: Stamp = self._calls.once(key, lambda fs: self._provider.stamp(fs, self._place(key)))
        except KeyMissing:
            raise StoreUnknown(f"{self._url}/{key} was there, or its upload was, and is not") from None
        if standing.mark != mark:
            raise KeyExists(key)

    def _sweep_once(self) -> None:
        """Throw away what writers of this place have left unfinished. What cannot be now is met again later."""
        if self._is_swept:
            return
        self._is_swept = True
        with contextlib.suppress(StoreError):
            self.sweep_uploads()

    def _unfinished(self) -> Iterable[Abandoned]:
        found: Iterable[Abandoned] = self._calls.once("", lambda fs: self._provider.abandoned(fs, self._container, self._base))
        return found

    def _throw_away(self, uploads: Iterable[Abandoned]) -> None:
        for left in uploads:
            with contextlib.suppress(KeyMissing):  # another was faster
                self._calls.once(left.place.name, functools.partial(self._provider.abandon, place=left.place, upload=left.upload))
