"""Machines that come up, cost money and say nothing: each is let go, and the third in a row ends the buying."""

import pytest

from launcher.core.policy.base import Phase
from launcher.core.run.state import EndKind
from launcher.sim.cloud import HONEST, Start
from launcher.sim.trainer import Pace
from launcher.units import HOUR
from tests.simulation.worlds import FixedTrace, Sim


def test_a_machine_that_never_speaks_is_let_go_and_replaced():
    sim = Sim()
    sim.cloud.plan_start = lambda name, spec: Start(pace=Pace(is_mute=True)) if spec.attempt < 3 else HONEST
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert len(state.attempts) == 3
    assert all(a.bill is not None for a in state.attempts.values())


@pytest.mark.parametrize("vanishes", [False, True])
def test_three_machines_in_a_row_that_never_speak_pause_the_run(vanishes: bool):
    """Twelve were bought until the run ended for want of machines. SkyPilot deletes what is idle before we let go of it."""
    idle = Start(delay=60.0, num_agents=0, dies_after=400.0 if vanishes else None)
    sim = Sim(trace=FixedTrace(up=100 * HOUR, down=0.0), pace=Pace(boot_s=270))
    sim.cloud.plan_start = lambda name, spec: idle
    state = sim.run()
    assert state.terminal is not None
    assert (state.terminal.phase, state.terminal.exit_code) == (Phase.PAUSED, 5)
    assert "3 machines in a row came up and none of their agents spoke" in state.terminal.reason
    assert len(sim.cloud.starts) == 3
    assert {a.ended_as(EndKind.PREEMPTED) for a in state.attempts.values()} == {vanishes}


def test_successors_whose_agents_cannot_be_set_up_end_nothing_while_an_older_machine_trains():
    """Each counted as a program that ended at its start: the fourth failed a run that was training."""
    sim = Sim(trace=FixedTrace(up=100 * HOUR, down=0.0))
    warned = Start(warns=((1800.0, 1500.0, False),))
    sim.cloud.plan_start = lambda name, spec: warned if spec.attempt == 1 else Start(exits_after=60.0)
    state = sim.run()
    assert state.terminal is not None
    assert "none of their agents spoke" in state.terminal.reason


def test_a_bad_market_that_takes_machines_before_their_agents_speak_is_not_taken_for_mute_ones():
    sim = Sim(trace=FixedTrace(up=100 * HOUR, down=0.0))
    sim.cloud.plan_start = lambda name, spec: Start(dies_after=40.0) if spec.attempt < 6 else HONEST
    state = sim.run()
    assert state.phase is Phase.SUCCEEDED
    assert len(state.attempts) == 6
