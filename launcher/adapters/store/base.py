"""The port to a checkpoint store: keys to immutable bytes, with create-if-absent as the one atomic act."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from launcher.units import Bytes, Utc

Buffer = bytes | bytearray | memoryview
Chunks = bytes | Iterable[Buffer]  # whoever makes them changes none before they are stored


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` (inclusive) to `end` (exclusive) of an object."""

    start: Bytes
    end: Bytes


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    key: str
    size: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """What a bucket does by itself to keys that start with `prefix`, "" for all."""

    prefix: str
    deletes: bool
    aborts_uploads: bool


class ObjectStore(Protocol):
    """Objects appear whole or not at all. Keys are relative to the store's URL, parts joined by "/".

    Every method may raise StoreUnknown (no answer in time) or StoreUnusable (retrying cannot help).
    """

    @property
    def url(self) -> str:
        """What `open_store` would take to open the same place; never holds a secret."""
        ...

    def create(self, key: str, data: Chunks) -> None:
        """Raises KeyExists if present: our only atomic act. After return the object survives a power cut.

        Equal bytes already there count as ours only where `data` holds a nonce; the caller reads back and compares.
        """
        ...

    def replace(self, key: str, data: bytes) -> None:
        """Small mutable objects (heartbeat, beacon); last writer wins; readers see old or new, never a mixture."""
        ...

    def get(self, key: str, span: Span | None = None) -> bytes:
        """The bytes of `key`; a span beyond the end is cut short. Raises KeyMissing."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        """Keys that start with `prefix`, in order; a hint only, since it may lag behind creates."""
        ...

    def delete(self, key: str) -> None:
        """Missing keys are fine."""
        ...


@runtime_checkable
class Bucket(Protocol):
    """What a store in a cloud can tell of itself besides."""

    def written_at(self, key: str) -> Utc:
        """When the object was written, by the store's clock, to the second. Raises KeyMissing."""
        ...

    def lifecycle(self) -> tuple[LifecycleRule, ...] | None:
        """The rules that concern keys of this store; None where they may not be read."""
        ...

    def abandoned_uploads(self) -> tuple[str, ...]:
        """Keys that were begun to be sent a day ago or more and are not there yet: nobody is at work on them any more."""
        ...

    def sweep_uploads(self) -> None:
        """Throw those away."""
        ...

    def abandon_uploads(self) -> None:
        """Throw away what was begun to be sent here and is not there yet: parts cost money, and no listing shows them.

        Only where nobody writes any more.
        """
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """A store so far away that the next read should be under way while the last one is looked at."""

    def read_ahead(self, wanted: Iterable[tuple[str, Span]]) -> Generator[Buffer, None, None]:
        """Like `get` for each of these spans, of 16 MiB and one byte at most, in order; valid until the next is asked for.

        A failure ends it.
        """
        ...
