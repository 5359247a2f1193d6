"""The journal of a run: numbered records that can be created and never changed. Appending is the fence.

A supervisor may believe for an hour that it is the only one. What stops it is that record N+1 can be created once: whoever
finds its number taken has been overtaken. Each record holds the digest of the bytes before it, so the order cannot be faked,
and a nonce, so that a writer knows its own bytes again when an answer was lost.

Two things make that hold on a real store.

*Answers get lost.* After every attempt to create, the key is read back: our bytes mean won, other bytes lost, nothing means
the same bytes again. Past the deadline the record stays *pending*: it may land yet, so the next thing this journal does is to
settle it, with the same bytes; other bytes are never put at that number.

*Bytes rot.* A number that nobody can read (`adapters/records` says when) is Unreadable until a later record voids it; once
void, void for ever, even if it can be read one day, because somebody may have acted without it.

A reader (an agent, `launch status`) makes a Journal without `writer` and calls `poll`. Not for use by two threads.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any, NamedTuple

from tenacity import Retrying

from launcher.adapters.records import Entry, Record, RecordReader, Slot, Unreadable, slot_of, voids_in
from launcher.adapters.retry import store_calls
from launcher.adapters.segments import SEGMENT_BYTES_MOST, SEGMENT_RECORDS, blocks, segment_key
from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import journal_key
from launcher.errors import KeyExists, Overtaken, StoreError, StoreUnknown, StoreUnusable
from launcher.units import Utc

__all__ = ["Entry", "Journal", "Record", "Unreadable", "VoidContent"]

_OPEN_ROUNDS = 100  # records of others absorbed one by one while opening; a writer that fast is alive


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
        new_nonce: Callable[[], str] = lambda: uuid.uuid4().hex,
        known: dict[bytes, Slot] | None = None,
    ) -> None:
        self._store = store
        self._incarnation = incarnation
        self._known = {} if known is None else known
        self._reader = RecordReader(store, incarnation, event_type, self._known)
        self._writer = writer
        self._retrying = retrying or store_calls()
        self._new_nonce = new_nonce
        self._slots: list[Slot] = []  # slot i is record i + 1
        self._voided: dict[int, str] = {}
        self._holes: set[int] = set()  # numbers of slots that are Unreadable, void or not
        self._pending: Slot | None = None
        self._untold: list[Entry] = []  # settled, and what came after could not be read yet
        self._doubted: list[Entry] = []  # sent and not found again; but reads get damaged too, so one may prove to be there
        self._has_read = False
        self._is_open = False
        self._overtaken: Overtaken | None = None
        self._segments: set[str] = set()  # their keys, as far as known
        self._copied = 0  # the last record when every segment that was due stood

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

        Fold again from `known()` when it holds a RecordVoided. A number returned before may come again, otherwise. Once this
        journal is open for writing, a record of another raises Overtaken; while its opening is unsettled, nothing is
        read: `open` goes first.
        """
        self._refuse_if_overtaken()
        if self._pending is not None:
            if not self._is_open:
                return []
            mine, found = self._pending, self._settle()
            if found is mine:
                self._untold.append(found.entry)
        fresh = self._read_on()
        if self._is_open:
            self._yield_to_others(fresh)
        told, self._untold = [*self._untold, *fresh], []
        return told

    def read(self, start: int = 1) -> list[Entry]:
        """Everything from `start` on, the newest included. What was read once is not read again."""
        self.poll()
        return self.known(start)

    def known(self, start: int = 1) -> list[Entry]:
        """Everything from `start` on that was read or written so far; asks the store nothing."""
        return self._unvoided(self._slots[start - 1 :])

    def unreadable(self) -> tuple[int, ...]:
        """Numbers that a supervisor must void and an agent must name in its heartbeat."""
        return tuple(sorted(self._holes - self._voided.keys()))

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
                return self.known()
            fresh = self._read_on()
            if fresh and fresh[-1] in self._doubted:
                self._is_open = True
                return self.known()
            rival = next((e for e in self._of_others(fresh) if type(e.event) is type(event)), None)
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
        with contextlib.suppress(KeyExists):
            self._store.create(key, b"\n".join(self._whole(first, last)))
        self._segments.add(key)

    def write_due_segments(self) -> None:
        """A segment for each block of records that should have one and has none, and one for each voiding record behind them:
        lost, it would bring back what it declared void. Costs nothing where nothing is new."""
        if self._copied == self.last:
            return
        whole, copied = (number - number % SEGMENT_RECORDS[0] for number in (self.last, self._copied))
        due = list(blocks(whole, self._is_small)) if copied < whole else []
        due += [(slot.number, slot.number) for slot in self._slots[whole:] if voids_in([slot])]
        for first, last in due:
            if segment_key(first, last) not in self._segments:
                self.write_segment(first, last)
        self._copied = self.last

    def _is_small(self, first: int, last: int) -> bool:
        return segment_key(first, last) in self._segments or sum(map(len, self._whole(first, last))) <= SEGMENT_BYTES_MOST

    def _whole(self, first: int, last: int) -> list[bytes]:
        return [slot.data for slot in self._slots[first - 1 : last] if isinstance(slot.entry, Record)]

    def _yield_to_others(self, entries: list[Entry]) -> None:
        """Where one of `entries` is another supervisor's record, this journal is shut from now on."""
        for record in self._of_others(entries):
            text = f"supervisor {record.writer} drives this run now (record {record.number} of its journal)"
            self._overtaken = Overtaken(text)
            raise self._overtaken

    def _of_others(self, entries: list[Entry]) -> list[Record]:
        """The records among what was read on: what is ours we have taken in already, save what seemed damaged."""
        return [entry for entry in entries if isinstance(entry, Record) and entry not in self._doubted]

    def _refuse_if_overtaken(self) -> None:
        if self._overtaken is not None:
            raise self._overtaken

    def _prepare(self, event: Any, at: Utc) -> Slot:
        assert self._writer is not None, "a reader's journal cannot write"
        record = Record(
            number=self.last + 1,
            previous_sha256=self._slots[-1].digest if self._slots else "",
            incarnation=self._incarnation,
            writer=self._writer,
            nonce=self._new_nonce(),
            at=at,
            event=event,
        )
        slot = slot_of(record)
        self._known[slot.data] = slot
        return slot

    def _settle(self) -> Slot:
        """What stands at the pending record's number: that record, taken in, or what another put there. Else it stays pending."""
        pending = self._pending
        assert pending is not None, "nothing is pending"
        assert pending.number == self.last + 1, "a record was read past the pending one"
        found: Slot = self._retrying(self._create_and_read_back, pending)
        self._pending = None
        if found is not pending:
            self._doubted.append(pending.entry)
            return found
        self._take([pending])
        self._is_open = True
        return pending

    def _create_and_read_back(self, pending: Slot) -> Slot:
        failure: StoreError = StoreUnknown(f"record {pending.number} was created and is not there")
        try:
            self._store.create(journal_key(pending.number), pending.data)
        except KeyExists:
            pass
        except (StoreUnknown, StoreUnusable) as error:
            failure = error  # an earlier attempt may have landed all the same: only the read tells
        found = self._reader.fetch(pending.number, pending)
        if found is None:
            raise failure
        return found

    def _read_on(self) -> list[Entry]:
        """Take in what is new. Nothing is taken in before all is read, so that an error in between loses nothing."""
        segments = None if self._has_read else self._reader.segments()
        fresh = self._reader.read_from(self.last + 1, segments)
        if self._has_read and not fresh:
            return []
        unjudged = self._unjudged()
        slots = self._reader.mend([*unjudged, *fresh], segments)
        self._take(slots)
        if segments is not None:
            self._has_read, self._segments = True, {*segments.keys}
        return self._unvoided([new for old, new in zip_longest(unjudged, slots) if new is not old])

    def _unjudged(self) -> list[Slot]:
        """The slots at the end that no readable successor has confirmed or denied yet."""
        first = self.last - 1
        while first > 0 and isinstance(self._slots[first].entry, Unreadable):
            first -= 1
        return self._slots[max(first, 0) :]

    def _take(self, slots: list[Slot]) -> None:
        """The only place where this journal moves on."""
        if slots:
            first = slots[0].number
            forgotten = voids_in([old for old, new in zip(self._slots[first - 1 :], slots, strict=False) if old is not new])
            self._slots[first - 1 :] = slots
            self._holes = {n for n in self._holes if n < first} | {s.number for s in slots if isinstance(s.entry, Unreadable)}
            self._voided = voids_in(self._slots) if forgotten else self._voided | voids_in(slots)

    def _unvoided(self, slots: list[Slot]) -> list[Entry]:
        return [slot.entry for slot in slots if slot.number not in self._voided]
