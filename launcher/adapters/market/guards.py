"""What in a price list is not to be believed, and what is said about it.

Each guard was written for rows of the real catalogs in which the number is not what a buyer would pay. A guard takes a price
away, or names a doubt, or both; none invents a price.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from statistics import median

from launcher.core.market.quote import Doubt, Quote
from launcher.units import UsdPerHour

FLOOR = 0.10  # AWS lists exactly so much of on-demand where nobody is outbid
PLACEHOLDER_TIMES = 10.0  # GCP lists TPUs at 700.0 where they are not sold: 12 to 500 times their price elsewhere
LEAST_SHARE = 0.01  # of what is usual, of on-demand too; clouds advertise up to 91 % off, and 0.001 for eight GPUs is no price
LEVEL_GAP = 1.35  # between neighbours in GCP's sorted prices per GPU: 1.40 at least between its two levels, else 1.15 at most
_REGION_ZONE = re.compile(r"^[a-z]+\d+-az\d+$")  # not a local zone, "use1-atl2-az1", nor a carrier's, "use1-wl1-bos-wlz1"


def judged(quotes: list[Quote], dropped: Counter[tuple[str, str]]) -> Iterator[Quote]:
    """`quotes` less what is wrong with them; those without any price left are counted in `dropped`."""
    usual = usual_prices(quotes)
    for quote in quotes:
        whole = _in_a_region(without_no_spot(_usual_price(_whole_gpus(quote), usual)))
        if whole.spot is None and whole.on_demand is None:
            dropped[quote.accelerator, "no price"] += 1
        else:
            yield whole


def _doubted(quote: Quote, doubt: Doubt, **changes: UsdPerHour | None) -> Quote:
    return replace(quote, doubts=(*quote.doubts, doubt), **changes)  # type: ignore[arg-type]


def _whole_gpus(quote: Quote) -> Quote:
    return _doubted(quote, Doubt.SHARE) if quote.accelerators < 1 else quote


def _usual_price(quote: Quote, usual: dict[tuple[str, float], tuple[float, float]]) -> Quote:
    usual_spot, usual_on_demand = usual[quote.accelerator, quote.accelerators]
    on_demand = quote.on_demand if _is_in_proportion(quote.on_demand, usual_on_demand) else None
    spot = quote.spot if _is_in_proportion(quote.spot, usual_spot) else None
    if spot is not None and any(
        spot < LEAST_SHARE * whole for whole in (on_demand, usual_on_demand) if whole is not None and whole < math.inf
    ):
        spot = None
    if (spot, on_demand) == (quote.spot, quote.on_demand):
        return quote
    return _doubted(quote, Doubt.PLACEHOLDER, spot=spot, on_demand=on_demand)


def _is_in_proportion(price: UsdPerHour | None, usual: UsdPerHour) -> bool:
    return price is None or usual == math.inf or LEAST_SHARE * usual <= price < PLACEHOLDER_TIMES * usual


def _in_a_region(quote: Quote) -> Quote:
    if quote.cloud == "aws" and quote.zone is not None and not _REGION_ZONE.match(quote.zone):
        return _doubted(quote, Doubt.LOCAL_ZONE, on_demand=None)
    return quote


def without_no_spot(quote: Quote) -> Quote:
    if quote.spot is None or quote.on_demand is None:
        return quote
    if quote.spot >= quote.on_demand:
        return _doubted(quote, Doubt.NO_SPOT, spot=None)
    if abs(quote.spot / quote.on_demand - FLOOR) < 1e-6:
        return _doubted(quote, Doubt.SPOT_FLOOR)
    return quote


def usual_prices(quotes: Iterable[Quote]) -> dict[tuple[str, float], tuple[float, float]]:
    """Median spot and on-demand price of each kind of machine; infinite where none is known."""
    spot: dict[tuple[str, float], list[float]] = defaultdict(list)
    on_demand: dict[tuple[str, float], list[float]] = defaultdict(list)
    for quote in quotes:
        kind = quote.accelerator, quote.accelerators
        spot[kind] += [quote.spot] if quote.spot is not None else []
        on_demand[kind] += [quote.on_demand] if quote.on_demand is not None else []
    none = [float("inf")]
    return {kind: (median(spot[kind] or none), median(on_demand[kind] or none)) for kind in spot}


def upper_levels(prices: Iterable[tuple[str, UsdPerHour]]) -> dict[str, UsdPerHour]:
    """By accelerator, the least price per GPU of the upper level, for those whose prices fall into two levels."""
    by_accelerator: dict[str, set[UsdPerHour]] = defaultdict(set)
    for accelerator, price in prices:
        by_accelerator[accelerator].add(price)
    found = {}
    for accelerator, those in by_accelerator.items():
        most = PLACEHOLDER_TIMES * median(those)
        ordered = sorted(price for price in those if price < most)
        steps = [(high / low, high) for low, high in pairwise(ordered)]
        widest, above = max(steps, default=(0.0, 0.0))
        if widest >= LEVEL_GAP:
            found[accelerator] = above
    return found
