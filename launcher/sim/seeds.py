"""The world of a seed: a run of its own kind in a market of its own, with trouble of its own."""

import random
from dataclasses import replace

from launcher.core.market.offer import NOTICE_LEAD, Capacity, Offer, Placement
from launcher.core.market.trace import generated
from launcher.core.plan.limits import accepted
from launcher.core.recipe import CheckpointSpec, Goal, Recipe, RetrySpec
from launcher.sim.disaster import TROUBLE_LASTS, FaultyWorld
from launcher.sim.faults import Fault, FaultPlan
from launcher.sim.market import DeckMarket
from launcher.sim.trainer import Pace
from launcher.sim.world import START
from launcher.units import HOUR, MINUTE

# Prices and lives need be no real ones here, only unequal: what is judged is whether the books agree, not what they say.
ZONES = (
    ("aws", "us-east-1", "us-east-1a", 0.9),
    ("aws", "us-east-1", "us-east-1b", 1.0),
    ("aws", "us-west-2", "us-west-2a", 1.1),
    ("gcp", "us-central1", "us-central1-a", 0.95),
    ("azure", "westeurope", None, 1.2),
)
ON_DEMAND = 3.0
BUSY = 1.4  # spans and moments fall within so many times the work: later most runs have ended


def world_of(seed: int, *, only: frozenset[Fault] | None = None) -> FaultyWorld:
    """`only`: these faults instead of those that the seed draws."""
    dice = random.Random(f"world/{seed}")
    climate = dice.choice(("calm", "lively", "lively", "harsh"))
    pace = _pace(dice)
    plan = FaultPlan(seed, START, TROUBLE_LASTS, busy=BUSY * pace.total_steps * pace.step_s, only=only)
    recipe, deadline_at = _recipe(dice, plan, pace)
    rows = _offers(dice)
    recipe = _limited(random.Random(f"limits/{seed}"), recipe, rows)
    market = DeckMarket(trace=generated(climate, seed), rows=accepted(recipe, rows))
    return FaultyWorld(recipe=recipe, market=market, pace=pace, seed=seed, deadline_at=deadline_at, plan=plan)


def _pace(dice: random.Random) -> Pace:
    step_s = dice.choice((0.5, 1.0, 7.0))
    return Pace(
        boot_s=dice.uniform(30, 180),
        restore_s=dice.uniform(5, 60),
        step_s=step_s,
        stall_s=dice.uniform(0.1, 5.0),
        durable_s=dice.uniform(2, 40),
        save_every=None,
        total_steps=int(dice.uniform(0.5, 3.0) * HOUR / step_s),
    )


def _recipe(dice: random.Random, plan: FaultPlan, pace: Pace) -> tuple[Recipe, float | None]:
    work_s = pace.total_steps * pace.step_s
    nodes = dice.choice((1, 1, 1, 2, 4))
    strategy = dice.choice(("spot", "greedy", "greedy", "cheapest", "on-demand"))
    budget = dice.choice((2.0, 5.0, 10.0)) * nodes * (work_s / HOUR + 0.5) if dice.random() < 0.3 else None
    deadline_s = work_s * dice.uniform(1.2, 3.0) + HOUR if dice.random() < 0.3 else None
    base = Recipe(name="sim", trainer={"kind": "launcher.trainers.gpt", "steps": pace.total_steps})
    recipe = replace(
        base,
        num_nodes=nodes,
        resources=replace(base.resources, infra=("aws", "gcp", "azure"), use_spot="auto" if strategy != "spot" else "true"),
        policy=Goal(strategy=strategy, budget=budget),
        checkpoint=CheckpointSpec(every=dice.choice(("auto", "auto", "10m", "300 steps")), max_loss=10 * MINUTE),
        retry=RetrySpec(capacity=48 * HOUR, error=50 if Fault.PROGRAM_FAILS in plan.kinds else 2, same_checkpoint=50),
    )
    return recipe, None if deadline_s is None else START + deadline_s


def _limited(dice: random.Random, recipe: Recipe, rows: tuple[Offer, ...]) -> Recipe:
    """With limits on price and place at times, and never so narrow that nothing can be bought."""
    cost = dice.choice((None, None, None, 1.05, 2.0))
    residency = dice.choice(((), (), (), ("us",), ("eu",)))
    limited = replace(recipe, resources=replace(recipe.resources, max_hourly_cost=cost), residency=residency)
    wanted = Capacity.ON_DEMAND if recipe.policy.strategy == "on-demand" else Capacity.SPOT
    return limited if any(o.placement.capacity is wanted for o in accepted(limited, rows)) else recipe


def _offers(dice: random.Random) -> tuple[Offer, ...]:
    count = dice.randint(2, len(ZONES))
    rows = [_offer(zone, capacity) for zone in dice.sample(ZONES, count) for capacity in Capacity]
    return tuple(rows)


def _offer(zone: tuple[str, str, str | None, float], capacity: Capacity) -> Offer:
    cloud, region, name, price = zone
    placement = Placement(
        cloud=cloud, region=region, zone=name, instance="m", accelerator="A100", accelerators=1, capacity=capacity
    )
    is_spot = capacity is Capacity.SPOT
    return Offer(
        placement=placement,
        price=price if is_spot else ON_DEMAND,
        on_demand_price=ON_DEMAND,
        price_cap=ON_DEMAND,
        mean_life=2 * HOUR if is_spot else 1e9,
        notice_lead=NOTICE_LEAD[cloud],
        source="simulated",
    )
