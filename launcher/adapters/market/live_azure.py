"""Azure's spot prices, from its public Retail Prices interface: no account, some pages of JSON.

A page has meters of virtual machines, each of one size in one region, for Linux and Windows, with the price at which it is sold
from an instant on. Asked for are sizes of the lists, some at a time; a row's price is that of the one Linux spot meter in force.
Where two of them in force differ, neither is taken: which of them is billed nobody can tell. (Microsoft Learn, "Azure Retail
Prices overview", read 2026-11-29: fields, OData filters, pages of at most 1,000, `NextPageLink`; that Windows may also be written
"Win" is from SkyPilot's sky/catalog/data_fetchers/fetch_azure.py.)
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from launcher.adapters.market.live import Key, key
from launcher.adapters.market.live_ask import Answer, Unanswered, answer_of, fields, items, number
from launcher.core.market.quote import Quote
from launcher.units import UsdPerHour, Utc

URL = "https://prices.azure.com/api/retail/prices"
SIZES_AT_ONCE = 12  # in one question: its address stays below 2,000 characters, and its filter below 100 terms
REQUESTS_MOST = 40  # a dozen sizes in all regions are one or two pages
_NOT_LINUX = re.compile(r" Win(dows)?\b| Cloud ?Services|Red ?Hat|RHEL|SUSE")  # nor Linux that costs by itself
_SIZE = re.compile(r"^[A-Za-z0-9_]+$")  # nothing that could end the quotes in a filter

Place = tuple[str, str]  # size and region


def azure_spots(rows: Iterable[Quote], url: str = URL) -> Iterator[dict[Key, UsdPerHour]]:
    """Spot prices of `rows`, some sizes at a time. Raises Unanswered."""
    wanted: dict[str, list[Quote]] = defaultdict(list)
    for row in rows:
        if _SIZE.match(row.instance):
            wanted[_size(row)].append(row)
    sizes, num_left = list(wanted), REQUESTS_MOST
    for start in range(0, len(sizes), SIZES_AT_ONCE):
        some = sizes[start : start + SIZES_AT_ONCE]
        meters: dict[Place, list[dict[str, Any]]] = defaultdict(list)
        now: Utc | None = None
        for page in _pages(url, some, num_left):
            num_left -= 1
            now = page.at if page.at is not None else now
            for meter in map(fields, items(fields(page.document).get("Items"))):
                if _is_linux_spot(meter):
                    meters[str(meter.get("armSkuName")), str(meter.get("armRegionName")).lower()].append(meter)
        prices = {place: price for place, found in meters.items() if (price := _in_force(found, now)) is not None}
        yield {
            key(row): prices[size, row.region.lower()]
            for size in some
            for row in wanted[size]
            if (size, row.region.lower()) in prices
        }


def _size(row: Quote) -> str:
    return row.instance if row.instance.startswith("Standard_") else f"Standard_{row.instance}"


def _pages(url: str, sizes: Sequence[str], num_most: int) -> Iterator[Answer]:
    """All pages about `sizes`. Of the server's link to the next one only the question is followed, never to another host."""
    named = " or ".join(f"armSkuName eq '{size}'" for size in sizes)
    only = "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and contains(skuName, 'Spot')"
    question: dict[str, str] | None = {"currencyCode": "USD", "$filter": f"{only} and ({named})"}
    seen: set[str] = set()
    while question is not None:
        address = f"{url}?{urlencode(question, quote_via=quote)}"
        if len(seen) >= num_most or address in seen:
            raise Unanswered(f"{urlsplit(url).hostname} has more pages than are worth asking for")
        seen.add(address)
        page = answer_of(address)
        if not isinstance(fields(page.document).get("Items"), list):
            raise Unanswered(f"{urlsplit(url).hostname} answers with something else than a page of prices")
        yield page
        link = page.document.get("NextPageLink")
        question = {name: values[-1] for name, values in parse_qs(urlsplit(str(link)).query).items()} if link else None


def _is_linux_spot(meter: dict[str, Any]) -> bool:
    return (
        str(meter.get("skuName")).endswith(" Spot")
        and not _NOT_LINUX.search(str(meter.get("productName")))
        and meter.get("type") == "Consumption"
        and meter.get("unitOfMeasure") == "1 Hour"
        and meter.get("currencyCode") == "USD"
        and not meter.get("tierMinimumUnits")
        and meter.get("isPrimaryMeterRegion") is not False  # the others are never billed
    )


def _in_force(meters: Iterable[dict[str, Any]], now: Utc | None) -> UsdPerHour | None:
    """The price of the newest of these that is not of the future, by the server's clock; None where nobody can tell which."""
    begun = [(at, number(meter.get("retailPrice"))) for meter in meters if (at := _began_at(meter)) <= (now or float("inf"))]
    newest = max((at for at, _ in begun), default=0.0)
    prices = {price for at, price in begun if at == newest}
    return prices.pop() if len(prices) == 1 else None


def _began_at(meter: dict[str, Any]) -> Utc:
    try:
        return datetime.fromisoformat(str(meter.get("effectiveStartDate"))).timestamp()
    except ValueError:
        return 0.0
