"""AWS's spot prices, from EC2's price history, with whatever credentials botocore's own chain finds.

One question a region and page tells the newest price of each type in each zone, zones by their ids, as lists name them. (EC2 API
reference, DescribeSpotPriceHistory: with the present as its start it gives the prices in force; the rights it needs are
ec2:DescribeSpotPriceHistory and, where an answer has no zone ids, ec2:DescribeAvailabilityZones.)
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from launcher.adapters import ec2
from launcher.adapters.market.live import Key, key
from launcher.adapters.market.live_ask import Unanswered, number
from launcher.core.market.quote import Quote
from launcher.units import UsdPerHour

PAGES_MOST = 4  # of a region: a page has up to 1,000 prices, and a region some thirty types in at most seven zones
FAILURES_MOST = 3  # regions at the start without one answer: there is no way to AWS, or the credentials are nobody's
_LINUX = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")

Prices = dict[tuple[str, str], UsdPerHour]  # by type and zone id


def aws_spots(rows: Iterable[Quote]) -> Iterator[dict[Key, UsdPerHour]]:
    """Spot prices of `rows`, region by region in the order of the rows. Raises Unanswered."""
    wanted: dict[str, list[Quote]] = defaultdict(list)
    for row in rows:
        wanted[row.region].append(row)
    try:
        session = ec2.session()
    except ec2.NobodyAsks as error:
        raise Unanswered(str(error)) from None
    troubles: dict[str, str] = {}
    for num, (region, those) in enumerate(wanted.items(), start=1):
        try:
            prices = _prices(ec2.Region(session, region), sorted({row.instance for row in those}))
        except ec2.Unanswered as error:
            if error.code in ec2.REFUSED:
                raise Unanswered(f"{region} {error}") from None
            troubles[region] = str(error)
            if num == len(troubles) == FAILURES_MOST:
                break
        else:
            yield {key(row): prices[row.instance, row.zone] for row in those if row.zone and (row.instance, row.zone) in prices}
    if troubles:
        raise Unanswered(f"{', '.join(troubles)}: {next(iter(troubles.values()))}")


def _prices(region: ec2.Region, types: Sequence[str]) -> Prices:
    """The newest price of each of `types` in each zone of `region`. Raises ec2.Unanswered, Unanswered."""
    entries = list(_entries(region, types))
    is_named = any("AvailabilityZoneId" not in entry for entry in entries)
    return _newest(entries, region.zone_ids() if is_named else {})


def _entries(region: ec2.Region, types: Sequence[str]) -> Iterator[dict[str, Any]]:
    question = {"InstanceTypes": list(types), "ProductDescriptions": [_LINUX[0]], "StartTime": datetime.now(UTC)}
    token = ""
    for _ in range(PAGES_MOST):
        more = {"NextToken": token} if token else {}
        page = region.ask("describe_spot_price_history", MaxResults=1000, **question, **more)
        yield from page.get("SpotPriceHistory", ())
        token = page.get("NextToken", "")
        if not token:
            return
    raise Unanswered("EC2 has more pages than are worth asking for")


def _newest(entries: Iterable[Mapping[str, Any]], ids: Mapping[str, str]) -> Prices:
    """An earlier entry is a price that held before."""
    found: dict[tuple[str, str], tuple[float, UsdPerHour | None]] = {}
    for entry in entries:
        zone = entry.get("AvailabilityZoneId") or ids.get(entry.get("AvailabilityZone", ""))
        since = entry.get("Timestamp")
        if zone is None or entry.get("ProductDescription") not in _LINUX or not isinstance(since, datetime):
            continue
        place = str(entry.get("InstanceType")), zone
        if place not in found or since.timestamp() > found[place][0]:
            found[place] = since.timestamp(), _price(entry.get("SpotPrice"))
    return {place: price for place, (_, price) in found.items() if price is not None}


def _price(text: object) -> UsdPerHour | None:
    try:
        return number(float(str(text)))
    except ValueError:
        return None
