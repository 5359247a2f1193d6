"""Waste that seeds found, one scenario each: the smallest world that shows it."""

from itertools import pairwise

from launcher.core.instance import FailureKind
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.sim.cloud import HONEST, Start
from launcher.sim.world import START
from launcher.units import HOUR, MINUTE
from tests.simulation.worlds import Sim


def test_a_run_behind_its_deadline_asks_a_cloud_that_refuses_once_a_minute():
    """With every place cooling down and no slack left it asked at each look, every three seconds, for hours."""
    sim = Sim(policy="spot", deadline_at=START + 2 * HOUR)
    refused = Start(refused=FailureKind.CAPACITY)
    sim.cloud.plan_start = lambda name, spec: refused if sim.timeline.now < START + HOUR else HONEST
    state = sim.run()
    hurried = [e.at for e in sim.of(ev.AttemptRequested) if "no time to wait" in e.reason]
    assert len(hurried) > 10, "it goes on asking"
    assert min(b - a for a, b in pairwise(hurried)) >= MINUTE
    assert state.phase is Phase.PAUSED
    assert state.terminal.reason == "the deadline has passed"
