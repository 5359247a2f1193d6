"""Who supervises, and what becomes of a run when nobody does, two want to, or somebody asks for its end."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import processes
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from scripts.drills.scene import Scene, answer_of, eventually
from tests.rehearsal.stages import (
    COMMAND,
    await_program,
    await_step,
    instance,
    kill_machine,
    newest,
    resumed_from,
    scene_in,
    state_of,
    train,
)

KILLED_AT_THE_END = (sys.executable, "-m", "scripts.drills.suicide", "end", "after", "1")

pytestmark = pytest.mark.slow


def test_a_second_supervisor_stops_with_7_and_stop_from_elsewhere_saves_and_pauses(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    first = train(scene, "trainer.steps=100000")
    await_step(scene, 10)

    second = scene.launch("resume", scene.run)
    assert second.code == 7
    assert re.search(rf"supervised by process {first.pid} on \S+", scene.said())

    assert scene.launch("stop", scene.run, "-o", "json").json["state"] == "PAUSED"
    ended = answer_of(first)
    assert (ended.code, ended.json["state"]) == (130, "PAUSED")
    supervisors = [r.event for r in scene.history().records if isinstance(r.event, ev.SupervisorStarted)]
    assert len(supervisors) == 1, "neither the second nor `stop` wrote to the journal"
    last = newest(scene)
    assert (last.urgent, last.step) == (True, ended.json["step"]), "it was saved before it was paused"
    assert "saved step" in scene.said()


# Saves when it is told to end, as a program that knows nothing of launch does.
POLITE = "trap 'echo saved > $LAUNCH_CHECKPOINT_DIR/state; exit 0' TERM; touch up; while :; do sleep 0.05; done"


def up(scene: Scene) -> subprocess.Popen[str]:
    """A supervisor whose program runs."""
    supervisor = train(scene, f"run={POLITE}", recipe=COMMAND)
    await_program(scene)
    return supervisor


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_pauses(number: signal.Signals, tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = up(scene)
    supervisor.send_signal(number)
    ended = answer_of(supervisor)
    assert (ended.code, ended.json["state"]) == (130, "PAUSED")
    assert [file.path for file in newest(scene).files] == ["state"]


def test_a_hang_up_leaves_the_machine_running(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = up(scene)
    supervisor.send_signal(signal.SIGHUP)
    assert answer_of(supervisor).code == 129
    assert f"launch resume {scene.run}" in (scene.home / "logs" / f"{scene.run}.log").read_text()
    assert instance(scene).ended() is None
    assert scene.launch("stop", scene.run, "-o", "json").json["state"] == "PAUSED"


def test_cancel_ends_a_run_that_nobody_supervises_any_more(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = up(scene)
    supervisor.kill()
    supervisor.communicate()
    cancelled = scene.launch("cancel", scene.run, "-o", "json")
    assert (cancelled.code, cancelled.json["state"]) == (0, "CANCELLED")
    assert "nobody supervises the run" in scene.said()
    (ended,) = [r.event for r in scene.history().records if isinstance(r.event, ev.InstanceEnded)]
    assert ended.wait_status is not None


def test_train_answers_131_where_it_was_cancelled(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = up(scene)
    assert scene.launch("cancel", scene.run).code == 0
    assert answer_of(supervisor).code == 131


def test_a_save_that_landed_in_the_last_instant_and_was_never_reported_is_resumed_from(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = train(scene)
    await_step(scene, 10)
    supervisor.kill()
    supervisor.communicate()
    known = {r.event.ref for r in scene.history().records if isinstance(r.event, ev.CheckpointSeen)}
    eventually(lambda: newest(scene).ref not in known, "a save that nobody knows of")
    kill_machine(scene)
    last = newest(scene)

    ended = scene.launch("resume", scene.run, "-o", "json")

    assert ended.code == 0, scene.said()
    assert resumed_from(scene) == last.ref
    assert ended.json["proof"]["losses_equal"] is True


# Of the program's parent, the agent, the parent: then nobody can say that the machine has gone.
HALTS_ITS_HOST = "run=kill -STOP $(cut -d' ' -f4 /proc/$PPID/stat)"


def ended_and_killed(scene: Scene) -> None:
    """A supervisor that died when the end of its run was journaled, and its machine's was not."""
    supervisor = train(scene, HALTS_ITS_HOST, recipe=COMMAND, command=KILLED_AT_THE_END)
    assert answer_of(supervisor).code == -signal.SIGKILL
    state = state_of(scene)
    assert (state.phase, state.is_over) == (Phase.SUCCEEDED, False)
    started = instance(scene).started()
    assert started is not None
    processes.send(started.host, signal.SIGCONT)


@pytest.mark.skipif(sys.platform != "linux", reason="finds its host in /proc")
@pytest.mark.parametrize("command", ["resume", "stop"])
def test_a_run_that_has_ended_is_not_over_before_its_bills_are(command: str, tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    ended_and_killed(scene)

    standing = scene.launch("status", scene.run, "-o", "json").json
    assert standing["next"] == f"launch stop {scene.run}"
    assert "may cost money still" in standing["then"]
    ended = scene.launch(command, "-o", "json", *((scene.run,) if command == "stop" else ()))
    assert (ended.code, ended.json["state"]) == (0, "SUCCEEDED"), scene.said()
    assert state_of(scene).is_over
    assert [i.ended() is not None for i in scene.instances()] == [True]
    assert scene.launch("status", scene.run, "-o", "json").json["next"] == f"launch report {scene.run}"
