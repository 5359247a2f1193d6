"""Builders of offers, markets and run views: only what a test is about need be written."""

from launcher.core.market.belief import MarketView, PlaceBelief
from launcher.core.market.offer import NOTICE_LEAD, Capacity, Offer, Placement
from launcher.core.market.trace import FOREVER
from launcher.core.policy.base import Phase, RunView
from launcher.units import HOUR, Seconds, UsdPerHour, Utc, parse_duration

NOW: Utc = 1_000_000.0
BOTH = frozenset(c.value for c in Capacity)


def placement(zone: str, capacity: Capacity = Capacity.SPOT, *, cloud: str = "aws", gpus: int = 1) -> Placement:
    region = zone.rstrip("abc").rstrip("-")
    return Placement(
        cloud=cloud, region=region, zone=zone, instance=f"x{gpus}", accelerator="A100", accelerators=gpus, capacity=capacity
    )


def spot(zone: str, price: UsdPerHour = 1.0, *, life: Seconds = 10 * HOUR, gpus: int = 1, cloud: str = "aws") -> Offer:
    return _offer(placement(zone, cloud=cloud, gpus=gpus), price, life)


def on_demand(zone: str, price: UsdPerHour = 3.0, *, gpus: int = 1, cloud: str = "aws") -> Offer:
    return _offer(placement(zone, Capacity.ON_DEMAND, cloud=cloud, gpus=gpus), price, FOREVER)


def _offer(where: Placement, price: UsdPerHour, life: Seconds) -> Offer:
    return Offer(
        placement=where,
        price=price,
        on_demand_price=3.0,
        price_cap=price,
        mean_life=life,
        notice_lead=NOTICE_LEAD[where.cloud],
        source="test",
    )


def market(*offers: Offer, cooling: dict[str, Utc] | None = None) -> MarketView:
    """What is on offer; `cooling` maps zones to when their cooldown ends, for whatever capacity is on offer there."""
    until = cooling or {}
    places = {
        o.placement.place: PlaceBelief(failures=1, cools_until=until[o.placement.zone])
        for o in offers
        if o.placement.zone is not None and o.placement.zone in until
    }
    return MarketView(offers=offers, sighted_at=NOW, places=places)


def run_view(
    *,
    remaining: str = "10h",
    deadline_in: str | None = None,
    current: Placement | None = None,
    notice_in: Seconds | None = None,
    restart: str = "6m",
    allowed: frozenset[str] = BOTH,
    num_nodes: int = 1,
) -> RunView:
    return RunView(
        now=NOW,
        phase=Phase.WAITING if current is None else Phase.RUNNING,
        deadline=None if deadline_in is None else NOW + parse_duration(deadline_in),
        remaining_work=parse_duration(remaining),
        work_per_s=1.0,
        num_nodes=num_nodes,
        restart_cost=parse_duration(restart),
        checkpoint_age=0.0,
        current=current,
        notice_ends_at=None if notice_in is None else NOW + notice_in,
        spent=0.0,
        budget=None,
        allowed=allowed,
        attempts=(),
    )
