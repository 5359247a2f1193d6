"""`-d`: a supervisor that no terminal reaches, started by a command that returns once it drives the run."""

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher import beacon, processes
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from scripts.drills.scene import Scene, answer_of, eventually
from tests.rehearsal.stages import COMMAND, RECIPE, await_program, await_step, kill_machine, newest, scene_in, state_of, train

# Saves when it is told to end, as a program that knows nothing of launch does.
POLITE = "run=trap 'echo saved > $LAUNCH_CHECKPOINT_DIR/state; exit 0' TERM; touch up; while :; do sleep 0.05; done"

pytestmark = pytest.mark.slow


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return scene_in(tmp_path / "scene")


def started(scene: Scene, *words: str, recipe: str = COMMAND) -> dict[str, Any]:
    answer = answer_of(train(scene, "-d", *words, recipe=recipe))
    assert answer.code == 0, scene.said()
    return answer.json


def gone(pid: int) -> None:
    eventually(lambda: processes.identify(pid) is None, "the supervisor has ended")


def end(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
    gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_it_drives_the_run_once_the_command_has_returned_and_no_terminal_reaches_it(scene: Scene):
    told = started(scene, POLITE)
    light = beacon.read(scene.found().store)
    assert light is not None
    assert (light.pid, beacon.judge(light)) == (told["pid"], beacon.Holder.ALIVE)
    assert os.getsid(told["pid"]) == told["pid"]
    files = [os.readlink(f"/proc/{told['pid']}/fd/{number}") for number in range(3)]
    assert files == ["/dev/null", told["log"], told["log"]]
    assert told["stop"] == f"launch stop {scene.run}"
    assert scene.launch("stop", scene.run, "-o", "json").json["state"] == "PAUSED"
    gone(told["pid"])


def test_sigterm_saves_and_pauses_and_it_goes_on_with_changes(scene: Scene):
    told = started(scene, POLITE)
    await_program(scene)
    end(told["pid"], signal.SIGTERM)
    assert state_of(scene).phase is Phase.PAUSED
    assert [file.path for file in newest(scene).files] == ["state"]
    assert f"launch resume {scene.run}" in Path(told["log"]).read_text()

    again = scene.launch("resume", scene.run, "policy.budget=7", "-d", "-o", "json").json
    (resumed,) = [r.event for r in scene.history().records if isinstance(r.event, ev.RunResumed)]
    assert resumed.changes == {"policy.budget": "7.00"}
    assert scene.launch("cancel", scene.run).code == 0
    gone(again["pid"])


def test_a_second_one_is_refused_with_the_name_of_the_first(scene: Scene):
    told = started(scene, POLITE)
    assert scene.launch("resume", scene.run, "-d").code == 7
    assert re.search(rf"supervised by process {told['pid']} on \S+", scene.said())
    assert scene.launch("cancel", scene.run).code == 0
    gone(told["pid"])


def test_a_crash_is_seen_and_resumed_from_in_the_background_too(scene: Scene):
    told = started(scene, recipe=RECIPE)
    await_step(scene, 10)
    end(told["pid"], signal.SIGKILL)
    kill_machine(scene)
    assert scene.launch("status", scene.run, "-o", "json").json["supervisor"]["alive"] is False

    again = scene.launch("resume", scene.run, "-d", "-o", "json").json
    gone(again["pid"])

    assert state_of(scene).phase is Phase.SUCCEEDED
    assert "losses and the final weights equal an uninterrupted run's: yes" in Path(again["log"]).read_text()


def test_what_keeps_it_from_the_journal_is_the_commands_own_error(scene: Scene):
    (scene.store).mkdir(parents=True)
    (scene.store / "journal").write_text("a file in the way")
    refused = answer_of(train(scene, "-d", recipe=COMMAND))
    assert refused.code == 6, scene.said()
    assert refused.json["error"]["exit_code"] == 6
    assert not scene.living()
