"""Reading a checkpoint with its digests: what comes out of here is what was written, or an error that names the culprit.

A read that failed says nothing about the bytes, so it is retried; only bytes that arrived twice and are wrong are damage.
No torch: `launch ckpt verify` runs on a client.
"""

import contextlib
import itertools
from collections.abc import Iterator, Sequence

from launcher.adapters import retry
from launcher.adapters.commits import whole_commit
from launcher.adapters.store.base import Buffer, ObjectStore, ReadsAhead, Span
from launcher.checkpoint import format as layout
from launcher.core.checkpoint.manifest import PIECE_BYTES, Commit, CommitRef, FileEntry, Manifest
from launcher.core.checkpoint.rules import shards_of
from launcher.errors import Damaged, KeyMissing
from launcher.units import Bytes


def fetch_commit(store: ObjectStore, ref: CommitRef) -> tuple[Commit, bytes]:
    """`whole_commit`, waiting out passing failures."""
    return retry.store_calls()(whole_commit, store, ref)


def own_commits(store: ObjectStore, attempt: int, nonce: str) -> list[Manifest]:
    """What an earlier process of this very attempt has committed (`a.py; b.py` under `run:`), by number."""
    found: list[Manifest] = []
    for number in itertools.count(1):
        try:
            commit, _ = fetch_commit(store, CommitRef(attempt, number))
        except KeyMissing:
            break
        except Damaged:
            continue
        if not isinstance(commit, Manifest) or commit.nonce != nonce:
            break  # not ours: the next commit will meet it, and end the process
        found.append(commit)
    return found


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
        for _ in verified(store, (entry,)):
            pass
    except Damaged as error:
        return error.culprit
    return None


def verified_pieces(store: ObjectStore, entry: FileEntry) -> Iterator[bytes]:
    """The bytes of a file, piece by piece, each checked while it is at hand. Raises Damaged.

    An empty file gives one empty piece.
    """
    return (bytes(piece) for _, piece in verified(store, (entry,)))


def verified(store: ObjectStore, entries: Sequence[FileEntry]) -> Iterator[tuple[FileEntry, Buffer]]:
    """As `verified_pieces`, of several files; each piece is valid until the next is asked for.

    Where the store is far away, the next ones are under way meanwhile.
    """
    pieces = [(entry, index) for entry in entries for index in range(max(len(entry.pieces), 1))]
    spans = ((entry.key, _span(entry, index)) for entry, index in pieces)
    with contextlib.ExitStack() as stack:
        ahead: Iterator[Buffer] = iter(())
        if isinstance(store, ReadsAhead) and len(pieces) > 1:
            ahead = stack.enter_context(contextlib.closing(store.read_ahead(spans)))
        for entry, index in pieces:
            yield entry, _piece(store, entry, index, ahead)


def _piece(store: ObjectStore, entry: FileEntry, index: int, ahead: Iterator[Buffer]) -> Buffer:
    """One piece, checked. One that arrives damaged is read a second time: it may have been damaged on the way."""
    with contextlib.suppress(Damaged, KeyMissing):
        data = next(ahead, None)  # None where nothing is read ahead, or no more after a failure
        return _checked(store, entry, index, get(store, entry.key, _span(entry, index)) if data is None else data)
    try:
        data = get(store, entry.key, _span(entry, index))
    except KeyMissing as error:
        raise Damaged(entry.key, f"{entry.path} is missing") from error
    return _checked(store, entry, index, data)


def _span(entry: FileEntry, index: int) -> Span:
    """Where a piece lies; of the last one byte more, which tells a file grown longer."""
    start, end = _bounds(entry, index)
    return Span(start, end + 1 if end == entry.size else end)


def _bounds(entry: FileEntry, index: int) -> tuple[Bytes, Bytes]:
    return index * PIECE_BYTES, min((index + 1) * PIECE_BYTES, entry.size)


def _checked(store: ObjectStore, entry: FileEntry, index: int, data: Buffer) -> Buffer:
    """A piece that is what it should be; an empty file has one empty piece and no digest."""
    start, end = _bounds(entry, index)
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
