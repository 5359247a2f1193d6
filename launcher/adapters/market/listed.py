"""A bundled list of prices, for rehearsals: real figures, each with its source and date, and no network.

`listed.csv` holds one row for each place. A row becomes two offers, spot and on-demand, at constant prices, so none costs more
later than when it was asked for. How long machines live there is not the list's business but the rehearsed market's, so the trace
says it.
"""

import csv
import io
from collections.abc import Callable, Iterator
from importlib import resources

from launcher.core.market.offer import NOTICE_LEAD, Capacity, Offer, Placement
from launcher.core.plan.limits import accepted
from launcher.core.recipe import Recipe
from launcher.units import Seconds, Utc

MeanLife = Callable[[str], Seconds]  # place -> mean life, as `Trace.mean_life`


class ListedFeed:
    """The listed offers that `recipe` accepts. Their prices never change, so every look finds the same."""

    def __init__(self, recipe: Recipe, mean_life: MeanLife) -> None:
        self._offers = accepted(recipe, listed(mean_life))

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        return self._offers


def listed(mean_life: MeanLife) -> tuple[Offer, ...]:
    """Every offer of the bundled list, unfiltered: what a plan is made from."""
    return tuple(offer for row in rows() for offer in _offers(row, mean_life))


def rows() -> list[dict[str, str]]:
    """The list as it is written. Columns: gpu, gpus, cloud, region, zone, instance, spot, on_demand (USD/h), source, date."""
    text = resources.files("launcher.adapters.market").joinpath("listed.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def _offers(row: dict[str, str], mean_life: MeanLife) -> Iterator[Offer]:
    for capacity, column in ((Capacity.SPOT, "spot"), (Capacity.ON_DEMAND, "on_demand")):
        placement = _placement(row, capacity)
        price = float(row[column])
        yield Offer(
            placement=placement,
            price=price,
            on_demand_price=float(row["on_demand"]),
            price_cap=price,
            mean_life=mean_life(placement.place),
            notice_lead=NOTICE_LEAD[placement.cloud],
            source=f"{row['source']}, {row['date']}",
        )


def _placement(row: dict[str, str], capacity: Capacity) -> Placement:
    return Placement(
        cloud=row["cloud"],
        region=row["region"],
        zone=row["zone"] or None,
        instance=row["instance"],
        accelerator=row["gpu"],
        accelerators=int(row["gpus"]),
        capacity=capacity,
    )
