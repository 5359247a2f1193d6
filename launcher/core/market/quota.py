"""Which quotas were refused: what an account may have in a region, however much capacity there is.

AWS keeps quotas by region and family of instance types, in vCPUs, spot and on-demand apart (EC2 User Guide, On-Demand Instance
quotas, Spot Instance quotas); GCP by region and GPU model, preemptible ones apart (Compute Engine, Allocation quotas); Azure by
region, in vCPUs, of a family on demand and of all families on spot (Azure, vCPU quotas, Spot quotas). Common to all: a region,
spot or on-demand, and that whoever may not have so many may not have more. By the GPU's model, since a list of GPUs has neither
families nor every cloud's vCPUs: too fine for AWS and Azure, so what it does not cover is asked once for itself.
"""

from dataclasses import dataclass

from launcher.core.market.offer import Capacity, Placement
from launcher.units import Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRefusal:
    """The last that a region said to a request for so many GPUs of this model; `gpus`: of all machines together."""

    cloud: str
    region: str
    accelerator: str
    gpus: int
    capacity: Capacity
    refused_at: Utc

    def is_for(self, placement: Placement) -> bool:
        """Whether the same quota counts there."""
        there = (placement.cloud, placement.region, placement.accelerator, placement.capacity)
        return there == (self.cloud, self.region, self.accelerator, self.capacity)

    def covers(self, placement: Placement, num_nodes: int) -> bool:
        """Whether it would be refused there as well."""
        return self.is_for(placement) and placement.accelerators * num_nodes >= self.gpus

    def __str__(self) -> str:
        return f"{self.accelerator}:{self.gpus} ({self.capacity.value}) in {self.cloud} {self.region}"


Refusals = tuple[QuotaRefusal, ...]


def after_refusal(known: Refusals, placement: Placement, num_nodes: int, at: Utc) -> Refusals:
    """Once the quota was refused there; of as many GPUs or more it says what older ones said."""
    gpus = placement.accelerators * num_nodes
    refused = QuotaRefusal(
        cloud=placement.cloud,
        region=placement.region,
        accelerator=placement.accelerator,
        gpus=gpus,
        capacity=placement.capacity,
        refused_at=at,
    )
    return (*(one for one in known if not (one.is_for(placement) and one.gpus >= gpus)), refused)


def after_another_answer(known: Refusals, placement: Placement, num_nodes: int) -> Refusals:
    """Once the quota was no obstacle there: of so many GPUs or fewer nothing is refused any more."""
    return tuple(one for one in known if not one.covers(placement, num_nodes))
