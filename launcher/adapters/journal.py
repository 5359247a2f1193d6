"""The journal of a run: numbered records that can be created and never changed. Appending is the fence.

A supervisor may believe for an hour that it is the only one. What stops it is that record N+1 can be created once: whoever
finds its number taken has been overtaken. Each record holds the digest of the bytes before it, so the order cannot be faked,
and a nonce, so that a writer knows its own bytes again when an answer was lost.

Three things make that hold on a real store.

*Answers get lost.* After every attempt to create, the key is read back: our bytes mean won, other bytes lost, nothing means
the same bytes again. Past the deadline the record stays *pending*: it may land yet, so the next thing this journal does is to
settle it, with the same bytes; other bytes are never put at that number.

*Bytes rot.* A record that is not whole on two reads, or that its successor's writer saw otherwise, is taken from its copy in a
segment where the digest held by its successor vouches for the copy. Else it is Unreadable, until a later record voids its
number; once void, void for ever, even if it can be read one day, because somebody may have acted without it.

*Versions differ.* A whole record that this version cannot decode was written by a newer one: StoreUnusable, never voided.

A reader (an agent, `launch status`) makes a Journal without `writer` and calls `poll`. Not for use by two threads.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tenacity import Retrying

from launcher import codec
from launcher.adapters.retry import store_calls
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import SEGMENTS_PREFIX, journal_key
from launcher.errors import KeyExists, KeyMissing, Overtaken, StoreError, StoreUnknown, StoreUnusable
from launcher.units import Utc

RECORD_VERSION = 1
SEGMENT_RECORDS = 256  # one request instead of so many when a run is opened
_READS = 2  # a byte may flip on its way; twice the same number of times is the record's own fault
_OPEN_ROUNDS = 100  # records of others absorbed one by one while opening; a writer that fast is alive
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


class VoidContent(NamedTuple):
    """What the next RecordVoided must say: every number void so far and those to be void now, with the digests seen."""

    numbers: tuple[int, ...]
    digests: tuple[str, ...]


class Journal:
    """Holds what was read so far; `event_type` is the union that events decode to. Every method may raise StoreUnknown or
    StoreUnusable, and Overtaken at a record of another incarnation."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        incarnation: str,
        event_type: Any,
        writer: str | None = None,
        retrying: Retrying | None = None,
    ) -> None:
        self._store = store
        self._incarnation = incarnation
        self._event_type = event_type
        self._writer = writer
        self._retrying = retrying or store_calls()
        self._slots: list[_Slot] = []  # slot i is record i + 1
        self._voided: dict[int, str] = {}
        self._pending: _Slot | None = None
        self._has_read = False
        self._is_open = False
        self._overtaken: Overtaken | None = None
        self._segments: set[str] = set()

    # --- reading ----------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether this journal's own opening record is known to stand, so that it may append."""
        return self._is_open

    @property
    def last(self) -> int:
        """The number of the last record read or written, 0 for none."""
        return len(self._slots)

    def poll(self) -> list[Entry]:
        """What is new since the last call, in order; voided numbers are left out.

        Fold again from `read()` when it holds a RecordVoided. A number returned before may come again as Unreadable. Once
        this journal is open for writing, a record of another raises Overtaken; while its opening is unsettled, nothing is
        read: `open` goes first.
        """
        self._refuse_if_overtaken()
        settled: list[Entry] = []
        if self._pending is not None:
            if not self._is_open:
                return []
            mine, found = self._pending, self._settle()
            settled = [found.entry] if found is mine else []
        fresh = self._read_on()
        if self._is_open:
            self._yield_to_others(fresh)
        return settled + fresh

    def read(self, start: int = 1) -> list[Entry]:
        """Everything from `start` on, the newest included. What was read once is not read again."""
        self.poll()
        return self._unvoided(self._slots[start - 1 :])

    def unreadable(self) -> tuple[int, ...]:
        """Numbers that a supervisor must void and an agent must name in its heartbeat."""
        return tuple(s.number for s in self._slots if isinstance(s.entry, Unreadable) and s.number not in self._voided)

    def void_content(self, also: Iterable[int] = ()) -> VoidContent:
        """For the RecordVoided to append: all void so far, all unreadable, and `also`, those that agents could not read."""
        known = {n: self._slots[n - 1].digest for n in (*self.unreadable(), *also) if n <= self.last}
        whole = sorted({**known, **self._voided}.items())
        return VoidContent(tuple(n for n, _ in whole), tuple(digest for _, digest in whole))

    # --- writing ----------------------------------------------------------------------------------------------------------

    def open(self, event: Any, at: Utc, *, insist: bool = False) -> list[Entry]:
        """Open for writing with `event` (SupervisorStarted) behind all there is; gives the whole journal, `event` last.

        A number lost to an event of the same type means that another opens too: raises Overtaken, unless told to `insist`.
        Other records are absorbed. After StoreUnknown call it again, or `poll`: the record sent first is settled first.
        """
        self._refuse_if_overtaken()
        if not self._has_read:
            self._read_on()
        for _ in range(_OPEN_ROUNDS):
            mine = self._pending = self._pending or self._prepare(event, at)
            if self._settle() is mine:
                return self._unvoided(self._slots)
            rival = _rival(self._read_on(), event)
            if rival is not None and not insist:
                self._yield_to_others([rival])
        raise StoreUnknown("others write to this run's journal faster than it can be opened")

    def append(self, event: Any, at: Utc) -> Record:
        """The record that now holds `event`. Only after `open`.

        Raises Overtaken where another took the number. Raises StoreUnknown where the outcome is open, or where the record
        arrived damaged; then `poll` before anything else: it returns the record if it landed, Unreadable if it must be voided.
        """
        self._refuse_if_overtaken()
        assert self._is_open, "a journal is opened before it is appended to"
        assert self._pending is None, "an unsettled record is settled by poll() before another is decided on"
        self._pending = self._prepare(event, at)
        mine, found = self._pending, self._settle()
        if found is not mine:
            self._yield_to_others([found.entry])
            raise StoreUnknown(f"record {mine.number} arrived damaged; it must be voided")
        assert isinstance(mine.entry, Record)
        return mine.entry

    def write_segment(self, first: int, last: int) -> None:
        """Copy records `first` to `last` into one object, for fast opening and against damage. Repeating it does nothing."""
        assert 1 <= first <= last <= self.last, f"records {first} to {last} of {self.last}"
        key = segment_key(first, last)
        whole = [slot.data for slot in self._slots[first - 1 : last] if isinstance(slot.entry, Record)]
        with contextlib.suppress(KeyExists):
            self._store.create(key, b"\n".join(whole))
        self._segments.add(key)

    def write_due_segments(self) -> None:
        """A segment for each SEGMENT_RECORDS records that have none. Cheap to call at every tick."""
        for last in range(SEGMENT_RECORDS, self.last + 1, SEGMENT_RECORDS):
            first = last - SEGMENT_RECORDS + 1
            if segment_key(first, last) not in self._segments:
                self.write_segment(first, last)

    def _yield_to_others(self, entries: list[Entry]) -> None:
        """Any record among `entries` is another supervisor's: this journal is shut from now on."""
        for entry in entries:
            if isinstance(entry, Record):
                text = f"supervisor {entry.writer} drives this run now (record {entry.number} of its journal)"
                self._overtaken = Overtaken(text)
                raise self._overtaken

    def _refuse_if_overtaken(self) -> None:
        if self._overtaken is not None:
            raise self._overtaken

    def _prepare(self, event: Any, at: Utc) -> "_Slot":
        assert self._writer is not None, "a reader's journal cannot write"
        record = Record(
            number=self.last + 1,
            previous_sha256=self._slots[-1].digest if self._slots else "",
            incarnation=self._incarnation,
            writer=self._writer,
            nonce=uuid.uuid4().hex,
            at=at,
            event=event,
        )
        return _slot(record, codec.dumps_digested(record))

    def _settle(self) -> "_Slot":
        """What stands at the pending record's number: that record, taken in, or what another put there. Else it stays pending."""
        pending = self._pending
        assert pending is not None, "nothing is pending"
        assert pending.number == self.last + 1, "a record was read past the pending one"
        found: _Slot = self._retrying(self._create_and_read_back, pending)
        self._pending = None
        if found.data != pending.data:
            return found
        self._take([pending])
        self._is_open = True
        return pending

    def _create_and_read_back(self, pending: "_Slot") -> "_Slot":
        failure: StoreError = StoreUnknown(f"record {pending.number} was created and is not there")
        try:
            self._store.create(journal_key(pending.number), pending.data)
        except KeyExists:
            pass
        except (StoreUnknown, StoreUnusable) as error:
            failure = error  # an earlier attempt may have landed all the same: only the read tells
        found = self._fetch(pending.number)
        if found is None:
            raise failure
        return found

    # --- from bytes to entries --------------------------------------------------------------------------------------------

    def _read_on(self) -> list[Entry]:
        copies = {} if self._slots else self._read_segments()
        fresh = list(self._read_numbers(copies))
        self._has_read = True
        return self._unvoided(self._take(self._mended(fresh, copies)))

    def _read_numbers(self, copies: dict[int, "_Slot"]) -> Iterator["_Slot"]:
        """Records from the next number on until one is missing. Nothing is taken in yet: an error here loses nothing."""
        number = self.last + 1
        while (slot := copies.get(number) or self._fetch(number)) is not None:
            yield slot
            number += 1

    def _fetch(self, number: int) -> "_Slot | None":
        slot = None
        for _ in range(_READS):
            try:
                slot = self._parse(self._store.get(journal_key(number)), number)
            except KeyMissing:
                return None
            if isinstance(slot.entry, Record):
                break
        return slot

    def _parse(self, data: bytes, number: int) -> "_Slot":
        try:
            raw: Any = codec.loads_digested(Any, data)
        except ValueError:
            return _slot(Unreadable(number=number, digest=codec.digest_of(data)), data)
        record = self._decode(raw, number)
        if record.incarnation != self._incarnation:
            raise Overtaken(f"record {number} belongs to another run of this name ({record.incarnation})")
        if record.number != number:
            return _slot(Unreadable(number=number, digest=codec.digest_of(data)), data)
        return _slot(record, data)

    def _decode(self, raw: Any, number: int) -> Record:
        try:
            record: Record = codec.decode(Record, raw)
            if record.version > RECORD_VERSION:
                raise ValueError(f"record version {record.version}")
            return replace(record, event=codec.decode(self._event_type, record.event))
        except ValueError as error:
            raise StoreUnusable(f"record {number} was written by a newer launch; upgrade this one ({error})") from error

    def _mended(self, fresh: list["_Slot"], copies: dict[int, "_Slot"]) -> list["_Slot"]:
        """`fresh`, and the slot before it where its successor disagrees, each mended from a copy or made Unreadable.

        Backwards, since a mended record vouches for the one before it.
        """
        slots = [*self._slots[-1:], *fresh]
        void = {**self._voided, **_voids_in(fresh)}
        is_changed = False
        for i in reversed(range(len(slots) - 1)):
            slot, successor = slots[i], slots[i + 1].entry
            if slot.number in void or not isinstance(successor, Record) or successor.previous_sha256 == slot.digest:
                continue
            copies = copies or self._read_segments()
            slots[i] = self._mended_slot(slot, successor.previous_sha256, copies)
            is_changed = is_changed or (i == 0 and bool(self._slots) and slots[0] is not slot)
        return slots if is_changed or not self._slots else slots[1:]

    def _mended_slot(self, slot: "_Slot", digest: str, copies: dict[int, "_Slot"]) -> "_Slot":
        for candidate in (copies.get(slot.number), self._fetch(slot.number)):
            if candidate is not None and candidate.digest == digest and isinstance(candidate.entry, Record):
                return candidate
        return _slot(Unreadable(number=slot.number, digest=slot.digest), slot.data)

    def _read_segments(self) -> dict[int, "_Slot"]:
        """The copies of records by number. A line that is damaged or of another run is no copy."""
        copies: dict[int, _Slot] = {}
        for meta in self._store.list(SEGMENTS_PREFIX):
            self._segments.add(meta.key)
            try:
                lines = self._store.get(meta.key).split(b"\n")
            except KeyMissing:
                continue
            copies.update((slot.number, slot) for slot in map(self._parse_copy, lines) if slot is not None)
        return copies

    def _parse_copy(self, line: bytes) -> "_Slot | None":
        try:
            raw: Any = codec.loads_digested(Any, line)
            number, incarnation = raw["number"], raw["incarnation"]
        except (ValueError, KeyError, TypeError):
            return None
        return self._parse(line, number) if incarnation == self._incarnation else None

    def _take(self, slots: list["_Slot"]) -> list["_Slot"]:
        """The only place where this journal moves on."""
        if slots:
            self._slots[slots[0].number - 1 :] = slots
            self._voided.update(_voids_in(slots))
        return slots

    def _unvoided(self, slots: list["_Slot"]) -> list[Entry]:
        return [slot.entry for slot in slots if slot.number not in self._voided]


def segment_key(first: int, last: int) -> str:
    return f"{SEGMENTS_PREFIX}{first:08d}-{last:08d}.jsonl"


@dataclass(frozen=True, slots=True)
class _Slot:
    """One number of the journal: the stored bytes, their digest, and what they say."""

    number: int
    data: bytes
    digest: str
    entry: Entry


def _slot(entry: Entry, data: bytes) -> _Slot:
    return _Slot(entry.number, data, codec.digest_of(data), entry)


def _voids_in(slots: list[_Slot]) -> dict[int, str]:
    voided: dict[int, str] = {}
    for slot in slots:
        event: Any = slot.entry.event if isinstance(slot.entry, Record) else None
        if type(event).__name__ == _VOID:
            voided.update(zip(event.numbers, event.digests, strict=True))
    return voided


def _rival(fresh: list[Entry], event: Any) -> Record | None:
    return next((e for e in fresh if isinstance(e, Record) and type(e.event) is type(event)), None)
