"""From which checkpoint to go on: the grant's parent, else its newest valid ancestor; each bad one is set aside and said.

History is the chain of grants, so only ancestors of the granted parent count, never whatever lies in the store. A manifest names
its parent and that one's SHA-256; where the manifest itself is gone, the chain is still known: the commit numbers below it,
then the parent with which that attempt was granted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from launcher.adapters.store.base import Buffer, ObjectStore
from launcher.checkpoint import verify
from launcher.checkpoint.commit import Parent
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, FileEntry, Grants, Manifest, SetAside
from launcher.core.contract import commit_key
from launcher.errors import Damaged, KeyMissing, StoreError


class NothingValid(StoreError):
    """The grant names a parent, and neither it nor any ancestor is whole. It tells of the newest; `launch ckpt verify` of all."""

    def __init__(self, set_aside: tuple[SetAside, ...], num_let_go: int) -> None:
        newest, num_more = set_aside[0], len(set_aside) - 1
        what = f"{newest.ref}: {newest.culprit}{f', and {num_more} more' if num_more else ''}"
        older = f"; {num_let_go} older {'was' if num_let_go == 1 else 'were'} let go" if num_let_go else ""
        super().__init__(f"no checkpoint of this run is whole ({what}{older})")
        self.set_aside = set_aside


class Sink(Protocol):
    """Where restored files go. `clear` forgets all that came before: the next candidate starts anew."""

    def clear(self) -> None: ...

    def write(self, entry: FileEntry, piece: Buffer) -> None:
        """The next piece of a file, valid for this call; an empty file gets one empty piece."""
        ...


class MemoryFiles:
    """Restored files as bytes by path."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def clear(self) -> None:
        self.files.clear()

    def write(self, entry: FileEntry, piece: Buffer) -> None:
        self.files.setdefault(entry.path, bytearray()).extend(piece)


class WatchedFiles(MemoryFiles):
    """Calls `moved` for each piece that arrives."""

    def __init__(self, moved: Callable[[], None]) -> None:
        super().__init__()
        self._moved = moved

    def write(self, entry: FileEntry, piece: Buffer) -> None:
        super().write(entry, piece)
        self._moved()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The checkpoint that training goes on from; its files are in the sink."""

    manifest: Manifest
    sha256: str
    set_aside: tuple[SetAside, ...]

    @property
    def parent(self) -> Parent:
        return Parent(ref=self.manifest.ref, sha256=self.sha256, step=self.manifest.step)


def restore(store: ObjectStore, *, run: str, incarnation: str, parent: CommitRef, grants: Grants, sink: Sink) -> Restored:
    """Fetch `parent`, or its newest valid ancestor, into `sink`, every digest checked on the way.

    Raises NothingValid, or StoreUnknown where the store gave no answer: that is never taken for damage. Nor is an ancestor that
    retention let go: it is passed over.
    """
    set_aside: list[SetAside] = []
    num_let_go = 0
    ref: CommitRef | None = parent
    sha256: str | None = None
    while ref is not None:
        manifest: Manifest | None = None
        sink.clear()
        try:
            manifest, found = _trusted(store, ref, run, incarnation, sha256, grants)
            _fetch(store, manifest, sink)
            return Restored(manifest=manifest, sha256=found, set_aside=tuple(set_aside))
        except Damaged as error:
            if manifest is not None and ref != parent and verify.is_let_go(store, manifest):
                num_let_go += 1
            else:
                set_aside.append(SetAside(ref=ref, culprit=error.culprit))
        ref, sha256 = manifests.before(ref, manifest, grants), manifest.parent_sha256 if manifest else None
    raise NothingValid(tuple(set_aside), num_let_go)


def _fetch(store: ObjectStore, manifest: Manifest, sink: Sink) -> None:
    for entry, piece in verify.verified(store, manifest.files):
        sink.write(entry, piece)


def _trusted(
    store: ObjectStore, ref: CommitRef, run: str, incarnation: str, sha256: str | None, grants: Grants
) -> tuple[Manifest, str]:
    """The manifest at `ref` and its SHA-256. Raises Damaged for one that is not what its place says, or came after the seal."""
    key = commit_key(ref)
    try:
        commit, data = verify.fetch_commit(store, ref)
    except KeyMissing as error:
        raise Damaged(key, "its manifest is missing") from error
    except Damaged as error:
        raise Damaged(key, f"its manifest is garbage: {error.culprit}") from error
    if not isinstance(commit, Manifest):
        raise Damaged(key, "a seal stands there, not a manifest")
    if (commit.ref, commit.run, commit.incarnation) != (ref, run, incarnation):
        raise Damaged(key, f"its manifest is of {commit.ref} of run {commit.run} ({commit.incarnation})")
    found = manifests.sha256_of(data)
    if sha256 not in (None, found):
        raise Damaged(key, "it is not the manifest that the commit after it was built on")
    if _is_after_seal(store, commit, grants):
        raise Damaged(key, "its manifest came after the attempt's seal")
    return commit, found


def _is_after_seal(store: ObjectStore, manifest: Manifest, grants: Grants) -> bool:
    """An attempt's commits end at its seal; a manifest put behind it by hand is no history.

    What follows an attempt was granted its last commit, so the grants tell; and the number before must not be the seal.
    """
    ref = manifest.ref
    granted = [parent.commit for parent in grants.values() if parent is not None and parent.attempt == ref.attempt]
    if granted and ref.commit > max(granted):
        return True
    if ref.commit == 1:
        return False
    try:
        before, _ = verify.fetch_commit(store, CommitRef(ref.attempt, ref.commit - 1))
    except (KeyMissing, Damaged):
        return False  # an older manifest lost to damage says nothing about this one
    return not isinstance(before, Manifest)
