"""Which checkpoint a run goes on from, when some of them are bad."""

from dataclasses import replace

import pytest

from launcher.adapters.store.memory import MemoryStore
from launcher.checkpoint import verify
from launcher.checkpoint.restore import NothingValid
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import KeepRule, commit_key
from launcher.errors import StoreUnknown, StoreUnusable
from tests.training import scene


def store_with_two_commits() -> tuple[MemoryStore, Manifest]:
    """Steps 10 and 20 of attempt 1, sealed behind them; gives the newer one."""
    store = MemoryStore()
    writer = scene.committer(store)
    scene.save(writer, step=10)
    newest = scene.save(writer, step=20)
    scene.seal(store, CommitRef(1, 3))
    return store, newest


def flip_a_byte(store: MemoryStore, newest: Manifest) -> None:
    key = scene.key_of(newest, scene.SHARD)
    scene.flip(store, key, 8 * len(store.get(key)) - 3)


def cut_short(store: MemoryStore, newest: Manifest) -> None:
    key = scene.key_of(newest, scene.SHARD)
    store.replace(key, store.get(key)[:-1])


def lengthen(store: MemoryStore, newest: Manifest) -> None:
    key = scene.key_of(newest, scene.SHARD)
    store.replace(key, store.get(key) + b"!")


def lose_a_shard(store: MemoryStore, newest: Manifest) -> None:
    store.delete(scene.key_of(newest, scene.SHARD))


def lose_the_manifest(store: MemoryStore, newest: Manifest) -> None:
    store.delete(commit_key(newest.ref))


def scramble_the_manifest(store: MemoryStore, newest: Manifest) -> None:
    store.replace(commit_key(newest.ref), b"not a manifest")


DAMAGES = {
    flip_a_byte: "tensor model.b",
    cut_short: "cut short",
    lengthen: "longer",
    lose_a_shard: "is missing",
    lose_the_manifest: "manifest is missing",
    scramble_the_manifest: "manifest is garbage",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_bad_checkpoint_is_set_aside_and_the_one_before_it_used(damage):
    store, newest = store_with_two_commits()
    damage(store, newest)

    found, sink = scene.restored(store, newest.ref)

    assert found.manifest.step == 10
    assert sink.files["state.json"] == b'{"step": 10}'
    assert [bad.ref for bad in found.set_aside] == [newest.ref]
    assert DAMAGES[damage] in found.set_aside[0].culprit


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_verify_names_the_culprit(damage):
    store, newest = store_with_two_commits()
    damage(store, newest)

    (culprit,) = verify.verify(store, newest.ref)

    assert DAMAGES[damage] in culprit
    assert verify.verify(store, CommitRef(1, 1)) == []


def test_a_whole_checkpoint_is_restored_as_it_is():
    store, newest = store_with_two_commits()

    found, sink = scene.restored(store, newest.ref)

    assert (found.manifest, found.set_aside) == (newest, ())
    assert {"state.json", scene.SHARD, "metrics.jsonl"} == sink.files.keys()
    assert found.parent.sha256 == manifests.sha256_of(store.get(commit_key(newest.ref)))


def test_ancestors_are_found_across_attempts_whose_manifests_are_gone():
    store, older = store_with_two_commits()
    found, _ = scene.restored(store, older.ref)
    newer = scene.save(scene.committer(store, 2, parent=found.parent), step=30)
    store.delete(commit_key(newer.ref))

    found, _ = scene.restored(store, newer.ref, {3: newer.ref, 2: older.ref, 1: None})

    assert found.manifest == older
    assert [bad.ref for bad in found.set_aside] == [newer.ref]


def test_where_nothing_is_whole_the_error_is_short_and_holds_every_culprit():
    store, newest = store_with_two_commits()
    lose_a_shard(store, newest)
    store.delete(commit_key(CommitRef(1, 1)))

    with pytest.raises(NothingValid, match=r"is whole \(0001-0002: .*missing, and 1 more\)$") as caught:
        scene.restored(store, newest.ref)

    assert [bad.ref for bad in caught.value.set_aside] == [newest.ref, CommitRef(1, 1)]
    assert "manifest is missing" in caught.value.set_aside[1].culprit


def test_a_failed_read_is_retried_and_not_taken_for_damage():
    store, newest = store_with_two_commits()
    flaky = scene.Wrapped(store, before_get=scene.Once(scene.SHARD, StoreUnknown("no answer")))

    found, _ = scene.restored(flaky, newest.ref)

    assert (found.manifest, found.set_aside) == (newest, ())


def forged(store: MemoryStore, of: Manifest, ref: CommitRef) -> None:
    """A well-formed manifest put at a number by hand."""
    store.create(commit_key(ref), manifests.write(replace(of, ref=ref, parent=CommitRef(ref.attempt, ref.commit - 1))))


def test_a_manifest_put_behind_the_seal_by_hand_is_refused():
    store, newest = store_with_two_commits()
    forged(store, newest, CommitRef(1, 4))

    found, _ = scene.restored(store, CommitRef(1, 4))

    assert found.manifest == newest
    assert "after the attempt's seal" in found.set_aside[0].culprit


def test_a_manifest_beyond_what_the_grants_name_is_refused():
    store, newest = store_with_two_commits()
    forged(store, newest, CommitRef(1, 4))
    forged(store, newest, CommitRef(1, 5))

    found, _ = scene.restored(store, CommitRef(1, 5), {2: newest.ref, 1: None})

    assert found.manifest == newest


@pytest.mark.parametrize("change", [{"run": "other"}, {"incarnation": "other"}, {"ref": CommitRef(1, 9)}])
def test_a_manifest_that_is_not_what_its_place_says_is_refused(change):
    store, newest = store_with_two_commits()
    store.replace(commit_key(newest.ref), manifests.write(replace(newest, **change)))

    found, _ = scene.restored(store, newest.ref)

    assert found.manifest.step == 10


def test_an_ancestor_is_refused_where_its_child_was_built_on_another():
    store, newest = store_with_two_commits()
    first = manifests.read(store.get(commit_key(CommitRef(1, 1))))
    store.replace(commit_key(CommitRef(1, 1)), manifests.write(replace(first, step=11)))
    lose_a_shard(store, newest)

    with pytest.raises(NothingValid) as caught:
        scene.restored(store, newest.ref)
    assert "not the manifest that the commit after it was built on" in caught.value.set_aside[1].culprit


def test_a_whole_manifest_by_a_newer_launch_is_never_taken_for_damage():
    store, newest = store_with_two_commits()
    store.replace(commit_key(newest.ref), manifests.write(replace(newest, version=manifests.MANIFEST_VERSION + 1)))

    for read in (scene.restored, verify.verify, verify.fetch_commit):
        with pytest.raises(StoreUnusable, match="newer launch; upgrade this one"):
            read(store, newest.ref)


def test_what_retention_let_go_is_counted_and_not_called_damaged():
    store = MemoryStore()
    writer = scene.committer(store, keep=KeepRule(last=1))
    for step in (10, 20, 30, 40, 50):
        newest = scene.save(writer, step)
        writer.retire()
    for manifest in writer.manifests[-2:]:
        flip_a_byte(store, manifest)

    with pytest.raises(NothingValid, match=r"; 3 older were let go\)$") as caught:
        scene.restored(store, newest.ref)

    assert [bad.ref for bad in caught.value.set_aside] == [CommitRef(1, 5), CommitRef(1, 4)]
