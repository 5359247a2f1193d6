"""Reading a checkpoint with its digests: what comes out of here is what was written, or an error that names the culprit.

A read that failed says nothing about the bytes, so it is retried; only bytes that arrived twice and are wrong are damage.
No torch: `launch ckpt verify` runs on a client.
"""

import functools
from collections.abc import Callable, Iterator
from typing import TypeVar

from launcher.adapters import retry
from launcher.adapters.commits import whole_commit
from launcher.adapters.store.base import ObjectStore, Span
from launcher.checkpoint import format as layout
from launcher.core.checkpoint.manifest import PIECE_BYTES, Commit, CommitRef, FileEntry, Manifest
from launcher.core.checkpoint.rules import shards_of
from launcher.errors import Damaged, KeyMissing
from launcher.units import Bytes

T = TypeVar("T")


def fetch_commit(store: ObjectStore, ref: CommitRef) -> tuple[Commit, bytes]:
    """`whole_commit`, waiting out passing failures."""
    return retry.store_calls()(whole_commit, store, ref)


def verify(store: ObjectStore, ref: CommitRef) -> list[str]:
    """Everything that is wrong with one checkpoint, each culprit as a sentence; empty where it is whole."""
    try:
        commit, _ = fetch_commit(store, ref)
    except KeyMissing:
        return ["its manifest is missing"]
    except Damaged as error:
        return [f"its manifest is garbage: {error.culprit}"]
    if not isinstance(commit, Manifest):
        return ["a seal stands there, not a manifest"]
    if commit.ref != ref:
        return [f"its manifest says it is {commit.ref}"]
    return [culprit for entry in commit.files if (culprit := file_culprit(store, entry)) is not None]


def is_let_go(store: ObjectStore, manifest: Manifest) -> bool:
    """Whether nothing of it is left, as retention leaves it. The newest commit is never let go, which the caller knows."""
    return not any(_exists(store, entry.key) for entry in shards_of(manifest))


def _exists(store: ObjectStore, key: str) -> bool:
    try:
        get(store, key, Span(0, 1))
    except KeyMissing:
        return False
    return True


def file_culprit(store: ObjectStore, entry: FileEntry) -> str | None:
    """What is wrong with one file; None where it is whole."""
    try:
        for _ in verified_pieces(store, entry):
            pass
    except Damaged as error:
        return error.culprit
    return None


def verified_pieces(store: ObjectStore, entry: FileEntry) -> Iterator[bytes]:
    """The bytes of a file, piece by piece, each checked while it is at hand. Raises Damaged.

    An empty file gives one empty piece.
    """
    for index in range(max(len(entry.pieces), 1)):
        yield _twice(functools.partial(_piece, store, entry, index))


def _piece(store: ObjectStore, entry: FileEntry, index: int) -> bytes:
    """One piece, checked; an empty file has one empty piece and no digest."""
    start, end = index * PIECE_BYTES, min((index + 1) * PIECE_BYTES, entry.size)
    is_last = end == entry.size
    try:
        data = get(store, entry.key, Span(start, end + 1 if is_last else end))  # one byte more tells a file grown longer
    except KeyMissing as error:
        raise Damaged(entry.key, f"{entry.path} is missing") from error
    if len(data) < end - start:
        raise Damaged(entry.key, f"{entry.path} is cut short: {start + len(data)} of {entry.size} bytes")
    if len(data) > end - start:
        raise Damaged(entry.key, f"{entry.path} is longer than its {entry.size} bytes")
    if entry.pieces and layout.digest(data) != entry.pieces[index]:
        hint = _tensor_hint(store, entry, start, end)
        raise Damaged(entry.key, f"{entry.path}: piece {index} (bytes {start}-{end}) differs{hint}")
    return data


def _tensor_hint(store: ObjectStore, entry: FileEntry, start: Bytes, end: Bytes) -> str:
    """Which tensor within a bad piece is the bad one: a person wants to know what was lost."""
    if entry.header is None:
        return ""
    try:
        length = layout.header_bytes(get(store, entry.key, Span(0, 8)))
        header = get(store, entry.key, Span(0, min(length, entry.size)))
        if layout.digest(header) != entry.header:
            return ", in its header"
        slots = layout.slots(header)
    except (ValueError, KeyMissing):
        return ", in its header"
    for name, slot in slots.items():
        overlaps = slot.start < end and slot.end > start
        if overlaps and layout.digest(get(store, entry.key, Span(slot.start, slot.end))) != entry.tensors.get(name):
            return f", in tensor {name}"
    return ""


def get(store: ObjectStore, key: str, span: Span | None = None) -> bytes:
    """`store.get`, waiting out passing failures."""
    return retry.store_calls()(store.get, key, span)


def _twice(read: Callable[[], T]) -> T:
    """A second look at what arrived damaged: it may have been damaged on the way."""
    try:
        return read()
    except Damaged:
        return read()
