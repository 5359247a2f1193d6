"""What clouds charge for an instance's life: rules as data, each with its source.

An instance costs from `billed_from` to its end at its price, at least the cloud's minimum; some ends are free.
"""

from dataclasses import dataclass

from launcher.core.instance import EndCause
from launcher.core.market.offer import Capacity, Offer
from launcher.units import HOUR, Seconds, Usd, Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRule:
    minimum: Seconds
    free_if_preempted_within: Seconds
    source: str


RULES = {
    "aws": BillingRule(
        minimum=60,
        free_if_preempted_within=HOUR,
        source="docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html: Linux, per second, "
        "60 s minimum; nothing when EC2 interrupts in the first hour",
    ),
    "gcp": BillingRule(
        minimum=60,
        free_if_preempted_within=60,
        source="cloud.google.com/compute/vm-instance-pricing: per second, 1 min minimum; "
        "cloud.google.com/compute/docs/instances/spot: nothing when preempted in the first minute",
    ),
    "azure": BillingRule(
        minimum=0,
        free_if_preempted_within=0,
        source="azure.microsoft.com/pricing/details/virtual-machines: per second until deallocated",
    ),
}
DEFAULT_RULE = BillingRule(minimum=0, free_if_preempted_within=0, source="per second, where nothing else is known")


def rule_of(offer: Offer) -> BillingRule:
    return RULES.get(offer.placement.cloud, DEFAULT_RULE)


def cost(offer: Offer, billed_from: Utc, ended_at: Utc, cause: EndCause) -> Usd:
    """Dollars for one instance's life. `ended_at` may lie before `billed_from` by a clock's error; that costs nothing."""
    rule = rule_of(offer)
    life = max(0.0, ended_at - billed_from)
    taken = cause is EndCause.PREEMPTED and offer.placement.capacity is Capacity.SPOT
    if life == 0 or (taken and life < rule.free_if_preempted_within):
        return 0.0
    return max(life, rule.minimum) / HOUR * offer.price


def cost_cap(offer: Offer, billed_from: Utc, ended_at: Utc) -> Usd:
    """The most that life can cost: at the price cap, nothing forgiven."""
    rule = rule_of(offer)
    return max(ended_at - billed_from, rule.minimum) / HOUR * offer.price_cap
