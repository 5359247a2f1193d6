"""Trouble of every kind ends in one clear sentence, the documented exit code, nothing lost and no stray process.

That no process is left is seen by the guard around every test (tests/conftest.py). A trainer that hangs is tested at the agent
(tests/node), because the least time that counts as a hang is ten minutes; a bug of ours, exit code 70, and all that is refused
before a run is born, with the command line (tests/cli).
"""

import re
from pathlib import Path

import pytest

from launcher import codec
from launcher.adapters.cloud.local_registry import clock_of
from launcher.core.contract import Heartbeat, heartbeat_key
from launcher.core.run import events as ev
from scripts.drills.scene import Scene, answer_of, eventually
from tests.conformance.clouds import jump
from tests.rehearsal.stages import COMMAND, await_program, await_step, kill_machine, newest, scene_in, train, trained

pytestmark = pytest.mark.slow


def granted(scene: Scene) -> int:
    """How many attempts ran the program."""
    return sum(isinstance(record.event, ev.WriterGranted) for record in scene.history().records)


# --- the user's program ------------------------------------------------------------------------------------------------------


def test_a_user_error_is_reported_with_its_code_and_leaves_the_checkpoints(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    ended = trained(scene, "trainer.exits_at=50", "retry.error=0")
    assert (ended.code, ended.json["state"], ended.json["program_exit_code"]) == (1, "FAILED", 3)
    assert (ended.json["attempts"], ended.json["preemptions"]) == (1, 0)
    assert newest(scene).step == 50


def test_the_machine_of_the_last_failure_is_kept_for_a_look_until_somebody_ends_it(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = train(scene, "run=exit 5", "retry.error=1", "--keep-failed", "100h", recipe=COMMAND)
    eventually(lambda: "`launch ssh r` is a shell on it" in scene.said(), "the last machine is kept")
    assert scene.launch("ssh", scene.run, "-o", "json").json["attempt"] == 2
    told = scene.launch("status", scene.run, "-o", "json").json
    assert (told["state"], told["next"]) == ("FAILED", "launch ssh r")
    assert re.search(r"kept: the machine of attempt 2 for .* at \$[\d.]+/h; `launch stop r` ends it", told["then"])
    assert scene.launch("stop", scene.run).code == 0
    ended = answer_of(supervisor)
    assert (ended.code, ended.json["state"], ended.json["program_exit_code"]) == (1, "FAILED", 5)
    state = scene.history().state
    assert state.is_over
    assert state.terminal is not None
    assert state.attempts[2].bill is not None
    assert state.attempts[2].bill.low > state.terminal.at, "its stay is in the books"


def test_a_program_that_fails_at_once_gets_its_further_attempts_and_no_more(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    ended = trained(scene, "run=exit 5", recipe=COMMAND)
    assert (ended.code, ended.json["program_exit_code"], granted(scene)) == (1, 5, 3)


def test_a_program_that_dies_at_the_same_checkpoint_is_given_up(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    ended = trained(scene, "run=kill -9 $$", "retry.same_checkpoint=1", recipe=COMMAND)
    assert (ended.code, ended.json["state"], granted(scene)) == (1, "FAILED", 2)
    assert "at its start" in ended.json["reason"]


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = train(scene, "run=trap '' TERM; touch up; while :; do sleep 0.1; done", recipe=COMMAND)
    await_program(scene)
    assert scene.launch("stop", scene.run).code == 0
    assert answer_of(supervisor).code == 130


# --- the world ---------------------------------------------------------------------------------------------------------------


def test_a_full_disk_pauses_with_6_after_some_failed_saves_and_the_run_goes_on_once_there_is_space(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    ended = trained(scene, "trainer.disk_full_at=45")
    assert (ended.code, ended.json["state"], newest(scene).step) == (6, "PAUSED", 45)
    assert "a file may not grow so large here" in ended.json["reason"]

    ended = scene.launch("resume", "-o", "json")  # without a name: the newest unfinished one
    assert ended.code == 0, scene.said()
    assert ended.json["proof"]["losses_equal"] is True
    assert "resumed     at step 45 " in scene.said()


def test_a_full_disk_buys_no_other_machine_when_the_one_that_tries_to_save_is_taken(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = train(scene, "trainer.disk_full_at=45", "trainer.steps=2000", "retry.error=1000")
    await_failed_saves(scene, 2)
    kill_machine(scene)
    ended = answer_of(supervisor)
    assert (ended.code, ended.json["state"], granted(scene)) == (6, "PAUSED", 1)
    assert "a file may not grow so large here" in ended.json["reason"]


def await_failed_saves(scene: Scene, least: int) -> None:
    """Return once the first attempt has told of so many in a row."""
    path = scene.store / heartbeat_key(1)

    def look() -> bool:
        return path.exists() and codec.loads_digested(Heartbeat, path.read_bytes()).failed_saves >= least

    eventually(look, f"{least} saves have failed")


def test_a_clock_that_jumps_ahead_and_back_costs_no_work(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = train(scene)
    await_step(scene, 10)
    jump(clock_of(scene.registry), 7200.0)
    await_step(scene, 100)
    jump(clock_of(scene.registry), -120.0)
    ended = answer_of(supervisor)
    assert ended.code == 0, scene.said()
    assert ended.json["proof"]["losses_equal"] is True


def test_a_run_that_differs_from_the_reference_answers_8(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    ended = trained(scene, "trainer.differs=true", "trainer.steps=30")
    assert (ended.code, ended.json["state"]) == (8, "SUCCEEDED")
    assert "the loss of step 1 is" in ended.json["proof"]["reason"]
