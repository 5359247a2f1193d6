"""What `launch status` says that a run waits for: its supervisor's own words, while they hold."""

import pytest

from launcher.beacon import Lamp
from launcher.core.run import events as ev
from launcher.core.tempo import Tempo
from launcher.sim.clock import SimClock
from launcher.sim.timeline import Timeline
from launcher.units import HOUR
from tests.cli.past import cut, document, keep, number_of, preempted
from tests.simulation.worlds import START


@pytest.mark.parametrize(
    ("is_asked", "said_at", "doing"),
    [
        (0, START, "no machine: all cool down"),
        (1, START + HOUR, "attempt 1 starts at {}: all cool down"),
        (1, START, "attempt 1 starts at {}"),  # said before it was asked for
    ],
)
def test_what_a_run_waits_for_is_told_as_its_supervisor_says_it(
    is_asked: int, said_at: float, doing: str, capsys: pytest.CaptureFixture[str]
):
    store = keep(sim := preempted())
    cut(store, number_of(sim, ev.AttemptRequested) - 1 + is_asked)
    Lamp(store, SimClock(Timeline(said_at)), "sup-1").burn(Tempo(), 0.0, "all cool down")
    assert document(capsys, "status", "r")["doing"] == doing.format(sim.history.state.attempts[1].offer.placement)
