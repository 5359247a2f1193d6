"""A process that carries one large object to a store and back: `python -m tests.e2e.carrier URL KEY SIZE`.

Every byte follows from the size, so whoever finds the object can tell whether it is whole. The process tells how far its memory
rose above what it held once it was connected, in bytes: on the way up, on the way down.
"""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.checkpoint import format as layout
from launcher.checkpoint import verify
from launcher.core.checkpoint.manifest import FileEntry
from launcher.units import Bytes

CHUNK_BYTES: Bytes = 3_000_001  # fits no part and no piece
_PATTERN = bytes(range(251)) * (CHUNK_BYTES // 251 + 2)  # 251 is prime: no two parts begin alike


def main(url: str, key: str, size: Bytes) -> None:
    store = open_store(url)
    store.create("warm", b"x")
    up = Rise()
    entry = carried(store, key, size)
    up_bytes = up.measured()
    down = Rise()
    for _ in verify.verified(store, (entry,)):
        pass
    print(up_bytes, down.measured())


def carried(store: ObjectStore, key: str, size: Bytes) -> FileEntry:
    """What a manifest says of the object, which is now there."""
    digests = layout.PieceDigests()
    store.create(key, digests.passing(chunks(size)))
    return layout.file_entry(layout.bytes_source(key, b""), key, digests)


def chunks(size: Bytes) -> Iterator[memoryview]:
    for start in range(0, size, CHUNK_BYTES):
        yield memoryview(_PATTERN)[start % 251 : start % 251 + min(CHUNK_BYTES, size - start)]


def content(size: Bytes) -> bytes:
    return b"".join(chunks(size))


class Rise:
    """How far this process's memory rises from now on (Linux)."""

    def __init__(self) -> None:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # forgets the highest so far
        self._base = _told("VmRSS")

    def measured(self) -> Bytes:
        return _told("VmHWM") - self._base


def _told(name: str) -> Bytes:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
