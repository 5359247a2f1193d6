"""A recorded market: which machines its columns stand for, and what they cost when.

A column is named for its zone, most often with the machine behind it ("us-west-2a_v100_8", "europe-west4-a_a100_40gb_8").
Where the name says no machine the index may ("number of a3-highgpu-1g (1xH100-80GB) launched"). A column becomes two quotes:
spot, there while the recording says so, and on-demand, always there.

Prices come from the recording, then from its index, then from the list that comes with launch, for the same GPU. A file that
names no machines, or ones that nobody has a price for, stands for the places of that list, as in a rehearsal.
"""

import re
from dataclasses import dataclass, field, replace

from launcher.core.market.layout import Entry
from launcher.core.market.offer import NOTICE_LEAD, Capacity, Offer, Placement
from launcher.core.market.series import Series
from launcher.core.market.trace import FOREVER, column_of, typical_life
from launcher.units import UsdPerHour


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The files of one recorded market. `capacity` and `price` are by column; a column may have no price."""

    name: str
    capacity: dict[str, Series]
    price: dict[str, Series] = field(default_factory=dict)
    entry: Entry = field(default_factory=Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOffer:
    """An offer over time. `capacity` None: always there, for any number of nodes. `price` None: as the offer says."""

    offer: Offer
    capacity: Series | None = None
    price: Series | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    cloud: str
    region: str
    zone: str
    gpu: str
    gpus: int


# Zones by cloud: AWS "us-east-1a", GCP "us-east4-a".
_ZONES = {"aws": re.compile(r"([a-z]+(?:-[a-z]+)+-\d+)[a-z]"), "gcp": re.compile(r"([a-z]+-[a-z]+\d+)-[a-z]")}
_COLUMN = re.compile(r"(?P<zone>[a-z0-9-]+)_(?P<gpu>[a-z0-9_]+)_(?P<gpus>\d+)")
_UNIT = re.compile(r"\((?P<gpus>\d+)x(?P<gpu>[A-Za-z0-9]+)")
_GPUS = {"a100_40gb": "A100", "a100_80gb": "A100-80GB"}  # others: in capitals, as SkyPilot writes them
_INSTANCES = {
    ("aws", "K80", 1): "p2.xlarge",
    ("aws", "K80", 8): "p2.8xlarge",
    ("aws", "V100", 1): "p3.2xlarge",
    ("aws", "V100", 8): "p3.16xlarge",
    ("gcp", "A100", 8): "a2-highgpu-8g",
    ("gcp", "H100", 1): "a3-highgpu-1g",
}


def quotes(recording: Recording, listed: tuple[Offer, ...]) -> tuple[RecordedOffer, ...]:
    """Everything that could be bought in the recorded market. `listed`: what the places of a rehearsal cost."""
    own = [quote for column in recording.capacity for quote in _quotes(recording, column, listed)]
    return tuple(own) or tuple(_stand_in(recording, offer) for offer in listed)


def _quotes(recording: Recording, column: str, listed: tuple[Offer, ...]) -> list[RecordedOffer]:
    machine = _machine(column, recording.entry.unit)
    if machine is None:
        return []
    price = recording.price.get(column)
    known = _prices(recording, column, machine, listed)
    if known is None:
        return []
    spot, on_demand, source = known
    return [
        RecordedOffer(
            offer=_offer(machine, Capacity.SPOT, spot, on_demand, source), capacity=recording.capacity[column], price=price
        ),
        RecordedOffer(offer=_offer(machine, Capacity.ON_DEMAND, on_demand, on_demand, source)),
    ]


def _machine(column: str, unit: str) -> _Machine | None:
    found = _COLUMN.fullmatch(column)
    told = found or _UNIT.search(unit)
    zone = found["zone"] if found else column
    for cloud, shape in _ZONES.items():
        if told is not None and (region := shape.fullmatch(zone)):
            gpu = told["gpu"].lower()
            return _Machine(cloud=cloud, region=region[1], zone=zone, gpu=_GPUS.get(gpu, gpu.upper()), gpus=int(told["gpus"]))
    return None


def _prices(
    recording: Recording, column: str, machine: _Machine, listed: tuple[Offer, ...]
) -> tuple[UsdPerHour, UsdPerHour, str] | None:
    """Spot at first, on-demand, and whence; None where nobody says."""
    entry, kind = recording.entry, column.removeprefix(f"{machine.zone}_")
    on_demand = _first(entry.on_demand, column, kind)
    spot = recording.price[column].values[0] if column in recording.price else _first(entry.spot, column, kind)
    rows = [o for o in listed if o.placement.accelerator == machine.gpu and o.placement.cloud == machine.cloud]
    spots = [o.price * machine.gpus / o.placement.accelerators for o in rows if o.placement.capacity is Capacity.SPOT]
    sure = [o.price * machine.gpus / o.placement.accelerators for o in rows if o.placement.capacity is Capacity.ON_DEMAND]
    source = f"recorded with {recording.name}" if None not in (spot, on_demand) else "bundled list, for the same GPU"
    spot = min(spots, default=None) if spot is None else spot
    on_demand = min(sure, default=None) if on_demand is None else on_demand
    return None if spot is None or on_demand is None else (spot, on_demand, source)


def _first(by_name: dict[str, UsdPerHour], *names: str) -> UsdPerHour | None:
    return next((by_name[name] for name in (*names, "") if name in by_name), None)


def _offer(machine: _Machine, capacity: Capacity, price: UsdPerHour, on_demand: UsdPerHour, source: str) -> Offer:
    is_spot = capacity is Capacity.SPOT
    return Offer(
        placement=Placement(
            cloud=machine.cloud,
            region=machine.region,
            zone=machine.zone,
            instance=_INSTANCES.get((machine.cloud, machine.gpu, machine.gpus), f"{machine.gpu.lower()}-{machine.gpus}"),
            accelerator=machine.gpu,
            accelerators=machine.gpus,
            capacity=capacity,
        ),
        price=price,
        on_demand_price=on_demand,
        price_cap=max(price, on_demand),  # what a cloud asks at most for spot, where no bid is made
        # A policy must not know how long this very zone will last: it begins with the typical one, and learns.
        mean_life=typical_life() if is_spot else FOREVER,
        notice_lead=NOTICE_LEAD[machine.cloud],
        source=source,
    )


def _stand_in(recording: Recording, offer: Offer) -> RecordedOffer:
    """A place of the bundled list whose capacity comes and goes as a column of the recording does."""
    if offer.placement.capacity is Capacity.ON_DEMAND:
        return RecordedOffer(offer=offer)
    column = column_of(offer.placement.place, recording.name, 0, recording.capacity)
    return RecordedOffer(offer=replace(offer, mean_life=typical_life()), capacity=recording.capacity[column])
