"""What is in a checkpoint's files: safetensors for tensors, plain bytes for the rest, and the digests that tell damage.

One flipped bit in a weight is loaded without a word by every common format, so each file carries an XXH3-64 of every 16 MB
piece, of its header, and of every tensor. XXH3 guards against damage, not malice; a whole-file digest could not be checked
by a reader that wants a part.

The layout is plain safetensors, so that the same bytes load elsewhere: the file's name and the `DCP_*` metadata make them
readable by stock `torch.distributed.checkpoint` (HuggingFaceStorageReader). Tensors are ordered by descending element size
and start on a 4096-byte boundary, so every offset is aligned for its dtype and for direct I/O. No torch here: a tensor is a
name, a dtype word, a shape and bytes.
"""

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from launcher.adapters.store.base import Buffer
from launcher.core.checkpoint.manifest import PIECE_BYTES, FileEntry
from launcher.units import Bytes

DATA_ALIGNMENT: Bytes = 4096  # what direct I/O asks for on any disk we know
HEADER_BYTES_MAX: Bytes = 100_000_000  # the safetensors library's own limit; a damaged length must not allocate the machine

# Bytes per element of each safetensors dtype.
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


def shard_name(rank: int) -> str:
    """The name under which stock DCP recognises a shard."""
    return f"shard-{rank + 1:05d}-model-00001-of-00001.safetensors"


def digest(data: Buffer) -> str:
    return xxhash.xxh3_64_hexdigest(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """A contiguous little-endian tensor as bytes."""

    name: str
    dtype: str  # a key of ITEM_BYTES
    shape: tuple[int, ...]
    data: Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to be written. `chunks` may be called again: a retry must send the same bytes."""

    path: str
    chunks: Callable[[], Iterable[Buffer]]
    header: str | None = None
    tensors: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    mode: int = 0o644


def bytes_source(path: str, data: bytes) -> Source:
    return Source(path=path, chunks=lambda: (data,))


def safetensors_source(path: str, tensors: Sequence[NamedTensor], aliases: dict[str, str] | None = None) -> Source:
    """A safetensors file of `tensors`; `aliases` (tied name -> stored name) goes into the manifest, not into the file."""
    ordered = sorted(tensors, key=lambda t: (-ITEM_BYTES[t.dtype], t.name))
    header = _header(ordered)
    return Source(
        path=path,
        chunks=lambda: (header, *(t.data for t in ordered if len(t.data))),
        header=digest(header),
        tensors={t.name: digest(t.data) for t in ordered},
        aliases=aliases or {},
    )


def _header(ordered: Sequence[NamedTensor]) -> bytes:
    offsets = {t.name: {"saved_offsets": [0] * len(t.shape)} for t in ordered}
    table: dict[str, object] = {"__metadata__": {"DCP_VERSION": "1.0", "DCP_SHARDING_INFO": json.dumps(offsets), "format": "pt"}}
    start = 0
    for tensor in ordered:
        table[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, start + len(tensor.data)],
        }
        start += len(tensor.data)
    text = json.dumps(table, separators=(",", ":")).encode()
    padding = -(8 + len(text)) % DATA_ALIGNMENT
    return struct.pack("<Q", len(text) + padding) + text + b" " * padding


class PieceDigests:
    """Digests of a file's pieces, taken as its bytes go by."""

    def __init__(self) -> None:
        self.size: Bytes = 0
        self._done: list[str] = []
        self._hasher = xxhash.xxh3_64()
        self._filled: Bytes = 0

    def passing(self, chunks: Iterable[Buffer]) -> Iterator[memoryview]:
        """The same bytes, not copied, and cut so that no chunk spans two pieces."""
        for chunk in chunks:
            view = memoryview(chunk).cast("B")
            while len(view):
                part = view[: PIECE_BYTES - self._filled]
                view = view[len(part) :]
                self._take(part)
                yield part

    def _take(self, part: memoryview) -> None:
        self._hasher.update(part)
        self.size += len(part)
        self._filled += len(part)
        if self._filled == PIECE_BYTES:
            self._close_piece()

    def _close_piece(self) -> None:
        self._done.append(self._hasher.hexdigest())
        self._hasher.reset()
        self._filled = 0

    def pieces(self) -> tuple[str, ...]:
        """Of all bytes that passed, the last piece being what is left; an empty file has none."""
        last = (self._hasher.hexdigest(),) if self._filled else ()
        return (*self._done, *last)


def file_entry(source: Source, key: str, digests: PieceDigests) -> FileEntry:
    return FileEntry(
        path=source.path,
        key=key,
        size=digests.size,
        pieces=digests.pieces(),
        header=source.header,
        tensors=source.tensors,
        aliases=source.aliases,
        mode=source.mode,
    )


# --- reading ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where a tensor lies: bytes `start` to `end` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: Bytes
    end: Bytes


def header_bytes(prefix: Buffer) -> Bytes:
    """Length of a safetensors header, its own 8-byte prefix included. Raises ValueError for an impossible one."""
    if len(prefix) < 8:
        raise ValueError("shorter than a safetensors header")
    (length,) = struct.unpack("<Q", bytes(prefix[:8]))
    if length > HEADER_BYTES_MAX:
        raise ValueError(f"its header claims {length} bytes")
    return 8 + int(length)


def slots(data: Buffer) -> dict[str, Slot]:
    """The tensors that a safetensors file (or its header alone) names. Raises ValueError where the header is not sound."""
    length = header_bytes(data)
    table = json.loads(bytes(data[8:length]))
    return {name: _slot(name, raw, length) for name, raw in table.items() if name != "__metadata__"}


def _slot(name: str, raw: dict[str, Any], base: Bytes) -> Slot:
    match raw:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]} if dtype in ITEM_BYTES:
            slot = Slot(dtype=dtype, shape=tuple(int(n) for n in shape), start=base + start, end=base + end)
        case _:
            raise ValueError(f"its header does not describe {name!r}")
    num_items = 1
    for length in slot.shape:
        num_items *= length
    if slot.end - slot.start != num_items * ITEM_BYTES[slot.dtype]:
        raise ValueError(f"its header gives {name!r} the wrong length")
    return slot
