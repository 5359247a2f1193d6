"""A run goes on past a checkpoint that went bad, and what was put there by hand is no history.

Which damage is found, and how it is called, is in tests/training/test_restore.py and tests/cli/test_ckpt.py.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef
from tests.rehearsal.stages import commits, moved, newest, paused, resumed_from, scene_in

pytestmark = pytest.mark.slow


def test_a_run_moved_to_another_home_goes_on_past_a_damaged_checkpoint_and_a_forged_one_and_proves_equal(tmp_path: Path):
    original = scene_in(tmp_path / "original")
    paused(original)
    scene = moved(original, tmp_path / "moved")
    bad = newest(scene)
    whole = next(manifest for manifest in commits(scene) if manifest.ref == bad.parent)
    forged = replace(whole, ref=CommitRef(bad.ref.attempt, bad.ref.commit + 2), step=bad.step + 10, parent=bad.ref)
    scene.commit_path(forged.ref).write_bytes(manifests.write(forged))
    (scene.store / next(file.key for file in bad.files if file.path.startswith("shard"))).unlink()

    ended = scene.launch("resume", scene.store.as_uri(), "-o", "json")

    assert ended.code == 0, scene.said()
    assert ended.json["proof"] == {**ended.json["proof"], "compared": True, "losses_equal": True, "weights_max_abs_delta": 0.0}
    assert ended.json["steps_lost"] == bad.step - whole.step
    assert resumed_from(scene) == whole.ref
    assert f"set aside   checkpoint {bad.ref}" in scene.said()
    assert (scene.home / "index" / "r.json").exists()
