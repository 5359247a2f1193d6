"""Where a job is finished for least: each offer by its total, not by its hour, and what speaks against the others.

Nothing was measured here, so speeds are the roofline's and lives are a prior; the ranking is what they are good for. How places
are costed and compared is `candidates`, as for any plan; here is what price lists offer, and what times a job is told by on them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from launcher.core.checkpoint.rules import keep_rule
from launcher.core.market.belief import MarketView
from launcher.core.market.chips import CHIPS
from launcher.core.market.lives import PRIOR, Lives
from launcher.core.market.offer import NOTICE_LEAD, Capacity, Offer, Placement
from launcher.core.market.quota import Refusals
from launcher.core.market.quote import Doubt, Quote
from launcher.core.plan.candidates import Candidate, TaskAt, by_total, costed
from launcher.core.plan.estimate import Task
from launcher.core.plan.limits import accelerators_needed, accepted
from launcher.core.plan.quotas import Withheld, withheld
from launcher.core.plan.sizing import footprint_of
from launcher.core.plan.transfer import UPLOAD_PER_S, Haul, Site
from launcher.core.plan.work import Work, is_ours, time_on
from launcher.core.recipe import Recipe
from launcher.core.run.view import RESTART_UNMEASURED_S
from launcher.units import Bytes, Seconds, UsdPerHour

STALL_S: Seconds = 5.0  # of a save, and until it is durable: assumed, as for a model of some GB
DURABLE_S: Seconds = 60.0  # where nobody knows how large a checkpoint is
DURABLE_LEAST_S: Seconds = 1.0  # however small: a few requests, one after the other


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
        price_cap=_cap(quote, capacity, price),
        mean_life=lives.mean(placement),
        notice_lead=NOTICE_LEAD.get(quote.cloud, 0.0),
        source="price list",
    )


def _cap(quote: Quote, capacity: Capacity, price: UsdPerHour) -> UsdPerHour:
    """The most an hour may come to while a machine lives: spot prices move, up to on-demand where no bid is made.

    AWS: the maximum is the on-demand price by default, and the price in effect is paid (whitepaper Leveraging EC2 Spot Instances,
    How Spot Instances Work). Azure: -1, the default maximum, is up to on-demand (Compute REST API, BillingProfile.maxPrice).
    GCP: spot is discounted against on-demand by 60 to 91 % (Compute Engine, Spot VMs), so below it.
    """
    return price if capacity is Capacity.ON_DEMAND or quote.on_demand is None else max(price, quote.on_demand)


def anywhere(recipe: Recipe) -> Recipe:
    """The recipe as it is priced for clouds: one that names no GPU takes one of any kind, and a rehearsed one any cloud."""
    resources = recipe.resources
    gpus = resources.accelerators or tuple(f"{name}:1" for name in CHIPS)
    return replace(recipe, resources=replace(resources, accelerators=gpus, infra=() if recipe.is_local else resources.infra))


def comparable(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """Those whose GPU is known, so that there is a speed to go by."""
    return tuple(offer for offer in offers if offer.placement.accelerator in CHIPS)


def times(recipe: Recipe, work: Work, haul: Haul, measured: Mapping[str, Seconds] | None = None) -> TaskAt:
    """How long the job takes in a place: as `measured` on such a machine (by "A100:8"), else by the roofline from one GPU to the
    other; and by what its checkpoints weigh.
    """
    moved_s = None if haul.state is None else haul.state / UPLOAD_PER_S

    def there(offer: Offer) -> Task:
        placement = offer.placement
        gpus = accelerators_needed(recipe, placement) or placement.accelerators
        used = 1 if is_ours(recipe) else gpus * recipe.num_nodes  # our trainer works on one GPU
        seen = (measured or {}).get(f"{placement.accelerator}:{gpus}")
        work_s, steps = seen or time_on(CHIPS[placement.accelerator], used, work), _steps(recipe)
        return Task(
            work=work_s,
            step=work_s / steps if steps else None,
            restart_cost=RESTART_UNMEASURED_S + (moved_s or 0.0),
            stall=STALL_S,
            durable=DURABLE_S if moved_s is None else max(DURABLE_LEAST_S, moved_s),
            num_nodes=recipe.num_nodes,
        )

    return there


# Whose bucket a URL's scheme means; what else speaks S3 bills otherwise.
CLOUD_OF_SCHEME = {"s3": "aws", "gs": "gcp", "az": "azure", "abfs": "azure", "abfss": "azure"}


def haul_of(
    recipe: Recipe,
    *,
    state: Bytes | None = None,
    store: Site | None = None,
    data: Bytes | None = None,
    source: Site | None = None,
) -> Haul:
    """What the recipe keeps and moves; a checkpoint's size counted for a trainer of ours, places by their URLs, unless told."""
    found = footprint_of(recipe)
    counted = None if found is None else found.weights + found.optimizer
    keep = recipe.checkpoint.keep
    urls = (site for url in recipe.data.values() if (site := _site(url)) is not None)
    return Haul(
        state=counted if state is None else state,
        kept=keep.last + keep.best,
        milestones=_milestones(recipe),
        store=store or _site(recipe.checkpoint.dir or ""),
        data=data,
        source=source or next(urls, None),
    )


def _milestones(recipe: Recipe) -> int:
    """What `keep.every` keeps to the end; none where nobody knows how many steps there are."""
    every = keep_rule(recipe.checkpoint.keep).every_steps
    return (_steps(recipe) or 0) // every if every else 0


def _steps(recipe: Recipe) -> int | None:
    steps = (recipe.trainer or {}).get("steps")
    return steps if isinstance(steps, int) else None


def _site(url: str) -> Site | None:
    cloud = CLOUD_OF_SCHEME.get(url.partition("://")[0])
    return None if cloud is None else Site(cloud=cloud)


def totals(recipe: Recipe, work: Work, haul: Haul, offers: Iterable[Offer], quotas: Refusals = ()) -> tuple[Candidate, ...]:
    """The offers that the recipe accepts and whose GPU is known, the cheapest to finish first. No policy is asked.

    `quotas`: those that are not asked for again yet.
    """
    wanted = anywhere(recipe)
    return by_total(_costed(wanted, work, haul, accepted(wanted, comparable(offers), quotas)))


def unasked(recipe: Recipe, work: Work, haul: Haul, offers: Iterable[Offer], quotas: Refusals) -> tuple[Withheld, ...]:
    """What is not among the totals for quotas that were refused."""
    wanted = anywhere(recipe)
    return withheld(wanted, comparable(offers), quotas, lambda offer: _costed(wanted, work, haul, [offer])[0].usd)


def _costed(wanted: Recipe, work: Work, haul: Haul, offers: Iterable[Offer]) -> list[Candidate]:
    return costed(wanted, MarketView(), offers, times(wanted, work, haul), haul)
