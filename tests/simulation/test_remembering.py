"""A run in simulated time adds what it teaches to the memory of a home, whatever happens to its supervisors and to that home."""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.app.remembering import Remembering, memory_of, memory_path
from launcher.core.market.belief import MarketView
from launcher.core.market.lives import Lesson, Outcome, learnt, seed
from launcher.core.market.offer import Offer
from launcher.core.plan.estimate import Task
from launcher.core.plan.planner import plan
from launcher.core.policy.catalog import POLICIES
from launcher.core.recipe import Resources
from launcher.core.run import events as ev
from launcher.core.run.state import RunState
from launcher.errors import LaunchError
from launcher.sim.trainer import Pace
from launcher.sim.world import START
from launcher.units import HOUR, Seconds
from tests.simulation.worlds import OFFERS, FixedTrace, Sim, recipe

LONG = 12_000  # steps of a second each


def lessons(home: Path) -> tuple[Lesson, ...]:
    return memory_of(home).read().lessons


def remembering(sim: Sim, home: Path) -> Remembering:
    return Remembering(home, sim.history)


def run(sim: Sim, home: Path) -> RunState:
    remembers: list[Remembering] = []

    def hear(event: ev.Event, state: RunState) -> None:
        if not remembers or remembers[-1].history is not sim.history:
            remembers.append(remembering(sim, home))
        remembers[-1].hear(event, state)

    return sim.run(hear)


def test_every_attempt_is_remembered_as_it_ended(tmp_path: Path) -> None:
    sim = Sim(trace=FixedTrace(up=HOUR), recipe=recipe(steps=LONG), pace=Pace(total_steps=LONG))
    state = run(sim, tmp_path)
    found = lessons(tmp_path)
    assert len(found) >= 4
    assert [one.attempt for one in found] == list(state.attempts)
    assert [one.outcome for one in found] == [Outcome.LOST] * (len(found) - 1) + [Outcome.HELD]
    assert all(one.life == pytest.approx(HOUR, abs=30) and one.notice == pytest.approx(120, abs=1) for one in found[:-1])
    assert all(one.boot is not None and one.steps_per_s for one in found)
    by_place = learnt(found, sim.clock.utc_s())
    assert sum(place.num_lost for place in by_place.values()) == len(found) - 1


def test_they_are_there_before_the_run_is_over(tmp_path: Path) -> None:
    known: list[int] = []

    def hear(event: ev.Event, state: RunState) -> None:
        if isinstance(event, ev.WriterGranted) and event.attempt == 3:
            remembering(sim, tmp_path).note()  # as by a supervisor that has just taken over
            known.extend(one.attempt for one in lessons(tmp_path))

    sim = Sim(trace=FixedTrace(up=HOUR), recipe=recipe(steps=LONG), pace=Pace(total_steps=LONG))
    sim.run(hear)
    assert known == [1, 2]


def test_a_run_that_is_read_again_or_elsewhere_counts_once(tmp_path: Path) -> None:
    sim = Sim(trace=FixedTrace(up=HOUR))
    run(sim, tmp_path)
    before = memory_path(tmp_path).read_bytes()
    remembering(sim, tmp_path).note()
    assert memory_path(tmp_path).read_bytes() == before


def test_a_supervisor_that_could_not_write_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file in the way")
    sim = Sim(trace=FixedTrace(up=HOUR))
    state = run(sim, home)
    assert state.phase.is_ended, "and no harm was done to the run"
    home.unlink()
    remembering(sim, home).note()
    assert [one.attempt for one in lessons(home)] == list(state.attempts)


def test_a_rehearsal_leaves_no_trace_in_the_memory(tmp_path: Path) -> None:
    local = replace(recipe(), resources=Resources(infra=("local",)))
    sim = Sim(recipe=local, trace=FixedTrace(up=HOUR))
    try:
        run(sim, tmp_path)
    except LaunchError as error:  # pragma: no cover
        pytest.fail(str(error))
    assert not memory_path(tmp_path).exists()


def refused(offer: Offer, *, ago: Seconds, why: str) -> Lesson:
    return Lesson(
        run="before",
        incarnation="b",
        attempt=1,
        at=START - ago,
        placement=offer.placement,
        outcome=Outcome.REFUSED,
        why=why,
    )


def started(seen: MarketView) -> Sim:
    """A run whose start was journaled with what runs before it met."""
    sim = Sim(trace=FixedTrace(up=100 * HOUR))
    task = Task(work=HOUR, restart_cost=60.0, stall=1.0, durable=5.0)
    made = plan(recipe(), OFFERS, task, seen, POLICIES["spot"](), START)
    sim.open().append(ev.PlanMade(at=START, plan=made, seed=seen.places, quotas=seen.quotas))
    return sim


def test_a_new_run_does_not_begin_where_the_one_before_it_was_just_refused() -> None:
    cheapest, second, *_ = OFFERS
    assert started(MarketView()).run().attempts[1].offer.placement == cheapest.placement
    refusal = refused(cheapest, ago=60, why="capacity")
    sim = started(seed([refusal], START))
    assert sim.run().attempts[1].offer.placement == second.placement
    assert sim.history.plan is not None
    assert sim.history.plan.chosen is not None
    assert sim.history.plan.chosen.offer.placement == second.placement, "as its plan said"
    later = started(seed([replace(refusal, at=START - 2 * HOUR)], START))
    assert later.run().attempts[1].offer.placement == cheapest.placement


def test_a_new_run_asks_for_no_quota_that_its_plan_left_out_until_it_is_time() -> None:
    """Whatever has cooled down: the quota is of the region, so of its other zone too."""
    cheapest, same_region, elsewhere, *_ = OFFERS
    sim = started(seed([refused(cheapest, ago=2 * HOUR, why="quota")], START))
    assert sim.run().attempts[1].offer.placement == elsewhere.placement
    assert sim.history.plan is not None
    assert not {cheapest, same_region} & {c.offer for c in sim.history.plan.candidates}
    later = started(seed([refused(cheapest, ago=25 * HOUR, why="quota")], START))
    assert later.run().attempts[1].offer.placement == cheapest.placement
