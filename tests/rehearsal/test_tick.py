"""`launch tick` on real processes: a run that nobody stays with. With kills: `scripts/drill --target tick`."""

import os
import signal
from pathlib import Path

import pytest

from launcher import processes
from launcher.core.run import events as ev
from scripts.drills.scene import answer_of, eventually
from tests.rehearsal.stages import COMMAND, scene_in, train

pytestmark = pytest.mark.slow


def test_ticks_in_pairs_bring_a_run_to_its_end_and_the_one_that_sees_it_has_its_exit_code(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    fails = f"run=until test -e {tmp_path}/go; do sleep 0.05; done; exit 3"
    begun = answer_of(train(scene, fails, "retry.error=0", "-d", recipe=COMMAND)).json
    os.kill(begun["pid"], signal.SIGHUP)
    eventually(lambda: processes.identify(begun["pid"]) is None, "its supervisor has left")
    (tmp_path / "go").touch()

    def pair() -> list[int]:
        ticks = [scene.start("tick", scene.run, "-o", "json") for _ in range(2)]
        return sorted(answer_of(tick).code for tick in ticks)

    codes = eventually(lambda: None if (found := pair()) == [0, 0] else found, "a tick has seen the end")

    assert codes == [0, 1], scene.said()
    before = len(scene.history().records)
    told = scene.launch("tick", scene.run, "-o", "json")
    assert (told.code, told.json["phase"], told.json["exit_code"], told.json["seconds"]) == (0, "FAILED", 1, None)
    assert len(scene.history().records) == before
    assert sum(isinstance(r.event, ev.RunFailed) for r in scene.history().records) == 1
