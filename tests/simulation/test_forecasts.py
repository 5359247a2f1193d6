"""The forecast plays the rule of `greedy` by a few lines of its own: told the future, it must come to what the supervisor does.

So a wrong forecast can only be wrong of the market. Where both part, it is by minutes: the supervisor's looks fall where they
fall, and an end without notice costs a drawn part of an interval.
"""

import random
from dataclasses import replace

import pytest

from launcher.app.traces import source_of
from launcher.core.checkpoint.rules import save_rule
from launcher.core.market.hazard import DOWN, UP
from launcher.core.market.offer import Capacity, Offer
from launcher.core.market.recording import RecordedOffer
from launcher.core.market.series import Series
from launcher.core.market.trace import FOREVER
from launcher.core.plan.candidates import interval_of
from launcher.core.plan.estimate import Task
from launcher.core.plan.play import Draw, Place, Play, Spot, Sure
from launcher.core.recipe import Goal, LocalSpec, Recipe, Resources
from launcher.core.run.billing import RULES
from launcher.sim.market import Market, TimelineMarket
from launcher.sim.outcome import Outcome
from launcher.sim.sweep import Case, run_case
from launcher.sim.trainer import Pace
from launcher.sim.world import START
from launcher.units import HOUR, Seconds
from tests.core.markets import on_demand, spot

WORK, DEADLINE, START_S = 10 * HOUR, 16 * HOUR, 300.0
PACE = Pace(
    boot_s=240.0, restore_s=60.0, step_s=10.0, stall_s=1.0, durable_s=30.0, save_every=None, total_steps=3600, tells_losses=False
)
TASK = Task(work=WORK, restart_cost=START_S, stall=PACE.stall_s, durable=PACE.durable_s)
RECIPE = Recipe(
    name="forecast",
    trainer={"kind": "launcher.trainers.gpt", "steps": PACE.total_steps},
    resources=Resources(infra=("aws", "gcp", "azure")),
    policy=Goal(strategy="greedy", deadline=DEADLINE),
)


class Told(Place):
    """A place whose lives are those of the market."""

    def __init__(self, offer: Offer, market: Market, dice: random.Random) -> None:
        rule = RULES[offer.placement.cloud]
        super().__init__(
            Spot(
                price=offer.price,
                life=offer.mean_life,
                interval=_interval(offer.mean_life),
                notice_lead=offer.notice_lead,
                free_within=rule.free_if_preempted_within,
            ),
            dice,
        )
        self._offer, self._market = offer, market
        self._num, self._taken_at = 0, None

    def life_at(self, now: Seconds) -> Seconds | None:
        fate = self._market.fate(self._offer.placement, nodes=1, k=self._num + 1, taken_at=self._taken_at, now=START + now)
        if fate is None:
            return None
        self._num, self._taken_at = self._num + 1, fate.ends_at
        return fate.ends_at - START - now


def _interval(life: Seconds) -> Seconds | None:
    return interval_of(save_rule(RECIPE.checkpoint, life), TASK)


def played(market: Market) -> Draw:
    dice, offers = random.Random(1), market.offers(START)
    places = [Told(o, market, dice) for o in offers if o.placement.capacity is Capacity.SPOT]
    price = min(o.price for o in offers if o.placement.capacity is Capacity.ON_DEMAND)
    return Play(TASK, places, Sure(price=price, interval=_interval(FOREVER)), DEADLINE, dice).run()


def simulated(recipe: Recipe, market: Market, seed: int) -> Outcome:
    return run_case(
        Case(recipe=recipe, policy="greedy", market=market, pace=PACE, seed=seed, startup_s=START_S, deadline=DEADLINE)
    )


@pytest.mark.parametrize("name", ["lively", "harsh"])
def test_told_the_lives_of_a_bundled_trace_it_comes_to_what_the_supervisor_does(name: str):
    recipe = replace(RECIPE, local=LocalSpec(trace=name))
    market = source_of(recipe, name).market
    for seed in range(4):
        run, draw = simulated(recipe, market(seed), seed), played(market(seed))
        assert draw.is_done
        assert draw.elapsed == pytest.approx(run.took, rel=0.03), seed
        assert draw.usd == pytest.approx(run.cost, rel=0.05), seed
        assert draw.restarts == pytest.approx(run.restarts, abs=2), seed


@pytest.mark.parametrize("seed", range(4))
def test_told_when_zones_are_up_it_waits_and_buys_the_net_as_the_supervisor_does(seed: int):
    dice = random.Random(seed)
    rows = [RecordedOffer(offer=spot(z, p, life=2 * HOUR), capacity=_drawn(dice)) for z, p in (("a", 1.0), ("b", 1.1))]
    market = TimelineMarket("drawn", (*rows, RecordedOffer(offer=on_demand("a"))), seed=seed, origin=START)
    run, draw = simulated(RECIPE, market, seed), played(market)
    assert draw.is_done
    assert draw.elapsed == pytest.approx(run.took, rel=0.03)
    assert draw.usd == pytest.approx(run.cost, rel=0.08)


@pytest.mark.parametrize("stall_s", [1.0, 10.0])
def test_the_safety_net_holds_where_spot_never_comes(stall_s: float):
    """It had forgotten the looks, the stalls of saves and the last save: no run on it ended before its deadline."""
    never = RecordedOffer(offer=spot("a", 1.0), capacity=Series(at=(0.0,), values=(0.0,), period=HOUR))
    market = TimelineMarket("never", (never, RecordedOffer(offer=on_demand("b"))), seed=0, origin=START)
    pace = replace(PACE, stall_s=stall_s)
    run = run_case(Case(recipe=RECIPE, policy="greedy", market=market, pace=pace, seed=0, startup_s=START_S, deadline=DEADLINE))
    assert run.is_finished
    assert 0.97 * DEADLINE < run.took < DEADLINE


def _drawn(dice: random.Random) -> Series:
    """Up and down in turn, by the hazard curves of a rough zone."""
    at = [0.0]
    while at[-1] < 48 * HOUR:
        at.append(at[-1] + (UP if len(at) % 2 else DOWN).rest(0.0, 1.5 if len(at) % 2 else 0.7, dice))
    return Series(at=tuple(at[:-1]), values=tuple(float(i % 2 == 0) for i in range(len(at) - 1)), period=at[-1])
