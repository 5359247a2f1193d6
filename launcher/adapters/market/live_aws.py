"""AWS's spot prices, from EC2's price history, with whatever credentials botocore's own chain finds.

botocore is what boto3 is made of; the extras `s3` and `aws` bring it along. One question a region and page tells the newest price
of each type in each zone. Zones are named by ids, as lists name them, since a name such as us-east-1a means another zone in each
account. (EC2 API reference, DescribeSpotPriceHistory: with the present as its start it gives the prices in force; the rights it
needs are ec2:DescribeSpotPriceHistory and, where an answer has no zone ids, ec2:DescribeAvailabilityZones.)
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from launcher.adapters.market.live import Key, key
from launcher.adapters.market.live_ask import Unanswered, number
from launcher.core.market.quote import Quote
from launcher.units import Seconds, UsdPerHour

CONNECT_MOST_S: Seconds = 3.0
READ_MOST_S: Seconds = 8.0
PAGES_MOST = 4  # of a region: a page has up to 1,000 prices, and a region some thirty types in at most seven zones
FAILURES_MOST = 3  # regions at the start without one answer: there is no way to AWS, or the credentials are nobody's
# Not of one region, but of who asks. AuthFailure is not among them: so answers a region that the account has not enabled.
_REFUSED = ("UnauthorizedOperation", "RequestExpired", "ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch")
_LINUX = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")

Prices = dict[tuple[str, str], UsdPerHour]  # by type and zone id


def aws_spots(rows: Iterable[Quote]) -> Iterator[dict[Key, UsdPerHour]]:
    """Spot prices of `rows`, region by region in the order of the rows. Raises Unanswered."""
    wanted: dict[str, list[Quote]] = defaultdict(list)
    for row in rows:
        wanted[row.region].append(row)
    session = _session()
    troubles: dict[str, str] = {}
    for num, (region, those) in enumerate(wanted.items(), start=1):
        try:
            prices = _prices(session, region, sorted({row.instance for row in those}))
        except _NotHere as error:
            troubles[region] = str(error)
            if num == len(troubles) == FAILURES_MOST:
                break
        else:
            yield {key(row): prices[row.instance, row.zone] for row in those if row.zone and (row.instance, row.zone) in prices}
    if troubles:
        raise Unanswered(f"{', '.join(troubles)}: {next(iter(troubles.values()))}")


class _NotHere(Exception):
    """One region gives no answer; another may."""


def _session() -> Any:
    """Raises Unanswered where nobody says who asks."""
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        raise Unanswered("botocore is not installed; pip install 'spot-launch[s3]'") from None
    session = Session()
    try:
        known = session.get_credentials()
    except BotoCoreError as error:
        raise Unanswered(f"no AWS credentials ({error})") from None
    if known is None:
        raise Unanswered("no AWS credentials")
    return session


def _prices(session: Any, region: str, types: Sequence[str]) -> Prices:
    """The newest price of each of `types` in each zone of `region`. Raises _NotHere, Unanswered."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    retries = {"total_max_attempts": 2, "mode": "standard"}
    config = Config(connect_timeout=CONNECT_MOST_S, read_timeout=READ_MOST_S, retries=retries)
    try:
        client = session.create_client("ec2", region_name=region, config=config)
        entries = list(_entries(client, types))
        is_named = any("AvailabilityZoneId" not in entry for entry in entries)
        ids = _zone_ids(client) if is_named else {}
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _REFUSED:
            raise Unanswered(f"{region} answers {code}") from None
        raise _NotHere(f"answers {code}") from None
    except BotoCoreError as error:
        raise _NotHere(str(error)) from None
    return _newest(entries, ids)


def _entries(client: Any, types: Sequence[str]) -> Iterator[dict[str, Any]]:
    question = {"InstanceTypes": list(types), "ProductDescriptions": [_LINUX[0]], "StartTime": datetime.now(UTC)}
    token = ""
    for _ in range(PAGES_MOST):
        page = client.describe_spot_price_history(MaxResults=1000, **question, **({"NextToken": token} if token else {}))
        yield from page.get("SpotPriceHistory", ())
        token = page.get("NextToken", "")
        if not token:
            return
    raise Unanswered("EC2 has more pages than are worth asking for")


def _zone_ids(client: Any) -> dict[str, str]:
    """Of this account's names for the zones of a region."""
    zones = client.describe_availability_zones().get("AvailabilityZones", ())
    return {zone["ZoneName"]: zone["ZoneId"] for zone in zones if "ZoneName" in zone and "ZoneId" in zone}


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
