"""Each checker of the drills was seen to find what it looks for."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.core.checkpoint.manifest import CommitRef
from launcher.retention import chain_of
from scripts.drills import checks
from scripts.drills.scene import MARK, Answer, Scene
from tests.conftest import on_its_own

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="finds strays in /proc")]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Answer]]:
    """A run of one attempt that ended well. Every test puts back what it breaks."""
    folder = tmp_path_factory.mktemp("ended")
    with on_its_own(folder):
        scene = Scene(folder=folder, run="r")
        yield scene, scene.launch("train", "tiny", "-n", "r", "-o", "json")


def test_a_run_that_ended_well_has_no_violations(ended: tuple[Scene, Answer]):
    assert checks.violations(*ended) == []


def test_a_bad_ending_is_found(ended: tuple[Scene, Answer]):
    assert checks.violations(ended[0], Answer(code=70, text="")) == ["the last command ended with 70"]


def test_a_stray_is_found_and_ended(ended: tuple[Scene, Answer], monkeypatch: pytest.MonkeyPatch):
    scene, last = ended
    monkeypatch.setattr("scripts.drills.scene.GRACE_S", 0.1)
    with subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: scene.mark}, start_new_session=True) as stray:
        found = checks.violations(scene, last)
        stray.kill()
    assert found == [f"process {stray.pid} outlived the run"]


def test_an_instance_without_an_end_is_found(ended: tuple[Scene, Answer]):
    scene, last = ended
    with Without(scene.instances()[0].path / "ended.json"):
        assert any("never written down" in sentence for sentence in checks.violations(scene, last))


def test_a_damaged_checkpoint_is_found(ended: tuple[Scene, Answer]):
    scene, last = ended
    history = scene.history()
    newest = next(chain_of(history.state, history.store))
    shard = next(file.key for file in newest.files if file.path.startswith("shard"))
    with Without(scene.store / shard):
        found = checks.violations(scene, last)
    assert any(sentence.startswith(f"checkpoint {newest.ref}") for sentence in found)
    assert any("ckpt verify" in sentence for sentence in found)


def test_a_lost_step_is_found(ended: tuple[Scene, Answer]):
    """A commit that the journal does not know of: its writer's successor would have lost it."""
    scene, last = ended
    first = next(scene.manifests(1))
    with Without(scene.commit_path(CommitRef(1, 1))):
        assert any(f"follows {first.ref}" in sentence for sentence in checks.violations(scene, last))


def test_a_false_proof_is_found(ended: tuple[Scene, Answer]):
    scene, last = ended
    path = scene.store / "reference.json"
    true = path.read_bytes()
    reference = json.loads(true)
    reference["losses"][0] += 1
    path.write_text(json.dumps(reference))
    try:
        assert any("the proof failed" in sentence for sentence in checks.violations(scene, last))
    finally:
        path.write_bytes(true)


class Without:
    """A file away for the length of a block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside = path.with_name(".tmp-aside")

    def __enter__(self) -> None:
        self._path.rename(self._aside)

    def __exit__(self, *_: object) -> None:
        self._aside.rename(self._path)
