"""A run that nobody stays with: visits of a supervisor, now and then, bring it to the same end."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest

from launcher import codec
from launcher.core.contract import WATCH_KEY, AttemptSpec
from launcher.core.instance import FailureKind, InstanceName, InstanceStatus
from launcher.core.policy.base import Phase
from launcher.core.policy.catalog import POLICIES
from launcher.core.run import events as ev
from launcher.core.run.observation import Left
from launcher.errors import CloudUnreachable
from launcher.sim.cloud import HONEST, Start
from launcher.sim.world import HOME
from launcher.units import MINUTE, Seconds, Utc
from launcher.visit import VISIT_MOST_S, visit
from tests.simulation.worlds import FixedTrace, Sim

VISITS_MOST = 2000


def here(k: int) -> str:
    return HOME


def elsewhere(k: int) -> str:
    """A function's machines: no two visits from one."""
    return f"home-{k}"


def visits(sim: Sim, every: Seconds, home: Callable[[int], str] = here) -> Iterator[Utc | None]:
    """When each wants the next, to the run's end."""
    for k in count():
        assert k < VISITS_MOST, "it never ends"
        back_at = sim.supervisor(home(k)).visit(lambda event, state: sim.events.append(event))
        yield back_at
        if back_at is None:
            return
        sim.timeline.pass_until(sim.timeline.now + every)


@pytest.mark.parametrize("every", [MINUTE, 5 * MINUTE, 20 * MINUTE])
@pytest.mark.parametrize("home", [here, elsewhere])
def test_a_run_that_is_only_visited_finishes_through_its_preemptions(every: Seconds, home: Callable[[int], str]):
    sim = Sim(trace=FixedTrace(up=40 * MINUTE, notice=lambda place, k: k % 2 == 0))
    list(visits(sim, every, home))
    state = sim.history.state
    assert (state.phase, state.is_over) == (Phase.SUCCEEDED, True)
    assert sum(isinstance(e, ev.InstanceEnded) for e in sim.events) > 1
    assert {a.bill is not None for a in state.attempts.values()} == {True}


@pytest.mark.parametrize(("home", "within"), [(here, 3), (elsewhere, 20)])
def test_a_machine_that_falls_silent_is_let_go_over_several_visits(home: Callable[[int], str], within: int):
    """No visit lasts for as long as its silence has to."""
    sim = Sim()
    sim.cloud.plan_start = lambda name, spec: Start(deaf_from=10 * MINUTE) if spec.attempt == 1 else HONEST
    list(visits(sim, MINUTE, home))
    let_go = sim.of(ev.AttemptUnwanted)[0]
    assert (let_go.attempt, let_go.silent) == (1, True)
    assert 2 * MINUTE < let_go.at - (sim.start + 10 * MINUTE) <= within * MINUTE


def test_what_was_watched_before_somebody_else_drove_the_run_is_forgotten():
    sim = Sim()
    sim.cloud.plan_start = lambda name, spec: Start(deaf_from=10 * MINUTE)
    for _ in visits(sim, MINUTE):
        if sim.timeline.now - sim.start > 11 * MINUTE:
            break
    before = codec.loads_digested(Left, sim.store.get(WATCH_KEY))
    assert before.pulses["1"].still_s > 0
    sim.open()
    sim.supervisor().visit()
    after = codec.loads_digested(Left, sim.store.get(WATCH_KEY))
    assert after.pulses["1"].watched_s < MINUTE < before.pulses["1"].watched_s


def test_a_visit_lasts_until_what_it_asked_of_the_cloud_is_on_its_way():
    sim = Sim()
    busy_until = sim.start + 5 * MINUTE
    supervisor = sim.supervisor()
    history = supervisor.open()
    world = replace(supervisor.ports(), is_busy=lambda: sim.timeline.now < busy_until)
    visit(world, history, lambda state: POLICIES["spot"](), supervisor=supervisor.name)
    assert busy_until <= sim.timeline.now <= busy_until + MINUTE


def test_a_cloud_that_does_not_answer_is_left_for_the_next_visit():
    sim = Sim()
    supervisor = sim.supervisor()
    history = supervisor.open()
    world = replace(supervisor.ports(), cloud=Silent())
    back_at = visit(world, history, lambda state: POLICIES["spot"](), supervisor=supervisor.name)
    assert back_at is not None
    assert sim.timeline.now - sim.start <= 2 * MINUTE


@pytest.mark.parametrize(("stands_still", "lasts"), [(False, 0.0), (True, VISIT_MOST_S)])
def test_where_the_clock_would_stand_still_a_visit_stays_for_what_the_run_waits_for(stands_still: bool, lasts: Seconds):
    sim = Sim()
    sim.cloud.plan_start = lambda name, spec: Start(refused=FailureKind.CAPACITY)
    for _ in visits(sim, MINUTE):
        if sim.history.state.phase is Phase.WAITING:
            break
    supervisor, began = sim.supervisor(), sim.timeline.now
    history = supervisor.open()
    world = replace(supervisor.ports(), stands_still=stands_still)
    visit(world, history, lambda state: POLICIES["spot"](), supervisor=supervisor.name)
    assert sim.timeline.now - began == pytest.approx(lasts, abs=3.0)


class Silent:
    """A cloud out of reach."""

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        raise CloudUnreachable("no answer")

    def stop(self, name: InstanceName) -> None:
        raise CloudUnreachable("no answer")

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        raise CloudUnreachable("no answer")
