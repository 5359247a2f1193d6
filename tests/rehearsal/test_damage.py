"""A checkpoint that went bad is named and passed over, and what was put there by hand is no history."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.checkpoint.restore import MemoryFiles, restore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef
from scripts.drills.scene import Scene
from tests.conftest import on_its_own
from tests.rehearsal.stages import moved, newest, paused, resumed_from, scene_in, state_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One run, paused in the middle; the tests hurt copies of it."""
    folder = tmp_path_factory.mktemp("paused")
    with on_its_own(folder):
        scene = scene_in(folder / "scene")
        paused(scene)
        yield scene


def shard_of(scene: Scene) -> Path:
    return scene.store / next(f.key for f in newest(scene).files if f.path.startswith("shard"))


def flip_a_byte(scene: Scene) -> None:
    data = bytearray(shard_of(scene).read_bytes())
    data[-1] ^= 1
    shard_of(scene).write_bytes(data)


def cut_short(scene: Scene) -> None:
    shard_of(scene).write_bytes(shard_of(scene).read_bytes()[:-7])


def lose_a_shard(scene: Scene) -> None:
    shard_of(scene).unlink()


def lose_the_manifest(scene: Scene) -> None:
    scene.commit_path(newest(scene).ref).unlink()


def garble_the_manifest(scene: Scene) -> None:
    scene.commit_path(newest(scene).ref).write_bytes(b"{ not what it was")


DAMAGES = {
    flip_a_byte: "differs, in tensor",
    cut_short: "cut short",
    lose_a_shard: "missing",
    lose_the_manifest: "manifest is missing",
    garble_the_manifest: "manifest is garbage",
}


@pytest.mark.parametrize(("damage", "word"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_one_before_a_damaged_checkpoint_is_used_and_the_culprit_named(
    damage: Callable[[Scene], None], word: str, original: Scene, tmp_path: Path
):
    scene = moved(original, tmp_path / "moved")
    bad = newest(scene)
    damage(scene)

    verdict = scene.launch("ckpt", "verify", scene.store.as_uri(), "-o", "json")
    assert verdict.code == 6
    first = verdict.json["checkpoints"][0]
    assert first["ref"] == str(bad.ref)
    assert word in " ".join(first["culprits"])

    restored = restored_in(scene, bad.ref)
    assert restored.manifest.ref == bad.parent
    assert restored.set_aside[0].ref == bad.ref


def restored_in(scene: Scene, ref: CommitRef):
    grants = {number: attempt.parent for number, attempt in state_of(scene).attempts.items()}
    incarnation = scene.history().incarnation
    return restore(scene.found().store, run=scene.run, incarnation=incarnation, parent=ref, grants=grants, sink=MemoryFiles())


def test_a_run_goes_on_past_a_damaged_checkpoint_and_proves_equal(original: Scene, tmp_path: Path):
    scene = moved(original, tmp_path / "moved")
    bad = newest(scene)
    lose_a_shard(scene)

    ended = scene.launch("resume", scene.store.as_uri(), "-o", "json")

    assert ended.code == 0, scene.said()
    assert ended.json["proof"] == {**ended.json["proof"], "compared": True, "losses_equal": True, "weights_max_abs_delta": 0.0}
    assert resumed_from(scene) == bad.parent
    assert f"set aside   checkpoint {bad.ref}" in scene.said()


def test_a_run_moved_to_another_home_resumes_by_its_store_url_past_a_manifest_put_there_by_hand(original: Scene, tmp_path: Path):
    scene = moved(original, tmp_path / "moved")
    true = newest(scene)
    forged = replace(true, ref=CommitRef(true.ref.attempt, true.ref.commit + 2), step=true.step + 10, parent=true.ref)
    scene.commit_path(forged.ref).write_bytes(manifests.write(forged))

    ended = scene.launch("resume", scene.store.as_uri(), "-o", "json")

    assert ended.code == 0, scene.said()
    assert (ended.json["proof"]["losses_equal"], ended.json["steps_lost"]) == (True, 0)
    assert resumed_from(scene) == true.ref
    assert (scene.home / "index" / "r.json").exists()
