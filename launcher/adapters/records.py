"""The stored bytes of a journal's records, and what they say: a whole record, or a number that nobody can read.

Each record carries a digest of itself and of the bytes before it. So damage is seen twice: by the record, and by its successor,
whose writer saw what was there. A record that fails either test is taken from its copy in a segment, if its successor vouches
for that copy; else its number is Unreadable. A whole record that this version cannot decode is not damaged: StoreUnusable.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from launcher import codec
from launcher.adapters.segments import Segments
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import journal_key
from launcher.errors import KeyMissing, Overtaken, StoreUnusable
from launcher.units import Utc

RECORD_VERSION = 1
_READS = 2  # a byte may flip on its way; twice the same number of times is the record's own fault
_VOID = "RecordVoided"  # the event's tag in the journal, hence part of the format


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One event. `writer` is the supervisor's id; `previous_sha256` is of the stored bytes before, "" for the first."""

    version: int = RECORD_VERSION
    number: int
    previous_sha256: str
    incarnation: str
    writer: str
    nonce: str
    at: Utc
    event: Any  # of the journal's `event_type`


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A number that is taken by bytes nobody can read. Nothing after it may be acted on until it is voided."""

    number: int
    digest: str


Entry = Record | Unreadable


class Slot(NamedTuple):
    """One number of the journal: the stored bytes, their digest, and what they say."""

    number: int
    data: bytes
    digest: str
    entry: Entry


def slot_of(record: Record) -> Slot:
    data = codec.dumps_digested(record)
    return Slot(record.number, data, codec.digest_of(data), record)


def voids_in(slots: list[Slot]) -> dict[int, str]:
    """Number and digest of every record that one of `slots` declares void."""
    voided: dict[int, str] = {}
    for slot in slots:
        event: Any = slot.entry.event if isinstance(slot.entry, Record) else None
        if type(event).__name__ == _VOID:
            voided.update(zip(event.numbers, event.digests, strict=True))
    return voided


@dataclass(frozen=True, slots=True)
class RecordReader:
    """Reads the records of one run. Every method raises Overtaken at a record of another incarnation.

    `known`: by the bytes of its records, what they say, as far as they were read or written before.
    """

    store: ObjectStore
    incarnation: str
    event_type: Any
    known: dict[bytes, Slot]

    def fetch(self, number: int, mine: Slot | None = None) -> Slot | None:
        """What stands at a number, `mine` where it is that; None where nothing does. Bytes not whole are read once more."""
        slot = None
        for _ in range(_READS):
            try:
                data = self.store.get(journal_key(number))
            except KeyMissing:
                return None
            if mine is not None and data == mine.data:
                return mine
            slot = self._parse(data, number)
            if isinstance(slot.entry, Record):
                break
        return slot

    def segments(self) -> Segments[Slot]:
        """The copies of records there are. A line that is damaged or of another run is no copy."""
        return Segments(self.store, self._parse_copy)

    def read_from(self, number: int, segments: Segments[Slot] | None) -> list[Slot]:
        """The records from `number` on until one is missing; from `segments` where they are there."""
        slots: list[Slot] = []
        while (slot := self._copy_of(number + len(slots), segments) or self.fetch(number + len(slots))) is not None:
            slots.append(slot)
        return slots

    def mend(self, slots: list[Slot], segments: Segments[Slot] | None) -> list[Slot]:
        """`slots`, where a successor disagrees with a record mended from a copy or made Unreadable.

        A copy counts only where its successor vouches for it; without one the record itself does. Backwards, since a mended
        record vouches for the one before it.
        """
        mended = list(slots)
        successor: Entry | None = None
        for i, slot in reversed([*enumerate(slots)]):
            if not isinstance(successor, Record):
                mended[i] = (self.fetch(slot.number) or slot) if slot is self._copy_of(slot.number, segments) else slot
            elif successor.previous_sha256 != slot.digest:
                segments = segments or self.segments()
                mended[i] = self._mend_one(slot, successor.previous_sha256, segments)
            successor = mended[i].entry
        return mended

    def _copy_of(self, number: int, segments: Segments[Slot] | None) -> Slot | None:
        return segments.first(number) if segments is not None else None

    def _mend_one(self, slot: Slot, digest: str, segments: Segments[Slot]) -> Slot:
        for candidate in segments.copies(slot.number):
            if candidate.digest == digest:
                return candidate
        stored = self.fetch(slot.number)
        if stored is not None and stored.digest == digest:
            return stored
        if isinstance(slot.entry, Unreadable):
            return slot
        return slot._replace(entry=Unreadable(number=slot.number, digest=slot.digest))

    def _parse(self, data: bytes, number: int) -> Slot:
        try:
            slot = self._slot(data)
        except ValueError:
            return _unreadable(number, data, codec.digest_of(data))
        return slot if slot.number == number else _unreadable(number, data, slot.digest)

    def _parse_copy(self, line: bytes) -> Slot | None:
        try:
            return self._slot(line)
        except (ValueError, Overtaken):
            return None

    def _slot(self, data: bytes) -> Slot:
        """Of the number that the bytes say themselves. Raises as `decode_record`."""
        slot = self.known.get(data)
        if slot is None:
            record = decode_record(data, self.event_type)
            if record.incarnation != self.incarnation:
                raise Overtaken(f"record {record.number} belongs to another run of this name ({record.incarnation})")
            slot = self.known[data] = Slot(record.number, data, codec.digest_of(data), record)
        return slot


def _unreadable(number: int, data: bytes, digest: str) -> Slot:
    return Slot(number, data, digest, Unreadable(number=number, digest=digest))


def decode_record(data: bytes, event_type: Any) -> Record:
    """The record in stored bytes.

    Raises ValueError where they are not whole, StoreUnusable where a newer launch wrote them.
    """
    raw: Any = codec.loads_digested(Any, data)
    try:
        record: Record = codec.decode(Record, raw)
        if record.version > RECORD_VERSION:
            raise ValueError(f"record version {record.version}")
        return replace(record, event=codec.decode(event_type, record.event))
    except ValueError as error:
        number = raw.get("number") if isinstance(raw, dict) else None
        raise StoreUnusable(f"record {number} was written by a newer launch; upgrade this one ({error})") from error
