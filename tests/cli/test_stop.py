"""What `stop` and `cancel` would do says who would do it, and to what."""

import pytest

from launcher.beacon import Lamp
from launcher.clock import SystemClock
from launcher.core.run import events as ev
from launcher.core.tempo import Tempo
from tests.cli.past import cut, everything, keep, launch, note, number_of, preempted


def would(capsys: pytest.CaptureFixture[str], command: str, run: str = "r") -> str:
    before = everything()
    assert launch(command, run, "--dry-run") == 0
    assert everything() == before
    return capsys.readouterr().out.strip()


def test_a_supervisor_that_lives_would_be_asked(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    assert would(capsys, "stop") == "would ask the supervisor of r to stop"


@pytest.mark.parametrize(
    ("command", "what"), [("stop", "attempt 1 saves and ends"), ("cancel", "attempt 1 ends at once, without a save")]
)
def test_where_nobody_supervises_it_would_be_done_from_here(command: str, what: str, capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    assert would(capsys, command) == f"would {command} r from here, since nobody supervises it: {what}"


def test_a_run_without_a_machine_would_only_be_written_down_as_ended(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.AttemptRequested) - 1)
    told = "would stop r from here, since nobody supervises it: no machine of it is up"
    assert would(capsys, "stop") == told
    note("born")
    assert would(capsys, "stop", "born") == told.replace("stop r", "stop born")
