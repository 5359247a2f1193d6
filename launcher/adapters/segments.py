"""Copies of a journal's records, many to an object: for opening a long journal with few requests, and against damage.

Whoever writes the journal copies each full block of 16 records; four of these become one of 64, and so on. So a journal of any
length is some wide blocks, at most three of each narrower width and a tail of less than 16 single records: at most 30 requests
up to 10,000 records. Each record is copied five times at most, and no block is larger than one request should carry.

A copy proves nothing: `adapters/records` believes it only where the record behind it vouches for it.
"""

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from launcher.adapters.store.base import ObjectStore
from launcher.core.contract import SEGMENTS_PREFIX
from launcher.errors import KeyMissing
from launcher.units import Bytes

SEGMENT_RECORDS = (16, 64, 256, 1024, 4096)  # the widths of a block
SEGMENT_BYTES_MOST: Bytes = 8 * 2**20  # held in memory at once by every reader; wider blocks are left to the narrower ones


def segment_key(first: int, last: int) -> str:
    """One object that holds copies of these records, a line each."""
    return f"{SEGMENTS_PREFIX}{first:08d}-{last:08d}.jsonl"


def blocks(last: int, is_small: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """The first and last numbers of the fewest blocks that hold records 1 to `last`, less the tail that fills none.

    `is_small` says of two such numbers whether that block may be one object; of the narrowest it is not asked.
    """
    first = 1
    while fitting := [first + width - 1 for width in SEGMENT_RECORDS if (first - 1) % width == 0 and first + width - 1 <= last]:
        end = next((wide for wide in reversed(fitting[1:]) if is_small(first, wide)), fitting[0])
        yield first, end
        first = end + 1


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...


Copy = TypeVar("Copy", bound=_Numbered)


class Segments(Generic[Copy]):
    """The copies in a run's segments, as they are asked for: each segment is read once, and only if it can help.

    `parse` gives the copy in a line, None where the line holds none.
    """

    def __init__(self, store: ObjectStore, parse: Callable[[bytes], Copy | None]) -> None:
        self._store = store
        self._parse = parse
        self._unread = sorted(_spans(meta.key for meta in store.list(SEGMENTS_PREFIX)))
        self._copies: dict[int, list[Copy]] = {}
        self.keys = frozenset(segment_key(*span) for span in self._unread)

    def first(self, number: int) -> Copy | None:
        """The first of `copies`: nearly always the only one, and read already with its neighbours."""
        known = self._copies.get(number)
        return known[0] if known else next(self.copies(number), None)

    def copies(self, number: int) -> Iterator[Copy]:
        """What may be copies of a record; of the segments that hold it the furthest reaching is read first."""
        yield from tuple(self._copies.get(number, ()))
        while around := [span for span in self._unread if span[0] <= number <= span[1]]:
            widest = max(around, key=lambda span: (span[1], -span[0]))
            self._unread.remove(widest)
            yield from (copy for copy in self._read(*widest) if copy.number == number)

    def _read(self, first: int, last: int) -> list[Copy]:
        """The copies of one segment that none before it held."""
        try:
            lines = self._store.get(segment_key(first, last)).split(b"\n")
        except KeyMissing:
            return []
        new = []
        for copy in map(self._parse, lines):
            if copy is not None and copy not in (held := self._copies.setdefault(copy.number, [])):
                held.append(copy)
                new.append(copy)
        return new


def _spans(keys: Iterator[str]) -> Iterator[tuple[int, int]]:
    """The numbers in the names of segments; another object among them is none."""
    for key in keys:
        first, _, last = key.removeprefix(SEGMENTS_PREFIX).removesuffix(".jsonl").partition("-")
        if first.isdecimal() and last.isdecimal() and segment_key(int(first), int(last)) == key:
            yield int(first), int(last)
