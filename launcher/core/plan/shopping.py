"""Where a job is finished for least: each offer by its total, not by its hour, and what speaks against the others.

Nothing was measured here, so speeds are the roofline's and lives are a prior; the ranking is what they are good for. Compute
only: what it costs to store checkpoints and to move data is not in the totals yet.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from launcher.core.checkpoint.rules import save_rule
from launcher.core.market.chips import CHIPS
from launcher.core.market.lives import PRIOR, Lives
from launcher.core.market.offer import NOTICE_LEAD, Capacity, Offer, Placement
from launcher.core.market.quote import Doubt, Quote
from launcher.core.plan.estimate import Estimate, Task, estimate
from launcher.core.plan.limits import accelerators_needed, accepted
from launcher.core.plan.planner import interval_of
from launcher.core.plan.work import Work, time_on
from launcher.core.recipe import Recipe
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.units import Seconds, UsdPerHour, show_excess

STALL_S: Seconds = 5.0  # of a save, and until it is durable: assumed, as for a model of some GB
DURABLE_S: Seconds = 60.0
TELLING = 1.15  # a difference in hours that is worth a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What `offer` comes to in the end. `why`: what speaks against it, "" for the cheapest."""

    offer: Offer
    gpus: int  # that the job uses of the machine's
    estimate: Estimate
    why: str = ""


def offers_of(quote: Quote, lives: Lives = PRIOR) -> tuple[Offer, ...]:
    """Spot and on-demand, as far as their prices are known and somebody may have them; `lives`: what is known of how long."""
    if quote.accelerators < 1 or quote.accelerators != int(quote.accelerators):
        return ()  # a share of a GPU trains nothing that was planned for a whole one
    spot = None if Doubt.SPOT_FLOOR in quote.doubts else quote.spot
    priced = ((Capacity.SPOT, spot), (Capacity.ON_DEMAND, quote.on_demand))
    return tuple(_offer(quote, capacity, price, lives) for capacity, price in priced if price is not None)


def _offer(quote: Quote, capacity: Capacity, price: UsdPerHour, lives: Lives) -> Offer:
    placement = Placement(
        cloud=quote.cloud,
        region=quote.region,
        zone=quote.zone,
        instance=quote.instance,
        accelerator=quote.accelerator,
        accelerators=int(quote.accelerators),
        capacity=capacity,
    )
    return Offer(
        placement=placement,
        price=price,
        on_demand_price=price if quote.on_demand is None else quote.on_demand,
        price_cap=price,
        mean_life=lives.mean(placement),
        notice_lead=NOTICE_LEAD.get(quote.cloud, 0.0),
        source="price list",
    )


def totals(recipe: Recipe, work: Work, offers: Iterable[Offer]) -> tuple[Total, ...]:
    """The offers that the recipe accepts and whose GPU is known, the cheapest to finish first.

    A recipe that names no GPU is content with one of any kind. One that is rehearsed is taken to be for clouds.
    """
    resources = recipe.resources
    gpus = resources.accelerators or tuple(f"{name}:1" for name in CHIPS)
    wanted = replace(recipe, resources=replace(resources, accelerators=gpus, infra=() if recipe.is_local else resources.infra))
    fitting = accepted(wanted, tuple(o for o in offers if o.placement.accelerator in CHIPS))
    found = sorted((_total(wanted, work, offer) for offer in fitting), key=lambda t: (t.estimate.usd, t.offer.placement.place))
    return tuple(replace(total, why=_why(total, found[0])) for total in found)


def _total(recipe: Recipe, work: Work, offer: Offer) -> Total:
    gpus = accelerators_needed(recipe, offer.placement)
    assert gpus is not None, "only accepted offers are counted"
    task = Task(
        work=time_on(CHIPS[offer.placement.accelerator], gpus * recipe.num_nodes, work),
        restart_cost=RESTART_UNMEASURED_S,
        stall=STALL_S,
        durable=DURABLE_S,
        num_nodes=recipe.num_nodes,
    )
    interval = interval_of(save_rule(recipe.checkpoint, offer.mean_life), task)
    return Total(offer=offer, gpus=gpus, estimate=estimate(task, price=offer.price, life=offer.mean_life, interval=interval))


def _why(total: Total, best: Total) -> str:
    """The most telling reason, short enough for a column."""
    if total is best:
        return ""
    placement, slower = total.offer.placement, total.estimate.elapsed / best.estimate.elapsed
    if total.gpus < placement.accelerators:
        return f"{placement.accelerators} GPUs for {'one' if total.gpus == 1 else total.gpus}"
    if total.offer.price < best.offer.price and slower >= TELLING:
        return f"less per hour, but {slower:.1f} times the hours"
    return show_excess(total.estimate.usd / best.estimate.usd) or "as much"
