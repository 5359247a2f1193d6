"""SkyPilot's price catalogs, read without SkyPilot: the text of a cloud's `vms.csv` becomes quotes.

The files are hosted in the repository skypilot-org/skypilot-catalog and cached by SkyPilot on every machine that uses it. Each
cloud has columns of its own, so columns are read by name: new ones are welcome, a missing one is refused. What a row says is
turned into prices here; whether they can be believed is `guards`' business. Rows that yield no quote are counted, by reason.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from launcher.adapters.market import guards
from launcher.core.market.quote import Doubt, Quote
from launcher.units import UsdPerHour

Row = dict[str, str]
Dropped = Counter[tuple[str, str]]  # of rows, by accelerator ("" for none) and reason

_COMMON = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "SpotPrice", "Region")
_ZONED = (*_COMMON, "AvailabilityZone")
COLUMNS = {"aws": _ZONED, "gcp": _ZONED, "azure": _COMMON, "lambda": _COMMON}

# Google's machine types for GPUs that are priced apart from their host, the smallest first: Compute Engine, "GPU machine types"
# and, for n1 hosts, the most vCPUs that a number of GPUs may have (V100: 48 for four, so none of 64).
_GCP_HOSTS: dict[str, dict[int, tuple[str, ...]]] = {
    "A100": {**{n: (f"a2-highgpu-{n}g",) for n in (1, 2, 4, 8)}, 16: ("a2-megagpu-16g",)},
    "A100-80GB": {**{n: (f"a2-ultragpu-{n}g",) for n in (1, 2, 4, 8)}},
    "H100": {**{n: (f"a3-highgpu-{n}g",) for n in (1, 2, 4, 8)}},
    "H100-MEGA": {8: ("a3-megagpu-8g",)},
    "H200": {8: ("a3-ultragpu-8g",)},
    "B200": {8: ("a4-highgpu-8g",)},
    "L4": {1: ("g2-standard-4",), 2: ("g2-standard-24",), 4: ("g2-standard-48",), 8: ("g2-standard-96",)},
    "T4": {1: ("n1-highmem-4",), 2: ("n1-highmem-8",), 4: ("n1-highmem-16", "n1-highmem-32", "n1-highmem-64")},
    "V100": {1: ("n1-highmem-4",), 2: ("n1-highmem-8",), 4: ("n1-highmem-16", "n1-highmem-32"), 8: ("n1-highmem-64",)},
}
# Azure lists these with a count of 1 or of vCPUs divided by 8. Microsoft Learn, "NVadsA10 v5-series" and "NDH100v5-series".
_AZURE_COUNTS = {
    "Standard_NV6ads_A10_v5": 1 / 6,
    "Standard_NV12ads_A10_v5": 1 / 3,
    "Standard_NV18ads_A10_v5": 1 / 2,
    "Standard_ND96isr_H100_v5": 8.0,
    "Standard_ND96is_H100_v5": 8.0,
}

# Listed as H100, which is the SXM board elsewhere. Lambda's own name says so; Microsoft Learn, "NCadsH100v5-series": H100 NVL.
_BOARDS = {
    "gpu_1x_h100_pcie": "H100-PCIe",
    "Standard_NC40ads_H100_v5": "H100-NVL",
    "Standard_NC80adis_H100_v5": "H100-NVL",
}
# What would move a terminal's cursor, colour it or turn its lines round; the end of a line is none of it.
_UNSHOWN = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")


class CatalogUnusable(ValueError):
    """No catalog, or not a whole one. `str()` names the file and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """One cloud's list as it was read. `quotes` and `dropped` together are all its rows, save GCP's hosts, which are in sums."""

    cloud: str
    quotes: tuple[Quote, ...]
    dropped: Dropped


def read_catalog(cloud: str, text: str, *, name: str) -> Catalog:
    """The catalog in `text`. Raises CatalogUnusable, naming the file, where it is none or breaks off in the middle."""
    rows = _rows(cloud, text, name)
    dropped: Dropped = Counter()
    read = _READERS.get(cloud, _plain)
    quotes = tuple(guards.judged(list(read(cloud, rows, dropped)), dropped))
    if not quotes:
        raise CatalogUnusable(f"{name} holds no price of a GPU")
    return Catalog(cloud=cloud, quotes=quotes, dropped=dropped)


def _rows(cloud: str, text: str, name: str) -> list[Row]:
    if not text.strip():
        raise CatalogUnusable(f"{name} is empty")
    try:
        head, *lines = csv.reader(io.StringIO(_UNSHOWN.sub("?", text)), strict=True)
    except (csv.Error, ValueError) as error:
        raise CatalogUnusable(f"{name} is no price list ({error})") from None
    missing = [column for column in COLUMNS.get(cloud, _COMMON) if column not in head]
    if missing:
        raise CatalogUnusable(f"{name} has no column {missing[0]}, which this version of launch needs")
    rows = [dict(zip(head, cells, strict=True)) for cells in lines if len(cells) == len(head)]
    if not text.endswith("\n") or len(rows) < text.count("\n") - 1:
        raise CatalogUnusable(f"{name} is cut short or damaged (line {len(rows) + 2})")
    return rows


# --- a cloud's rows, as they are -----------------------------------------------------------------------------------------------


def _plain(cloud: str, rows: Iterable[Row], dropped: Dropped) -> Iterator[Quote]:
    """One row is one machine."""
    for row in rows:
        accelerator = row["AcceleratorName"]
        count = _AZURE_COUNTS.get(row["InstanceType"]) or _number(row["AcceleratorCount"])
        if not accelerator or not count:
            dropped[accelerator, "no GPU"] += 1
            continue
        yield _quote(cloud, row, row["InstanceType"], count, spot=_price(row["SpotPrice"]), on_demand=_price(row["Price"]))


def _gcp(cloud: str, rows: Iterable[Row], dropped: Dropped) -> Iterator[Quote]:
    """Host and GPU are two rows of a zone, and both are paid. TPUs have no host. A host at 0 is in the price of its GPU."""
    rows = list(rows)
    upper = guards.upper_levels(_per_gpu(rows))
    hosts = {(row["InstanceType"], row["AvailabilityZone"]): row for row in rows if not row["AcceleratorName"]}
    for row in rows:
        accelerator, zone = row["AcceleratorName"], row["AvailabilityZone"]
        count = _number(row["AcceleratorCount"])
        if not accelerator or not count:
            continue
        if accelerator.startswith("tpu-"):
            yield _quote(cloud, row, "TPU-VM", count, spot=_price(row["SpotPrice"]), on_demand=_price(row["Price"]))
            continue
        sizes = _GCP_HOSTS.get(accelerator, {}).get(int(count), ())
        host = next((hosts[size, zone] for size in sizes if (size, zone) in hosts), None)
        if host is None:
            dropped[accelerator, "no host machine in its zone"] += 1
            continue
        spot, on_demand = (_sum(row[column], host[column]) for column in ("SpotPrice", "Price"))
        both = {**row, "vCPUs": host.get("vCPUs", ""), "MemoryGiB": host.get("MemoryGiB", "")}
        whole = _quote(cloud, both, host["InstanceType"], count, spot=spot, on_demand=on_demand)
        is_low = on_demand is not None and (_number(row["Price"]) or 0.0) / count < upper.get(accelerator, 0.0)
        yield replace(whole, on_demand=None, doubts=(Doubt.LOW_LEVEL,)) if is_low else whole


def _per_gpu(rows: Iterable[Row]) -> Iterator[tuple[str, UsdPerHour]]:
    """What GCP lists for one GPU on demand, without its share of a host."""
    for row in rows:
        count, price = _number(row["AcceleratorCount"]), _price(row["Price"])
        if count and price is not None and not row["AcceleratorName"].startswith("tpu-"):
            yield row["AcceleratorName"], price / count


_READERS: dict[str, Callable[[str, Iterable[Row], Dropped], Iterator[Quote]]] = {"gcp": _gcp}


def _quote(cloud: str, row: Row, instance: str, count: float, *, spot: UsdPerHour | None, on_demand: UsdPerHour | None) -> Quote:
    return Quote(
        cloud=cloud,
        region=row["Region"],
        zone=row.get("AvailabilityZone") or None,
        instance=instance,
        accelerator=_BOARDS.get(instance, row["AcceleratorName"]),
        accelerators=count,
        vcpus=_number(row.get("vCPUs", "")),
        memory_gib=_number(row.get("MemoryGiB", "")),
        spot=spot,
        on_demand=on_demand,
    )


def _number(text: str) -> float | None:
    """None for nothing, for what is no number, and for what is not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _price(text: str) -> UsdPerHour | None:
    """A price; empty and 0 mean that it is not known: SkyPilot's fetchers write 0 where a cloud publishes none."""
    return _number(text) or None


def _sum(part: str, host: str) -> UsdPerHour | None:
    price, of_host = _price(part), _number(host)
    return None if price is None or of_host is None else round(price + of_host, 6)
