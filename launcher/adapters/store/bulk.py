"""Objects too large for one request: sent in parts and read in pieces, several at once, within one budget of memory.

An upload is invisible until it is finished, and finishing it is the create: conditional, and marked like any other. So a writer
that dies in the middle leaves nothing that anybody reads. Its parts are paid for, though, until somebody throws them away:
`RemoteStore` does so before its first upload, `launch rm` with the run, Google and Azure do so by themselves after a week.

A part is sent straight from the chunks that it consists of, and again where it did not arrive; so a failure costs one part, and
nothing is copied of a checkpoint's tensors. What is read goes into slots, buffers that are used in turn. The size of an upload is
not known before its end and providers bound the number of its parts, hence parts grow with their number.

The providers' libraries (s3fs and its like) sign each request and read what its answer says. The bytes go over connections of
our own, on a thread for each request (`wire`), since a library's one thread would encrypt and decrypt all that passes. Measured
with 1 GB by `scripts.benches.store`, over TLS, to a server that costs nothing, as ratios to a bare HTTP client's time
and CPU in turn with it, medians of nine in each of two runs (2026-11-29): up 0.95 and 0.96, CPU 0.89 and 0.90, with 2 MB of
memory; down and verified 1.07 and 1.11, CPU 1.11 and 1.14, with 84 MB. s3fs's own `put` and `get` take more than twice our time,
and 0.6 and 1.4 GB of memory. obstore took half the CPU of s3fs, but it finishes no upload create-only, and hangs after a fork.
"""

import itertools
import mmap
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from launcher.adapters.store.base import Buffer, Span
from launcher.adapters.store.providers.base import Abandoned, Part
from launcher.units import Bytes, Seconds, Utc

SLOT_BYTES: Bytes = 16 * 2**20  # of a part, and of what is read at once: the piece that has a digest of its own
BUDGET_BYTES: Bytes = 80 * 2**20  # of all that is under way of one transfer
NUM_PARTS_MOST = 10_000  # the least that a provider allows
PARTS_PER_SIZE = 700  # parts of one size, before the next is a slot larger
SLOTS_PER_PART_MOST = 4  # and no larger: two such parts take 128 MiB, and ten thousand hold 600 GB
NUM_SLOTS_MIN = 2  # one under way while the next is drawn, however large
GATHERED_BYTES: Bytes = 2**18  # smaller chunks are copied together: to send takes a call for each, and over TLS a record
ABANDONED_AFTER_S: Seconds = 86400.0  # nobody uploads one object for a day

T = TypeVar("T")
R = TypeVar("R")


def part_bytes(number: int) -> Bytes:
    """The size of the part of this number, from 1."""
    return SLOT_BYTES * min(1 + (number - 1) // PARTS_PER_SIZE, SLOTS_PER_PART_MOST)


def size_most() -> Bytes:
    """Of an object in parts."""
    return sum(part_bytes(number) for number in range(1, NUM_PARTS_MOST + 1))


def num_slots(number: int) -> int:
    """How many parts of the size of this one fit the budget."""
    return max(NUM_SLOTS_MIN, BUDGET_BYTES // part_bytes(number))


def at_once(data: bytes | Iterable[Buffer]) -> bytes | Iterator[Buffer]:
    """`data` as one piece where one request may carry it; else all its chunks."""
    if isinstance(data, bytes):
        return data if len(data) <= SLOT_BYTES else iter((data,))
    source = iter(data)
    head: list[Buffer] = []
    size = 0
    for chunk in source:
        head.append(chunk)
        size += len(chunk)
        if size > SLOT_BYTES:
            return _all(head, source)
    return b"".join(head)


def _all(head: list[Buffer], source: Iterator[Buffer]) -> Iterator[Buffer]:
    """Both, letting go of what was handed on."""
    while head:
        yield head.pop(0)
    yield from source


def parts(chunks: Iterable[Buffer]) -> Iterator[Part]:
    """The bytes of `chunks`, which are not nothing, cut into parts."""
    views = _gathered(chunks)
    rest: memoryview | None = next(views)
    start: Bytes = 0
    for number in itertools.count(1):
        data: list[memoryview] = []
        end, most = start, start + part_bytes(number)
        while rest is not None and end < most:
            data.append(rest[: most - end])
            end += len(data[-1])
            rest = rest[len(data[-1]) :] if len(data[-1]) < len(rest) else next(views, None)
        yield Part(number=number, start=start, data=tuple(data), total=end if rest is None else None)
        if rest is None:
            return
        start = end


def _gathered(chunks: Iterable[Buffer]) -> Iterator[memoryview]:
    """The same bytes, of which only what comes in small chunks was copied."""
    small = bytearray()
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        is_small = len(view) < GATHERED_BYTES
        if is_small:
            small += view
        if small and (not is_small or len(small) >= GATHERED_BYTES):
            yield memoryview(small)
            small = bytearray()
        if not is_small:
            yield view
    if small:
        yield memoryview(small)


def sent(chunks: Iterable[Buffer], send: Callable[[Part], R], *, num_at_once: int) -> list[R]:
    """What `send` gave for each part, of which so many may be sent at the same time."""
    return list(in_order(parts(chunks), send, num_under_way=num_slots, num_threads=num_at_once))


def read_ahead(
    wanted: Iterable[tuple[str, Span]], read: Callable[[str, Span, memoryview], Bytes]
) -> Generator[memoryview, None, None]:
    """The bytes of each span, none larger than a slot and one byte, in order; each is valid until the next is asked for.

    `read` fills a buffer and tells how far.
    """
    num = num_slots(1)
    slots = _Slots()

    def filled(job: tuple[str, Span, memoryview]) -> memoryview:
        key, span, slot = job
        return slot[: read(key, span, slot)]

    jobs = ((key, span, slots.take(span.end - span.start, num)) for key, span in wanted)
    return in_order(jobs, filled, num_under_way=lambda _: num, num_threads=num)


def old(uploads: Iterable[Abandoned], now: Utc) -> list[Abandoned]:
    """Those that nobody can still be at work on."""
    return [one for one in uploads if now - one.began_at > ABANDONED_AFTER_S]


def in_order(
    jobs: Iterable[T], work: Callable[[T], R], *, num_under_way: Callable[[int], int], num_threads: int
) -> Generator[R, None, None]:
    """What `work` gives for each job, in order, while the next ones are under way on threads.

    Job number n, from 1, is drawn when fewer than `num_under_way(n)` before it are unfinished or not yet taken. The first failure
    ends all; what runs then is waited for.
    """
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="bulk")
    under_way: deque[Future[R]] = deque()
    source = iter(jobs)
    try:
        for number in itertools.count(1):
            while len(under_way) >= num_under_way(number):
                yield under_way.popleft().result()
            try:
                job = next(source)
            except StopIteration:
                break
            under_way.append(pool.submit(work, job))
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Slots:
    """Buffers that are taken in turn."""

    def __init__(self) -> None:
        self._taken: deque[memoryview] = deque()  # the newest last

    def take(self, size: Bytes, num: int) -> memoryview:
        """The buffer that was taken `num` calls ago, or a new one."""
        slot = memoryview(b"")
        while len(self._taken) >= num:
            slot = self._taken.popleft()
        if len(slot) < size:
            # Common pages: for large ones a machine that has been up for long may have to move others first, which took 0.2 s.
            slot = memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._taken.append(slot)
        return slot[:size]
