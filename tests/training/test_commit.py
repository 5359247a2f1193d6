"""Commits: whole or absent, numbered without gaps, never beyond a seal; and what retention leaves."""

import pytest

from launcher.adapters.store.base import Chunks
from launcher.adapters.store.memory import MemoryStore
from launcher.checkpoint import verify
from launcher.checkpoint.commit import SealedMet
from launcher.core.checkpoint import rules
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import PINS_PREFIX, KeepRule, commit_key
from launcher.errors import Damaged, StoreUnknown, StoreUnusable
from tests.training import scene


class Killed(BaseException):
    """Stands for the process's end."""


def test_a_save_killed_between_its_files_and_its_manifest_does_not_exist():
    store = MemoryStore()
    writer = scene.committer(scene.Wrapped(store, before=scene.Once("commits/0002", Killed())))
    first = scene.save(writer, step=10)

    with pytest.raises(Killed):
        scene.save(writer, step=20)

    assert any("saves/0002" in meta.key for meta in store.list(""))
    assert scene.commits(store, 1) == [first]


def test_commits_are_chained_by_number_and_digest():
    store = MemoryStore()
    writer = scene.committer(store)
    first, second = scene.save(writer, step=10), scene.save(writer, step=20)

    assert (first.parent, second.parent) == (None, first.ref)
    assert [manifest.ref.commit for manifest in scene.commits(store, 1)] == [1, 2]
    assert scene.curve(store, [first, second]) == [(n, 1 / n) for n in range(1, 21)]


def test_a_failed_save_leaves_no_gap_in_the_numbers_and_no_hole_in_the_curve():
    store = MemoryStore()
    writer = scene.committer(scene.Wrapped(store, before=scene.Once("saves/0002", StoreUnusable("disk full"))))
    first = scene.save(writer, step=10)
    with pytest.raises(StoreUnusable):
        scene.save(writer, step=20)

    third = scene.save(writer, step=30)

    assert third.ref == CommitRef(1, 2)
    assert [step for step, _ in scene.curve(store, [first, third])] == list(range(1, 31))


class Bends(MemoryStore):
    """A store that damages what is created at these keys, as three of the four servers that were tried let it happen."""

    def __init__(self, *keys: str) -> None:
        super().__init__()
        self._bent = keys

    def create(self, key: str, data: Chunks) -> None:
        whole = data if isinstance(data, bytes) else b"".join(data)
        super().create(key, whole[:-9] + b"?" + whole[-8:] if key in self._bent else whole)


def test_a_number_that_was_lost_to_damage_is_passed_over():
    store = Bends(*(commit_key(CommitRef(1, number)) for number in (2, 3)))
    writer = scene.committer(store)
    made = [scene.save(writer, step) for step in (10, 20, 30)]

    assert [manifest.ref.commit for manifest in made] == [1, 4, 5]
    assert [manifest.parent for manifest in made] == [None, made[0].ref, made[1].ref]
    assert scene.curve(store, made) == [(n, 1 / n) for n in range(1, 31)]
    assert scene.restored(store, made[-1].ref)[0].manifest == made[-1]


def test_a_store_that_damages_every_commit_is_told_so():
    store = Bends(*(commit_key(CommitRef(1, number)) for number in range(1, 9)))
    writer = scene.committer(store)
    for step in (10, 20):
        with pytest.raises(Damaged, match="commits/000"):
            scene.save(writer, step)


def test_a_seal_ends_the_commits_of_an_attempt():
    store = MemoryStore()
    writer = scene.committer(store)
    scene.save(writer, step=10)
    scene.seal(store, CommitRef(1, 2))

    for step in (20, 30):
        with pytest.raises(SealedMet, match="attempt 1 was sealed at 0001-0002"):
            scene.save(writer, step=step)


def test_another_writer_of_the_same_attempt_is_not_overwritten():
    store = MemoryStore()
    mine, theirs = scene.committer(store), scene.committer(scene.Wrapped(store))
    first = scene.save(mine, step=10)
    # The other process would write its files under the same save number; they are there already and are not its own.
    with pytest.raises(StoreUnusable, match="is not what this save wrote"):
        scene.save(theirs, step=11)

    assert scene.commits(store, 1) == [first]


@pytest.mark.parametrize("part", ["saves/0001/state", "commits/0001"])
def test_an_answer_that_was_lost_is_settled_by_reading(part):
    store = MemoryStore()
    writer = scene.committer(scene.Wrapped(store, after=scene.Once(part, StoreUnknown("no answer"))))

    manifest = scene.save(writer, step=10)

    assert scene.commits(store, 1) == [manifest]
    assert verify.verify(store, manifest.ref) == []


def test_a_commit_without_an_answer_is_settled_before_the_next_one():
    store = MemoryStore()
    blocked = scene.Once("commits/0001", StoreUnusable("permission denied"))
    writer = scene.committer(scene.Wrapped(store, before=blocked))
    with pytest.raises(StoreUnusable):
        scene.save(writer, step=10)

    second = scene.save(writer, step=20)

    assert second.parent == CommitRef(1, 1)
    assert [manifest.step for manifest in scene.commits(store, 1)] == [10, 20]
    assert [step for step, _ in scene.curve(store, scene.commits(store, 1))] == list(range(1, 21))


def test_retention_deletes_files_but_never_a_manifest_or_a_metric():
    store = MemoryStore()
    writer = scene.committer(store, keep=KeepRule(last=2))
    for step in (10, 20, 30, 40):
        scene.save(writer, step)
        writer.retire()

    assert [bool(verify.verify(store, manifest.ref)) for manifest in scene.commits(store, 1)] == [True, True, False, False]
    assert len(scene.curve(store, scene.commits(store, 1))) == 40


def test_retention_leaves_pins_milestones_and_the_best():
    store = MemoryStore()
    store.create(f"{PINS_PREFIX}0001-0001.json", b"{}")
    writer = scene.committer(store, keep=KeepRule(last=1, best=1, every_steps=30))
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, 2.5), (50, 2.6), (59, 2.7)):
        scene.save(writer, step, loss)
    writer.retire()

    whole = [manifest.step for manifest in scene.commits(store, 1) if not verify.verify(store, manifest.ref)]
    assert whole == [10, 20, 30, 50, 59]


def test_retention_leaves_files_that_a_kept_manifest_names():
    store = MemoryStore()
    writer = scene.committer(store, keep=KeepRule(last=1))
    first = scene.save(writer, step=10)
    unchanged = [entry for entry in first.files if entry.path == scene.SHARD]
    for step in (20, 30, 40):
        writer.publish([scene.sources(step)[1]], scene.draft(step), unchanged=unchanged)
    writer.retire()

    assert verify.verify(store, CommitRef(1, 4)) == []
    assert any("state.json" in culprit for culprit in verify.verify(store, CommitRef(1, 1)))


def test_what_was_let_go_is_not_judged_again(monkeypatch: pytest.MonkeyPatch):
    judged: list[int] = []
    expendable = rules.expendable
    monkeypatch.setattr(rules, "expendable", lambda chain, *rest: (judged.append(len(chain)), expendable(chain, *rest))[1])
    writer = scene.committer(MemoryStore(), keep=KeepRule(last=2))
    for step in range(10, 300, 10):
        scene.save(writer, step)
        writer.retire()
    assert max(judged) == 3, "the two that are kept, and the new one"


@pytest.mark.parametrize("keep", [KeepRule(last=1), KeepRule(last=2, best=2), KeepRule(last=1, best=1, every_steps=30)])
def test_retiring_after_each_save_leaves_what_retiring_once_would(keep: KeepRule):
    losses = (3.0, 1.0, 1.0, 2.5, 0.5, 2.7, 0.9, 0.5, 4.0)

    def left(*, each_time: bool) -> list[str]:
        store = MemoryStore()
        writer = scene.committer(store, keep=keep)
        for step, loss in zip(range(10, 100, 10), losses, strict=True):
            scene.save(writer, step, loss)
            if each_time:
                writer.retire()
        writer.retire()
        return [meta.key for meta in store.list("attempts/")]

    assert left(each_time=True) == left(each_time=False)


def test_retention_clears_what_a_failed_save_left():
    store = MemoryStore()
    writer = scene.committer(scene.Wrapped(store, before=scene.Once("saves/0001/state", StoreUnusable("disk full"))))
    with pytest.raises(StoreUnusable):
        scene.save(writer, step=10)
    scene.save(writer, step=20)
    writer.retire()

    assert not any("saves/0001/" in meta.key for meta in store.list(""))
    assert commit_key(CommitRef(1, 1)) in {meta.key for meta in store.list("")}
