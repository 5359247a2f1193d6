"""What the supervisor deletes of sealed attempts, and when it must not."""

from dataclasses import replace

import pytest

from launcher.adapters.store.memory import MemoryStore
from launcher.checkpoint import verify
from launcher.checkpoint.commit import Parent
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import METRICS_FILE
from launcher.core.recipe import CheckpointSpec, Keep
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.retention import Retainer, chain_of, retain
from tests import builders
from tests.training import scene


def sealed_run(store: MemoryStore) -> tuple[RunState, list[Manifest]]:
    """One attempt that committed steps 10 to 50 and is over; of its checkpoints only the newest is to be kept."""
    writer = scene.committer(store)
    made = [scene.save(writer, step) for step in (10, 20, 30, 40, 50)]
    state = builders.training_run(builders.recipe(checkpoint=CheckpointSpec(keep=Keep(last=1))))
    last = made[-1].ref
    return builders.after(state, builders.committed(1, 5, 50), builders.lost(1), builders.sealed(1, last, 50)), made


def granted(state: RunState, parent: CommitRef | None) -> RunState:
    state = builders.after(state, builders.requested(state))
    return builders.after(state, builders.started(2), builders.claimed(2), builders.granted(2, parent))


def trained(state: RunState) -> RunState:
    beat = builders.heartbeat(2, training_s=1.0)
    return builders.after(state, ev.TrainingStarted(at=builders.NOW, attempt=2, heartbeat=beat))


def whole(store: MemoryStore, made: list[Manifest]) -> list[int]:
    return [manifest.step for manifest in made if not verify.verify(store, manifest.ref)]


def flip(store: MemoryStore, manifest: Manifest) -> None:
    key = scene.key_of(manifest, scene.SHARD)
    scene.flip(store, key, 8 * len(store.get(key)) - 3)


def test_only_the_newest_two_outlive_a_rule_that_keeps_one():
    store = MemoryStore()
    state, made = sealed_run(store)
    retain(state, store)
    assert whole(store, made) == [40, 50]


def test_nothing_is_deleted_while_a_restore_may_still_have_to_fall_back():
    store = MemoryStore()
    state, made = sealed_run(store)
    for manifest in made[-2:]:
        flip(store, manifest)
    state = granted(state, made[-1].ref)
    assert retain(state, store) == 0
    assert retain(trained(state), store) == 0  # restored from step 30, of which nothing of its own is durable yet
    assert scene.restored(store, made[-1].ref)[0].manifest.step == 30


def test_two_that_are_all_there_are_kept_whatever_is_missing_of_newer_ones():
    store = MemoryStore()
    state, made = sealed_run(store)
    for manifest in made[-2:]:
        key = scene.key_of(manifest, scene.SHARD)
        store.replace(key, store.get(key)[:-1])
    retain(state, store)
    assert whole(store, made) == [20, 30]


@pytest.mark.parametrize("back_to", [None, CommitRef(1, 2)], ids=["the start", "step 20"])
def test_a_run_that_goes_back_loses_nothing_before_its_new_line_has_a_checkpoint(back_to: CommitRef | None):
    store = MemoryStore()
    state, made = sealed_run(store)
    resumed = ev.RunResumed(at=builders.NOW, recipe=state.recipe, deadline_at=None, branched=True, parent=back_to)
    paused = builders.after(state, ev.RunPaused(at=builders.NOW, exit_code=130, reason="test"))
    state = builders.after(paused, resumed)
    assert retain(state, store) == 0
    assert retain(trained(granted(state, back_to)), store) == 0
    assert whole(store, made) == [10, 20, 30, 40, 50]


def test_the_curve_of_a_line_that_was_left_stays():
    store = MemoryStore()
    state, made = sealed_run(store)
    state = replace(state, branched=True, branch=None)
    scene.save(scene.committer(store, 2), step=10)
    state = builders.after(trained(granted(state, None)), builders.committed(2, 1, 10))
    assert retain(state, store) > 0
    assert whole(store, made) == []
    assert all(store.get(scene.key_of(manifest, METRICS_FILE)) for manifest in made)


def life(store: MemoryStore, number: int, losses: tuple[float, ...], before: list[Manifest]) -> list[Manifest]:
    """One attempt that goes on from the newest of `before` and commits every 10 steps."""
    newest = before[-1] if before else None
    parent = Parent(ref=newest.ref, sha256="", step=newest.step) if newest else None
    writer = scene.committer(store, number, parent=parent)
    at = newest.step if newest else 0
    return [scene.save(writer, at + 10 * (i + 1), loss) for i, loss in enumerate(losses)]


def test_a_retainer_that_saw_the_lives_before_deletes_what_one_would_that_sees_all_at_once():
    """What it remembers is an economy: after each of four lives, and at the end, the same objects are left."""
    rule = builders.recipe(checkpoint=CheckpointSpec(keep=Keep(last=2, best=1, every="60 steps")))
    lives = ((0.9, 0.2, 0.8, 0.7), (0.6, 0.5, 0.4), (0.3, 0.1, 0.5, 0.6, 0.9), (0.8, 0.7))
    store, twin = MemoryStore(), MemoryStore()
    retainer = Retainer(store)
    state, made = builders.new_run(rule), list[Manifest]()
    for number, losses in enumerate(lives, start=1):
        parent = made[-1].ref if made else None
        state = builders.after(state, builders.requested(state), builders.started(number), builders.claimed(number))
        state = builders.after(state, builders.granted(number, parent))
        beat = builders.heartbeat(number, training_s=1.0)
        state = builders.after(state, ev.TrainingStarted(at=builders.NOW, attempt=number, heartbeat=beat))
        life(twin, number, losses, made)
        made = made + life(store, number, losses, made)
        for ref, step in [(m.ref, m.step) for m in made[-len(losses) :]]:
            state = builders.after(state, builders.committed(number, ref.commit, step))
        for _ in range(2):  # while the last life goes on, and when it is over
            assert retainer.retain(state) == retain(state, twin)
            assert [meta.key for meta in store.list("")] == [meta.key for meta in twin.list("")]
            if state.living:
                state = builders.after(state, builders.lost(number), builders.sealed(number, made[-1].ref, made[-1].step))
    assert whole(store, made) == [60, 90, 120, 130, 140]
    assert [m.ref for m in chain_of(state, store)] == [m.ref for m in reversed(made)]
