"""The journal as fence and memory: one meaning for each number, whatever answers are lost and whatever bytes rot."""

import contextlib
import random
from collections.abc import Iterator

import pytest

from launcher import codec
from launcher.adapters.journal import Entry, Journal, Record
from launcher.adapters.store.base import Chunks, ObjectStore
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import journal_key
from launcher.errors import KeyExists, Overtaken, StoreUnknown, StoreUnusable
from tests.conformance.journals import (
    LATE,
    LOST,
    NOW,
    UNHEARD,
    WELL,
    Noted,
    Started,
    Unreliable,
    filled,
    journal,
    noted,
    opened,
    told,
)

# --- appending and reading -------------------------------------------------------------------------------------------------


def test_records_are_numbered_chained_and_read_back_in_order(store: ObjectStore) -> None:
    writer = filled(store, 4)
    entries = journal(store).read()
    assert told(entries) == [Started(who="sup-a"), noted(2), noted(3), noted(4)]
    assert entries == writer.read()
    records = [entry for entry in entries if isinstance(entry, Record)]
    assert [record.number for record in records] == [1, 2, 3, 4]
    assert records[0].previous_sha256 == ""
    for number in (2, 3, 4):
        assert records[number - 1].previous_sha256 == codec.digest_of(store.get(journal_key(number - 1)))
    assert len({record.nonce for record in records}) == 4


def test_a_reader_gets_only_what_is_new(store: ObjectStore) -> None:
    writer = opened(store)
    reader = journal(store)
    assert told(reader.poll()) == [Started(who="sup-a")]
    assert reader.poll() == []
    writer.append(noted(2), NOW)
    writer.append(noted(3), NOW)
    assert told(reader.poll()) == [noted(2), noted(3)]
    assert reader.poll() == []
    assert reader.last == 3
    assert told(reader.read(start=2)) == [noted(2), noted(3)]


def test_append_returns_the_record_that_readers_will_see(store: ObjectStore) -> None:
    writer = opened(store)
    record = writer.append(noted(2), 1234.5)
    assert record.at == 1234.5
    assert journal(store).read(start=2) == [record]


@contextlib.contextmanager
def silent_at(store: Unreliable, number: int) -> Iterator[None]:
    """Nobody can read the record of a number meanwhile."""
    real_get = store.get

    def get(key: str, span: object = None) -> bytes:
        if key == journal_key(number):
            raise StoreUnknown("no answer")
        return real_get(key)

    store.get = get  # type: ignore[method-assign]
    yield
    store.get = real_get  # type: ignore[method-assign]


def test_an_outage_while_reading_loses_no_entry() -> None:
    store = Unreliable()
    filled(store, 3)
    reader = journal(store)
    with silent_at(store, 3), pytest.raises(StoreUnknown):
        reader.poll()
    assert reader.known() == []
    assert len(reader.poll()) == 3
    assert len(reader.known()) == 3


def test_a_reader_cannot_write() -> None:
    with pytest.raises(AssertionError, match="opened before"):
        journal(MemoryStore()).append(noted(1), NOW)
    with pytest.raises(AssertionError, match="reader"):
        journal(MemoryStore()).open(noted(1), NOW)


# --- lost answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moods", [[LOST], [UNHEARD], [UNHEARD, LOST], [UNHEARD, UNHEARD]])
def test_a_lost_answer_or_request_ends_with_the_record_there_once(moods: list[str]) -> None:
    store = Unreliable()
    writer = opened(store)
    store.moods = list(moods)
    writer.append(noted(2), NOW)
    writer.append(noted(3), NOW)
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), noted(3)]


def test_past_the_deadline_the_record_is_pending_and_the_next_poll_settles_it_with_the_same_bytes() -> None:
    store = Unreliable()
    writer = opened(store)
    store.moods = [LATE, UNHEARD, UNHEARD]
    with pytest.raises(StoreUnknown):
        writer.append(noted(2), NOW)
    with pytest.raises(AssertionError, match="settled by poll"):
        writer.append(Noted(text="decided anew"), NOW)
    store.land()
    landed = store.get(journal_key(2))
    assert told(writer.poll()) == [noted(2)]
    assert store.get(journal_key(2)) == landed
    assert writer.poll() == []
    writer.append(noted(3), NOW)
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), noted(3)]


def test_a_settled_record_is_told_though_what_follows_could_not_be_read_at_once() -> None:
    """Else its writer would decide on a state without it: seed 6689 of the soak."""
    store = Unreliable()
    writer = opened(store)
    store.moods = [LATE, UNHEARD, UNHEARD]
    with pytest.raises(StoreUnknown):
        writer.append(noted(2), NOW)
    store.land()
    with silent_at(store, 3), pytest.raises(StoreUnknown):
        writer.poll()
    assert told(writer.poll()) == [noted(2)]
    assert writer.poll() == []


@pytest.mark.parametrize("bent", [[True] * 2, [True] * 4])
def test_an_opening_read_back_damaged_and_then_whole_is_our_own(bent: list[bool]) -> None:
    store = Unreliable()
    opened(store, "sup-a")
    second = journal(store, "sup-b")
    second.poll()
    store.bend_reads = list(bent)
    opening = second.open(Started(who="sup-b"), NOW)
    assert [event for event in told(opening) if isinstance(event, Started)].count(Started(who="sup-b")) == 1
    assert isinstance(second.append(Noted(text="goes on"), NOW), Record)


def test_an_opening_damaged_in_reading_with_an_outage_behind_it_is_our_own_when_opened_again() -> None:
    store = Unreliable()
    writer = journal(store, "sup-a")
    writer.poll()
    store.bend_reads = [True, True]
    store.mute_reads = [False, False, True]
    with pytest.raises(StoreUnknown):
        writer.open(Started(who="sup-a"), NOW)
    assert told(writer.open(Started(who="sup-a"), NOW)) == [Started(who="sup-a")]


def test_a_record_read_back_damaged_and_then_whole_is_our_own() -> None:
    store = Unreliable()
    writer = opened(store)
    store.bend_reads = [True, True]
    with pytest.raises(StoreUnknown, match="record 2 arrived damaged"):
        writer.append(noted(2), NOW)
    assert told(writer.poll()) == [noted(2)]
    writer.append(noted(3), NOW)
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), noted(3)]


def test_a_create_that_lands_after_it_was_sent_again_changes_nothing() -> None:
    store = Unreliable()
    writer = opened(store)
    store.moods = [LATE]
    record = writer.append(noted(2), NOW)
    with pytest.raises(KeyExists):
        store.land()
    assert journal(store).read(start=2) == [record]


def test_a_pending_record_whose_number_another_took_means_overtaken() -> None:
    store = Unreliable()
    first = opened(store, "sup-a")
    store.moods = [LATE, UNHEARD, UNHEARD]
    with pytest.raises(StoreUnknown):
        first.append(noted(2), NOW)
    opened(store, "sup-b")
    with pytest.raises(KeyExists):
        store.land()
    for _ in range(2):
        with pytest.raises(Overtaken, match="sup-b"):
            first.poll()


def test_an_outage_of_the_store_while_settling_keeps_the_record_pending() -> None:
    store = Unreliable()
    writer = opened(store)
    store.moods = [UNHEARD] * 9
    with pytest.raises(StoreUnknown):
        writer.append(noted(2), NOW)
    for _ in range(2):
        with pytest.raises(StoreUnknown):
            writer.poll()
    assert told(writer.poll()) == [noted(2)]


def test_a_refusal_after_a_request_that_landed_still_counts_as_landed() -> None:
    class Refusing(Unreliable):
        def create(self, key: str, data: Chunks) -> None:
            super().create(key, data)
            if key == journal_key(2):
                raise StoreUnusable("permission denied")

    store = Refusing()
    opened(store).append(noted(2), NOW)
    assert told(journal(store).read(start=2)) == [noted(2)]


def test_a_refusal_is_not_retried() -> None:
    class Full(MemoryStore):
        num_creates = 0

        def create(self, key: str, data: Chunks) -> None:
            self.num_creates += 1
            raise StoreUnusable("the disk is full")

    store = Full()
    with pytest.raises(StoreUnusable, match="full"):
        opened(store)
    assert store.num_creates == 1


def test_a_byte_flipped_on_the_way_back_is_read_again() -> None:
    store = Unreliable()
    writer = opened(store)
    store.bend_reads = [True]
    writer.append(noted(2), NOW)
    store.bend_reads = [True, False]
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2)]


# --- several supervisors ---------------------------------------------------------------------------------------------------


def test_a_supervisor_whose_number_is_taken_is_overtaken(store: ObjectStore) -> None:
    first = opened(store, "sup-a")
    second = opened(store, "sup-b")
    with pytest.raises(Overtaken, match=r"sup-b.*record 2"):
        first.append(noted(2), NOW)
    with pytest.raises(Overtaken):
        first.append(noted(2), NOW)
    second.append(noted(3), NOW)
    assert told(journal(store).read()) == [Started(who="sup-a"), Started(who="sup-b"), noted(3)]


def test_a_supervisor_learns_by_polling_that_it_was_overtaken(store: ObjectStore) -> None:
    first = opened(store, "sup-a")
    assert first.poll() == []
    opened(store, "sup-b")
    with pytest.raises(Overtaken, match="sup-b"):
        first.poll()


def test_an_opener_absorbs_what_the_old_supervisor_still_wrote() -> None:
    store = MemoryStore()
    old = opened(store, "sup-a")
    new = journal(store, "sup-b")
    new.poll()
    old.append(noted(2), NOW)
    old.append(noted(3), NOW)
    assert told(new.open(Started(who="sup-b"), NOW)) == [Started(who="sup-a"), noted(2), noted(3), Started(who="sup-b")]
    assert new.poll() == []


def test_an_opener_yields_to_another_opener_unless_it_insists() -> None:
    store = MemoryStore()
    opened(store, "sup-a")
    polite, stubborn = journal(store, "sup-b"), journal(store, "sup-c")
    polite.poll()
    stubborn.poll()
    opened(store, "sup-d")
    with pytest.raises(Overtaken, match="supervisor sup-d drives this run now"):
        polite.open(Started(who="sup-b"), NOW)
    stubborn.open(Started(who="sup-c"), NOW, insist=True)
    assert [event.who for event in told(journal(store).read()) if isinstance(event, Started)] == ["sup-a", "sup-d", "sup-c"]


def test_openings_long_past_are_no_rivals() -> None:
    store = MemoryStore()
    for writer in ("sup-a", "sup-b", "sup-c"):
        journal(store, writer).open(Started(who=writer), NOW)
    assert journal(store).read()[-1].number == 3


def test_an_opening_without_an_answer_is_settled_by_opening_again() -> None:
    store = Unreliable()
    opened(store, "sup-a")
    second = journal(store, "sup-b")
    store.moods = [LATE, UNHEARD, UNHEARD]
    with pytest.raises(StoreUnknown):
        second.open(Started(who="sup-b"), NOW)
    store.land()
    assert second.poll() == []
    assert told(second.open(Started(who="decided anew"), NOW)) == [Started(who="sup-a"), Started(who="sup-b")]
    second.append(noted(3), NOW)


def test_a_record_of_another_incarnation_means_overtaken(store: ObjectStore) -> None:
    opened(store)
    with pytest.raises(Overtaken, match="another run of this name"):
        journal(store, incarnation="inc-2").poll()


# --- random histories ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_seed", range(0, 200, 25))
def test_no_number_ever_means_two_things_whatever_is_lost_and_whoever_takes_over(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 25):
        play(seed)


def play(seed: int) -> None:
    """Sixty turns of supervisors that come and go on a bad store; no two of them may believe different things."""
    rng = random.Random(seed)
    store = Unreliable()
    believed: dict[int, Record] = {}
    writers: dict[str, Journal] = {}
    for turn in range(60):
        store.moods = rng.choices([WELL, LOST, UNHEARD, LATE], weights=(4, 1, 1, 1), k=rng.randrange(4))
        if rng.random() < 0.2:
            land_some(store)
        if not writers or rng.random() < 0.1:
            writers[f"sup-{turn}"] = journal(store, f"sup-{turn}", attempts=2)
        name = rng.choice(list(writers))
        try:
            seen = act(writers[name], name, turn)
        except StoreUnknown:
            continue
        except Overtaken:
            del writers[name]
            continue
        for record in seen:
            assert isinstance(record, Record)
            assert believed.setdefault(record.number, record) == record, f"seed {seed}"
    land_some(store)
    final = journal(store).read()
    assert [entry.number for entry in final] == list(range(1, len(final) + 1)), f"seed {seed}"
    assert all(believed.get(record.number, record) == record for record in final), f"seed {seed}"
    said = [event.text for event in told(final) if isinstance(event, Noted)]
    assert len(said) == len(set(said)), f"seed {seed}: an event was journaled twice"


def act(one: Journal, name: str, turn: int) -> list[Entry]:
    """One tick of a supervisor: settle and read, open where that is due, append."""
    if not one.is_open:
        return one.open(Started(who=name), NOW)
    return [*one.poll(), one.append(noted(turn), NOW)]


def land_some(store: Unreliable) -> None:
    for landing in store.on_its_way:
        with contextlib.suppress(KeyExists):
            landing()
    store.on_its_way.clear()
