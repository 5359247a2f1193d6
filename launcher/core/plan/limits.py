"""Which offers a recipe accepts, and what is wrong with the others.

A filter that only drops offers leaves people staring at an empty table. So each offer is asked for all its faults, in words that
name the key of the recipe; the one with the fewest faults is the nearest miss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from launcher.core.market.offer import Capacity, Offer, Placement
from launcher.core.market.quota import QuotaRefusal, Refusals
from launcher.core.plan.sizing import count_for, lacking_gib, show_memory, show_wish, too_small
from launcher.core.recipe import AUTO, Recipe, memory_named
from launcher.units import Usd, UsdPerHour, Utc, show_instant, show_rate

# What a rehearsal trains on where the recipe names nothing: one A100 is on offer on three clouds, at very different prices.
DEFAULT_ACCELERATORS = ("A100:1", "A100-80GB:1")
ASK_AGAIN = "retry.quota=0s"
INSTANCE_TYPE = "resources.instance_type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """An offer and why the recipe does not accept it; `faults` are whole clauses."""

    offer: Offer
    faults: tuple[str, ...]
    concession: str  # "allow eu-west-1 in data.residency": what the recipe would have to say

    def __str__(self) -> str:
        p = self.offer.placement
        return f"{p} {p.instance} ({p.capacity.value}) at {show_rate(self.offer.price)}: {' and '.join(self.faults)}"


SPOT, ON_DEMAND = frozenset({Capacity.SPOT.value}), frozenset({Capacity.ON_DEMAND.value})


def allowed_capacities(recipe: Recipe) -> frozenset[str]:
    """What may be bought: `use_spot` says spot or not; under auto the policy may fall back on demand unless told not to."""
    match recipe.resources.use_spot:
        case "true":
            return SPOT
        case "false":
            return ON_DEMAND
    return SPOT | ON_DEMAND if recipe.policy.on_demand_fallback else SPOT


def wanted_accelerators(recipe: Recipe) -> tuple[str, ...]:
    return recipe.resources.accelerators or DEFAULT_ACCELERATORS


def accelerators_needed(recipe: Recipe, placement: Placement) -> int | None:
    """How many of the placement's GPUs the recipe asks for, of several wishes as many as it has; None for none of them."""
    asked = (count_for(wish, placement.accelerator) for wish in wanted_accelerators(recipe))
    counts = [count for count in asked if count is not None]
    return max((count for count in counts if count <= placement.accelerators), default=min(counts, default=None))


def standing(recipe: Recipe, refused: Refusals, now: Utc) -> Refusals:
    """The quotas that are not asked for again yet."""
    return tuple(one for one in refused if now < one.refused_at + recipe.retry.quota)


def lacking_quota(recipe: Recipe, placement: Placement, quotas: Refusals) -> QuotaRefusal | None:
    """The newest of the standing `quotas` that keeps the recipe from a place."""
    refused = (one for one in quotas if one.covers(placement, recipe.num_nodes))
    return max(refused, key=lambda one: one.refused_at, default=None)


def faults(recipe: Recipe, offer: Offer, quotas: Refusals = ()) -> tuple[str, ...]:
    """Everything that keeps `recipe` from accepting `offer`; () where it does. `quotas`: the standing ones."""
    checks = (
        _hardware_fault(recipe, offer.placement),
        _instance_fault(recipe, offer.placement),
        too_small(recipe, offer.placement.accelerator),
        _infra_fault(recipe, offer.placement),
        _residency_fault(recipe, offer.placement),
        _capacity_fault(recipe, offer.placement),
        _price_fault(recipe, offer),
        _quota_fault(recipe, offer.placement, quotas),
    )
    return tuple(fault for fault in checks if fault)


def accepted(recipe: Recipe, offers: tuple[Offer, ...], quotas: Refusals = ()) -> tuple[Offer, ...]:
    return tuple(o for o in offers if not faults(recipe, o, quotas))


def is_too_dear(recipe: Recipe, offer: Offer) -> bool:
    """Now: a price that rises while a machine lives is the budget's business."""
    limit = recipe.resources.max_hourly_cost
    return limit is not None and offer.price > limit


def nearest_miss(
    recipe: Recipe, offers: tuple[Offer, ...], usd: Callable[[Offer], Usd] | None = None, quotas: Refusals = ()
) -> Miss | None:
    """Where the job could run but for price, capacity or quota, else whatever has the fewest faults; of those the cheapest, by
    `usd` to finish there or by the hour.
    """
    faulty = {o: found for o in offers if (found := faults(recipe, o, quotas))}
    clouds = {text.partition("/")[0] for text in recipe.resources.infra}
    distances = {o: _distance(recipe, o, len(found), clouds) for o, found in faulty.items()}
    nearest = min(distances.values(), default=None)
    near = [o for o, distance in distances.items() if distance == nearest]
    best = min(near, key=lambda o: (usd(o) if usd else o.price, o.price, o.placement.place), default=None)
    return None if best is None else Miss(offer=best, faults=faulty[best], concession=_concession(recipe, best, quotas))


def _distance(recipe: Recipe, offer: Offer, num_faults: int, clouds: set[str]) -> tuple[bool, float, int, bool]:
    """Another region is nearer than another cloud, and anything nearer than a GPU that does not hold the training."""
    p = offer.placement
    return not could_run(recipe, p), lacking_gib(recipe, p.accelerator), num_faults, bool(clouds) and p.cloud not in clouds


def _concession(recipe: Recipe, offer: Offer, quotas: Refusals) -> str:
    p = offer.placement
    lacking = lacking_quota(recipe, p, quotas)
    parts = (
        (_hardware_fault(recipe, p), f"{p.accelerator}:{p.accelerators} in resources.accelerators"),
        (_instance_fault(recipe, p), f"{p.instance} as {INSTANCE_TYPE}"),
        (_infra_fault(recipe, p), f"{p.cloud}/{p.region} in resources.infra"),
        (_residency_fault(recipe, p), f"{p.region} in data.residency"),
        (_capacity_fault(recipe, p), f"{p.capacity.value} by {_capacity_key(recipe)}"),
        (_price_fault(recipe, offer), f"{show_rate(_enough(offer.price))} as resources.max_hourly_cost"),
    )
    allowed = " and ".join(allowed for fault, allowed in parts if fault)
    larger = "make the training smaller" if recipe.resources.accelerators == (AUTO,) else "write resources.accelerators=auto"
    steps = (
        allowed and f"allow {allowed}",
        lacking_gib(recipe, p.accelerator) and larger,
        lacking and f"get a quota of {lacking} or write {ASK_AGAIN}",
    )
    return " and ".join(step for step in steps if step)


def _enough(rate: UsdPerHour) -> UsdPerHour:
    """The same rounded up to the digits that are shown, so that what is typed from them suffices."""
    steps = 100 if rate >= 0.1 else 10_000
    return math.ceil(rate * steps - 1e-6) / steps


def _capacity_key(recipe: Recipe) -> str:
    return "policy.on_demand_fallback=true" if recipe.resources.use_spot == "auto" else "resources.use_spot=auto"


def could_run(recipe: Recipe, placement: Placement) -> bool:
    """Whether the job could run there at all, whatever it costs and however it is bought."""
    checks = (_hardware_fault, _instance_fault, _infra_fault, _residency_fault)
    return not any(check(recipe, placement) for check in checks) and not lacking_gib(recipe, placement.accelerator)


def _hardware_fault(recipe: Recipe, placement: Placement) -> str | None:
    needed = accelerators_needed(recipe, placement)
    if needed is not None and needed <= placement.accelerators:
        return None
    wishes = wanted_accelerators(recipe)
    memory = show_memory(placement.accelerator) if any(memory_named(wish.partition(":")[0]) for wish in wishes) else ""
    wanted = " or ".join(show_wish(wish) for wish in wishes)
    return f"it has {placement.accelerator}:{placement.accelerators}{memory}, not {wanted}"


def instance_wanted(recipe: Recipe) -> str | None:
    """The machine that a recipe in SkyPilot's words names; a rehearsal has none such."""
    named = None if recipe.is_local else recipe.not_rehearsed.get(INSTANCE_TYPE)
    return None if named is None else str(named)


def _instance_fault(recipe: Recipe, placement: Placement) -> str | None:
    wanted = instance_wanted(recipe)
    return None if wanted in (None, placement.instance) else f"it is no {wanted} ({INSTANCE_TYPE})"


def _infra_fault(recipe: Recipe, placement: Placement) -> str | None:
    """`infra: local` rehearses every cloud; "aws/us-east-1/use1-az4" narrows to a region and a zone."""
    named = recipe.resources.infra
    here = (placement.cloud, placement.region, placement.zone or placement.region)
    if not named or recipe.is_local or any(_is_within(here, text) for text in named):
        return None
    return f"it is on {placement.cloud}/{placement.region}, not on {' or '.join(named)} (resources.infra)"


def _is_within(here: tuple[str, ...], infra: str) -> bool:
    return all(part in ("*", own) for own, part in zip(here, infra.split("/"), strict=False))


def _residency_fault(recipe: Recipe, placement: Placement) -> str | None:
    if not recipe.residency or any(lies_in(placement.cloud, placement.region, area) for area in recipe.residency):
        return None
    return f"{placement.region} lies outside data.residency ({', '.join(recipe.residency)})"


def _capacity_fault(recipe: Recipe, placement: Placement) -> str | None:
    allowed = allowed_capacities(recipe)
    if placement.capacity.value in allowed:
        return None
    return f"it is {placement.capacity.value}, and the recipe allows {' or '.join(sorted(allowed))} only"


def _price_fault(recipe: Recipe, offer: Offer) -> str | None:
    """Per node, like everything under `resources:` (SkyPilot's YAML spec: per-node resource requirements)."""
    limit = recipe.resources.max_hourly_cost
    if limit is None or not is_too_dear(recipe, offer):
        return None
    alike = show_rate(offer.price) == show_rate(limit)
    price = f"${offer.price:.6g}/h" if alike else show_rate(offer.price)
    return f"its {price} is above resources.max_hourly_cost {show_rate(limit)}"


def _quota_fault(recipe: Recipe, placement: Placement, quotas: Refusals) -> str | None:
    lacking = lacking_quota(recipe, placement, quotas)
    if lacking is None:
        return None
    return f"{lacking.cloud} refused a quota of {lacking} at {show_instant(lacking.refused_at)}"


# Regions named for Europe where EU law does not hold: London, Zurich.
_EUROPE_NOT_EU = {"aws": ("eu-west-2", "eu-central-2"), "gcp": ("europe-west2", "europe-west6")}
_AZURE_EU = (
    "northeurope",
    "westeurope",
    "france",
    "germany",
    "sweden",
    "italy",
    "poland",
    "spain",
    "austria",
    "belgium",
    "denmark",
)
_AZURE_US = ("eastus", "westus", "centralus", "northcentralus", "southcentralus", "westcentralus")
_AREA_PREFIXES = {
    "eu": {"aws": ("eu-",), "gcp": ("europe-",), "azure": _AZURE_EU},
    "us": {"aws": ("us-",), "gcp": ("us-",), "azure": _AZURE_US},
}


def lies_in(cloud: str, region: str, area: str) -> bool:
    """Whether a region lies in "eu", "us" or the region or group of regions whose name begins with `area`."""
    prefixes = _AREA_PREFIXES.get(area.lower())
    if prefixes is None:
        return region.startswith(area.lower())
    is_excluded = area.lower() == "eu" and region.startswith(_EUROPE_NOT_EU.get(cloud, ()))
    return region.startswith(prefixes.get(cloud, ())) and not is_excluded
