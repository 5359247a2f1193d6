"""The answer of `launch prices`: which listings are meant, in which order, and how much of them fits on a screen."""

import enum
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from launcher.adapters.market.index import Listing, PriceList
from launcher.app.answer import moment
from launcher.app.columns import UNKNOWN, Column, fitted, wrapped
from launcher.codec import Json
from launcher.core.market.offer import Placement
from launcher.core.market.quote import Doubt, Quote
from launcher.units import Utc, show_duration

ROWS_SHOWN = 20


class Sort(enum.Enum):
    SPOT = "spot"
    ON_DEMAND = "on-demand"
    GPU_HOUR = "gpu-hour"  # the lower of both, per GPU


class Group(enum.Enum):
    GPU = "gpu"
    CLOUD = "cloud"
    REGION = "region"
    ZONE = "zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A listing in the answer; `num`: how many it stands for, as the cheapest of its group."""

    listing: Listing
    num: int = 1

    @property
    def quote(self) -> Quote:
        return self.listing.quote


def ranked(listings: Iterable[Listing], sort: Sort) -> list[Listing]:
    """Cheapest first; what has no such price is last, by its other one, and before it what is in doubt: a floor is no offer."""

    def key(found: Listing) -> tuple[bool, bool, float, str, str]:
        price, is_doubtful = _price(found.quote, sort)
        other = found.quote.spot if sort is Sort.ON_DEMAND else found.quote.on_demand
        place = f"{found.quote.cloud} {found.quote.zone or found.quote.region}"
        return price is None, is_doubtful, price or other or 0.0, place, found.quote.instance

    return sorted(listings, key=key)


def grouped(listings: Sequence[Listing], group: Group) -> list[Row]:
    """The first of each group, in the order of `listings`."""
    members: dict[str, list[Listing]] = {}
    for found in listings:
        members.setdefault(group_of(found.quote, group), []).append(found)
    return [Row(listing=those[0], num=len(those)) for those in members.values()]


def group_of(quote: Quote | Placement, group: Group) -> str:
    match group:
        case Group.GPU:
            return quote.accelerator
        case Group.CLOUD:
            return quote.cloud
        case Group.REGION:
            return f"{quote.cloud} {quote.region}"
        case Group.ZONE:
            return f"{quote.cloud} {quote.zone or quote.region}"


def _price(quote: Quote, sort: Sort) -> tuple[float | None, bool]:
    """What is sorted by, and whether it is in doubt."""
    is_floor = Doubt.SPOT_FLOOR in quote.doubts
    match sort:
        case Sort.SPOT:
            return quote.spot, is_floor
        case Sort.ON_DEMAND:
            return quote.on_demand, False
        case Sort.GPU_HOUR:
            spot = None if is_floor else quote.spot_per_gpu
            known = [price for price in (spot, quote.on_demand_per_gpu) if price is not None]
            return (min(known), False) if known else (quote.spot_per_gpu, is_floor)


# --- for people ----------------------------------------------------------------------------------------------------------------


def answer_lines(rows: Sequence[Row], now: Utc, *, width: int | None = None) -> list[str]:
    """The table, what the letters in it mean, and how old the lists are. `width` None: that of the terminal, or any."""
    if not rows:
        return ["nothing is listed that fits"]
    shown = rows[:ROWS_SHOWN]
    letters = _letters(shown)
    lines = fitted(_columns(any(row.num > 1 for row in shown), letters, now), shown, width)
    if len(rows) > len(shown):
        lines.append(f"and {len(rows) - len(shown)} more; -o json or -o csv has them all")
    below = [
        *(f"{letter}: {doubt.value}" for doubt, letter in letters.items()),
        *list_lines((row.listing.source for row in shown), now),
    ]
    return [*lines, *(line for text in below for line in wrapped(text, width))]


def _columns(is_grouped: bool, letters: dict[Doubt, str], now: Utc) -> list[Column[Row]]:
    every: list[Column[Row]] = [
        Column(head="GPU", cell=lambda row: f"{row.quote.accelerator}:{count(row.quote.accelerators)}"),
        Column(head="PLACE", cell=lambda row: f"{row.quote.cloud} {row.quote.zone or row.quote.region}"),
        Column(head="REGION", cell=lambda row: _region_beside(row.quote), rank=4),
        Column(head="INSTANCE", cell=lambda row: row.quote.instance, rank=2),
        Column(head="vCPU", cell=lambda row: _number(row.quote.vcpus), rank=6, is_right=True),
        Column(head="GiB", cell=lambda row: _number(row.quote.memory_gib), rank=5, is_right=True),
        Column(head="SPOT $/h", cell=lambda row: dollars(row.quote.spot), is_right=True),
        Column(head="OD $/h", cell=lambda row: dollars(row.quote.on_demand), is_right=True),
        Column(head="SPOT/GPU", cell=lambda row: dollars(row.quote.spot_per_gpu), rank=3, is_right=True),
        Column(head="OF", cell=lambda row: str(row.num), rank=4, is_right=True),
        Column(head="AGE", cell=lambda row: age(row.listing.source.fetched_at, now), rank=1, is_right=True),
        Column(head="NOTE", cell=lambda row: "".join(letters[doubt] for doubt in row.quote.doubts)),
    ]
    absent = {"OF"} if not is_grouped else set()
    absent |= {"NOTE"} if not letters else set()
    return [column for column in every if column.head not in absent]


def _region_beside(quote: Quote) -> str:
    """Where the zone does not tell it: AWS's ids do not."""
    return "" if quote.zone is None or quote.zone.startswith(quote.region) else quote.region


def _letters(rows: Sequence[Row]) -> dict[Doubt, str]:
    seen = {doubt for row in rows for doubt in row.quote.doubts}
    return dict(zip([doubt for doubt in Doubt if doubt in seen], string.ascii_lowercase, strict=False))


def list_lines(lists: Iterable[PriceList], now: Utc) -> list[str]:
    """Of each list that the table draws on."""
    used = {source.number: source for source in lists}
    lines = []
    for _, source in sorted(used.items()):
        told = age(source.fetched_at, now)
        of_age = "of unknown age" if told == "?" else f"{told} old"
        lines.append(f"{source.cloud}: {source.origin}, {of_age}{'; ' if source.said else ''}{source.said}")
    return lines


def age(fetched_at: Utc | None, now: Utc) -> str:
    """ "?" where nobody knows, or where the clock says that it is of tomorrow."""
    return "?" if fetched_at is None or fetched_at > now else show_duration(now - fetched_at)


def count(accelerators: float) -> str:
    """Of GPUs, in a cell: whole ones, or a share in two digits."""
    return f"{round(accelerators, 2):g}"


def dollars(price: float | None) -> str:
    """A price in a cell."""
    if price is None:
        return UNKNOWN
    return f"{price:.2f}" if price >= 0.005 else "<0.01"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"


# --- for programs --------------------------------------------------------------------------------------------------------------

CSV_COLUMNS = (
    "cloud",
    "region",
    "zone",
    "instance",
    "accelerator",
    "accelerators",
    "vcpus",
    "memory_gib",
    "spot_usd_per_h",
    "on_demand_usd_per_h",
    "spot_usd_per_gpu_h",
    "age_s",
    "source",
    "doubts",
    "of",
)


def row_json(row: Row, now: Utc) -> dict[str, Json]:
    """The fields of CSV_COLUMNS; prices that are not known are null."""
    quote, source = row.quote, row.listing.source
    is_dated = source.fetched_at is not None and source.fetched_at <= now
    return {
        "cloud": quote.cloud,
        "region": quote.region,
        "zone": quote.zone,
        "instance": quote.instance,
        "accelerator": quote.accelerator,
        "accelerators": round(quote.accelerators, 4),
        "vcpus": quote.vcpus,
        "memory_gib": quote.memory_gib,
        "spot_usd_per_h": usd_rounded(quote.spot),
        "on_demand_usd_per_h": usd_rounded(quote.on_demand),
        "spot_usd_per_gpu_h": usd_rounded(quote.spot_per_gpu),
        "age_s": round(now - source.fetched_at) if is_dated and source.fetched_at is not None else None,
        "source": source.origin,
        "doubts": [doubt.name.lower() for doubt in quote.doubts],
        "of": row.num,
    }


def place_json(place: Placement) -> dict[str, Json]:
    return {
        "cloud": place.cloud,
        "region": place.region,
        "zone": place.zone,
        "instance": place.instance,
        "accelerator": place.accelerator,
        "accelerators": place.accelerators,
        "capacity": place.capacity.value,
    }


def list_json(known: PriceList) -> dict[str, Json]:
    return {
        "cloud": known.cloud,
        "source": known.origin,
        "path": known.path,
        "fetched_at": None if known.fetched_at is None else moment(known.fetched_at),
        "said": known.said,
    }


def usd_rounded(price: float | None) -> float | None:
    return None if price is None else round(price, 6)
