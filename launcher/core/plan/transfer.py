"""What a job costs beside its machines: keeping its checkpoints, moving them, and reading its data from elsewhere.

Clouds bill what leaves a region, never what comes in. So a machine beside its store and its data pays nothing for traffic, and
one that costs half as much an hour may lose its whole advantage to the bytes it needs from another region: each machine reads the
data anew, since nothing of the one before is left on its disk, and each save goes to the store.

Fine print: list prices of the first tier, without free allowances, rounded as published; requests are left out (a thousand writes
cost half a cent on each cloud). Whose region nobody knows is taken to be where the machine is, in its own cloud.
"""

from dataclasses import dataclass

from launcher.core.market.offer import Placement
from launcher.core.plan.estimate import Estimate
from launcher.core.plan.limits import lies_in
from launcher.units import HOUR, Bytes, Seconds, Usd

GB = 1e9
MONTH: Seconds = 730 * HOUR
# AWS for S3, "Performance design patterns": one concurrent request for each 85 to 90 MB/s. Our transfers keep four on their way.
UPLOAD_PER_S = 4 * 85e6

# USD per GB and month of the standard class, first tier: S3 in us-east-1 (AWS price list as quoted in 2023-02 and in 2026); Cloud
# Storage in us-central1 (0.02 per GiB; cloud.google.com/storage/pricing, 2026-09); Blob Storage, hot and local, in eastus
# (2026-05, approximate in its source). Taken for all regions of the cloud.
STORAGE = {"aws": 0.023, "gcp": 0.02 / 1.073741824, "azure": 0.018}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD per GB that leaves: to another region of the cloud, to another continent of it, to anywhere else."""

    near: float
    far: float
    internet: float


# AWS by the region's name, the longest beginning that fits: one price to all other regions (aws_transfer_costs.csv of
# skyplane-project/skyplane, 2024-01).
_AWS = {
    "": Rates(near=0.147, far=0.147, internet=0.154),  # the dearest, for what the source does not know
    "us-": Rates(near=0.02, far=0.02, internet=0.09),
    "ca-": Rates(near=0.02, far=0.02, internet=0.09),
    "eu-": Rates(near=0.02, far=0.02, internet=0.09),
    "ap-": Rates(near=0.10, far=0.10, internet=0.132),
    "ap-east-1": Rates(near=0.09, far=0.09, internet=0.12),
    "ap-northeast-": Rates(near=0.09, far=0.09, internet=0.114),
    "ap-northeast-2": Rates(near=0.08, far=0.08, internet=0.126),
    "ap-south-": Rates(near=0.086, far=0.086, internet=0.1093),
    "ap-southeast-1": Rates(near=0.09, far=0.09, internet=0.12),
    "ap-southeast-2": Rates(near=0.098, far=0.098, internet=0.114),
    "me-": Rates(near=0.1105, far=0.1105, internet=0.117),
    "me-central-1": Rates(near=0.085, far=0.085, internet=0.11),
    "sa-": Rates(near=0.138, far=0.138, internet=0.15),
}
# GCP by continent: within it, to others, and the premium tier to the internet (cloud.google.com/storage/pricing, 2026-09; between
# regions gcp_pricing.py of skyplane, 2024-01, but North America's 0.02, 2026).
_GCP = {
    "": Rates(near=0.08, far=0.08, internet=0.12),
    "us-": Rates(near=0.02, far=0.08, internet=0.12),
    "northamerica-": Rates(near=0.02, far=0.08, internet=0.12),
    "europe-": Rates(near=0.02, far=0.08, internet=0.12),
    "asia-": Rates(near=0.05, far=0.08, internet=0.12),
    "australia-": Rates(near=0.08, far=0.15, internet=0.19),
}
# Azure by group of continents (azure_cloud_provider.py of skyplane, 2024-01).
_AZURE = {
    "america": Rates(near=0.02, far=0.05, internet=0.0875),
    "europe": Rates(near=0.02, far=0.05, internet=0.0875),
    "south": Rates(near=0.181, far=0.16, internet=0.181),
    "else": Rates(near=0.08, far=0.08, internet=0.12),
}
_LAMBDA = Rates(near=0.0, far=0.0, internet=0.0)  # docs.lambda.ai/public-cloud/billing (2026-11) lists no charge for traffic
_ELSEWHERE = Rates(near=0.12, far=0.12, internet=0.12)  # of a cloud that is not known here: no less than the three large ones'
_TWINS = frozenset({"us-east-1", "us-east-2"})  # of AWS, at half the price between them (same source)
_TWIN_RATE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where bytes lie. `region` None: somewhere in that cloud."""

    cloud: str
    region: str | None = None

    def __str__(self) -> str:
        return f"{self.cloud}/{self.region}" if self.region else self.cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Haul:
    """What a job keeps and moves. `state`: of one checkpoint, `data`: what each machine reads; None where nobody knows how much.
    `kept`: checkpoints from the beginning, `milestones`: those that add up until the end.

    `store` and `source` None: beside the machine, wherever that is.
    """

    state: Bytes | None = None
    kept: int = 1
    milestones: int = 0
    store: Site | None = None
    data: Bytes | None = None
    source: Site | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """Dollars until the work is done, beside those of the machines: `keeping` checkpoints, `moving` them, `reading` data.

    They are of an average run. `each_start` is of the data that all nodes read at each start, the first included;
    `each_restore` of the state that they read at each further one.
    """

    keeping: Usd = 0.0
    moving: Usd = 0.0
    reading: Usd = 0.0
    each_start: Usd = 0.0
    each_restore: Usd = 0.0

    @property
    def usd(self) -> Usd:
        return self.keeping + self.moving + self.reading

    @property
    def each_restart(self) -> Usd:
        """What one more loss costs."""
        return self.each_start + self.each_restore

    def undisturbed(self, restarts: float) -> Usd:
        """Without what the average run's `restarts` cost; the first start is in it."""
        return self.usd - restarts * self.each_restart


NOTHING = Aside()


def aside(
    haul: Haul, placement: Placement, cost: Estimate, *, work: Seconds, interval: Seconds | None, num_nodes: int = 1
) -> Aside:
    """What a run in this place pays beside its machines.

    Saves: one each `interval` of training, work that is redone included, whole and once for all nodes. Each machine of each
    restart reads the newest checkpoint, all of it, and each machine of each start all of the data: how a program shares out
    either among its nodes nobody knows.
    """
    here = Site(cloud=placement.cloud, region=placement.region)
    store, source = haul.store or here, haul.source or here
    state, data = (haul.state or 0) / GB, (haul.data or 0) / GB
    saves = (work + cost.redone) / interval if interval else 0.0
    each_restore = num_nodes * state * usd_per_gb(store, here)
    each_start = num_nodes * data * usd_per_gb(source, here)
    return Aside(
        keeping=usd_per_month(store, state * (haul.kept + haul.milestones / 2)) * cost.elapsed / MONTH if interval else 0.0,
        moving=saves * state * usd_per_gb(here, store) + cost.restarts * each_restore,
        reading=(1 + cost.restarts) * each_start,
        each_start=each_start,
        each_restore=each_restore,
    )


def usd_per_month(store: Site, gigabytes: float) -> Usd:
    """What it costs to keep so much there; the dearest price where the cloud's is not known."""
    return gigabytes * STORAGE.get(store.cloud, max(STORAGE.values()))


def usd_per_gb(source: Site, target: Site) -> Usd:
    """What a gigabyte from one to the other costs; nothing within a region, or where nobody knows that it leaves one."""
    rates = _rates(source)
    if source.cloud != target.cloud:
        return rates.internet
    if source.region is None or target.region is None or source.region == target.region:
        return 0.0
    if source.cloud == "aws" and {source.region, target.region} == _TWINS:
        return _TWIN_RATE
    is_near = _continent(source) == _continent(target)
    if source.cloud == "gcp" and not is_near and "australia" in (_continent(source), _continent(target)):
        return _GCP["australia-"].far
    return rates.near if is_near else rates.far


def _rates(source: Site) -> Rates:
    region = source.region or ""
    match source.cloud:
        case "aws":
            return _of_longest(_AWS, region or "us-")
        case "gcp":
            return _of_longest(_GCP, region or "us-")
        case "azure":
            return _AZURE[_continent(source) if region else "america"]
        case "lambda":
            return _LAMBDA
    return _ELSEWHERE


def _of_longest(table: dict[str, Rates], region: str) -> Rates:
    return table[max((beginning for beginning in table if region.startswith(beginning)), key=len)]


_AZURE_AMERICA = ("canada", "mexico")
_AZURE_EUROPE = ("uk", "switzerland", "norway")
_AZURE_SOUTH = ("brazil", "chile")


def _continent(site: Site) -> str:
    region = site.region or ""
    if site.cloud == "azure":
        if lies_in("azure", region, "us") or region.startswith(_AZURE_AMERICA):
            return "america"
        if lies_in("azure", region, "eu") or region.startswith(_AZURE_EUROPE):
            return "europe"
        return "south" if region.startswith(_AZURE_SOUTH) else "else"
    continent = region.partition("-")[0]
    return "us" if continent == "northamerica" else continent
