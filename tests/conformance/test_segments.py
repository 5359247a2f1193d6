"""Segments: a long journal opens with few requests, whatever is missing or damaged among the copies."""

from collections.abc import Iterator

import pytest

from launcher.adapters.segments import SEGMENT_BYTES_MOST, SEGMENT_RECORDS, blocks, segment_key
from launcher.adapters.store.base import ObjectMeta, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.core.contract import SEGMENTS_PREFIX, journal_key
from tests.conformance.journals import NOW, Noted, Started, damage, filled, journal, noted, opened, told

READS_MOST = 30  # to open a journal of up to ten thousand records


class Counting(MemoryStore):
    """Remembers what was read, in order: keys, and prefixes that were listed."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def get(self, key: str, span: Span | None = None) -> bytes:
        self.reads.append(key)
        return super().get(key, span)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        self.reads.append(prefix)
        return super().list(prefix)


def segments(store: Counting) -> list[ObjectMeta]:
    return list(MemoryStore.list(store, SEGMENTS_PREFIX))


def segments_read(store: Counting) -> list[str]:
    return [key for key in store.reads if key.startswith(SEGMENTS_PREFIX)]


def test_a_journal_of_ten_thousand_records_opens_with_few_reads_at_its_worst_length_too() -> None:
    store = Counting()
    writer = opened(store)
    for number in range(2, 10_001):
        writer.append(noted(number), NOW)
        writer.write_due_segments()
        if number in (8_191, 10_000):  # of all lengths up to ten thousand 8,191 needs the most blocks and the longest tail
            store.reads.clear()
            reader = journal(store)
            assert len(reader.read()) == number
            assert len(store.reads) <= READS_MOST
    store.reads.clear()
    assert reader.poll() == []
    assert store.reads == [journal_key(10_001)]


def test_no_length_up_to_ten_thousand_needs_more_reads() -> None:
    for last in range(10_001):
        covered = list(blocks(last, lambda first, end: True))
        tail = last - (covered[-1][1] if covered else 0)
        listing, beyond_the_end = 1, 1
        assert listing + len(covered) + tail + beyond_the_end <= READS_MOST, last
        assert [first for first, _ in covered] == [1, *(end + 1 for _, end in covered[:-1])][: len(covered)]
        assert all(end - first + 1 in SEGMENT_RECORDS for first, end in covered)


def test_each_block_is_written_once_and_a_new_supervisor_writes_none_again() -> None:
    store = Counting()
    writer = opened(store)
    for number in range(2, 131):
        writer.append(noted(number), NOW)
        writer.write_due_segments()
    written = segments(store)
    assert [meta.key for meta in written if meta.key <= segment_key(1, 64)] == [segment_key(1, 16), segment_key(1, 64)]
    assert segment_key(49, 64) not in [meta.key for meta in written], "the wider block that ends there holds it"
    again = opened(store, "sup-b")
    store.reads.clear()
    again.write_due_segments()
    assert store.reads == []
    assert segments(store) == written


def test_a_supervisor_that_finds_a_long_journal_without_segments_writes_only_those_an_opening_needs() -> None:
    store = Counting()
    filled(store, 300).write_due_segments()
    assert [meta.key for meta in segments(store)] == [segment_key(*block) for block in ((1, 256), (257, 272), (273, 288))]


def test_a_block_too_large_for_one_object_is_left_to_narrower_ones() -> None:
    store = Counting()
    writer = opened(store)
    for number in range(2, 65):
        writer.append(Noted(text=f"{number} " + "x" * (SEGMENT_BYTES_MOST // 40)), NOW)
    writer.write_due_segments()
    assert [meta.key for meta in segments(store)] == [segment_key(n, n + 15) for n in (1, 17, 33, 49)]
    assert max(meta.size for meta in segments(store)) <= SEGMENT_BYTES_MOST
    assert journal(store).read() == writer.read()


def test_what_a_damaged_block_lacks_is_read_from_the_narrower_ones_and_from_the_records() -> None:
    store = Counting()
    writer = opened(store)
    for number in range(2, 65):
        writer.append(noted(number), NOW)
        writer.write_due_segments()
    wide = store.get(segment_key(1, 64))
    store.replace(segment_key(1, 64), wide[: len(wide) // 2])
    store.reads.clear()
    assert journal(store).read() == writer.read()
    assert len(store.reads) < 30
    store.delete(segment_key(17, 32))
    assert journal(store).read() == writer.read()


def test_a_segment_that_is_listed_and_gone_costs_only_reads() -> None:
    store = Counting()
    writer = filled(store, 20)
    writer.write_due_segments()
    real_list = segments(store)
    store.delete(segment_key(1, 16))
    store.list = lambda prefix: iter(real_list)  # type: ignore[method-assign]
    assert journal(store).read() == writer.read()


@pytest.mark.parametrize("stranger", ["segments/readme.txt", "segments/1-2.jsonl", "segments/00000002-x.jsonl"])
def test_another_object_under_segments_is_passed_over(stranger: str) -> None:
    store = Counting()
    writer = filled(store, 3)
    store.create(stranger, b"hello")
    assert journal(store).read() == writer.read()
    assert stranger not in store.reads


def test_a_reader_that_has_read_once_reads_no_segment_again_save_those_that_hold_a_damaged_record() -> None:
    store = Counting()
    writer = filled(store, 40)
    writer.write_due_segments()
    reader = journal(store)
    reader.poll()
    store.reads.clear()
    for number in range(41, 49):
        writer.append(noted(number), NOW)
    writer.write_due_segments()
    assert len(reader.poll()) == 8
    assert segments_read(store) == []
    for number in range(49, 66):
        writer.append(noted(number), NOW)
    writer.write_due_segments()
    damage(store, 60)
    store.reads.clear()
    assert told(reader.poll()) == [noted(number) for number in range(49, 66)]
    assert segments_read(store) == [SEGMENTS_PREFIX, segment_key(1, 64)]


def test_a_copy_in_one_segment_that_nobody_vouches_for_does_not_hide_the_true_one_in_another() -> None:
    store, stranger = Counting(), MemoryStore()
    writer = filled(store, 5)
    other = opened(stranger, "sup-z")
    other.append(Noted(text="never in this journal"), NOW)
    other.append(Noted(text="nor this"), NOW)
    other.write_segment(1, 3)
    writer.write_segment(1, 4)
    store.create(segment_key(1, 5), stranger.get(segment_key(1, 3)))
    damage(store, 2)
    assert told(journal(store).read()) == [Started(who="sup-a"), noted(2), noted(3), noted(4), noted(5)]
