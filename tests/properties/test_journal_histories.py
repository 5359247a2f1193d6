"""Writers that come, pause and overtake each other, readers that look now and then, and a store on which all goes wrong.

Hypothesis plays the histories; what a journal promises is checked after every step, and once more when the storm is over.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from launcher import codec
from launcher.adapters import segments
from launcher.adapters.journal import Entry, Journal, Record
from launcher.adapters.store.base import Chunks
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import JOURNAL_PREFIX, SEGMENTS_PREFIX, journal_key
from launcher.errors import Overtaken, StoreUnknown
from tests.conformance.journals import NOW, Event, Noted, RecordVoided, Started, patience
from tests.properties.stormy import Bend, Fate, StormyStore, flipped

NARROW = (2, 4, 8)  # widths of blocks, so that short histories have them
weather = st.tuples(st.lists(st.sampled_from(Fate), max_size=4), st.lists(st.sampled_from(Bend), max_size=5))
Weather = tuple[list[Fate], list[Bend]]
picks = st.integers(0, 10**6)  # picks one of however many there are


@dataclass
class Hand:
    """One journal and whose it is; `wrote` counts what it tried to put into the store."""

    name: str
    journal: Journal
    door: "Door"
    must_look: bool = False  # the outcome of its last deed is open: poll comes first
    is_shut: bool = False  # it was told that it is overtaken


@dataclass
class Door:
    """The store as one hand sees it: counts its creates."""

    store: StormyStore
    num_creates: int = 0

    @property
    def url(self) -> str:
        return self.store.url

    def create(self, key: str, data: Chunks) -> None:
        self.num_creates += 1
        self.store.create(key, data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


@dataclass
class Believed:
    """What any journal ever said: the record of each number, and the numbers that it said are void."""

    records: dict[int, Record] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(segments, "SEGMENT_RECORDS", NARROW)
        self.store = StormyStore()
        self.writers: list[Hand] = []
        self.readers: list[Hand] = []
        self.believed = Believed()
        self.damaged: dict[str, bytes] = {}  # what stood at a key before it rotted
        self.digests: dict[int, str] = {}
        self.num_notes = 0
        self.num_nonces = 0

    def hand(self, name: str, *, writes: bool) -> Hand:
        door = Door(self.store)
        made = Journal(
            door,  # type: ignore[arg-type]
            incarnation="inc-1",
            event_type=Event,
            writer=name if writes else None,
            retrying=patience(2),
            new_nonce=self.new_nonce,
        )
        return Hand(name=name, journal=made, door=door)

    def new_nonce(self) -> str:
        """Counted, so that a history repeats to the byte: which bit rots must not depend on chance."""
        self.num_nonces += 1
        return f"{self.num_nonces:032x}"

    # --- what people do ------------------------------------------------------------------------------------------------------

    @initialize()
    def two_readers(self) -> None:
        self.readers = [self.hand("reader-1", writes=False), self.hand("reader-2", writes=False)]

    @precondition(lambda self: len(self.writers) < 5)
    @rule(insist=st.booleans(), weather=weather)
    def somebody_opens(self, insist: bool, weather: Weather) -> None:
        self.writers.append(self.hand(f"sup-{len(self.writers) + 1}", writes=True))
        self.store.fates, self.store.bends = weather
        self.open(self.writers[-1], insist)

    @precondition(lambda self: self.writers)
    @rule(pick=picks, insist=st.booleans(), looks=st.booleans(), weather=weather)
    def a_supervisor_goes_on(self, pick: int, insist: bool, looks: bool, weather: Weather) -> None:
        hand = self.writers[pick % len(self.writers)]
        self.store.fates, self.store.bends = weather
        if not hand.journal.is_open:
            self.open(hand, insist)
        elif looks or hand.must_look:
            self.act(hand, self.look)
        else:
            self.act(hand, self.decide)

    @precondition(lambda self: self.writers)
    @rule(pick=picks, num_notes=st.integers(1, 5))
    def a_supervisor_has_a_good_time(self, pick: int, num_notes: int) -> None:
        hand = self.writers[pick % len(self.writers)]
        self.store.calm()
        for deed in (self.look, *(self.decide for _ in range(num_notes)), lambda hand: hand.journal.write_due_segments()):
            if hand.journal.is_open and not hand.is_shut:
                self.act(hand, deed)

    @rule(pick=picks, weather=weather)
    def a_reader_looks(self, pick: int, weather: Weather) -> None:
        self.store.fates, self.store.bends = weather
        self.act(self.readers[pick % len(self.readers)], self.look)

    @precondition(lambda self: len(self.readers) < 4)
    @rule(weather=weather)
    def a_reader_comes(self, weather: Weather) -> None:
        self.store.fates, self.store.bends = weather
        self.readers.append(self.hand(f"reader-{len(self.readers) + 1}", writes=False))
        self.act(self.readers[-1], self.look)

    def open(self, hand: Hand, insist: bool) -> None:
        self.act(hand, lambda hand: self.hear(hand.journal.open(Started(who=hand.name), NOW, insist=insist)))

    def look(self, hand: Hand) -> None:
        self.hear(hand.journal.poll())
        hand.must_look = False

    def decide(self, hand: Hand) -> None:
        """As supervisors do: own up to holes, those that readers tell of too, then go on."""
        journal = hand.journal
        content = journal.void_content(also=[n for reader in self.readers for n in reader.journal.unreadable()])
        if set(content.numbers) != set(voided_in(journal.known())):
            self.append(journal, RecordVoided(numbers=content.numbers, digests=content.digests))
            return
        self.num_notes += 1
        self.append(journal, Noted(text=f"note {self.num_notes}"))

    def append(self, journal: Journal, event: object) -> None:
        record = journal.append(event, NOW)
        self.hear([record])
        self.believed.acknowledged.add(record.number)

    def act(self, hand: Hand, deed) -> None:  # type: ignore[no-untyped-def]
        """One deed of one hand. Overtaken once means shut for ever."""
        before = hand.door.num_creates
        try:
            deed(hand)
        except StoreUnknown:
            assert not hand.is_shut, f"{hand.name} went on after it was overtaken"
            hand.must_look = True
        except Overtaken as error:
            by = str(error)
            assert hand.name not in by, f"{hand.name} overtook itself: {by}"
            assert not hand.is_shut or hand.door.num_creates == before, f"{hand.name} wrote after it was overtaken"
            hand.is_shut = True
        else:
            assert not hand.is_shut, f"{hand.name} went on after it was overtaken"

    def hear(self, entries: list[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Record):
                known = self.believed.records.setdefault(entry.number, entry)
                assert known == entry, f"record {entry.number} means two things"

    # --- what goes wrong -----------------------------------------------------------------------------------------------------

    @rule()
    def late_creates_land(self) -> None:
        self.store.land()

    @rule(lags=st.booleans())
    def listings_lag_or_catch_up(self, lags: bool) -> None:
        self.store.calm() if not lags else self.store.lag()

    @precondition(lambda self: self.mortal())
    @rule(pick=picks, is_cut=st.booleans())
    def an_object_rots(self, pick: int, is_cut: bool) -> None:
        """Any but a RecordVoided: that its own loss revives what it declared void is a limit of the format."""
        key = self.mortal()[pick % len(self.mortal())]
        data = self.raw(key)
        self.damaged.setdefault(key, data)
        self.store.replace(key, data[: len(data) // 3] if is_cut else flipped(data))

    @precondition(lambda self: self.damaged)
    @rule(pick=picks)
    def an_object_heals(self, pick: int) -> None:
        key = sorted(self.damaged)[pick % len(self.damaged)]
        self.store.replace(key, self.damaged[key])

    def mortal(self) -> list[str]:
        listed = [meta.key for prefix in (JOURNAL_PREFIX, SEGMENTS_PREFIX) for meta in MemoryStore.list(self.store, prefix)]
        return [key for key in listed if key.startswith(SEGMENTS_PREFIX) or b"RecordVoided" not in self.raw(key)]

    def raw(self, key: str) -> bytes:
        return MemoryStore.get(self.store, key)

    # --- what holds ------------------------------------------------------------------------------------------------------------

    @invariant()
    def every_journal_says_the_same_of_each_number(self) -> None:
        for hand in (*self.writers, *self.readers):
            self.hear(hand.journal.known())

    @invariant()
    def what_a_journal_knows_to_be_void_it_tells_no_more(self) -> None:
        for hand in (*self.writers, *self.readers):
            entries = hand.journal.known()
            told = {entry.number for entry in entries if isinstance(entry, Record)}
            assert not told & set(voided_in(entries)), f"{hand.name} tells what is void"

    @invariant()
    def neighbours_in_a_journal_belong_together(self) -> None:
        """Whoever wrote the later one saw the earlier one as this journal tells it."""
        for hand in (*self.writers, *self.readers):
            records = [entry for entry in hand.journal.known() if isinstance(entry, Record)]
            for before, after in pairwise(records):
                if before.number + 1 == after.number:
                    assert after.previous_sha256 == self.digest_of(before), f"{hand.name} tells what nobody wrote behind"

    def digest_of(self, record: Record) -> str:
        return self.digests.setdefault(record.number, codec.digest_of(codec.dumps_digested(record)))

    @invariant()
    def nobody_writes_behind_another_without_opening(self) -> None:
        """Save behind a record that it could not read: that one it owns to as void."""
        records = self.believed.records
        for number, record in records.items():
            before = records.get(number - 1)
            if before is not None and before.writer != record.writer and journal_key(before.number) not in self.blamed():
                assert isinstance(record.event, Started), f"{record.writer} wrote record {number} behind {before.writer}"

    @invariant()
    def nothing_is_journaled_twice(self) -> None:
        texts = [record.event.text for record in self.believed.records.values() if isinstance(record.event, Noted)]
        assert len(texts) == len(set(texts))

    def teardown(self) -> None:
        try:
            self.when_the_storm_is_over_all_agree()
        finally:
            self.patch.undo()

    def when_the_storm_is_over_all_agree(self) -> None:
        self.store.calm()
        self.store.land()
        last = self.hand("sup-last", writes=True)
        self.act(last, lambda hand: self.hear(hand.journal.open(Started(who=hand.name), NOW, insist=True)))
        for _ in range(3):  # holes of its own, those of readers, and a note behind them
            for hand in (*self.readers, last):
                self.look(hand)
            self.decide(last)
        assert not last.is_shut
        anew = self.hand("reader-last", writes=False).journal
        told = anew.read()
        self.hear(told)
        assert all(isinstance(entry, Record) for entry in told), "a hole is left that nobody owned to"
        assert last.journal.read() == told
        for hand in self.readers:
            assert hand.journal.read() == told, f"{hand.name} disagrees"
        self.nothing_acknowledged_is_lost(told)
        for hand in self.writers:
            if hand.journal.is_open or hand.is_shut:
                self.act(hand, lambda hand: hand.journal.poll())
                assert hand.is_shut, f"{hand.name} does not know that it was overtaken"

    def nothing_acknowledged_is_lost(self, told: list[Entry]) -> None:
        void = set(voided_in(told))
        numbers = {entry.number for entry in told}
        assert self.believed.acknowledged <= numbers | void
        for number in void:
            assert journal_key(number) in self.blamed(), f"record {number} was void without having been damaged"

    def blamed(self) -> set[str]:
        """Keys of what rotted, arrived damaged, or was read so."""
        return {*self.damaged, *self.store.bent, *self.store.hurt}


def voided_in(entries: list[Entry]) -> list[int]:
    return [n for e in entries if isinstance(e, Record) and isinstance(e.event, RecordVoided) for n in e.event.numbers]


Histories.TestCase.settings = settings(max_examples=2 * settings().max_examples, stateful_step_count=40)
TestHistories = Histories.TestCase
