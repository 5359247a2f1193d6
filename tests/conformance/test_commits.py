"""What is read at a commit's number is what stands there now, however often it was read before."""

from collections import OrderedDict

import pytest

from launcher.adapters import commits
from launcher.adapters.commits import UnreadableCommit, read_commit
from launcher.adapters.store.memory import MemoryStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Sealed
from launcher.core.contract import commit_key

REF = CommitRef(1, 1)


def sealed(by: str) -> Sealed:
    return Sealed(run="r", incarnation="inc", ref=REF, supervisor=by, nonce="n")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes whose meaning was worked out, in order."""
    seen: list[bytes] = []
    read = manifests.read
    monkeypatch.setattr(manifests, "read", lambda data: seen.append(data) or read(data))
    return seen


def test_a_commit_read_twice_is_worked_out_once(reads: list[bytes]) -> None:
    store = MemoryStore()
    store.create(commit_key(REF), manifests.write(sealed("read twice")))
    assert read_commit(store, REF) == read_commit(store, REF) == sealed("read twice")
    assert len(reads) == 1


def test_a_commit_that_changes_rots_or_goes_is_not_taken_for_the_one_before() -> None:
    store = MemoryStore()
    store.create(commit_key(REF), manifests.write(sealed("a")))
    assert read_commit(store, REF) == sealed("a")
    store.replace(commit_key(REF), manifests.write(sealed("b")))
    assert read_commit(store, REF) == sealed("b")
    store.replace(commit_key(REF), manifests.write(sealed("a"))[:-1])
    assert isinstance(read_commit(store, REF), UnreadableCommit)
    store.delete(commit_key(REF))
    assert read_commit(store, REF) is None


def test_what_is_remembered_is_not_worked_out_until_many_came_after_it(
    reads: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "_KNOWN_MOST", 2)
    monkeypatch.setattr(commits, "_known", OrderedDict())
    store = MemoryStore()
    first = sealed("remembered")
    data = manifests.write(first)
    store.create(commit_key(REF), data)
    commits.remember(first, data)
    assert read_commit(store, REF) is first
    for later in map(sealed, ("one", "two")):
        commits.remember(later, manifests.write(later))
    assert reads == []
    assert read_commit(store, REF) == first
    assert reads == [data]
