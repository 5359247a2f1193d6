"""What a price list says of one type of machine in one zone, and how far it may be believed.

A list is not an offer: it has prices that nobody can buy at, and gaps. So each price is a number or unknown (None, never 0), and
what speaks against a number stands beside it.
"""

import enum
from dataclasses import dataclass

from launcher.units import UsdPerHour


class Doubt(enum.Enum):
    """Why a quote is less than it seems; the value is what a person reads."""

    SPOT_FLOOR = "spot is exactly 10 % of on-demand, a floor: perhaps nothing is on offer"
    NO_SPOT = "spot costs as much as on-demand or more: no spare capacity, so no spot"
    LOW_LEVEL = "listed at the lower of two price levels (flex-start, it seems), so the on-demand price is not known"
    LOCAL_ZONE = "a local zone listed at its region's price, so the on-demand price is not known"
    PLACEHOLDER = "more than ten times or less than a hundredth of what is usual: a placeholder, no price"
    SHARE = "a share of a GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Prices in USD per hour for the whole machine. `spot` None: no spot there, or its price is not known."""

    cloud: str
    region: str
    zone: str | None  # None where the cloud has no zones; AWS lists zone ids ("use1-az4"), which are the same for every account
    instance: str
    accelerator: str  # SkyPilot's name
    accelerators: float  # below 1: a share of one
    vcpus: float | None
    memory_gib: float | None
    spot: UsdPerHour | None
    on_demand: UsdPerHour | None
    doubts: tuple[Doubt, ...] = ()

    @property
    def spot_per_gpu(self) -> UsdPerHour | None:
        return None if self.spot is None else self.spot / self.accelerators

    @property
    def on_demand_per_gpu(self) -> UsdPerHour | None:
        return None if self.on_demand is None else self.on_demand / self.accelerators
