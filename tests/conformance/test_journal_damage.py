"""A journal whose bytes rot: what is voided, what a copy mends, and what is never believed."""

from collections.abc import Iterator

import pytest

from launcher import codec
from launcher.adapters.journal import Journal, Unreadable
from launcher.adapters.records import Slot
from launcher.adapters.segments import segment_key
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import journal_key
from launcher.errors import StoreUnknown, StoreUnusable
from tests.conformance.journals import (
    DAMAGED,
    NOW,
    Event,
    Invented,
    Noted,
    RecordVoided,
    Started,
    Unreliable,
    damage,
    filled,
    journal,
    noted,
    opened,
    told,
)


def test_a_damaged_record_is_unreadable_until_it_is_voided_and_void_for_ever(store: ObjectStore) -> None:
    filled(store, 4)
    whole = damage(store, 3)
    reader, writer = journal(store), journal(store, "sup-b")
    assert told(reader.poll()) == [Started(who="sup-a"), noted(2), 3, noted(4)]
    assert reader.unreadable() == (3,)

    assert told(writer.open(Started(who="sup-b"), NOW))[2] == 3
    content = writer.void_content()
    assert content == ((3,), (codec.digest_of(store.get(journal_key(3))),))
    voided = RecordVoided(numbers=content.numbers, digests=content.digests)
    writer.append(voided, NOW)
    assert writer.unreadable() == ()

    after = [Started(who="sup-a"), noted(2), noted(4), Started(who="sup-b"), voided]
    assert told(reader.poll()) == [Started(who="sup-b"), voided]
    assert reader.unreadable() == ()
    assert told(reader.read()) == told(writer.read()) == after
    store.replace(journal_key(3), whole)
    assert told(journal(store).read()) == after, "void although it can be read now"


def test_each_void_repeats_all_before_it_and_may_name_what_only_an_agent_could_not_read(store: ObjectStore) -> None:
    filled(store, 5)
    damage(store, 2)
    writer = opened(store, "sup-b")
    first = writer.void_content()
    writer.append(RecordVoided(numbers=first.numbers, digests=first.digests), NOW)
    second = writer.void_content(also=(4, 4, 2))
    assert second.numbers == (2, 4)
    assert second.digests == (first.digests[0], codec.digest_of(store.get(journal_key(4))))
    writer.append(RecordVoided(numbers=second.numbers, digests=second.digests), NOW)
    damage(store, 7)
    assert [entry.number for entry in journal(store).read()] == [1, 3, 5, 6, 7, 8]
    assert journal(store).read()[4] == Unreadable(number=7, digest=codec.digest_of(store.get(journal_key(7))))


def test_a_damaged_newest_record_is_voided_behind_it(store: ObjectStore) -> None:
    filled(store, 3)
    whole = damage(store, 3)
    writer = opened(store, "sup-b")
    content = writer.void_content()
    writer.append(RecordVoided(numbers=content.numbers, digests=content.digests), NOW)
    store.replace(journal_key(3), whole)
    assert [entry.number for entry in journal(store).read()] == [1, 2, 4, 5]


def test_a_reader_gives_up_a_record_held_for_whole_when_its_successor_was_written_after_other_bytes(
    store: ObjectStore,
) -> None:
    filled(store, 3)
    reader = journal(store)
    reader.poll()
    damage(store, 3)
    opened(store, "sup-b")
    assert told(reader.poll()) == [3, Started(who="sup-b")]
    assert reader.unreadable() == (3,)


def test_what_a_voiding_record_declared_void_comes_back_when_it_is_found_to_be_damaged_itself(store: ObjectStore) -> None:
    """As for every reader that comes later and never saw it whole."""
    reader = journal(store)
    writer = filled(store, 3)
    content = writer.void_content(also=(2,))
    writer.append(RecordVoided(numbers=content.numbers, digests=content.digests), NOW)
    assert told(reader.poll())[:2] == [Started(who="sup-a"), noted(3)]
    damage(store, 4)
    opened(store, "sup-b")
    assert told(reader.poll()) == [4, Started(who="sup-b")]
    after = [Started(who="sup-a"), noted(2), noted(3), 4, Started(who="sup-b")]
    assert told(reader.read()) == told(journal(store).read()) == after


def test_a_voiding_record_is_copied_at_once_so_that_its_loss_brings_nothing_back(store: ObjectStore) -> None:
    writer = filled(store, 3)
    content = writer.void_content(also=(2,))
    voided = RecordVoided(numbers=content.numbers, digests=content.digests)
    writer.append(voided, NOW)
    writer.write_due_segments()
    writer.append(noted(5), NOW)
    damage(store, 4)
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(3), voided, noted(5)]


def test_a_record_behind_which_others_were_not_readable_is_judged_once_they_are(store: ObjectStore) -> None:
    """Reads get damaged too: sup-b could not read record 2, and the reader not what sup-b wrote behind it."""
    filled(store, 2)
    whole = damage(store, 2)
    opened(store, "sup-b")
    store.replace(journal_key(2), whole)
    behind = damage(store, 3)
    reader = journal(store)
    assert told(reader.poll()) == [Started(who="sup-a"), noted(2), 3]
    store.replace(journal_key(3), behind)
    opened(store, "sup-c")
    assert told(reader.poll()) == [2, Started(who="sup-b"), Started(who="sup-c")]
    assert reader.unreadable() == (2,)
    assert reader.read() == journal(store).read()


def test_a_segment_has_a_copy_of_what_is_damaged(store: ObjectStore) -> None:
    filled(store, 6).write_segment(2, 5)
    reader = journal(store)
    reader.poll()
    for number in (3, 4, 6):
        damage(store, number)
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), noted(3), noted(4), noted(5), 6]


def test_a_reader_that_polls_finds_the_copy_too_but_only_where_the_next_record_vouches_for_it(store: ObjectStore) -> None:
    writer = opened(store)
    reader = journal(store)
    reader.poll()
    for number in (2, 3, 4):
        writer.append(noted(number), NOW)
    writer.write_segment(1, 4)
    for number in (2, 3, 4):
        damage(store, number)
    assert told(reader.poll()) == [2, 3, 4], "nothing vouches for a copy of the newest record, nor for those before it"
    late = journal(store)
    writer.append(noted(5), NOW)
    reader = journal(store)
    store.delete(segment_key(1, 4))
    assert told(reader.poll()) == [Started(who="sup-a"), 2, 3, 4, noted(5)]
    writer.write_segment(1, 3)
    writer.write_segment(2, 4)
    assert told(late.poll()) == [Started(who="sup-a"), noted(2), noted(3), noted(4), noted(5)]


def test_damaged_segments_and_those_of_another_run_are_passed_over(store: ObjectStore) -> None:
    writer = filled(store, 4)
    writer.write_segment(1, 4)
    copy = store.get(segment_key(1, 4))
    store.replace(segment_key(1, 4), copy[: len(copy) // 2])
    stranger = MemoryStore()
    other = journal(stranger, "sup-z", incarnation="inc-0")
    other.open(Started(who="sup-z"), NOW)
    other.write_segment(1, 1)
    store.create(segment_key(1, 1), stranger.get(segment_key(1, 1)))
    store.create(segment_key(1, 3), b"\n\xff\nnonsense\n{}")
    assert journal(store).read() == writer.read()


def test_an_upload_damaged_on_its_way_uses_up_the_number_and_is_voided() -> None:
    store = Unreliable()
    writer = opened(store)
    store.moods = [DAMAGED]
    with pytest.raises(StoreUnknown, match="record 2 arrived damaged"):
        writer.append(noted(2), NOW)
    assert told(writer.poll()) == [2]
    content = writer.void_content()
    voided = RecordVoided(numbers=content.numbers, digests=content.digests)
    writer.append(voided, NOW)
    assert told(journal(store).read()) == [Started(who="sup-a"), voided]


@pytest.mark.parametrize("data", [b"", b"{}", b"\x00" * 500, b'{"body":{},"sha256":"' + b"0" * 64 + b'"}'])
def test_any_garbage_under_a_number_is_unreadable(data: bytes) -> None:
    store = MemoryStore()
    filled(store, 3)
    store.replace(journal_key(2), data)
    assert told(journal(store).read()) == [Started(who="sup-a"), 2, noted(3)]


def test_a_copy_for_which_no_successor_vouches_is_not_believed() -> None:
    store, stranger = MemoryStore(), MemoryStore()
    filled(store, 4)
    other = opened(stranger, "sup-z")
    other.append(Noted(text="never in this journal"), NOW)
    other.append(Noted(text="nor this"), NOW)
    other.write_segment(2, 3)
    store.create(segment_key(2, 3), stranger.get(segment_key(2, 3)))
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), noted(3), noted(4)]
    damage(store, 3)
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), 3, noted(4)]
    damage(store, 2)
    assert told(journal(store).read()) == [Started(who="sup-a"), 2, 3, noted(4)]
    store.delete(journal_key(4))
    damage(store, 3)
    assert told(journal(store).read()) == [Started(who="sup-a"), 2, noted(3)], "nor is a copy of the newest"


def test_a_record_of_another_number_as_the_newest_is_unreadable(store: ObjectStore) -> None:
    filled(store, 3)
    store.replace(journal_key(3), store.get(journal_key(2)))
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), 3]


def test_a_record_under_anothers_number_is_unreadable(store: ObjectStore) -> None:
    filled(store, 3)
    store.replace(journal_key(2), store.get(journal_key(3)))
    assert told(journal(store).read()) == [Started(who="sup-a"), 2, noted(3)]


def test_a_whole_record_of_a_newer_version_is_refused_and_never_voided(store: ObjectStore) -> None:
    newer = Journal(store, incarnation="inc-1", event_type=Event | Invented, writer="sup-new")
    newer.open(Started(who="sup-new"), NOW)
    newer.append(Invented(later=1), NOW)
    old = journal(store, "sup-old")
    with pytest.raises(StoreUnusable, match="newer launch; upgrade"):
        old.open(Started(who="sup-old"), NOW)
    assert old.unreadable() == ()


def test_a_look_at_a_long_journal_goes_through_none_of_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = filled(MemoryStore(), 300)
    writer.write_due_segments()
    asked: list[int] = []
    whole = Journal._whole
    monkeypatch.setattr(Journal, "_whole", lambda self, *span: (asked.append(span[0]), whole(self, *span))[1])

    class Untouched(list[Slot]):
        def __iter__(self) -> Iterator[Slot]:
            raise AssertionError("all records are gone through")

    monkeypatch.setattr(writer, "_slots", Untouched(writer._slots))
    assert writer.void_content().numbers == ()
    writer.write_due_segments()
    assert asked == []
