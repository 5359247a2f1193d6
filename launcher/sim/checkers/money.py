"""Whether the books agree with the cloud's own, and what a recipe forbids was never bought.

The cloud of the world keeps its bill by rules of its own. What is asked of the ledger is that the truth lies in its range, and
that it equals the truth to the cent wherever it claims to know.
"""

from collections.abc import Iterator

from launcher.core.market.offer import Capacity
from launcher.core.run.spent import NOTHING, attempt_cost, spent
from launcher.sim.checkers.evidence import evidence_of
from launcher.sim.checkers.tale import blinded
from launcher.sim.cloud import Instance, Start
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.units import HOUR, MINUTE, Seconds, Usd

CENT: Usd = 0.01
STEP_MOST: Seconds = 10 * MINUTE  # by which the world sets a supervisor's clock off, each time
LANDS_IN = {  # which regions of the simulated markets lie where, written down a second time
    "us": ("us-east-1", "us-west-2", "us-central1"),
    "eu": ("westeurope",),
}


def bill(world: FaultyWorld) -> Iterator[str]:
    """Each machine's true bill lies in the ledger's range, and equals it where the range is a point; so does the sum."""
    state = evidence_of(world).state
    if state is None:
        return
    slack: Usd = 0.0
    for name, instance in world.cloud.instances.items():
        true = world.cloud.bill_of(instance)
        attempt = state.attempts.get(instance.spec.attempt)
        told = NOTHING if attempt is None else attempt_cost(attempt, world.timeline.now, state.recipe.num_nodes)
        blur = _clock_error(world) / HOUR * instance.offer.price * state.recipe.num_nodes
        slack += blur
        if not told.low - blur - CENT / 2 <= true <= told.high + blur + CENT / 2:
            yield f"{name} cost {true:.4f}, and the ledger says {told.low:.4f} to {told.high:.4f}"
    books, true = spent(state, world.timeline.now), world.cloud.dollars()
    if not books.low - slack - CENT <= true <= books.high + slack + CENT:
        yield f"all machines cost {true:.4f}, and the ledger says {books.low:.4f} to {books.high:.4f}"


def _clock_error(world: FaultyWorld) -> Seconds:
    """How far off the clock is of a supervisor that guesses an end between two looks."""
    return STEP_MOST * sum(fault is Fault.CLOCK_STEP for _, fault in world.plan.moments)


def _late_stops(world: FaultyWorld) -> Usd:
    """`stop_at` is an instant by the clock of the machine: one that is behind stops late by so much, and nobody may notice."""
    late = [(max(0.0, -i.start.skew) + _clock_error(world), i) for i in world.cloud.instances.values()]
    return sum(seconds / HOUR * i.offer.price * i.spec.num_nodes for seconds, i in late)


def _out_of_reach(world: FaultyWorld) -> Usd:
    """A machine that never speaks does not know its `stop_at`, and nobody ends one while no journal or no cloud is in reach."""
    mute = [i for i in world.cloud.instances.values() if _is_mute(i.start)]
    return sum(_blind(world, i) / HOUR * i.offer.price * i.spec.num_nodes for i in mute)


def _is_mute(start: Start) -> bool:
    return start.exits_after is not None or (start.pace is not None and start.pace.is_mute)


def _blind(world: FaultyWorld, instance: Instance) -> Seconds:
    """How long of its billed life."""
    if instance.billed_from is None:
        return 0.0
    ended_at = world.timeline.now if instance.ended_at is None else instance.ended_at
    seconds, counted = 0.0, instance.billed_from
    for start, end in sorted(blinded(world)):
        seconds += max(0.0, min(end, ended_at) - max(start, counted))
        counted = max(counted, end)
    return seconds


def limits(world: FaultyWorld) -> Iterator[str]:
    """The budget holds, and no machine was bought at a price, in a place or in a way that the recipe forbids."""
    recipe = world.recipe
    budget = recipe.policy.budget
    if budget is not None and world.cloud.dollars() > budget + _late_stops(world) + _out_of_reach(world) + CENT:
        yield f"all machines cost {world.cloud.dollars():.4f}, and the budget is {budget:.4f}"
    for name, instance in world.cloud.instances.items():
        yield from (f"{name} {what}" for what in _forbidden(world, instance))


def _forbidden(world: FaultyWorld, instance: Instance) -> Iterator[str]:
    recipe, placement = world.recipe, instance.spec.placement
    most = recipe.resources.max_hourly_cost
    if most is not None and instance.offer.price > most:
        yield f"cost {instance.offer.price}/h a node when it was asked for, and {most} is the most"
    if recipe.residency and not any(placement.region in LANDS_IN[land] for land in recipe.residency):
        yield f"lies in {placement.region}, and data must stay in {', '.join(recipe.residency)}"
    if placement.cloud not in recipe.resources.infra:
        yield f"is on {placement.cloud}, and the recipe names {', '.join(recipe.resources.infra)}"
    only = {"true": Capacity.SPOT, "false": Capacity.ON_DEMAND}.get(recipe.resources.use_spot)
    if only is not None and placement.capacity is not only:
        yield f"is {placement.capacity.value}, and the recipe wants {only.value} alone"
