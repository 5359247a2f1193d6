"""Google's spot prices, from the Cloud Billing Catalog, which wants an API key.

The catalog has no machines, only parts: a core of A3, a GiB of memory of A3, a GPU, each in some regions, on demand and spot,
told apart by an English description. A row's spot price is the sum of its parts. So that no row gets another's parts, the same
sum is made on demand from the same answer: only where that is the price that the list has on demand are the spot parts believed,
and only where each of them is there once. What is left out so keeps its listed price: rows without a trustworthy on-demand price
(the lower of two levels), TPUs, and machines whose parts are not those below.

Sources: Google, "Cloud Billing Catalog API", services.skus.list (pages of at most 5,000; usageType, usageUnit, unitPrice); the
service's id and the descriptions as in SkyPilot's sky/catalog/data_fetchers/fetch_gcp.py. Read 2026-11-29.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from launcher.adapters.market.live import Key, key
from launcher.adapters.market.live_ask import Unanswered, answer_of, fields, items, number
from launcher.core.market.quote import Quote
from launcher.units import UsdPerHour

URL = "https://cloudbilling.googleapis.com"
COMPUTE_ENGINE = "services/6F81-5844-456A"
PAGE_SIZE = 5000
PAGES_MOST = 16  # Compute Engine has some tens of thousands of SKUs
SAME = 0.01  # lists round to five digits, and by region

_SERIES = {"a2": "A2 Instance", "a3": "A3 Instance", "g2": "G2 Instance", "n1": "N1 Predefined Instance"}
_GPUS = {
    "A100": "Nvidia Tesla A100 GPU",
    "A100-80GB": "Nvidia Tesla A100 80GB GPU",
    "H100": "Nvidia H100 80GB GPU",
    "L4": "Nvidia L4 GPU",
    "T4": "Nvidia Tesla T4 GPU",
    "V100": "Nvidia Tesla V100 GPU",
}
_PLACE = re.compile(r"( attached to (Spot Preemptible )?VMs)? running in .*$")
_UNITS = {"Core": "h", "Ram": "GiBy.h", "GPU": "h"}

Part = tuple[str, str, str]  # "A3 Instance Core", usage type, region
SPOT, ON_DEMAND = "Preemptible", "OnDemand"


def gcp_spots(rows: Iterable[Quote], api_key: str, url: str = URL) -> Iterator[dict[Key, UsdPerHour]]:
    """Spot prices of those of `rows` whose parts add up; all at once: a part may stand on the last page. Raises Unanswered."""
    wanted = [row for row in rows if _parts(row)]
    if not wanted:
        return
    names = {name for row in wanted for name, _ in _parts(row)}
    prices: dict[Part, set[float | None]] = defaultdict(set)
    for page in _pages(url, api_key):
        for sku in map(fields, page):
            name, usage = _name(sku), str(fields(sku.get("category")).get("usageType"))
            if name in names and usage in (SPOT, ON_DEMAND) and usage == _told_usage(sku):
                price = _unit_price(sku, _UNITS[name.rpartition(" ")[2]])
                for region in items(sku.get("serviceRegions")):
                    prices[name, usage, str(region)].add(price)
    yield {key(row): spot for row in wanted if (spot := _believed(row, prices)) is not None}


def _believed(row: Quote, prices: dict[Part, set[float | None]]) -> UsdPerHour | None:
    """The sum of the spot parts, where that of the on-demand parts is what the list has."""
    spot, on_demand = _sum(row, SPOT, prices), _sum(row, ON_DEMAND, prices)
    if spot is None or on_demand is None or row.on_demand is None:
        return None
    return spot if math.isclose(on_demand, row.on_demand, rel_tol=SAME) else None


def _sum(row: Quote, usage: str, prices: dict[Part, set[float | None]]) -> UsdPerHour | None:
    """None where a part is not sold there, or has several prices."""
    total = 0.0
    for name, num in _parts(row):
        found = prices.get((name, usage, row.region), set())
        price = next(iter(found)) if len(found) == 1 else None
        if price is None:
            return None
        total += num * price
    return total


def _parts(row: Quote) -> tuple[tuple[str, float], ...]:
    """What a machine is the sum of; nothing where that is not known."""
    series, gpu = _SERIES.get(row.instance.partition("-")[0]), _GPUS.get(row.accelerator)
    if series is None or gpu is None or row.vcpus is None or row.memory_gib is None:
        return ()
    return (f"{series} Core", row.vcpus), (f"{series} Ram", row.memory_gib), (gpu, row.accelerators)


# --- the catalog ---------------------------------------------------------------------------------------------------------------


def _pages(url: str, api_key: str) -> Iterator[list[Any]]:
    token = ""
    for _ in range(PAGES_MOST):
        question = {"currencyCode": "USD", "pageSize": str(PAGE_SIZE), "pageToken": token}
        answer = answer_of(f"{url}/v1/{COMPUTE_ENGINE}/skus?{urlencode(question)}", headers={"X-Goog-Api-Key": api_key})
        document = fields(answer.document)
        if not isinstance(document.get("skus"), list):
            raise Unanswered("Google's catalog answers with something else than a page of prices")
        yield document["skus"]
        token = str(document.get("nextPageToken") or "")
        if not token:
            return
    raise Unanswered("Google's catalog has more pages than are worth asking for")


def _name(sku: dict[str, Any]) -> str:
    """ "A3 Instance Core" of "Spot Preemptible A3 Instance Core running in Americas"; "Nvidia L4 GPU" likewise."""
    return _PLACE.sub("", str(sku.get("description")).removeprefix("Spot Preemptible "))


def _told_usage(sku: dict[str, Any]) -> str:
    """By the description; commitments, reservations and others say so before or behind the name, which is then none of ours."""
    return SPOT if "Spot Preemptible " in str(sku.get("description")) else ON_DEMAND


def _unit_price(sku: dict[str, Any], unit: str) -> UsdPerHour | None:
    """For one core, GiB or GPU in one hour; None where it is sold by another unit, in steps, or for nothing."""
    newest = fields(next(iter(items(sku.get("pricingInfo"))[-1:]), None))
    expression = fields(newest.get("pricingExpression"))
    rates = [fields(rate) for rate in items(expression.get("tieredRates"))]
    if expression.get("usageUnit") != unit or len(rates) != 1:
        return None
    price = fields(rates[0].get("unitPrice"))
    if price.get("currencyCode") != "USD" or not str(price.get("units", "0")).isdigit():
        return None
    return number(int(price.get("units") or 0) + (number(price.get("nanos")) or 0.0) / 1e9)
