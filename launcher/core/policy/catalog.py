"""The policies a recipe can name under `policy.strategy`."""

from collections.abc import Callable

from launcher.core.policy.base import Policy
from launcher.core.policy.baselines import CheapestFirst, Greedy, OnDemandOnly, SpotOnly

POLICIES: dict[str, Callable[[], Policy]] = {
    "auto": Greedy,
    "greedy": Greedy,
    "spot": SpotOnly,
    "on-demand": OnDemandOnly,
    "cheapest": CheapestFirst,
}
