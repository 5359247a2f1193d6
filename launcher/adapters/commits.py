"""What stands at a commit's number: read twice before it is called damaged, since it may have been damaged on the way."""

from collections import OrderedDict

from launcher.adapters.store.base import ObjectStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import Commit, CommitRef
from launcher.core.contract import commit_key
from launcher.errors import Damaged, KeyMissing

_KNOWN_MOST = 1024  # commits of which a process remembers what their bytes say, some MB: a day of one life of an attempt
_known: OrderedDict[bytes, Commit] = OrderedDict()  # whose steps are whole under threads


class UnreadableCommit:
    """A commit whose bytes are not whole. Its number counts; restoring from it will fail and fall back.

    It may have been a seal, and its bytes cannot tell, nor can the lack of files: a listing is a hint. So the run pauses where
    nothing older is there to fall back on. To take it for a seal would be to begin anew without a word, were it a checkpoint.
    """


def read_commit(store: ObjectStore, ref: CommitRef) -> Commit | UnreadableCommit | None:
    """For who goes on whatever stands there; None where the number is free. May raise StoreUnknown."""
    try:
        return whole_commit(store, ref)[0]
    except KeyMissing:
        return None
    except Damaged:
        return UnreadableCommit()


def whole_commit(store: ObjectStore, ref: CommitRef) -> tuple[Commit, bytes]:
    """For who must trust it: with its bytes as stored. Raises KeyMissing, Damaged, StoreUnknown."""
    try:
        return _parsed(store, ref)
    except Damaged:
        return _parsed(store, ref)


def _parsed(store: ObjectStore, ref: CommitRef) -> tuple[Commit, bytes]:
    key = commit_key(ref)
    data = store.get(key)
    try:
        return _said(data), data
    except ValueError as error:
        raise Damaged(key, str(error)) from error


def _said(data: bytes) -> Commit:
    """What these bytes say. A supervisor reads each commit when it appears, and once more to retain what is history."""
    known = _known.get(data)
    if known is None:
        known = manifests.read(data)
        remember(known, data)
    return known


def remember(commit: Commit, data: bytes) -> None:
    """What `data` says, for who reads it in this process: a simulated supervisor shares one with its machines."""
    _known[data] = commit
    if len(_known) > _KNOWN_MOST:
        _known.popitem(last=False)
