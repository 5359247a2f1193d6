"""Where a job could run, and for how much."""

import enum
from dataclasses import dataclass, field

from launcher.units import Seconds, UsdPerHour


class Capacity(enum.Enum):
    SPOT = "spot"
    ON_DEMAND = "on-demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One way to have a machine: what to ask of which cloud, and whether it may be taken away."""

    cloud: str
    region: str
    zone: str | None  # None where the cloud has no zones (Azure)
    instance: str
    accelerator: str  # SkyPilot's name: "A100-80GB"
    accelerators: int  # GPUs in one instance
    capacity: Capacity

    # The market this is bought in; cooldowns and lives are remembered by it. The GPU is part of it, since GCP hangs different
    # ones on the same instance type, and so is the capacity. A policy asks for it thousands of times.
    place: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        gpus = f"{self.accelerator}:{self.accelerators}"
        place = f"{self.cloud}/{self.zone or self.region}/{self.instance}/{gpus}/{self.capacity.value}"
        object.__setattr__(self, "place", place)

    def __str__(self) -> str:
        return f"{self.cloud} {self.zone or self.region}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A placement with its prices now. `price_cap` is the most it may cost per hour while an instance lives.

    `pace` and `aside` are of one job, for comparing places that differ in more than price: hours of the job's work that are done
    there in an hour, and dollars for each hour of its work that are spent beside the machine (data, checkpoints).
    """

    placement: Placement
    price: UsdPerHour
    on_demand_price: UsdPerHour
    price_cap: UsdPerHour
    mean_life: Seconds  # until preemption; the prior where nothing was seen; inf never (on-demand: 1e9)
    notice_lead: Seconds  # between the cloud's warning and the end
    source: str  # where the price is from, with its date
    pace: float = 1.0
    aside: UsdPerHour = 0.0

    @property
    def is_capped(self) -> bool:
        """Whether anything holds `price_cap`: where no on-demand price is known it is today's spot price, which may rise."""
        return self.placement.capacity is Capacity.ON_DEMAND or self.on_demand_price > self.price


# How long before the end the clouds warn of it. AWS: EC2 User Guide, Spot Instance interruption notices ("two minutes before").
# GCP: Compute Engine, Spot VMs, preemption process ("up to 30 seconds"). Azure: Scheduled Events, Preempt (30 seconds at least).
NOTICE_LEAD: dict[str, Seconds] = {"aws": 120.0, "gcp": 30.0, "azure": 30.0}
