"""A sweep answers what policies cost: the same in any process, with figures that are those of the runs."""

import functools
import subprocess
import sys
from dataclasses import replace

import pytest

from launcher.adapters.history import History
from launcher.adapters.store.memory import MemoryStore
from launcher.core.market.trace import FOREVER, generated
from launcher.core.policy.base import Phase
from launcher.core.run.ledger import ledger
from launcher.core.run.state import RunState
from launcher.sim.market import DeckMarket, Market
from launcher.sim.outcome import Outcome, outcome_of
from launcher.sim.pacing import Measured, learnt, pace_of
from launcher.sim.replay import replayed
from launcher.sim.sweep import Case, run_case, sweep
from launcher.units import HOUR
from tests.architecture.test_tidy import ROOT
from tests.simulation.worlds import OFFERS, FixedTrace, Pace, Sim, recipe


def case(
    policy: str = "spot", *, seed: int = 1, market: Market | None = None, use_spot: str = "auto", pace: Pace | None = None
) -> Case:
    wanted = recipe(use_spot=use_spot)
    return Case(
        recipe=replace(wanted, policy=replace(wanted.policy, strategy=policy)),
        policy=policy,
        market=market or DeckMarket(trace=generated("harsh", seed), rows=OFFERS),
        pace=pace or Pace(),
        seed=seed,
        on_demand_price=3.0,
    )


AGAIN = """
from launcher.sim.sweep import FEW, sweep
from tests.simulation.test_sweep import case
if __name__ == "__main__":
    cases = [case(policy, seed=seed) for policy in ("spot", "on-demand") for seed in range(FEW)]
    heard = []
    assert sweep(cases, num_processes=2, done=heard.append) == sweep(cases, num_processes=1)
    print(heard == list(range(1, len(cases) + 1)))
"""


def test_other_processes_find_the_same_outcomes_in_the_same_order():
    # In a process of its own, since the standard library keeps a helper of its own until the process ends.
    command = [sys.executable, "-c", AGAIN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_each_seed_is_a_market_of_its_own():
    outcomes = sweep([case(seed=seed) for seed in range(6)], num_processes=1)
    assert [o.seed for o in outcomes] == list(range(6))
    assert len({o.cost for o in outcomes}) == 6


def test_a_policy_that_buys_no_spot_pays_the_full_price_and_is_never_interrupted():
    sure, cheap = run_case(case("on-demand")), run_case(case("spot"))
    assert (sure.phase, sure.restarts, sure.preemptions) == (Phase.SUCCEEDED, 0, 0)
    assert sure.cost == pytest.approx(3.0 * sure.took / HOUR, rel=0.05)
    assert cheap.cost < sure.cost
    assert sure.on_demand is not None
    assert sure.on_demand <= sure.cost


def test_a_run_that_gets_nowhere_is_given_up_and_counted_as_unfinished():
    lives_too_short = DeckMarket(trace=FixedTrace(up=90.0, down=60.0), rows=OFFERS[:3])
    outcome = run_case(case(market=lives_too_short))
    assert (outcome.is_finished, outcome.phase.is_ended) == (False, False)
    assert outcome.preemptions > 10


def test_a_delay_before_each_machine_is_waiting_that_costs_nothing():
    market = DeckMarket(trace=FixedTrace(up=1e9), rows=OFFERS)
    quick, slow = run_case(case(market=market)), run_case(replace(case(market=market), delay=100.0))
    assert slow.times.waiting - quick.times.waiting == pytest.approx(100, abs=35)
    assert slow.cost == pytest.approx(quick.cost, rel=0.02)


@functools.cache
def preempted() -> Sim:
    """Read it only."""
    sim = Sim(trace=FixedTrace(up=HOUR))
    sim.run()
    return sim


def outcome(sim: Sim) -> Outcome:
    state = sim.history.state
    return outcome_of(state, sim.history.records[-1].at, policy="spot", trace="fixed", seed=0, on_demand_price=3.0)


def test_an_outcome_adds_up_to_the_books_of_its_run():
    sim = preempted()
    found, books = outcome(sim), ledger(sim.history.state, sim.history.records[-1].at, on_demand_price=3.0)
    assert (found.cost, found.on_demand, found.times) == (books.spent.likely, books.on_demand, books.times)
    assert found.took == pytest.approx(books.times.elapsed)
    assert found.goodput == books.times.useful / books.times.elapsed


def test_spending_rises_from_nothing_to_the_whole_cost():
    points = outcome(preempted()).spending
    assert points[0] == (0.0, 0.0)
    assert list(points) == sorted(points)
    assert [usd for _, usd in points] == sorted(usd for _, usd in points)
    assert points[-1][1] == pytest.approx(outcome(preempted()).cost)


# --- learnt from a run ---------------------------------------------------------------------------------------------------------


NOTHING = Measured(startup=9.0, step=9.0, steps=1, stall=9.0, durable=9.0, boot=9.0)


def test_a_pace_that_was_learnt_from_a_run_is_that_of_its_machines():
    made = Pace(boot_s=100.0, restore_s=40.0, step_s=2.0, stall_s=0.5, durable_s=7.0)
    sim = Sim(trace=FixedTrace(up=HOUR), pace=made)
    sim.run()
    found = learnt(sim.history, otherwise=NOTHING)
    assert found is not None
    assert (found.steps, found.stall, found.durable, found.delay) == (5400, pytest.approx(0.5), pytest.approx(7.0), 0.0)
    assert found.step == pytest.approx(2.0, rel=0.01)
    assert found.boot == pytest.approx(100.0, abs=3.0)
    assert found.startup == pytest.approx(40.0, abs=5.0)


def test_a_run_that_has_not_begun_tells_what_its_plan_measured():
    sim = Sim()
    sim.open()
    found = learnt(sim.history, otherwise=NOTHING)
    state = sim.history.state
    assert found is not None
    assert (found.startup, found.work, found.stall) == (state.startup_s, pytest.approx(state.work_s), NOTHING.stall)


def test_a_program_that_tells_no_steps_is_counted_in_minutes():
    sim = preempted()
    program = replace(sim.recipe, trainer=None, run="python train.py")
    quiet = QuietHistory(replace(sim.history.state, recipe=program, tells_steps=False))
    found = learnt(quiet, otherwise=NOTHING)
    assert found is not None
    assert found.step == 60.0
    assert found.steps == pytest.approx(5400 / 60, abs=2)


class QuietHistory(History):
    """A history that has come to a state without its records."""

    def __init__(self, state: RunState) -> None:
        super().__init__(MemoryStore(), "inc")
        self._state = state


def test_a_pace_is_scaled_to_the_market_and_a_program_publishes_by_itself():
    measured = Measured(startup=2.0, step=0.1, steps=100, stall=0.01, durable=0.5, boot=0.25)
    pace = pace_of(measured, 60.0, publishes=True)
    assert (pace.boot_s, pace.restore_s, pace.step_s, pace.durable_s, pace.total_steps) == (15.0, 120.0, 6.0, 30.0, 100)
    assert pace.save_every == 100  # every ten minutes of the market
    assert pace_of(measured, 60.0, publishes=False).save_every is None


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_replay_gives_each_machine_the_life_it_had(is_noticed: bool):
    """Also one that left before its announced end."""
    sim = Sim(trace=FixedTrace(up=HOUR, notice=lambda place, k: is_noticed))
    sim.run()
    state = sim.history.state
    trace = replayed(state, FixedTrace(up=9 * HOUR, down=60.0))
    place = state.attempts[1].offer.placement.place
    assert (trace.life(place, 1).up, trace.life(place, 1).notice) == (pytest.approx(HOUR), is_noticed)
    assert trace.life(place, 7).up == 9 * HOUR  # never tried: what the trace says


def test_a_machine_in_a_replay_lives_at_least_as_long_as_it_did():
    sim = Sim(trace=FixedTrace(up=1e9))
    sim.run()
    state = sim.history.state
    trace = replayed(state, FixedTrace(up=60.0))
    assert trace.life(state.attempts[1].offer.placement.place, 1).up == FOREVER


def test_a_step_longer_than_the_interval_between_saves_is_saved_once():
    market = DeckMarket(trace=FixedTrace(up=1e9), rows=OFFERS)
    slow = Pace(step_s=3600.0, total_steps=10, save_every=None)
    found = run_case(case(market=market, pace=slow))
    assert (found.is_finished, found.restarts) == (True, 0)


def test_a_place_in_a_replay_refuses_as_long_as_it_was_seen_to():
    sim = Sim()
    sim.market = DeckMarket(trace=FixedTrace(up=HOUR, down=2 * HOUR, notice=lambda place, k: False), rows=OFFERS[:1])
    sim.cloud.market = sim.market
    sim.run()
    state = sim.history.state
    refused = [a for a in state.attempts.values() if a.billed_from is None and a.end is not None]
    assert refused
    trace = replayed(state, FixedTrace(up=9 * HOUR, down=60.0))
    bill, end = state.attempts[1].bill, refused[-1].end
    assert bill is not None
    assert end is not None
    assert trace.life(OFFERS[0].placement.place, 1).down == end.at - bill.likely > 60.0


def test_the_same_policy_in_a_replayed_market_does_what_it_did():
    sim = preempted()
    state = sim.history.state
    market = DeckMarket(trace=replayed(state, FixedTrace(up=HOUR)), rows=OFFERS)
    again = run_case(replace(case(use_spot="true"), market=market, recipe=sim.recipe, pace=sim.pace))
    real = outcome(sim)
    assert (again.attempts, again.preemptions, again.steps_lost) == (real.attempts, real.preemptions, real.steps_lost)
    assert again.took == pytest.approx(real.took, rel=0.02)
    assert again.cost == pytest.approx(real.cost, rel=0.02)
