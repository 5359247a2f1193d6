"""Objects in parts: what reaches the provider, what comes of failures on the way, and that memory has a bound."""

import asyncio
import io
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from launcher.adapters.store import bulk
from launcher.adapters.store.base import Span
from launcher.adapters.store.providers.base import Part, Place
from launcher.adapters.store.providers.body import Body
from launcher.adapters.store.remote import RemoteStore
from launcher.checkpoint import format as layout
from launcher.checkpoint import verify
from launcher.core.checkpoint.manifest import FileEntry
from launcher.errors import Damaged, KeyExists, KeyMissing, StoreUnknown, StoreUnusable
from tests.conformance.provider import Coded, MemoryProvider, Upload, failing, silence, times

MIB = 2**20
LOST = (ConnectionResetError, "no answer")
DATA = random.Random(7).randbytes(47)  # five parts of ten, the last one short


def store_over(provider: MemoryProvider, *, call_s: float = 20.0, deadline: float = 60.0) -> RemoteStore:
    return RemoteStore("s3://bkt/runs", provider, call_s=call_s, deadline=deadline)


def stream(data: bytes = DATA, size: int = 7) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.fixture
def slots_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SLOT_BYTES", 10)
    monkeypatch.setattr(bulk, "BUDGET_BYTES", 30)
    monkeypatch.setattr(bulk, "GATHERED_BYTES", 5)


# --- the arithmetic of parts --------------------------------------------------------------------------------------------------


def test_half_a_terabyte_fits_into_the_parts_that_every_provider_allows() -> None:
    sizes = [bulk.part_bytes(number) for number in range(1, bulk.NUM_PARTS_MOST + 1)]
    assert len(sizes) <= 10_000
    assert sum(sizes) >= 500 * 2**30
    assert sizes == sorted(sizes)
    assert min(sizes) >= 5 * MIB, "Amazon takes no smaller one, the last excepted"
    assert all(size % (256 * 1024) == 0 for size in sizes), "Google wants multiples of 256 KiB"


def test_slots_take_80_mib_and_128_at_most_however_large_the_object() -> None:
    sizes_and_slots = {(bulk.part_bytes(number), bulk.num_slots(number)) for number in range(1, bulk.NUM_PARTS_MOST + 1)}
    assert all(num >= 2 for _, num in sizes_and_slots), "one is filled while another is sent"
    assert max(size * num for size, num in sizes_and_slots) <= 128 * MIB
    assert bulk.num_slots(1) * bulk.part_bytes(1) <= 80 * MIB


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 40, 41, 47, 60, 100, 101, 250])
@pytest.mark.parametrize("chunk", [1, 3, 5, 10, 13, 1000])
def test_parts_are_the_bytes_in_order_and_only_the_last_tells_their_number(
    size: int, chunk: int, slots_of_ten: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PARTS_PER_SIZE", 4)  # four of ten, four of twenty, then of thirty
    data = random.Random(size).randbytes(size)
    seen = [(part.number, part.start, b"".join(part.data), part.total) for part in bulk.parts(stream(data, chunk))]
    assert b"".join(sent for _, _, sent, _ in seen) == data
    assert [number for number, _, _, _ in seen] == list(range(1, len(seen) + 1))
    assert all(len(sent) == bulk.part_bytes(number) for number, _, sent, _ in seen[:-1])
    assert [start for _, start, _, _ in seen] == [sum(len(sent) for _, _, sent, _ in seen[:i]) for i in range(len(seen))]
    assert [total for _, _, _, total in seen] == [None] * (len(seen) - 1) + [size]


def test_parts_lie_where_their_chunks_are_and_only_small_ones_are_gathered(slots_of_ten: None) -> None:
    chunks = [b"ab", b"cde", b"fgh", bytes(24), b"", b"i", bytearray(5)]
    views = [view for part in bulk.parts(chunks) for view in part.data]
    assert [bytes(view) for view in views] == [b"abcde", b"fgh", bytes(2), bytes(10), bytes(10), bytes(2), b"i", bytes(5)]
    assert [view.obj is chunks[3] for view in views] == [False, False, True, True, True, True, False, False]
    assert views[-1].obj is chunks[-1]


@pytest.mark.parametrize("size", [4, 30])
def test_no_part_changes_while_it_is_under_way(size: int, slots_of_ten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is looked at only once as many are under way as may be."""
    monkeypatch.setattr(bulk, "PARTS_PER_SIZE", 6)
    data = random.Random(1).randbytes(2 * 3 * 10)
    together = threading.Barrier(3, timeout=20)

    def send(part: Part) -> bytes:
        together.wait()
        return b"".join(part.data)

    assert b"".join(bulk.sent(stream(data, size), send, num_at_once=3)) == data


def test_no_more_jobs_are_drawn_than_may_be_under_way() -> None:
    drawn: list[int] = []
    results = bulk.in_order((drawn.append(n) or n for n in range(20)), lambda n: n, num_under_way=lambda _: 3, num_threads=3)
    for taken, result in enumerate(results, start=1):
        assert result == taken - 1
        assert len(drawn) <= taken + 2


def test_the_first_failure_ends_all() -> None:
    drawn: list[int] = []

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    results = bulk.in_order((drawn.append(n) or n for n in range(1000)), work, num_under_way=lambda _: 4, num_threads=2)
    with pytest.raises(ValueError, match="the third"):
        list(results)
    assert len(drawn) < 10


def test_a_body_is_read_in_place_and_again_from_anywhere() -> None:
    data = bytearray(b"0123456789")
    view = memoryview(data)
    body = Body((view[:6], view[6:]))
    assert (body.read(4), body.tell(), body.read(), body.read()) == (b"0123", 4, b"456789", b"")
    assert [body.seek(2), body.seek(3, io.SEEK_CUR), body.seek(-1, io.SEEK_END), body.seek(99)] == [2, 5, 9, 10]
    body.seek(0)
    data[0] = ord("x")
    assert body.read() == b"x123456789", "nothing was copied"


# --- uploads ------------------------------------------------------------------------------------------------------------------


def test_what_fits_one_request_takes_one(slots_of_ten: None) -> None:
    provider = MemoryProvider()
    store_over(provider).create("a", stream(DATA[:10]))
    assert provider.requests == ["connect", "create"]


@pytest.mark.parametrize("chunks", [DATA, list(stream()), [memoryview(DATA)], [b"", DATA[:1], b"", DATA[1:], b""]])
def test_what_is_larger_goes_in_parts(chunks: Any, slots_of_ten: None) -> None:
    provider = MemoryProvider()
    store = store_over(provider)
    store.create("a", chunks)
    assert store.get("a") == DATA
    assert provider.requests[:4] == ["connect", "abandoned", "stamp", "begin"]
    assert provider.requests[4:9] == ["send"] * 5
    assert provider.requests[9] == "finish"
    assert provider.uploads == {}


def test_only_the_part_that_failed_is_sent_again(slots_of_ten: None) -> None:
    provider = MemoryProvider(after=times(2, "send", failing(*LOST)))
    store = store_over(provider)
    store.create("a", stream())
    assert store.get("a") == DATA
    assert provider.requests.count("send") == 5 + 2
    assert provider.requests.count("begin") == 1


def test_an_upload_that_nobody_heard_begin_is_begun_anew_and_left_to_be_swept(slots_of_ten: None) -> None:
    provider = MemoryProvider(after=times(1, "begin", failing(*LOST)))
    store = store_over(provider)
    store.create("a", stream())
    assert store.get("a") == DATA
    assert len(provider.uploads) == 1
    store.abandon_uploads()
    assert provider.uploads == {}


def test_an_upload_whose_last_answer_was_lost_is_ours(slots_of_ten: None) -> None:
    provider = MemoryProvider(after=times(1, "finish", failing(*LOST)))
    store = store_over(provider)
    store.create("a", stream())
    assert store.get("a") == DATA
    assert provider.requests[-4:-1] == ["finish", "finish", "stamp"]


def test_an_upload_to_a_taken_key_is_refused_before_anything_is_sent(slots_of_ten: None) -> None:
    provider = MemoryProvider()
    store = store_over(provider)
    store.create("a", b"first")
    with pytest.raises(KeyExists):
        store.create("a", stream())
    assert "send" not in provider.requests


def test_an_upload_whose_key_is_taken_meanwhile_is_refused_and_thrown_away(slots_of_ten: None) -> None:
    provider = MemoryProvider()
    store = store_over(provider)
    provider.before = times(1, "finish", lambda: provider.objects.update({"runs/a": (b"first", "another's")}))
    with pytest.raises(KeyExists):
        store.create("a", stream())
    assert store.get("a") == b"first"
    assert provider.uploads == {}


def test_a_source_that_fails_in_the_middle_leaves_nothing(slots_of_ten: None) -> None:
    def source() -> Iterator[bytes]:
        yield DATA
        raise FileExistsError("of the source")

    provider = MemoryProvider()
    store = store_over(provider)
    with pytest.raises(FileExistsError, match="of the source"):
        store.create("a", source())
    assert provider.uploads == {}
    assert list(store.list("")) == []


@pytest.mark.parametrize("request_name", ["begin", "send", "finish"])
def test_silence_ends_an_upload_at_the_deadline_and_shows_nothing(request_name: str, slots_of_ten: None) -> None:
    provider = MemoryProvider(before=times(99, request_name, lambda: silence))
    store = store_over(provider, call_s=0.05, deadline=0.0)
    with pytest.raises(StoreUnknown):
        store.create("a", stream())
    assert provider.objects == {}
    assert provider.uploads == {}


def test_an_upload_that_another_threw_away_has_no_answer_and_is_no_missing_key(slots_of_ten: None) -> None:
    provider = MemoryProvider()
    provider.before = times(1, "send", provider.uploads.clear)
    with pytest.raises(StoreUnknown, match="thrown its upload away"):
        store_over(provider).create("a", stream())


def test_abandoned_uploads_of_this_place_are_swept_before_the_first_of_a_writer(slots_of_ten: None) -> None:
    day = 86400.0
    left = {
        "old": Upload(Place("bkt", "runs/x"), time.time() - 1.1 * day, "m"),
        "young": Upload(Place("bkt", "runs/y"), time.time() - 0.9 * day, "m"),
        "elsewhere": Upload(Place("bkt", "other/x"), time.time() - 9 * day, "m"),
    }
    provider = MemoryProvider(uploads=dict(left))
    store = store_over(provider)
    store.create("small", b"x")
    assert provider.uploads == left, "a writer of small things asks for none"
    store.create("a", stream())
    store.create("b", stream())
    assert set(provider.uploads) == {"young", "elsewhere"}
    assert provider.requests.count("abandoned") == 1


def test_uploads_that_nobody_is_at_work_on_are_told_and_swept_without_a_writer(slots_of_ten: None) -> None:
    began = {"runs/x": 1.1, "runs/y": 0.9, "other/x": 9.0}
    provider = MemoryProvider(
        uploads={name: Upload(Place("bkt", name), time.time() - days * 86400.0, "m") for name, days in began.items()}
    )
    store = store_over(provider)
    assert store.abandoned_uploads() == ("x",)
    store.sweep_uploads()
    assert set(provider.uploads) == {"runs/y", "other/x"}


def test_what_is_left_of_uploads_goes_with_the_place_however_young(slots_of_ten: None) -> None:
    left = {name: Upload(Place("bkt", name), time.time(), "m") for name in ("runs/x", "runs/y", "other/x")}
    provider = MemoryProvider(uploads=dict(left))
    store_over(provider).abandon_uploads()
    assert set(provider.uploads) == {"other/x"}


def test_what_no_number_of_parts_holds_is_refused_by_name(slots_of_ten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "NUM_PARTS_MOST", 4)
    provider = MemoryProvider()
    with pytest.raises(StoreUnusable, match=r"s3://bkt/runs/a is larger than 40 B, .*split it"):
        store_over(provider).create("a", stream())
    assert provider.requests.count("send") == 4
    assert provider.uploads == {}


def test_a_writer_that_may_not_list_uploads_writes_all_the_same(slots_of_ten: None) -> None:
    provider = MemoryProvider(before=times(9, "abandoned", failing(Coded, "AccessDenied")))
    store = store_over(provider)
    store.create("a", stream())
    assert store.get("a") == DATA


# --- reading ahead ------------------------------------------------------------------------------------------------------------


def pieces(key: str, size: int) -> list[tuple[str, Span]]:
    return [(key, Span(start, start + 10)) for start in range(0, size, 10)]


def test_spans_come_in_order_across_objects_and_are_cut_at_the_end(slots_of_ten: None) -> None:
    store = store_over(MemoryProvider())
    store.create("a", DATA)
    store.create("b", b"")
    wanted = [*pieces("a", 47), ("b", Span(0, 1)), ("a", Span(40, 51)), ("a", Span(99, 100)), ("a", Span(3, 4))]
    found = [bytes(data) for data in store.read_ahead(wanted)]
    assert found == [*stream(DATA, 10), b"", DATA[40:], b"", DATA[3:4]]


def test_several_reads_are_under_way_at_once_and_no_more_than_there_are_slots(slots_of_ten: None) -> None:
    waiting = asyncio.Semaphore(0)
    num_waiting, most = 0, 0

    async def until_three_wait() -> None:
        nonlocal num_waiting, most
        num_waiting += 1
        most = max(most, num_waiting)
        if num_waiting == 3:
            for _ in range(100):
                waiting.release()
        await waiting.acquire()
        num_waiting -= 1

    provider = MemoryProvider()
    store = store_over(provider)
    store.create("a", DATA * 4)
    provider.before = times(99, "read", lambda: until_three_wait)
    assert b"".join(bytes(data) for data in store.read_ahead(pieces("a", len(DATA) * 4))) == DATA * 4
    assert most == 3


def test_a_read_that_fails_in_passing_is_repeated(slots_of_ten: None) -> None:
    provider = MemoryProvider(after=times(3, "read", failing(*LOST)))
    store = store_over(provider)
    store.create("a", DATA)
    assert b"".join(bytes(data) for data in store.read_ahead(pieces("a", 47))) == DATA


def test_a_missing_key_ends_what_is_read_ahead(slots_of_ten: None) -> None:
    store = store_over(MemoryProvider())
    store.create("a", DATA)
    ahead = store.read_ahead([("a", Span(0, 5)), ("nothing", Span(0, 5)), ("a", Span(5, 9))])
    assert bytes(next(ahead)) == DATA[:5]
    with pytest.raises(KeyMissing):
        next(ahead)


# --- checked while read -------------------------------------------------------------------------------------------------------


class Bending(MemoryProvider):
    """Flips a bit in what it answers to reads that hold the byte at `bent_at`, as often as told."""

    bent_at = 25
    num_times = 0

    async def read(self, fs: Any, place: Place, start: int, end: int) -> bytes:
        data = bytearray(await super().read(fs, place, start, end))
        if self.num_times and start <= self.bent_at < start + len(data):
            self.num_times -= 1
            data[self.bent_at - start] ^= 1
        return bytes(data)


@pytest.fixture
def bending(slots_of_ten: None, monkeypatch: pytest.MonkeyPatch) -> Bending:
    for module in (verify, layout):
        monkeypatch.setattr(module, "PIECE_BYTES", 10)
    return Bending()


def uploaded(store: RemoteStore, key: str = "a") -> FileEntry:
    digests = layout.PieceDigests()
    store.create(key, digests.passing(stream()))
    return layout.file_entry(layout.bytes_source(f"{key}.bin", DATA), key, digests)


def test_what_was_uploaded_is_what_was_digested(bending: Bending) -> None:
    store = store_over(bending)
    entries = [uploaded(store, key) for key in ("a", "b")]
    read: dict[str, bytes] = {"a.bin": b"", "b.bin": b""}
    for entry, piece in verify.verified(store, entries):
        read[entry.path] += piece
    assert read == {"a.bin": DATA, "b.bin": DATA}


def test_a_piece_damaged_on_its_way_is_read_once_more_by_itself(bending: Bending) -> None:
    store = store_over(bending)
    entry = uploaded(store)
    bending.num_times = 1
    bending.requests.clear()
    assert b"".join(verify.verified_pieces(store, entry)) == DATA
    assert bending.requests.count("read") == 5 + 1


def test_a_piece_damaged_for_good_is_named(bending: Bending) -> None:
    store = store_over(bending)
    entry = uploaded(store)
    bending.num_times = 99
    with pytest.raises(Damaged, match=r"a\.bin: piece 2 \(bytes 20-30\) differs"):
        list(verify.verified(store, (entry,)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda objects: objects.pop("runs/a"), "is missing"),
        (lambda objects: objects.update({"runs/a": (DATA[:-1], None)}), "cut short: 46 of 47"),
        (lambda objects: objects.update({"runs/a": (DATA[:12], None)}), "cut short: 12 of 47"),
        (lambda objects: objects.update({"runs/a": (DATA + b"!", None)}), "longer than its 47"),
    ],
)
def test_a_file_that_is_gone_shorter_or_longer_is_named(bending: Bending, change: Any, says: str) -> None:
    store = store_over(bending)
    entries = [uploaded(store, "b"), uploaded(store)]
    change(bending.objects)
    with pytest.raises(Damaged, match=says) as damage:
        list(verify.verified(store, entries))
    assert damage.value.key == "a"
